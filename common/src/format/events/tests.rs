//! The promises of the format: nothing is lost, nothing unsafe comes in, and the documentation tells the truth.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::read::FIELDS;
use super::*;
use crate::certificate::Certificate;
use crate::event::*;
use crate::live::{Gap, GapCause};
use crate::net::{FiveTuple, Transport};
use crate::process::{
    Attribution, ImageLocation, MAX_ANCESTORS, Method, ParentClass, ProcessInfo, ProcessKey, Quality,
};
use crate::text::is_plain;
use crate::time::Timestamp;

const DOCUMENT: &str = include_str!("../../../../docs/events.md");

fn written(observation: &Observation<'_>) -> String {
    let mut out = Vec::new();
    write_line(observation, &mut out);
    String::from_utf8(out).unwrap()
}

/// Debug text shows every field to the last digit, and the types need no `PartialEq` for it.
fn read_debug(line: &str) -> Result<String, EventError> {
    let mut parser = EventParser::new();
    Ok(format!("{:?}", parser.parse_line(line.as_bytes())?))
}

fn assert_round_trip(observation: &Observation<'_>) {
    let line = written(observation);
    assert_eq!(read_debug(&line).unwrap(), format!("{:?}", Some(observation)), "{line}");
    assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line:?}");
    assert!(line.len() <= MAX_LINE_BYTES);
}

fn failure(line: &str) -> String {
    EventParser::new().parse_line(line.as_bytes()).unwrap_err().to_string()
}

/// A connection line with `extra` fields at its end.
fn connection_line(extra: &str) -> String {
    format!(
        r#"{{"time":"2026-11-22T08:00:00Z","host":"h","type":"connection","phase":"whole","transport":"tcp","remote_ip":"203.0.113.7"{extra}}}"#
    )
}

/// What `read` sees of the connection line with `extra` fields.
fn with_names<T>(extra: &str, look: impl FnOnce(&Names<'_>, u64) -> T) -> T {
    let line = connection_line(extra);
    let mut parser = EventParser::new();
    let Some(Observation { event: Event::Connection(connection), .. }) =
        parser.parse_line(line.as_bytes()).unwrap()
    else {
        panic!("{line}")
    };
    // The names borrow the parser, so they are copied to ask it for its counter.
    let [fqdn, sni, connect_host, http_host, user_agent] = [
        connection.names.fqdn,
        connection.names.sni,
        connection.names.connect_host,
        connection.names.http_host,
        connection.names.user_agent,
    ]
    .map(str::to_owned);
    let names = Names {
        fqdn: &fqdn,
        sni: &sni,
        connect_host: &connect_host,
        connect_port: connection.names.connect_port,
        http_host: &http_host,
        user_agent: &user_agent,
    };
    look(&names, parser.cut())
}

#[test]
fn every_example_of_the_documentation_reads_and_writes_back_equal() {
    let mut seen = std::collections::BTreeSet::new();
    let mut inside = false;
    for line in DOCUMENT.lines() {
        if line.starts_with("```") {
            inside = line == "```json";
            continue;
        }
        if !inside {
            continue;
        }
        let mut parser = EventParser::new();
        let mut again = Vec::new();
        match parser.parse_line(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}")) {
            None => {
                seen.insert("header");
                write_header(&mut again);
            }
            Some(observation) => {
                seen.insert(match observation.event {
                    Event::Host(_) => "host",
                    Event::Process(..) => "process",
                    Event::KnownDestination { .. } => "known_destination",
                    Event::Dns(_) => "dns",
                    Event::Resolvers(_) => "resolvers",
                    Event::Gap(_) => "gap",
                    Event::Connection(connection) => match connection.phase {
                        Phase::Opened => "opened",
                        Phase::Joined => "joined",
                        Phase::Exchange { .. } => "exchange",
                        Phase::Certificate(_) => "certificate",
                        Phase::Closed(_) => "closed",
                        Phase::Whole(_) => "whole",
                    },
                });
                write_line(&observation, &mut again);
            }
        }
        assert_eq!(String::from_utf8(again).unwrap().trim_end(), line);
    }
    assert_eq!(seen.len(), 13, "the documentation lacks an example: {seen:?}");
}

#[test]
fn every_field_is_documented() {
    for field in FIELDS {
        assert!(
            DOCUMENT.contains(&format!("`{field}`")) || DOCUMENT.contains(&format!("\"{field}\":")),
            "{field}"
        );
    }
}

#[test]
fn golden_lines() {
    let mut out = Vec::new();
    write_header(&mut out);
    let time = Timestamp::from_secs_nanos(1_700_006_400, 123_456_789);
    let host = HostId::Address("fe80::1".parse().unwrap());
    write_line(&Observation { time, host, event: Event::Host(HostFacts::default()) }, &mut out);
    let event =
        Event::KnownDestination { name: "a\"b\\c\u{202e}\u{2028}\u{7f}\u{e0041}é.example", age_days: 1e300 };
    write_line(&Observation { time, host: HostId::Name("pc"), event }, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            "{\"type\":\"sonde.events\",\"version\":1}\n",
            "{\"time\":\"2023-11-15T00:00:00.123456789Z\",\"host\":\"fe80::1\",\"type\":\"host\",\"history\":false,",
            "\"observed_since\":\"1970-01-01T00:00:00.000000000Z\"}\n",
            "{\"time\":\"2023-11-15T00:00:00.123456789Z\",\"host\":\"pc\",\"type\":\"known_destination\",",
            "\"name\":\"a\\\"b\\\\c\\u202e\\u2028\\u007f\\udb40\\udc41é.example\",\"age_days\":1e300}\n",
        )
    );
}

#[test]
fn header_is_optional_repeatable_and_guards_the_version() {
    let mut parser = EventParser::new();
    for line in ["", "  \r\n", "\u{feff}{\"type\":\"sonde.events\",\"version\":1,\"made_by\":[{}]}\r\n"] {
        assert!(parser.parse_line(line.as_bytes()).unwrap().is_none(), "{line:?}");
    }
    let later = "{\"type\":\"sonde.events\",\"version\":2}";
    assert_eq!(
        parser.parse_line(later.as_bytes()).unwrap_err(),
        EventError::Version { had: 2, limit: VERSION }
    );
    assert!(failure("{\"type\":\"sonde.events\"}").contains("`version` is missing"));
    assert!(looks_like_events(later.as_bytes()) && looks_like_events(connection_line("").as_bytes()));
    for other in
        ["", "{}", "{\"ts\":1.5,\"id.orig_h\":\"10.0.0.1\"}", "#fields\tts", "{\"type\":\"wineventlog\"}"]
    {
        assert!(!looks_like_events(other.as_bytes()), "{other:?}");
    }
}

#[test]
fn errors_name_the_field_the_column_and_the_reason() {
    let cases = [
        (r#"{"time":"2026-11-22","type":"host"}"#, "column 20: field `time`: not an RFC 3339 time"),
        (
            r#"{"type":"flow"}"#,
            "column 14: field `type`: unknown type `flow`; known are host, process, known_destination",
        ),
        (r#"{"time":"2026-11-22T08:00:00Z"}"#, "field `type` is missing"),
        (r#"{"type":"dns"}"#, "field `time` is missing in an event of type dns"),
        (r#"{"type":"dns","time":"2026-11-22T08:00:00Z"}"#, "field `query_type` is missing"),
        (r#"{"type":"process","time":"2026-11-22T08:00:00Z"}"#, "field `process` is missing"),
        (r#"{"type":"process","process":{}}"#, "field `process`: missing field `pid`"),
        ("[1]", "invalid type: sequence, expected a JSON object"),
        (r#"{"type":"host""#, "EOF while parsing an object"),
        (r#"{"type":"host"} x"#, "trailing characters"),
    ];
    for (line, expected) in cases {
        let error = failure(line);
        assert!(error.contains(expected), "{line}\n{error}");
    }
    let fields = [
        (r#","remote_port":70000"#, "field `remote_port`: invalid value: integer `70000`"),
        (r#","ja4":"short""#, "field `ja4`: expected 36 printable ASCII characters"),
        (r#","certificate_sha1":"ab""#, "field `certificate_sha1`: expected 40 hexadecimal digits"),
        (r#","local_ip":"10.0.0""#, "field `local_ip`: invalid IP address"),
        (
            r#","outcome":"lost""#,
            "field `outcome`: unknown variant `lost`, expected one of `unknown`, `established`",
        ),
        (r#","sni":7"#, "field `sni`: invalid type: integer `7`, expected a string"),
        (r#","sni":"a"#, "field `sni`: EOF while parsing a string"),
    ];
    for (extra, expected) in fields {
        let error = failure(&connection_line(extra));
        assert!(error.contains(expected), "{extra}\n{error}");
    }
    assert_eq!(EventParser::new().parse_line(b"{\"\xff").unwrap_err(), EventError::NotUtf8 { column: 3 });
    let long = vec![b' '; MAX_LINE_BYTES + 1];
    assert!(matches!(EventParser::new().parse_line(&long), Err(EventError::TooLong { .. })));
}

#[test]
fn errors_quote_the_file_harmlessly_and_briefly() {
    let error = failure(&format!("{{\"type\":\"\\u001b[31m\\u202e{}\"}}", "x".repeat(5000)));
    assert!(error.len() < 400 && error.chars().all(is_plain), "{error}");
}

#[test]
fn unknown_fields_null_and_order_do_not_matter() {
    let plain = read_debug(&connection_line("")).unwrap();
    let extra = r#","x":{"time":[1,{"type":null}]},"sni":null,"local_ip":null,"addresses":null,"image":null,"end":null,"community_id":7"#;
    assert_eq!(read_debug(&connection_line(extra)).unwrap(), plain);
    let turned = r#"{"remote_ip":"203.0.113.7","transport":"tcp","phase":"whole","type":"connection","host":"h","time":"2026-11-22T09:00:00+01:00"}"#;
    assert_eq!(read_debug(turned).unwrap(), plain);
}

#[test]
fn nothing_of_one_line_is_left_in_the_next() {
    let mut parser = EventParser::new();
    let full = r#"{"time":"2026-11-22T08:00:00Z","type":"process","process":{"pid":1},"image":"/bin/A","command_line":"c","sha256":"AB","script":"s","parent_image":"p","user":"u","container":"o","pod":"d","service":"v","package":"g","ancestors":["/a","/b"],"signed":true,"location":"home","parent_class":"shell","script_host":true,"browser":true,"age_days":3}"#;
    let Some(Observation { event: Event::Process(_, info), .. }) =
        parser.parse_line(full.as_bytes()).unwrap()
    else {
        panic!()
    };
    assert_eq!((info.image.as_str(), info.sha256.as_str(), info.age_days), ("/bin/A", "ab", Some(3.0)));
    let bare = r#"{"time":"2026-11-22T08:00:00Z","type":"process","process":{"pid":1}}"#;
    let Some(Observation { event: Event::Process(_, info), .. }) =
        parser.parse_line(bare.as_bytes()).unwrap()
    else {
        panic!()
    };
    assert_eq!(info, &ProcessInfo::default());
}

#[test]
fn names_are_lowered_and_lose_what_could_steer_a_terminal() {
    let extra = r#","fqdn":"CDN.Example.NET.","sni":"A\u001b[31m\u202e.Example","connect_host":"ÉX.example","http_host":"Www.Example.","user_agent":"Curl/8 \u0007""#;
    with_names(extra, |names, cut| {
        assert_eq!(names.fqdn, "cdn.example.net");
        assert_eq!(names.sni, "a\\u{1b}[31m\\u{202e}.example");
        assert_eq!(names.connect_host, "Éx.example", "beyond ASCII nothing is lowered, as nowhere else");
        assert_eq!(names.http_host, "www.example.", "a claim keeps its dot");
        assert_eq!(names.user_agent, "Curl/8 \\u{7}");
        assert_eq!(cut, 0);
    });
    // Raw, not escaped, as no JSON writer writes them but a hostile one does: DEL and bidi are legal in a JSON string.
    with_names(",\"fqdn\":\"a\u{7f}b\u{202e}\"", |names, _| assert_eq!(names.fqdn, "a\\u{7f}b\\u{202e}"));
}

#[test]
fn long_texts_are_cut_at_a_character_and_counted() {
    let long = format!(r#","fqdn":"{}","user_agent":"{}""#, "a".repeat(300), "é".repeat(200));
    with_names(&long, |names, cut| {
        assert_eq!(names.fqdn.len(), MAX_NAME_BYTES);
        assert_eq!(names.user_agent, "é".repeat(MAX_USER_AGENT_BYTES / 2));
        assert_eq!(cut, 2);
    });
    let many = format!(
        r#"{{"time":"2026-11-22T08:00:00Z","type":"dns","query_type":1,"addresses":[{}"10.0.0.1"]}}"#,
        "\"10.0.0.1\",".repeat(MAX_ADDRESSES)
    );
    let mut parser = EventParser::new();
    let Some(Observation { event: Event::Dns(dns), .. }) = parser.parse_line(many.as_bytes()).unwrap() else {
        panic!()
    };
    assert_eq!(dns.addresses.len(), MAX_ADDRESSES);
    assert_eq!(parser.cut(), 1);
}

#[test]
fn largest_event_that_is_written_can_be_read() {
    // A control character of one byte becomes six characters: nothing grows more.
    let text = "\u{1}".repeat(MAX_PROCESS_TEXT_BYTES + 9);
    let info = ProcessInfo {
        image: text.clone(),
        command_line: text.clone(),
        sha256: text.clone(),
        script: text.clone(),
        parent_image: text.clone(),
        user: text.clone(),
        container: text.clone(),
        pod: text.clone(),
        service: text.clone(),
        package: text.clone(),
        ancestors: vec![text; MAX_ANCESTORS + 1],
        ..ProcessInfo::default()
    };
    let key = ProcessKey { pid: u32::MAX, start: Timestamp::MAX };
    let line = written(&Observation {
        time: Timestamp::MAX,
        host: HostId::Name("h"),
        event: Event::Process(key, &info),
    });
    assert!(line.len() > 1 << 20, "the test must be near the limit");
    assert!(EventParser::new().parse_line(line.as_bytes()).unwrap().is_some(), "{}", line.len());
}

#[test]
fn numbers_that_json_cannot_hold_are_replaced() {
    for (age, expected) in [(f64::NAN, 0.0), (f64::INFINITY, f64::MAX), (f64::NEG_INFINITY, f64::MIN)] {
        let event = Event::KnownDestination { name: "a", age_days: age };
        let line = written(&Observation { time: Timestamp::ZERO, host: HostId::Name("h"), event });
        let mut parser = EventParser::new();
        let Some(Observation { event: Event::KnownDestination { age_days, .. }, .. }) =
            parser.parse_line(line.as_bytes()).unwrap()
        else {
            panic!()
        };
        assert_eq!(age_days, expected);
    }
}

/// An observation that owns its texts.
#[derive(Clone, Debug)]
struct Sample {
    time: Timestamp,
    host: Result<IpAddr, String>,
    event: SampleEvent,
}

#[derive(Clone, Debug)]
enum SampleEvent {
    Host(bool, Timestamp),
    Process(ProcessKey, Box<ProcessInfo>),
    Known(String, f64),
    Connection {
        tuple: FiveTuple,
        start: Timestamp,
        process: Option<ProcessKey>,
        attribution: Attribution,
        names: [String; 5],
        port: u16,
        protocol: AppProtocol,
        ja4: Option<Ja4>,
        phase: Phase,
    },
    Dns {
        start: Timestamp,
        process: Option<ProcessKey>,
        attribution: Attribution,
        resolver: Option<SocketAddr>,
        query: String,
        numbers: (u16, Option<u16>, u32),
        addresses: Vec<IpAddr>,
    },
    Resolvers(Vec<IpAddr>),
    Gap(Gap),
}

impl Sample {
    fn check(&self) {
        let host = match &self.host {
            Ok(ip) => HostId::Address(*ip),
            Err(name) => HostId::Name(name),
        };
        let event = match &self.event {
            SampleEvent::Host(history, observed_since) => {
                Event::Host(HostFacts { history: *history, observed_since: *observed_since })
            }
            SampleEvent::Process(key, info) => Event::Process(*key, info),
            SampleEvent::Known(name, age_days) => Event::KnownDestination { name, age_days: *age_days },
            SampleEvent::Resolvers(addresses) => Event::Resolvers(addresses),
            SampleEvent::Gap(gap) => Event::Gap(*gap),
            SampleEvent::Connection {
                tuple,
                start,
                process,
                attribution,
                names,
                port,
                protocol,
                ja4,
                phase,
            } => {
                let [fqdn, sni, connect_host, http_host, user_agent] = names;
                Event::Connection(ConnectionEvent {
                    tuple: *tuple,
                    start: *start,
                    process: *process,
                    program: None,
                    attribution: *attribution,
                    names: Names { fqdn, sni, connect_host, connect_port: *port, http_host, user_agent },
                    protocol: *protocol,
                    ja4: *ja4,
                    phase: *phase,
                })
            }
            SampleEvent::Dns { start, process, attribution, resolver, query, numbers, addresses } => {
                Event::Dns(DnsEvent {
                    start: *start,
                    process: *process,
                    program: None,
                    attribution: *attribution,
                    tuple: None,
                    resolver: *resolver,
                    query,
                    query_type: numbers.0,
                    response_code: numbers.1,
                    addresses,
                    ttl_secs: numbers.2,
                })
            }
        };
        assert_round_trip(&Observation { time: self.time, host, event });
    }
}

/// Texts as sources hand them over: plain.
fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ -~]{0,30}",
        1 => any::<String>().prop_map(|text| text.chars().filter(|c| is_plain(*c)).take(60).collect()),
    ]
}

/// Names as sources hand them over: lower case, no trailing dot.
fn name() -> impl Strategy<Value = String> {
    plain().prop_map(|text| text.to_ascii_lowercase().trim_end_matches('.').to_owned())
}

fn time() -> impl Strategy<Value = Timestamp> {
    // Equal times are left out of a line, so they must be frequent.
    prop_oneof![
        any::<i64>(),
        1_700_000_000_000_000_000..1_800_000_000_000_000_000_i64,
        Just(0),
        Just(i64::MIN)
    ]
    .prop_map(Timestamp::from_nanos)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        Just("0.0.0.0".parse().unwrap()),
        Just("::".parse().unwrap()),
        Just("::ffff:10.0.0.1".parse().unwrap()),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), Just(0), Just(53)]
}

fn key() -> impl Strategy<Value = ProcessKey> {
    (any::<u32>(), time()).prop_map(|(pid, start)| ProcessKey { pid, start })
}

fn float() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
    NORMAL | SUBNORMAL | ZERO
}

fn phase() -> impl Strategy<Value = Phase> {
    let outcome = prop::sample::select(vec![
        Outcome::Unknown,
        Outcome::Established,
        Outcome::Refused,
        Outcome::Unanswered,
        Outcome::Reset,
    ]);
    let totals = (time(), any::<Option<u64>>(), any::<Option<u64>>(), outcome)
        .prop_map(|(end, bytes_out, bytes_in, outcome)| Totals { end, bytes_out, bytes_in, outcome })
        .boxed();
    prop_oneof![
        Just(Phase::Opened),
        Just(Phase::Joined),
        (time(), any::<u64>(), any::<u64>()).prop_map(|(start, bytes_out, bytes_in)| Phase::Exchange {
            start,
            bytes_out,
            bytes_in
        }),
        (any::<[u8; 20]>(), any::<[u8; 32]>(), 0..3).prop_map(|(sha1, sha256, which)| {
            Phase::Certificate(Certificate {
                sha1: (which != 1).then_some(sha1),
                sha256: (which != 0).then_some(sha256),
            })
        }),
        totals.clone().prop_map(Phase::Closed),
        totals.prop_map(Phase::Whole),
    ]
}

fn process_info() -> impl Strategy<Value = ProcessInfo> {
    use ImageLocation as L;
    use ParentClass as P;
    let texts = (
        [plain(), plain(), plain(), plain(), plain(), plain(), plain()],
        [plain(), plain(), plain()],
        prop::collection::vec(plain(), 0..=MAX_ANCESTORS),
    );
    let location = prop::option::of(prop::sample::select(vec![
        L::System,
        L::Programs,
        L::Home,
        L::Temporary,
        L::Memory,
    ]));
    let class = prop::option::of(prop::sample::select(vec![
        P::Service,
        P::Shell,
        P::Scheduler,
        P::Office,
        P::Browser,
        P::WebServer,
        P::Other,
    ]));
    (texts, any::<[Option<bool>; 3]>(), location, class, prop::option::of(float())).prop_map(
        |(texts, [signed, script_host, browser], location, parent_class, age_days)| {
            let (texts, [pod, service, package], ancestors) = texts;
            let [image, command_line, sha256, script, parent_image, user, container] = texts;
            ProcessInfo {
                image,
                command_line,
                sha256: sha256.to_ascii_lowercase(),
                script,
                parent_image,
                user,
                container,
                pod,
                service,
                package,
                ancestors,
                signed,
                location,
                parent_class,
                script_host,
                browser,
                age_days,
            }
        },
    )
}

fn attribution() -> impl Strategy<Value = Attribution> {
    use Method as M;
    use Quality as Q;
    let method = prop::sample::select(vec![M::None, M::Ebpf, M::Netlink, M::Poll, M::Seed]);
    let quality = prop::sample::select(vec![Q::None, Q::Inferred, Q::Exact, Q::KernelExact]);
    (method, quality).prop_map(|(method, quality)| Attribution { method, quality })
}

fn gap() -> impl Strategy<Value = Gap> {
    use GapCause as C;
    let cause = prop::sample::select(vec![
        C::Stopped,
        C::Suspended,
        C::ClockSet,
        C::Stalled,
        C::PacketsLost,
        C::EventsLost,
    ]);
    (time(), time(), cause, prop_oneof![Just(0), any::<u64>()]).prop_map(|(since, until, cause, lost)| Gap {
        since,
        until,
        cause,
        lost,
    })
}

fn event() -> impl Strategy<Value = SampleEvent> {
    let tuple = (
        prop::sample::select(vec![Transport::Tcp, Transport::Udp, Transport::Icmp]),
        (ip(), port()).prop_map(SocketAddr::from),
        (ip(), port()).prop_map(SocketAddr::from),
    )
        .prop_map(|(transport, local, remote)| FiveTuple { transport, local, remote });
    let names = [name().boxed(), name().boxed(), name().boxed(), name().boxed(), plain().boxed()];
    let protocol = prop::sample::select(vec![
        AppProtocol::Unknown,
        AppProtocol::Tls,
        AppProtocol::Quic,
        AppProtocol::Http,
        AppProtocol::Ssh,
    ]);
    let ja4 = prop::option::of("[!-~]{36}".prop_map(|text| Ja4::parse(&text).unwrap()));
    let process = prop::option::of(key()).boxed();
    prop_oneof![
        (any::<bool>(), time()).prop_map(|(history, since)| SampleEvent::Host(history, since)),
        (key(), process_info()).prop_map(|(key, info)| SampleEvent::Process(key, Box::new(info))),
        (name().prop_filter("a name", |name| !name.is_empty()), float())
            .prop_map(|(name, age)| SampleEvent::Known(name, age)),
        gap().prop_map(SampleEvent::Gap),
        prop::collection::vec(any::<IpAddr>(), 0..=8).prop_map(SampleEvent::Resolvers),
        ((tuple, time(), process.clone(), attribution(), names), (port(), protocol, ja4, phase())).prop_map(
            |((tuple, start, process, attribution, names), (port, protocol, ja4, phase))| {
                SampleEvent::Connection {
                    tuple,
                    start,
                    process,
                    attribution,
                    names,
                    port,
                    protocol,
                    ja4,
                    phase,
                }
            }
        ),
        (
            time(),
            process,
            attribution(),
            prop::option::of((ip(), port()).prop_map(SocketAddr::from)),
            name(),
            any::<(u16, Option<u16>, u32)>(),
            prop::collection::vec(ip(), 0..5)
        )
            .prop_map(|(start, process, attribution, resolver, query, numbers, addresses)| {
                SampleEvent::Dns { start, process, attribution, resolver, query, numbers, addresses }
            }),
    ]
}

/// The root has no name but its dot, and what has several dots behind it is still that name.
#[test]
fn the_root_stays_the_root() {
    for (line, expected) in [(".", "."), ("..", "."), ("a.example..", "a.example"), ("", "")] {
        let line = format!(
            r#"{{"time":"2026-11-22T08:00:00Z","host":"h","type":"dns","query":"{line}","query_type":2}}"#
        );
        let mut parser = EventParser::new();
        let observation = parser.parse_line(line.as_bytes()).unwrap().unwrap();
        let Event::Dns(query) = observation.event else { panic!("{observation:?}") };
        assert_eq!(query.query, expected);
        assert_round_trip(&observation);
    }
}

proptest! {
    #[test]
    fn every_observation_comes_back_equal(
        time in time(),
        host in prop_oneof![ip().prop_map(Ok), plain().prop_filter("a name", |n| n.parse::<IpAddr>().is_err()).prop_map(Err)],
        event in event(),
    ) {
        Sample { time, host, event }.check();
    }

    #[test]
    fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = EventParser::new().parse_line(&bytes);
    }

    /// Near misses of a real line, which get further than random bytes; what is read of them is written and read again.
    #[test]
    fn damaged_lines_return_and_what_is_read_is_stable(
        line in prop::sample::select(DOCUMENT.lines().filter(|line| line.starts_with('{')).collect::<Vec<_>>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = line.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = EventParser::new().parse_line(&bytes[..cut.index(bytes.len())]);
        let mut parser = EventParser::new();
        if let Ok(Some(observation)) = parser.parse_line(&bytes) {
            assert_round_trip(&observation);
        }
    }

    #[test]
    fn no_text_from_a_file_keeps_an_unsafe_character(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap();
        let extra = format!(r#","fqdn":{quoted},"sni":{quoted},"user_agent":{quoted}"#);
        with_names(&extra, |names, _| {
            for name in [names.fqdn, names.sni, names.user_agent] {
                assert!(name.chars().all(is_plain) && name.len() <= MAX_USER_AGENT_BYTES, "{name:?}");
            }
        });
    }
}
