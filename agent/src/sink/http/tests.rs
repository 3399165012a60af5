//! The client against a server of this process that answers as it is told, byte for byte.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use sonde_common::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What one connection of the server does: an answer for each call, then it closes.
type Script = Vec<&'static str>;

/// Number of the connection, head and body.
type Call = (usize, String, Vec<u8>);

struct Server {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Server {
    async fn start(connections: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        tokio::spawn(async move {
            for (number, script) in connections.into_iter().enumerate() {
                let (mut socket, _) = listener.accept().await.unwrap();
                for answer in script {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(socket.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap().to_lowercase();
                    let length = head
                        .split("content-length: ")
                        .nth(1)
                        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                    let mut body = vec![0; length];
                    socket.read_exact(&mut body).await.unwrap();
                    log.lock().unwrap().push((number, head, body));
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { port, calls }
    }

    fn client(&self, most: usize) -> HttpClient {
        let config = Config::parse("[sinks.a]\ntimeout_secs = 20\n[sinks.a.file]", &[]).unwrap();
        let (name, settings) = config.sinks.into_iter().next().unwrap();
        let url = format!("http://127.0.0.1:{}/base", self.port);
        HttpClient::new(&name, &settings, &OwnSockets::default(), "a.url", &url, most).unwrap()
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

fn call(body: &'static str, gzip: bool) -> Request {
    let headers = vec![(HeaderName::from_static("authorization"), HeaderValue::from_static("Basic x"))];
    Request { method: Method::POST, path: "/base/_bulk?x=1".into(), headers, body: body.into(), gzip }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_connection_is_kept_and_replaced_once_it_was_closed() {
    let server = Server::start(vec![vec![OK, OK], vec![OK]]).await;
    let mut client = server.client(100);
    for _ in 0..3 {
        let reply = client.send(call("hello", false)).await.unwrap();
        assert_eq!((reply.status, reply.body.as_slice(), reply.cut), (StatusCode::OK, &b"{}"[..], false));
    }
    let calls = server.calls();
    assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), [0, 0, 1]);
    for (_, head, body) in calls {
        assert!(head.starts_with("post /base/_bulk?x=1 http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{head}");
        assert!(head.contains("user-agent: sonde/") && head.contains("authorization: basic x"), "{head}");
        assert_eq!(body, b"hello");
    }
}

#[tokio::test]
async fn what_breaks_on_a_fresh_connection_is_told() {
    let server =
        Server::start(vec![vec!["HTTP/1.1 200 OK\r\nContent-Le"], vec!["\x1b[2J no http\r\n\r\n"]]).await;
    let mut client = server.client(100);
    let error = client.send(call("x", false)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Broken(_)), "{error}");
    let error = client.send(call("x", false)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Broken(_)) && !error.to_string().contains('\x1b'), "{error}");
    assert_eq!(server.calls().len(), 2, "neither was sent twice");
}

#[tokio::test]
async fn bodies_are_packed_where_that_is_worth_it() {
    let long: &'static str = Box::leak("{\"a\": \"the same again\"}\n".repeat(500).into_boxed_str());
    let server = Server::start(vec![vec![OK, OK, OK]]).await;
    let mut client = server.client(100);
    for (body, gzip) in [(long, true), (long, false), ("short", true)] {
        client.send(call(body, gzip)).await.unwrap();
    }
    let calls = server.calls();
    assert!(calls[0].1.contains("content-encoding: gzip") && calls[0].2.len() < long.len() / 20);
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(calls[0].2.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, long);
    assert!(!calls[1].1.contains("content-encoding") && calls[1].2 == long.as_bytes());
    assert!(!calls[2].1.contains("content-encoding") && calls[2].2 == b"short");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    let server = Server::start(vec![
        vec!["HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 10\r\n\r\n0123456789"],
        vec!["HTTP/1.1 400 Bad\r\nContent-Length: 8\r\n\r\n\x1b[2J\nbad"],
    ])
    .await;
    let mut client = server.client(8);
    let reply = client.send(call("x", false)).await.unwrap();
    assert_eq!((reply.body.as_slice(), reply.cut), (&b"01234567"[..], true));
    assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    let reply = client.send(call("x", false)).await.unwrap();
    assert_eq!(reply.said(), "400 Bad Request: \\u{1b}[2J bad");
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let there = "HTTP/1.1 307 X\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![vec![there]]).await;
    let error = server.client(100).send(call("x", false)).await.unwrap_err().to_string();
    assert!(error.contains("307") && error.contains("https://evil.example/"), "{error}");
    assert!(error.contains("not followed"), "{error}");
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let endless: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 * MAX_HEAD_BYTES)).into_boxed_str(),
    );
    let many: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(2 * MAX_HEADERS)).into_boxed_str());
    let server = Server::start(vec![vec![endless], vec![many]]).await;
    let mut client = server.client(100);
    for _ in 0..2 {
        assert!(matches!(client.send(call("x", false)).await, Err(HttpError::Broken(_))));
    }
}

#[test]
fn a_server_asks_for_time_in_seconds_or_by_a_date() {
    let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap()).map(|wait| wait.as_secs());
    assert_eq!(read("120"), Some(120));
    assert_eq!(read("99999999999"), Some(3_600));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
    assert_eq!(read("Fri, 31 Dec 2200 23:59:59 GMT"), Some(3_600));
    for bad in ["", "-1", "soon", "1.5", "18446744073709551616"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
