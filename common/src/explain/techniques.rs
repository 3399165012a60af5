//! The MITRE ATT&CK techniques that an alert's evidence supports, each with what supports it.
//!
//! One row a technique: what has to be seen, and why that supports it. Nothing is claimed of what was not seen: neither what
//! an encrypted channel carries nor how the program came here. A row below an alert gets none.
//! Ids and names are those of the Enterprise matrix, version 17; docs/alerts.md shows the same table.

use crate::alert::{Alert, Class, Level, Severity, Technique};
use crate::domain::registrable;
use crate::event::AppProtocol;
use crate::net::{Transport, is_internal};
use crate::process::image_name;

/// A technique, and what supports it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Id.
    pub id: &'static str,
    /// Name, that of a sub-technique behind its technique's.
    pub name: &'static str,
    /// Why the evidence supports it: a clause that a reader sees behind the name.
    pub reason: &'static str,
    /// Whether it does.
    holds: fn(&Alert) -> bool,
}

/// All techniques that Sonde can tell of, by id.
pub const ROWS: [Row; 27] = [
    row("T1008", "Fallback Channels", "one schedule goes over several destinations in turn", |alert| {
        alert.class == Class::Rotation
    }),
    row(
        "T1029",
        "Scheduled Transfer",
        "each callback of the schedule sends much and receives little",
        sends_much,
    ),
    row("T1036", "Masquerading", "the program bears a name that is not its own", |alert| {
        // Which kind, the alert names already where it is known.
        has_part(alert, "masquerade") && !alert.techniques.iter().any(|known| known.id.starts_with("T1036."))
    }),
    row(
        "T1059.001",
        "Command and Scripting Interpreter: PowerShell",
        "PowerShell makes the calls",
        |alert| runs(alert, &["powershell", "pwsh", "powershell_ise"]),
    ),
    row(
        "T1059.003",
        "Command and Scripting Interpreter: Windows Command Shell",
        "the command shell makes the calls",
        |alert| runs(alert, &["cmd"]),
    ),
    row("T1059.004", "Command and Scripting Interpreter: Unix Shell", "a shell makes the calls", |alert| {
        runs(alert, &["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"])
    }),
    row("T1059.006", "Command and Scripting Interpreter: Python", "Python makes the calls", |alert| {
        runs(alert, &["python", "pythonw"])
    }),
    row(
        "T1059.007",
        "Command and Scripting Interpreter: JavaScript",
        "a JavaScript interpreter makes the calls",
        |alert| runs(alert, &["bun", "deno", "node", "nodejs"]),
    ),
    row(
        "T1071.001",
        "Application Layer Protocol: Web Protocols",
        "the client speaks HTTP, TLS or QUIC",
        |alert| {
            matches!(alert.destination.protocol, AppProtocol::Http | AppProtocol::Tls | AppProtocol::Quic)
                && !about_names(alert)
        },
    ),
    row(
        "T1071.004",
        "Application Layer Protocol: DNS",
        "names asked for, or their answers, are the channel",
        |alert| match alert.class {
            Class::DnsCallback | Class::DnsTunnel => true,
            Class::ResolverBypass => alert.destination.port == 53,
            _ => false,
        },
    ),
    row("T1090", "Proxy", "the calls go through a proxy", |alert| !alert.destination.connect_host.is_empty()),
    row(
        "T1090.004",
        "Proxy: Domain Fronting",
        "the client names another domain in TLS than it asks the server for",
        is_fronted,
    ),
    row("T1095", "Non-Application Layer Protocol", "the callbacks are ICMP echoes", |alert| {
        alert.destination.transport == Transport::Icmp
    }),
    row(
        "T1127.001",
        "Trusted Developer Utilities Proxy Execution: MSBuild",
        "MSBuild makes the calls",
        |alert| runs(alert, &["msbuild"]),
    ),
    row("T1197", "BITS Jobs", "bitsadmin makes the calls", |alert| runs(alert, &["bitsadmin"])),
    row("T1218.005", "System Binary Proxy Execution: Mshta", "mshta makes the calls", |alert| {
        runs(alert, &["mshta"])
    }),
    row("T1218.007", "System Binary Proxy Execution: Msiexec", "msiexec makes the calls", |alert| {
        runs(alert, &["msiexec"])
    }),
    row("T1218.010", "System Binary Proxy Execution: Regsvr32", "regsvr32 makes the calls", |alert| {
        runs(alert, &["regsvr32"])
    }),
    row("T1218.011", "System Binary Proxy Execution: Rundll32", "rundll32 makes the calls", |alert| {
        runs(alert, &["rundll32"])
    }),
    row("T1568", "Dynamic Resolution", "many domains are asked for that do not exist", |alert| {
        alert.class == Class::NxdomainBurst
    }),
    row(
        "T1568.001",
        "Dynamic Resolution: Fast Flux DNS",
        "one name leads to ever other addresses",
        |alert| alert.class == Class::FastFlux,
    ),
    row(
        "T1568.002",
        "Dynamic Resolution: Domain Generation Algorithms",
        "the names asked for look generated",
        |alert| alert.class == Class::GeneratedNames,
    ),
    row("T1571", "Non-Standard Port", "the protocol is not at home on this port", on_odd_port),
    row("T1572", "Protocol Tunneling", "data is carried in names, or names inside TLS", |alert| match alert
        .class
    {
        Class::DnsTunnel => true,
        Class::ResolverBypass => alert.destination.port != 53,
        _ => false,
    }),
    row(
        "T1573.002",
        "Encrypted Channel: Asymmetric Cryptography",
        "the client begins with a TLS, QUIC or SSH key exchange",
        |alert| is_encrypted(alert.destination.protocol) && !about_names(alert),
    ),
    row(
        "T1583.001",
        "Acquire Infrastructure: Domains",
        "a feed names the domain as an adversary's",
        |alert| on_feed(alert, &["domain", "url_host"]),
    ),
    row(
        "T1583.004",
        "Acquire Infrastructure: Server",
        "a feed names the server as an adversary's, or it is a bare address in a network that rents servers",
        |alert| on_feed(alert, &["ip", "cidr", "certificate_sha1", "certificate_sha256"]) || is_hosted(alert),
    ),
];

const fn row(id: &'static str, name: &'static str, reason: &'static str, holds: fn(&Alert) -> bool) -> Row {
    Row { id, name, reason, holds }
}

/// The techniques that the evidence supports, by id, with those that the alert names already. None below an alert.
#[must_use]
pub fn of(alert: &Alert) -> Vec<Technique> {
    if alert.severity < Severity::Medium {
        return Vec::new();
    }
    let mut list = alert.techniques.clone();
    list.extend(
        ROWS.iter()
            .filter(|row| (row.holds)(alert))
            .map(|row| Technique { id: row.id.into(), name: row.name.into() }),
    );
    list.sort_unstable();
    list.dedup_by(|a, b| a.id == b.id);
    // A sub-technique says what its technique does, and more.
    let ids: Vec<_> = list.iter().map(|technique| technique.id.clone()).collect();
    let is_said =
        |id: &str| ids.iter().any(|other| other.strip_prefix(id).is_some_and(|rest| rest.starts_with('.')));
    list.retain(|technique| !is_said(&technique.id));
    list
}

/// Why the alert's evidence supports a technique; `None` if another than this table said so.
#[must_use]
pub fn reason(alert: &Alert, id: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.id == id && (row.holds)(alert)).map(|row| row.reason)
}

/// Median sent by a callback from which a schedule moves data rather than asking for work…
const MUCH_BYTES: f64 = 65_536.0;
/// …and how often that is what it receives.
const MUCH_RATIO: f64 = 4.0;

fn sends_much(alert: &Alert) -> bool {
    let evidence = &alert.evidence;
    let (Some(sent), Some(received)) = (evidence.bytes_out_median, evidence.bytes_in_median) else {
        return false;
    };
    alert.class.is_beacon() && sent >= MUCH_BYTES && sent >= MUCH_RATIO * received
}

/// Whether the score counts something.
fn has_part(alert: &Alert, name: &str) -> bool {
    alert.parts.iter().any(|part| part.name == name)
}

/// Whether the program is an interpreter or tool of one of these names.
fn runs(alert: &Alert, names: &[&str]) -> bool {
    let Some(info) = alert.process.as_ref().map(|process| &process.info) else { return false };
    let name = image_name(&info.image).to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    info.script_host == Some(true) && (names.contains(&name) || names.contains(&versionless))
}

/// Whether the finding is about names, so that its destination is a resolver's or none.
const fn about_names(alert: &Alert) -> bool {
    matches!(
        alert.class,
        Class::DnsCallback
            | Class::GeneratedNames
            | Class::NxdomainBurst
            | Class::DnsTunnel
            | Class::FastFlux
            | Class::Rebinding
    ) || matches!(alert.evidence.level, Level::Dns)
}

const fn is_encrypted(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Tls | AppProtocol::Quic | AppProtocol::Ssh)
}

/// Whether what a proxy was asked for, and what the client then claims in TLS, are of different domains.
fn is_fronted(alert: &Alert) -> bool {
    let (asked, claimed) = (&alert.destination.connect_host, &alert.destination.sni);
    !asked.is_empty()
        && !claimed.is_empty()
        && asked.parse::<std::net::IpAddr>().is_err()
        && registrable(asked) != registrable(claimed)
}

fn on_odd_port(alert: &Alert) -> bool {
    let usual: &[u16] = match alert.destination.protocol {
        AppProtocol::Tls | AppProtocol::Quic => {
            &[443, 465, 636, 853, 989, 990, 993, 995, 5061, 5223, 5228, 8443]
        }
        AppProtocol::Http => &[80, 3128, 8000, 8008, 8080, 8888],
        AppProtocol::Ssh => &[22],
        AppProtocol::Unknown => return false,
    };
    !about_names(alert) && alert.destination.port != 0 && !usual.contains(&alert.destination.port)
}

fn on_feed(alert: &Alert, kinds: &[&str]) -> bool {
    alert.indicators.iter().any(|indicator| kinds.contains(&&*indicator.kind))
}

/// Whether a bare public address lies in a network that rents servers to anyone.
fn is_hosted(alert: &Alert) -> bool {
    let destination = &alert.destination;
    destination.registrable_domain.is_empty()
        && destination.ip.is_some_and(|ip| !is_internal(ip))
        && destination.autonomous_system.as_ref().is_some_and(|network| network.hosting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    fn ids(alert: &Alert) -> Vec<String> {
        of(alert).into_iter().map(|technique| technique.id.into_owned()).collect()
    }

    fn without_any(mut alert: Alert) -> Alert {
        alert.techniques.clear();
        alert
    }

    #[test]
    fn the_rows_stand_by_id_and_each_once() {
        assert!(ROWS.is_sorted_by(|a, b| a.id < b.id));
        for row in &ROWS {
            assert!(row.id.starts_with('T') && !row.name.is_empty() && !row.reason.ends_with('.'), "{row:?}");
        }
    }

    #[test]
    fn the_reference_shows_these_rows_and_no_other() {
        let shown: Vec<&str> =
            include_str!("../../../docs/alerts.md").lines().filter(|line| line.starts_with("| T1")).collect();
        let rows: Vec<String> =
            ROWS.iter().map(|row| format!("| {} {} | {} |", row.id, row.name, row.reason)).collect();
        assert_eq!(shown, rows);
    }

    #[test]
    fn what_is_no_alert_gets_no_technique() {
        for mut alert in samples::all() {
            for severity in [Severity::Info, Severity::Low] {
                alert.severity = severity;
                assert_eq!(of(&alert), [], "{:?}", alert.class);
            }
        }
    }

    #[test]
    fn each_sample_gets_what_it_shows_and_no_more() {
        let cases = [
            (samples::implant(), &["T1071.001", "T1573.002"] as &[&str]),
            (samples::rotation(), &["T1008", "T1059.001", "T1071.001", "T1573.002"]),
            (samples::in_connection(), &["T1071.001", "T1571"]),
            (samples::dns(), &["T1071.004"]),
            (samples::tunnel(), &["T1071.004", "T1572"]),
            (samples::on_feed(), &["T1071.001", "T1573.002", "T1583.001"]),
        ];
        for (alert, expected) in cases {
            let alert = without_any(alert);
            assert_eq!(ids(&alert), expected, "{:?}", alert.class);
            for id in expected {
                assert!(reason(&alert, id).is_some(), "{id}");
            }
        }
    }

    #[test]
    fn classes_about_names_and_echoes_have_techniques_of_their_own() {
        let mut alert = without_any(samples::tunnel());
        for (class, expected) in [
            (Class::GeneratedNames, &["T1568.002"] as &[&str]),
            (Class::NxdomainBurst, &["T1568"]),
            (Class::FastFlux, &["T1568.001"]),
            (Class::Rebinding, &[]),
            (Class::ResolverBypass, &["T1071.004"]),
        ] {
            alert.class = class;
            assert_eq!(ids(&alert), expected, "{class:?}");
        }
        alert.destination.port = 443;
        alert.destination.protocol = AppProtocol::Tls;
        assert_eq!(ids(&alert), ["T1071.001", "T1572", "T1573.002"], "names inside TLS");
        let mut echo = samples::bare();
        (echo.severity, echo.class) = (Severity::Medium, Class::IcmpCallback);
        assert_eq!(ids(&echo), ["T1095"]);
    }

    #[test]
    fn a_proxy_is_fronted_only_if_the_names_are_of_different_domains() {
        let mut alert = without_any(samples::implant());
        alert.destination.connect_host = "www.telemetry-edge.example".to_owned();
        assert!(ids(&alert).contains(&"T1090".to_owned()) && !ids(&alert).contains(&"T1090.004".to_owned()));
        alert.destination.connect_host = "front.example".to_owned();
        assert!(ids(&alert).contains(&"T1090.004".to_owned()));
    }

    #[test]
    fn a_schedule_that_only_asks_for_work_transfers_nothing() {
        let mut alert = without_any(samples::implant());
        assert!(!ids(&alert).contains(&"T1029".to_owned()));
        (alert.evidence.bytes_out_median, alert.evidence.bytes_in_median) = (Some(900_000.0), Some(300.0));
        assert!(ids(&alert).contains(&"T1029".to_owned()));
    }

    #[test]
    fn what_a_detector_says_stands_and_is_not_said_twice() {
        let mut alert = samples::on_feed();
        alert.techniques = vec![
            Technique { id: "T1071.001".into(), name: "Application Layer Protocol: Web Protocols".into() },
            Technique { id: "T1105".into(), name: "Ingress Tool Transfer".into() },
        ];
        let ids = ids(&alert);
        assert_eq!(ids.iter().filter(|id| *id == "T1071.001").count(), 1);
        assert!(ids.contains(&"T1105".to_owned()));
        assert_eq!(reason(&alert, "T1105"), None);
    }
}
