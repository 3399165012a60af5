//! Against a double of the service (see there what it is worth), and answers as its documentation lists them.

use sonde_common::config::Config;
use sonde_common::record::Kind;
use sonde_tests::servers::sentinel::{ARC_KEY, CLIENT, SECRET, Sentinel as Double, State};

use super::*;
use crate::sink::lab::{Lab, alerts, counts, record, sink, sink as sink_of};

/// A sink to the double by an application's secret.
fn to(lab: &Lab, double: &Double, lines: &str) -> Box<dyn Sink> {
    let secret = lab.file("secret", SECRET).display().to_string();
    sink(&format!("{lines}\n{}", double.settings("a", Some(&secret)))).unwrap()
}

/// A sink that is set up as these lines say, with what is inside.
fn inside(lines: &str, own: &OwnSockets) -> Sentinel {
    let config = Config::parse(&format!("[sinks.a]\n{lines}"), &[]).unwrap();
    let (name, settings) = config.sinks.into_iter().next().unwrap();
    let sentinel = settings.sentinel.clone().unwrap();
    Sentinel::new(&name, &settings, &sentinel, own).unwrap()
}

fn of(kind: Kind, id: &str) -> Record {
    Record { kind, ..record(id, "{\"sonde\":{\"n\":1}}") }
}

fn rows(double: &Double, stream: &str) -> Vec<Value> {
    double.with(|state| state.rows.get(stream).cloned().unwrap_or_default())
}

fn ids(double: &Double, stream: &str) -> Vec<String> {
    rows(double, stream).iter().map(|row| row["EmissionId"].as_str().unwrap().to_owned()).collect()
}

const ALERTS: &str = "Custom-SondeAlert_CL";

#[tokio::test]
async fn rows_arrive_whole_each_in_the_stream_of_its_table() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let mut records = alerts();
    records.insert(1, of(Kind::Summary, "s"));
    records.extend([of(Kind::Health, "h"), of(Kind::Audit, "a")]);
    let delivery = to(&lab, &double, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
    assert_eq!(delivery.said, format!("{0} of {0} rows taken", records.len()));
    for (stream, table) in Table::ALL.map(|table| (table.stream(), table)) {
        let of_it: Vec<_> = records.iter().filter(|record| Table::of(record.kind) == table).collect();
        let got = rows(&double, stream);
        assert_eq!(got.len(), of_it.len(), "{stream}");
        for (row, record) in got.iter().zip(of_it) {
            let sent: Value =
                serde_json::from_slice(&sonde_common::encode::sentinel::row(record).unwrap()).unwrap();
            assert_eq!(*row, sent, "no column was dropped on the way");
        }
    }
    double.with(|state| {
        assert!(state.unknown.is_empty(), "{:?}", state.unknown);
        assert_eq!((state.calls.len(), state.tokens), (3, 1), "a call for each stream, one token for all");
        assert_eq!(state.packed, 1, "what is short goes as it is");
    });
}

#[tokio::test]
async fn a_token_is_kept_until_it_ends_and_renewed_once_when_it_is_refused() {
    let (lab, double) = (Lab::new(), Double::start(State { lifetime: 2, ..State::default() }));
    let mut sink = to(&lab, &double, "");
    for id in ["a", "b"] {
        assert_eq!(counts(&sink.deliver(&[record(id, "{}")]).await), (1, 0, 0));
    }
    assert_eq!(double.with(|state| state.tokens), 1);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(counts(&sink.deliver(&[record("c", "{}")]).await), (1, 0, 0));
    assert_eq!(double.with(|state| state.tokens), 2, "the first one was over");
    // Given up at the other side before its time.
    double.with(|state| state.lifetime = 3_600);
    double.with(State::revoke);
    assert_eq!(counts(&sink.deliver(&[record("d", "{}")]).await), (1, 0, 0));
    assert_eq!(double.with(|state| state.tokens), 3);
    assert_eq!(ids(&double, ALERTS), ["a", "b", "c", "d"]);
    // A token that never holds is no reason to ask for ever.
    double.with(|state| state.lifetime = 0);
    double.with(State::revoke);
    let delivery = sink.deliver(&[record("e", "{}")]).await;
    assert_eq!(counts(&delivery), (0, 0, 1), "{delivery:?}");
    assert!(delivery.said.contains("fresh token is refused"), "{}", delivery.said);
    assert_eq!(double.with(|state| state.tokens), 4, "one more and no second");
}

#[tokio::test]
async fn a_wrong_secret_is_told_without_it_and_a_new_one_is_taken_up() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let mut sink = to(&lab, &double, "");
    lab.file("secret", "geheim-and-wrong");
    let delivery = sink.deliver(&[record("a", "{}")]).await;
    assert_eq!(counts(&delivery), (0, 0, 1));
    assert!(
        delivery.said.contains("AADSTS7000215") && delivery.said.contains("sentinel.tenant"),
        "{}",
        delivery.said
    );
    assert!(!format!("{delivery:?}{}", inside_debug(&lab, &double)).contains("geheim"));
    lab.file("secret", SECRET);
    assert_eq!(counts(&sink.deliver(&[record("a", "{}")]).await), (1, 0, 0));
    double.with(|state| {
        state.revoke();
        state.login_throttled = 1;
    });
    let delivery = sink.deliver(&[record("b", "{}")]).await;
    assert_eq!(
        (counts(&delivery), delivery.retry_after),
        ((0, 0, 1), Some(Duration::from_secs(9))),
        "{delivery:?}"
    );
}

/// The sink as a log would show it.
fn inside_debug(lab: &Lab, double: &Double) -> String {
    let secret = lab.path().join("secret").display().to_string();
    format!("{:?}", inside(&double.settings("a", Some(&secret)), &OwnSockets::default()))
}

#[tokio::test]
async fn a_call_has_at_most_a_megabyte_before_it_is_packed() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let long = |n: usize, bytes: usize| {
        record(&format!("r{n}"), &format!("{{\"sonde\":{{\"id{n}\":\"{}\"}}}}", "x".repeat(bytes)))
    };
    let mut records: Vec<_> = (0..50).map(|n| long(n, 55_000)).collect();
    let delivery = to(&lab, &double, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (50, 0, 0), "{}", delivery.said);
    let calls = double.with(|state| std::mem::take(&mut state.calls));
    assert!(calls.len() == 4 && calls.iter().all(|bytes| *bytes <= MAX_CALL_BYTES), "{calls:?}");
    assert_eq!(ids(&double, ALERTS), records.iter().map(|record| record.id.clone()).collect::<Vec<_>>());
    // A server that takes less is found out by halves, and only what is too long by itself is given up.
    double.with(|state| state.largest = 100_000);
    records = (0..9).map(|n| long(n, if n == 4 { 2_000 } else { 20_000 })).collect();
    let names: String = (0..40).map(|n| format!("\"n{n}\":\"{}\",", "y".repeat(3_000))).collect();
    records[4].body = format!(
        "{{{names}\"process\":{{\"name\":\"{0}\",\"executable\":\"{0}\",\"command_line\":\"{0}\"}},\
        \"user\":{{\"name\":\"{0}\"}}}}",
        "z".repeat(31_000)
    )
    .into();
    let delivery = to(&lab, &double, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (8, 1, 0), "{}", delivery.said);
    assert!(matches!(&delivery.outcomes[4], Outcome::Refused(why) if why.contains("413")), "{delivery:?}");
}

#[tokio::test]
async fn a_row_that_is_refused_is_found_and_the_others_arrive() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let name = |n: usize| if n == 3 || n == 70 { format!("r{n}-refuse") } else { format!("r{n}") };
    let mut records: Vec<_> = (0..100).map(|n| record(&name(n), "{}")).collect();
    records[50].body = b"[]".to_vec();
    let delivery = to(&lab, &double, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (97, 3, 0), "{delivery:?}");
    for (at, why) in [(3, "An entry is marked"), (70, "An entry is marked"), (50, "no JSON object")] {
        let outcome = &delivery.outcomes[at];
        assert!(matches!(outcome, Outcome::Refused(said) if said.contains(why)), "{outcome:?}");
    }
    assert_eq!(ids(&double, ALERTS).len(), 97);
}

#[tokio::test]
async fn what_is_not_the_rows_fault_is_tried_again() {
    let (lab, double) = (Lab::new(), Double::start(State { busy: 1, throttled: 1, ..State::default() }));
    let records = [record("a", "{}"), of(Kind::Audit, "b")];
    let mut sink = to(&lab, &double, "");
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2), "{delivery:?}");
    assert_eq!(double.with(|state| state.calls.len()), 1, "nothing more is sent to a server that is busy");
    let delivery = sink.deliver(&records).await;
    assert_eq!((counts(&delivery), delivery.retry_after), ((0, 0, 2), Some(Duration::from_secs(7))));
    double.with(|state| state.permitted = false);
    let delivery = sink.deliver(&records).await;
    assert!(
        counts(&delivery) == (0, 0, 2) && delivery.said.contains("Monitoring Metrics Publisher"),
        "{delivery:?}"
    );
    double.with(|state| state.permitted = true);
    // One stream that is not there does not hold up the others.
    let secret = lab.file("secret", SECRET).display().to_string();
    let lines = format!("{}alert_stream = \"Custom-Other_CL\"", double.settings("a", Some(&secret)));
    let delivery = sink_of(&lines).unwrap().deliver(&records).await;
    assert_eq!(counts(&delivery), (1, 0, 1), "{delivery:?}");
    let Outcome::Retry(why) = &delivery.outcomes[0] else { panic!("{delivery:?}") };
    assert!(why.contains("does not declare Custom-Other_CL"), "{why}");
    assert_eq!(counts(&sink.deliver(&records).await), (2, 0, 0));
    // Nobody is there.
    let port = sonde_tests::servers::free_port();
    let gone = lines.replace(
        &format!("url = \"http://127.0.0.1:{}\"\nrule", double.port),
        &format!("url = \"http://127.0.0.1:{port}\"\nrule"),
    );
    let delivery = sink_of(&gone).unwrap().deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2), "{delivery:?}");
}

#[tokio::test]
async fn a_managed_identity_needs_no_secret() {
    let double = Double::start(State::default());
    let own = OwnSockets::default();
    let lines = format!("proxy = \"http://127.0.0.1:1\"\n{}", double.settings("a", None));
    // Not through the proxy; the rows would be, and so http is refused for them.
    assert!(sink(&lines).is_err_and(|error| error.reason.contains("without a proxy")));
    let mut sink = inside(&format!("{}client = \"{CLIENT}\"", double.settings("a", None)), &own);
    let delivery = sink.deliver(&[record("a", "{}")]).await;
    assert_eq!(counts(&delivery), (1, 0, 0), "{delivery:?}");
    let asked = double.with(|state| state.asked.clone());
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].ends_with(&format!("resource=https%3A%2F%2Fmonitor.azure.com%2F&client_id={CLIENT}")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn the_file_of_arcs_challenge_is_read_where_the_agent_keeps_it() {
    let lab = Lab::new();
    let key = lab.file("one.key", ARC_KEY);
    let double = Double::start(State { challenge: Some(key), ..State::default() });
    let mut sink = inside(&double.settings("a", None), &OwnSockets::default());
    let delivery = sink.deliver(&[record("a", "{}")]).await;
    assert_eq!(counts(&delivery), (0, 0, 1), "{delivery:?}");
    assert!(
        delivery.said.contains("not one of the agent's") && !delivery.said.contains(ARC_KEY),
        "{}",
        delivery.said
    );
    sink.tokens.with_keys(lab.path());
    let delivery = sink.deliver(&[record("a", "{}")]).await;
    assert_eq!(counts(&delivery), (1, 0, 0), "{delivery:?}");
    lab.file("one.key", "another");
    double.with(State::revoke);
    let delivery = sink.deliver(&[record("b", "{}")]).await;
    assert!(counts(&delivery) == (0, 0, 1) && delivery.said.contains("Invalid key"), "{delivery:?}");
}

#[tokio::test]
async fn both_connections_are_known_as_ours() {
    // Two servers that only tell who came.
    let (rows, tokens) = (
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let (to_rows, to_tokens) = (rows.local_addr().unwrap(), tokens.local_addr().unwrap());
    let lab = Lab::new();
    let secret = lab.file("secret", SECRET).display().to_string();
    let double = Double::start(State::default());
    let lines = double.settings("a", Some(&secret));
    let lines = lines.replace(&format!("127.0.0.1:{}/login", double.port), &to_tokens.to_string());
    let lines = lines.replace(&format!("127.0.0.1:{}", double.port), &to_rows.to_string());
    let own = OwnSockets::default();
    let mut sink = inside(&format!("timeout_secs = 20\n{lines}"), &own);
    let seen = std::thread::spawn(move || {
        let answer = |mut socket: std::net::TcpStream, answer: &str| {
            use std::io::{Read as _, Write as _};
            assert!(socket.read(&mut [0; 16_384]).unwrap() > 0);
            let _ = socket.write_all(answer.as_bytes());
        };
        let (socket, peer) = tokens.accept().unwrap();
        let body = "{\"access_token\":\"t\",\"expires_in\":60}";
        answer(socket, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let (socket, other) = rows.accept().unwrap();
        answer(socket, "HTTP/1.1 204 No Content\r\n\r\n");
        (peer, other)
    });
    let delivery = sink.deliver(&[record("a", "{}")]).await;
    assert_eq!(counts(&delivery), (1, 0, 0), "{delivery:?}");
    let (of_tokens, of_rows) = seen.join().unwrap();
    assert!(own.holds(of_tokens, to_tokens), "the connection for tokens");
    assert!(own.holds(of_rows, to_rows), "the connection for rows");
    assert!(!own.holds(of_rows, to_tokens));
}

#[test]
fn what_holds_a_secret_goes_by_tls_or_stays_on_this_host() {
    let lab = Lab::new();
    let secret = lab.file("secret", "x").display().to_string();
    let with = |url: &str, authority: &str| {
        let rule = "rule = \"dcr-1\"\ntenant = \"t\"\nclient = \"c\"";
        sink(&format!(
            "[sinks.a.sentinel]\nurl = \"{url}\"\nauthority = \"{authority}\"\nsecret.file = \"{secret}\"\n{rule}"
        ))
    };
    let error = |url: &str, authority: &str| with(url, authority).map(drop).unwrap_err().reason;
    for good in
        ["https://x.ingest.monitor.azure.com", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]
    {
        assert!(with(good, "https://login.microsoftonline.us").is_ok(), "{good}");
        assert!(with("https://x.example", good).is_ok(), "{good}");
    }
    for bad in ["http://x.ingest.monitor.azure.com", "http://192.0.2.1", "http://localhost.example"] {
        assert!(error(bad, "https://a.example").contains("sentinel.url has to begin with https://"), "{bad}");
        assert!(
            error("https://a.example", bad).contains("sentinel.authority has to begin with https://"),
            "{bad}"
        );
    }
    let identity = |url: &str| {
        sink(&format!(
            "[sinks.a.sentinel]\nurl = \"https://a.example\"\nrule = \"dcr-1\"\nidentity_url = \"{url}\""
        ))
    };
    assert!(identity("http://169.254.169.254/metadata/identity/oauth2/token").is_ok());
    assert!(identity("http://localhost:40342/metadata/identity/oauth2/token").is_ok());
    for bad in ["http://a.example/x", "https://169.254.169.254/x", "http://169.254.1.1/x"] {
        assert!(identity(bad).is_err_and(|error| error.reason.contains("this machine's")), "{bad}");
    }
}

#[test]
fn answers_are_judged_by_status_and_code() {
    let judged = |status: u16, body: &str| {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            headers: hyper::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            cut: false,
        };
        judge(&reply, "Custom-X")
    };
    let error = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"m\"}}}}");
    assert_eq!((judged(204, ""), judged(200, "")), (Call::Taken, Call::Taken));
    assert!(matches!(judged(413, ""), Call::Whole(_)));
    assert!(matches!(judged(400, &error("InvalidRequestContent")), Call::Whole(_)));
    assert!(matches!(judged(400, &error("InvalidStream")), Call::Stream(_)));
    assert!(matches!(judged(400, &error("InvalidApiVersion")), Call::Stream(_)));
    assert!(matches!(judged(404, ""), Call::Stream(_)));
    for (status, body) in [(400, "<html>"), (401, ""), (403, ""), (408, ""), (429, ""), (500, ""), (503, "")]
    {
        assert!(matches!(judged(status, body), Call::Stop(_)), "{status} {body}");
    }
    assert_eq!(&array([].into_iter())[..], b"[]");
    assert_eq!(&array([&b"{}"[..], b"{}"].into_iter())[..], b"[{},{}]");
}
