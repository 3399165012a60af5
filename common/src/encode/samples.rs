//! Made-up alerts that the encoders' tests and the golden tables of the agent share.
//!
//! The agent includes this file in its own tests; whoever includes it has `model` name this crate beside it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::model::alert::{
    Alert, AutonomousSystem, Change, Class, Destination, DnsEvidence, Evidence, FindingId, HISTOGRAM_BINS,
    Histogram, IndicatorMatch, Level, Process, ProfileNote, ScorePart, Severity, Suppressed, Technique,
};
use super::model::certificate::Certificate;
use super::model::event::{AppProtocol, Ja4};
use super::model::net::Transport;
use super::model::process::{
    Attribution, ImageLocation, Method, ParentClass, ProcessInfo, ProcessKey, Quality,
};
use super::model::time::Timestamp;

const WEB: Technique = Technique {
    id: Cow::Borrowed("T1071.001"),
    name: Cow::Borrowed("Application Layer Protocol: Web Protocols"),
};
const ENCRYPTED: Technique =
    Technique { id: Cow::Borrowed("T1573"), name: Cow::Borrowed("Encrypted Channel") };
const DNS: Technique =
    Technique { id: Cow::Borrowed("T1071.004"), name: Cow::Borrowed("Application Layer Protocol: DNS") };
const FALLBACK: Technique =
    Technique { id: Cow::Borrowed("T1008"), name: Cow::Borrowed("Fallback Channels") };
const ODD_PORT: Technique =
    Technique { id: Cow::Borrowed("T1571"), name: Cow::Borrowed("Non-Standard Port") };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn histogram(low_secs: f64, high_secs: f64, filled: &[(usize, u16)]) -> Histogram {
    let mut counts = [0; HISTOGRAM_BINS];
    for &(bin, count) in filled {
        counts[bin] = count;
    }
    Histogram { low_secs, high_secs, counts }
}

fn part(name: &'static str, points: f64, detail: &str) -> ScorePart {
    ScorePart { name: name.into(), points, detail: detail.to_owned() }
}

/// An alert with nothing in it that a source may leave out.
pub(crate) fn bare() -> Alert {
    Alert {
        id: FindingId(0xb),
        revision: 1,
        change: Change::Final,
        class: Class::Beacon,
        host: String::new(),
        time: at("2026-03-02T09:00:00Z"),
        detected: None,
        detected_after_callbacks: 0,
        severity: Severity::Info,
        score: 0.005_199,
        points: -6.1875,
        parts: Vec::new(),
        missing: Vec::new(),
        reason: String::new(),
        process: None,
        attribution: Attribution::NONE,
        suppressed_by: None,
        destination: Destination {
            name: "198.51.100.9".to_owned(),
            ip: ip("198.51.100.9"),
            transport: Transport::Icmp,
            ..Destination::default()
        },
        evidence: Evidence {
            level: Level::Connection,
            bans: 0.0,
            test: "".into(),
            shape: "".into(),
            matched: 0,
            of: 0,
            period_secs: 0.0,
            interval_median_secs: 0.0,
            jitter_mad_ratio: 0.0,
            callbacks: 3,
            missed: 0,
            gaps: 0,
            gap_secs: 0,
            first_seen: at("2026-03-02T08:00:00Z"),
            last_seen: at("2026-03-02T08:30:00Z"),
            histogram: histogram(0.0, 0.0, &[]),
            recent: Vec::new(),
            bytes_out_median: None,
            bytes_in_median: None,
            bytes_out: 0,
            bytes_in: 0,
            refused: 0,
            unanswered: 0,
            recent_sizes: Vec::new(),
        },
        techniques: Vec::new(),
        dns: None,
        indicators: Vec::new(),
        profile: None,
    }
}

/// A jittered TLS implant in a user's home: the sample of the reference.
pub(crate) fn implant() -> Alert {
    let recent = [
        "2026-03-02T11:36:02.417Z",
        "2026-03-02T11:37:07.902Z",
        "2026-03-02T11:38:01.113Z",
        "2026-03-02T11:39:05.660Z",
        "2026-03-02T11:40:02.038Z",
    ];
    Alert {
        id: FindingId(0x6f1c_0b0e_9d27_4c58_a3e4_7b12_58c9_d06f),
        revision: 2,
        change: Change::Updated,
        class: Class::Beacon,
        host: "web-07".to_owned(),
        time: at("2026-03-02T11:40:02.038Z"),
        detected: Some(at("2026-03-02T09:42:11.250Z")),
        detected_after_callbacks: 13,
        severity: Severity::High,
        score: 0.9378959,
        points: 2.4375,
        parts: vec![
            part("regularity", -3.0, "8.0 bans of evidence that the callbacks keep a rhythm"),
            part("location", 2.5, "the program lies in a user's home"),
            part("unsigned", 1.25, "the program is neither signed nor owned by a package"),
            part("new_destination", 1.0, "telemetry-edge.example was not known on this host before"),
            part("unpopular", 0.75, "telemetry-edge.example is not among the popular domains"),
            part("expected", -0.0625, "what the missing facts add on average"),
        ],
        missing: vec!["program_history".into()],
        reason:
            "updater, an unsigned program in a user's home, called cdn.telemetry-edge.example:443 every 60 s \
                 (jitter 6 %) for 2 h 10 min, a destination that this host did not know before."
                .to_owned(),
        process: Some(Process {
            key: Some(ProcessKey { pid: 48_213, start: at("2026-03-02T09:29:58.004Z") }),
            info: ProcessInfo {
                image: "/home/ci/.cache/.font/updater".to_owned(),
                command_line: "/home/ci/.cache/.font/updater --quiet".to_owned(),
                sha256: "9f2b6c1d40a8e7f35b1c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e5f60718".to_owned(),
                parent_image: "/usr/sbin/cron".to_owned(),
                user: "ci".to_owned(),
                signed: Some(false),
                location: Some(ImageLocation::Home),
                parent_class: Some(ParentClass::Scheduler),
                script_host: Some(false),
                browser: Some(false),
                ..ProcessInfo::default()
            },
        }),
        attribution: Attribution::NONE,
        suppressed_by: None,
        destination: Destination {
            name: "cdn.telemetry-edge.example".to_owned(),
            registrable_domain: "telemetry-edge.example".to_owned(),
            fqdn: "cdn.telemetry-edge.example".to_owned(),
            sni: "cdn.telemetry-edge.example".to_owned(),
            ip: ip("203.0.113.24"),
            port: 443,
            protocol: AppProtocol::Tls,
            ja4: Ja4::parse("t13d190900_9dc949149365_97f8aa674fd9"),
            ..Destination::default()
        },
        evidence: Evidence {
            level: Level::Connection,
            bans: 37.218_4,
            test: "w3".into(),
            shape: "one interval with small jitter".into(),
            matched: 61,
            of: 64,
            period_secs: 60.0184,
            interval_median_secs: 60.0212,
            jitter_mad_ratio: 0.061_32,
            callbacks: 131,
            missed: 1,
            gaps: 0,
            gap_secs: 0,
            first_seen: at("2026-03-02T09:30:00.120Z"),
            last_seen: at("2026-03-02T11:40:02.038Z"),
            histogram: histogram(
                50.0,
                125.0,
                &[(0, 2), (1, 5), (2, 8), (3, 14), (4, 17), (5, 11), (6, 4), (7, 2), (23, 1)],
            ),
            recent: recent.into_iter().map(at).collect(),
            bytes_out_median: Some(517.0),
            bytes_in_median: Some(3218.5),
            bytes_out: 71_444,
            bytes_in: 452_809,
            refused: 0,
            unanswered: 1,
            recent_sizes: Vec::new(),
        },
        techniques: vec![WEB, ENCRYPTED],
        dns: None,
        indicators: Vec::new(),
        profile: None,
    }
}

/// PowerShell below an office program, taking turns over several hosts with an hour between calls.
pub(crate) fn rotation() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x02);
    alert.host = "FIN-LAPTOP-3".to_owned();
    alert.severity = Severity::Critical;
    alert.score = 0.981_3;
    alert.techniques = vec![WEB, FALLBACK];
    alert.missing = Vec::new();
    alert.reason =
        "powershell.exe, started by WINWORD.EXE, called 5 destinations in turn every 31 min (jitter 21 %) \
                    for 3 d 4 h: api.weathergrid-sync.example and 4 others that share its TLS fingerprint."
            .to_owned();
    alert.process = Some(Process {
        key: Some(ProcessKey { pid: 7_316, start: at("2026-03-01T08:02:44Z") }),
        info: ProcessInfo {
            image: r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe".to_owned(),
            command_line: "powershell.exe -nop -w hidden -enc SQBFAFgA".to_owned(),
            script: r"C:\Users\alice\AppData\Roaming\sync.ps1".to_owned(),
            parent_image: r"C:\Program Files\Microsoft Office\root\Office16\WINWORD.EXE".to_owned(),
            user: r"CORP\alice".to_owned(),
            signed: Some(true),
            location: Some(ImageLocation::System),
            parent_class: Some(ParentClass::Office),
            script_host: Some(true),
            browser: Some(false),
            age_days: Some(411.25),
            ..ProcessInfo::default()
        },
    });
    alert.destination = Destination {
        name: "api.weathergrid-sync.example".to_owned(),
        registrable_domain: "weathergrid-sync.example".to_owned(),
        sni: "api.weathergrid-sync.example".to_owned(),
        ip: ip("203.0.113.77"),
        port: 443,
        protocol: AppProtocol::Tls,
        ja4: Ja4::parse("t12d210700_76e208dd3e22_2dae41c691ec"),
        group: vec![
            "api.weathergrid-sync.example".to_owned(),
            "cdn7.bluefern-assets.example".to_owned(),
            "img.northlake-static.example".to_owned(),
            "status.harborview-metrics.example".to_owned(),
            "www.oldmill-bakery.example".to_owned(),
        ],
        ..Destination::default()
    };
    alert.class = Class::Rotation;
    alert.profile = Some(ProfileNote {
        name: "powershell-update".to_owned(),
        class: "updater".to_owned(),
        matched: false,
        mismatch: "the destination is not the vendor's".to_owned(),
        excused: false,
    });
    alert.destination.autonomous_system =
        Some(AutonomousSystem { number: 64_500, organization: "Example Hosting".to_owned(), hosting: true });
    alert.evidence.level = Level::Group;
    alert.evidence.interval_median_secs = 1861.4;
    alert.evidence.jitter_mad_ratio = 0.212;
    alert.evidence.callbacks = 147;
    alert.evidence.first_seen = at("2026-02-27T07:31:00Z");
    alert.evidence.histogram = histogram(
        900.0,
        3600.0,
        &[(6, 3), (7, 6), (8, 7), (9, 9), (10, 9), (11, 8), (12, 9), (13, 7), (14, 4), (15, 1)],
    );
    alert
}

/// Exchanges inside one kept connection, seen in a capture: no process.
pub(crate) fn in_connection() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x03);
    alert.host = "192.168.56.20".to_owned();
    alert.severity = Severity::Medium;
    alert.score = 0.612_7;
    alert.techniques = vec![ODD_PORT];
    alert.missing = vec!["process".into(), "program_history".into(), "destination_history".into()];
    alert.reason = "An unknown program exchanged small messages with 198.51.100.61:8443 every 5.1 s (jitter 0.4 %) \
                    inside one connection that it kept open for 1 h 3 min; no name was ever resolved to that address."
        .to_owned();
    alert.process = None;
    alert.destination = Destination {
        name: "198.51.100.61".to_owned(),
        ip: ip("198.51.100.61"),
        port: 8443,
        protocol: AppProtocol::Http,
        http_host: "updates.example:8443".to_owned(),
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64)".to_owned(),
        ..Destination::default()
    };
    alert.class = Class::InConnection;
    alert.evidence.level = Level::Exchange;
    alert.evidence.interval_median_secs = 5.0614;
    alert.evidence.jitter_mad_ratio = 0.0041;
    alert.evidence.callbacks = 744;
    alert.evidence.first_seen = at("2026-03-02T10:37:16Z");
    alert.evidence.histogram = histogram(4.0, 16.0, &[(4, 61), (5, 2), (12, 1)]);
    alert
}

/// DNS callbacks below one domain.
pub(crate) fn dns() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x04);
    alert.severity = Severity::High;
    alert.score = 0.861;
    alert.techniques = vec![DNS];
    alert.missing = Vec::new();
    alert.reason =
        "nslookup.exe asked for a new name below kq3z.example every 10 s (jitter 9 %) for 34 min.".to_owned();
    alert.process = Some(Process {
        key: Some(ProcessKey { pid: 912, start: Timestamp::ZERO }),
        info: ProcessInfo {
            image: "nslookup.exe".to_owned(),
            container: "4f1d2c9a".to_owned(),
            pod: "0a4c1c0e-5f0b-4c57-9d53-0d0c6d9d6b11".to_owned(),
            service: "lookup.service".to_owned(),
            package: "bind9-dnsutils 9.20".to_owned(),
            ancestors: vec!["/usr/bin/bash".to_owned(), "/usr/sbin/sshd".to_owned()],
            ..ProcessInfo::default()
        },
    });
    alert.destination = Destination {
        name: "kq3z.example".to_owned(),
        registrable_domain: "kq3z.example".to_owned(),
        ip: ip("192.0.2.53"),
        port: 53,
        transport: Transport::Udp,
        ..Destination::default()
    };
    alert.attribution = Attribution { method: Method::Ebpf, quality: Quality::KernelExact };
    alert.suppressed_by = Some(Suppressed { entry: 3, reason: "our own resolver test".to_owned() });
    (alert.evidence.gaps, alert.evidence.gap_secs) = (2, 61);
    alert.class = Class::DnsCallback;
    alert.evidence.level = Level::Dns;
    alert.evidence.interval_median_secs = 10.02;
    alert.evidence.jitter_mad_ratio = 0.093;
    alert.evidence.callbacks = 203;
    alert.evidence.first_seen = at("2026-03-02T11:06:00Z");
    alert.evidence.histogram =
        histogram(5.0, 20.0, &[(9, 5), (10, 12), (11, 20), (12, 17), (13, 8), (14, 2)]);
    alert
}

/// Data carried in names.
pub(crate) fn tunnel() -> Alert {
    let mut alert = dns();
    alert.id = FindingId(0x07);
    alert.class = Class::DnsTunnel;
    alert.points = 1.5;
    alert.score = 0.864;
    alert.parts =
        vec![part("volume", 9.5, "412 distinct names below kq3z.example in 10 min, 21 KiB of them")];
    alert.reason = "nslookup.exe carries data in names below kq3z.example.".to_owned();
    alert.suppressed_by = None;
    alert.evidence = Evidence {
        callbacks: 420,
        first_seen: at("2026-03-02T11:06:00Z"),
        last_seen: at("2026-03-02T11:16:00Z"),
        ..Evidence::default()
    };
    alert.dns = Some(DnsEvidence {
        queries: 420,
        names: 412,
        nxdomain: 3,
        name_bytes: 21_500,
        entropy_bits: Some(3.81),
        generated_score: Some(9.25),
        types: vec![("TXT".to_owned(), 400), ("A".to_owned(), 20)],
        addresses: 1,
        ttl_min_secs: Some(5),
        resolver: Some(([192, 0, 2, 53], 53).into()),
        samples: vec!["a1b2c3d4e5f6.kq3z.example".to_owned()],
    });
    alert
}

/// A destination that is on a feed.
pub(crate) fn on_feed() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x08);
    alert.class = Class::Indicator;
    alert.severity = Severity::Critical;
    alert.points = 4.0;
    alert.score = 0.984;
    alert.parts = vec![part("indicator", 4.0, "telemetry-edge.example is on the feed `house list`")];
    alert.reason = "updater called cdn.telemetry-edge.example, which the feed `house list` names.".to_owned();
    alert.evidence = Evidence {
        callbacks: 1,
        first_seen: at("2026-03-02T11:06:00Z"),
        last_seen: at("2026-03-02T11:06:00Z"),
        ..Evidence::default()
    };
    alert.indicators = vec![IndicatorMatch {
        kind: "domain".into(),
        value: "telemetry-edge.example".to_owned(),
        matched: "cdn.telemetry-edge.example".to_owned(),
        feed: "house list".to_owned(),
        label: "ExampleRAT".to_owned(),
        confidence: Some(90),
        group: "G0016".to_owned(),
        software: "S0154".to_owned(),
        reference: "https://feeds.example/1".to_owned(),
        valid_from: Some(at("2026-03-01T00:00:00Z")),
        valid_until: Some(at("2026-06-01T00:00:00Z")),
        retrospective: true,
    }];
    alert.destination.certificate = Certificate { sha1: Some([0x5a; 20]), sha256: Some([0xc3; 32]) };
    alert
}

/// Names made to break out of whatever prints them.
pub(crate) fn hostile() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x05);
    alert.severity = Severity::Medium;
    alert.score = 0.533;
    alert.host = "=cmd|' /C calc'!A0".to_owned();
    alert.reason =
        "rep\u{202e}cod.exe called evil\u{1b}[2J.example:80 every 2 min (jitter 0 %) for 45 min.".to_owned();
    alert.process = Some(Process {
        key: None,
        info: ProcessInfo {
            image: "/tmp/rep\u{202e}cod.exe".to_owned(),
            command_line: "+1+1\t\u{2028}\u{9b}31m\u{7f}".to_owned(),
            ..ProcessInfo::default()
        },
    });
    alert.destination = Destination {
        name: "evil\u{1b}[2J.example".to_owned(),
        connect_host: "evil\u{1b}[2J.example".to_owned(),
        http_host: "@SUM(A1)".to_owned(),
        user_agent: "-2+3\r\n\u{200b}<script>".to_owned(),
        ip: ip("203.0.113.66"),
        port: 80,
        protocol: AppProtocol::Http,
        ..Destination::default()
    };
    alert.evidence.interval_median_secs = 120.0;
    alert.evidence.jitter_mad_ratio = 0.000_2;
    alert.evidence.callbacks = 23;
    alert.evidence.first_seen = at("2026-03-02T10:55:00Z");
    alert.evidence.histogram = histogram(60.0, 240.0, &[(12, 22)]);
    alert
}

/// Long and wide names, IPv6, and a program below the alert.
pub(crate) fn long_names() -> Alert {
    let mut alert = implant();
    alert.id = FindingId(0x06);
    alert.severity = Severity::Low;
    alert.score = 0.094_6;
    alert.detected = None;
    alert.detected_after_callbacks = 0;
    alert.techniques = Vec::new();
    alert.reason = "com.microsoft.teams2.notification-centre-helper called \
                    d3f8a1c0b7e94f6d.eu-central-1.elb.設備監視.internal-monitoring.example:8443 every 4 h (jitter 1.2 %) \
                    for 12 d 4 h, as it has for 40 days."
        .to_owned();
    alert.process = Some(Process {
        key: None,
        info: ProcessInfo {
            image: "/Applications/Contoso Überwachung.app/Contents/MacOS/com.microsoft.teams2.notification-centre-helper"
                .to_owned(),
            signed: Some(true),
            age_days: Some(40.0),
            ..ProcessInfo::default()
        },
    });
    alert.destination = Destination {
        name: "d3f8a1c0b7e94f6d.eu-central-1.elb.設備監視.internal-monitoring.example".to_owned(),
        registrable_domain: "internal-monitoring.example".to_owned(),
        ip: ip("2001:db8:85a3::8a2e:370:7334"),
        port: 8443,
        transport: Transport::Udp,
        protocol: AppProtocol::Quic,
        ..Destination::default()
    };
    alert.evidence.interval_median_secs = 14_401.0;
    alert.evidence.jitter_mad_ratio = 0.012;
    alert.evidence.callbacks = 74;
    alert.evidence.first_seen = at("2026-02-18T07:40:00Z");
    alert.evidence.histogram = histogram(7200.0, 28800.0, &[(11, 8), (12, 51), (13, 5), (23, 2)]);
    alert
}

/// Every kind of alert, highest score first.
pub(crate) fn all() -> Vec<Alert> {
    vec![on_feed(), rotation(), implant(), tunnel(), dns(), in_connection(), hostile(), long_names(), bare()]
}
