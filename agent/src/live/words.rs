//! What the sensor says of the host and of itself, as records: when which is due, and with which number. It makes them and
//! ships nothing: whoever calls hands them to the sinks.

use std::collections::BTreeMap;

use sonde_common::config::{Config, SummarySettings};
use sonde_common::encode::record::{self, Audit, By, Deed, Sensor, SensorId, Sink};
use sonde_common::engine::Engine;
use sonde_common::record::Record;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::command::Entry;
use super::health::{Health, PartState, Role, Verdict};

/// Seconds between two words on health.
pub const HEALTH_SECS: i64 = 300;

/// What was said so far, and what is due.
#[derive(Debug)]
pub struct Words {
    id: SensorId,
    host: String,
    since: Timestamp,
    settings: SummarySettings,
    audits: u64,
    healths: u64,
    next_health: Timestamp,
    next_summary: Timestamp,
}

/// SHA-256 of a configuration, as audit records name it.
#[must_use]
pub fn config_sha256(config: &Config) -> String {
    record::sha256(config.to_toml().as_bytes())
}

impl Words {
    /// A sensor that began at `since`. `machine`: what names this machine over restarts, such as its machine id; the host's
    /// name stands in for it where there is none.
    #[must_use]
    pub fn new(machine: Option<&str>, host: &str, since: Timestamp, settings: SummarySettings) -> Self {
        Self {
            id: SensorId::of(machine.filter(|id| !id.is_empty()).unwrap_or(host)),
            host: host.to_owned(),
            since,
            settings,
            audits: 0,
            healths: 0,
            next_health: since,
            next_summary: after(since, settings),
        }
    }

    fn sensor(&self) -> Sensor<'_> {
        Sensor { id: self.id, host: &self.host, since: self.since }
    }

    /// Takes other settings; an interval that has begun keeps its end, unless that is now too far.
    pub fn set(&mut self, settings: SummarySettings, now: Timestamp) {
        self.settings = settings;
        self.next_summary = self.next_summary.min(after(now, settings));
    }

    /// Something that was done to the sensor.
    pub fn audit(&mut self, time: Timestamp, by: Option<By>, deed: Deed) -> Record {
        self.audits += 1;
        record::audit(&self.sensor(), &Audit { sequence: self.audits, time, by, deed })
    }

    /// That an entry was made; `uid`: the account that asked for it.
    pub fn allowed(&mut self, time: Timestamp, uid: u32, entry: &Entry) -> Record {
        let Entry { entry, program, destination, reason, by, expires, .. } = entry.clone();
        let by = By { uid, name: by };
        self.audit(time, Some(by), Deed::Allowed { entry, program, destination, reason, expires })
    }

    /// How the sensor is. `sinks`: what became of what was shipped.
    pub fn health(&mut self, health: &Health, sinks: BTreeMap<String, Sink>) -> Record {
        self.healths += 1;
        record::health(&self.sensor(), &told(health, self.healths, sinks))
    }

    /// What is due at `now`: health every five minutes and once at the start, summaries at the end of their interval. A clock
    /// that was set back begins both anew.
    pub fn due(
        &mut self,
        now: Timestamp,
        engine: &mut Engine,
        health: &Health,
        sinks: impl FnOnce() -> BTreeMap<String, Sink>,
        ship: &mut dyn FnMut(Record),
    ) {
        let is_due = |next: Timestamp, period: i64| now >= next || next.since(now) > period;
        if is_due(self.next_health, HEALTH_SECS * NANOS_PER_SEC) {
            self.next_health = now.plus_nanos(HEALTH_SECS * NANOS_PER_SEC);
            let mut health = health.clone();
            health.now = now;
            health.judge();
            ship(self.health(&health, sinks()));
        }
        if is_due(self.next_summary, after(Timestamp::ZERO, self.settings).nanos()) {
            self.next_summary = after(now, self.settings);
            self.summaries(now, engine, ship);
        }
    }

    /// Ends the interval: at the end of the sensor, too, since what was counted is not kept.
    pub fn summaries(&self, now: Timestamp, engine: &mut Engine, ship: &mut dyn FnMut(Record)) {
        let most = usize::try_from(self.settings.destinations.get()).unwrap_or(usize::MAX);
        if let Some(all) = engine.summaries(now, most) {
            record::summaries(&self.sensor(), &all).into_iter().for_each(ship);
        }
    }
}

/// When an interval ends that begins then.
fn after(since: Timestamp, settings: SummarySettings) -> Timestamp {
    since.plus_nanos(i64::from(settings.interval_secs.get()) * NANOS_PER_SEC)
}

/// What the record tells of the sensor's health.
fn told(health: &Health, sequence: u64, sinks: BTreeMap<String, Sink>) -> record::Health {
    let counters = &health.counters;
    let part = |part: &super::health::Part| {
        let (state, reason, remedy) = match &part.state {
            PartState::Degraded { reason } => (record::PartState::Degraded, reason.clone(), String::new()),
            PartState::Lost { reason, remedy } => (record::PartState::Lost, reason.clone(), remedy.clone()),
            PartState::Active | PartState::Unused => return None,
        };
        let role = match part.role {
            Role::Connections => "connections",
            Role::Packets => "packets",
            Role::Aid => "aid",
        };
        Some(record::Part { role: role.to_owned(), name: part.name.clone(), state, reason, remedy })
    };
    let gaps = health.gaps.count.iter().map(|(cause, count)| {
        let secs = health.gaps.secs.get(cause).copied().unwrap_or(0);
        (cause.as_str().to_owned(), record::Gap { count: *count, secs })
    });
    let queues = health.queues.iter().map(|(name, queue)| {
        let super::health::Queue { depth, peak, capacity } = *queue;
        (name.clone(), record::Queue { depth, peak, capacity })
    });
    record::Health {
        sequence,
        time: health.now,
        interval_secs: HEALTH_SECS.unsigned_abs(),
        verdict: match health.verdict {
            Verdict::Ok => record::Verdict::Ok,
            Verdict::Degraded => record::Verdict::Degraded,
            Verdict::Blind => record::Verdict::Blind,
        },
        reasons: health.reasons.clone(),
        parts: health.parts.iter().filter_map(part).collect(),
        counters: [
            ("socket_events", counters.socket_events),
            ("process_events", counters.process_events),
            ("packets", counters.packets),
            ("observations", counters.observations),
            ("connections", counters.connections),
            ("attributed", counters.attributed),
            ("exchanges", counters.exchanges),
            ("queries", counters.queries),
            ("tracked", counters.tracked),
            ("series", counters.series),
            ("memory_bytes", counters.memory_bytes),
            ("memory_limit_bytes", counters.memory_limit_bytes),
            ("alerts_emitted", counters.alerts_emitted),
            ("alerts_suppressed", counters.alerts_suppressed),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into(),
        lost: health.lost.clone(),
        gaps: gaps.collect(),
        queues: queues.collect(),
        sinks,
        shed: health.shed.clone(),
        usage: record::Usage {
            cpu_secs: health.usage.cpu_secs,
            cpu_percent: health.usage.cpu_percent,
            rss_bytes: health.usage.rss_bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sonde_common::record::Kind;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(1_700_000_000 + secs, 0)
    }

    fn words() -> Words {
        Words::new(Some("8a1f"), "web-07", at(0), SummarySettings::default())
    }

    fn value(record: &Record) -> Value {
        serde_json::from_slice(&record.body).unwrap()
    }

    #[test]
    fn health_comes_at_once_and_then_every_five_minutes_with_its_number() {
        let (mut words, mut said) = (words(), Vec::new());
        let mut engine = Engine::new("web-07".into(), 1 << 20, (1, 2));
        let mut health = Health::new("web-07".into(), at(0));
        health.count_lost("packets", 3);
        for secs in 0..=900 {
            words.due(at(secs), &mut engine, &health, BTreeMap::new, &mut |record| said.push(record));
        }
        assert_eq!(said.len(), 4);
        for (nth, record) in said.iter().enumerate() {
            let value = value(record);
            assert_eq!(value["event"]["sequence"], nth as u64 + 1);
            assert_eq!(value["sonde"]["health"]["lost"]["packets"], 3);
            assert_eq!(value["sonde"]["health"]["verdict"], "blind", "judged as it is told");
        }
        // The clock is set back by a day: nothing waits a day for it.
        words.due(at(-86_400), &mut engine, &health, BTreeMap::new, &mut |record| said.push(record));
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn a_sensor_is_known_again_by_its_machine() {
        let id = |machine, host| Words::new(machine, host, at(0), SummarySettings::default()).id;
        assert_eq!(id(Some("8a1f"), "a"), id(Some("8a1f"), "b"));
        assert_ne!(id(Some("8a1f"), "a"), id(Some("8a20"), "a"));
        assert_eq!(id(None, "a"), id(Some(""), "a"));
        assert_ne!(id(None, "a"), id(None, "b"));
    }

    #[test]
    fn audits_are_numbered_and_name_the_configuration() {
        let mut words = words();
        let config_sha256 = config_sha256(&Config::default());
        assert_eq!(config_sha256.len(), 64);
        let first = words.audit(at(0), None, Deed::Started { config_sha256: config_sha256.clone() });
        let second = words.audit(at(1), None, Deed::Stopped { reason: "SIGTERM".into() });
        assert_eq!((first.kind, second.kind), (Kind::Audit, Kind::Audit));
        assert_ne!(first.id, second.id);
        assert_eq!(value(&first)["sonde"]["audit"]["config_sha256"], config_sha256.as_str());
        assert_eq!(value(&second)["event"]["sequence"], 2);
    }
}
