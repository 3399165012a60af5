//! Notices against a socket that hears as the journal does, and against systemd-journald itself where it can be started.

use std::collections::BTreeMap;
use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use sonde_common::alert::Severity;
use sonde_common::encode::journal;
use sonde_common::record::Kind;
use sonde_common::time::Timestamp;

use super::*;

fn record(number: usize, body: String) -> Record {
    Record {
        kind: Kind::Alert,
        id: format!("f-{number}"),
        key: "f\nMESSAGE=not mine".to_owned(),
        time: Timestamp::ZERO,
        severity: Severity::Critical,
        body: body.into_bytes(),
    }
}

fn body(message: &str) -> String {
    serde_json::to_string(&serde_json::json!({ "message": message, "sonde": { "score": 0.97 } })).unwrap()
}

fn deliver(sink: &mut NoticeSink, batch: &[Record]) -> Delivery {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sink.deliver(batch))
}

/// One entry, from the datagram or from the memory whose descriptor came with it; then whether it did.
fn hear(socket: &UnixDatagram) -> (Vec<u8>, bool) {
    let mut bytes = vec![0; 1 << 20];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let memory = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    let Some(memory) = memory else {
        bytes.truncate(length);
        return (bytes, false);
    };
    let seals = rustix::fs::fcntl_get_seals(&memory).unwrap();
    assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK), "{seals:?}");
    let mut entry = Vec::new();
    std::io::Seek::rewind(&mut std::fs::File::from(memory.try_clone().unwrap())).unwrap();
    std::fs::File::from(memory).read_to_end(&mut entry).unwrap();
    (entry, true)
}

#[test]
fn entries_come_in_their_order_and_long_ones_by_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut sink = NoticeSink(Journal::at(&path).unwrap());
    let long = "x".repeat(600_000);
    let batch = [record(1, body("short")), record(2, body(&long)), record(3, body("a\n\u{1b}[31m"))];
    let delivery = deliver(&mut sink, &batch);
    assert_eq!(delivery.outcomes, vec![Outcome::Acknowledged; 3], "{}", delivery.said);
    for (record, by_memory) in batch.iter().zip([false, true, false]) {
        let mut wanted = Vec::new();
        journal::append(record, &mut wanted);
        let (entry, memory) = hear(&socket);
        assert!(entry == wanted && memory == by_memory, "{}: by memory: {memory}", record.id);
    }
}

#[test]
fn a_journal_that_is_away_or_busy_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut sink = NoticeSink(Journal::at(&path).unwrap());
    let retries = |delivery: &Delivery, wanted: &str| {
        delivery.outcomes.iter().any(|o| matches!(o, Outcome::Retry(why) if why.contains(wanted)))
    };
    let delivery = deliver(&mut sink, &[record(1, body("m"))]);
    assert!(retries(&delivery, "is systemd-journald running?"), "{delivery:?}");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // More than the queue of a socket holds, with nobody reading.
    let many: Vec<_> = (0..3_000).map(|number| record(number, body("m"))).collect();
    let delivery = deliver(&mut sink, &many);
    assert_eq!(delivery.outcomes.len(), many.len());
    assert!(retries(&delivery, "is busy"), "{}", delivery.said);
    let taken = delivery.outcomes.iter().filter(|o| **o == Outcome::Acknowledged).count();
    assert!(delivery.outcomes[..taken].iter().all(|o| *o == Outcome::Acknowledged), "the order stays");
    for _ in 0..taken {
        hear(&socket);
    }
    // One that was started anew, at the same place.
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(deliver(&mut sink, &many[..1]).outcomes, [Outcome::Acknowledged]);
    hear(&socket);
}

/// systemd-journald in a mount namespace of its own, in which `/run` is empty.
struct Journald(Child);

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one; `None` where that cannot be done.
fn journald() -> Option<(Journald, std::path::PathBuf)> {
    let program = ["/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald"]
        .into_iter()
        .find(|path| Path::new(path).is_file())?;
    let script = "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
        printf '[Journal]\\nStorage=volatile\\nAudit=no\\nReadKMsg=no\\nForwardToWall=no\\n' \
            >/run/systemd/journald.conf.d/test.conf
        exec \"$1\"";
    let child = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh", program])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut journald = Journald(child);
    let socket = format!("/proc/{}/root/run/systemd/journal/socket", journald.0.id());
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(30) {
        if journald.0.try_wait().ok()?.is_some() {
            return None;
        }
        if Path::new(&socket).exists() {
            return Some((journald, socket.into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn the_real_journal_stores_every_field_as_it_was() {
    let Some((journald, socket)) = journald() else {
        eprintln!(
            "SKIPPED: systemd-journald cannot be started here, so only a double of its socket was tried"
        );
        return;
    };
    let mut sink = NoticeSink(Journal::at(&socket).unwrap());
    let long = "y".repeat(400_000);
    let batch: Vec<_> = [body("short"), body(&long), body("a\n\u{1b}[31m\u{202e}")]
        .into_iter()
        .enumerate()
        .map(|(number, body)| record(number, body))
        .collect();
    let delivery = deliver(&mut sink, &batch);
    assert_eq!(delivery.outcomes, vec![Outcome::Acknowledged; 3], "{}", delivery.said);
    let since = Instant::now();
    let stored = loop {
        let output = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", journald.0.id()))
            .args([
                "journalctl",
                "--directory=/run/log/journal",
                "-o",
                "json",
                "--all",
                "SYSLOG_IDENTIFIER=sonde",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.lines().count() == batch.len() {
            break text;
        }
        let waited = since.elapsed() > Duration::from_secs(60);
        assert!(!waited, "{} entries: {}", text.lines().count(), String::from_utf8_lossy(&output.stderr));
        std::thread::sleep(Duration::from_millis(100));
    };
    for (line, record) in stored.lines().zip(&batch) {
        let entry: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let get = |name: &str| match &entry[name] {
            serde_json::Value::String(text) => text.clone().into_bytes(),
            // What is not plain text is told as a list of bytes.
            other => serde_json::from_value(other.clone()).unwrap(),
        };
        assert_eq!(get("SONDE_ID"), record.id.as_bytes());
        assert_eq!(get("SONDE_FINDING"), record.key.as_bytes());
        assert!(get("SONDE_RECORD") == record.body, "{}", record.id);
        assert_eq!((get("PRIORITY"), get("SONDE_SCORE")), (b"2".to_vec(), b"0.97".to_vec()));
        assert_eq!(get("MESSAGE_ID"), journal::message_id(Kind::Alert).as_bytes());
        assert_ne!(get("MESSAGE"), b"not mine");
    }
}
