//! A call by HTTP to a server on loopback, for cases that look into it. Not the client under test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Calls, and waits for the answer's end: status and body.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn call(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server answers");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a time limit");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // 1.0: an answer ends with the connection and is not cut in chunks.
    let call = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(call.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("the server answers to the end");
    let answer = String::from_utf8(answer).expect("it answers in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}
