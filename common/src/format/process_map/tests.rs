//! The readers of maps: what each form tells, and what a bad row costs.

use proptest::prelude::*;

use super::*;

/// What a file gives: entries in a few words, and errors.
fn read(file: &str) -> Vec<String> {
    let format = MapFormat::detect(file.as_bytes()).expect("a map");
    let mut reader = MapReader::new(format);
    let mut splitter = super::super::split::Splitter::new(format.framing(file.as_bytes()));
    let (mut records, mut all) = (Vec::new(), Vec::new());
    splitter.split(file.as_bytes(), true, &mut records);
    for (line, range) in records {
        let read = reader.record(&file.as_bytes()[range], &mut |entry| {
            let of = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            let ip = |ip: Option<IpAddr>| of(ip.map(|ip| ip.to_string()));
            let port = |port: Option<u16>| of(port.map(|port| port.to_string()));
            all.push(format!(
                "{} {} {} {} {} {} {}",
                of(entry.transport.map(|transport| transport.to_string())),
                ip(entry.local_ip),
                port(entry.local_port),
                ip(entry.remote_ip),
                port(entry.remote_port),
                of(entry.pid.map(|pid| pid.to_string())),
                entry.image,
            ));
        });
        if let Err(error) = read {
            all.push(format!("{line}: {error}"));
        }
    }
    all
}

#[test]
fn csv_json_and_ss_tell_the_same_of_a_connection() {
    let expected = ["tcp 10.0.0.5 43210 192.0.2.7 443 123 curl"];
    for file in [
        "image,pid,transport,local_ip,local_port,remote_ip,remote_port\ncurl,123,TCP,10.0.0.5,43210,192.0.2.7,443\n",
        "\u{feff}sep=;\r\nTransport;Local_IP;local_port;remote_ip;remote_port;pid;\"image\";more\r\n\
         tcp;10.0.0.5;43210;192.0.2.7;443;123;\"curl\";x\r\n\r\n",
        r#"{"transport":"tcp","local_ip":"10.0.0.5","local_port":43210,"remote_ip":"192.0.2.7","remote_port":"443","process":{"pid":123,"start":null},"image":"curl"}"#,
        "[\n {\"transport\": \"tcp\", \"local_ip\": \"::ffff:10.0.0.5\", \"local_port\": 43210,\n\"remote_ip\":\"192.0.2.7\",\"remote_port\":443,\"pid\":123,\"image\":\"curl\"}\n]\n",
        "tcp ESTAB 0 0 10.0.0.5:43210 192.0.2.7:443 users:((\"curl\",pid=123,fd=5))",
        "Netid State  Recv-Q Send-Q        Local Address:Port   Peer Address:PortProcess\n\
         tcp   ESTAB  0      0      [::ffff:10.0.0.5]:43210 [::ffff:192.0.2.7]:443   users:((\"curl\",pid=123,fd=5),(\"sh\",pid=9,fd=5)) timer:(x)\n",
    ] {
        assert_eq!(read(file), expected, "{file}");
    }
}

#[test]
fn ss_tells_nothing_of_sockets_without_process_or_peer_to_come() {
    let file = "udp UNCONN 0 0 0.0.0.0:5353 0.0.0.0:* users:((\"a b\",pid=7,fd=1))\n\
                udp ESTAB 0 0 [fe80::1]%eth0:546 [fe80::2]:547 users:((\"x\",pid=8,fd=1))\n\
                tcp LISTEN 0 128 *:22 *:* users:((\"sshd\",pid=1,fd=3))\n\
                tcp TIME-WAIT 0 0 10.0.0.5:1 192.0.2.7:443\n\
                tcp ESTAB 0 0 10.0.0.5:2 192.0.2.7:443\n\
                tcp ESTAB 0 0 10.0.0.5:ssh 192.0.2.7:443 users:((\"x\",pid=8,fd=1))\n\
                tcp ESTAB 0 0 10.0.0.5:4 192.0.2.7:443 users:((\"x\"))\n\
                what is this\n";
    let expected = [
        "udp - 5353 - - 7 a b",
        "udp fe80::1 546 fe80::2 547 8 x",
        "6: local: not a port, found `ssh`",
        "7: users: not a word that is known here, found `x\"))`",
        "8: State: not a word that is known here, found `what`",
    ];
    assert_eq!(read(file), expected);
    assert_eq!(
        read("ESTAB 0 0 10.0.0.5:5 192.0.2.7:443 users:((\"x\",pid=8,fd=1))"),
        ["- 10.0.0.5 5 192.0.2.7 443 8 x"]
    );
}

#[test]
fn a_row_that_cannot_be_used_says_which_field_and_why_and_costs_itself_alone() {
    let file = "local_port,remote_ip,image,start,end,signed,pid\n\
                1,,a,,,,\n\
                ,,a,,,,\n\
                70000,,a,,,,\n\
                0,,a,,,,\n\
                1,host,a,,,,\n\
                1,,,,,,\n\
                1,,a,today,,,\n\
                1,,a,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z,,\n\
                1,,a,,,perhaps,\n\
                1,,a,,,,-1\n\
                1,a\n\
                local_port,image\n\
                2,b\n";
    let expected = [
        "- - 1 - - - a",
        "3: local_port: missing",
        "4: local_port: not a port, found `70000`",
        "5: local_port: not a port, found `0`",
        "6: remote_ip: not an IP address, found `host`",
        "7: image: missing",
        "8: start: not a time, found `today`",
        "9: end: not a time, found `2026-01-01T00:00:00.000000000Z, before start`",
        "10: signed: not a word that is known here, found `perhaps`",
        "11: pid: not a number, found `-1`",
        "12: row: number of columns differs from the header's, found `2 instead of 7`",
        "- - 2 - - - b",
    ];
    assert_eq!(read(file), expected);
    assert!(read("{\"image\":1}\n{\"a\n")[0].starts_with("1: local_port: missing"));
}

#[test]
fn every_field_of_a_process_is_read() {
    let file = r#"{"local_port":7,"start":"2026-11-22T08:00:00Z","end":"2026-11-22 09:00:00","pid":4711,
        "process_start":"2026-11-22T07:59:58.25Z","image":"C:\\a.exe","command_line":"a.exe \"x\"","sha256":"AB",
        "script":"s","parent_image":"p","user":"CORP\\ann","container":"c","signed":false,"location":"temporary",
        "parent_class":"web_server","script_host":true,"browser":"no","age_days":0.5,"more":[1]}"#;
    let mut seen = 0;
    let mut reader = MapReader::new(MapFormat::Json);
    let read = reader.record(file.as_bytes(), &mut |entry| {
        seen += 1;
        let time = |text: &str| Some(text.parse().unwrap());
        let expected = MapEntry {
            local_port: Some(7),
            start: time("2026-11-22T08:00:00Z"),
            end: time("2026-11-22T09:00:00Z"),
            pid: Some(4711),
            process_start: time("2026-11-22T07:59:58.25Z"),
            image: r"C:\a.exe",
            command_line: r#"a.exe "x""#,
            sha256: "AB",
            script: "s",
            parent_image: "p",
            user: r"CORP\ann",
            container: "c",
            signed: Some(false),
            location: Some(ImageLocation::Temporary),
            parent_class: Some(ParentClass::WebServer),
            script_host: Some(true),
            browser: Some(false),
            age_days: Some(0.5),
            ..MapEntry::default()
        };
        assert_eq!(*entry, expected);
    });
    assert_eq!((read, seen), (Ok(()), 1));
}

#[test]
fn what_is_no_map_is_not_taken_for_one() {
    for file in [
        "",
        "\n\n",
        "hello, world",
        "local_port,pid\n1,2\n",
        "tcp 0 0 10.0.0.1:1 LISTEN",
        "\u{7f}ELF",
        "a,b,c",
    ] {
        assert_eq!(MapFormat::detect(file.as_bytes()), None, "{file}");
    }
}

proptest! {
    #[test]
    fn any_bytes_into_any_reader_return(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = MapFormat::detect(bytes);
            for format in [MapFormat::Csv, MapFormat::Json, MapFormat::Ss] {
                let mut reader = MapReader::new(format);
                let _ = reader.record(bytes, &mut |_| {});
                let _ = reader.record(b"local_port,image,pid", &mut |_| {});
                let _ = reader.record(bytes, &mut |_| {});
            }
        }
    }

    #[test]
    fn any_words_of_ss_return(words in proptest::collection::vec(
        prop_oneof!["tcp|udp|ESTAB|0|users:\\(\\(\"x\",pid=1,fd=2\\)\\)", "[0-9a-f:.%*\\[\\]]{0,12}"], 0..9)) {
        let line = words.join(" ");
        let _ = MapReader::new(MapFormat::Ss).record(line.as_bytes(), &mut |entry| assert!(!entry.image.is_empty()));
    }
}
