//! Records to a real OpenSearch-compatible server, read back and compared; through nginx with TLS, and through a proxy.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sonde_tests::certificates::Authority;
use sonde_tests::servers::nginx::Nginx;
use sonde_tests::servers::osmem::Osmem;
use sonde_tests::servers::tinyproxy::Tinyproxy;

use super::*;
use crate::sink::lab::{Lab, alerts, counts, record, sink};

fn to(port: u16, lines: &str) -> Box<dyn Sink> {
    sink(&format!("{lines}\n[sinks.a.elastic]\nurl = \"http://127.0.0.1:{port}\"")).unwrap()
}

/// Every alert is there as it was sent.
fn read_back(server: &Osmem, records: &[Record]) {
    for record in records {
        let sent: Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(server.document("sonde-alerts", &record.id), sent, "{}", record.id);
    }
    assert_eq!(server.count("sonde-alerts"), records.len() as u64);
}

#[tokio::test]
async fn records_are_read_back_as_they_were_sent_and_are_there_once() {
    let lab = Lab::new();
    let server = Osmem::start(lab.path(), 0);
    // The templates that are shipped, by the script that is shipped; with their strict types every alert still fits.
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/elastic/install");
    let installed = Command::new(install).arg(format!("http://127.0.0.1:{}", server.port)).output().unwrap();
    let said = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert!(installed.status.success(), "{said}");
    let (records, mut sink) = (alerts(), to(server.port, ""));
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
    read_back(&server, &records);
    // Sent again, as after a crash: known by its id.
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
    read_back(&server, &records);
    let (_, mapping) = server.ask("GET", "/sonde-alerts/_mapping", "");
    let fields = &mapping["sonde-alerts"]["mappings"]["properties"];
    assert_eq!(fields["destination"]["properties"]["ip"]["type"], "ip", "{mapping}");
    assert_eq!(fields["@timestamp"]["type"], "date_nanos");
    let wanted = r#"{"query": {"term": {"event.kind": "alert"}}}"#;
    let (_, found) = server.ask("POST", "/sonde-alerts/_search", wanted);
    let kind =
        |record: &&Record| serde_json::from_slice::<Value>(&record.body).unwrap()["event"]["kind"] == "alert";
    let expected = records.iter().filter(kind).count();
    assert!(expected > 0 && found["hits"]["total"]["value"] == expected, "{}", found["hits"]["total"]);
}

#[tokio::test]
async fn one_wrong_record_of_a_thousand_is_refused_with_the_reason() {
    let lab = Lab::new();
    let server = Osmem::start(lab.path(), 0);
    let (status, _) =
        server.ask("PUT", "/sonde-alerts", r#"{"mappings": {"properties": {"ip": {"type": "ip"}}}}"#);
    assert_eq!(status, 200);
    let records: Vec<_> = (0..1_000)
        .map(|n| {
            record(
                &format!("r{n}"),
                &format!("{{\"ip\": \"{}\"}}", if n == 500 { "none" } else { "192.0.2.1" }),
            )
        })
        .collect();
    let delivery = to(server.port, "batch_records = 1000").deliver(&records).await;
    assert_eq!(counts(&delivery), (999, 1, 0), "{}", delivery.said);
    let Outcome::Refused(reason) = &delivery.outcomes[500] else { panic!("{:?}", delivery.outcomes[500]) };
    assert!(reason.contains("400") && reason.contains("mapper_parsing_exception"), "{reason}");
    assert!(
        delivery.said.contains("999 of 1000") && delivery.said.contains("1 refused"),
        "{}",
        delivery.said
    );
    assert_eq!(server.count("sonde-alerts"), 999);
}

#[tokio::test]
async fn a_server_that_is_away_gets_everything_when_it_is_back() {
    let lab = Lab::new();
    let mut server = Osmem::start(lab.path(), 0);
    let (records, mut sink) = (alerts(), to(server.port, "timeout_secs = 20"));
    server.server.kill();
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, records.len()));
    assert!(delivery.said.contains("refused"), "{}", delivery.said);
    let server = Osmem::start(lab.path(), server.port);
    assert_eq!(counts(&sink.deliver(&records).await), (records.len(), 0, 0));
    read_back(&server, &records);
}

#[tokio::test]
async fn tls_with_client_certificate_password_and_small_bodies_through_nginx() {
    let (lab, root, clients) = (Lab::new(), Authority::root("root"), Authority::root("clients"));
    let server = Osmem::start(lab.path(), 0);
    let (theirs, ours) = (root.issue(&["localhost"]), clients.issue(&["sensor"]));
    let [certificate, key, ca, client_ca] = [
        ("s.pem", &theirs.certificate),
        ("s.key", &theirs.key),
        ("ca.pem", &root.pem()),
        ("clients.pem", &clients.pem()),
    ]
    .map(|(name, text)| lab.file(name, text).display().to_string());
    let users = lab.file("users", "sensor:{PLAIN}geheim\n").display().to_string();
    let nginx = Nginx::start(
        lab.path(),
        true,
        &format!(
            "ssl_certificate {certificate};\nssl_certificate_key {key};\nssl_client_certificate {client_ca};\n\
             ssl_verify_client on;\nauth_basic lab;\nauth_basic_user_file {users};\nclient_max_body_size 6k;\n\
             location / {{ proxy_pass http://127.0.0.1:{}; }}",
            server.port
        ),
    );
    let mine = format!(
        "certificate = \"{}\"\nkey = \"{}\"",
        lab.file("c.pem", &ours.certificate).display(),
        lab.file("c.key", &ours.key).display()
    );
    let sink = |tls: &str, password: &str| {
        let password = lab.file("password", password).display().to_string();
        let url = format!("https://localhost:{}", nginx.port);
        sink(&format!(
            "gzip = false\n[sinks.a.tls]\nca = \"{ca}\"\n{tls}\n[sinks.a.elastic]\nurl = \"{url}\"\nuser = \"sensor\"\n\
             password.file = \"{password}\""
        ))
        .unwrap()
    };
    let records = alerts();
    let delivery = sink("", "geheim").deliver(&records).await;
    assert_eq!(counts(&delivery).2, records.len(), "{}", delivery.said);
    assert!(delivery.said.contains("No required SSL certificate"), "{}", delivery.said);
    let delivery = sink(&mine, "falsch").deliver(&records).await;
    assert_eq!(counts(&delivery).2, records.len());
    assert!(delivery.said.contains("401") && !delivery.said.contains("falsch"), "{}", delivery.said);
    // All of them are more than nginx takes in one body: it answers 413, and they go in parts. One is too long by itself.
    let size: usize = records.iter().map(|record| record.body.len()).sum();
    let fits = |record: &Record| record.body.len() < 5_500;
    assert!(size > 6 << 10 && records.iter().any(fits), "the test's own ground");
    let delivery = sink(&mine, "geheim").deliver(&records).await;
    for (record, outcome) in records.iter().zip(&delivery.outcomes) {
        match outcome {
            Outcome::Acknowledged => {
                let sent: Value = serde_json::from_slice(&record.body).unwrap();
                assert_eq!(server.document("sonde-alerts", &record.id), sent);
            }
            Outcome::Refused(reason) => assert!(!fits(record) && reason.contains("413"), "{reason}"),
            Outcome::Retry(reason) => panic!("{}: {reason}", record.id),
        }
    }
    assert!(counts(&delivery).0 > 1, "{delivery:?}");
}

#[tokio::test]
async fn a_real_proxy_leads_there_with_user_and_password() {
    let (lab, root) = (Lab::new(), Authority::root("root"));
    let server = Osmem::start(lab.path(), 0);
    let theirs = root.issue(&["localhost"]);
    let [certificate, key, ca] =
        [("s.pem", &theirs.certificate), ("s.key", &theirs.key), ("ca.pem", &root.pem())]
            .map(|(name, text)| lab.file(name, text).display().to_string());
    let nginx = Nginx::start(
        lab.path(),
        true,
        &format!(
            "ssl_certificate {certificate};\nssl_certificate_key {key};\n\
             location / {{ proxy_pass http://127.0.0.1:{}; }}",
            server.port
        ),
    );
    let proxy = Tinyproxy::start(lab.path(), Some(("me", "geheim")));
    let records = alerts();
    for (password, good) in [("falsch", false), ("geheim", true)] {
        let password = lab.file("password", password).display().to_string();
        let mut sink = sink(&format!(
            "proxy = \"http://me@127.0.0.1:{}\"\nproxy_password.file = \"{password}\"\ntls.ca = \"{ca}\"\n\
             [sinks.a.elastic]\nurl = \"https://localhost:{}\"",
            proxy.port, nginx.port
        ))
        .unwrap();
        let delivery = sink.deliver(&records).await;
        if good {
            assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
        } else {
            assert_eq!(counts(&delivery).2, records.len());
            assert!(delivery.said.contains("proxy_password"), "{}", delivery.said);
        }
    }
    read_back(&server, &records);
    assert!(proxy.server.output().contains("CONNECT localhost"), "{}", proxy.server.output());
}

#[tokio::test]
async fn a_server_that_wants_time_gets_it() {
    let lab = Lab::new();
    for (status, after) in [(429, Some(Duration::from_secs(17))), (503, None), (404, None), (302, None)] {
        let header = after.map(|after| format!("add_header Retry-After {} always;\n", after.as_secs()));
        let nginx = Nginx::start(
            lab.path(),
            false,
            &format!("{}location / {{ return {status}; }}", header.unwrap_or_default()),
        );
        let delivery = to(nginx.port, "").deliver(&[record("a", "{}"), record("b", "{}")]).await;
        assert_eq!((counts(&delivery), delivery.retry_after), ((0, 0, 2), after), "{delivery:?}");
        assert!(delivery.said.contains(&status.to_string()), "{}", delivery.said);
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        headers: hyper::HeaderMap::new(),
        body: body.as_bytes().to_vec(),
        cut: false,
    }
}

#[test]
fn each_item_has_an_outcome_of_its_own() {
    let item = |status: u16, reason: &str| json!({"create": {"status": status, "error": {"type": "t", "reason": reason}}});
    let items = [
        json!({"create": {"status": 201}}),
        item(409, "version conflict"),
        item(400, "\u{1b}[2J bad"),
        item(429, "queue is full"),
        item(503, "no shard"),
        item(403, "disk is full"),
        item(404, "no such index"),
        json!({}),
    ];
    let Call::Each(outcomes) = judge(&reply(200, &json!({ "items": items }).to_string()), items.len()) else {
        panic!("an answer for each")
    };
    let retry = |text: &str| Outcome::Retry(text.to_owned());
    assert_eq!(outcomes[..2], [Outcome::Acknowledged, Outcome::Acknowledged]);
    assert_eq!(outcomes[2], Outcome::Refused("400 t: \\u{1b}[2J bad".to_owned()));
    assert_eq!(outcomes[3..5], [retry("429 t: queue is full"), retry("503 t: no shard")]);
    assert_eq!(outcomes[5..7], [retry("403 t: disk is full"), retry("404 t: no such index")]);
    assert_eq!(outcomes[7], retry("the server says nothing of it"));
}

#[test]
fn an_answer_that_is_none_acknowledges_nothing() {
    for body in
        ["", "{}", "<html>", "{\"items\":[]}", "{\"items\":[{\"create\":{\"status\":\"201\"}}]}", "[[[[[["]
    {
        assert!(matches!(judge(&reply(200, body), 1), Call::Later(_)), "{body}");
    }
    let two = json!({"items": [{"create": {"status": 201}}, {"create": {"status": 201}}]}).to_string();
    assert!(matches!(judge(&reply(200, &two), 1), Call::Later(_)));
    let cut = Reply { cut: true, ..reply(200, "{\"items\":[") };
    assert!(matches!(judge(&cut, 2), Call::Whole(_)) && matches!(judge(&cut, 1), Call::Later(_)));
}

#[test]
fn a_body_cannot_add_an_action() {
    let evil = record("a\"b", "{\"x\":\n{\"delete\":{}}\r\n}");
    let body = body(&[&evil]);
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 3, "an action, a document, and nothing behind the last line's end");
    assert_eq!(lines[0], br#"{"create":{"_id":"a\"b"}}"#);
}
