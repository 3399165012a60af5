//! Identities with real processes of this machine.

mod sandbox;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonde_common::live::ProcessEvent;
use sonde_common::process::{ImageLocation, ParentClass, ProcessKey};
use sonde_common::program::Program;
use sonde_common::time::Timestamp;

use super::Examiner;
use super::{find_process, process_key};
use crate::live::identity::facts::{Request, Unhashed};
use crate::live::identity::{Identities, IdentityOptions, Lookup};

const BOOT: Timestamp = Timestamp::from_secs_nanos(1_700_000_000, 0);

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        // What reads its input waits until this end is closed, however the test ends.
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn key(&self) -> ProcessKey {
        process_key(self.0.id(), BOOT).unwrap()
    }

    /// What a layer would have told when it began.
    fn started(&self) -> ProcessEvent {
        // Until the child has left the image of this test behind, and has its arguments.
        let own = std::env::current_exe().unwrap();
        let file = |name: &str| format!("/proc/{}/{name}", self.0.id());
        wait_for(|| {
            let other = std::fs::read_link(file("exe")).is_ok_and(|exe| exe != own);
            (other && !std::fs::read(file("cmdline")).unwrap().is_empty()).then_some(())
        });
        ProcessEvent::Started(Box::new(find_process(self.key(), BOOT).unwrap().start))
    }

    fn end(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn identities() -> Identities {
    Identities::new(IdentityOptions { boot: BOOT, ..Default::default() })
}

fn now() -> Timestamp {
    BOOT.plus_nanos(1 << 50)
}

/// The program once it is ready.
fn program(identities: &mut Identities, key: ProcessKey) -> Program {
    wait_for(|| {
        identities.drain(now());
        match identities.program(key, now()) {
            Lookup::Ready(program) => Some(program.clone()),
            Lookup::Pending => None,
            Lookup::Unknown => panic!("unknown: {key:?}"),
        }
    })
}

fn sha256(path: &str) -> String {
    use sha2::Digest as _;
    super::digest::hex(&sha2::Sha256::digest(std::fs::read(path).unwrap()))
}

/// The children of a process by the processes' own words.
fn child_of(pid: u32) -> Option<u32> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = super::process::parse_stat(&std::fs::read(format!("/proc/{child}/stat")).ok()?)?;
        (stat.parent == pid).then_some(child)
    })
}

#[test]
fn a_script_is_named_with_its_interpreter_parent_and_user() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.py"), "input()\n").unwrap();
    std::fs::write(folder.path().join("a.sh"), "read x\n:\n").unwrap();
    let mut identities = identities();
    for (interpreter, arguments, script) in
        [("/usr/bin/python3", &["-u", "./a.py"] as &[&str], "a.py"), ("sh", &["a.sh"], "a.sh")]
    {
        let running = Running::start(Command::new(interpreter).args(arguments).current_dir(folder.path()));
        let event = running.started();
        identities.process(&event);
        let program = program(&mut identities, running.key());
        let info = &program.info;
        let folder = folder.path().canonicalize().unwrap();
        assert_eq!(info.script, folder.join(script).to_str().unwrap());
        assert_eq!(info.command_line, format!("{interpreter} {}", arguments.join(" ")));
        assert_eq!(info.sha256, sha256(&info.image));
        assert_eq!(info.location, Some(ImageLocation::System), "{}", info.image);
        assert_eq!(info.script_host, Some(true));
        assert_eq!(info.parent_image, std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(info.parent_class, Some(ParentClass::Other));
        assert!(!info.ancestors.is_empty() && info.ancestors.len() <= 4);
        if rustix::process::geteuid().is_root() {
            assert_eq!(info.user, "root");
        }
    }
}

#[test]
fn a_deleted_executable_is_hashed_through_its_process_and_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("implant");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let running = Running::start(Command::new(&path).arg("60"));
    let event = running.started();
    std::fs::remove_file(&path).unwrap();
    // Told of while it still had its name, and found by itself after that.
    let mut told = identities();
    told.process(&event);
    for mut identities in [told, identities()] {
        let program = program(&mut identities, running.key());
        assert_eq!(program.info.image, path.canonicalize().unwrap_or(path.clone()).to_str().unwrap());
        assert_eq!(program.info.sha256, sha256("/bin/sleep"));
        assert_eq!(program.info.location, Some(ImageLocation::Memory));
        assert_ne!(program.info.signed, Some(true));
    }
}

#[test]
fn a_program_that_was_never_on_disk_is_hashed_and_flagged() {
    use std::io::Write as _;
    let file = rustix::fs::memfd_create(c"implant", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(&std::fs::read("/bin/sleep").unwrap()).unwrap();
    let link = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
    // The kernel does not run what is open for writing.
    let reader = std::fs::File::open(&link).unwrap();
    drop(file);
    let link = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&reader));
    let running = Running::start(Command::new(link).arg("60"));
    let mut identities = identities();
    identities.process(&running.started());
    let info = program(&mut identities, running.key()).info;
    assert_eq!((info.image.as_str(), info.location), ("/memfd:implant", Some(ImageLocation::Memory)));
    assert_eq!(info.sha256, sha256("/bin/sleep"));
}

#[test]
fn a_forked_worker_is_the_program_of_its_parent_told_or_found() {
    let running = Running::start(Command::new("sh").args(["-c", "exec 3<&0; (read x <&3; :) & read y; :"]));
    let event = running.started();
    let copy = wait_for(|| {
        let child = child_of(running.0.id())?;
        let found = find_process(process_key(child, BOOT)?, BOOT)?;
        found.copy.then_some(found.start.process)
    });
    let mut found = identities();
    let parent = program(&mut found, running.key());
    assert_eq!(program(&mut found, copy).key, parent.key, "found");
    let mut told = identities();
    told.process(&event);
    told.process(&ProcessEvent::Forked { time: copy.start, parent: running.key(), child: copy });
    assert_eq!(program(&mut told, copy).key, parent.key, "told");
    assert_eq!(program(&mut told, copy).info.parent_image, parent.info.parent_image);
}

#[test]
fn a_loop_of_short_lived_runs_is_one_program_alive_or_dead() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("call.sh"), "read x\n:\n").unwrap();
    let mut identities = identities();
    let mut keys = Vec::new();
    for round in 0..6 {
        for (program_name, arguments) in [("sleep", &["60"] as &[&str]), ("sh", &["./call.sh"])] {
            let running =
                Running::start(Command::new(program_name).args(arguments).current_dir(folder.path()));
            let (key, mut event) = (running.key(), running.started());
            if round == 3
                && let ProcessEvent::Started(start) = &mut event
            {
                // A layer that came too late for it.
                start.cgroup = 0;
            }
            if round % 2 == 0 {
                identities.process(&event);
                keys.push((program_name, program(&mut identities, key).key));
                identities.process(&ProcessEvent::Exited { time: now(), process: key });
                running.end();
            } else {
                running.end();
                identities.process(&event);
                identities.process(&ProcessEvent::Exited { time: now(), process: key });
                keys.push((program_name, program(&mut identities, key).key));
            }
        }
    }
    for (name, key) in &keys {
        let first = keys.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(first.1, *key, "{keys:?}");
    }
    assert_ne!(keys[0].1, keys[1].1);
}

#[test]
fn a_reused_number_is_another_process_and_never_the_old_one() {
    let mut identities = identities();
    let first = Running::start(Command::new("sleep").arg("60"));
    let (key, event) = (first.key(), first.started());
    identities.process(&event);
    let old = program(&mut identities, key);
    identities.process(&ProcessEvent::Exited { time: now(), process: key });
    let later = ProcessKey { pid: key.pid, start: key.start.plus_nanos(50_000_000) };
    assert!(
        matches!(identities.program(later, now()), Lookup::Unknown),
        "no process is better than a wrong one"
    );
    if let ProcessEvent::Started(mut start) = event {
        start.process = later;
        start.image = b"/usr/bin/other".to_vec();
        identities.process(&ProcessEvent::Started(start));
    }
    let new = identities.program_now(later, now()).unwrap().clone();
    assert_eq!(new.info.image, "/usr/bin/other");
    assert_eq!(program(&mut identities, key).key, old.key, "remembered for its last connections");
    identities.drain(now().plus_nanos(61_000_000_000));
    first.end();
    assert!(matches!(identities.program(key, now()), Lookup::Unknown), "forgotten after a minute");
}

#[test]
fn a_program_given_early_keeps_its_key_and_later_runs_of_the_file_share_it() {
    let mut identities = identities();
    let running = Running::start(Command::new("sleep").arg("60"));
    identities.process(&running.started());
    let early = identities.program_now(running.key(), now()).unwrap().clone();
    assert!(early.info.sha256.is_empty());
    assert_eq!(identities.lost().given_early, 1);
    assert_eq!(program(&mut identities, running.key()).key, early.key);
    let next = Running::start(Command::new("sleep").arg("60"));
    identities.process(&next.started());
    let late = program(&mut identities, next.key());
    assert_eq!((late.key, late.info.sha256.as_str()), (early.key, sha256("/bin/sleep").as_str()));
}

#[test]
fn a_file_over_the_limit_is_named_but_not_hashed() {
    let mut identities =
        Identities::new(IdentityOptions { boot: BOOT, hash_bytes: 10, ..Default::default() });
    let running = Running::start(Command::new("sleep").arg("60"));
    let info = program(&mut identities, running.key()).info;
    assert!(info.sha256.is_empty() && info.image.ends_with("sleep"));
    assert_eq!(identities.lost().unhashed.values().sum::<u64>(), 1);
}

/// What is asked of an executable that no process runs any more.
fn request(path: &std::path::Path) -> Request {
    let status = super::process::file_status(path).unwrap();
    Request {
        id: 7,
        process: ProcessKey { pid: u32::MAX - 1, start: Timestamp::ZERO },
        started: Timestamp::from_nanos(super::process::version_of(&status).changed),
        boot: BOOT,
        image: path.to_str().unwrap().as_bytes().into(),
        file: super::process::file_id(&status),
        unlinked: false,
    }
}

#[test]
fn a_file_is_signed_if_a_package_owns_it_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let tool = root.path().canonicalize().unwrap().join("tool");
    std::fs::write(&tool, "abc").unwrap();
    let info = root.path().join("var/lib/dpkg/info");
    std::fs::create_dir_all(&info).unwrap();
    let name = tool.to_str().unwrap();
    let status = "Package: sample\nStatus: install ok installed\nVersion: 1-2\n";
    std::fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
    std::fs::write(info.join("sample.list"), format!("{name}\n")).unwrap();
    // RFC 1321's example.
    let sums = format!("900150983cd24fb0d6963f7d28e17f72  {}\n", &name[1..]);
    std::fs::write(info.join("sample.md5sums"), sums).unwrap();
    let never = std::sync::atomic::AtomicBool::new(false);
    let mut examiner = Examiner::with_root(1 << 20, root.path().into());
    let facts = examiner.examine(&request(&tool), &never).facts;
    assert_eq!((facts.package.as_str(), facts.signed), ("sample 1-2", Some(true)));
    std::fs::write(&tool, "abd").unwrap();
    let facts = examiner.examine(&request(&tool), &never).facts;
    assert_eq!((facts.package.as_str(), facts.signed), ("sample 1-2 (modified)", Some(false)));
    let other = root.path().join("other");
    std::fs::write(&other, "abc").unwrap();
    let facts = examiner.examine(&request(&other), &never).facts;
    assert_eq!((facts.package.as_str(), facts.signed), ("", Some(false)));
    // Without any database nothing is known.
    let bare = tempfile::tempdir().unwrap();
    let facts = Examiner::with_root(1 << 20, bare.path().into()).examine(&request(&tool), &never).facts;
    assert_eq!((facts.signed, facts.sha256.len()), (None, 64));
}

#[test]
fn a_dead_process_s_file_is_not_hashed_when_it_is_another_one_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("tool");
    std::fs::write(&tool, "abc").unwrap();
    let never = std::sync::atomic::AtomicBool::new(false);
    let mut examiner = Examiner::with_root(1 << 20, folder.path().into());
    let asked = request(&tool);
    assert_eq!(examiner.examine(&asked, &never).facts.unhashed, None);
    let later = Request { started: asked.started.plus_nanos(-1_000_000_000), ..asked.clone() };
    assert_eq!(examiner.examine(&later, &never).facts.unhashed, Some(Unhashed::Changed), "changed since");
    std::fs::write(folder.path().join("new"), "abc").unwrap();
    std::fs::rename(folder.path().join("new"), &tool).unwrap();
    assert_eq!(examiner.examine(&asked, &never).facts.unhashed, Some(Unhashed::Changed), "replaced");
    std::fs::remove_file(&tool).unwrap();
    assert_eq!(examiner.examine(&asked, &never).facts.unhashed, Some(Unhashed::Gone));
    assert_eq!(examiner.examine(&asked, &never).facts.unhashed, Some(Unhashed::Gone));
}

#[test]
fn a_program_of_this_machine_is_owned_and_a_copy_of_it_is_not() {
    if !std::path::Path::new("/var/lib/dpkg/status").exists() {
        // What other package managers tell is tested with databases of the tests' own.
        return;
    }
    let mut identities = identities();
    let running = Running::start(Command::new("sleep").arg("60"));
    identities.process(&running.started());
    let info = program(&mut identities, running.key()).info;
    assert!(info.package.starts_with("coreutils "), "{}", info.package);
    assert_eq!(info.signed, Some(true));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleep");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let copy = Running::start(Command::new(&path).arg("60"));
    identities.process(&copy.started());
    let info = program(&mut identities, copy.key()).info;
    assert_eq!((info.package.as_str(), info.signed), ("", Some(false)));
    assert_eq!(info.location, Some(ImageLocation::Temporary));
}

#[test]
fn a_process_of_another_mount_namespace_is_looked_up_below_its_own_root() {
    if !std::path::Path::new("/var/lib/dpkg/status").exists() {
        return;
    }
    let refused = Command::new("unshare").args(["-m", "true"]).output().unwrap();
    if !refused.status.success() {
        let reason = String::from_utf8_lossy(&refused.stderr);
        assert!(std::env::var("CI").is_err() || !rustix::process::geteuid().is_root(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    // There, no package is installed.
    let empty = tempfile::tempdir().unwrap();
    let hide = format!("mount --bind {} /var/lib/dpkg && exec sleep 60", empty.path().display());
    let hidden = Running::start(Command::new("unshare").args(["-m", "sh", "-c", &hide]));
    let plain = Running::start(Command::new("unshare").args(["-m", "sleep", "60"]));
    let mut identities = identities();
    for (running, signed) in [(&hidden, None), (&plain, Some(true))] {
        wait_for(|| {
            let name = std::fs::read(format!("/proc/{}/cmdline", running.0.id())).unwrap();
            name.starts_with(b"sleep").then_some(())
        });
        identities.process(&running.started());
        assert_eq!(program(&mut identities, running.key()).info.signed, signed);
        // What is at hand is at hand for one root.
        identities = self::identities();
    }
}

#[test]
fn a_frugal_sensor_reads_no_executable_and_names_programs_at_once() {
    let mut identities = identities();
    identities.set_frugal(true);
    let running = Running::start(Command::new("sleep").arg("60"));
    identities.process(&running.started());
    let Lookup::Ready(program) = identities.program(running.key(), now()) else { panic!("not at once") };
    assert!(!program.info.image.is_empty() && program.info.sha256.is_empty(), "{program:?}");
    running.end();
}
