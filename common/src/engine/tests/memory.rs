//! A local process chooses its command line, and how many processes it starts.

use super::calls::{Calls, MINUTE};
use super::*;
use crate::detect::beacon::texts;
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ImageLocation, ProcessInfo};

#[test]
fn programs_with_endless_command_lines_leave_the_limit_and_the_beacons_alone() {
    const MEMORY: usize = 2 << 20;
    let mut calls = Calls::with(Engine::new("h".into(), MEMORY, (1, 2)));
    calls.every(MINUTE, 0, 60);
    let before = calls.only();
    let long = "x".repeat(32 << 10);
    for number in 0..400i64 {
        // Each is a program of its own by its script, with texts of 128 KiB, and calls twice.
        let info = ProcessInfo {
            image: format!("/home/a/{number}"),
            command_line: long.clone(),
            script: format!("{number}{long}"),
            parent_image: long.clone(),
            container: long.clone(),
            location: Some(ImageLocation::Home),
            ..ProcessInfo::default()
        };
        let program = Program::of(info);
        for _ in 0..2 {
            let time = HOURS + number * 2;
            let event = ConnectionEvent {
                tuple: FiveTuple {
                    transport: Transport::Tcp,
                    local: "10.0.0.1:50000".parse().unwrap(),
                    remote: "198.51.100.77:443".parse().unwrap(),
                },
                start: super::calls::secs(time),
                process: None,
                program: Some(&program),
                attribution: Attribution::NONE,
                names: Names::default(),
                protocol: crate::event::AppProtocol::Unknown,
                ja4: None,
                phase: Phase::Opened,
            };
            calls.tell(time, Event::Connection(event));
        }
    }
    calls.every(MINUTE, HOURS + 1000, 30);
    let mut held = std::collections::BTreeMap::new();
    let mut labels = 0;
    for (_, _, label) in calls.engine.beacons.iter() {
        if let Some(info) = &label.program {
            held.insert(std::sync::Arc::as_ptr(info).addr(), texts::weight(info));
            assert!(info.image.starts_with('/'), "the path itself is short enough");
        }
        labels += 1;
    }
    let held: usize = held.values().sum();
    assert!(labels > 150, "no series had to leave for another's texts: {labels}");
    assert!(held <= MEMORY / 4, "{held} bytes of programs");
    assert!(calls.engine.memory_bytes() <= MEMORY, "{}", calls.engine.memory_bytes());
    assert_eq!((calls.only().id, calls.only().evidence.callbacks), (before.id, 90));
    assert_eq!(
        calls.only().process.unwrap().info.command_line,
        "upd -q --token=[redacted]",
        "told of before the flood: whole"
    );
}

const HOURS: i64 = 2 * 3600;

#[test]
fn alerts_as_they_were_stay_within_their_share() {
    const MEMORY: usize = 512 << 10;
    let mut calls = Calls::with(Engine::new("h".into(), MEMORY, (1, 2)));
    for server in 0..200i64 {
        for call in 0..12 {
            // A port of its own: several servers on one would be one rotation.
            calls.to(&format!("203.0.{server}.7:{}", 4440 + server), server * 1000 + call * MINUTE);
        }
    }
    assert!(calls.emitted.len() >= 200, "{}", calls.emitted.len());
    let ledger = calls.engine.judge.ledger.memory_bytes();
    assert!(ledger <= MEMORY / LEDGER_SHARE + 300 * 256, "{ledger}");
    assert!(calls.engine.memory_bytes() <= MEMORY + 300 * 256, "{}", calls.engine.memory_bytes());
}
