//! Measures the index of feeds: how long so many mixed indicators take to load, what each takes, and how long a look-up
//! takes, by kind, met and missed. `scripts/bench-feeds` runs it.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark that prints"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use sonde_common::feed::{Builder, Index, Indicator, Note, Subject};
use sonde_common::time::Timestamp;
use sonde_tests::rng::Rng;

/// Look-ups of each kind.
const QUESTIONS: usize = 1_000_000;
/// Rounds over them; the median counts.
const ROUNDS: usize = 5;

/// Measures look-ups in a large index of feeds.
#[derive(Parser)]
struct Arguments {
    /// Indicators, of which 45 % are names, 40 % IPv4 addresses, 5 % IPv6 addresses, 5 % networks, 5 % certificates
    #[arg(long, default_value_t = 2_000_000)]
    indicators: u32,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Processor time of this thread: the machine may be shared.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn letters(rng: &mut Rng, least: usize, most: usize) -> String {
    (0..rng.length(least, most + 1)).map(|_| char::from(*rng.pick(b"abcdefghijklmnopqrstuvwxyz"))).collect()
}

/// A name such as feeds hold: two or three labels, some 20 bytes.
fn name(rng: &mut Rng) -> String {
    const TLDS: [&str; 6] = ["com", "net", "top", "xyz", "ru", "info"];
    let first = letters(rng, 6, 16);
    let second = letters(rng, 3, 8);
    let tld = *rng.pick(&TLDS);
    if rng.one_in(3) { format!("{second}.{first}.{tld}") } else { format!("{first}.{tld}") }
}

fn v4(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0000 + rng.below32(0xb000_0000))
}

fn v6(rng: &mut Rng) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2000_u128 << 112 | u128::from(rng.u64()) << 32 | u128::from(rng.u32()))
}

/// One indicator, as a feed that gives each a date and a link would have it.
fn indicator(rng: &mut Rng, number: u32) -> Indicator {
    let subject = match number % 20 {
        0..=8 => Subject::Domain { name: name(rng).into(), subdomains: number.is_multiple_of(2) },
        9..=16 => Subject::Ip(v4(rng).into()),
        17 => Subject::Ip(v6(rng).into()),
        18 => {
            let prefix = *rng.pick(&[16, 18, 20, 22, 23, 24, 24, 24, 26, 28, 29]);
            let bits = v4(rng).to_bits() & (u32::MAX << (32 - prefix));
            Subject::Network { address: Ipv4Addr::from_bits(bits).into(), prefix }
        }
        _ => Subject::CertificateSha256(rng.bytes()),
    };
    let note = Note {
        feed: format!("feed {}", number % 8).into(),
        label: format!("family {}", rng.below(400)),
        confidence: Some(*rng.pick(&[50, 60, 75, 80, 90, 100])),
        // A day, as most feeds give.
        valid_from: Some(Timestamp::from_secs_nanos(1_700_000_000 + 86_400 * i64::from(rng.below32(700)), 0)),
        ..Note::default()
    };
    Indicator { subject, note: Arc::new(note) }
}

/// Nanoseconds for each look-up, the median of several rounds, and how many matched.
fn measure<T>(questions: &[T], ask: impl Fn(&T) -> u64) -> (f64, u64) {
    let mut rounds = Vec::new();
    let mut met = 0;
    for _ in 0..ROUNDS {
        let began = cpu();
        met = questions.iter().map(|question| u64::from(ask(black_box(question)) > 0)).sum();
        rounds.push((cpu() - began).as_nanos() as f64 / questions.len() as f64);
    }
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], met)
}

fn address(index: &Index, ip: IpAddr) -> u64 {
    let mut hits = 0;
    index.address(ip, &mut |_| hits += 1);
    hits
}

fn by_name(index: &Index, name: &str) -> u64 {
    let mut hits = 0;
    index.name(name, &mut |_| hits += 1);
    hits
}

/// Every so many-th of a list, in an order that jumps about as traffic does.
fn some<T: Clone>(rng: &mut Rng, of: &[T]) -> Vec<T> {
    (0..QUESTIONS).map(|_| rng.pick(of).clone()).collect()
}

fn main() {
    let arguments = Arguments::parse();
    let mut rng = Rng::new(arguments.seed);
    let list: Vec<_> = (0..arguments.indicators).map(|number| indicator(&mut rng, number)).collect();
    let began = cpu();
    let mut builder = Builder::default();
    let taken = list.iter().filter(|indicator| builder.add(indicator)).count();
    let added = cpu() - began;
    let index = builder.finish();
    let all = cpu() - began;
    let counts = index.counts();
    println!(
        "{taken} of {} indicators taken in {:.2} s of processor time (freezing {:.2} s); {:.1} MiB, {:.1} bytes each; {counts:?}\n",
        list.len(),
        all.as_secs_f64(),
        (all - added).as_secs_f64(),
        counts.memory_bytes as f64 / f64::from(1 << 20),
        counts.memory_bytes as f64 / counts.entries() as f64,
    );
    let (mut listed_v4, mut listed_v6, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for indicator in &list {
        match &indicator.subject {
            Subject::Ip(ip @ IpAddr::V4(_)) => listed_v4.push(*ip),
            Subject::Ip(ip) => listed_v6.push(*ip),
            Subject::Domain { name, .. } => names.push(name.clone()),
            _ => {}
        }
    }
    println!("| look-up | ns of processor time | matched |\n|---|---|---|");
    let row = |what: &str, (ns, met): (f64, u64)| {
        println!("| {what} | {ns:.0} | {:.1} % |", met as f64 / QUESTIONS as f64 * 100.0);
    };
    let questions = some(&mut rng, &listed_v4);
    row("IPv4 address, listed", measure(&questions, |ip| address(&index, *ip)));
    let questions: Vec<IpAddr> = (0..QUESTIONS).map(|_| v4(&mut rng).into()).collect();
    row("IPv4 address, any", measure(&questions, |ip| address(&index, *ip)));
    let questions = some(&mut rng, &listed_v6);
    row("IPv6 address, listed", measure(&questions, |ip| address(&index, *ip)));
    let questions: Vec<IpAddr> = (0..QUESTIONS).map(|_| v6(&mut rng).into()).collect();
    row("IPv6 address, any", measure(&questions, |ip| address(&index, *ip)));
    let questions = some(&mut rng, &names);
    row("name, listed", measure(&questions, |name| by_name(&index, name)));
    let questions: Vec<_> = (0..QUESTIONS).map(|_| name(&mut rng)).collect();
    row("name, not listed", measure(&questions, |name| by_name(&index, name)));
    let questions: Vec<_> = some(&mut rng, &names).iter().map(|name| format!("www.cdn7.{name}")).collect();
    row("name with two labels more, half listed", measure(&questions, |name| by_name(&index, name)));
}
