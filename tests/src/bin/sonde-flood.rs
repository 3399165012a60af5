//! Prints what floods of destinations do to the beacons that are followed, as Markdown: `scripts/flood` runs it.

use std::io::{self, Write};

use sonde_common::engine::Engine;
use sonde_tests::flood::{BEACONS, Flood, SPAN, memory_for, run};

/// Name and flood of each row.
const ROWS: [(&str, Flood); 7] = [
    ("none", flood(0, 1, SPAN, 1)),
    ("1 M one-shot over 48 h", flood(1_000_000, 1, SPAN, 1)),
    ("1 M one-shot in 2 h", flood(1_000_000, 1, 7200, 1)),
    ("500 k two-hit, 1 program", flood(500_000, 2, SPAN - 600, 1)),
    ("500 k two-hit, 40 programs", flood(500_000, 2, SPAN - 600, 40)),
    ("3 M one-shot over 48 h", flood(3_000_000, 1, SPAN, 1)),
    ("3 M one-shot in 2 h", flood(3_000_000, 1, 7200, 1)),
];

const fn flood(destinations: u32, hits: u32, within: u32, programs: u32) -> Flood {
    Flood { destinations, hits, within, programs }
}

fn main() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| flood | series | 60 s | 15 min | 1 h | 4 h | series evicted | sightings evicted | MiB held |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for series in [10_000, 50_000] {
        let memory = memory_for(series);
        for (name, flood) in &ROWS {
            let outcome = run(flood, memory, 7);
            let kept = outcome.kept.map(|kept| (100 * kept / BEACONS).to_string()).join(" | ");
            let (evicted, sightings) = (outcome.evicted, outcome.sightings_evicted);
            let mib = outcome.bytes.div_ceil(1 << 20);
            writeln!(out, "| {name} | {series} | {kept} | {evicted} | {sightings} | {mib} |")?;
            out.flush()?;
        }
    }
    let usual = Engine::new(String::new(), 64 << 20, (1, 2)).max_series();
    writeln!(out, "\nAn engine of 64 MiB has room for {usual} series.")?;
    Ok(())
}
