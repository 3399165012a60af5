//! A file sink against real files: rotation, torn lines, full disks, and what others put in the way.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::record::Kind;
use sonde_common::time::Timestamp;

use super::*;

/// Names the folder in which a disk is mounted for [`on_a_small_disk`].
const DISK: &str = "SONDE_TEST_SMALL_DISK";

fn record(id: &str, body: &str) -> Record {
    Record {
        kind: Kind::Alert,
        id: id.to_owned(),
        key: "k".to_owned(),
        time: Timestamp::ZERO,
        severity: Severity::High,
        body: body.as_bytes().to_vec(),
    }
}

fn settings(path: &Path, more: &str) -> FileSettings {
    let text = format!("[sinks.f.file]\npath = {:?}\n{more}", path.to_str().unwrap());
    Config::parse(&text, &[]).unwrap().sinks.into_values().next().unwrap().file.unwrap()
}

fn writer(path: &Path, more: &str) -> Writer {
    Writer { path: path.to_owned(), settings: settings(path, more) }
}

fn name() -> SinkName {
    Config::parse("[sinks.f.file]", &[]).unwrap().sinks.into_keys().next().unwrap()
}

fn deliver(sink: &mut FileSink, batch: &[Record]) -> Delivery {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(sink.deliver(batch))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn records_are_lines_in_their_order_with_the_rights_that_were_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.ndjson");
    let mut sink = FileSink::open(&name(), &settings(&path, "mode = \"0604\"")).unwrap();
    assert!(!path.exists(), "setting up makes nothing");
    for (ids, end) in [(["1", "2"], "2"), (["3", "4"], "4")] {
        let batch = ids.map(|id| record(id, &format!("{{\"id\":{id},\n\"x\":\"\\n\"}}")));
        let delivery = deliver(&mut sink, &batch);
        assert_eq!(delivery.outcomes, vec![Outcome::Acknowledged; 2], "{end}: {}", delivery.said);
    }
    let lines: Vec<_> = read(&path).lines().map(str::to_owned).collect();
    assert_eq!(lines, ["1", "2", "3", "4"].map(|id| format!("{{\"id\":{id}, \"x\":\"\\n\"}}")));
    assert_eq!(mode(&path), 0o604);
}

#[test]
fn a_file_that_was_renamed_or_deleted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("a.ndjson"), folder.path().join("a.ndjson-20260302"));
    let writer = writer(&path, "");
    let now = SystemTime::now();
    writer.write(b"1\n", now).unwrap();
    fs::rename(&path, &old).unwrap();
    writer.write(b"2\n", now).unwrap();
    assert_eq!((read(&old), read(&path)), ("1\n".to_owned(), "2\n".to_owned()));
    fs::remove_file(&path).unwrap();
    writer.write(b"3\n", now).unwrap();
    assert_eq!(read(&path), "3\n");
    // As logrotate's copytruncate does.
    fs::write(&path, "").unwrap();
    writer.write(b"4\n", now).unwrap();
    assert_eq!(read(&path), "4\n");
}

#[test]
fn a_file_is_set_aside_before_it_grows_too_long_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "rotate_bytes = 10\nkeep = 2");
    fs::write(rotate::numbered(&path, 3), "left from when more were kept").unwrap();
    for line in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "a line longer than a file\n", "eeee\n", "ffff\n"] {
        writer.write(line.as_bytes(), SystemTime::now()).unwrap();
    }
    assert_eq!(read(&path), "eeee\nffff\n");
    assert_eq!(read(&rotate::numbered(&path, 1)), "a line longer than a file\n");
    assert_eq!(read(&rotate::numbered(&path, 2)), "cccc\ndddd\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn with_none_kept_the_file_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "rotate_bytes = 10\nkeep = 0");
    for line in ["aaaa\n", "bbbb\n", "cccc\n"] {
        writer.write(line.as_bytes(), SystemTime::now()).unwrap();
    }
    assert_eq!(read(&path), "cccc\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_old_file_is_set_aside_and_an_empty_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "rotate_bytes = 0\nrotate_hours = 24");
    let now = SystemTime::now();
    fs::write(&path, "").unwrap();
    writer.write(b"1\n", now + Duration::from_secs(25 * 3_600)).unwrap();
    writer.write(b"2\n", now + Duration::from_secs(23 * 3_600)).unwrap();
    assert_eq!(read(&path), "1\n2\n");
    writer.write(b"3\n", now + Duration::from_secs(25 * 3_600)).unwrap();
    assert_eq!((read(&rotate::numbered(&path, 1)).as_str(), read(&path).as_str()), ("1\n2\n", "3\n"));
    // A clock that was set back is no reason.
    writer.write(b"4\n", now - Duration::from_secs(99 * 3_600)).unwrap();
    assert_eq!(read(&path), "3\n4\n");
}

#[test]
fn what_cannot_be_set_aside_is_written_to_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "rotate_bytes = 5\nkeep = 1");
    writer.write(b"aaaa\n", SystemTime::now()).unwrap();
    // A folder is in the way of `a.ndjson.1`.
    fs::create_dir(rotate::numbered(&path, 1)).unwrap();
    let said = writer.write(b"bbbb\n", SystemTime::now()).unwrap();
    assert!(said.contains("cannot be"), "{said}");
    assert_eq!(read(&path), "aaaa\nbbbb\n");
}

#[test]
fn a_line_that_a_crash_tore_is_ended_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "rotate_bytes = 20\nkeep = 1");
    fs::write(&path, "{\"a\":1}\n{\"b\"").unwrap();
    writer.write(b"{}\n", SystemTime::now()).unwrap();
    assert_eq!(read(&path), "{\"a\":1}\n{\"b\"\n{}\n");
    fs::write(&path, "{\"a\":1}\n{\"b\":\"torn").unwrap();
    writer.write(b"{}\n", SystemTime::now()).unwrap();
    assert_eq!(read(&rotate::numbered(&path, 1)), "{\"a\":1}\n{\"b\":\"torn\n");
    assert_eq!(read(&path), "{}\n");
}

#[test]
fn links_pipes_folders_and_files_of_others_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("precious"), "precious").unwrap();
    symlink(at("precious"), at("link")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    fs::write(at("twice"), "precious").unwrap();
    fs::hard_link(at("twice"), at("hard")).unwrap();
    fs::write(at("open"), "precious").unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::create_dir(at("folder")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(made.success());
    let mut cases = vec![
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("hard", "hard link"),
        ("open", "everybody may write"),
        ("folder", "no regular file"),
        ("pipe", "no regular file"),
        ("missing/a.ndjson", "make it, or set another path"),
        ("precious/a.ndjson", "make it, or set another path"),
    ];
    fs::write(at("anothers"), "precious").unwrap();
    if std::os::unix::fs::chown(at("anothers"), Some(12_345), None).is_ok() {
        cases.push(("anothers", "another user (uid 12345"));
    } else {
        eprintln!("SKIPPED: only root can give a file away, so its refusal was not tried");
    }
    for (file, wanted) in cases {
        let error = FileSink::open(&name(), &settings(&at(file), "")).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.starts_with("sinks.f: "), "{file}: {error}");
        // What came there after the sink was set up.
        let error = writer(&at(file), "").write(b"x\n", SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{file}: {error}");
        // And between the look and the opening.
        assert!(writer(&at(file), "").open().is_err(), "{file}");
    }
    for file in ["precious", "twice", "open"] {
        assert_eq!(read(&at(file)), "precious", "{file}");
    }
    assert!(!at("nothing").exists());
    fs::create_dir(at("public")).unwrap();
    fs::set_permissions(at("public"), fs::Permissions::from_mode(0o777)).unwrap();
    let error = FileSink::open(&name(), &settings(&at("public/a"), "")).unwrap_err().to_string();
    assert!(error.contains("rename and delete"), "{error}");
    fs::set_permissions(at("public"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(FileSink::open(&name(), &settings(&at("public/a"), "")).is_ok(), "as /tmp is");
}

#[test]
fn a_folder_that_goes_and_comes_back_costs_a_retry() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("mounted");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("a.ndjson");
    let mut sink = FileSink::open(&name(), &settings(&path, "")).unwrap();
    fs::remove_dir(&inner).unwrap();
    let delivery = deliver(&mut sink, &[record("1", "{}")]);
    assert!(
        matches!(&delivery.outcomes[..], [Outcome::Retry(why)] if why.contains("missing")),
        "{delivery:?}"
    );
    fs::create_dir(&inner).unwrap();
    assert_eq!(deliver(&mut sink, &[record("1", "{}")]).outcomes, [Outcome::Acknowledged]);
    assert_eq!(read(&path), "{}\n");
}

#[test]
fn two_writers_of_one_file_do_not_mix_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let first = writer(&path, "");
    first.write(b"1\n", SystemTime::now()).unwrap();
    let held = first.open().unwrap();
    let error = writer(&path, "").write(b"2\n", SystemTime::now()).unwrap_err();
    assert!(matches!(error, FileError::Held { .. }), "{error}");
    drop(held);
    writer(&path, "").write(b"2\n", SystemTime::now()).unwrap();
    assert_eq!(read(&path), "1\n2\n");
}

/// A child has copies of our descriptors between its birth and its program; the lock must not wait for it.
#[test]
fn a_lock_ends_with_its_batch_though_a_copy_of_the_descriptor_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let writer = writer(&path, "");
    let held = writer.open().unwrap();
    let copy = held.try_clone().unwrap();
    drop(held);
    writer.write(b"1\n", SystemTime::now()).unwrap();
    drop(copy);
    assert_eq!(read(&path), "1\n");
}

/// Runs in a mount namespace of its own, with a disk of 64 KiB at the folder that [`DISK`] names.
#[test]
#[ignore = "run by a_full_disk_costs_a_retry_and_leaves_no_half_line"]
fn on_a_small_disk() {
    let path = PathBuf::from(std::env::var_os(DISK).unwrap()).join("a.ndjson");
    let mut sink = FileSink::open(&name(), &settings(&path, "")).unwrap();
    let line = format!("{{\"x\":\"{}\"}}", "y".repeat(999));
    let batch: Vec<_> = (0..10).map(|id| record(&id.to_string(), &line)).collect();
    let mut whole = 0;
    let refused = loop {
        let delivery = deliver(&mut sink, &batch);
        match &delivery.outcomes[..] {
            [Outcome::Acknowledged, ..] => whole += 1,
            _ => break delivery,
        }
        assert!(whole < 100, "a disk of 64 KiB took more than 1 MB");
    };
    assert!(whole > 0);
    let full = |o: &Outcome| matches!(o, Outcome::Retry(why) if why.contains("no room on the disk"));
    assert!(refused.outcomes.len() == 10 && refused.outcomes.iter().all(full), "{refused:?}");
    let text = read(&path);
    assert_eq!(text.len(), whole * 10 * (line.len() + 1), "what was written of the batch is cut off");
    assert!(text.lines().all(|found| found == line));
    // Room again: the same batch goes through.
    fs::write(&path, "").unwrap();
    assert_eq!(deliver(&mut sink, &batch).outcomes, vec![Outcome::Acknowledged; 10]);
    assert_eq!(read(&path).len(), 10 * (line.len() + 1));
}

#[test]
fn a_full_disk_costs_a_retry_and_leaves_no_half_line() {
    let folder = tempfile::tempdir().unwrap();
    let able = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .output();
    if !able.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no mount namespace can be made here ({able:?}), so no full disk was tried");
        return;
    }
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg("mount -t tmpfs -o size=64k tmpfs \"$1\"; shift; exec \"$@\"")
        .arg("sh")
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sink::file::tests::on_a_small_disk", "--ignored", "--nocapture"])
        .env(DISK, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{output:?}");
}

proptest! {
    /// Whatever state a crash left, every acknowledged line stands as a line of its own, in order, over all files.
    #[test]
    fn acknowledged_lines_are_whole_whatever_came_between(
        steps in proptest::collection::vec((0u8..4, 1usize..30), 1..30),
        most in 0u32..60,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        let writer = writer(&path, &format!("rotate_bytes = {most}\nkeep = 1000\nsync = false"));
        let mut wanted = Vec::new();
        for (number, (kind, length)) in steps.iter().enumerate() {
            match kind {
                0 => {
                    // Somebody's half line.
                    let mut options = fs::OpenOptions::new();
                    let mut file = options.append(true).create(true).open(&path).unwrap();
                    file.write_all(&b"torn torn torn torn torn torn torn"[..*length]).unwrap();
                }
                1 if path.exists() => {
                    fs::rename(&path, folder.path().join(format!("moved-{number}"))).unwrap();
                }
                _ => {
                    let line = format!("{number}:{}", "x".repeat(*length));
                    writer.write(format!("{line}\n").as_bytes(), SystemTime::now()).unwrap();
                    wanted.push(line);
                }
            }
        }
        let mut found: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .flat_map(|entry| {
                let text = read(&entry.unwrap().path());
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|line| !line.starts_with('t'))
            .collect();
        found.sort_by_key(|line| line.split(':').next().unwrap().parse::<usize>().unwrap());
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn the_owner_of_a_new_file_is_who_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    writer(&path, "").write(b"1\n", SystemTime::now()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), crate::platform::local_socket::own_uid());
}
