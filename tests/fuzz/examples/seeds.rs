//! Writes the seeds that are made and not found: small captures and messages, into `seeds/TARGET/`.
//!
//! `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds`, from the top of the tree.

use std::error::Error;
use std::fs;
use std::path::Path;

use sonde_common::format::LinkType;
use sonde_tests::capture::CaptureFormat;
use sonde_tests::evtx;
use sonde_tests::payload::{self, Answer, CIPHERS_GO, ClientHello, Rcode, RecordType};
use sonde_tests::scenario::{Options, generate};

type Outcome = Result<(), Box<dyn Error>>;

fn write(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// With a split in front, as the stream targets read it.
fn streams(target: &str, name: &str, stream: &[u8]) -> Outcome {
    write(target, name, stream)?;
    let split = u16::try_from(stream.len() / 2)?.to_le_bytes();
    write(target, &format!("{name}-split"), &[&split, stream].concat())
}

fn main() -> Outcome {
    captures()?;
    messages()?;
    texts()?;
    windows()
}

/// Events of Windows: some of each kind as JSON, and a small chunk of an EVTX file.
fn windows() -> Outcome {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/logs");
    for name in
        ["winlog-nxlog/empire_logonpasswords.json", "winlog-beat6/empire_opth.json", "winlog-ecs/agent.json"]
    {
        let text = fs::read_to_string(logs.join(name))?;
        // Long command lines are dead weight for a fuzzer.
        let lines: Vec<_> = text.lines().filter(|line| line.len() < 1_500).take(6).collect();
        write("winlog", name.split('/').next().unwrap_or(name), lines.join("\n").as_bytes())?;
    }
    let data = [
        ("UtcTime", evtx::Value::Text("2026-03-02 08:00:00.000")),
        ("ProcessId", evtx::Value::U32(7)),
        ("QueryName", evtx::Value::Text("a.example")),
        ("QueryStatus", evtx::Value::Text("0")),
    ];
    let channel = "Microsoft-Windows-Sysmon/Operational";
    let event = evtx::Event {
        provider: "Microsoft-Windows-Sysmon",
        id: 22,
        channel,
        computer: "pc",
        nanos: 1,
        data: &data,
    };
    let mut file = evtx::EvtxWriter::new();
    file.templated(&event);
    file.templated(&event);
    file.plain(&event);
    let mut chunk = file.finish().split_off(4096);
    chunk.truncate(chunk.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 4));
    write("evtx", "chunk", &chunk)?;
    write("evtx", "changes", &[0, 0, 2, 1, 30, 2, 0x0c])
}

fn captures() -> Outcome {
    for (scenario, packets) in [
        ("fixed-60", 200),
        ("in-connection", 120),
        ("dead", 80),
        ("refused", 40),
        ("proxied", 60),
        ("rotation", 60),
        ("dns-callback", 60),
        ("icmp-callback", 60),
        ("http", 60),
        ("quic", 24),
        ("browsing", 60),
    ] {
        for (name, format) in CaptureFormat::ALL {
            let pcapng = matches!(format, CaptureFormat::Pcapng);
            if !(pcapng || format == CaptureFormat::Pcap || scenario == "refused") {
                continue;
            }
            let most = if format == CaptureFormat::Pcap { packets } else { 12 };
            let options = Options { format, snaplen: 200, packets: Some(most), ..Options::default() };
            let mut bytes = Vec::new();
            generate(scenario, &options, &mut bytes)?;
            bytes.truncate(9_000);
            if format == CaptureFormat::Pcap {
                write("replay", scenario, &bytes)?;
            }
            if most == 12 || scenario == "refused" {
                write(if pcapng { "pcapng" } else { "pcap" }, &format!("{scenario}-{name}"), &bytes)?;
            }
            if format == CaptureFormat::Pcap {
                let frames = sonde_common::format::frames(&bytes)?;
                for (nth, frame) in frames.flatten().enumerate().take(3) {
                    assert_eq!(frame.link, LinkType::Ethernet);
                    write("packet", &format!("{scenario}-{nth}"), &[&[0, 0], frame.data].concat())?;
                    // The same, as a raw packet.
                    write(
                        "packet",
                        &format!("{scenario}-{nth}-raw"),
                        &[&[1, 0], &frame.data[14..]].concat(),
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn messages() -> Outcome {
    let hello = ClientHello::program(Some("c2.example.net"), CIPHERS_GO, [7; 32]);
    let mut bytes = Vec::new();
    hello.record(&mut bytes);
    streams("tls", "program", &bytes)?;
    bytes.clear();
    ClientHello::browser("www.example.com", [9; 32]).record(&mut bytes);
    streams("tls", "browser", &bytes)?;

    bytes.clear();
    payload::quic_client_initial(&mut bytes, &[1; 8], &[2; 8], hello);
    write("quic", "datagram", &bytes)?;
    let length = u16::try_from(bytes.len())?.to_le_bytes();
    write("quic", "as-it-comes", &[&[0][..], &length, &bytes].concat())?;
    let mut message = Vec::new();
    ClientHello { quic_source_id: Some(&[]), ..hello }.handshake(&mut message);
    let (first, second) = message.split_at(100);
    let mut protected = Vec::new();
    for (offset, part) in [(100, second), (0, first)] {
        let mut frames = vec![1, 0, 0];
        payload::quic_crypto_frame(&mut frames, offset, part);
        protected.push(1);
        protected.extend(u16::try_from(frames.len())?.to_le_bytes());
        protected.extend(frames);
    }
    write("quic", "two-packets", &protected)?;

    bytes.clear();
    payload::http_get(&mut bytes, "www.example.com:8080", "/a?b=c", "agent/1.0");
    streams("http", "get", &bytes)?;
    bytes.clear();
    payload::http_connect(&mut bytes, "c2.example.net:443", "agent/1.0");
    streams("http", "connect", &bytes)?;

    bytes.clear();
    payload::dns_query(&mut bytes, 7, "www.example.com", RecordType::A);
    write("dns", "query", &bytes)?;
    bytes.clear();
    let answers = [
        Answer::Cname { owner: "www.example.com", target: "edge.example.net" },
        Answer::A { owner: "edge.example.net", address: [198, 51, 100, 7].into() },
    ];
    payload::dns_response(&mut bytes, 7, "www.example.com", RecordType::A, Rcode::NoError, 60, &answers);
    write("dns", "answer", &bytes)?;
    let length = u16::try_from(bytes.len())?.to_be_bytes();
    write("dns", "tcp", &[&length[..], &bytes, &length, &bytes].concat())
}

fn texts() -> Outcome {
    for (nth, name) in
        ["WWW.Example.COM.", "[2001:DB8::1]", "192.0.2.7", "a\0b.\u{fc}.co.uk", "x.y.github.io"]
            .iter()
            .enumerate()
    {
        write("name", &nth.to_string(), name.as_bytes())?;
    }
    let reference = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md"))?;
    let examples: Vec<_> = reference.lines().filter(|line| line.starts_with("{\"")).collect();
    write("events", "reference", examples.join("\n").as_bytes())?;
    write(
        "config",
        "memory",
        b"[limits]\nmemory = \"128 MiB\"\n\0limits.memory=32 MiB\0limits.memory = 9000000",
    )?;
    write("config", "block", b"10.1.0.0/16")?;
    for (name, text) in sonde_common::profile::BUILTIN {
        let seed = format!("{text}\0/opt/datadog-agent/bin/agent/agent\0agent.datadoghq.com");
        write("profile", name.trim_end_matches(".toml"), seed.as_bytes())?;
    }
    write("profile", "path", b"C:\\Program Files\\*\\a.exe\0c:\\program files\\1\\A.EXE\0x")?;
    write("profile", "name", b"ssm.*.amazonaws.com\0x\0ssm.eu-west-1.amazonaws.com")?;
    write("config", "time", b"2026-11-22T22:13:23.5+01:00")?;
    Ok(())
}
