//! A sensor that is stopped and goes on is one that was never stopped.

use std::net::IpAddr;

use proptest::prelude::*;

use super::calls::{Calls, HOUR, MINUTE};
use super::*;
use crate::live::GapCause;
use crate::process::{ImageLocation, ProcessInfo, ProcessKey};
use crate::seal::{SEAL_BYTES, SealError};

fn saved(engine: &Engine) -> Vec<u8> {
    let mut out = Vec::new();
    engine.save(&mut out);
    out
}

/// What a host does, told in few numbers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Beacon(u8, u16),
    Sweep(u16),
    Names(u16),
    Process(u8, u16),
    Exchanges(u8),
    Gap(u16),
    ClockSet(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), 20u16..900).prop_map(|(server, period)| Step::Beacon(server, period)),
        2 => (1u16..600).prop_map(Step::Sweep),
        2 => (1u16..300).prop_map(Step::Names),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(pid, length)| Step::Process(pid, length)),
        2 => (1u8..30).prop_map(Step::Exchanges),
        1 => any::<u16>().prop_map(Step::Gap),
        1 => (-100_000i32..100_000).prop_map(Step::ClockSet),
    ];
    prop::collection::vec(step, 0..24)
}

/// Does them, from `time` on; the time afterwards.
fn run(calls: &mut Calls, mut time: i64, steps: &[Step]) -> i64 {
    for (nth, step) in steps.iter().enumerate() {
        let odd = i64::try_from(nth).unwrap();
        match *step {
            Step::Beacon(server, period) => {
                for call in 0..14 {
                    calls.to(&format!("203.0.113.{}:443", server % 8), time + call * i64::from(period));
                }
                time += 14 * i64::from(period);
            }
            Step::Sweep(count) => {
                for call in 0..u32::from(count) * 2 {
                    let number = call % u32::from(count);
                    calls.to(&format!("100.{}.{}.{}:80", odd % 256, number / 256, number % 256), time);
                    time += 2;
                }
            }
            Step::Names(count) => {
                calls.queries(3, time, i64::from(count));
                time += 3 * i64::from(count);
            }
            Step::Process(pid, length) => {
                let info = ProcessInfo {
                    image: format!("/opt/{}", pid % 9),
                    command_line: "x".repeat(length.into()),
                    location: Some(ImageLocation::Home),
                    ..ProcessInfo::default()
                };
                let key = ProcessKey { pid: u32::from(pid % 16), start: Timestamp::ZERO };
                calls.tell(time, Event::Process(key, &info));
                calls.tell(time, Event::KnownDestination { name: &info.image, age_days: 3.5 });
            }
            Step::Exchanges(count) => {
                calls.exchanges(i64::from(count) + 1, time, i64::from(count));
                time += 1000;
            }
            Step::Gap(length) => {
                calls.gap(time, time + i64::from(length), GapCause::Suspended);
                time += i64::from(length);
            }
            Step::ClockSet(by) => {
                calls.gap(time, time + i64::from(by), GapCause::ClockSet);
                time += i64::from(by);
            }
        }
        time += 1;
    }
    time
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_restored_engine_says_what_one_that_was_never_saved_says(before in steps(), after in steps()) {
        const MEMORY: usize = 160 << 10;
        let mut kept = Calls::with(Engine::new("h".into(), MEMORY, (3, 4)));
        let time = run(&mut kept, 0, &before);
        let bytes = saved(&kept.engine);
        let restored = Engine::restore(&bytes, MEMORY).unwrap();
        prop_assert_eq!(restored.counters(), kept.engine.counters());
        prop_assert_eq!(saved(&restored), bytes, "what was restored is what was saved");
        let mut again = Calls { engine: restored, emitted: Vec::new() };
        kept.emitted.clear();
        run(&mut kept, time, &after);
        run(&mut again, time, &after);
        prop_assert_eq!(&again.emitted, &kept.emitted);
        prop_assert_eq!(again.engine.series(), kept.engine.series());
        prop_assert_eq!(again.engine.counters(), kept.engine.counters());
        prop_assert_eq!(saved(&again.engine), saved(&kept.engine));
    }

    /// Behind a seal that fits, whatever stands there: an error, or an engine within its memory that goes on.
    #[test]
    fn any_bytes_give_an_error_or_an_engine(
        before in steps(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut calls = Calls::new();
        let time = run(&mut calls, 0, &before);
        let mut content = saved(&calls.engine).split_off(SEAL_BYTES);
        for (at, byte) in damage {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let mut bytes = Vec::new();
        crate::seal::seal(*b"sondeEng", STATE_VERSION, &mut bytes, |out| out.extend_from_slice(&content));
        if let Ok(engine) = Engine::restore(&bytes, 1 << 20) {
            prop_assert!(engine.memory_bytes() <= 5 << 18, "{}", engine.memory_bytes());
            let mut calls = Calls { engine, emitted: Vec::new() };
            run(&mut calls, time, &before);
            calls.engine.series();
        }
    }
}

#[test]
fn what_is_no_state_is_refused_with_its_reason() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 30);
    let bytes = saved(&calls.engine);
    let reason = |bytes: &[u8]| Engine::restore(bytes, 1 << 20).unwrap_err();
    assert_eq!(reason(b""), StateError::Seal(SealError::Foreign));
    assert!(matches!(reason(&bytes[..bytes.len() - 1]), StateError::Seal(SealError::Length { .. })));
    let mut newer = bytes.clone();
    newer[8] += 1;
    assert!(reason(&newer).is_newer());
    let mut damaged = bytes;
    damaged[200] ^= 1;
    assert_eq!(reason(&damaged), StateError::Seal(SealError::Checksum));
    assert!(!reason(&damaged).is_newer());
}

#[test]
fn nothing_is_alerted_anew_after_a_restart() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 100);
    let before = calls.only();
    let emitted = calls.emitted.len();
    assert!(emitted > 0);
    let mut calls =
        Calls { engine: Engine::restore(&saved(&calls.engine), 1 << 20).unwrap(), emitted: Vec::new() };
    calls.gap(100 * MINUTE, 101 * MINUTE, GapCause::Stopped);
    calls.every(MINUTE, 101 * MINUTE + 10, 40);
    assert_eq!((calls.only().id, calls.only().detected), (before.id, before.detected));
    assert_eq!(calls.only().evidence.callbacks, 140);
    assert!(calls.emitted.iter().all(|alert| alert.revision > before.revision), "{:?}", calls.emitted);
}

#[test]
fn in_less_memory_the_least_valuable_leaves() {
    let mut calls = Calls::with(Engine::new("h".into(), 4 << 20, (1, 2)));
    calls.every(MINUTE, 0, 200);
    for number in 0..2000 {
        for _ in 0..2 {
            calls.to(&format!("100.64.{}.{}:80", number / 250, number % 250), 4 * HOUR + number);
        }
    }
    calls.every(MINUTE, 5 * HOUR, 40);
    let beacon =
        |engine: &Engine| engine.alerts().find(|alert| alert.destination.name == "c2.example").unwrap();
    let before = beacon(&calls.engine);
    let restored = Engine::restore(&saved(&calls.engine), 256 << 10).unwrap();
    assert!(restored.memory_bytes() <= 256 << 10, "{}", restored.memory_bytes());
    assert!(restored.counters().beacon.series_evicted > 1000);
    let after = beacon(&restored);
    assert_eq!((after.id, after.evidence.callbacks), (before.id, before.evidence.callbacks));
}

#[test]
fn a_full_state_at_the_default_limit_is_a_quarter_of_it() {
    let memory = crate::config::Config::default().limits.memory.detection_bytes();
    let mut calls = Calls::with(Engine::new("h".into(), memory, (1, 2)));
    for round in 0..3 {
        for number in 0..60_000i64 {
            let server = format!("100.{}.{}.{}:443", 64 + number / 65_536, number / 256 % 256, number % 256);
            calls.to(&server, round * 70_000 + number);
        }
    }
    // Passive DNS and sightings to the brim, too.
    for number in 0..200_000u32 {
        let ip = IpAddr::V4((0x6400_0000 + number).into());
        calls.query_for(
            3 * 70_000 + i64::from(number),
            &format!("host-{number}.d{}.example", number / 2),
            ip,
        );
    }
    let bytes = saved(&calls.engine);
    let restored = Engine::restore(&bytes, memory).unwrap();
    assert!(calls.engine.beacons.iter().count() > 28_000, "it is full");
    assert!(bytes.len() < memory / 4, "{}", bytes.len());
    assert_eq!(restored.memory_bytes(), calls.engine.memory_bytes());
    assert!(restored.memory_bytes() <= memory);
}
