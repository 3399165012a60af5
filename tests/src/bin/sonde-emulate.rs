//! Beacons that really call and a server that really answers, on loopback and in labs of its own: docs/emulator.md.
//!
//! stdout carries the truth, one JSON line for each callback; what people read goes to stderr.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use sonde_tests::emulate::beacon::Beacon;
use sonde_tests::emulate::call::{Caller, Manner, Transport};
use sonde_tests::emulate::caller::{Close, Errand, Means};
use sonde_tests::emulate::guard;
use sonde_tests::emulate::lifetime::{self, Plan, Programs};
use sonde_tests::emulate::program::{self, Dress};
use sonde_tests::emulate::schedule::{Burst, Hours, Rotation, Schedule};
use sonde_tests::emulate::server::{self, Answers, Service};
use sonde_tests::emulate::shape::{Last, Shape, Waits};
use sonde_tests::netns::{self, Lab};
use sonde_tests::rng::Rng;

/// Emulates beacons, on loopback and in namespaces of its own only.
#[derive(Debug, Parser)]
#[command(name = "sonde-emulate", version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Makes a lab, starts a server in it and lets a beacon call it: the whole test in one command (needs root)
    Lab(LabArguments),
    /// Calls
    Beacon(BeaconArguments),
    /// Answers
    Serve(ServeArguments),
    /// Starts many processes that each call once and live for milliseconds
    Lifetime(LifetimeArguments),
    /// Calls in the dress of a script, a compiled program or curl from a loop
    Program(ProgramArguments),
    /// Connects as fast as told, one connection after the other
    Flood(FloodArguments),
    /// Prints the timing shapes
    Shapes,
    /// Removes the labs that killed emulators have left
    Sweep,
}

#[derive(Args, Clone, Debug)]
struct Timing {
    /// Timing shape (see `shapes`)
    #[arg(long, default_value = "fixed", value_parser = parse_shape)]
    shape: Shape,
    /// Seconds between callbacks
    #[arg(long, default_value_t = 60.0)]
    interval: f64,
    /// Jitter in percent of the interval
    #[arg(long, default_value_t = 0.0)]
    jitter: f64,
    /// Waits so many times faster than the clock
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Seed of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after so many callbacks
    #[arg(long)]
    count: Option<u64>,
}

impl Timing {
    fn waits(&self) -> anyhow::Result<Waits> {
        let sound = (0.0..=31_536_000.0).contains(&self.interval) && (0.0..=100.0).contains(&self.jitter);
        if !sound || self.speed.is_nan() || self.speed <= 0.0 {
            bail!("the interval is 0 to 31536000 s, the jitter 0 to 100 %, the speed above 0");
        }
        let interval = Duration::from_secs_f64(self.interval);
        Ok(Waits::new(self.shape, interval, self.jitter / 100.0, Rng::new(self.seed)))
    }
}

#[derive(Args, Clone, Debug)]
struct BeaconArguments {
    /// Destination, address:port; several take turns
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    #[command(flatten)]
    manner: MannerArguments,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Args, Clone, Debug)]
struct MannerArguments {
    /// tcp, tls, http, https, dns, udp or icmp
    #[arg(long, default_value = "https", value_parser = parse_transport)]
    transport: Transport,
    /// Server name for TLS and HTTP; domain for DNS
    #[arg(long, default_value = "")]
    name: String,
    /// Payload bytes of a check-in
    #[arg(long, default_value_t = 120)]
    bytes: usize,
    /// One connection, check-ins inside it
    #[arg(long)]
    keep_open: bool,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 5.0)]
    patience: f64,
    /// Share of callbacks that are left out, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    missed: f64,
    /// round-robin, random, or fail-over after so many failures: fail-over:3
    #[arg(long, default_value = "round-robin", value_parser = parse_rotation)]
    rotate: Rotation,
    /// Fast check-ins: after EVERY callbacks, COUNT waits of SECONDS, as EVERY:COUNT:SECONDS
    #[arg(long, value_parser = parse_burst)]
    burst: Option<Burst>,
    /// Working hours, as FROM-TO in hours of the emulated day, which begins at --clock
    #[arg(long, value_parser = parse_hours)]
    hours: Option<Hours>,
    /// Emulated hour of the day at the start
    #[arg(long, default_value_t = 9.0)]
    clock: f64,
    /// Every so many callbacks bring a task
    #[arg(long, default_value_t = 0)]
    task_every: u64,
    /// Ends after so many seconds
    #[arg(long = "for")]
    run_for: Option<f64>,
    /// Exact seconds between callbacks, separated by commas, instead of a shape
    #[arg(long, value_delimiter = ',')]
    waits: Vec<f64>,
    /// Ask for TXT instead of A
    #[arg(long)]
    txt: bool,
    /// HTTP User-Agent
    #[arg(long, default_value = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: String,
    /// File to append the truth to, instead of stdout
    #[arg(long)]
    truth: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ServeArguments {
    /// service:address:port, service being tcp, tls, http, https, dns, udp, mute or reset
    #[arg(required = true, value_parser = parse_service)]
    services: Vec<(Service, SocketAddr)>,
    /// Bytes of an answer
    #[arg(long, default_value_t = 400)]
    bytes: usize,
    /// Address of a name, as NAME=ADDRESS
    #[arg(long, value_parser = parse_name)]
    name: Vec<(String, IpAddr)>,
}

#[derive(Args, Debug)]
struct LabArguments {
    /// Put the caller into a namespace of its own, too
    #[arg(long)]
    apart: bool,
    /// Destinations that take turns (more than one needs --apart), at most 4
    #[arg(long, default_value_t = 1)]
    destinations: usize,
    /// Port of the server
    #[arg(long, default_value_t = 443)]
    port: u16,
    #[command(flatten)]
    manner: MannerArguments,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Args, Debug)]
struct LifetimeArguments {
    /// Where to call, address:port
    #[arg(long)]
    to: SocketAddr,
    /// tcp or udp
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    transport: String,
    /// Milliseconds for which a process holds its socket
    #[arg(long, default_value_t = 0)]
    life: u64,
    /// graceful, reset, refused or blackhole
    #[arg(long, default_value = "graceful", value_parser = |name: &str| named(name, &Close::ALL))]
    close: Close,
    /// plain, io-uring, inherited or passed
    #[arg(long, default_value = "plain", value_parser = |name: &str| named(name, &Means::ALL))]
    means: Means,
    /// How many
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// How many a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Processes that only sit there meanwhile
    #[arg(long, default_value_t = 0)]
    idle: u32,
    /// Reuse so many process ids again and again
    #[arg(long, default_value_t = 0)]
    pids: u32,
    /// File to append the truth to
    #[arg(long)]
    truth: PathBuf,
    /// Folder for the programs
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Args, Debug)]
struct ProgramArguments {
    /// python, shell, curl or compiled
    #[arg(long, value_parser = |name: &str| Dress::from_name(name).ok_or("python, shell, curl or compiled"))]
    dress: Dress,
    /// Folder that the program is put into
    #[arg(long)]
    folder: PathBuf,
    /// Its file name
    #[arg(long, default_value = "updater")]
    name: String,
    /// Where to call, address:port; HTTP is spoken
    #[arg(long)]
    to: SocketAddr,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Args, Debug)]
struct FloodArguments {
    /// Where to connect, address:port
    #[arg(long)]
    to: SocketAddr,
    /// Connections a second
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Seconds
    #[arg(long = "for", default_value_t = 5.0)]
    run_for: f64,
}

fn named<T: Copy>(name: &str, all: &[(&'static str, T)]) -> Result<T, String> {
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    all.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("one of {}", names()))
}

fn parse_shape(name: &str) -> Result<Shape, String> {
    Shape::from_name(name).ok_or_else(|| Shape::ALL.map(|(name, ..)| name).join(", "))
}

fn parse_transport(name: &str) -> Result<Transport, String> {
    named(name, &Transport::ALL)
}

fn parse_rotation(text: &str) -> Result<Rotation, String> {
    match text.split_once(':') {
        None if text == "round-robin" => Ok(Rotation::RoundRobin),
        None if text == "random" => Ok(Rotation::Random),
        Some(("fail-over", after)) => {
            after.parse().map(Rotation::FailOver).map_err(|error| error.to_string())
        }
        _ => Err("round-robin, random or fail-over:N".to_owned()),
    }
}

fn parse_burst(text: &str) -> Result<Burst, String> {
    let wrong = || "EVERY:COUNT:SECONDS".to_owned();
    let mut parts = text.split(':');
    let mut next = || parts.next().ok_or_else(wrong);
    let every = next()?.parse().map_err(|_| wrong())?;
    let count = next()?.parse().map_err(|_| wrong())?;
    let seconds = next()?.parse().map_err(|_| wrong())?;
    let interval = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    Ok(Burst { every, count, interval })
}

fn parse_hours(text: &str) -> Result<Hours, String> {
    let hour = |text: &str| text.parse().ok().filter(|hour| (0.0..=24.0).contains(hour));
    let (from, to) =
        text.split_once('-').and_then(|(from, to)| hour(from).zip(hour(to))).ok_or("FROM-TO, 0 to 24")?;
    if from >= to {
        return Err("the begin lies before the end".to_owned());
    }
    Ok(Hours { from: Duration::from_secs_f64(from * 3_600.0), to: Duration::from_secs_f64(to * 3_600.0) })
}

fn parse_service(text: &str) -> Result<(Service, SocketAddr), String> {
    let (service, address) = text.split_once(':').ok_or("service:address:port")?;
    let service = named(service, &Service::ALL)?;
    Ok((service, address.parse().map_err(|error| format!("{address}: {error}"))?))
}

fn parse_name(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("NAME=ADDRESS")?;
    Ok((name.to_ascii_lowercase(), address.parse().map_err(|error| format!("{address}: {error}"))?))
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().mode {
        Mode::Beacon(arguments) => beacon(&arguments.manner, &arguments.timing, arguments.to),
        Mode::Serve(arguments) => serve(arguments),
        Mode::Lab(arguments) => lab(&arguments),
        Mode::Lifetime(arguments) => lives(&arguments),
        Mode::Program(arguments) => dressed(&arguments),
        Mode::Flood(arguments) => flood(&arguments),
        Mode::Sweep => {
            netns::sweep();
            Ok(())
        }
        Mode::Shapes => {
            let mut out = io::stdout().lock();
            for (name, _, formula) in Shape::ALL {
                writeln!(out, "{name:14} {formula}")?;
            }
            Ok(())
        }
    }
}

fn beacon(manner: &MannerArguments, timing: &Timing, destinations: Vec<SocketAddr>) -> anyhow::Result<()> {
    let mut rng = Rng::new(timing.seed ^ 0x5eed);
    let clock = Duration::try_from_secs_f64(manner.clock * 3_600.0).context("--clock")?;
    let mut schedule = Schedule::new(timing.waits()?, rng.fork(), clock);
    schedule.burst = manner.burst;
    schedule.hours = manner.hours;
    schedule.missed = manner.missed.clamp(0.0, 0.95);
    schedule.rotation = manner.rotate;
    schedule.exact = manner.waits.iter().map(|wait| Duration::from_secs_f64(wait.max(0.0))).collect();
    let manner_of_calls = Manner {
        transport: manner.transport,
        name: manner.name.clone(),
        bytes_out: manner.bytes,
        keep_open: manner.keep_open,
        patience: Duration::try_from_secs_f64(manner.patience).context("--patience")?,
        user_agent: manner.user_agent.clone(),
        text_query: manner.txt,
    };
    let mut out: Box<dyn Write> = match &manner.truth {
        Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        None => Box::new(io::stdout()),
    };
    let mut beacon = Beacon {
        schedule,
        caller: Caller::new(manner_of_calls, rng.fork()),
        destinations,
        speed: timing.speed,
        count: timing.count,
        run_for: manner.run_for.map(Duration::try_from_secs_f64).transpose().context("--for")?,
        task_every: manner.task_every,
    };
    beacon.run(|callback| {
        let mut line = serde_json::to_string(callback)?;
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(out.flush()?)
    })
}

fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (name, address) in arguments.name {
        names.entry(name).or_default().push(address);
    }
    server::serve(&arguments.services, Answers { bytes: arguments.bytes, names, ttl_secs: 300 })?;
    writeln!(io::stdout(), "{{\"ready\":true}}")?;
    // Until whoever started it closes its end, or is gone.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn lab(arguments: &LabArguments) -> anyhow::Result<()> {
    let caller = if arguments.apart { netns::Caller::Apart } else { netns::Caller::Here };
    if arguments.destinations > 1 && !arguments.apart {
        bail!("more than one destination needs --apart");
    }
    let lab = Lab::new(caller).context("making a lab (this needs root)")?;
    let emulator = std::env::current_exe()?;
    let more = ["203.0.113.250", "203.0.113.251", "203.0.113.252"].map(|address| address.parse::<IpAddr>());
    let addresses = std::iter::once(Ok(lab.server(4))).chain(more).take(arguments.destinations.max(1));
    let destinations: Vec<SocketAddr> = addresses
        .map(|address| address.map(|ip| SocketAddr::new(ip, arguments.port)))
        .collect::<Result<_, _>>()?;
    let mut serve = lab.at_server(&emulator);
    serve.arg("serve");
    if arguments.manner.transport != Transport::Icmp {
        serve.args(destinations.iter().map(|to| format!("{}:{to}", arguments.manner.transport.name())));
    } else {
        serve.arg(format!("tcp:{}", SocketAddr::new(lab.server(4), 9)));
    }
    let mut server = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(server.stdout.take().context("the server's stdout")?);
    if said.read_line(&mut String::new())? == 0 {
        bail!("the server did not start");
    }
    writeln!(io::stderr(), "calling {destinations:?} from {}; end with Ctrl-C", lab.local(4))?;
    let mut beacon = lab.at_caller(&emulator);
    beacon.arg("beacon").args(destinations.iter().map(|to| format!("--to={to}")));
    // What follows `lab` is said again to the beacon, without what only the lab understands.
    let mut own = std::env::args().skip(2);
    while let Some(argument) = own.next() {
        match argument.split('=').next().unwrap_or_default() {
            "--apart" => {}
            "--port" | "--destinations" if argument.contains('=') => {}
            "--port" | "--destinations" => drop(own.next()),
            _ => drop(beacon.arg(&argument)),
        }
    }
    let status = beacon.status();
    drop(server.stdin.take());
    server.wait()?;
    drop(lab);
    if status?.success() { Ok(()) } else { bail!("the beacon failed") }
}

fn lives(arguments: &LifetimeArguments) -> anyhow::Result<()> {
    guard::may_call(arguments.to.ip())?;
    let caller = std::env::current_exe()?.with_file_name("sonde-caller");
    let programs = Programs::new(&caller, &arguments.folder, 8)
        .with_context(|| format!("copying {} to {}", caller.display(), arguments.folder.display()))?;
    let plan = Plan {
        errand: Errand {
            tcp: arguments.transport == "tcp",
            remote: arguments.to,
            life: Duration::from_millis(arguments.life),
            close: arguments.close,
            means: arguments.means,
            port: 0,
        },
        count: arguments.count,
        rate: arguments.rate,
        idle: arguments.idle,
        pids: arguments.pids,
        truth: arguments.truth.clone(),
    };
    let begun = lifetime::run(&plan, &programs)?;
    writeln!(io::stderr(), "{begun} lives")?;
    Ok(())
}

fn dressed(arguments: &ProgramArguments) -> anyhow::Result<()> {
    guard::may_call(arguments.to.ip())?;
    let mut waits = arguments.timing.waits()?;
    let count =
        arguments.timing.count.context("--count is needed: the program gets its waits at its start")?;
    let waits: Vec<_> = (0..count).map(|_| waits.draw(Last::Idle).div_f64(arguments.timing.speed)).collect();
    let emulator = std::env::current_exe()?;
    let (folder, name) = (&arguments.folder, &arguments.name);
    let mut command: Command =
        program::prepare(arguments.dress, &emulator, folder, name, arguments.to, &waits)?;
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{name} ended with {status}") }
}

fn flood(arguments: &FloodArguments) -> anyhow::Result<()> {
    guard::may_call(arguments.to.ip())?;
    let (began, mut made, mut failed) = (Instant::now(), 0_u32, 0_u32);
    while began.elapsed().as_secs_f64() < arguments.run_for {
        let due = Duration::from_secs_f64(f64::from(made + failed) / arguments.rate);
        thread::sleep(due.saturating_sub(began.elapsed()));
        match TcpStream::connect_timeout(&arguments.to, Duration::from_secs(1)) {
            Ok(_) => made += 1,
            Err(_) => failed += 1,
        }
    }
    writeln!(io::stderr(), "{made} connections in {:?}, {failed} failed", began.elapsed())?;
    Ok(())
}
