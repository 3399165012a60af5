//! Figures of this machine: `scripts/bench-internals`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use sonde_common::live::ProcessEvent;
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::packages::Databases;
use super::process::{file_id, file_status, version_of};
use super::{Examiner, find_process, process_key};
use crate::live::identity::facts::Request;
use crate::live::identity::{Identities, IdentityOptions, Lookup};

const BOOT: Timestamp = Timestamp::from_secs_nanos(1_700_000_000, 0);

#[test]
#[ignore = "prints figures and checks nothing: scripts/bench-internals runs it"]
fn print() {
    let begin = Instant::now();
    let databases = Databases::at(Path::new("/")).unwrap();
    println!("package index: {} ms, {} KiB", begin.elapsed().as_millis(), databases.memory() >> 10);
    let begin = Instant::now();
    println!("owner of curl: {:?}, {} µs", databases.owner("/usr/bin/curl"), begin.elapsed().as_micros());
    let begin = Instant::now();
    println!("owner of none: {:?}, {} µs", databases.owner("/usr/bin/none"), begin.elapsed().as_micros());

    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![7u8; 128 << 20]).unwrap();
    let status = file_status(&large).unwrap();
    let request = Request {
        id: 0,
        process: ProcessKey { pid: u32::MAX - 1, start: Timestamp::ZERO },
        started: Timestamp::from_nanos(version_of(&status).changed),
        boot: BOOT,
        image: large.to_str().unwrap().as_bytes().into(),
        file: file_id(&status),
        unlinked: false,
    };
    let begin = Instant::now();
    let answer = Examiner::new(1 << 30).examine(&request, &AtomicBool::new(false));
    let seconds = begin.elapsed().as_secs_f64();
    println!("sha256 of 128 MiB, with the index: {seconds:.3} s, {:.0} MiB/s", 128.0 / seconds);
    assert!(!answer.facts.sha256.is_empty());

    let mut identities = Identities::new(IdentityOptions { boot: BOOT, ..Default::default() });
    let now = BOOT.plus_nanos(1 << 50);
    let mut key = ProcessKey::default();
    for round in ["first", "second", "third"] {
        // curl reads its configuration from standard input, and so waits.
        let mut curl = Command::new("/usr/bin/curl").args(["-K", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let begin = Instant::now();
        key = process_key(curl.id(), BOOT).unwrap();
        identities.process(&ProcessEvent::Started(Box::new(find_process(key, BOOT).unwrap().start)));
        let told = begin.elapsed();
        let program = loop {
            identities.drain(now);
            if let Lookup::Ready(program) = identities.program(key, now) {
                break program.clone();
            }
            std::thread::yield_now();
        };
        println!(
            "{round} curl: told in {} µs, ready in {} µs",
            told.as_micros(),
            begin.elapsed().as_micros()
        );
        println!("  {:?} {:?} {:x}", program.info.package, program.info.signed, program.key);
        let _ = curl.kill();
        let _ = curl.wait();
    }
    let begin = Instant::now();
    let rounds = 2_000_000u32;
    for _ in 0..rounds {
        assert!(matches!(identities.program(std::hint::black_box(key), now), Lookup::Ready(_)));
    }
    println!("ready look-up: {:.1} ns", begin.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    let begin = Instant::now();
    let mut found = 0;
    let rounds = 2_000;
    for _ in 0..rounds {
        found += usize::from(find_process(process_key(std::process::id(), BOOT).unwrap(), BOOT).is_some());
    }
    println!("look into /proc: {} ns ({found})", begin.elapsed().as_nanos() / rounds);
}

/// `SONDE_ROOT=/some/root SONDE_PATHS=/usr/bin/a:/usr/bin/b`: what the databases below a root say of paths.
#[test]
#[ignore = "looks at a root that the environment names: scripts/bench-internals --root DIR PATH… runs it"]
fn owners() {
    let root = std::env::var("SONDE_ROOT").unwrap();
    let databases = Databases::at(Path::new(&root)).unwrap();
    println!("{:?}", databases.unavailable());
    for path in std::env::var("SONDE_PATHS").unwrap().split(':') {
        println!("{path}: {:?}", databases.owner(path));
    }
}
