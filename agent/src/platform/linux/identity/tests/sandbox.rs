//! Identities as a sensor sees them that the service manager gave a view of its own.

use std::process::Command;
use std::sync::atomic::AtomicBool;

use sonde_common::live::{FileId, ProcessEvent};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::{BOOT, Running, now};
use crate::live::identity::facts::Request;
use crate::platform::linux::identity::Examiner;

/// systemd gives a hardened service a mount namespace of its own: what is the machine's has to stay the machine's.
#[test]
fn a_sandboxed_sensor_knows_the_programs_of_the_machine() {
    let same = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let test = std::env::current_exe().unwrap();
    let name = "platform::linux::identity::tests::sandbox::in_a_sandbox";
    if same("1") != same("self") || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it needs root, and the view of the first process");
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let copy = folder.path().join("sleep");
    std::fs::copy("/bin/sleep", &copy).unwrap();
    let running = Running::start(Command::new("sleep").arg("60"));
    let gone = Running::start(Command::new(&copy).arg("60"));
    let key = gone.key();
    let ProcessEvent::Started(start) = gone.started() else { panic!() };
    gone.end();
    // Built for use or for tests, the program may lie below /tmp itself: a copy of the descriptor finds it.
    let hidden =
        "exec 9<\"$0\"; mount -t tmpfs none /tmp; exec /proc/self/fd/9 --exact \"$1\" --ignored --nocapture";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", hidden])
        .arg(test)
        .arg(name)
        .env("SONDE_TEST_RUNNING", format!("{} {}", running.0.id(), running.key().start.nanos()))
        .env("SONDE_TEST_GONE", format!("{} {} {}", key.pid, key.start.nanos(), copy.display()))
        .env("SONDE_TEST_FILE", format!("{} {}", start.file.device, start.file.inode))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by a_sandboxed_sensor_knows_the_programs_of_the_machine, in a mount namespace of its own"]
fn in_a_sandbox() {
    let words =
        |name| -> Vec<String> { std::env::var(name).unwrap().split(' ').map(str::to_owned).collect() };
    let (running, gone, file) =
        (words("SONDE_TEST_RUNNING"), words("SONDE_TEST_GONE"), words("SONDE_TEST_FILE"));
    let ask = |of: &[String], image: &str, file: FileId| {
        let start = Timestamp::from_nanos(of[1].parse().unwrap());
        let process = ProcessKey { pid: of[0].parse().unwrap(), start };
        let image = image.as_bytes().into();
        let request = Request { id: 0, process, started: now(), boot: BOOT, image, file, unlinked: false };
        Examiner::new(1 << 30).examine(&request, &AtomicBool::new(false))
    };
    // It runs: it is the machine's, and so are the facts, for every process.
    let image = std::fs::read_link(format!("/proc/{}/exe", running[0])).unwrap();
    let answer = ask(&running, image.to_str().unwrap(), FileId::default());
    assert!(answer.key.is_some(), "taken for a container's");
    // It is gone, and its file is where only the machine's own view has it.
    assert!(!std::path::Path::new(&gone[2]).exists());
    let file = FileId { device: file[0].parse().unwrap(), inode: file[1].parse().unwrap() };
    let answer = ask(&gone, &gone[2], file);
    assert_eq!((answer.facts.unhashed, answer.facts.sha256.len()), (None, 64));
}
