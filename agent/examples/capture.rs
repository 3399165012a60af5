//! Drains one packet source as the sensor does, for `scripts/bench-live`: what it costs and what it loses.
//!
//! `capture none|ring|pnet SECONDS [RING_BYTES]`: at the end, one line of JSON with packets, bytes, losses and CPU seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use sonde::live::layer::PacketSource;
use sonde::platform::packets::{PnetSource, Ring, RingOptions};
use sonde_common::live::Unavailable;
use sonde_common::time::Timestamp;

/// How often the sensor drains its sources.
const EVERY: Duration = Duration::from_millis(125);

fn open(name: &str, bytes: Option<usize>) -> Result<Option<Box<dyn PacketSource>>, Unavailable> {
    let mut options = RingOptions::default();
    options.bytes = bytes.unwrap_or(options.bytes);
    Ok(match name {
        "ring" => Some(Box::new(Ring::open(&options)?)),
        "pnet" => Some(Box::new(PnetSource::open()?)),
        _ => None,
    })
}

fn now() -> Timestamp {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(seconds)) =
        (arguments.first(), arguments.get(1).and_then(|text| text.parse().ok()).map(Duration::from_secs_f64))
    else {
        eprintln!("capture none|ring|pnet SECONDS [RING_BYTES]");
        return ExitCode::from(64);
    };
    let mut source = match open(name, arguments.get(2).and_then(|text| text.parse().ok())) {
        Ok(source) => source,
        Err(error) => {
            eprintln!("{error} ({})", error.remedy);
            return ExitCode::from(77);
        }
    };
    println!("ready");
    let (mut packets, mut bytes) = (0u64, 0u64);
    let begin = Instant::now();
    while begin.elapsed() < seconds {
        std::thread::sleep(EVERY);
        if let Some(source) = &mut source {
            source.drain(now(), &mut |packet| {
                packets += 1;
                bytes += packet.bytes.len() as u64;
            });
        }
    }
    let lost = source.as_ref().map_or(0, |source| source.lost());
    println!("{{\"packets\": {packets}, \"bytes\": {bytes}, \"lost\": {lost}}}");
    ExitCode::SUCCESS
}
