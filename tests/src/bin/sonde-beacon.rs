//! A beacon that really calls, and no more: the part of the emulator that runs on Windows too (docs/emulator.md).
//!
//! stdout carries the truth, one JSON line for each callback.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use sonde_tests::emulate::beacon::Beacon;
use sonde_tests::emulate::call::{Caller, Manner, Transport};
use sonde_tests::emulate::schedule::Schedule;
use sonde_tests::emulate::shape::{Shape, Waits};
use sonde_tests::rng::Rng;

/// Calls on a schedule: loopback and addresses for documentation alone.
#[derive(Debug, Parser)]
#[command(name = "sonde-beacon", version)]
struct Arguments {
    /// Destination, address:port
    #[arg(long)]
    to: SocketAddr,
    /// tcp, tls, http, https, dns or udp
    #[arg(long, default_value = "tcp", value_parser = parse_transport)]
    transport: Transport,
    /// Seconds between callbacks
    #[arg(long, default_value_t = 60)]
    interval: u64,
    /// Jitter in percent of the interval
    #[arg(long, default_value_t = 0.0)]
    jitter: f64,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 5)]
    patience: u64,
    /// Ends after so many callbacks
    #[arg(long)]
    count: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { to, transport, interval, jitter, patience, count } = Arguments::parse();
    anyhow::ensure!((0.0..=100.0).contains(&jitter), "the jitter is 0 to 100 %");
    let waits = Waits::new(Shape::Fixed, Duration::from_secs(interval), jitter / 100.0, Rng::new(1));
    let manner = Manner {
        transport,
        name: String::new(),
        bytes_out: 120,
        keep_open: false,
        patience: Duration::from_secs(patience),
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64)".to_owned(),
        text_query: false,
    };
    let mut beacon = Beacon {
        schedule: Schedule::new(waits, Rng::new(3), Duration::ZERO),
        caller: Caller::new(manner, Rng::new(2)),
        destinations: vec![to],
        speed: 1.0,
        count,
        run_for: None,
        task_every: 0,
    };
    let mut out = std::io::stdout();
    beacon.run(|callback| {
        writeln!(out, "{}", serde_json::to_string(callback)?)?;
        Ok(out.flush()?)
    })
}

fn parse_transport(name: &str) -> Result<Transport, String> {
    Transport::from_name(name).ok_or_else(|| format!("there is no transport `{name}`"))
}
