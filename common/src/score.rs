//! Points -> score and severity: regularity joined with what only the host knows.
//!
//! The weights are fitted on simulated host-days (logistic fit held near the scorer specification 2.5, signs fixed, rounded
//! to a quarter; docs/detection.md). Nothing here is a black box: every point has a name and a sentence.

use serde::{Deserialize, Serialize};

use crate::alert::{ScorePart, Severity, Word};

/// Facts that add points. Each is true, false or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Executable in a home, in a temporary folder, deleted or memory-only.
    BadLocation,
    /// Signed system program that calls a new and unpopular or nameless destination.
    SystemToNew,
    /// Connection to a bare public address.
    BareAddress,
    /// Script interpreter or living-off-the-land tool.
    ScriptHost,
    /// Started by an office program, a browser or a web server.
    BadParent,
    /// Neither signed nor owned by a package.
    Unsigned,
    /// Median sizes below 4 KiB both ways.
    Small,
    /// Destination not known before.
    NewDestination,
    /// Registrable domain not among the widely used ones.
    Unpopular,
    /// Ever new names below one domain: what carries a message in place of sizes. Counts only without a process, where
    /// nothing else can.
    NameChannel,
    /// Replies of one size.
    ConstantReply,
    /// Program known for a week, signed, destination not new.
    Established,
    /// Intervals that vary as a sleep with jitter does.
    Jittered,
    /// Accessory without use for a network, into which code was put.
    Accessory,
    /// Disguised: the name or place of another program, a hidden ending or folder.
    Masquerade,
}

/// What a fact weighs, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// Which fact.
    pub fact: Fact,
    /// Name in alerts.
    pub name: &'static str,
    /// Points if true.
    pub points: f64,
    /// Points if unknown: unknown is not benign. Without any history they come to -0.5, so that a fresh sensor is less sure;
    /// without a process they come to 1.3 in all, so that a lone implant alerts and an updater does not. A log that counts no
    /// bytes adds what sizes mostly add: 80 % of the regular series of the benchmark are small, half have constant replies.
    pub neutral: f64,
    /// What it says if true.
    pub detail: &'static str,
    /// What is missing if unknown.
    pub missing: &'static str,
}

/// All facts. Names: scorer specification 2.5; points and neutral values: see docs/detection.md.
pub const WEIGHTS: [Weight; 15] = [
    weight(
        Fact::BadLocation,
        "location",
        2.5,
        0.5,
        "the program runs from a home or temporary folder, or from memory",
        "program location",
    ),
    weight(
        Fact::SystemToNew,
        "system_to_new",
        2.5,
        0.0,
        "a signed system program calls a destination that is new and unknown",
        "whether a system program calls a new destination",
    ),
    weight(
        Fact::BareAddress,
        "bare_address",
        2.25,
        0.75,
        "the destination is a bare address without any name",
        "name of the internal address",
    ),
    weight(
        Fact::ScriptHost,
        "script_host",
        1.75,
        0.4,
        "the program is a script interpreter or living-off-the-land tool",
        "whether the program interprets scripts",
    ),
    weight(
        Fact::BadParent,
        "parent",
        1.5,
        0.0,
        "it was started by an office program, a browser or a web server",
        "parent process",
    ),
    weight(
        Fact::Unsigned,
        "unsigned",
        1.0,
        0.9,
        "the program is neither signed nor owned by a package",
        "signature or package of the program",
    ),
    weight(Fact::Small, "small", 1.25, 1.0, "the exchanges are small both ways", "sizes"),
    weight(
        Fact::NewDestination,
        "new_destination",
        0.75,
        0.25,
        "the destination was not known on this host before",
        "history of the destination",
    ),
    weight(Fact::Unpopular, "unpopular", 1.0, 0.0, "the domain is not a widely used one", "domain"),
    weight(
        Fact::NameChannel,
        "name_channel",
        0.0,
        1.25,
        "the names asked for change with every query",
        "whether the program may ask for ever new names",
    ),
    weight(Fact::ConstantReply, "constant_reply", 0.25, 0.25, "the replies have one size", "sizes"),
    weight(
        Fact::Established,
        "established",
        -1.25,
        -0.75,
        "the program and the destination are long established here",
        "history of the program",
    ),
    weight(
        Fact::Jittered,
        "jitter",
        1.75,
        0.0,
        "its intervals vary as a sleep with jitter does, where the timers of ordinary software keep time",
        "intervals",
    ),
    weight(
        Fact::Accessory,
        "accessory",
        1.75,
        0.0,
        "the program is an accessory that has no use for a network: code may have been put into it",
        "whether the program interprets scripts",
    ),
    weight(
        Fact::Masquerade,
        "masquerade",
        1.5,
        0.0,
        "the program bears the name of a known one, but is not that program",
        "path of the program",
    ),
];

const fn weight(
    fact: Fact,
    name: &'static str,
    points: f64,
    neutral: f64,
    detail: &'static str,
    missing: &'static str,
) -> Weight {
    Weight { fact, name, points, neutral, detail, missing }
}

/// What an unknown fact adds to a finding that was counted, not timed. The neutral values of [`WEIGHTS`] are fitted on
/// regular series, which programs of other kinds make than those that a count finds; these are the specification's.
#[must_use]
pub const fn neutral_of_counted(fact: Fact) -> f64 {
    match fact {
        Fact::BadLocation | Fact::NewDestination => 0.25,
        Fact::ScriptHost | Fact::Unsigned => 0.15,
        Fact::BareAddress => 0.5,
        Fact::Small => 1.0,
        Fact::Established => -0.25,
        _ => 0.0,
    }
}

/// Points per ban of timing evidence.
pub const POINTS_PER_BAN: f64 = 1.0;
/// Timing evidence counts up to this many bans.
pub const MAX_BANS: f64 = 8.0;
/// What every series starts from: the rarity of implants.
pub const BIAS: f64 = -11.5;
/// Timing evidence below which nothing is regular, whatever the context.
pub const MIN_BANS: f64 = 3.0;
/// Points above which a regular series is an alert (score 0.5).
pub const ALERT_POINTS: f64 = -0.5;

/// The facts of one series, as two bit sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    holds: u16,
    unknown: u16,
}

impl Facts {
    /// Notes a fact; `None` is unknown.
    pub fn set(&mut self, fact: Fact, value: Option<bool>) {
        let bit = 1 << fact as u16;
        self.holds &= !bit;
        self.unknown &= !bit;
        match value {
            Some(true) => self.holds |= bit,
            Some(false) => {}
            None => self.unknown |= bit,
        }
    }

    /// The fact: true, false or unknown.
    #[must_use]
    pub const fn get(self, fact: Fact) -> Option<bool> {
        let bit = 1 << fact as u16;
        if self.unknown & bit != 0 { None } else { Some(self.holds & bit != 0) }
    }

    fn points(self, weight: &Weight) -> f64 {
        match self.get(weight.fact) {
            Some(true) => weight.points,
            Some(false) => 0.0,
            None => weight.neutral,
        }
    }
}

/// The raw score S: 1 per ban of timing evidence up to 8 bans, less 11.5, plus the facts' points.
#[must_use]
pub fn points(bans: f64, facts: Facts) -> f64 {
    let context: f64 = WEIGHTS.iter().map(|weight| facts.points(weight)).sum();
    POINTS_PER_BAN * bans.min(MAX_BANS) + BIAS + context
}

/// S -> 0..=1 such that S = -0.5 gives 0.5 and S = 1.0 gives 0.8.
#[must_use]
pub fn scale(points: f64) -> f64 {
    1.0 / (1.0 + 4f64.powf(-(points + 0.5) / 1.5))
}

/// The name of a score. `ceiling` is the highest severity that the source's blind spots allow.
#[must_use]
pub fn severity(bans: f64, points: f64, ceiling: Severity) -> Severity {
    if bans < MIN_BANS {
        return Severity::Info;
    }
    severity_of(points).min(ceiling)
}

/// The name of a score by itself.
#[must_use]
pub fn severity_of(points: f64) -> Severity {
    match scale(points) {
        score if score >= 0.95 => Severity::Critical,
        // Exactly the specification's strict threshold: S > 1.0.
        _ if points > 1.0 => Severity::High,
        _ if points > ALERT_POINTS => Severity::Medium,
        _ => Severity::Low,
    }
}

/// Every part of a score with its points, largest first, and what was missing.
#[must_use]
pub fn parts(bans: f64, facts: Facts, rhythm: String) -> (Vec<ScorePart>, Vec<Word>) {
    let mut parts = vec![ScorePart {
        name: "regularity".into(),
        points: POINTS_PER_BAN * bans.min(MAX_BANS),
        detail: rhythm,
    }];
    let mut missing = Vec::new();
    let mut context = Vec::new();
    let mut unknown = 0.0;
    for weight in &WEIGHTS {
        match facts.get(weight.fact) {
            Some(true) => context.push(ScorePart {
                name: weight.name.into(),
                points: weight.points,
                detail: weight.detail.to_owned(),
            }),
            Some(false) => {}
            None => {
                unknown += weight.neutral;
                // One thing may be what several facts are told from.
                if !missing.iter().any(|what| *what == weight.missing) {
                    missing.push(Word::from(weight.missing));
                }
            }
        }
    }
    context.sort_by(|a, b| b.points.total_cmp(&a.points));
    parts.append(&mut context);
    if !missing.is_empty() {
        let detail = "neutral expectation of what the source could not tell".to_owned();
        parts.push(ScorePart { name: "unknown".into(), points: unknown, detail });
    }
    parts.push(ScorePart { name: "base".into(), points: BIAS, detail: "implants are rare".to_owned() });
    (parts, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(holding: &[Fact]) -> Facts {
        let mut facts = Facts::default();
        for fact in holding {
            facts.set(*fact, Some(true));
        }
        facts
    }

    /// The three sums of the scorer specification, section 3, with the weights as they are now.
    #[test]
    fn points_are_the_sum_of_capped_evidence_base_and_facts() {
        let four = [Fact::BadLocation, Fact::Unsigned, Fact::Unpopular, Fact::NewDestination];
        assert!((points(8.0, facts(&four)) - 1.75).abs() < 1e-9);
        assert!((points(3.98, facts(&four)) - -2.27).abs() < 1e-9);
        assert!((points(107.0, facts(&[Fact::Established])) - -4.75).abs() < 1e-9);
    }

    #[test]
    fn the_scale_puts_the_thresholds_where_the_design_says() {
        assert!((scale(-0.5) - 0.5).abs() < 1e-12 && (scale(1.0) - 0.8).abs() < 1e-12);
        assert_eq!(severity(8.0, -0.5, Severity::Critical), Severity::Low);
        assert_eq!(severity(8.0, -0.4, Severity::Critical), Severity::Medium);
        assert_eq!(severity(8.0, 1.01, Severity::Critical), Severity::High);
        assert_eq!(severity(8.0, 6.0, Severity::Critical), Severity::Critical);
        assert_eq!(severity(8.0, 6.0, Severity::Medium), Severity::Medium);
        assert_eq!(severity(2.9, 6.0, Severity::Critical), Severity::Info, "context alone never alerts");
    }

    #[test]
    fn regularity_alone_never_alerts() {
        assert!(points(1e9, Facts::default()) < ALERT_POINTS);
    }

    #[test]
    fn what_several_facts_are_told_from_is_missed_once() {
        let mut some = facts(&[]);
        for fact in [Fact::Small, Fact::ConstantReply, Fact::BadLocation] {
            some.set(fact, None);
        }
        let (_, missing) = parts(5.5, some, String::new());
        assert_eq!(missing.iter().filter(|what| **what == "sizes").count(), 1, "{missing:?}");
    }

    #[test]
    fn the_parts_add_up_to_the_points() {
        let mut some = facts(&[Fact::BareAddress, Fact::Small]);
        some.set(Fact::BadLocation, None);
        some.set(Fact::Established, None);
        let (parts, missing) = parts(5.5, some, String::new());
        let sum: f64 = parts.iter().map(|part| part.points).sum();
        assert!((sum - points(5.5, some)).abs() < 1e-9);
        assert_eq!(missing, ["program location", "history of the program"]);
    }
}
