//! What only the host knows of a series: the facts that make regularity suspicious or harmless (scorer specification 2.5).

use crate::alert::{Level, Severity};
use crate::classify::is_accessory;
use crate::detect::beacon::label::Label;
use crate::detect::beacon::series::{MAX_SIZES, Series};
use crate::detect::beacon::stats;
use crate::domain::is_popular;
use crate::event::{AppProtocol, HostFacts};
use crate::masquerade;
use crate::net::{Transport, is_internal};
use crate::program::{Program, all};
use crate::score::{Fact, Facts};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A destination known for less than this is new…
const NEW_DESTINATION_DAYS: f64 = 2.0;
/// …as long as the observation itself is younger than this.
const LEARNING: i64 = 7 * 86_400 * NANOS_PER_SEC;
/// A program known for this long is established.
const ESTABLISHED_DAYS: f64 = 7.0;
/// Median sizes below this, both ways, are small.
const SMALL_BYTES: f64 = 4096.0;
/// Share of replies within one narrow window that makes them constant.
const CONSTANT_SHARE: f64 = 0.6;

/// The facts of one series.
#[must_use]
pub fn facts(
    series: &Series,
    label: &Label,
    program: Option<&Program>,
    registrable: &str,
    known_days: Option<f64>,
    host: &HostFacts,
    now: Timestamp,
) -> Facts {
    let dns = label.level == Level::Dns;
    let nameless = label.name.is_empty() && !dns;
    // A bare public address is odd. Inside a site it is how appliances are called, so it counts for nothing where the
    // program can be judged instead, and is unknown where it cannot.
    let bare = match label.ip {
        Some(ip) if nameless && is_internal(ip) => {
            let known = program.is_some() || INFRASTRUCTURE_PORTS.binary_search(&label.port).is_ok();
            known.then_some(false)
        }
        Some(_) => Some(nameless),
        None => Some(false),
    };
    let unpopular = !nameless && !is_popular(registrable);
    let learning = now.since(host.observed_since) < LEARNING;
    let new = known_days.map(|days| days < NEW_DESTINATION_DAYS && learning);
    let signed = program.and_then(|program| program.info.signed);
    let old = program.and_then(|program| program.info.age_days).map(|days| days >= ESTABLISHED_DAYS);
    let odd = Some(unpopular || bare == Some(true));

    let mut facts = Facts::default();
    facts.set(Fact::BadLocation, program.and_then(Program::in_bad_location));
    facts.set(Fact::SystemToNew, all([program.and_then(Program::is_system), new, odd]));
    facts.set(Fact::BareAddress, bare);
    let accessory = program.is_some_and(|program| is_accessory(&program.info.image));
    let script_host = program.and_then(|program| program.info.script_host);
    facts.set(Fact::ScriptHost, script_host.map(|host| host && !accessory));
    facts.set(Fact::Accessory, script_host.map(|host| host && accessory));
    facts.set(Fact::Masquerade, program.map(|program| masquerade::of(&program.info.image).is_some()));
    facts.set(Fact::BadParent, program.and_then(Program::has_bad_parent));
    facts.set(Fact::Unsigned, signed.map(|signed| !signed));
    facts.set(Fact::Small, if dns { Some(false) } else { is_small(series) });
    facts.set(Fact::NameChannel, if dns && program.is_none() { None } else { Some(false) });
    facts.set(Fact::NewDestination, new);
    facts.set(Fact::Unpopular, Some(unpopular));
    facts.set(Fact::ConstantReply, if dns { Some(false) } else { has_constant_reply(series) });
    facts.set(Fact::Established, all([old, new.map(|new| !new), signed]));
    facts
}

fn is_small(series: &Series) -> Option<bool> {
    let medians = series.size_medians()?;
    Some(medians.bytes_out < SMALL_BYTES && medians.bytes_in < SMALL_BYTES)
}

fn has_constant_reply(series: &Series) -> Option<bool> {
    let mut buffer = [0; MAX_SIZES];
    let sizes = series.sizes_in(&mut buffer);
    (sizes.len() >= stats::MIN_SAMPLE).then(|| stats::size_mode(sizes) >= CONSTANT_SHARE)
}

/// The highest severity that a series may have. Without a process an updater looks like an implant, so it stops at
/// medium, unless the destination itself is odd: a bare public address on a service that nothing common uses.
#[must_use]
pub fn ceiling(label: &Label) -> Severity {
    let bare =
        label.name.is_empty() && label.level != Level::Dns && label.ip.is_some_and(|ip| !is_internal(ip));
    if label.program.is_some() || (bare && !is_common_service(label.transport, label.port, label.protocol)) {
        Severity::Critical
    } else {
        Severity::Medium
    }
}

/// Services that ordinary software uses on a bare address: web, mail, time, remote administration and management,
/// monitoring, VPN, voice. IANA's registry and the vendors' documents name them.
const COMMON_PORTS: [u16; 60] = [
    20, 21, 22, 23, 25, 37, 43, 53, 80, 88, 110, 111, 123, 135, 139, 143, 161, 162, 179, 389, 443, 445, 465,
    500, 514, 515, 554, 587, 631, 636, 853, 873, 990, 993, 995, 1194, 1433, 1514, 1723, 1883, 3128, 3268,
    3306, 3389, 3478, 4500, 5060, 5061, 5222, 5228, 5432, 5900, 5938, 5985, 6514, 6568, 8080, 8443, 10050,
    10051,
];

fn is_common_service(transport: Transport, port: u16, protocol: AppProtocol) -> bool {
    transport == Transport::Icmp || protocol == AppProtocol::Ssh || COMMON_PORTS.binary_search(&port).is_ok()
}

/// Services of a site's own infrastructure, whose bare internal address says nothing: time, directory, files, remote
/// procedure calls, printers, databases, monitoring, administration, voice, control systems.
const INFRASTRUCTURE_PORTS: [u16; 42] = [
    22, 88, 102, 111, 123, 135, 137, 138, 139, 161, 162, 389, 445, 464, 502, 514, 515, 631, 636, 1433, 1514,
    1521, 1883, 2049, 3268, 3306, 3389, 5060, 5061, 5432, 5900, 5938, 5985, 5986, 6379, 6514, 6568, 9100,
    10050, 10051, 20000, 47808,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_lists_are_sorted_for_their_search() {
        assert!(COMMON_PORTS.is_sorted() && INFRASTRUCTURE_PORTS.is_sorted());
    }
}
