//! What the feeds say of one sight, and what that weighs on the scale of the score: alert above -0.5, high above 1.0,
//! critical from 2.7. docs/detection.md has the table.

use std::net::IpAddr;

use crate::alert::{IndicatorMatch, ScorePart};
use crate::certificate::{Certificate, hex};
use crate::domain::{is_popular, literal_address, registrable};
use crate::event::Ja4;
use crate::feed::index::{Validity, Value};
use crate::feed::{Hit, Index, Kind};
use crate::score::ALERT_POINTS;
use crate::time::Timestamp;

/// Matches that one alert lists: the heaviest.
const MAX_MATCHES: usize = 8;
/// From this confidence on an entry is taken at its word.
const SURE: u8 = 75;
/// What only adds context weighs so much, far below an alert.
const CONTEXT: f64 = -3.0;
/// A regular series to a destination on a list that is taken at its word gains so much…
const BOOST_CONFIRMED: f64 = 4.0;
/// …to one that is on a list…
const BOOST_LISTED: f64 = 2.0;
/// …and to one of which a feed tells something.
const BOOST_CONTEXT: f64 = 0.5;

/// Something seen, as the index is asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Where it went.
    pub ip: Option<IpAddr>,
    /// What it is called, the name that counts first. Empty ones are passed over.
    pub names: &'a [&'a str],
    /// Where its name leads, as an answer told: nothing went there.
    pub answers: &'a [IpAddr],
    /// Client TLS fingerprint.
    pub ja4: Option<Ja4>,
    /// Certificate of the server.
    pub certificate: Certificate,
    /// First sight of it…
    pub since: Timestamp,
    /// …and latest.
    pub until: Timestamp,
}

impl Sight<'_> {
    /// Of a certificate, whoever showed it.
    #[must_use]
    pub const fn of_certificate(certificate: Certificate, since: Timestamp, until: Timestamp) -> Self {
        Self { ip: None, names: &[], answers: &[], ja4: None, certificate, since, until }
    }
}

/// An entry that it matches.
#[derive(Clone, Debug)]
pub struct Match {
    /// What kind of entry.
    pub kind: Kind,
    /// What it weighs by itself.
    pub points: f64,
    /// The entry can be taken at its word: sure, valid, and for this destination alone.
    pub confirmed: bool,
    /// What the points are made of.
    pub parts: Vec<ScorePart>,
    /// As alerts show it.
    pub shown: IndicatorMatch,
}

impl Match {
    /// Whether it says more than something on the side.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.points > ALERT_POINTS
    }

    /// What it does for a regular series.
    #[must_use]
    pub fn boost(&self) -> f64 {
        match (self.confirmed, self.speaks()) {
            (true, _) => BOOST_CONFIRMED,
            (_, true) => BOOST_LISTED,
            _ => BOOST_CONTEXT,
        }
    }

    /// The entry in words: what it names, the feed, what the feed calls it, how sure it is.
    #[must_use]
    pub fn in_words(&self) -> String {
        let IndicatorMatch { value, feed, label, confidence, .. } = &self.shown;
        let what = match self.kind {
            Kind::Ip => "the address",
            Kind::Network | Kind::Asn => "the network",
            Kind::Domain => "the domain",
            Kind::UrlHost => "the host of a listed URL",
            Kind::Ja4 => "the TLS fingerprint",
            Kind::CertificateSha1 | Kind::CertificateSha256 => "the certificate",
        };
        let sure = confidence.map(|confidence| format!("confidence {confidence}"));
        let notes: Vec<_> =
            [Some(label.clone()).filter(|label| !label.is_empty()), sure].into_iter().flatten().collect();
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        format!("{what} {value} is on the feed `{feed}`{notes}")
    }
}

/// All that the feeds say of a sight, heaviest first.
#[must_use]
pub fn matches(index: &Index, sight: &Sight<'_>, retrospective: bool) -> Vec<Match> {
    let mut all = Vec::new();
    if index.is_empty() {
        return all;
    }
    let mut take = |hit: Hit<'_>, matched: &dyn std::fmt::Display, answer| {
        all.push(weigh(&hit, matched, sight, answer, retrospective));
    };
    if let Some(ip) = sight.ip {
        index.address(ip, &mut |hit| take(hit, &ip, false));
    }
    for (at, name) in sight.names.iter().enumerate() {
        // One name mostly comes several times: as SNI, as what was resolved, as Host.
        if name.is_empty() || sight.names.get(..at).is_some_and(|before| before.contains(name)) {
            continue;
        }
        let name = host_of(name);
        match literal_address(name) {
            Some(ip) if sight.ip != Some(ip) => index.address(ip, &mut |hit| take(hit, &ip, false)),
            Some(_) => {}
            None => index.name(name, &mut |hit| take(hit, &name, false)),
        }
    }
    for ip in sight.answers {
        index.address(*ip, &mut |hit| take(hit, ip, true));
    }
    if let Some(ja4) = sight.ja4 {
        index.ja4(ja4, &mut |hit| take(hit, &ja4.as_str(), false));
    }
    for digest in sight.certificate.digests() {
        index.certificate(digest, &mut |hit| take(hit, &hex(digest), false));
    }
    in_order(&mut all);
    all
}

/// Heaviest first, each once, the first few.
pub(super) fn in_order(all: &mut Vec<Match>) {
    all.sort_by(|a, b| {
        b.points.total_cmp(&a.points).then_with(|| a.kind.cmp(&b.kind)).then_with(|| {
            let key = |shown: &IndicatorMatch| {
                (shown.value.clone(), shown.feed.clone(), shown.label.clone(), shown.matched.clone())
            };
            key(&a.shown).cmp(&key(&b.shown))
        })
    });
    let mut known = std::collections::BTreeSet::new();
    all.retain(|one| {
        let shown = &one.shown;
        known.insert((one.kind, shown.value.clone(), shown.feed.clone(), shown.label.clone()))
    });
    all.truncate(MAX_MATCHES);
}

/// A name as clients claim it, without a port.
fn host_of(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    }
}

fn weigh(
    hit: &Hit<'_>,
    matched: &dyn std::fmt::Display,
    sight: &Sight<'_>,
    answer: bool,
    retrospective: bool,
) -> Match {
    let note = hit.note;
    let validity = note.validity(sight.since, sight.until);
    let sureness = note.sureness();
    let shared = is_shared(hit, sight);
    let mut this = Match {
        kind: hit.kind,
        points: 0.0,
        confirmed: matches!(
            hit.kind,
            Kind::Ip | Kind::Domain | Kind::CertificateSha1 | Kind::CertificateSha256
        ) && validity == Validity::Current
            && sureness >= SURE
            && !shared
            && !answer,
        parts: Vec::new(),
        shown: IndicatorMatch {
            kind: hit.kind.as_str().into(),
            value: hit.value.to_string(),
            matched: matched.to_string(),
            feed: note.feed().to_owned(),
            label: note.label().to_owned(),
            confidence: note.confidence(),
            group: note.group().to_owned(),
            software: note.software().to_owned(),
            reference: note.reference().to_owned(),
            valid_from: note.valid_from(),
            valid_until: note.valid_until(),
            retrospective,
        },
    };
    let base = if validity == Validity::Outside { CONTEXT } else { base(hit) };
    let mut parts = Vec::new();
    let mut part = |name: &'static str, points: f64, detail: String| {
        if points != 0.0 {
            parts.push(ScorePart { name: name.into(), points, detail });
        }
    };
    part("indicator", base, this.in_words());
    let doubt = match sureness {
        SURE.. => 0.0,
        50.. => -1.5,
        25.. => -3.0,
        _ => -4.5,
    };
    part("confidence", doubt, format!("the feed is sure of it by {sureness} of 100"));
    if shared {
        part("shared", -2.5, "many others are served from there, too".to_owned());
    }
    if answer {
        part("answer_only", -2.0, "a name leads there, but nothing went there by that".to_owned());
    }
    if validity == Validity::Early {
        part("before_listing", -1.0, "it was seen before the entry began to hold".to_owned());
    }
    this.points = parts.iter().map(|part| part.points).sum();
    this.parts = parts;
    this
}

/// What an entry of a kind weighs, if it is sure and valid.
fn base(hit: &Hit<'_>) -> f64 {
    match (hit.kind, hit.value) {
        (Kind::Domain | Kind::CertificateSha1 | Kind::CertificateSha256, _) => 3.5,
        (Kind::Ip, _) => 3.0,
        (Kind::Network, Value::Network(address, prefix)) => match (address, prefix) {
            (IpAddr::V4(_), 24..) | (IpAddr::V6(_), 48..) => 2.0,
            (IpAddr::V4(_), 16..) | (IpAddr::V6(_), 32..) => 1.0,
            // A provider's whole block: most of what lives there is harmless.
            _ => CONTEXT,
        },
        // What a URL serves is bad; who else lives on its host is not told.
        (Kind::UrlHost, _) => 0.75,
        // Many harmless clients share a TLS library's fingerprint.
        (Kind::Ja4, _) => 0.5,
        (Kind::Network | Kind::Asn, _) => CONTEXT,
    }
}

/// Whether others than the one meant are served from there: a hosting company's own name, or the address of something that
/// many use.
fn is_shared(hit: &Hit<'_>, sight: &Sight<'_>) -> bool {
    match hit.value {
        // Below a hosting company's suffix (github.io) a customer's name is his own.
        Value::Name(name, _) => psl::domain_str(name).is_none_or(is_popular),
        Value::Ip(_) | Value::Network(..) => {
            let name = sight.names.iter().find(|name| !name.is_empty());
            name.is_some_and(|name| is_popular(registrable(host_of(name))))
        }
        Value::Asn(_) | Value::Ja4(_) | Value::Digest(_) => false,
    }
}

/// What the feeds say of a network by its number: context, whatever they say.
pub(super) fn of_network(
    index: &Index,
    network: &crate::alert::AutonomousSystem,
    sight: &Sight<'_>,
) -> Vec<Match> {
    let mut all = Vec::new();
    let matched = format!("AS{} {}", network.number, network.organization);
    index.asn(network.number, &mut |hit| all.push(weigh(&hit, &matched.trim_end(), sight, false, false)));
    all
}
