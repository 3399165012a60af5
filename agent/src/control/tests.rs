//! The control socket with a sensor's thread that only pretends: who is answered, who is not, and what a hostile peer gets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sonde_common::alert::Severity;
use sonde_common::time::Timestamp;

use super::client::{ClientError, ask};
use super::server::{Access, MAX_CONNECTIONS, MAX_ROOT_CONNECTIONS};
use super::*;
use crate::cli::output::samples;
use crate::live::command::{self, Answer, Refusal, RefusalCode, Request, Rows, Wish};
use crate::live::health::Health;
use crate::platform::local_socket::{Peer, describe};

/// A sensor's thread that answers without an engine; ends with the channel.
fn pretend(commands: Receiver<Command>) -> JoinHandle<Vec<Request>> {
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        while let Ok(command) = commands.recv() {
            match command {
                Command::Stop => break,
                Command::Look(_)
                | Command::Reload(_)
                | Command::ReloadFailed(_)
                | Command::Feeds(_)
                | Command::Hints(_)
                | Command::Ended(_) => {}
                Command::Ask(request, reply) => {
                    if matches!(*request, Request::Alerts { .. }) {
                        // Never answered.
                        std::mem::forget(reply);
                        continue;
                    }
                    reply.send(match &*request {
                        Request::Status => Answer::Status(Box::new(Health::new("h".into(), Timestamp::ZERO))),
                        Request::Beacons { most, .. } => {
                            let rows = std::iter::repeat_with(samples::hostile).take(*most).collect();
                            Answer::Alerts(Rows { rows, omitted: 3, events: 4, series: 5 })
                        }
                        Request::Explain { .. } => Answer::Finding(Box::new(samples::implant())),
                        Request::Unallow { .. } => {
                            Answer::Refused(Refusal::new(RefusalCode::NotFound, "no such entry"))
                        }
                        _ => Answer::Allowed(Vec::new()),
                    });
                    asked.push(*request);
                }
            }
        }
        asked
    })
}

struct Desk {
    path: PathBuf,
    control: Option<Control>,
    thread: Option<JoinHandle<Vec<Request>>>,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let (commander, commands) = command::channel();
        let control = start(setup(&path, commander)).unwrap();
        Self { path, control: Some(control), thread: Some(pretend(commands)), _folder: folder }
    }

    /// What was asked until now.
    fn close(mut self) -> Vec<Request> {
        self.control.take().unwrap().finish();
        self.thread.take().unwrap().join().unwrap()
    }
}

fn setup(path: &Path, commander: Commander) -> Setup {
    Setup {
        socket: Some(path.to_owned()),
        group: None,
        commander,
        heartbeat: Heartbeat::default(),
        reread: Box::new(|| Ok(Config::default())),
    }
}

/// What comes back for some bytes.
fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The sensor may have said its word and left before all is written.
    let _ = stream.write_all(bytes);
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn every_question_has_its_answer() {
    let desk = Desk::open();
    let path = &desk.path;
    assert!(matches!(ask(path, Request::Status), Ok(Answer::Status(health)) if health.host == "h"));
    let beacons = Request::Beacons { least: Severity::Info, most: 300 };
    let Ok(Answer::Alerts(rows)) = ask(path, beacons) else { panic!("no rows") };
    assert_eq!((rows.rows.len(), rows.omitted, rows.events, rows.series), (300, 3, 4, 5));
    assert!(rows.rows.iter().all(|row| *row == samples::hostile()), "an alert comes as it was sent");
    let explained = ask(path, Request::Explain { id: "abcd".into() });
    assert!(matches!(explained, Ok(Answer::Finding(alert)) if *alert == samples::implant()));
    assert!(matches!(ask(path, Request::Allowed), Ok(Answer::Allowed(entries)) if entries.is_empty()));
    let refused = ask(path, Request::unallow(5)).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(why) if why.code == RefusalCode::NotFound), "{refused}");
    desk.close();
}

#[test]
fn who_made_an_entry_is_what_the_system_says_and_not_the_peer() {
    let desk = Desk::open();
    let wish = Wish { reason: "ours".into(), by: "the emperor".into(), ..Wish::default() };
    ask(&desk.path, Request::Allow(wish)).unwrap();
    let asked = desk.close();
    let [Request::Allow(wish)] = &asked[..] else { panic!("{asked:?}") };
    assert!(!wish.by.is_empty() && !wish.by.contains("emperor"), "{}", wish.by);
    let peer = Peer { uid: 4_000_000_000, groups: Vec::new(), pid: None };
    assert_eq!(describe(&peer), "uid 4000000000");
}

#[test]
fn garbage_is_refused_and_hurts_nobody() {
    let desk = Desk::open();
    let deep = format!("{}\n", "[".repeat(10_000));
    let long_line = [b'x'; 1 << 20];
    let cases: [&[u8]; 9] = [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"{\"ask\":\"shutdown\"}\n",
        b"{\"ask\":\"status\",\"and\":1}\n",
        b"{\"ask\":{\"explain\":{\"id\":7}}}\n",
        b"\xff\xfe\0\x1b[31m\n",
        deep.as_bytes(),
        &long_line,
    ];
    for bytes in cases {
        let said = raw(&desk.path, bytes);
        // The kernel may take an answer back when what was sent is not read to its end.
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(
            said.contains("\"refused\"") || (bytes.len() > 16 << 10 && said.is_empty()),
            "{shown}: {said}"
        );
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    drop(UnixStream::connect(&desk.path).unwrap());
    assert!(ask(&desk.path, Request::Status).is_ok());
    assert_eq!(desk.close(), [Request::Status], "nothing else reached the sensor");
}

#[test]
fn slow_and_many_peers_are_bounded_and_left() {
    let desk = Desk::open();
    let places = MAX_CONNECTIONS + MAX_ROOT_CONNECTIONS;
    let began = Instant::now();
    let mut slow: Vec<_> = (0..places).map(|_| UnixStream::connect(&desk.path).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"{\"ask\":").unwrap();
    }
    // All places are taken (we are root, or have only the common ones): the next is told so at once.
    std::thread::sleep(Duration::from_millis(200));
    let told = ask(&desk.path, Request::Status).unwrap_err().to_string();
    assert!(told.contains("too many"), "{told}");
    for stream in &mut slow {
        let mut text = String::new();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("in time") || text.contains("too many"), "{text}");
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(4) && waited < Duration::from_secs(9), "{waited:?}");
    assert!(ask(&desk.path, Request::Status).is_ok(), "their places are free again");
    desk.close();
}

#[test]
fn a_peer_that_does_not_read_and_a_sensor_that_does_not_answer_hold_nobody_up() {
    let desk = Desk::open();
    let mut deaf = UnixStream::connect(&desk.path).unwrap();
    deaf.write_all(b"{\"ask\":{\"beacons\":{\"least\":\"info\",\"most\":4000}}}\n").unwrap();
    let mute = {
        let path = desk.path.clone();
        std::thread::spawn(move || ask(&path, Request::Alerts { least: Severity::Info, most: 1 }))
    };
    let began = Instant::now();
    assert!(ask(&desk.path, Request::Status).is_ok());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let late = mute.join().unwrap().unwrap_err().to_string();
    assert!(late.contains("does not answer in time"), "{late}");
    desk.close();
}

#[test]
fn a_second_sensor_is_refused_and_an_absent_one_is_named() {
    let desk = Desk::open();
    let (commander, _commands) = command::channel();
    let error = start(setup(&desk.path, commander)).unwrap_err().to_string();
    assert!(error.contains("another sensor answers"), "{error}");
    let path = desk.path.clone();
    let folder = desk.path.parent().unwrap().to_owned();
    assert!(folder.exists());
    desk.close();
    let error = ask(&path, Request::Status).unwrap_err();
    assert!(matches!(error, ClientError::Nobody { .. }), "{error}");
    assert!(error.to_string().contains("no one answers on"), "{error}");
}

#[test]
fn only_owners_change_and_only_the_group_reads() {
    let access = Access { own_uid: 500, group: Some(7) };
    let peer = |uid, group| Peer { uid, groups: vec![100, group], pid: None };
    let (read, change) = (Request::Status, Request::unallow(1));
    for (who, may_read, may_change) in [
        (peer(0, 0), true, true),
        (peer(500, 0), true, true),
        (peer(1000, 7), true, false),
        (peer(1000, 8), false, false),
    ] {
        assert_eq!(
            (access.allows(&who, &read), access.allows(&who, &change)),
            (may_read, may_change),
            "{who:?}"
        );
    }
    assert!(!Access { own_uid: 500, group: None }.allows(&peer(1000, 7), &read));
}

#[test]
fn a_stranger_is_denied_by_the_kernel() {
    let desk = Desk::open();
    // The folder is open to all; the socket is not.
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(desk.path.parent().unwrap(), open).unwrap();
    if crate::platform::local_socket::own_uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "this needs root");
        return;
    }
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])";
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", script])
        .arg(&desk.path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Permission denied"), "{said}");
    assert!(desk.close().is_empty());
}

#[test]
fn a_bad_configuration_is_told_in_one_line() {
    let error = Config::parse("[limits]\nmemroy = 1", &[]).unwrap_err().to_string();
    let line = in_one_line(&error);
    assert!(line.contains("line 2") && line.contains("memroy") && line.lines().count() == 1, "{line}");
    assert_eq!((in_one_line("gone"), in_one_line("")), ("gone".to_owned(), String::new()));
}
