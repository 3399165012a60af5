//! A capture all the way: frames, packets, connections, events, alerts, and what is written of them.
#![no_main]

use sonde_common::config::Config;
use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Sample;
use sonde_common::decode::packet::decode;
use sonde_common::engine::Engines;
use sonde_common::event::{Event, Observation};
use sonde_common::format::events::{EventParser, write_line};
use sonde_common::format::frames;
use sonde_common::time::Timestamp;
use sonde_fuzz::alerts::{Emissions, is_ranked};
use sonde_fuzz::heap;

/// The least budget, and what doubles beside it.
const HEAP_LIMIT: usize = 24 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(capture) = frames(data) else { return };
    let mut sample = Sample::default();
    for frame in capture.clone().map_while(Result::ok) {
        if let Ok(packet) = decode(&frame) {
            sample.add(&packet);
        }
    }
    let config = Config::parse("[limits]\nmemory = \"4 MiB\"", &[]).expect("a configuration");
    let before = heap::held();
    let mut tracker = Tracker::new(sample.locals(), config.limits.memory.tracking_bytes());
    let mut engines = Engines::new(&config, (1, 2));
    let mut again = Engines::new(&config, (1, 2));
    let (mut emissions, mut emissions_again) = (Emissions::default(), Emissions::default());
    let mut parser = EventParser::new();
    let mut line = Vec::new();
    let mut latest = Timestamp::from_nanos(i64::MIN);
    let mut seen = |observation: &Observation<'_>| {
        if observation.time < latest {
            emissions.time_goes_back();
            emissions_again.time_goes_back();
        }
        latest = observation.time;
        engines.observe(observation, &mut |alert| emissions.take(&alert));
        // The written events give the same alerts.
        line.clear();
        write_line(observation, &mut line);
        let read = parser.parse_line(&line).expect("what is written can be read").expect("an event");
        // What a look-up's process was found by is not written.
        let mut kept = *observation;
        if let Event::Dns(query) = &mut kept.event {
            query.tuple = None;
        }
        assert_eq!(format!("{kept:?}"), format!("{read:?}"));
        again.observe(&read, &mut |alert| emissions_again.take(&alert));
    };
    for frame in capture.map_while(Result::ok) {
        if let Ok(packet) = decode(&frame) {
            tracker.packet(&packet, &mut seen);
        }
    }
    tracker.finish(&mut seen);
    let held = heap::held().saturating_sub(before);
    let told = engines.memory_bytes() + again.memory_bytes() + tracker.memory_bytes();
    assert!(held < 2 * HEAP_LIMIT, "{held} bytes held, {told} by their own account");
    let alerts = engines.alerts();
    is_ranked(&alerts);
    is_ranked(&engines.series());
    assert_eq!(alerts, again.alerts());
    assert_eq!(emissions.count, emissions_again.count);
});
