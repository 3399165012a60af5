//! Writes generated captures: `sonde-gen SCENARIO OUT`.
//!
//! The same arguments give the same bytes. stdout carries nothing unless asked for (`--list`, or `-` as OUT); the
//! totals go to stderr.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use sonde_tests::capture::{CaptureFormat, WHOLE_FRAMES};
use sonde_tests::scenario::{DEMO_SNAPLEN, Options, SCENARIOS, generate};
use sonde_tests::truth::Truth;

/// Generates captures whose truth is known.
#[derive(Debug, Parser)]
#[command(name = "sonde-gen", version)]
struct Arguments {
    /// Which story to tell (see --list)
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// File to write, `-` for stdout; compressed if it ends in .gz
    #[arg(required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Prints the scenarios
    #[arg(long)]
    list: bool,
    /// Seed of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File format [default: pcap; pcapng for office-day]
    #[arg(long, value_parser = parse_format)]
    format: Option<CaptureFormat>,
    /// Longest part of a frame that is kept [default: all; 1300 for office-day]
    #[arg(long)]
    snaplen: Option<u32>,
    /// corpus: exactly so many packets [default: 5000000]; others: begin nothing after so many
    #[arg(long)]
    packets: Option<u64>,
    /// Hours that the story lasts (no effect on corpus)
    #[arg(long, value_parser = parse_hours)]
    hours: Option<Duration>,
    /// destinations: how many [default: 1000000]
    #[arg(long)]
    destinations: Option<u64>,
    /// CSV to write with the beacons and totals of the capture
    #[arg(long)]
    truth: Option<PathBuf>,
}

fn parse_format(name: &str) -> Result<CaptureFormat, String> {
    CaptureFormat::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = CaptureFormat::ALL.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn parse_hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.0..=24.0 * 366.0).contains(&hours) {
        return Err("0 to 8784".to_owned());
    }
    Ok(Duration::from_secs_f64(hours * 3_600.0))
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        let mut out = io::stdout().lock();
        for (name, summary) in SCENARIOS {
            writeln!(out, "{name:18} {summary}")?;
        }
        return Ok(());
    }
    let (Some(scenario), Some(path)) = (&arguments.scenario, &arguments.out) else {
        bail!("a scenario and a file are needed");
    };
    if !SCENARIOS.iter().any(|(name, _)| name == scenario) {
        bail!("no scenario named {scenario:?} (see --list)");
    }
    let demo = scenario == "office-day";
    let options = Options {
        seed: arguments.seed,
        format: arguments.format.unwrap_or(if demo { CaptureFormat::Pcapng } else { CaptureFormat::Pcap }),
        snaplen: arguments.snaplen.unwrap_or(if demo { DEMO_SNAPLEN } else { WHOLE_FRAMES }),
        span: arguments.hours,
        packets: arguments.packets,
        destinations: arguments.destinations,
        flows: false,
    };
    let truth =
        write_capture(scenario, &options, path).with_context(|| format!("writing {}", path.display()))?;
    if let Some(path) = &arguments.truth {
        let out = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        truth.write_csv(BufWriter::new(out)).with_context(|| format!("writing {}", path.display()))?;
    }
    let Truth { packets, wire_bytes, connections, names, beacons, .. } = truth;
    let beacons = beacons.len();
    writeln!(
        io::stderr(),
        "packets {packets} wire_bytes {wire_bytes} connections {connections} names {names} beacons {beacons}"
    )?;
    Ok(())
}

fn write_capture(scenario: &str, options: &Options, path: &Path) -> io::Result<Truth> {
    if path.as_os_str() == "-" {
        return generate(scenario, options, BufWriter::with_capacity(1 << 20, io::stdout().lock()));
    }
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        // No time and no name in the header, so that the same capture gives the same file.
        let mut out = flate2::GzBuilder::new().mtime(0).write(file, flate2::Compression::best());
        let truth = generate(scenario, options, &mut out)?;
        out.finish()?.flush()?;
        return Ok(truth);
    }
    generate(scenario, options, file)
}
