//! Calls to a real web server: nginx, which writes down what it was sent.

use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::servers::nginx::Nginx;

use crate::sink::lab::{Lab, alerts, counts, record, sink};

#[tokio::test]
async fn each_record_is_one_call_with_the_template_filled_in() {
    let lab = Lab::new();
    // nginx keeps each body in a file of its own.
    let bodies = lab.path().join("nginx/client_body");
    let nginx = Nginx::start(
        lab.path(),
        false,
        "client_body_in_file_only on;\nlocation /hook/secret { proxy_pass http://127.0.0.1:1/; \
         error_page 502 =200 /ok; }\nlocation = /ok { internal; return 200; }",
    );
    let url =
        lab.file("url", &format!("http://127.0.0.1:{}/hook/secret\n", nginx.port)).display().to_string();
    let records = alerts();
    for template in ["slack", "native"] {
        let _ = std::fs::remove_dir_all(&bodies);
        std::fs::create_dir_all(&bodies).unwrap();
        let mut sink = sink(&format!(
            "gzip = false\n[sinks.a.webhook]\ntemplate = \"{template}\"\nsecret_url.file = \"{url}\""
        ))
        .unwrap();
        let delivery = sink.deliver(&records).await;
        assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
        let began = Instant::now();
        let files = loop {
            let mut files: Vec<_> =
                std::fs::read_dir(&bodies).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            if files.len() == records.len() || began.elapsed() > Duration::from_secs(30) {
                break files;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(files.len(), records.len());
        for (file, record) in files.iter().zip(&records) {
            let body: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let sent: Value = serde_json::from_slice(&record.body).unwrap();
            if template == "native" {
                assert_eq!(body, sent);
            } else {
                let text = body["blocks"][0]["text"]["text"].as_str().unwrap();
                assert!(text.starts_with("*Sonde alert, high* on ") && !text.contains('<'), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn statuses_tell_what_becomes_of_a_record() {
    let lab = Lab::new();
    for (status, expected) in [
        (204, (2, 0, 0)),
        (400, (0, 2, 0)),
        (413, (0, 2, 0)),
        (404, (0, 0, 2)),
        (429, (0, 0, 2)),
        (500, (0, 0, 2)),
    ] {
        let nginx = Nginx::start(
            lab.path(),
            false,
            &format!("add_header Retry-After 3 always;\nlocation / {{ return {status}; }}"),
        );
        let mut sink =
            sink(&format!("[sinks.a.webhook]\nurl = \"http://127.0.0.1:{}/x\"", nginx.port)).unwrap();
        let delivery = sink.deliver(&[record("a", "{}"), record("b", "{}")]).await;
        assert_eq!(counts(&delivery), expected, "{status}: {delivery:?}");
        assert_eq!(delivery.retry_after, Some(Duration::from_secs(3)));
    }
}

#[test]
fn what_cannot_be_set_up_does_not_show_the_url() {
    let lab = Lab::new();
    let url = lab.file("url", "hooks.example/T000/geheim").display().to_string();
    let error = sink(&format!("[sinks.a.webhook]\nsecret_url.file = \"{url}\"")).err().unwrap().to_string();
    assert!(error.contains("webhook.url has to begin with") && !error.contains("geheim"), "{error}");
    let bad = sink("[sinks.a.webhook]\nurl = \"https://a.example\"\ntemplate = \"irc\"").err().unwrap();
    assert!(bad.to_string().contains("webhook.template"), "{bad}");
}
