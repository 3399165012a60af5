//! Any bytes as the state of an engine, behind a seal that fits: an error, or an engine within its memory that goes on, and
//! whose own state is read again.
#![no_main]

use sonde_common::engine::{Engine, STATE_VERSION};
use sonde_common::event::{DnsEvent, Event, HostId, Observation};
use sonde_common::process::Attribution;
use sonde_common::seal::seal;
use sonde_fuzz::heap;

const MEMORY: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Engine::restore(data, MEMORY);
    let mut bytes = Vec::new();
    seal(*b"sondeEng", STATE_VERSION, &mut bytes, |out| out.extend_from_slice(data));
    let before = heap::held();
    let Ok(mut engine) = Engine::restore(&bytes, MEMORY) else { return };
    let held = heap::held().saturating_sub(before);
    // Tables are reserved in doublings, and the known-good entries have a limit of their own.
    assert!(held <= 3 * MEMORY + 4 * data.len(), "{held} bytes held, {} told", engine.memory_bytes());
    let now = engine.now();
    for number in 0..8 {
        let query = ["a.example", "b.a.example"][number % 2];
        let event = Event::Dns(DnsEvent {
            start: now,
            process: None,
            program: None,
            attribution: Attribution::NONE,
            tuple: None,
            resolver: None,
            query,
            query_type: 1,
            response_code: Some(0),
            addresses: &[[192, 0, 2, 1].into()],
            ttl_secs: 1,
        });
        engine.observe(&Observation { time: now, host: HostId::Name("h"), event }, &mut |_| {});
    }
    engine.series();
    let count = engine.alerts().count();
    let mut again = Vec::new();
    engine.save(&mut again);
    let restored = Engine::restore(&again, MEMORY).expect("its own state is read");
    assert_eq!(restored.alerts().count(), count);
});
