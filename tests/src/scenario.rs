//! Named captures, each telling one story: a beacon shape, a false-positive class, an office day, a flood.
//!
//! A scenario depends on its name and options alone; the same seed gives the same bytes. Names of popular services are
//! real, because a sensor knows them by name; addresses are from documentation and benchmark ranges (RFC 5737, RFC 3849,
//! RFC 2544) or private ones, except for the floods of `destinations` and `corpus`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sonde_common::format::LinkType;
use sonde_common::time::Timestamp;

use crate::capture::{CaptureFormat, CaptureWriter, WHOLE_FRAMES};
use crate::conversation::{self as talk, Lookup, Route, TcpTalk, Timeline, after};
use crate::corpus;
use crate::generated::Generator;
use crate::payload::{Answer, CIPHERS_GO, CIPHERS_SCHANNEL, ClientHello, Rcode, RecordType};
use crate::rng::Rng;
use crate::truth::{Beacon, Truth};

/// Wednesday 2023-11-15, 00:00 UTC: when the day of every scenario begins.
pub const DAY: Timestamp = Timestamp::from_secs_nanos(1_700_006_400, 0);

/// Snapshot length of the demo capture: whole hellos and QUIC Initials, full segments cut.
pub const DEMO_SNAPLEN: u32 = 1_300;

/// Every scenario with one line about it, in the order in which `sonde-gen --list` prints them.
pub const SCENARIOS: &[(&str, &str)] = &[
    ("fixed-60", "TLS beacon, every 60 s to the millisecond"),
    ("cobalt-20", "TLS beacon, uniform in [S(1-j), S], S = 60 s, j = 0.2"),
    ("empire-sym", "TLS beacon, uniform in [S(1-j), S(1+j)], S = 60 s, j = 0.2"),
    ("sliver-up", "TLS beacon, S + uniform [0, J), S = 60 s, J = 30 s"),
    ("missed", "TLS beacon, 60 s, one callback in five left out"),
    ("alternating", "TLS beacon, sleeps of 30 s and 90 s in turn"),
    ("in-connection", "one TLS connection, an exchange every 5 s"),
    ("dead", "beacon to a server that never answers: SYN and three retries each time"),
    ("refused", "beacon to a closed port"),
    ("proxied", "TLS beacon through an HTTP proxy (CONNECT)"),
    ("rotation", "one client fingerprint, 60 s, over five destinations"),
    ("dns-callback", "TXT questions for new sub-names of one domain every 30 s"),
    ("generated-names", "40 names of the day that do not exist, one that does, and a callback there"),
    ("icmp-callback", "echo requests with data every 60 s"),
    ("http", "plain HTTP beacon, 60 s, 10 % jitter"),
    ("quic", "QUIC beacon, 60 s, 10 % jitter"),
    ("browsing", "benign: a person browses, in bursts"),
    ("updater", "benign: a popular named destination every 15 min"),
    ("ntp", "benign: time from four servers"),
    ("monitoring", "benign: an agent reports to a private address every 60 s"),
    ("licence-heartbeat", "benign: a vendor's named licence server every hour of a day"),
    ("rdp", "benign: one long remote-desktop session"),
    ("office-day", "demo: an office day of one host with two beacons in it"),
    ("destinations", "flood of one-shot destinations with five beacons in it"),
    ("corpus", "benchmark: a mix of 200 hosts and 40 beacons"),
];

/// What can be chosen about a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of all chance.
    pub seed: u64,
    /// File format.
    pub format: CaptureFormat,
    /// Longest part of a frame that is kept.
    pub snaplen: u32,
    /// Length of the story; each has its own default. No effect on `corpus`.
    pub span: Option<Duration>,
    /// `corpus`: exactly so many packets (default 5,000,000). Others: begin no conversation after so many.
    pub packets: Option<u64>,
    /// `destinations`: how many (default 1,000,000).
    pub destinations: Option<u64>,
    /// `corpus`: tell of each connection in the truth.
    pub flows: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            format: CaptureFormat::Pcap,
            snaplen: WHOLE_FRAMES,
            span: None,
            packets: None,
            destinations: None,
            flows: false,
        }
    }
}

/// A scenario by its name, as pcap in memory.
///
/// # Panics
/// If there is no such scenario.
#[must_use]
pub fn scenario(name: &str, seed: u64) -> Vec<u8> {
    scenario_with_truth(name, seed).0
}

/// As [`scenario`], with what the capture holds.
///
/// # Panics
/// If there is no such scenario.
#[must_use]
pub fn scenario_with_truth(name: &str, seed: u64) -> (Vec<u8>, Truth) {
    let mut bytes = Vec::new();
    let truth = generate(name, &Options { seed, ..Options::default() }, &mut bytes);
    (bytes, truth.expect("the scenario exists and memory takes every byte"))
}

/// The capture that ships with the project, before compression.
///
/// # Panics
/// Never: memory takes every byte.
#[must_use]
pub fn demo() -> Vec<u8> {
    let options = Options { format: CaptureFormat::Pcapng, snaplen: DEMO_SNAPLEN, ..Options::default() };
    let mut bytes = Vec::new();
    generate("office-day", &options, &mut bytes).expect("the scenario exists and memory takes every byte");
    bytes
}

/// Streams a scenario to `out`.
///
/// # Errors
/// What the output says, or `InvalidInput` for a name that is not in [`SCENARIOS`].
pub fn generate<W: Write>(name: &str, options: &Options, out: W) -> io::Result<Truth> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("no scenario named {name:?}"));
    let mut out = CaptureWriter::new(out, options.format, LinkType::Ethernet, options.snaplen)?;
    let mut truth = match name {
        "corpus" => corpus::write(options, &mut out)?,
        "destinations" => flood(options, &mut out)?,
        _ => {
            let mut script = Script::new(options);
            if !script.tell(name) {
                return Err(unknown());
            }
            script.play(options.packets.unwrap_or(u64::MAX), &mut out)?
        }
    };
    let written = out.written();
    (truth.packets, truth.wire_bytes) = (written.packets, written.wire_bytes);
    out.finish()?;
    Ok(truth)
}

// ---------------------------------------------------------------- the stage

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The host most stories are about, its resolver and its proxy.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 53);
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 8)), 3128);

/// Where beacons go, unless the story says otherwise.
const C2_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const C2_NAME: &str = "pixel.weather-widgets.example";

/// Time to live of most answers, in seconds.
const TTL_SECS: u32 = 300;

/// Sites of a person's morning, and what their pages pull in.
const SITES: &[&str] = &[
    "www.google.com",
    "www.wikipedia.org",
    "en.wikipedia.org",
    "github.com",
    "stackoverflow.com",
    "www.reddit.com",
    "www.nytimes.com",
    "www.bbc.co.uk",
    "news.ycombinator.com",
    "www.amazon.com",
    "www.linkedin.com",
    "www.youtube.com",
    "docs.python.org",
    "www.microsoft.com",
    "www.weather.gov",
    "www.imdb.com",
];
const CONTENT: &[&str] = &[
    "fonts.gstatic.com",
    "fonts.googleapis.com",
    "www.googletagmanager.com",
    "cdn.jsdelivr.net",
    "cdnjs.cloudflare.com",
    "static.xx.fbcdn.net",
    "i.ytimg.com",
    "upload.wikimedia.org",
    "avatars.githubusercontent.com",
    "images-na.ssl-images-amazon.com",
    "code.jquery.com",
    "www.google-analytics.com",
    "securepubads.g.doubleclick.net",
    "s.w.org",
    "unpkg.com",
];

/// Address of a popular name: made from the name, in the benchmark range 198.18.0.0/15 (RFC 2544).
fn popular_address(name: &str) -> IpAddr {
    let (high, low) = spread(name);
    IpAddr::V4(Ipv4Addr::new(198, 18 + (high & 1), high, low | 1))
}

/// The same name's IPv6 address in 2001:db8::/32 (RFC 3849).
fn popular_address_v6(name: &str) -> IpAddr {
    let (high, low) = spread(name);
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, u16::from(high), u16::from(low | 1)))
}

/// Two bytes of an FNV-1a hash.
fn spread(name: &str) -> (u8, u8) {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    (a ^ c, b ^ d)
}

/// What a story acts on.
struct Stage {
    timeline: Timeline,
    rng: Rng,
    /// Until when the host remembers an address, by host and name.
    resolved: BTreeMap<(IpAddr, String), Timestamp>,
    /// Client ports are taken in turn, as most systems do, so that one is not used again soon.
    next_port: u16,
}

impl Stage {
    fn new(mut rng: Rng) -> Self {
        let next_port = rng.client_port();
        Self { timeline: Timeline::default(), rng, resolved: BTreeMap::new(), next_port }
    }

    /// A route with a fresh client port and a round trip that belongs to the server's address.
    fn route(&mut self, host: IpAddr, server: SocketAddr) -> Route {
        let low = match server.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let private = matches!(server.ip(), IpAddr::V4(address) if address.is_private());
        let base = if private { 400 } else { 9_000 + u64::from(low) * 211 };
        let round_trip = Duration::from_micros(base + self.rng.below(base / 8));
        let client = SocketAddr::new(host, self.next_port);
        // After 65,535 the dynamic range (IANA: from 49,152) begins again.
        self.next_port = self.next_port.checked_add(1).unwrap_or(49_152);
        Route::ethernet(client, server, round_trip)
    }

    /// Asks for `name` unless the host still knows it; tells when it may connect.
    fn resolve(&mut self, time: Timestamp, host: IpAddr, name: &str, address: IpAddr) -> Timestamp {
        let key = (host, name.to_owned());
        if self.resolved.get(&key).is_some_and(|until| *until > time) {
            return time;
        }
        let resolver = self.route(HOST.into(), RESOLVER);
        let client = SocketAddr::new(if host.is_ipv4() { host } else { HOST.into() }, resolver.client.port());
        let resolver = Route::ethernet(client, RESOLVER, resolver.round_trip);
        let alias = if spread(name).0.is_multiple_of(4) && !name.ends_with(".example") {
            Some(format!("{}.edge.example.net", name.replace('.', "-")))
        } else {
            None
        };
        let question = (name, alias.as_deref());
        let ready =
            talk::resolve(&mut self.timeline, time, resolver, &mut self.rng, question, address, TTL_SECS);
        self.resolved.insert(key, after(time, Duration::from_secs(TTL_SECS.into())));
        ready
    }
}

type Act = Box<dyn FnOnce(&mut Stage, Timestamp)>;

/// When to do what: collected first, then played in order of time.
struct Script {
    stage: Stage,
    acts: Vec<(Timestamp, Act)>,
    beacons: Vec<Beacon>,
    start: Timestamp,
    span: Option<Duration>,
}

impl Script {
    fn new(options: &Options) -> Self {
        let mut rng = Rng::new(options.seed);
        Self {
            stage: Stage::new(rng.fork()),
            acts: Vec::new(),
            beacons: Vec::new(),
            start: after(DAY, 8 * HOUR),
            span: options.span,
        }
    }

    fn at(&mut self, time: Timestamp, act: impl FnOnce(&mut Stage, Timestamp) + 'static) {
        self.acts.push((time, Box::new(act)));
    }

    /// Does the same at each of `times`.
    fn each(&mut self, times: &[Timestamp], act: impl Fn(&mut Stage, Timestamp) + Clone + 'static) {
        for time in times {
            self.at(*time, act.clone());
        }
    }

    fn play<W: Write>(mut self, packets: u64, out: &mut CaptureWriter<W>) -> io::Result<Truth> {
        self.acts.sort_by_key(|(time, _)| *time);
        let stage = &mut self.stage;
        for (time, act) in self.acts {
            stage.timeline.flush_before(time, out)?;
            if out.written().packets >= packets {
                break;
            }
            act(stage, time);
        }
        stage.timeline.flush_before(Timestamp::MAX, out)?;
        Ok(Truth {
            beacons: self.beacons,
            connections: stage.timeline.connections,
            names: stage.timeline.names.len() as u64,
            ..Truth::default()
        })
    }

    /// Length of the story.
    fn span(&self, default: Duration) -> Duration {
        self.span.unwrap_or(default)
    }
}

// ---------------------------------------------------------------- beacon shapes

/// How a beacon draws its next sleep.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Fixed,
    /// Uniform in [S(1-j), S].
    Down(f64),
    /// Uniform in [S(1-j), S(1+j)].
    Symmetric(f64),
    /// S + uniform [0, J).
    Up(f64),
    /// Sleeps of S/2 and 3S/2 in turn.
    Alternating,
    /// S, but one callback in five does not happen.
    Missed,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Down(_) => "down",
            Self::Symmetric(_) => "symmetric",
            Self::Up(_) => "up",
            Self::Alternating => "alternating",
            Self::Missed => "missed",
        }
    }

    const fn jitter(self) -> f64 {
        match self {
            Self::Fixed | Self::Alternating | Self::Missed => 0.0,
            Self::Down(jitter) | Self::Symmetric(jitter) | Self::Up(jitter) => jitter,
        }
    }

    fn sleep(self, interval: Duration, index: usize, rng: &mut Rng) -> Duration {
        let factor = match self {
            Self::Fixed | Self::Missed => 1.0,
            Self::Down(jitter) => 1.0 - jitter * rng.unit(),
            Self::Symmetric(jitter) => 1.0 + jitter * (2.0 * rng.unit() - 1.0),
            Self::Up(jitter) => 1.0 + jitter * rng.unit(),
            Self::Alternating => [0.5, 1.5].get(index % 2).copied().unwrap_or(1.0),
        };
        interval.mul_f64(factor)
    }

    /// Times of the callbacks within `span` of `start`.
    fn times(self, start: Timestamp, interval: Duration, span: Duration, rng: &mut Rng) -> Vec<Timestamp> {
        let end = after(start, span);
        // A first callback at a moment that no schedule explains.
        let mut time = after(start, rng.between(Duration::from_secs(2), Duration::from_secs(9)));
        let mut times = Vec::new();
        for index in 0.. {
            if time >= end {
                break;
            }
            if !matches!(self, Self::Missed) || index == 0 || !rng.one_in(5) {
                times.push(time);
            }
            time = after(time, self.sleep(interval, index, rng));
        }
        times
    }
}

/// Where a beacon goes.
#[derive(Clone, Copy)]
struct Target {
    server: SocketAddr,
    transport: &'static str,
    name: &'static str,
}

impl Target {
    const C2: Self =
        Self { server: SocketAddr::new(IpAddr::V4(C2_ADDRESS), 443), transport: "tcp", name: C2_NAME };

    const fn tcp(address: Ipv4Addr, port: u16, name: &'static str) -> Self {
        Self { server: SocketAddr::new(IpAddr::V4(address), port), transport: "tcp", name }
    }
}

/// Sizes of a check-in that has nothing to do, now and then of one that has.
fn check_in_sizes(rng: &mut Rng) -> (usize, usize) {
    if rng.one_in(25) { (rng.length(2_000, 9_000), 800) } else { (rng.length(180, 190), rng.length(92, 97)) }
}

/// One TLS callback of an implant written in Go.
fn tls_callback(stage: &mut Stage, time: Timestamp, host: IpAddr, server: SocketAddr, name: &str) {
    let time = stage.resolve(time, host, name, server.ip());
    let route = stage.route(host, server);
    let hello = ClientHello::program(Some(name), CIPHERS_GO, stage.rng.bytes());
    let sizes = check_in_sizes(&mut stage.rng);
    talk::tls(&mut stage.timeline, time, route, &mut stage.rng, &hello, sizes);
}

impl Script {
    /// Callbacks of one beacon: registers it in the truth, and does `act` at each time.
    fn beacon(
        &mut self,
        shape: Shape,
        interval: Duration,
        span: Duration,
        target: Target,
        act: impl Fn(&mut Stage, Timestamp) + Clone + 'static,
    ) {
        let mut rng = self.stage.rng.fork();
        let times = shape.times(self.start, interval, span, &mut rng);
        self.note(target, shape, interval, times.len());
        self.each(&times, act);
    }

    fn note(&mut self, target: Target, shape: Shape, interval: Duration, callbacks: usize) {
        self.beacons.push(Beacon {
            host: HOST.into(),
            destination: target.server.ip(),
            port: target.server.port(),
            transport: target.transport,
            name: target.name.to_owned(),
            shape: shape.name(),
            interval,
            jitter: shape.jitter(),
            callbacks: callbacks as u64,
        });
    }

    fn tls_beacon(&mut self, shape: Shape) {
        let span = self.span(2 * HOUR);
        self.beacon(shape, MINUTE, span, Target::C2, |stage, time| {
            tls_callback(stage, time, HOST.into(), Target::C2.server, C2_NAME);
        });
    }

    /// Collects the acts of the story called `name`; false if there is none.
    fn tell(&mut self, name: &str) -> bool {
        match name {
            "fixed-60" => self.tls_beacon(Shape::Fixed),
            "cobalt-20" => self.tls_beacon(Shape::Down(0.2)),
            "empire-sym" => self.tls_beacon(Shape::Symmetric(0.2)),
            "sliver-up" => self.tls_beacon(Shape::Up(0.5)),
            "missed" => self.tls_beacon(Shape::Missed),
            "alternating" => self.tls_beacon(Shape::Alternating),
            "in-connection" => {
                let span = self.span(HOUR / 2);
                self.in_connection(Target::C2, span);
            }
            "dead" => self.dead(),
            "refused" => self.refused(),
            "proxied" => self.proxied(),
            "rotation" => self.rotation(),
            "dns-callback" => self.dns_callback(),
            "generated-names" => self.generated_names(),
            "icmp-callback" => self.icmp_callback(),
            "http" => self.http(),
            "quic" => self.quic(),
            "browsing" => {
                let span = self.span(3 * HOUR);
                self.browsing(span, 40);
            }
            "updater" => {
                let span = self.span(12 * HOUR);
                self.updater(span);
            }
            "ntp" => {
                let span = self.span(4 * HOUR);
                self.ntp(span, Duration::from_secs(64));
            }
            "monitoring" => self.monitoring(),
            "licence-heartbeat" => self.licence(),
            "rdp" => self.rdp(),
            "office-day" => self.office_day(),
            _ => return false,
        }
        true
    }

    /// One connection to `target` with an exchange every five seconds.
    fn in_connection(&mut self, target: Target, span: Duration) {
        let mut rng = self.stage.rng.fork();
        let start = after(self.start, Duration::from_secs(3));
        let interval = Duration::from_secs(5);
        let times = Shape::Symmetric(0.05).times(after(start, interval), interval, span, &mut rng);
        self.note(target, Shape::Symmetric(0.05), interval, times.len());
        self.at(start, move |stage, time| {
            let time = stage.resolve(time, HOST.into(), target.name, target.server.ip());
            let route = stage.route(HOST.into(), target.server);
            let hello = ClientHello::program(Some(target.name), CIPHERS_GO, stage.rng.bytes());
            talk::keep_alive(&mut stage.timeline, time, route, &mut stage.rng, &hello, &times, (112, 112));
        });
    }

    fn dead(&mut self) {
        let span = self.span(2 * HOUR);
        let target = Target::tcp(Ipv4Addr::new(198, 51, 100, 99), 443, "");
        self.beacon(Shape::Down(0.1), MINUTE, span, target, move |stage, time| {
            let route = stage.route(HOST.into(), target.server);
            talk::unanswered(&mut stage.timeline, time, route, &mut stage.rng);
        });
    }

    fn refused(&mut self) {
        let span = self.span(2 * HOUR);
        let target = Target::tcp(Ipv4Addr::new(198, 51, 100, 98), 8443, "");
        self.beacon(Shape::Down(0.1), MINUTE, span, target, move |stage, time| {
            let route = stage.route(HOST.into(), target.server);
            talk::refused(&mut stage.timeline, time, route, &mut stage.rng);
        });
    }

    fn proxied(&mut self) {
        let span = self.span(2 * HOUR);
        let target = Target { server: PROXY, transport: "tcp", name: C2_NAME };
        self.beacon(Shape::Down(0.2), MINUTE, span, target, |stage, time| {
            let route = stage.route(HOST.into(), PROXY);
            let hello = ClientHello::program(Some(C2_NAME), CIPHERS_SCHANNEL, stage.rng.bytes());
            let (authority, sizes) = (format!("{C2_NAME}:443"), check_in_sizes(&mut stage.rng));
            let tunnel = (authority.as_str(), "Mozilla/5.0");
            talk::proxied(&mut stage.timeline, time, route, &mut stage.rng, tunnel, &hello, sizes);
        });
    }

    fn rotation(&mut self) {
        const STOPS: [(Ipv4Addr, &str); 5] = [
            (Ipv4Addr::new(203, 0, 113, 10), "alder.example"),
            (Ipv4Addr::new(203, 0, 113, 87), "birch.example"),
            (Ipv4Addr::new(198, 51, 100, 41), "cedar.example"),
            (Ipv4Addr::new(198, 51, 100, 142), "dogwood.example"),
            (Ipv4Addr::new(192, 0, 2, 203), "elder.example"),
        ];
        let mut rng = self.stage.rng.fork();
        let span = self.span(4 * HOUR);
        let shape = Shape::Down(0.2);
        let times = shape.times(self.start, MINUTE, span, &mut rng);
        let mut counts = [0; STOPS.len()];
        for time in &times {
            let stop = rng.length(0, STOPS.len());
            if let Some(count) = counts.get_mut(stop) {
                *count += 1;
            }
            let Some((address, name)) = STOPS.get(stop).copied() else { continue };
            let server = SocketAddr::new(address.into(), 443);
            self.at(*time, move |stage, time| tls_callback(stage, time, HOST.into(), server, name));
        }
        for ((address, name), count) in STOPS.into_iter().zip(counts) {
            self.note(Target::tcp(address, 443, name), shape, MINUTE, count);
        }
    }

    fn dns_callback(&mut self) {
        const DOMAIN: &str = "ns.quiet-ledger.example";
        let span = self.span(2 * HOUR);
        let target = Target { server: RESOLVER, transport: "udp", name: DOMAIN };
        self.beacon(Shape::Symmetric(0.1), MINUTE / 2, span, target, |stage, time| {
            let name = format!("{:016x}.{:08x}.{DOMAIN}", stage.rng.u64(), stage.rng.u32());
            let text = format!("{:032x}", u128::from(stage.rng.u64()) << 40);
            let route = stage.route(HOST.into(), RESOLVER);
            let answers = [Answer::Txt { owner: &name, text: text.as_bytes() }];
            let (kind, rcode) = (RecordType::Txt, Rcode::NoError);
            let lookup = Lookup { name: &name, kind, rcode, ttl_secs: 1, answers: &answers };
            talk::dns(&mut stage.timeline, time, route, &mut stage.rng, &lookup);
        });
    }

    /// A program looks for its server under names of the day, one every few seconds, and finds it.
    fn generated_names(&mut self) {
        let mut rng = self.stage.rng.fork();
        let mut time = after(self.start, Duration::from_secs(3));
        for _ in 0..40 {
            let name = Generator::Base36.domain(&mut rng);
            self.at(time, move |stage, time| {
                let route = stage.route(HOST.into(), RESOLVER);
                let (kind, rcode) = (RecordType::A, Rcode::NxDomain);
                let lookup = Lookup { name: &name, kind, rcode, ttl_secs: 900, answers: &[] };
                talk::dns(&mut stage.timeline, time, route, &mut stage.rng, &lookup);
            });
            time = after(time, rng.between(Duration::from_secs(2), Duration::from_secs(5)));
        }
        let name = Generator::Base36.domain(&mut rng);
        self.at(time, move |stage, time| {
            tls_callback(stage, time, HOST.into(), Target::C2.server, &name);
        });
    }

    fn icmp_callback(&mut self) {
        let span = self.span(2 * HOUR);
        let server = SocketAddr::new(C2_ADDRESS.into(), 0);
        let target = Target { server, transport: "icmp", name: "" };
        self.beacon(Shape::Symmetric(0.1), MINUTE, span, target, move |stage, time| {
            let route = stage.route(HOST.into(), server);
            let data: [u8; 96] = stage.rng.bytes();
            let sequence = stage.rng.u16();
            talk::icmp_echo(&mut stage.timeline, time, route, (0x4242, sequence), &data);
        });
    }

    fn http(&mut self) {
        const NAME: &str = "img.gardening-tips.example";
        let span = self.span(2 * HOUR);
        let target = Target::tcp(Ipv4Addr::new(203, 0, 113, 25), 80, NAME);
        self.beacon(Shape::Symmetric(0.1), MINUTE, span, target, move |stage, time| {
            let time = stage.resolve(time, HOST.into(), NAME, target.server.ip());
            let route = stage.route(HOST.into(), target.server);
            let path = format!("/gallery/{:08x}.gif", stage.rng.u32());
            let request = (NAME, path.as_str(), "Mozilla/5.0 (Windows NT 10.0; Win64; x64)");
            talk::http(&mut stage.timeline, time, route, &mut stage.rng, request, 43);
        });
    }

    fn quic(&mut self) {
        const NAME: &str = "h3.paper-lantern.example";
        let span = self.span(2 * HOUR);
        let server = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 44).into(), 443);
        let target = Target { server, transport: "udp", name: NAME };
        self.beacon(Shape::Symmetric(0.1), MINUTE, span, target, move |stage, time| {
            let time = stage.resolve(time, HOST.into(), NAME, server.ip());
            let route = stage.route(HOST.into(), server);
            let random = stage.rng.bytes();
            let hello = ClientHello { alpn: &["h3"], ..ClientHello::program(Some(NAME), CIPHERS_GO, random) };
            let sizes = check_in_sizes(&mut stage.rng);
            talk::quic(&mut stage.timeline, time, route, &mut stage.rng, &hello, sizes);
        });
    }
}

// ---------------------------------------------------------------- benign classes

impl Script {
    /// Pages in bursts with pauses between them; `pages` of them an hour on average.
    fn browsing(&mut self, span: Duration, pages: u32) {
        let mut rng = self.stage.rng.fork();
        let end = after(self.start, span);
        let mut time = after(self.start, rng.exponential(MINUTE));
        while time < end {
            // A sitting: some pages a reading time apart, then something else for a while.
            for _ in 0..2 + rng.below(8) {
                self.page(time, &mut rng);
                time = after(time, Duration::from_secs_f64(rng.log_normal(22.0, 0.9).min(600.0)));
            }
            time = after(time, rng.exponential(HOUR.mul_f64(6.0 / f64::from(pages.max(1)))));
        }
    }

    /// One page: the site, and shortly after it what it pulls in. Every fifth over IPv6, every twelfth over QUIC.
    fn page(&mut self, time: Timestamp, rng: &mut Rng) {
        let site = *rng.pick(SITES);
        let v6 = rng.one_in(5);
        self.at(time, move |stage, time| browse(stage, time, site, v6));
        for _ in 0..rng.below(4) {
            let part = *rng.pick(CONTENT);
            let later = after(time, rng.between(Duration::from_millis(200), Duration::from_millis(1_500)));
            self.at(later, move |stage, time| browse(stage, time, part, v6));
        }
    }

    fn updater(&mut self, span: Duration) {
        const NAME: &str = "update.microsoft.com";
        let mut rng = self.stage.rng.fork();
        let times = Shape::Symmetric(0.01).times(self.start, 15 * MINUTE, span, &mut rng);
        self.each(&times, |stage, time| {
            let server = SocketAddr::new(popular_address(NAME), 443);
            let time = stage.resolve(time, HOST.into(), NAME, server.ip());
            let route = stage.route(HOST.into(), server);
            let hello = ClientHello::program(Some(NAME), CIPHERS_SCHANNEL, stage.rng.bytes());
            let sizes = (stage.rng.length(900, 1_200), stage.rng.length(2_000, 9_000));
            talk::tls(&mut stage.timeline, time, route, &mut stage.rng, &hello, sizes);
        });
    }

    /// Four servers of a pool, each asked once an `interval`.
    fn ntp(&mut self, span: Duration, interval: Duration) {
        let mut rng = self.stage.rng.fork();
        for pool in ["0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"] {
            let times = Shape::Symmetric(0.02).times(self.start, interval, span, &mut rng);
            let server = SocketAddr::new(popular_address(pool), 123);
            if let Some(first) = times.first() {
                let before = first.plus_nanos(-1_000_000_000);
                self.at(before, move |stage, time| {
                    stage.resolve(time, HOST.into(), pool, server.ip());
                });
            }
            self.each(&times, move |stage, time| {
                let route = stage.route(HOST.into(), server).with_client_port(123);
                talk::ntp(&mut stage.timeline, time, route, &mut stage.rng);
            });
        }
    }

    /// A monitoring agent that pushes its readings to a server on the private network.
    fn monitoring(&mut self) {
        let mut rng = self.stage.rng.fork();
        let span = self.span(4 * HOUR);
        let times = Shape::Fixed.times(self.start, MINUTE, span, &mut rng);
        self.each(&times, |stage, time| {
            let server = SocketAddr::new(Ipv4Addr::new(10, 0, 20, 15).into(), 10_051);
            let route = stage.route(HOST.into(), server);
            let mut tcp = TcpTalk::open(&mut stage.timeline, time, route, &mut stage.rng);
            let readings = format!(
                "ZBXD\u{1}{{\"request\":\"agent data\",\"host\":\"ws-5\",\"clock\":{}}}",
                time.millis()
            );
            tcp.send(readings.as_bytes());
            tcp.receive(b"ZBXD\x01{\"response\":\"success\"}");
            tcp.close();
        });
    }

    /// A licence check once an hour, day and night.
    fn licence(&mut self) {
        const NAME: &str = "lm.licenses.adobe.com";
        self.start = DAY;
        let mut rng = self.stage.rng.fork();
        let span = self.span(24 * HOUR);
        let times = Shape::Symmetric(0.002).times(self.start, HOUR, span, &mut rng);
        self.each(&times, |stage, time| {
            let server = SocketAddr::new(popular_address(NAME), 443);
            let time = stage.resolve(time, HOST.into(), NAME, server.ip());
            let route = stage.route(HOST.into(), server);
            let hello = ClientHello::program(Some(NAME), CIPHERS_SCHANNEL, stage.rng.bytes());
            talk::tls(&mut stage.timeline, time, route, &mut stage.rng, &hello, (640, 410));
        });
    }

    /// Remote desktop to a server of the house: bursts of input and screen, and pauses.
    fn rdp(&mut self) {
        let span = self.span(3 * HOUR);
        let start = after(self.start, MINUTE);
        self.at(start, move |stage, time| {
            let server = SocketAddr::new(Ipv4Addr::new(10, 0, 30, 12).into(), 3_389);
            let route = stage.route(HOST.into(), server);
            let mut rng = stage.rng.fork();
            let mut tcp = TcpTalk::open(&mut stage.timeline, time, route, &mut rng);
            // X.224 connection request with a routing cookie, and its confirmation (MS-RDPBCGR 2.2.1.1).
            tcp.send(b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=user\r\n\x01\x00\x08\x00\x03\x00\x00\x00");
            tcp.receive(b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x0f\x08\x00\x02\x00\x00\x00");
            tcp.tls_handshake(&ClientHello::program(None, CIPHERS_SCHANNEL, rng.bytes()), &mut rng);
            let end = after(time, span);
            while tcp.now() < end {
                for _ in 0..rng.below(12) {
                    tcp.tls_exchange(rng.length(60, 140), rng.length(200, 3_000));
                    tcp.wait(rng.exponential(Duration::from_millis(700)));
                }
                tcp.wait(rng.exponential(MINUTE / 2));
            }
            tcp.close();
        });
    }

    /// Mail by push: one connection that the server wakes now and then, kept alive every nine minutes.
    fn mail_push(&mut self, span: Duration) {
        const NAME: &str = "outlook.office365.com";
        let mut rng = self.stage.rng.fork();
        let mut times = Shape::Fixed.times(self.start, 9 * MINUTE, span, &mut rng);
        let end = after(self.start, span);
        let mut time = after(self.start, rng.exponential(10 * MINUTE));
        while time < end {
            times.push(time);
            time = after(time, rng.exponential(12 * MINUTE));
        }
        times.sort_unstable();
        let start = self.start;
        self.at(start, move |stage, time| {
            let server = SocketAddr::new(popular_address(NAME), 443);
            let time = stage.resolve(time, HOST.into(), NAME, server.ip());
            let route = stage.route(HOST.into(), server);
            let hello = ClientHello {
                alpn: &["h2", "http/1.1"],
                ..ClientHello::program(Some(NAME), CIPHERS_SCHANNEL, stage.rng.bytes())
            };
            talk::keep_alive(&mut stage.timeline, time, route, &mut stage.rng, &hello, &times, (90, 700));
        });
    }

    /// The demo: five hours at a desk, a jittered TLS beacon for most of them, a kept connection for a part.
    fn office_day(&mut self) {
        let span = self.span(5 * HOUR);
        self.mail_push(span);
        self.updater(span);
        self.ntp(span, Duration::from_secs(1_024));
        self.browsing(span, 10);
        let day = self.start;
        self.start = after(day, span / 8);
        self.beacon(Shape::Down(0.2), MINUTE, span * 3 / 4, Target::C2, |stage, time| {
            tls_callback(stage, time, HOST.into(), Target::C2.server, C2_NAME);
        });
        self.start = after(day, span / 2);
        let relay = Target::tcp(Ipv4Addr::new(198, 51, 100, 23), 8_443, "relay.quiet-river.test");
        self.in_connection(relay, span / 15);
        self.start = day;
    }
}

/// One visit of a browser to `name`.
fn browse(stage: &mut Stage, time: Timestamp, name: &str, v6: bool) {
    let host: IpAddr = if v6 { Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 5).into() } else { HOST.into() };
    let address = if v6 { popular_address_v6(name) } else { popular_address(name) };
    let time = stage.resolve(time, host, name, address);
    let route = stage.route(host, SocketAddr::new(address, 443));
    let hello = ClientHello::browser(name, stage.rng.bytes());
    let requests = 1 + stage.rng.below(3);
    let Stage { timeline, rng, .. } = stage;
    if rng.one_in(12) {
        let hello = ClientHello { alpn: &["h3"], pad_to: 0, ..hello };
        let sizes = (rng.length(300, 900), rng.length(2_000, 9_000));
        talk::quic(timeline, time, route, rng, &hello, sizes);
        return;
    }
    let mut tcp = TcpTalk::open(timeline, time, route, rng);
    tcp.tls_handshake(&hello, rng);
    for _ in 0..requests {
        // Responses are heavy-tailed; the cap keeps one page from filling a capture.
        let down = rng.log_normal(5_000.0, 1.2).clamp(200.0, 40_000.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 200..40,000")]
        let down = down as usize;
        tcp.tls_exchange(rng.length(300, 900), down);
        tcp.wait(rng.exponential(Duration::from_millis(400)));
    }
    if rng.one_in(2) {
        // Browsers keep connections for a while in case the person comes back.
        tcp.wait(rng.between(MINUTE / 6, 2 * MINUTE));
    }
    tcp.close();
}

// ---------------------------------------------------------------- the flood

/// A public-looking address for each number below 2^30, all different: 32.0.0.0 to 95.255.255.255.
pub(crate) fn synthetic_address(number: u32) -> Ipv4Addr {
    // An odd factor permutes the numbers modulo 2^30.
    let mixed = number.wrapping_mul(0x9E37_79B1) & 0x3fff_ffff;
    Ipv4Addr::from_bits(0x2000_0000 + mixed)
}

/// Many destinations, each contacted once (three in four refused, one in four greeted with a hello of its own name),
/// and five beacons that go on all the time.
fn flood<W: Write>(options: &Options, out: &mut CaptureWriter<W>) -> io::Result<Truth> {
    const BEACONS: [(u8, u64, Shape); 5] = [
        (1, 60, Shape::Fixed),
        (2, 120, Shape::Down(0.2)),
        (3, 300, Shape::Symmetric(0.1)),
        (4, 600, Shape::Symmetric(0.2)),
        (5, 900, Shape::Down(0.1)),
    ];
    let total = options.destinations.unwrap_or(1_000_000);
    let span = options.span.unwrap_or(6 * HOUR);
    let start = after(DAY, 8 * HOUR);
    let mut rng = Rng::new(options.seed);
    let mut stage = Stage::new(rng.fork());
    let mut truth = Truth::default();
    let mut due = Vec::new();
    for (number, secs, shape) in BEACONS {
        let (interval, address) = (Duration::from_secs(secs), Ipv4Addr::new(203, 0, 113, number));
        let name = format!("kept-{number}.example");
        let times = shape.times(start, interval, span, &mut rng);
        due.extend(times.iter().map(|time| (*time, address, name.clone())));
        truth.beacons.push(Beacon {
            host: HOST.into(),
            destination: address.into(),
            port: 443,
            transport: "tcp",
            name,
            shape: shape.name(),
            interval,
            jitter: shape.jitter(),
            callbacks: times.len() as u64,
        });
    }
    due.sort();
    let mut due = due.into_iter().peekable();
    let gap = span.as_nanos() / u128::from(total.max(1));
    let gap = i64::try_from(gap).map_err(|_| io::Error::other("span too long"))?;
    let mut message = Vec::new();
    for number in 0..total {
        let number32 = u32::try_from(number).ok().filter(|number| *number < 1 << 30);
        let number32 = number32.ok_or_else(|| io::Error::other("at most 2^30 destinations"))?;
        let time = start.plus_nanos(gap.saturating_mul(i64::from(number32)));
        while let Some((time, address, name)) = due.next_if(|(due, ..)| *due <= time) {
            stage.timeline.flush_before(time, out)?;
            tls_callback(&mut stage, time, HOST.into(), SocketAddr::new(address.into(), 443), &name);
        }
        stage.timeline.flush_before(time, out)?;
        if options.packets.is_some_and(|packets| out.written().packets >= packets) {
            break;
        }
        let server = SocketAddr::new(synthetic_address(number32).into(), 443);
        let route = stage.route(HOST.into(), server);
        if number % 4 == 0 {
            let name = format!("www.once-{number}.example");
            message.clear();
            ClientHello::program(Some(&name), CIPHERS_SCHANNEL, stage.rng.bytes()).record(&mut message);
            let mut tcp = TcpTalk::open(&mut stage.timeline, time, route, &mut stage.rng);
            tcp.send(&message);
            tcp.close();
            // Counted, not kept: a million names would outweigh everything else here.
            truth.names += 1;
        } else {
            talk::refused(&mut stage.timeline, time, route, &mut stage.rng);
        }
    }
    for (time, address, name) in due {
        stage.timeline.flush_before(time, out)?;
        tls_callback(&mut stage, time, HOST.into(), SocketAddr::new(address.into(), 443), &name);
    }
    stage.timeline.flush_before(Timestamp::MAX, out)?;
    truth.connections = stage.timeline.connections;
    truth.names += stage.timeline.names.len() as u64;
    Ok(truth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::flags;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use std::collections::BTreeSet;

    /// A packet of a capture in memory: when, from whom to whom (with ports), TCP flags.
    struct Seen {
        secs: f64,
        source: SocketAddr,
        destination: SocketAddr,
        bits: u8,
    }

    fn read(file: &[u8]) -> Vec<Seen> {
        let (mut rest, _) = pcap_parser::parse_pcap_header(file).unwrap();
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let (next, frame) = pcap_parser::parse_pcap_frame(rest).unwrap();
            rest = next;
            let parsed = SlicedPacket::from_ethernet(frame.data).unwrap();
            let (source, destination): (IpAddr, IpAddr) = match parsed.net.unwrap() {
                NetSlice::Ipv4(ip) => {
                    (ip.header().source_addr().into(), ip.header().destination_addr().into())
                }
                NetSlice::Ipv6(ip) => {
                    (ip.header().source_addr().into(), ip.header().destination_addr().into())
                }
                NetSlice::Arp(_) => continue,
            };
            let (ports, bits) = match parsed.transport.unwrap() {
                TransportSlice::Tcp(tcp) => ((tcp.source_port(), tcp.destination_port()), tcp.slice()[13]),
                TransportSlice::Udp(udp) => ((udp.source_port(), udp.destination_port()), 0),
                _ => ((0, 0), 0),
            };
            seen.push(Seen {
                secs: f64::from(frame.ts_sec) + f64::from(frame.ts_usec) / 1e6,
                source: SocketAddr::new(source, ports.0),
                destination: SocketAddr::new(destination, ports.1),
                bits,
            });
        }
        seen
    }

    /// Starts of TCP connections to `server`, retries left out.
    fn connects(seen: &[Seen], server: SocketAddr) -> Vec<f64> {
        let mut sources = BTreeSet::new();
        let syn = |packet: &&Seen| packet.bits == flags::SYN && packet.destination == server;
        seen.iter()
            .filter(syn)
            .filter(|packet| sources.insert(packet.source))
            .map(|packet| packet.secs)
            .collect()
    }

    fn small(name: &str, seed: u64) -> (Vec<u8>, Truth) {
        let options = Options { seed, packets: Some(3_000), destinations: Some(400), ..Options::default() };
        let mut bytes = Vec::new();
        let truth = generate(name, &options, &mut bytes).unwrap();
        (bytes, truth)
    }

    #[test]
    fn every_listed_scenario_exists_is_deterministic_and_in_order() {
        for (name, _) in SCENARIOS {
            let (first, truth) = small(name, 7);
            assert_eq!((&first, &truth), (&small(name, 7).0, &small(name, 7).1), "{name}");
            assert_ne!(first, small(name, 8).0, "{name}: the seed matters");
            let seen = read(&first);
            assert!(seen.is_sorted_by(|a, b| a.secs <= b.secs), "{name}");
            assert!(truth.packets > 20 && truth.connections > 0, "{name}: {truth:?}");
        }
        let mut names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn unknown_scenario_is_an_error() {
        let error = generate("no-such", &Options::default(), Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn truth_tells_the_callbacks_that_are_in_the_capture() {
        for (name, _) in SCENARIOS {
            if ["in-connection", "office-day", "corpus", "destinations"].contains(name) {
                continue;
            }
            let (bytes, truth) = scenario_with_truth(name, 3);
            let seen = read(&bytes);
            for beacon in truth.beacons.iter().filter(|beacon| beacon.transport == "tcp") {
                let server = SocketAddr::new(beacon.destination, beacon.port);
                assert_eq!(connects(&seen, server).len() as u64, beacon.callbacks, "{name}");
                assert!(beacon.callbacks >= 30, "{name}");
            }
        }
    }

    #[test]
    fn intervals_keep_to_their_shape() {
        // Least and greatest interval in seconds; connects may wait some tens of milliseconds for DNS.
        let bounds = [
            ("fixed-60", 60.0, 60.0),
            ("cobalt-20", 48.0, 60.0),
            ("empire-sym", 48.0, 72.0),
            ("sliver-up", 60.0, 90.0),
            ("alternating", 30.0, 90.0),
            ("missed", 60.0, 420.0),
        ];
        for (name, least, greatest) in bounds {
            let times = connects(&read(&scenario(name, 5)), Target::C2.server);
            let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.len() >= 70, "{name}");
            assert!(gaps.iter().all(|gap| *gap > least - 0.1 && *gap < greatest + 0.1), "{name}: {gaps:?}");
            let width = gaps.iter().fold(0.0_f64, |width, gap| width.max((gap - gaps[0]).abs()));
            assert!(name == "fixed-60" || width > 5.0, "{name} varies");
        }
    }

    #[test]
    fn benign_scenarios_hold_no_beacon() {
        for name in ["browsing", "updater", "ntp", "monitoring", "licence-heartbeat", "rdp"] {
            assert_eq!(scenario_with_truth(name, 1).1.beacons, [], "{name}");
        }
        assert_eq!(scenario_with_truth("office-day", 1).1.beacons.len(), 2);
    }

    #[test]
    fn flood_addresses_are_all_different() {
        let all: BTreeSet<Ipv4Addr> = (0..200_000).map(synthetic_address).collect();
        assert_eq!(all.len(), 200_000);
        assert!(all.iter().all(|address| (32..96).contains(&address.octets()[0])));
        let options = Options { destinations: Some(400), ..Options::default() };
        let mut bytes = Vec::new();
        let truth = generate("destinations", &options, &mut bytes).unwrap();
        let servers: BTreeSet<SocketAddr> = read(&bytes)
            .iter()
            .filter(|packet| packet.bits == flags::SYN)
            .map(|packet| packet.destination)
            .collect();
        assert_eq!(servers.len(), 400 + 5);
        assert!(truth.beacons.iter().all(|beacon| beacon.callbacks >= 20));
    }

    #[test]
    fn corpus_has_the_asked_size_and_mix() {
        let options = Options { packets: Some(60_000), ..Options::default() };
        let mut bytes = Vec::new();
        let truth = generate("corpus", &options, &mut bytes).unwrap();
        assert_eq!(truth.packets, 60_000);
        assert_eq!(truth.beacons.len(), 40);
        let mean = truth.wire_bytes / truth.packets;
        // About 700 in a full corpus; less in a short one, whose long transfers are still under way.
        assert!((450..850).contains(&mean), "mean frame {mean}");
        let seen = read(&bytes);
        assert!(seen.is_sorted_by(|a, b| a.secs <= b.secs));
        let share = |port: u16| {
            let asked: BTreeSet<SocketAddr> = seen
                .iter()
                .filter(|packet| packet.destination.port() == port)
                .map(|packet| packet.source)
                .collect();
            asked.len()
        };
        assert!(share(443) > share(53) && share(53) > share(80) && share(80) > 50);
        assert!(seen.iter().any(|packet| packet.source.is_ipv6()));
    }

    #[test]
    fn truth_is_one_table() {
        let (_, truth) = small("rotation", 1);
        let mut csv = Vec::new();
        truth.write_csv(&mut csv).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let columns = csv.lines().next().unwrap().split(',').count();
        assert!(csv.lines().all(|line| line.split(',').count() == columns));
        assert_eq!(csv.lines().filter(|line| line.starts_with("beacon,")).count(), 5);
        assert!(csv.contains("total_packets,"));
    }
}
