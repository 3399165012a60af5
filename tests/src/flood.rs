//! Floods of destinations, told to an engine directly: 24 beacons of four periods and 300 ordinary destinations over 48
//! hours, and beside them as many destinations as are wanted that are called once or twice. The table of scorer
//! specification 5, on the engine itself.

use std::net::{Ipv4Addr, SocketAddr};

use sonde_common::engine::Engine;
use sonde_common::event::{
    AppProtocol, ConnectionEvent, Event, HostId, Names, Observation, Outcome, Phase, Totals,
};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{Attribution, ImageLocation, ProcessInfo, ProcessKey};
use sonde_common::time::Timestamp;

use crate::rng::Rng;

/// How long it lasts, in seconds.
pub const SPAN: u32 = 48 * 3600;
/// Periods of the beacons, in seconds: six beacons of each.
pub const PERIODS: [u32; 4] = [60, 900, 3600, 4 * 3600];
/// Beacons of each period.
pub const BEACONS: u32 = 6;
/// Destinations that are called at random, as ordinary ones are.
const ORDINARY: u32 = 300;
/// Start of the time, in seconds since 1970.
const EPOCH: i64 = 1_700_006_400;
/// Second call of a destination that is called twice, in seconds after the first.
const SECOND_CALL: u32 = 300;

/// A flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Distinct destinations…
    pub destinations: u32,
    /// …each called so many times, 1 or 2…
    pub hits: u32,
    /// …for the first time within so many seconds…
    pub within: u32,
    /// …by so many programs in turn.
    pub programs: u32,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Beacons of each period that are followed at the end and have at least three bans.
    pub kept: [u32; 4],
    /// Series dropped for want of memory.
    pub evicted: u64,
    /// First sightings dropped.
    pub sightings_evicted: u64,
    /// Most bytes held.
    pub bytes: usize,
}

/// The least memory in which an engine has room for so many series, in bytes.
#[must_use]
pub fn memory_for(series: usize) -> usize {
    let (mut low, mut high) = (1 << 16, 1 << 32);
    while low + 1024 < high {
        let middle = usize::midpoint(low, high);
        if Engine::new("h".to_owned(), middle, (1, 2)).max_series() >= series {
            high = middle
        } else {
            low = middle
        }
    }
    high
}

/// One call: when, and of which destination. Beacons come first, then ordinary destinations, then the flood's.
fn calls(flood: &Flood, seed: u64) -> Vec<(u32, u32)> {
    let mut rng = Rng::new(seed);
    let mut draw = move |bound: u32| u32::try_from(rng.below(u64::from(bound))).unwrap_or(0);
    let mut calls = Vec::new();
    for (class, period) in (0..).zip(PERIODS) {
        for beacon in 0..BEACONS {
            let start = draw(period.min(3600));
            calls.extend((start..SPAN).step_by(period as usize).map(|time| (time, class * BEACONS + beacon)));
        }
    }
    let first = 4 * BEACONS;
    for ordinary in 0..ORDINARY {
        let mut time = draw(3600);
        while time < SPAN {
            calls.push((time, first + ordinary));
            time += 2 + draw(7200);
        }
    }
    for destination in 0..flood.destinations {
        let start = draw(flood.within);
        let again = (0..flood.hits).map(|hit| start + hit * SECOND_CALL);
        calls.extend(again.map(|time| (time, first + ORDINARY + destination)));
    }
    calls.sort_unstable();
    calls
}

/// Runs it through an engine of `memory_bytes`.
#[must_use]
pub fn run(flood: &Flood, memory_bytes: usize, seed: u64) -> Kept {
    let mut engine = Engine::new("h".to_owned(), memory_bytes, (seed, 2));
    let programs: Vec<ProcessKey> =
        (0..=flood.programs).map(|pid| ProcessKey { pid: pid + 100, start: Timestamp::ZERO }).collect();
    let at = |secs: u32| Timestamp::from_secs_nanos(EPOCH + i64::from(secs), 0);
    let mut sink = |_| {};
    for (number, key) in (0..).zip(&programs) {
        let info = ProcessInfo {
            image: format!("/usr/bin/program-{number}"),
            signed: Some(true),
            location: Some(ImageLocation::System),
            ..ProcessInfo::default()
        };
        let event = Event::Process(*key, &info);
        engine.observe(&Observation { time: at(0), host: HostId::Name("h"), event }, &mut sink);
    }
    let mut bytes = 0;
    for (number, (time, destination)) in (0u32..).zip(calls(flood, seed)) {
        let flooding = destination.checked_sub(4 * BEACONS + ORDINARY);
        let program = flooding.map_or(0, |number| 1 + number % flood.programs.max(1));
        // Public addresses, a different one for each.
        let remote = Ipv4Addr::from(0x0b00_0000 + destination);
        let totals = Totals {
            end: at(time),
            bytes_out: Some(500),
            bytes_in: Some(800),
            outcome: Outcome::Established,
        };
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: SocketAddr::from(([10, 0, 0, 2], 40_000)),
                remote: SocketAddr::from((remote, 443)),
            },
            start: at(time),
            process: programs.get(program as usize).copied(),
            program: None,
            attribution: Attribution::default(),
            names: Names::default(),
            protocol: AppProtocol::Tls,
            ja4: None,
            phase: Phase::Whole(totals),
        };
        let event = Event::Connection(event);
        engine.observe(&Observation { time: at(time), host: HostId::Name("h"), event }, &mut sink);
        if number.is_multiple_of(4096) {
            bytes = bytes.max(engine.memory_bytes());
        }
    }
    let mut kept = [0; 4];
    for row in engine.series() {
        let Some(std::net::IpAddr::V4(ip)) = row.destination.ip else { continue };
        let beacon = u32::from(ip) - 0x0b00_0000;
        if beacon < 4 * BEACONS
            && row.destination.group.is_empty()
            && row.evidence.level == sonde_common::alert::Level::Connection
            && row.evidence.bans >= 3.0
            && let Some(count) = kept.get_mut((beacon / BEACONS) as usize)
        {
            *count += 1;
        }
    }
    let counters = engine.counters().beacon;
    Kept {
        kept,
        evicted: counters.series_evicted,
        sightings_evicted: counters.sightings_evicted,
        bytes: bytes.max(engine.memory_bytes()),
    }
}
