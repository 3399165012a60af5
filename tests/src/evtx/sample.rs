//! The EVTX file under `tests/data/logs/evtx`: an implant that calls home each minute beside a browser that does not, told by
//! Sysmon and by the filtering platform, one host.

use super::{Event, EvtxWriter, Value};
use crate::rng::Rng;

const SECOND: i64 = 1_000_000_000;
/// 2026-03-02T08:00:00Z.
const START: i64 = 1_772_438_400 * SECOND;
const SYSMON: (&str, &str) = ("Microsoft-Windows-Sysmon", "Microsoft-Windows-Sysmon/Operational");
const SECURITY: (&str, &str) = ("Microsoft-Windows-Security-Auditing", "Security");
const COMPUTER: &str = "pc-017.corp.example";
const IMPLANT: &str = "C:\\Users\\ada\\AppData\\Roaming\\up\u{0434}ater.exe";
const DEVICE_IMPLANT: &str = "\\device\\harddiskvolume2\\users\\ada\\appdata\\roaming\\up\u{0434}ater.exe";
const BROWSER: &str = r"C:\Program Files\Browser\browser.exe";
const USER: &str = r"CORP\ada";

/// `2026-03-02 08:00:00.123`
fn utc(nanos: i64) -> String {
    let text = sonde_common::time::Timestamp::from_nanos(nanos).to_string();
    text.get(..23).unwrap_or_default().replace('T', " ")
}

/// As Sysmon makes it: machine, start in seconds (low half first), and what tells the instance.
fn guid(pid: u32, started: i64) -> [u8; 16] {
    let [a, b, c, d] = u32::try_from(started / SECOND).unwrap_or(0).to_be_bytes();
    let [e, f, g, h] = pid.to_be_bytes();
    [0x29, 0x7b, 0xc3, 0x3e, c, d, a, b, e, f, g, h, 0, 0, 4, 0]
}

/// The file. It is the same at every call.
#[must_use]
pub fn sample() -> Vec<u8> {
    let mut writer = EvtxWriter::new();
    let mut rng = Rng::new(17);
    let implant = (6512, START - 7 * SECOND / 10, IMPLANT);
    let browser = (4100, START - 3_000 * SECOND, BROWSER);
    created(&mut writer, implant);
    for round in 0..45u16 {
        let wobble = i64::from(rng.u16() % 4_000) * 1_000_000;
        let nanos = START + i64::from(round) * 60 * SECOND + wobble;
        if round == 0 {
            lookup(&mut writer, implant, nanos - SECOND / 20);
        }
        // The filtering platform speaks first; some of its events are as a collector writes them.
        permitted(&mut writer, implant.0, nanos - SECOND / 2, 50_000 + round, round % 9 == 8);
        connected(&mut writer, implant, nanos, 50_000 + round, [198, 51, 100, 77]);
        if rng.u16().is_multiple_of(3) {
            let at = nanos + i64::from(rng.u16() % 40_000) * 1_000_000;
            let [server, _] = (rng.u16() % 40).to_le_bytes();
            connected(&mut writer, browser, at, 50_200 + round, [203, 0, 113, server]);
        }
    }
    writer.finish()
}

fn event<'a>(
    (provider, channel): (&'a str, &'a str),
    id: u16,
    nanos: i64,
    data: &'a [(&'a str, Value<'a>)],
) -> Event<'a> {
    Event { provider, channel, id, computer: COMPUTER, nanos, data }
}

/// Process id, start, image.
type Who = (u32, i64, &'static str);

fn created(writer: &mut EvtxWriter, (pid, started, image): Who) {
    let time = utc(started);
    let hashes = format!("SHA1={:040X},MD5={:032X},SHA256={:064X},IMPHASH={:032X}", 1, 2, 3, 4);
    let sysmon = [
        ("RuleName", Value::Text("-")),
        ("UtcTime", Value::Text(&time)),
        ("ProcessGuid", Value::Guid(guid(pid, started))),
        ("ProcessId", Value::U32(pid)),
        ("Image", Value::Text(image)),
        ("CommandLine", Value::Text("\"up\u{0434}ater.exe\" --quiet")),
        ("User", Value::Text(USER)),
        ("Hashes", Value::Text(&hashes)),
        ("ParentProcessId", Value::U32(880)),
        ("ParentImage", Value::Text(r"C:\Windows\explorer.exe")),
    ];
    writer.templated(&event(SYSMON, 1, started + SECOND / 100, &sysmon));
    let security = [
        ("SubjectUserName", Value::Text("ada")),
        ("SubjectDomainName", Value::Text("CORP")),
        ("NewProcessId", Value::Pointer(u64::from(pid))),
        ("NewProcessName", Value::Text(image)),
        ("ProcessId", Value::Pointer(880)),
        ("CommandLine", Value::Null),
        ("TargetUserName", Value::Text("-")),
        ("ParentProcessName", Value::Text(r"C:\Windows\explorer.exe")),
    ];
    writer.templated(&event(SECURITY, 4688, started + SECOND / 100, &security));
}

fn lookup(writer: &mut EvtxWriter, (pid, started, image): Who, nanos: i64) {
    let time = utc(nanos);
    let data = [
        ("UtcTime", Value::Text(&time)),
        ("ProcessGuid", Value::Guid(guid(pid, started))),
        ("ProcessId", Value::U32(pid)),
        ("QueryName", Value::Text("cdn.updates.example")),
        ("QueryStatus", Value::Text("0")),
        ("QueryResults", Value::Text("type:  5 edge.updates.example;::ffff:198.51.100.77;")),
        ("Image", Value::Text(image)),
    ];
    writer.templated(&event(SYSMON, 22, nanos + SECOND, &data));
}

fn permitted(writer: &mut EvtxWriter, pid: u32, nanos: i64, port: u16, plain: bool) {
    let port = port.to_string();
    let data = [
        ("ProcessID", Value::U64(u64::from(pid))),
        ("Application", Value::Text(DEVICE_IMPLANT)),
        ("Direction", Value::Text("%%14593")),
        ("SourceAddress", Value::Text("10.3.0.17")),
        ("SourcePort", Value::Text(&port)),
        ("DestAddress", Value::Text("198.51.100.77")),
        ("DestPort", Value::Text("443")),
        ("Protocol", Value::U32(6)),
        ("LayerRTID", Value::U64(48)),
    ];
    let event = event(SECURITY, 5156, nanos, &data);
    if plain { writer.plain(&event) } else { writer.templated(&event) }
}

fn connected(writer: &mut EvtxWriter, (pid, started, image): Who, nanos: i64, port: u16, server: [u8; 4]) {
    let (time, server) = (utc(nanos), std::net::Ipv4Addr::from(server).to_string());
    let data = [
        ("RuleName", Value::Text("-")),
        ("UtcTime", Value::Text(&time)),
        ("ProcessGuid", Value::Guid(guid(pid, started))),
        ("ProcessId", Value::U32(pid)),
        ("Image", Value::Text(image)),
        ("User", Value::Text(USER)),
        ("Protocol", Value::Text("tcp")),
        ("Initiated", Value::Bool(true)),
        ("SourceIsIpv6", Value::Bool(false)),
        ("SourceIp", Value::Text("10.3.0.17")),
        ("SourcePort", Value::U16(port)),
        ("DestinationIp", Value::Text(&server)),
        ("DestinationHostname", Value::Text("-")),
        ("DestinationPort", Value::U16(443)),
    ];
    writer.templated(&event(SYSMON, 3, nanos + 2 * SECOND, &data));
}
