//! What the placeholders of the templates stand for, told from one alert.
//!
//! A value that the alert does not tell, or that is not of the form that its place takes (a hash that is none, a path
//! without a folder), is not known: the condition that needs it is left out.

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

use super::template::{Found, Value, Values};
use crate::alert::{Alert, Class, Severity};
use crate::domain::literal_address;
use crate::human;
use crate::net::is_internal;
use crate::process::{ImageLocation, ProcessInfo, image_name};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Time before the first and behind the latest callback that queries look at, too.
const MARGIN: i64 = 3_600 * NANOS_PER_SEC;
/// Longest title of a Sigma rule's destination, in characters: rules of the public collection keep titles below 110.
const TITLE_CHARS: usize = 60;
/// Namespace of the ids of Sigma rules (RFC 9562 section 5.5): made once, at random, for Sonde.
const NAMESPACE: [u8; 16] =
    [0x5b, 0x0e, 0x1d, 0x9c, 0x7a, 0x43, 0x4f, 0x26, 0x9d, 0x31, 0xc4, 0x58, 0x0b, 0xe7, 0x62, 0xaf];

/// Which system the alert is of, as far as paths tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Windows,
    Linux,
    Unknown,
}

/// The values of one alert.
#[derive(Clone, Copy, Debug)]
pub(super) struct AlertValues<'a> {
    alert: &'a Alert,
    system: System,
}

impl<'a> AlertValues<'a> {
    pub(super) fn new(alert: &'a Alert) -> Self {
        let system = alert.process.as_ref().map_or(System::Unknown, |process| system(&process.info));
        Self { alert, system }
    }

    fn info(&self) -> Option<&'a ProcessInfo> {
        self.alert.process.as_ref().map(|process| &process.info)
    }

    /// The destinations: the members of a group, else the one.
    fn destinations(&self) -> impl Iterator<Item = &'a str> {
        let destination = &self.alert.destination;
        let one = destination.group.is_empty().then_some(destination.name.as_str());
        destination.group.iter().map(String::as_str).chain(one)
    }

    fn ips(&self) -> Vec<String> {
        let mut ips: Vec<String> = self.destinations().filter_map(address).map(|ip| ip.to_string()).collect();
        // The latest address of one that has a name; the addresses of a group's names are not known.
        if self.alert.destination.group.is_empty()
            && let Some(ip) = self.alert.destination.ip.map(|ip| ip.to_string())
            && !ips.contains(&ip)
        {
            ips.push(ip);
        }
        ips
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.destinations().filter(|name| address(name).is_none()).map(str::to_owned).collect();
        let proxied = &self.alert.destination.connect_host;
        if address(proxied).is_none() && !proxied.is_empty() && !names.contains(proxied) {
            names.push(proxied.clone());
        }
        names.retain(|name| !name.is_empty());
        names
    }

    /// Path of the executable, where the source has the path and it is still a file's.
    fn path(&self) -> Option<&'a str> {
        let image = self.info()?.image.as_str();
        let drive = image.get(1..3) == Some(":\\");
        let file = image.starts_with('/') && !image.starts_with("/memfd:") && !image.ends_with(" (deleted)");
        (drive || file).then_some(image)
    }

    fn image_name(&self) -> Option<&'a str> {
        let image = self.info()?.image.as_str();
        let name = image_name(image.strip_suffix(" (deleted)").unwrap_or(image));
        (!name.is_empty()).then_some(name)
    }

    /// Who started the program, nearest first.
    fn chain(&self) -> Option<Vec<String>> {
        let info = self.info()?;
        let parent = std::iter::once(&info.parent_image).chain(&info.ancestors);
        let chain: Vec<String> = parent.filter(|image| !image.is_empty()).cloned().collect();
        (!chain.is_empty()).then_some(chain)
    }

    fn window(&self, from: bool) -> Timestamp {
        let evidence = &self.alert.evidence;
        if from { evidence.first_seen.plus_nanos(-MARGIN) } else { evidence.last_seen.plus_nanos(MARGIN) }
    }

    fn domain(&self) -> Option<&'a str> {
        let domain = self.alert.destination.registrable_domain.as_str();
        (!domain.is_empty() && address(domain).is_none()).then_some(domain)
    }

    fn title(&self) -> String {
        let name: String = self.alert.destination.name.chars().take(TITLE_CHARS).collect();
        let what = crate::encode::native::rule_name(self.alert.class);
        if name.is_empty() { format!("Sonde: {what}") } else { format!("Sonde: {what} ({name})") }
    }

    fn value(&self, name: &str) -> Result<Option<Value>, NoSuchName> {
        let alert = self.alert;
        let destination = &alert.destination;
        let evidence = &alert.evidence;
        let info = self.info();
        let dns = alert.dns.as_ref();
        let entry = alert.indicators.first();
        let host_ip = alert.host.parse::<IpAddr>().ok();
        Ok(match name {
            "id_short" => plain(alert.id.to_string().chars().take(8)),
            "uuid" => plain(uuid(alert).chars()),
            "date" => plain(alert.time.to_string().chars().take(10)),
            "level" => plain(level(alert.severity).chars()),
            "tags" => plain(tags(alert).chars()),
            "title" => text(&self.title()),
            "reason" => text(&alert.reason),
            "false_positives" => text(false_positives(alert.class)),
            "from" => plain(seconds(self.window(true)).chars()),
            "until" => plain(seconds(self.window(false)).chars()),
            "from_epoch" => plain(epoch(self.window(true)).chars()),
            "until_epoch" => plain(epoch(self.window(false)).chars()),
            "first" => plain(shown(evidence.first_seen).chars()),
            "last" => plain(shown(evidence.last_seen).chars()),
            "period" => {
                (evidence.period_secs > 0.0).then(|| human::interval(evidence.period_secs)).map(Value::Plain)
            }
            "callbacks" => plain(human::count(evidence.callbacks.into()).chars()),
            "refused" => counted(evidence.refused),
            "unanswered" => counted(evidence.unanswered),
            "sent" => some_bytes(evidence.bytes_out, evidence.bytes_in),
            "received" => some_bytes(evidence.bytes_in, evidence.bytes_out),

            "windows" => flag(self.system == System::Windows),
            "not_windows" => flag(self.system != System::Windows),
            "linux" => flag(self.system == System::Linux),
            "endpoint" => flag(self.system != System::Unknown && self.image_name().is_some()),
            "no_endpoint" => flag(self.system == System::Unknown || self.image_name().is_none()),
            "product" => match self.system {
                System::Windows => plain("windows".chars()),
                System::Linux => plain("linux".chars()),
                System::Unknown => None,
            },
            "host" => text(&alert.host),
            "host_name" => text(&alert.host).filter(|_| host_ip.is_none()),
            "host_ip" => host_ip.and_then(|ip| text(&ip.to_string())),

            "process" => flag(info.is_some()),
            "image_name" => self.image_name().and_then(text),
            "image_end" => self.image_name().filter(|_| self.system != System::Unknown).and_then(|name| {
                text(&format!("{}{name}", if self.system == System::Windows { '\\' } else { '/' }))
            }),
            "path" => self.path().and_then(text),
            "sha256" => info.map(|info| info.sha256.as_str()).filter(|hash| is_sha256(hash)).and_then(text),
            "script" => info.and_then(|info| text(&info.script)),
            "command_line" => info.and_then(|info| text(&info.command_line)),
            "chain" => self.chain().map(Value::List),
            "user" => info.and_then(|info| text(&info.user)),
            "service" => info.and_then(|info| text(&info.service)),
            "container" => info.and_then(|info| text(&info.container)),
            "pid" => alert
                .process
                .as_ref()
                .and_then(|process| process.key)
                .map(|key| Value::Plain(key.pid.to_string())),
            "started" => {
                let key = alert.process.as_ref().and_then(|process| process.key);
                key.filter(|key| key.start != Timestamp::ZERO).map(|key| Value::Plain(shown(key.start)))
            }
            "in_memory" => flag(info.is_some_and(|info| info.location == Some(ImageLocation::Memory))),
            "user_writable" => flag(info.is_some_and(|info| {
                matches!(info.location, Some(ImageLocation::Home | ImageLocation::Temporary))
            })),
            "script_host" => flag(info.is_some_and(|info| info.script_host == Some(true))),
            "bad_parent" => flag(info.is_some_and(|info| {
                use crate::process::ParentClass::{Browser, Office, WebServer};
                matches!(info.parent_class, Some(Browser | Office | WebServer))
            })),

            "destination" => text(&destination.name),
            "name" => text(&destination.name).filter(|_| address(&destination.name).is_none()),
            "names" => some(self.names()),
            "ip" => destination.ip.and_then(|ip| text(&ip.to_string())),
            "ips" => some(self.ips()),
            "no_ips" => flag(self.ips().is_empty()),
            "port" => (destination.port != 0).then(|| Value::Plain(destination.port.to_string())),
            "domain" => self.domain().and_then(text),
            "below" => self.domain().and_then(|domain| text(&format!(".{domain}"))),
            "sni" => text(&destination.sni),
            "connect_host" => text(&destination.connect_host),
            "ja4" => destination.ja4.as_ref().and_then(|ja4| text(ja4.as_str())),
            "network" => {
                destination.autonomous_system.as_ref().and_then(|network| text(&network.organization))
            }
            "hosting" => flag(
                destination.autonomous_system.as_ref().is_some_and(|network| network.hosting)
                    && destination.ip.is_some_and(|ip| !is_internal(ip)),
            ),

            "samples" => dns.and_then(|dns| some(dns.samples.clone())),
            "queries" => dns.and_then(|dns| counted(dns.queries)),
            "name_bytes" => {
                dns.filter(|dns| dns.name_bytes > 0).map(|dns| Value::Plain(human::bytes(dns.name_bytes)))
            }
            "nxdomain" => dns.and_then(|dns| counted(dns.nxdomain)),
            "rebinding" => flag(alert.class == Class::Rebinding),

            "indicator" => entry.and_then(|entry| text(&entry.value)),
            "feed" => entry.and_then(|entry| text(&entry.feed)),
            "label" => entry.and_then(|entry| text(&entry.label)),
            "reference" => entry.and_then(|entry| text(&entry.reference)),
            "retrospective" => flag(entry.is_some_and(|entry| entry.retrospective)),

            "profile" => alert
                .profile
                .as_ref()
                .filter(|profile| !profile.matched)
                .and_then(|profile| text(&profile.name)),
            "mismatch" => alert.profile.as_ref().and_then(|profile| text(&profile.mismatch)),
            _ => return Err(NoSuchName),
        })
    }
}

/// A template names something that there is not.
struct NoSuchName;

impl Values for AlertValues<'_> {
    fn get(&self, name: &str) -> Found {
        match self.value(name) {
            Ok(Some(value)) => Found::Value(value),
            Ok(None) => Found::NotKnown,
            Err(NoSuchName) => Found::NoSuchName,
        }
    }
}

fn flag(holds: bool) -> Option<Value> {
    holds.then_some(Value::Flag)
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| Value::Text(text.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "a value as all others are")]
fn plain(chars: impl Iterator<Item = char>) -> Option<Value> {
    Some(Value::Plain(chars.collect()))
}

fn some(list: Vec<String>) -> Option<Value> {
    (!list.is_empty()).then_some(Value::List(list))
}

fn counted(count: u32) -> Option<Value> {
    (count > 0).then(|| Value::Plain(human::count(count.into())))
}

/// Bytes of one direction, where either was counted.
fn some_bytes(bytes: u64, other: u64) -> Option<Value> {
    (bytes > 0 || other > 0).then(|| Value::Plain(human::bytes(bytes)))
}

/// An address, also in the brackets of a URL.
fn address(name: &str) -> Option<IpAddr> {
    name.parse().ok().or_else(|| literal_address(name))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// To the second, as query languages take it: `2026-03-02T09:30:00Z`.
fn seconds(time: Timestamp) -> String {
    format!("{}Z", time.to_string().chars().take(19).collect::<String>())
}

/// To the second, as people read it.
fn shown(time: Timestamp) -> String {
    time.to_string().chars().take(19).collect::<String>().replace('T', " ")
}

fn epoch(time: Timestamp) -> String {
    time.nanos().div_euclid(NANOS_PER_SEC).to_string()
}

/// The first path that tells: that of the program, of its script, of its parent.
fn system(info: &ProcessInfo) -> System {
    // Folders of macOS, whose tools and logs are neither's.
    const OTHER: [&str; 5] = ["/Applications/", "/Library/", "/System/", "/Users/", "/private/"];
    let of = |path: &str| {
        let windows = path.get(1..3) == Some(":\\") || path.starts_with('\\');
        if path.starts_with('/') {
            let other = OTHER.iter().any(|folder| path.starts_with(folder));
            Some(if other { System::Unknown } else { System::Linux })
        } else {
            (windows || path.to_ascii_lowercase().ends_with(".exe")).then_some(System::Windows)
        }
    };
    [&info.image, &info.script, &info.parent_image]
        .into_iter()
        .find_map(|path| of(path))
        .unwrap_or(System::Unknown)
}

/// Version 5 of RFC 9562: the same finding has the same rule id, everywhere and always.
fn uuid(alert: &Alert) -> String {
    let hash = Sha1::new().chain_update(NAMESPACE).chain_update(alert.id.to_string()).finalize();
    let mut number = hash.iter().take(16).fold(0u128, |number, &byte| (number << 8) | u128::from(byte));
    number = (number & !(0xf << 76)) | (0x5 << 76);
    number = (number & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A severity in Sigma's words.
const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "informational",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// Tags of a Sigma rule. Ids come from a table, but an alert may have been read from elsewhere.
fn tags(alert: &Alert) -> String {
    let mut tags = vec!["attack.command-and-control".to_owned()];
    for technique in &alert.techniques {
        let id = technique.id.to_ascii_lowercase();
        let sound = id.starts_with('t') && id.chars().skip(1).all(|c| c.is_ascii_digit() || c == '.');
        tags.extend(sound.then(|| format!("attack.{id}")));
    }
    tags.join(", ")
}

/// What most often looks like this and is benign.
const fn false_positives(class: Class) -> &'static str {
    match class {
        Class::Beacon | Class::ProcessBeacon | Class::Proxied => {
            "Updaters, monitoring agents, licence checks and jobs of a scheduler"
        }
        Class::Rotation => "Updaters with mirrors, peer-to-peer trackers, clients of a content network",
        Class::InConnection | Class::LongConnection => "Push services, chat, remote support, VPN",
        Class::DeadCallback => "Software whose server was switched off, laptops away from their network",
        Class::DnsCallback | Class::DnsTunnel => {
            "Security products that ask for verdicts by DNS, content networks with names for each request"
        }
        Class::IcmpCallback => "Monitoring that pings",
        Class::Strobe => "Load tests, busy interfaces between servers, broken retry loops",
        Class::Indicator => "Addresses and domains that many share, entries that are out of date",
        Class::GeneratedNames | Class::NxdomainBurst => {
            "Mail filters, search domains appended to every name, probes of browsers, crawlers"
        }
        Class::ResolverBypass => "Privacy software, VPN clients, programs with a resolver of their own",
        Class::FastFlux => "Content networks and pools that spread load by DNS",
        Class::Rebinding => "Split DNS, services whose public name is answered with an address inside",
    }
}
