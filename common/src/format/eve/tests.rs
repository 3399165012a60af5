//! Events of every version and kind, and what each rule makes of them.

use proptest::prelude::*;

use super::Eve;
use crate::event::{AppProtocol, Outcome};
use crate::format::kept::Kept;
use crate::format::row::{ATTRIBUTES_LEAD, Cause, DnsRow, Kind, Row, Said};
use crate::net::Transport;
use crate::time::Timestamp;

/// 2024-01-01T10:00:00.123456Z.
const AT: Timestamp = Timestamp::from_nanos(1_704_103_200_123_456_000);

fn said_in(kept: &Kept) -> Said<'_> {
    let Row { kind: Kind::Attributes(row), time, .. } = kept.only() else { panic!("{:?}", kept.only()) };
    assert_eq!((row.uid, time), ("1855", AT.plus_nanos(-ATTRIBUTES_LEAD)));
    row.said
}

fn answer(kept: &Kept) -> DnsRow<'_> {
    assert_eq!(kept.dns().start, AT);
    kept.dns()
}

fn eve(text: &str) -> Kept {
    let mut seen = Kept::default();
    Eve::new().record(text.as_bytes(), &mut seen);
    seen
}

/// An event of the flow that all tests are about, with what is its own.
fn event(kind: &str, own: &str) -> String {
    format!(
        r#"{{"timestamp":"2024-01-01T10:00:00.123456+0000","flow_id":1855,"in_iface":"eth0","event_type":"{kind}","src_ip":"10.0.0.5","src_port":50000,"dest_ip":"192.0.2.7","dest_port":443,"proto":"TCP",{own}}}"#
    )
}

const FLOW: &str = r#""app_proto":"tls","flow":{"pkts_toserver":9,"pkts_toclient":8,"bytes_toserver":1500,"bytes_toclient":5200,"start":"2024-01-01T12:00:00.100000+0200","end":"2024-01-01T10:00:30.100001+0000","age":30,"state":"closed","reason":"timeout","alerted":false},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"state":"closed"}"#;

#[test]
fn a_flow_is_a_connection() {
    let seen = eve(&event("flow", FLOW));
    let row = seen.connection();
    assert_eq!((row.uid, row.tuple.transport), ("1855", Transport::Tcp));
    assert_eq!(
        (row.tuple.local.to_string(), row.tuple.remote.to_string()),
        ("10.0.0.5:50000".into(), "192.0.2.7:443".into())
    );
    assert_eq!(row.start, Timestamp::from_nanos(1_704_103_200_100_000_000));
    assert_eq!(row.duration, Some(30_000_001_000));
    assert_eq!((row.bytes_out, row.bytes_in, row.ip_bytes_out), (None, None, Some(1500)));
    assert_eq!((row.outcome, row.said.protocol), (Outcome::Established, AppProtocol::Tls));
    assert_eq!(row.opener_is_local, None);
}

#[test]
fn the_flags_of_each_side_tell_how_it_went() {
    for (sent, received, outcome) in [
        ("1b", "1b", Outcome::Established),
        ("1a", "12", Outcome::Established),
        ("1f", "1b", Outcome::Established),
        ("1e", "1a", Outcome::Reset),
        ("1b", "1e", Outcome::Reset),
        ("02", "14", Outcome::Refused),
        ("02", "00", Outcome::Unanswered),
        ("18", "18", Outcome::Unknown),
        ("18", "00", Outcome::Unknown),
        ("02", "10", Outcome::Unknown),
    ] {
        let flags = FLOW
            .replace("ts\":\"1b", &format!("ts\":\"{sent}"))
            .replace("tc\":\"1b", &format!("tc\":\"{received}"));
        assert_eq!(eve(&event("flow", &flags)).connection().outcome, outcome, "{sent} {received}");
    }
}

#[test]
fn without_flags_it_counts_whether_anything_came_back() {
    let flow = |proto: &str, state: &str, packets: &str| {
        let own = FLOW.split(",\"tcp\"").next().unwrap();
        let own = own.replace("closed", state).replace("\"pkts_toclient\":8,", packets);
        eve(&event("flow", &own).replace("\"TCP\"", proto)).connection().outcome
    };
    let (some, none, absent) = ("\"pkts_toclient\":8,", "\"pkts_toclient\":0,", "");
    for proto in ["\"TCP\"", "\"UDP\""] {
        assert_eq!(flow(proto, "new", none), Outcome::Unanswered);
        assert_eq!(flow(proto, "established", some), Outcome::Established);
        assert_eq!(flow(proto, "bypassed", some), Outcome::Established);
        assert_eq!(flow(proto, "closed", absent), Outcome::Established);
        assert_eq!(flow(proto, "new", absent), Outcome::Unknown);
    }
    assert_eq!(flow("\"TCP\"", "new", some), Outcome::Unknown);
    assert_eq!(flow("\"UDP\"", "new", some), Outcome::Established);
}

#[test]
fn of_icmp_only_an_echo_request_is_a_call() {
    let icmp = |proto: &str, kind: &str| {
        let text = event("flow", &format!("\"icmp_type\":{kind},\"icmp_code\":0,{FLOW}"));
        let text = text.replace("\"TCP\"", &format!("\"{proto}\"")).replace(",\"src_port\":50000", "");
        eve(&text.replace(",\"dest_port\":443", "").replace(",\"tcp\":{", ",\"x\":{"))
    };
    let seen = icmp("ICMP", "8");
    assert_eq!(seen.connection().tuple.transport, Transport::Icmp);
    assert_eq!((seen.connection().tuple.local.port(), seen.connection().outcome), (0, Outcome::Established));
    assert_eq!(icmp("IPv6-ICMP", "128").connection().tuple.transport, Transport::Icmp);
    for (proto, kind) in [("ICMP", "3"), ("ICMP", "128"), ("IPv6-ICMP", "135"), ("GRE", "8")] {
        assert_eq!(icmp(proto, kind).only(), Row { time: AT, ..Row::default() }, "{proto} {kind}");
    }
}

#[test]
fn handshakes_give_name_and_fingerprint() {
    let own = r#""tls":{"sni":"C2.example.org","version":"TLS 1.3","ja3":{"hash":"aa","string":"7"},"ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1"}"#;
    let seen = eve(&event("tls", own));
    assert_eq!((said_in(&seen).sni, said_in(&seen).protocol), ("C2.example.org", AppProtocol::Tls));
    assert_eq!(said_in(&seen).ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    assert_eq!(
        said_in(&eve(&event("tls", &own.replace("TLS 1.3", "DTLS 1.2")))).protocol,
        AppProtocol::Unknown
    );
    let seen =
        eve(&event("quic", r#""quic":{"version":"1","sni":"q.example","ja3":{"hash":"aa"},"ja4":"q13d"}"#));
    assert_eq!(
        (said_in(&seen).sni, said_in(&seen).protocol, said_in(&seen).ja4),
        ("q.example", AppProtocol::Quic, "q13d")
    );
}

#[test]
fn a_handshake_gives_the_servers_certificate() {
    let print = "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d";
    let seen = eve(&event(
        "tls",
        &format!(r#""tls":{{"subject":"CN=a","fingerprint":"{print}","sni":"a.example"}}"#),
    ));
    assert_eq!((said_in(&seen).certificate_sha1, said_in(&seen).sni), (print, "a.example"));
}

const HTTP: &str = r#""tx_id":0,"http":{"hostname":"www.example.org","url":"/a\"b","http_user_agent":"agent\/1 \"x\"","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":345}"#;

#[test]
fn the_first_request_names_the_connection_and_later_ones_are_exchanges() {
    let seen = eve(&event("http", HTTP));
    let said = said_in(&seen);
    assert_eq!((said.http_host, said.user_agent), ("www.example.org", "agent/1 \"x\""));
    assert_eq!(said.protocol, AppProtocol::Http);
    let seen = eve(&event("http", &HTTP.replace("\"tx_id\":0", "\"tx_id\":4")));
    let Row { kind: Kind::Exchange(row), time: AT, .. } = seen.only() else { panic!("{:?}", seen.only()) };
    assert_eq!((row.uid, row.bytes_out, row.bytes_in), ("1855", 0, 345));
    assert_eq!(
        (row.tuple.remote.to_string(), row.said.http_host),
        ("192.0.2.7:443".into(), "www.example.org")
    );
    let connect = HTTP.replace("GET", "CONNECT").replace(r#"/a\"b"#, "c2.example:8443");
    let seen = eve(&event("http", &connect));
    assert_eq!((said_in(&seen).connect_host, said_in(&seen).connect_port), ("c2.example", 8443));
}

/// A DNS event between a client's port 40000 and its resolver's port 53.
fn dns(from_resolver: bool, own: &str) -> String {
    let (client, resolver) = (("10.0.0.5", 40000), ("10.0.0.1", 53));
    let (from, to) = if from_resolver { (resolver, client) } else { (client, resolver) };
    event("dns", &format!("\"dns\":{{{own}}}"))
        .replace(
            "\"src_ip\":\"10.0.0.5\",\"src_port\":50000",
            &format!("\"src_ip\":\"{}\",\"src_port\":{}", from.0, from.1),
        )
        .replace(
            "\"dest_ip\":\"192.0.2.7\",\"dest_port\":443",
            &format!("\"dest_ip\":\"{}\",\"dest_port\":{}", to.0, to.1),
        )
        .replace("\"TCP\"", "\"UDP\"")
}

const ANSWERS: &str = r#""rcode":"NOERROR","answers":[{"rrname":"a.example","rrtype":"CNAME","ttl":3597,"rdata":"b.example"},{"rrname":"b.example","rrtype":"A","ttl":97,"rdata":"192.0.2.7"},{"rrname":"b.example","rrtype":"AAAA","ttl":597,"rdata":"2001:db8::7"},{"rrname":"b.example","rrtype":"TXT","ttl":597,"rdata":"192.0.2.99"},7]"#;

#[test]
fn answers_of_every_version_tell_the_same() {
    let two = format!(r#""version":2,"type":"answer","id":7,"rrname":"A.example","rrtype":"A",{ANSWERS}"#);
    let three = format!(
        r#""version":3,"type":"response","id":7,{ANSWERS},"queries":[{{"rrname":"A.example","rrtype":"A"}},{{"rrname":"z.example","rrtype":"TXT"}}]"#
    );
    let expected = eve(&dns(false, &two));
    let row = answer(&expected);
    assert_eq!((row.client, row.resolver), ("10.0.0.5".parse().ok(), "10.0.0.1:53".parse().ok()));
    assert_eq!((row.query, row.query_type, row.response_code, row.ttl_secs), ("A.example", 1, Some(0), 97));
    let addresses = row.addresses.to_vec().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(addresses, ["192.0.2.7", "2001:db8::7"]);
    for (from_resolver, text) in [(true, &two), (true, &three), (false, &three)] {
        assert_eq!(eve(&dns(from_resolver, text)), expected);
    }
    let grouped = r#""version":2,"type":"answer","rrname":"A.example","rrtype":"A","rcode":"NOERROR","grouped":{"A":["192.0.2.7"],"AAAA":["2001:db8::7"],"CNAME":["b.example"]}"#;
    let seen = eve(&dns(false, grouped));
    assert_eq!((answer(&seen).addresses, answer(&seen).ttl_secs), (row.addresses, 0));
    for from_resolver in [false, true] {
        let one = r#""type":"answer","id":7,"rcode":"NOERROR","rrname":"b.example","rrtype":"A","ttl":97,"rdata":"192.0.2.7""#;
        let seen = eve(&dns(from_resolver, one));
        assert_eq!(
            (answer(&seen).client, answer(&seen).query, answer(&seen).ttl_secs),
            (row.client, "b.example", 97)
        );
        assert_eq!(answer(&seen).addresses.to_vec().len(), 1);
    }
    let seen = eve(&dns(
        false,
        r#""version":2,"type":"answer","rcode":"NXDOMAIN","rrname":"x.example","rrtype":"TXT""#,
    ));
    assert_eq!((answer(&seen).response_code, answer(&seen).query_type), (Some(3), 16));
}

#[test]
fn a_question_with_its_answer_counts_once() {
    for own in [
        r#""type":"query","id":7,"rrname":"a.example","rrtype":"A","tx_id":0"#,
        r#""version":3,"type":"request","id":7,"rcode":"NOERROR","queries":[{"rrname":"a.example","rrtype":"A"}]"#,
        r#""version":3,"type":"response","queries":[]"#,
    ] {
        assert_eq!(eve(&dns(false, own)).only(), Row { time: AT, ..Row::default() }, "{own}");
    }
}

#[test]
fn the_port_tells_the_resolver_and_then_the_version() {
    let ends = |source: &str, destination: &str, version: &str| {
        let own = format!(r#""version":{version},"type":"response","rrname":"a.example","rrtype":"A""#);
        let text = event("dns", &format!("\"dns\":{{{own}}}"))
            .replace(":50000", &format!(":{source}"))
            .replace(":443", &format!(":{destination}"));
        eve(&text).dns().client.unwrap().to_string()
    };
    let (source, destination) = ("10.0.0.5", "192.0.2.7");
    assert_eq!(ends("40000", "443", "3"), source, "DNS over HTTPS follows the flow");
    assert_eq!(ends("53", "30", "2"), destination);
    assert_eq!(ends("5353", "5353", "3"), destination);
    assert_eq!(ends("5353", "5353", "2"), source);
}

#[test]
fn other_events_are_passed_over() {
    for kind in ["alert", "netflow", "stats", "fileinfo", "anomaly"] {
        assert_eq!(eve(&event(kind, FLOW)).only(), Row { time: AT, ..Row::default() });
    }
    assert_eq!(eve(" \r"), Kept::default());
}

#[test]
fn a_recorded_hour_is_read_whole() {
    let text = include_str!("../../../../tests/data/logs/eve/eve.json");
    let mut seen = Kept::default();
    for line in text.lines() {
        Eve::new().record(line.as_bytes(), &mut seen);
    }
    assert_eq!((seen.bad.len(), seen.rows.len()), (0, text.lines().count()));
    assert!(Eve::recognises(text.as_bytes()));
}

#[test]
fn a_bad_event_costs_itself_alone_and_says_why() {
    let good = event("flow", FLOW);
    for (old, new, cause, field) in [
        ("{\"timestamp", "[{\"timestamp", Cause::Json, "row"),
        ("\"event_type\"", "\"eventtype\"", Cause::Missing, "event_type"),
        ("\"10.0.0.5\"", "\"10.0.0\"", Cause::Address, "src_ip"),
        ("\"dest_ip\"", "\"dst_ip\"", Cause::Missing, "dest_ip"),
        (":443", ":70000", Cause::Port, "dest_port"),
        ("2024-01-01T12:00:00", "2024-13-01T12:00:00", Cause::Time, "flow.start"),
        ("\"start\"", "\"begin\"", Cause::Missing, "flow.start"),
        (":1500", ":-1500", Cause::Number, "flow.bytes_toserver"),
        ("\"TCP\"", "null", Cause::Missing, "proto"),
    ] {
        let seen = eve(&good.replace(old, new));
        assert_eq!((seen.rows.len(), seen.bad.len()), (0, 1), "{old} {new}");
        assert_eq!(seen.bad[0].cause, cause, "{old} {new}");
        assert!(seen.bad[0].to_string().starts_with(field), "{}", seen.bad[0]);
    }
    let mut seen = Kept::default();
    let tls = event("tls", "\"tls\":{\"sni\":\"?.example\"}").replace('?', "\u{1}").into_bytes();
    let tls: Vec<u8> = tls.into_iter().map(|b| if b == 1 { 0xff } else { b }).collect();
    Eve::new().record(&tls, &mut seen);
    assert_eq!(said_in(&seen).sni, "\u{fffd}.example");
}

#[test]
fn times_are_read_with_any_offset() {
    for text in [
        "2024-01-01T10:00:00.123456+0000",
        "2024-01-01T15:30:00.123456+0530",
        "2024-01-01T01:00:00.123456-0900",
        "2024-01-01T10:00:00.123456Z",
        "2024-01-01T10:00:00.123456",
        "2024-01-01T11:00:00.123456+01:00",
    ] {
        assert_eq!(super::time(text), Some(AT), "{text}");
    }
    for text in ["", "+0000", "2024-01-01T10:00:00.123456+00x0", "now"] {
        assert_eq!(super::time(text), None, "{text}");
    }
}

#[test]
fn it_knows_its_files() {
    assert!(Eve::recognises(event("flow", FLOW).as_bytes()));
    assert!(Eve::recognises(&event("flow", FLOW).as_bytes()[..140]), "cut inside a line");
    assert!(Eve::recognises(
        b"{\"timestamp\":\"2024-01-01T10:00:00+0000\",\"event_type\":\"stats\",\"stats\":{}}"
    ));
    for other in [
        &b""[..],
        b"[{\"timestamp\":1,\"event_type\":\"flow\",\"flow_id\":1}]",
        b"{\"timestamp\":\"2024-01-01T10:00:00Z\",\"event_type\":\"login\",\"user\":\"x\"}",
        b"{\"ts\":1.5,\"uid\":\"C\",\"id.orig_h\":\"10.0.0.5\"}",
        b"{\"a\":1}\n{\"timestamp\":1,\"event_type\":\"flow\",\"flow_id\":1}",
    ] {
        assert!(!Eve::recognises(other), "{}", other.escape_ascii());
    }
}

proptest! {
    #[test]
    fn any_bytes_return(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut seen = Kept::default();
        Eve::new().record(&line, &mut seen);
        let _ = Eve::recognises(&line);
    }

    #[test]
    fn a_damaged_event_is_a_row_or_a_bad_one(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        which in 0usize..4,
    ) {
        let mut text = match which {
            0 => event("flow", FLOW),
            1 => event("http", HTTP),
            2 => dns(true, &format!(r#""version":3,"type":"response",{ANSWERS},"queries":[{{"rrname":"a","rrtype":"A"}}]"#)),
            _ => dns(false, r#""type":"answer","rrname":"a","rrtype":"A","rdata":"192.0.2.1","grouped":{"A":["192.0.2.2"]}"#),
        }.into_bytes();
        for (at, byte) in damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut seen = Kept::default();
        Eve::new().record(&text, &mut seen);
        prop_assert_eq!(seen.rows.len() + seen.bad.len(), 1);
    }

    #[test]
    fn names_and_times_come_back_as_they_went_in(sni in "\\PC{1,30}", micros in 0i64..4_000_000_000_000_000) {
        let time = Timestamp::from_nanos(micros * 1000);
        let own = format!("\"tls\":{{\"sni\":{}}}", serde_json::to_string(&sni).unwrap());
        let stamp = time.to_string().replace("000Z", "+0000");
        let seen = eve(&event("tls", &own).replace("2024-01-01T10:00:00.123456+0000", &stamp));
        let Row { kind: Kind::Attributes(row), time: at, .. } = seen.only() else { panic!() };
        prop_assert_eq!((row.said.sni, at), (sni.as_str(), time.plus_nanos(-ATTRIBUTES_LEAD)));
    }
}
