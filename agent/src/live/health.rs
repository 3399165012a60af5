//! How the sensor is: what works, what is lost and why, what it counted, what it costs. Values only; the sensor's thread
//! keeps them up to date, `sonde status` and the health line of the log tell of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sonde_common::feed::index::Counts as Indicators;
use sonde_common::hints::Table;
use sonde_common::human;
use sonde_common::live::{Gap, GapCause, Unavailable};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::account::Account;
use super::own::OwnTraffic;
use crate::sink::health::SinkHealth;

/// Parts of the sensor that are told of, at most.
const MAX_PARTS: usize = 64;

/// How the sensor is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Version of Sonde.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Name of the host.
    pub host: String,
    /// When the sensor began.
    pub since: Timestamp,
    /// When this was said.
    pub now: Timestamp,
    /// In how far it can be relied on. [`Health::judge`] fills it in.
    pub verdict: Verdict,
    /// Why it is no better.
    pub reasons: Vec<String>,
    /// What it is made of, and whether that works.
    pub parts: Vec<Part>,
    /// What it counted since it began.
    pub counters: Counters,
    /// What became of all that was seen.
    pub account: Account,
    /// What was lost since it began, by what it was; only what was lost at all.
    pub lost: BTreeMap<String, u64>,
    /// Times in which it was blind.
    pub gaps: Gaps,
    /// What it does itself, which is left out of detection.
    pub own: OwnTraffic,
    /// Its queues, by name.
    pub queues: BTreeMap<String, Queue>,
    /// What it remembers over a restart.
    pub state: StateHealth,
    /// The feeds in use.
    pub feeds: FeedsHealth,
    /// What a fleet tells.
    pub hints: HintsHealth,
    /// The configuration in use.
    pub config: ConfigHealth,
    /// Programs that tick by nature.
    pub profiles: ProfileHealth,
    /// Where records go, by name.
    pub sinks: BTreeMap<String, SinkHealth>,
    /// What it costs.
    pub usage: Usage,
    /// Work that is put off because the processor time is used up.
    pub shed: Vec<String>,
    /// Capabilities that it gave up after it was set up, and those that it kept, in words.
    pub privileges: Privileges,
}

/// In how far the sensor can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All works.
    Ok,
    /// Something is lost.
    Degraded,
    /// It sees no connections.
    #[default]
    Blind,
}

impl Verdict {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Blind => "blind",
        }
    }
}

/// Something that the sensor is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is for.
    pub role: Role,
    /// What it is called: `ebpf`, `ring`, `proc connector`…
    pub name: String,
    /// Whether it works.
    pub state: PartState,
}

/// What a part is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Tells of connections and whose they are: without one the sensor is blind.
    Connections,
    /// Brings packets, which give names.
    Packets,
    /// Makes one of these, or the sensor itself, better.
    Aid,
}

impl Role {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Packets => "packets",
            Self::Aid => "aid",
        }
    }
}

/// Whether a part works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It passed its self-test and is in use.
    Active,
    /// It is in use, but is the worse choice: why.
    Degraded {
        /// Why.
        reason: String,
    },
    /// It does not work here.
    Lost {
        /// The system's own reason.
        reason: String,
        /// What the operator can do.
        remedy: String,
    },
    /// It is not wanted, or not needed beside a better one.
    Unused,
}

impl PartState {
    /// In words, as terminal and page tell of it.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Active => "works".to_owned(),
            Self::Degraded { reason } => format!("works, degraded: {reason}"),
            Self::Lost { reason, .. } => format!("lost: {reason}"),
            Self::Unused => "not in use".to_owned(),
        }
    }
}

/// What the sensor counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Socket events taken.
    pub socket_events: u64,
    /// Process events taken.
    pub process_events: u64,
    /// Packets taken.
    pub packets: u64,
    /// Observations that the engine took.
    pub observations: u64,
    /// Connections opened.
    pub connections: u64,
    /// … of them with their process known.
    pub attributed: u64,
    /// Exchanges inside open connections.
    pub exchanges: u64,
    /// DNS queries.
    pub queries: u64,
    /// Connections followed at the moment.
    pub tracked: u64,
    /// Series followed at the moment.
    pub series: u64,
    /// Memory of connections and detection, in bytes.
    pub memory_bytes: u64,
    /// … of at most so many (`limits.memory`).
    pub memory_limit_bytes: u64,
    /// Alerts emitted.
    pub alerts_emitted: u64,
    /// Alerts that a known-good entry kept back.
    pub alerts_suppressed: u64,
}

/// Times in which the sensor was blind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gaps {
    /// How many, by cause.
    pub count: BTreeMap<GapCause, u64>,
    /// Seconds in all, by cause.
    pub secs: BTreeMap<GapCause, u64>,
    /// The latest.
    pub latest: Option<Gap>,
}

impl Gaps {
    /// Takes in one more.
    pub fn note(&mut self, gap: Gap) {
        let secs = u64::try_from(gap.until.since(gap.since) / NANOS_PER_SEC).unwrap_or(0);
        *self.count.entry(gap.cause).or_default() += 1;
        *self.secs.entry(gap.cause).or_default() += secs;
        self.latest = Some(gap);
    }
}

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// What waits in it.
    pub depth: u64,
    /// The most that ever waited.
    pub peak: u64,
    /// What fits in.
    pub capacity: u64,
}

impl Queue {
    /// Takes in how much waits now.
    pub fn note(&mut self, depth: u64, capacity: u64) {
        *self = Self { depth, peak: self.peak.max(depth), capacity };
    }
}

/// What is remembered over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateHealth {
    /// Where; `None`: nothing is kept.
    pub path: Option<String>,
    /// When the state that was found at start had been saved.
    pub restored: Option<Timestamp>,
    /// When it was last saved.
    pub saved: Option<Timestamp>,
    /// How many bytes it took.
    pub bytes: u64,
    /// Why saving or restoring failed, until it works again.
    pub failure: Option<Failure>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
}

/// The feeds in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedsHealth {
    /// Files that they come from.
    pub files: u64,
    /// Entries that are refused, one by one: `sonde feeds check` names them.
    pub entries_refused: u64,
    /// What they hold, and what had no room.
    pub counts: Indicators,
    /// Type of the database of networks; `None`: none is in use.
    pub networks: Option<String>,
    /// When they were taken; `None`: not yet, or there are none.
    pub loaded: Option<Timestamp>,
    /// How long reading them took, in milliseconds.
    pub took_ms: u64,
    /// Why some cannot be used, or why later ones were not taken.
    pub failure: Option<Failure>,
}

/// Hints of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HintsHealth {
    /// Whether they are asked for.
    pub wanted: bool,
    /// Who signed those in use.
    pub issuer: String,
    /// Their serial; 0 where there are none.
    pub serial: u64,
    /// Hosts of the fleet.
    pub hosts: u32,
    /// Entries.
    pub entries: u64,
    /// When they were made.
    pub made: Option<Timestamp>,
    /// From when on they weigh nothing.
    pub expires: Option<Timestamp>,
    /// Documents that were refused, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Why the latest one was, until an issue is taken.
    pub refusal: Option<Failure>,
    /// Why the bucket cannot be had, until it can.
    pub failure: Option<Failure>,
}

impl HintsHealth {
    /// Notes hints that are taken.
    pub fn of(&mut self, table: &Table) {
        self.issuer = table.issuer.to_string();
        self.serial = table.serial;
        self.hosts = table.hosts;
        self.entries = table.entries() as u64;
        (self.made, self.expires) = (Some(table.made), Some(table.expires));
        self.refusal = None;
    }

    /// Why they are no help at `now`, in words.
    fn complaints(&self, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        if !self.wanted {
            return all;
        }
        match self.expires {
            None => all.push("no hints of the fleet came yet".to_owned()),
            Some(expires) if expires <= now => {
                all.push(format!("the hints of the fleet expired at {expires}"))
            }
            Some(_) => {}
        }
        if let Some(failure) = &self.failure {
            all.push(format!("hints of the fleet cannot be had: {}", failure.reason));
        }
        if let Some(refusal) = &self.refusal {
            let count = human::count(self.refused.values().sum());
            all.push(format!("documents of hints refused: {count}, the latest since {}", refusal.reason));
        }
        all
    }
}

/// The configuration in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigHealth {
    /// The file; `None`: defaults.
    pub path: Option<String>,
    /// When it was taken.
    pub loaded: Timestamp,
    /// Why a later one was not.
    pub rejected: Option<Failure>,
    /// What of it only a restart takes up, by key.
    pub pending: Vec<String>,
}

/// Profiles in use, and what they do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileHealth {
    /// How many there are.
    pub count: u64,
    /// Why some were not taken.
    pub problems: Vec<String>,
    /// How often each held an alert back, by its name; only those that did.
    pub excused: BTreeMap<String, u64>,
}

/// What the sensor costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time since it began, in seconds.
    pub cpu_secs: f64,
    /// Processor time of late, in percent of one processor.
    pub cpu_percent: f64,
    /// Memory resident, in bytes.
    pub rss_bytes: u64,
    /// … at the most.
    pub rss_peak_bytes: u64,
    /// File descriptors open.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What the sensor may still do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Privileges {
    /// Account that it runs as, by number.
    pub uid: u32,
    /// Capabilities that it gave up.
    pub dropped: Vec<String>,
    /// Capabilities that it kept.
    pub kept: Vec<String>,
    /// What of it did not work.
    pub failure: Option<String>,
}

impl Health {
    /// A sensor that began just now.
    #[must_use]
    pub fn new(host: String, now: Timestamp) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            host,
            since: now,
            now,
            ..Self::default()
        }
    }

    /// Notes that a part works.
    pub fn active(&mut self, role: Role, name: &str) {
        self.set(role, name, PartState::Active);
    }

    /// Notes that a part works, but is the worse choice.
    pub fn degraded(&mut self, role: Role, name: &str, reason: impl Into<String>) {
        self.set(role, name, PartState::Degraded { reason: reason.into() });
    }

    /// Notes that a part does not work here.
    pub fn lost(&mut self, role: Role, lost: &Unavailable) {
        let state = PartState::Lost { reason: lost.reason.clone(), remedy: lost.remedy.clone() };
        self.set(role, &lost.what, state);
    }

    /// Notes how a part is.
    pub fn set(&mut self, role: Role, name: &str, state: PartState) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.role == role && part.name == name) {
            part.state = state;
        } else if self.parts.len() < MAX_PARTS {
            self.parts.push(Part { role, name: name.to_owned(), state });
        }
    }

    /// Sets how much of something was lost since the start.
    pub fn count_lost(&mut self, what: &str, count: u64) {
        if count > 0 {
            self.lost.insert(what.to_owned(), count);
        }
    }

    /// Says in how far the sensor can be relied on, and why not more.
    pub fn judge(&mut self) {
        let works = |role| {
            self.parts.iter().any(|part| {
                part.role == role && matches!(part.state, PartState::Active | PartState::Degraded { .. })
            })
        };
        let mut reasons = Vec::new();
        let mut verdict = Verdict::Ok;
        if !works(Role::Connections) && !works(Role::Packets) {
            verdict = Verdict::Blind;
            reasons.push("nothing tells of connections".to_owned());
        } else if !works(Role::Connections) {
            reasons.push("connections have no process: nothing tells whose they are".to_owned());
        } else if !works(Role::Packets) {
            let unwanted = |part: &Part| part.role == Role::Packets && part.state == PartState::Unused;
            if !self.parts.iter().any(unwanted) {
                reasons.push("connections have no names: no packets are captured".to_owned());
            }
        }
        for part in &self.parts {
            match &part.state {
                PartState::Degraded { reason } => reasons.push(format!("{}: {reason}", part.name)),
                PartState::Lost { reason, .. } => reasons.push(format!("{} is lost: {reason}", part.name)),
                PartState::Active | PartState::Unused => {}
            }
        }
        for (what, count) in &self.lost {
            reasons.push(format!("{} {what} lost", human::count(*count)));
        }
        reasons.extend(self.account.complaints());
        if let Some(failure) = &self.state.failure {
            reasons.push(format!("the state cannot be kept: {}", failure.reason));
        }
        if let Some(failure) = &self.feeds.failure {
            reasons.push(format!("feeds cannot be used: {}", failure.reason));
        }
        if self.feeds.counts.refused > 0 {
            let refused = human::count(self.feeds.counts.refused);
            reasons.push(format!("{refused} indicators have no room (feeds.memory)"));
        }
        reasons.extend(self.hints.complaints(self.now));
        if let Some(rejected) = &self.config.rejected {
            reasons.push(format!("a new configuration was not taken: {}", rejected.reason));
        }
        for problem in &self.profiles.problems {
            reasons.push(format!("profiles: {problem}"));
        }
        if !self.shed.is_empty() {
            reasons.push(format!("put off to save processor time: {}", self.shed.join(", ")));
        }
        for (name, sink) in &self.sinks {
            reasons.extend(sink.complaints().map(|complaint| format!("sink {name}: {complaint}")));
        }
        if let Some(failure) = &self.privileges.failure {
            reasons.push(format!("privileges are not dropped: {failure}"));
        }
        if verdict == Verdict::Ok && !reasons.is_empty() {
            verdict = Verdict::Degraded;
        }
        self.verdict = verdict;
        self.reasons = reasons;
    }

    /// The part that tells of connections, and the one that brings packets, by name.
    #[must_use]
    pub fn in_use(&self, role: Role) -> Option<&str> {
        let works = |part: &&Part| {
            part.role == role && matches!(part.state, PartState::Active | PartState::Degraded { .. })
        };
        self.parts.iter().find(works).map(|part| part.name.as_str())
    }

    /// Writes the health line of the log.
    pub fn log(&self) {
        let Self { counters, usage, gaps, .. } = self;
        let reasons = self.reasons.join("; ");
        tracing::info!(
            health = self.verdict.as_str(),
            reasons = %reasons,
            connections = counters.connections,
            attributed = counters.attributed,
            queries = counters.queries,
            packets = counters.packets,
            series = counters.series,
            alerts = counters.alerts_emitted,
            suppressed = counters.alerts_suppressed,
            own = self.own.count,
            lost = self.lost.values().sum::<u64>(),
            gaps = gaps.count.values().sum::<u64>(),
            memory_bytes = counters.memory_bytes,
            rss_bytes = usage.rss_bytes,
            cpu_percent = (usage.cpu_percent * 100.0).round() / 100.0,
            "health"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(what: &str) -> Unavailable {
        Unavailable { what: what.into(), reason: "EPERM".into(), remedy: "run as root".into() }
    }

    fn judged(make: impl FnOnce(&mut Health)) -> (Verdict, String) {
        let mut health = Health::new("h".into(), Timestamp::ZERO);
        make(&mut health);
        health.judge();
        (health.verdict, health.reasons.join("; "))
    }

    #[test]
    fn a_sensor_that_nothing_tells_of_connections_is_blind() {
        assert_eq!(judged(|_| {}).0, Verdict::Blind);
        let (verdict, reasons) = judged(|health| health.lost(Role::Connections, &lost("ebpf")));
        assert_eq!(verdict, Verdict::Blind);
        assert!(reasons.contains("ebpf is lost: EPERM"), "{reasons}");
    }

    #[test]
    fn all_that_works_is_ok_and_each_loss_is_named() {
        let all = |health: &mut Health| {
            health.active(Role::Connections, "ebpf");
            health.active(Role::Packets, "ring");
        };
        assert_eq!(judged(all), (Verdict::Ok, String::new()));
        type Spoil = (&'static str, fn(&mut Health));
        let spoils: [Spoil; 11] = [
            ("feeds cannot be used: list.txt: line 3", |health| {
                let failure = Failure { time: Timestamp::ZERO, reason: "list.txt: line 3".into() };
                health.feeds.failure = Some(failure);
            }),
            ("12 indicators have no room", |health| health.feeds.counts.refused = 12),
            ("no hints of the fleet came yet", |health| health.hints.wanted = true),
            ("the hints of the fleet expired at 1970", |health| {
                health.hints =
                    HintsHealth { wanted: true, expires: Some(Timestamp::ZERO), ..Default::default() };
            }),
            ("refused: 3, the latest since its signature", |health| {
                health.hints.wanted = true;
                health.hints.refused.insert("signature".into(), 3);
                let reason = "its signature does not fit".into();
                health.hints.refusal = Some(Failure { time: Timestamp::ZERO, reason });
            }),
            ("12 packets lost", |health| health.count_lost("packets", 12)),
            ("poll: short connections are missed", |health| {
                health.degraded(Role::Connections, "poll", "short connections are missed");
            }),
            ("proc connector is lost", |health| health.lost(Role::Aid, &lost("proc connector"))),
            ("the state cannot be kept: disk full", |health| {
                let failure = Failure { time: Timestamp::ZERO, reason: "disk full".into() };
                health.state.failure = Some(failure);
            }),
            ("hashing", |health| health.shed.push("hashing".into())),
            ("not dropped", |health| health.privileges.failure = Some("EPERM".into())),
        ];
        for (wanted, spoil) in spoils {
            let (verdict, reasons) = judged(|health| {
                all(health);
                spoil(health);
            });
            assert_eq!(verdict, Verdict::Degraded, "{wanted}");
            assert!(reasons.contains(wanted), "{reasons}");
        }
    }

    #[test]
    fn packets_that_are_not_wanted_are_no_loss() {
        let (verdict, _) = judged(|health| {
            health.active(Role::Connections, "ebpf");
            health.set(Role::Packets, "none", PartState::Unused);
        });
        assert_eq!(verdict, Verdict::Ok);
    }

    #[test]
    fn health_goes_through_json_and_back() {
        let mut health = Health::new("h".into(), Timestamp::from_nanos(5));
        health.lost(Role::Connections, &lost("ebpf"));
        health.gaps.note(Gap {
            since: Timestamp::ZERO,
            until: Timestamp::from_secs_nanos(90, 0),
            cause: GapCause::Suspended,
            lost: 0,
        });
        health.queues.entry("events".into()).or_default().note(5, 10);
        health.queues.entry("events".into()).or_default().note(3, 10);
        health.judge();
        let text = serde_json::to_string(&health).unwrap();
        let back: Health = serde_json::from_str(&text).unwrap();
        assert_eq!(back, health);
        assert_eq!(back.gaps.secs[&GapCause::Suspended], 90);
        assert_eq!(back.queues["events"], Queue { depth: 3, peak: 5, capacity: 10 });
        // What an older or newer sensor does not tell is no error.
        assert!(serde_json::from_str::<Health>(r#"{"pid":4,"news":[1]}"#).is_ok());
    }
}
