//! The console with a sensor's thread that only pretends: who is answered, who is not, and what hostile peers get.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::*;
use crate::cli::output::samples;
use crate::live::command::{
    self, Answer, Command, Entry, Glance, Refusal, RefusalCode, Request, Rows, Stamp,
};
use crate::live::health::Health;
use sonde_common::time::Timestamp;

/// A sensor's thread without an engine. What was asked is handed out at its end; it shows one more observation at each look.
fn pretend(commands: Receiver<Command>) -> JoinHandle<(Vec<Request>, u64)> {
    std::thread::spawn(move || {
        let (mut asked, mut looks) = (Vec::new(), 0);
        while let Ok(command) = commands.recv() {
            match command {
                Command::Stop => break,
                Command::Look(look) => {
                    looks += 1;
                    let rows = vec![samples::hostile(), samples::implant()];
                    let glance = Glance {
                        health: Health::new("h<b>".into(), Timestamp::ZERO),
                        allowed: Vec::new(),
                        stamp: Stamp { observations: looks, ..Stamp::default() },
                        findings: Some(Arc::new(Rows { rows, omitted: 3, events: 4, series: 5 })),
                        activity: None,
                        took: Duration::ZERO,
                    };
                    let _ = look.reply.send(Box::new(glance));
                }
                Command::Ask(request, reply) => {
                    reply.send(match &*request {
                        Request::Allow(_) => {
                            Answer::Allowed(vec![Entry { entry: u64::MAX, ..Entry::default() }])
                        }
                        _ => Answer::Refused(Refusal::new(RefusalCode::NotFound, "there is no entry 5")),
                    });
                    asked.push(*request);
                }
                _ => {}
            }
        }
        (asked, looks)
    })
}

struct Open {
    console: Option<Console>,
    commander: Commander,
    thread: JoinHandle<(Vec<Request>, u64)>,
}

impl Open {
    fn new() -> Self {
        let (commander, commands) = command::channel();
        let console = start(address(DEFAULT).unwrap(), commander.clone()).unwrap();
        Self { console: Some(console), commander, thread: pretend(commands) }
    }

    fn console(&self) -> &Console {
        self.console.as_ref().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.console().address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// All that comes back for these bytes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may have said its word and left before all is written.
        let _ = stream.write_all(bytes);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    fn ask(&self, line: &str, fields: &str) -> String {
        let host = self.console().address();
        self.raw(format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n").as_bytes())
    }

    fn authorized(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.console().token.text())
    }

    fn post(&self, path: &str, body: &str) -> String {
        let (host, token, length) = (self.console().address(), self.authorized(), body.len());
        self.raw(
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}Origin: http://{host}\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )
    }

    /// What was asked of the sensor until now, and how often it was looked at.
    fn close(mut self) -> (Vec<Request>, u64) {
        drop(self.console.take());
        self.commander.send(Command::Stop).unwrap();
        self.thread.join().unwrap()
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn it_listens_where_only_this_machine_reaches_it() {
    for good in ["127.0.0.1:0", "[::1]:8642", "127.0.0.1", "8642", "127.9.9.9:1", "::1"] {
        assert!(address(good).unwrap().ip().is_loopback(), "{good}");
    }
    for bad in
        ["0.0.0.0:8642", "192.0.2.1:80", "[::]:1", "localhost:80", "", "x", "99999", "::ffff:192.0.2.1"]
    {
        let error = address(bad).unwrap_err().to_string();
        assert!(error.contains("ssh -L") && error.contains("127.0.0.1:8642"), "{error}");
    }
    let open = Open::new();
    let (commander, _commands) = command::channel();
    let error = start(open.console().address(), commander).unwrap_err().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1:") && error.contains("another port"), "{error}");
    open.close();
}

#[test]
fn the_frame_is_for_all_and_facts_are_for_the_token() {
    let open = Open::new();
    let frame = open.ask("GET /", "");
    assert_eq!(status(&frame), "200");
    assert!(
        frame.contains("connect-src 'self'")
            && frame.contains("frame-ancestors 'none'")
            && frame.contains("nosniff")
    );
    assert!(!frame.contains("h<b>") && !frame.contains("h&lt;b"), "no fact is in it");
    let token = open.authorized();
    for path in ["/section/overview", "/section/findings", "/events", "/section/sensor"] {
        for fields in
            ["", "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n", "Cookie: token=x\r\n"]
        {
            assert_eq!(status(&open.ask(&format!("GET {path}"), fields)), "401", "{path} {fields}");
        }
    }
    let in_line = open.console().token.text();
    assert_eq!(
        status(&open.ask(&format!("GET /section/overview?token={in_line}"), "")),
        "401",
        "not in the line"
    );
    let section = open.ask("GET /section/overview", &token);
    assert!(status(&section) == "200" && section.contains("<section id=\"overview\""), "{section}");
    let tag = section.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned();
    assert_eq!(
        status(&open.ask("GET /section/overview", &format!("{token}If-None-Match: {tag}\r\n"))),
        "304"
    );
    let finding = open.ask(&format!("GET /section/f-{}", samples::implant().id), &token);
    assert!(finding.contains("data-allow"), "{finding}");
    assert_eq!(status(&open.ask(&format!("GET /section/f-{}", "0".repeat(32)), &token)), "404");
    let (asked, looks) = open.close();
    assert!(asked.is_empty() && (1..=4).contains(&looks), "{looks} looks for four answers");
}

#[test]
fn other_hosts_pages_paths_and_methods_are_refused() {
    let open = Open::new();
    let token = open.authorized();
    let host = |host: &str| {
        open.raw(
            format!("GET /section/overview HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}\r\n")
                .as_bytes(),
        )
    };
    assert_eq!(status(&host(&open.console().address().to_string())), "200");
    for other in ["evil.example", "127.0.0.1", "127.0.0.1:1", ""] {
        assert_eq!(status(&host(other)), "421", "{other}");
    }
    assert_eq!(status(&open.raw(b"GET / HTTP/1.0\r\n\r\n")), "421");
    for fields in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(
            status(&open.ask("GET /section/overview", &format!("{token}{fields}"))),
            "403",
            "{fields}"
        );
    }
    for path in [
        "/../etc/passwd",
        "/section/../../etc/passwd",
        "/section/%2e%2e/overview",
        "/section/",
        "/section/f-xyz",
        "//",
        "/section/overview/",
        "/index.html",
        "/.git/config",
    ] {
        assert_eq!(status(&open.ask(&format!("GET {path}"), &token)), "404", "{path}");
    }
    for line in [
        "POST /",
        "DELETE /section/overview",
        "GET /allow",
        "OPTIONS /allow",
        "PUT /lift",
        "TRACE /",
        "HEAD /",
    ] {
        assert_eq!(status(&open.ask(line, &token)), "405", "{line}");
    }
    assert!(open.close().0.is_empty());
}

#[test]
fn what_is_too_large_or_no_request_is_refused() {
    let open = Open::new();
    let token = open.authorized();
    assert_eq!(status(&open.ask("GET /", &format!("X: {}\r\n", "x".repeat(serve::MAX_HEAD_BYTES)))), "431");
    assert_eq!(status(&open.ask("GET /", &"X: x\r\n".repeat(100))), "431");
    let long = status(&open.ask(&format!("GET /{}", "x".repeat(100_000)), "")).to_owned();
    assert!(["431", "414", "none"].contains(&long.as_str()), "{long}");
    assert_eq!(status(&open.post("/allow", &"x".repeat(routes::MAX_BODY_BYTES + 1))), "413");
    let claimed = format!("{token}Content-Type: application/json\r\nContent-Length: 99999999999\r\n");
    assert_eq!(status(&open.ask("POST /allow", &claimed)), "413");
    let host = open.console().address();
    let mut chunked = format!(
        "POST /allow HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    chunked.push_str(&format!("2000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x2000)));
    assert_eq!(status(&open.raw(chunked.as_bytes())), "413");
    for garbage in [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n"] {
        let said = open.raw(garbage);
        assert!(said.is_empty() || status(&said) == "400", "{said}");
    }
    assert_eq!(status(&open.ask("GET /", "")), "200");
    assert!(open.close().0.is_empty());
}

#[test]
fn allowing_and_lifting_go_to_the_sensor_and_say_who() {
    let open = Open::new();
    let open_port = open.console().address().port();
    let made = open.post("/allow", r#"{"finding":"abcd","reason":" ours ","days":30}"#);
    assert!(status(&made) == "200" && made.contains(&u64::MAX.to_string()), "{made}");
    let lifted = open.post("/lift", r#"{"entry":"5"}"#);
    assert!(status(&lifted) == "404" && lifted.contains("there is no entry 5"), "{lifted}");
    for bad in [
        "{}",
        "[]",
        "",
        "{\"finding\":\"abcd\",\"reason\":\" \",\"days\":1}",
        "{\"finding\":\"abcd\",\"reason\":\"x\",\"days\":99999}",
        "{\"finding\":\"abcd\",\"reason\":\"x\",\"days\":1,\"by\":\"root\"}",
    ] {
        assert_eq!(status(&open.post("/allow", bad)), "400", "{bad}");
    }
    // As a form of another page could send it, without asking first.
    let token = open.authorized();
    let form = format!("{token}Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n{{\"entry\":\"5\"}}");
    assert_eq!(status(&open.ask("POST /lift", &form)), "415");
    let (asked, _) = open.close();
    let [Request::Allow(wish), Request::Unallow { entry: 5, by }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((wish.reason.as_str(), wish.expires_secs), ("ours", Some(30 * 86_400)));
    for name in [&wish.by, &by.name] {
        let port = name.strip_prefix("console, from 127.0.0.1:").unwrap_or_else(|| panic!("{name}"));
        assert!(port.parse::<u16>().is_ok_and(|port| port != open_port), "{name}: the peer's end");
    }
}

#[test]
fn news_come_as_they_happen_and_only_while_somebody_listens() {
    let open = Open::new();
    let mut stream = open.connect();
    let host = open.console().address();
    stream
        .write_all(format!("GET /events HTTP/1.1\r\nHost: {host}\r\n{}\r\n", open.authorized()).as_bytes())
        .unwrap();
    let mut text = String::new();
    let mut more = |text: &mut String| {
        let mut bytes = [0; 4096];
        let got = stream.read(&mut bytes).unwrap();
        assert!(got > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..got]));
    };
    while text.matches("data: {").count() < 3 {
        more(&mut text);
    }
    assert!(
        text.contains("text/event-stream")
            && text.contains(r#""host":"h<b>""#)
            && text.contains(r#""findings":2"#),
        "{text}"
    );
    // An alert is not waited for.
    let began = Instant::now();
    open.console().bell().notify_one();
    while text.matches("data: {").count() < 4 {
        more(&mut text);
    }
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    drop(stream);
    // It takes a moment until a closed stream is noticed; then nobody looks.
    std::thread::sleep(Duration::from_secs(3));
    let (looks, others) = (open.close().1, Open::new());
    assert!((3..=9).contains(&looks), "{looks}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(others.close().1, 0, "nobody watches, nobody looks");
}

#[test]
fn streams_are_bounded() {
    let open = Open::new();
    let host = open.console().address();
    let request = format!("GET /events HTTP/1.1\r\nHost: {host}\r\n{}\r\n", open.authorized());
    let first = |stream: &mut TcpStream| {
        let mut bytes = [0; 16];
        let got = stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..got]).into_owned()
    };
    let mut streams: Vec<_> = (0..routes::MAX_STREAMS).map(|_| open.connect()).collect();
    for stream in &mut streams {
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(status(&first(stream)), "200");
    }
    assert_eq!(status(&open.ask("GET /events", &open.authorized())), "429");
    streams.pop();
    let began = Instant::now();
    while status(&{
        let mut stream = open.connect();
        stream.write_all(request.as_bytes()).unwrap();
        first(&mut stream)
    }) != "200"
    {
        assert!(began.elapsed() < Duration::from_secs(20), "a place that was left is free");
        std::thread::sleep(Duration::from_millis(200));
    }
    open.close();
}

#[test]
fn a_thousand_slow_connections_shut_nobody_out() {
    let open = Open::new();
    let mut slow = Vec::new();
    for _ in 0..1_000 {
        let mut stream = open.connect();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ");
        slow.push(stream);
    }
    let began = Instant::now();
    let token = open.authorized();
    for _ in 0..5 {
        assert_eq!(status(&open.ask("GET /section/overview", &token)), "200");
    }
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    let own = open.ask("GET /section/sensor", &token);
    assert!(own.contains("too slow"), "they are counted: {own}");
    // All of them are left in time, by those who were waited for and those who made room.
    for stream in &mut slow {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    open.close();
}

#[test]
fn a_console_that_ends_by_itself_is_lost_in_health() {
    let (commander, commands) = command::channel();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    mourned(&commander, || panic!("out of {}", "luck"));
    std::panic::set_hook(hook);
    mourned(&commander, || Err("it accepts no connections any more".to_owned()));
    mourned(&commander, || Ok(()));
    let mut reasons = Vec::new();
    while let Ok(Command::Ended(lost)) = commands.try_recv() {
        assert!(lost.what == PART && !lost.remedy.is_empty(), "{lost:?}");
        reasons.push(lost.reason);
    }
    assert_eq!(reasons, ["its thread failed: out of luck", "it accepts no connections any more"]);
}

#[test]
fn a_sensor_that_does_not_answer_keeps_everyone_waiting_once() {
    let (commander, _commands) = command::channel();
    let open = Open {
        console: Some(start(address(DEFAULT).unwrap(), commander.clone()).unwrap()),
        commander,
        thread: std::thread::spawn(|| (Vec::new(), 0)),
    };
    let (began, token) = (Instant::now(), open.authorized());
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| status(&open.ask("GET /section/overview", &token)).to_owned());
        let all: Vec<_> = (0..4).map(|_| ask()).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap() == "503"));
    });
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(9), "one after the other they waited {waited:?}");
    open.close();
}
