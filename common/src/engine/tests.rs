//! The engine's memory: what a source may tell without end must not be kept without end.

mod calls;
mod counted;
mod gaps;
mod hinted;
mod learning;
mod lifecycle;
mod memory;
mod state;
mod summaries;
mod suppressed;

use std::net::IpAddr;

use super::processes::weight;
use super::*;
use crate::config::Config;
use crate::event::HostId;
use crate::process::{ProcessInfo, ProcessKey};

const MEMORY: usize = 1 << 20;

fn observe(engine: &mut Engine, event: Event<'_>) {
    let observation = Observation { time: Timestamp::ZERO, host: HostId::Name("h"), event };
    engine.observe(&observation, &mut |_| {});
}

#[test]
fn processes_with_endless_command_lines_stay_within_their_share() {
    let mut engine = Engine::new("h".into(), MEMORY, (1, 2));
    let mut info = ProcessInfo { command_line: "x".repeat(32 << 10), ..ProcessInfo::default() };
    for pid in 0..1000 {
        observe(&mut engine, Event::Process(ProcessKey { pid, start: Timestamp::ZERO }, &info));
    }
    let held: usize =
        engine.processes.programs.values().map(|(program, _)| program.info.command_line.len()).sum();
    assert!(held > 0 && held <= MEMORY / PROCESSES_SHARE, "{held} bytes");
    assert_eq!(engine.counters().processes_evicted + engine.processes.programs.len() as u64, 1000);
    // Told of again, a process is weighed anew.
    info.command_line.clear();
    let key = *engine.processes.order.back().unwrap();
    observe(&mut engine, Event::Process(key, &info));
    let weights: usize = engine.processes.programs.values().map(|(program, _)| weight(program)).sum();
    assert_eq!(engine.processes.bytes, weights);
}

#[test]
fn known_destinations_beyond_their_share_are_counted() {
    let mut engine = Engine::new("h".into(), MEMORY, (1, 2));
    for number in 0..5000 {
        let name = format!("{number}.{}.example", "l".repeat(200));
        observe(&mut engine, Event::KnownDestination { name: &name, age_days: 9.0 });
        observe(&mut engine, Event::KnownDestination { name: &name, age_days: 10.0 });
    }
    let held: usize = engine.judge.scope.known.keys().map(|name| name.len()).sum();
    assert!(held > 0 && held <= MEMORY / KNOWN_SHARE, "{held} bytes");
    assert_eq!(engine.counters().known_refused, 2 * (5000 - engine.judge.scope.known.len() as u64));
}

#[test]
fn a_flood_of_hosts_stays_within_the_setting() {
    let config = Config::parse("limits.memory = \"4 MiB\"", &[]).unwrap();
    let mut engines = Engines::new(&config, (1, 2));
    for number in 0..3000u32 {
        let host = HostId::Address(IpAddr::V4((0x0a00_0000 + number).into()));
        for query in ["a.example", "b.example"] {
            let event = Event::Dns(crate::event::DnsEvent {
                start: Timestamp::ZERO,
                process: None,
                program: None,
                attribution: crate::process::Attribution::NONE,
                tuple: None,
                resolver: None,
                query,
                query_type: 1,
                response_code: Some(0),
                addresses: &[IpAddr::V4(number.into()), IpAddr::V4((number + 1).into())],
                ttl_secs: 1,
            });
            engines.observe(&Observation { time: Timestamp::ZERO, host, event }, &mut |_| {});
        }
    }
    let detection = config.limits.memory.detection_bytes();
    assert!(engines.memory_bytes() <= detection, "{} of {detection} bytes", engines.memory_bytes());
    let followed = engines.len() as u64;
    assert!(followed > 32);
    assert_eq!(engines.counters().hosts_evicted, 3000 - followed);
}
