//! What a program's names come to: parts of a score, a sentence, a finding.

use super::pattern::{Pattern, Test};
use super::watch::{Burst, Watch};
use crate::alert::{Class, Destination, DnsEvidence, Evidence, ScorePart, Severity, Technique, Word};
use crate::detect::{Finding, Seen};
use crate::domain::registrable;
use crate::event::DnsEvent;
use crate::human;
use crate::process::image_name;
use crate::program::Program;
use crate::score::{self, Fact};
use crate::time::NANOS_PER_SEC;

/// What both classes start from, in points of the scorer specification 2.5. Without a process, 3.2 bans of evidence are an
/// alert, eight names with a mean score of 3.6; of a program that nothing speaks against, 3.6 bans.
const BASE_GENERATED: f64 = -5.0;
/// … without regard to how names look. Twenty names, most of them asked for by themselves, are an alert.
const BASE_BURST: f64 = -2.2;
/// Names, weighed, from which on it is a burst (scorer specification 6).
const BURST_NAMES: f64 = 20.0;
const BURST_POINTS: f64 = 1.75;
/// Each doubling adds a point, and no more than so many.
const MAX_DOUBLINGS: f64 = 1.7;
/// One name of them answered: the program has found its server. It lifts a medium alert to high, and a high one to critical.
const ANSWERED: f64 = 1.75;
/// Most names are hosts of a domain.
const HOSTS: f64 = -1.5;
/// Widely used names are said not to exist, too: the resolver blocks, or there is no network.
const DENIED_GENERATED: f64 = -2.0;
const DENIED_BURST: f64 = -4.0;
const MIN_DENIED: u32 = 2;
/// … if they are a tenth of the names.
const DENIED_PART: u32 = 10;
/// People mistype, and old bookmarks lead nowhere.
const BROWSER: f64 = -1.0;
/// Of the names asked for in a burst, at least four in five fail; more exist; at least two in three exist, as with a mail
/// server that looks up who writes.
const MOST_FAIL: f64 = 0.5;
const MORE_EXIST: f64 = -1.5;
const MOST_EXIST: f64 = -3.0;
/// Evidence from which on the names speak for themselves, without a process, in bans.
const STRONG_BANS: f64 = 6.0;
/// Names of the sentence, and of the evidence.
const NAMED: usize = 3;
const MAX_SAMPLES: usize = 8;
const MAX_GROUP: usize = 6;

/// Points per ban, as for a rhythm.
const POINTS_PER_BAN: f64 = 1.25;

/// What the two classes are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Generated,
    Burst,
}

/// What was told of a class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    severity: Severity,
    distinct: u32,
    answered: bool,
}

/// Parts of a score as they add up.
struct Sum {
    parts: Vec<ScorePart>,
    missing: Vec<Word>,
    points: f64,
}

impl Sum {
    fn add(&mut self, name: &'static str, points: f64, detail: impl Into<String>) {
        self.points += points;
        self.parts.push(ScorePart { name: name.into(), points, detail: detail.into() });
    }

    /// What is known of the program, with the points that it has for a rhythm.
    fn program(&mut self, program: Option<&Program>) {
        let facts = [
            (Fact::BadLocation, program.and_then(Program::in_bad_location)),
            (Fact::ScriptHost, program.and_then(|program| program.info.script_host)),
            (Fact::BadParent, program.and_then(Program::has_bad_parent)),
            (Fact::Unsigned, program.and_then(|program| program.info.signed).map(|signed| !signed)),
        ];
        let mut unknown = 0.0;
        for (fact, holds) in facts {
            let Some(weight) = score::WEIGHTS.iter().find(|weight| weight.fact == fact) else { continue };
            match holds {
                Some(true) => self.add(weight.name, weight.points, weight.detail),
                Some(false) => {}
                None => {
                    unknown += score::neutral_of_counted(fact);
                    if program.is_some() {
                        self.missing.push(weight.missing.into());
                    }
                }
            }
        }
        if program.is_none() {
            self.missing.push("process".into());
        }
        if unknown > 0.0 {
            self.add("unknown", unknown, "neutral expectation of what the source could not tell");
        }
        if program.and_then(|program| program.info.browser) == Some(true) {
            self.add("browser", BROWSER, "people mistype names, and old links lead nowhere");
        }
    }
}

/// What a class comes to at this moment, if it is an alert and there is news of it.
pub(super) fn finding(
    kind: Kind,
    watch: &mut Watch,
    seen: &Seen<'_>,
    query: &DnsEvent<'_>,
) -> Option<Finding> {
    let mut sum = Sum { parts: Vec::new(), missing: Vec::new(), points: 0.0 };
    match kind {
        Kind::Generated => generated(&mut sum, watch, &watch.pattern?, seen),
        Kind::Burst => burst(&mut sum, watch, seen)?,
    }
    if let Some(found) = &watch.found {
        sum.add("answered", ANSWERED, format!("{} answered after them", found.name));
    }
    sum.program(seen.program);
    if sum.points <= score::ALERT_POINTS {
        return None;
    }
    let strong = kind == Kind::Generated && watch.pattern.is_some_and(|found| found.total() >= STRONG_BANS);
    let ceiling = ceiling(seen.program.is_some(), strong, watch.found.is_some());
    let severity = score::severity_of(sum.points).min(ceiling);
    let now = Told { severity, distinct: watch.distinct, answered: watch.found.is_some() };
    let told = watch.told.get_mut(kind as usize)?;
    let news = told.is_none_or(|told| {
        severity > told.severity
            || now.answered != told.answered
            || now.distinct >= told.distinct.saturating_mul(2)
    });
    if !news {
        return None;
    }
    *told = Some(now);
    Some(make(kind, watch, seen, query, sum, ceiling))
}

/// The highest severity. An answer always lifts it, so that it is told.
const fn ceiling(process: bool, strong: bool, answered: bool) -> Severity {
    match (process || strong, answered) {
        (true, true) => Severity::Critical,
        (true, false) | (false, true) => Severity::High,
        (false, false) => Severity::Medium,
    }
}

fn generated(sum: &mut Sum, watch: &Watch, pattern: &Pattern, seen: &Seen<'_>) {
    let Pattern { test, bans, length_bans, names, turns, mean, lengths } = *pattern;
    let how = match test {
        Test::Letters => format!("their letters score {mean:.1} on average, those of ordinary names below 0"),
        Test::Turns => format!("vowels and consonants take turns in {} of {}", turns.0, turns.1),
    };
    let detail = format!("{bans:.1} bans of evidence that {names} names are generated: {how}");
    sum.add("generated", POINTS_PER_BAN * bans, detail);
    if length_bans > 0.0 {
        let detail = format!("most have nearly one length ({} to {} characters)", lengths.0, lengths.1);
        sum.add("length", POINTS_PER_BAN * length_bans, detail);
    }
    let (bare, all) = watch.bare();
    if 2 * bare < all {
        sum.add("hosts", HOSTS, format!("{} of {all} names were asked for hosts below them", all - bare));
    }
    denied(sum, watch, seen, DENIED_GENERATED);
    sum.add("base", BASE_GENERATED, "mistyped, blocked and dead names are asked for, too");
}

fn burst(sum: &mut Sum, watch: &Watch, seen: &Seen<'_>) -> Option<()> {
    let Burst { weight, names, bare, existing } = watch.burst;
    if weight < BURST_NAMES {
        return None;
    }
    let doublings = (weight / BURST_NAMES).log2().min(MAX_DOUBLINGS);
    let detail = format!(
        "{names} domains within ten minutes that do not exist, {bare} of them asked for by themselves"
    );
    sum.add("burst", BURST_POINTS + doublings, detail);
    if existing > names {
        let points = if existing >= names.saturating_mul(2) { MOST_EXIST } else { MORE_EXIST };
        sum.add("existing", points, format!("more names ({existing} or more) exist"));
    } else if existing.saturating_mul(4) <= names {
        sum.add("failing", MOST_FAIL, format!("few names ({existing}) exist"));
    }
    denied(sum, watch, seen, DENIED_BURST);
    sum.add("base", BASE_BURST, "mistyped, blocked and dead names are asked for, too");
    Some(())
}

fn denied(sum: &mut Sum, watch: &Watch, seen: &Seen<'_>, points: f64) {
    let (denied, all) = watch.denied(seen.time);
    if denied >= MIN_DENIED && denied.saturating_mul(DENIED_PART) >= all {
        let detail =
            format!("{denied} widely used or known names are said not to exist, either: it is the resolver");
        sum.add("denied", points, detail);
    }
}

fn make(
    kind: Kind,
    watch: &Watch,
    seen: &Seen<'_>,
    query: &DnsEvent<'_>,
    mut sum: Sum,
    ceiling: Severity,
) -> Finding {
    // Largest first, the base last, as in the score of a rhythm.
    let base = |part: &ScorePart| part.name == "base";
    sum.parts.sort_by(|a, b| base(a).cmp(&base(b)).then(b.points.total_cmp(&a.points)));
    let (class, technique) = match kind {
        Kind::Generated => {
            (Class::GeneratedNames, ("T1568.002", "Dynamic Resolution: Domain Generation Algorithms"))
        }
        Kind::Burst => (Class::NxdomainBurst, ("T1568", "Dynamic Resolution")),
    };
    Finding {
        class,
        // One finding per program: its names change every day.
        subject: String::new(),
        parts: sum.parts,
        missing: sum.missing,
        ceiling,
        reason: sentence(kind, watch, seen.program),
        program_key: seen.program.map_or(0, |program| program.key),
        process: seen.process,
        program: seen.program.map(|program| std::sync::Arc::clone(&program.info)),
        attribution: query.attribution,
        destination: destination(watch),
        evidence: Evidence {
            callbacks: watch.distinct,
            first_seen: watch.first,
            last_seen: seen.time,
            ..Evidence::default()
        },
        dns: Some(evidence(watch)),
        indicators: Vec::new(),
        techniques: vec![Technique { id: technique.0.into(), name: technique.1.into() }],
    }
}

fn destination(watch: &Watch) -> Destination {
    if let Some(found) = &watch.found {
        return Destination {
            name: found.name.to_string(),
            registrable_domain: registrable(&found.name).to_owned(),
            fqdn: found.name.to_string(),
            ip: Some(found.ip),
            ..Destination::default()
        };
    }
    let mut group: Vec<_> = watch.samples(MAX_GROUP).map(str::to_owned).collect();
    group.sort_unstable();
    Destination { name: group.first().cloned().unwrap_or_default(), group, ..Destination::default() }
}

fn evidence(watch: &Watch) -> DnsEvidence {
    let found = watch.found.as_ref();
    let mut types = watch.types.clone();
    types.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let named = |kind: u16| match kind {
        0 => "unknown".to_owned(),
        1 => "A".to_owned(),
        28 => "AAAA".to_owned(),
        65 => "HTTPS".to_owned(),
        other => format!("TYPE{other}"),
    };
    DnsEvidence {
        queries: watch.queries,
        names: watch.distinct,
        nxdomain: watch.nxdomain,
        generated_score: watch.pattern.map(|pattern| pattern.mean),
        types: types.into_iter().map(|(kind, count)| (named(kind), count)).collect(),
        addresses: found.map_or(0, |found| found.addresses),
        ttl_min_secs: found.map(|found| found.ttl_secs),
        resolver: watch.resolver,
        samples: watch.samples(MAX_SAMPLES).map(str::to_owned).collect(),
        ..DnsEvidence::default()
    }
}

fn sentence(kind: Kind, watch: &Watch, program: Option<&Program>) -> String {
    let caller = match program.map(|program| &program.info) {
        Some(info) if !info.script.is_empty() => {
            format!("{} running {}", image_name(&info.image), image_name(&info.script))
        }
        Some(info) => image_name(&info.image).to_owned(),
        None => "This host".to_owned(),
    };
    let names: Vec<_> = watch.samples(NAMED).collect();
    let secs = u64::try_from(watch.last.since(watch.first) / NANOS_PER_SEC).unwrap_or(0);
    let why = match (kind, watch.pattern.map(|pattern| pattern.test)) {
        (Kind::Burst, _) | (Kind::Generated, None) => {
            "as a program does that looks for its server under names of the day"
        }
        (Kind::Generated, Some(Test::Letters)) => "whose letters are not those of names that people choose",
        (Kind::Generated, Some(Test::Turns)) => {
            "in which vowels and consonants take turns as in few names that people choose"
        }
    };
    let mut text = format!(
        "{caller} asked for {} domains that do not exist in {} ({}…), {why}.",
        watch.distinct,
        human::span(secs),
        names.join(", "),
    );
    if let Some(found) = &watch.found {
        text.push_str(&format!(
            " Then {} answered ({}): probably the server that it looked for.",
            found.name, found.ip
        ));
    }
    text
}
