//! Floods of destinations do not push out the beacons that are followed: the table of scorer specification 5 at a tenth, on
//! the engine itself. `scripts/flood` runs it whole.

use sonde_tests::flood::{BEACONS, Flood, SPAN, memory_for, run};

#[test]
fn no_flood_costs_a_followed_beacon() {
    // A tenth of the series, so that a tenth of the flood overflows them.
    let memory = memory_for(1000);
    let floods = [
        Flood { destinations: 100_000, hits: 1, within: SPAN, programs: 1 },
        Flood { destinations: 100_000, hits: 1, within: 7200, programs: 1 },
        Flood { destinations: 50_000, hits: 2, within: SPAN - 600, programs: 40 },
    ];
    for flood in floods {
        let outcome = run(&flood, memory, 7);
        assert_eq!(outcome.kept, [BEACONS; 4], "{flood:?}: {outcome:?}");
        assert_eq!(outcome.evicted > 0, flood.hits > 1, "what is seen once costs no series: {outcome:?}");
        assert!(outcome.bytes <= memory + memory / 20, "{} bytes held of {memory}", outcome.bytes);
    }
}
