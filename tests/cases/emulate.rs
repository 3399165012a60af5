//! The emulator as a program: it calls where it may, writes down what it did, and refuses everything else.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn emulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sonde-emulate"))
}

fn run(arguments: &[&str]) -> Output {
    emulator().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn truth(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server on loopback; ends with its stdin.
struct Server(Child);

impl Server {
    fn start(services: &[String]) -> Self {
        let mut child = emulator()
            .arg("serve")
            .args(services)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("ready"), "{ready:?}");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A port that refuses as long as the socket is held: bound and never listening. One that was only given back may be
/// taken by another test.
fn closed_port() -> (rustix::fd::OwnedFd, String) {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap();
    let address = std::net::SocketAddr::try_from(address).unwrap().to_string();
    (socket, address)
}

#[test]
fn every_transport_is_answered() {
    for transport in ["tcp", "tls", "http", "https", "dns", "udp"] {
        let to = format!("127.0.0.1:{}", free_port());
        let _server = Server::start(&[format!("{transport}:{to}")]);
        let arguments = ["beacon", "--transport", transport, "--to", &to, "--name", "c2.example.net"];
        let timing = ["--count", "3", "--interval", "10", "--speed", "1000"];
        let calls = truth(&run(&[&arguments[..], &timing].concat()));
        assert_eq!(calls.len(), 3, "{transport}");
        for call in calls {
            assert_eq!(call["outcome"], "established", "{transport}: {call}");
            assert!(call["bytes_in"].as_u64().unwrap() > 50, "{transport}: {call}");
            assert_eq!(call["remote"].as_str().unwrap(), to);
        }
    }
}

#[test]
fn check_ins_inside_one_connection_share_its_port() {
    for transport in ["tcp", "tls", "http"] {
        let to = format!("127.0.0.1:{}", free_port());
        let _server = Server::start(&[format!("{transport}:{to}")]);
        let arguments = ["beacon", "--transport", transport, "--to", &to, "--keep-open", "--count", "4"];
        let calls = truth(&run(&[&arguments[..], &["--interval", "1", "--speed", "100"]].concat()));
        assert_eq!(calls.len(), 4);
        assert!(calls.iter().all(|call| call["local"] == calls[0]["local"]), "{transport}: {calls:?}");
    }
}

#[test]
fn refusals_and_cuts_are_told_as_such() {
    let (_held, closed) = closed_port();
    let calls = truth(&run(&["beacon", "--transport", "tcp", "--to", &closed, "--count", "1"]));
    assert_eq!(calls[0]["outcome"], "refused");
    let cut = format!("127.0.0.1:{}", free_port());
    let _server = Server::start(&[format!("reset:{cut}")]);
    let calls = truth(&run(&["beacon", "--transport", "tcp", "--to", &cut, "--count", "1"]));
    assert_eq!(calls[0]["outcome"], "reset");
}

#[test]
fn nothing_is_sent_to_an_address_outside() {
    for address in
        ["8.8.8.8:53", "192.0.2.1:80", "10.0.0.1:443", "169.254.169.254:80", "[2606:4700::1111]:443"]
    {
        for transport in ["tcp", "udp", "icmp"] {
            let output = run(&["beacon", "--transport", transport, "--to", address, "--count", "1"]);
            assert!(!output.status.success(), "{address}");
            assert!(output.stdout.is_empty(), "{address}: a callback was made");
            assert!(String::from_utf8_lossy(&output.stderr).contains("refused to call"), "{address}");
        }
    }
    // One bad destination among good ones stops all.
    let output =
        run(&["beacon", "--transport", "tcp", "--to", "127.0.0.1:9", "--to", "1.1.1.1:443", "--count", "1"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let lifetime = ["lifetime", "--to", "8.8.8.8:443", "--truth", "/dev/null", "--folder", "/nonexistent"];
    assert!(!run(&lifetime).status.success());
    let program =
        ["program", "--dress", "curl", "--to", "8.8.8.8:80", "--folder", "/nonexistent", "--count", "1"];
    assert!(!run(&program).status.success());
    let output = run(&["serve", "tcp:0.0.0.0:0"]);
    assert!(!output.status.success());
}

#[test]
fn every_dress_calls_in_its_own_way() {
    let scratch = sonde_tests::program::Scratch::new("dress");
    let to = format!("127.0.0.1:{}", free_port());
    let _server = Server::start(&[format!("http:{to}")]);
    for dress in ["python", "shell", "curl", "compiled"] {
        let folder = scratch.path().to_str().unwrap();
        let arguments = ["program", "--dress", dress, "--folder", folder, "--name", dress, "--to", &to];
        let calls =
            truth(&run(&[&arguments[..], &["--count", "2", "--interval", "1", "--speed", "50"]].concat()));
        assert_eq!(calls.len(), 2, "{dress}");
        assert!(calls.iter().all(|call| call["outcome"] == "established"), "{dress}: {calls:?}");
        assert!(scratch.file(dress).is_file());
    }
}

#[test]
fn short_lives_write_down_who_they_were() {
    let scratch = sonde_tests::program::Scratch::new("lives");
    let port = free_port();
    let to = format!("127.0.0.1:{port}");
    let _server = Server::start(&[format!("mute:{to}"), format!("udp:{to}")]);
    let (_held, closed) = closed_port();
    let folder = scratch.path().to_str().unwrap();
    let kinds: [(&str, &[&str]); 6] = [
        (&to, &["--close", "graceful"]),
        (&to, &["--close", "reset"]),
        (&closed, &["--close", "refused"]),
        (&to, &["--transport", "udp"]),
        (&to, &["--means", "inherited"]),
        (&to, &["--means", "passed"]),
    ];
    for (number, (to, kind)) in kinds.into_iter().enumerate() {
        let truth = scratch.file(&format!("truth-{number}"));
        let arguments = ["lifetime", "--to", to, "--count", "10", "--rate", "200", "--folder", folder];
        let output = run(&[&arguments[..], &["--truth", truth.to_str().unwrap()], kind].concat());
        assert!(output.status.success(), "{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
        let lives = std::fs::read_to_string(&truth).unwrap();
        let lives: Vec<Value> = lives.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lives.len(), 10, "{kind:?}");
        let mut pids: Vec<_> = lives.iter().map(|life| life["pid"].as_u64().unwrap()).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 10, "{kind:?}: each is a process of its own");
        assert!(lives.iter().all(|life| life["local_port"].as_u64().unwrap() > 0), "{kind:?}: {lives:?}");
    }
}
