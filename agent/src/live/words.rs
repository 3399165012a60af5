//! What the sensor says of the host and of itself: when which is due, and what of its own state goes into it. The sinks get
//! it as records, as they get alerts.

use std::sync::Arc;

use sonde_common::config::{Config, SummarySettings};
use sonde_common::encode::record::{self, By, Deed, Sensor};
use sonde_common::engine::Engine;
use sonde_common::record::{Kind, Record};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::command::{Answer, Entry, Request};
use super::health::{Health, PartState, Verdict};
use crate::sink::shipper::Outbox;

/// Seconds between two words on health.
const HEALTH_SECS: i64 = 300;

/// Says what is to be said, through the outbox.
#[derive(Debug)]
pub struct Words {
    outbox: Arc<Outbox>,
    due: Due,
}

impl Words {
    /// For a sensor that begins at `now`, and says so.
    #[must_use]
    pub fn new(outbox: Arc<Outbox>, config: &Config, engine: &mut Engine, now: Timestamp) -> Self {
        let words = Self { outbox, due: Due::new(config.summary, now) };
        words.listen(config, engine);
        words.outbox.audit(now, None, Deed::Started { config_sha256: config_sha256(config) });
        words
    }

    /// Has the engine sum up what a sink wants summaries of. It goes on until a restart, even if no sink wants them any more.
    fn listen(&self, config: &Config, engine: &mut Engine) {
        if config.sinks.values().any(|sink| sink.records.contains(&Kind::Summary)) {
            engine.summarise(config.limits.memory.detection_bytes());
        }
    }

    /// Another configuration was taken; `pending`: what of it waits for a restart.
    pub fn reloaded(&mut self, config: &Config, pending: &[String], engine: &mut Engine, now: Timestamp) {
        self.due.set(config.summary, now);
        self.listen(config, engine);
        let deed = Deed::Reloaded { config_sha256: config_sha256(config), pending: pending.to_vec() };
        self.outbox.audit(now, None, deed);
    }

    /// One was not.
    pub fn rejected(&self, reason: &str, now: Timestamp) {
        self.outbox.audit(now, None, Deed::Rejected { reason: reason.to_owned() });
    }

    /// Something was asked of the sensor: what it changed is told.
    pub fn answered(&self, request: &Request, answer: &Answer, now: Timestamp) {
        let Answer::Allowed(entries) = answer else { return };
        match request {
            Request::Allow(wish) => {
                for Entry { entry, program, destination, reason, by, expires, .. } in entries.iter().cloned()
                {
                    let by = By { uid: wish.by_uid, name: by };
                    let deed = Deed::Allowed { entry, program, destination, reason, expires };
                    self.outbox.audit(now, Some(by), deed);
                }
            }
            Request::Unallow { entry, by } => {
                let by = By { uid: by.uid, name: by.name.clone() };
                self.outbox.audit(now, Some(by), Deed::Lifted { entry: *entry });
            }
            _ => {}
        }
    }

    /// Says what is due: health every five minutes and once at the start, summaries at the end of their interval.
    pub fn round(&mut self, engine: &mut Engine, health: &Health, now: Timestamp) {
        let outbox = &self.outbox;
        self.due.round(&outbox.sensor(), engine, health, now, &mut |record| outbox.word(record));
    }

    /// The sensor ends: what was summed up is not kept.
    pub fn stopped(&self, engine: &mut Engine, now: Timestamp) {
        let outbox = &self.outbox;
        self.due.summaries(&outbox.sensor(), engine, now, &mut |record| outbox.word(record));
        outbox.audit(now, None, Deed::Stopped { reason: "asked to".to_owned() });
    }
}

/// SHA-256 of a configuration, as audit records name it.
fn config_sha256(config: &Config) -> String {
    record::sha256(config.to_toml().as_bytes())
}

/// What is due when.
#[derive(Debug)]
struct Due {
    settings: SummarySettings,
    healths: u64,
    next_health: Timestamp,
    next_summary: Timestamp,
}

impl Due {
    fn new(settings: SummarySettings, now: Timestamp) -> Self {
        Self { settings, healths: 0, next_health: now, next_summary: after(now, settings) }
    }

    /// Takes other settings; an interval that has begun keeps its end, unless that is now too far.
    fn set(&mut self, settings: SummarySettings, now: Timestamp) {
        self.settings = settings;
        self.next_summary = self.next_summary.min(after(now, settings));
    }

    /// A clock that was set back begins both anew.
    fn round(
        &mut self,
        sensor: &Sensor<'_>,
        engine: &mut Engine,
        health: &Health,
        now: Timestamp,
        ship: &mut dyn FnMut(Record),
    ) {
        let is_due = |next: Timestamp, period: i64| now >= next || next.since(now) > period;
        if is_due(self.next_health, HEALTH_SECS * NANOS_PER_SEC) {
            self.next_health = now.plus_nanos(HEALTH_SECS * NANOS_PER_SEC);
            self.healths += 1;
            let mut health = health.clone();
            health.now = now;
            health.judge();
            ship(record::health(sensor, &told(&health, self.healths)));
        }
        if is_due(self.next_summary, after(Timestamp::ZERO, self.settings).nanos()) {
            self.next_summary = after(now, self.settings);
            self.summaries(sensor, engine, now, ship);
        }
    }

    fn summaries(
        &self,
        sensor: &Sensor<'_>,
        engine: &mut Engine,
        now: Timestamp,
        ship: &mut dyn FnMut(Record),
    ) {
        let most = usize::try_from(self.settings.destinations.get()).unwrap_or(usize::MAX);
        if let Some(all) = engine.summaries(now, most) {
            record::summaries(sensor, &all).into_iter().for_each(ship);
        }
    }
}

/// When an interval ends that begins then.
fn after(since: Timestamp, settings: SummarySettings) -> Timestamp {
    since.plus_nanos(i64::from(settings.interval_secs.get()) * NANOS_PER_SEC)
}

/// What the record tells of the sensor's health.
fn told(health: &Health, sequence: u64) -> record::Health {
    let counters = &health.counters;
    let part = |part: &super::health::Part| {
        let (state, reason, remedy) = match &part.state {
            PartState::Degraded { reason } => (record::PartState::Degraded, reason.clone(), String::new()),
            PartState::Lost { reason, remedy } => (record::PartState::Lost, reason.clone(), remedy.clone()),
            PartState::Active | PartState::Unused => return None,
        };
        Some(record::Part {
            role: part.role.as_str().to_owned(),
            name: part.name.clone(),
            state,
            reason,
            remedy,
        })
    };
    let gaps = health.gaps.count.iter().map(|(cause, count)| {
        let secs = health.gaps.secs.get(cause).copied().unwrap_or(0);
        (cause.as_str().to_owned(), record::Gap { count: *count, secs })
    });
    let queues = health.queues.iter().map(|(name, queue)| {
        let super::health::Queue { depth, peak, capacity } = *queue;
        (name.clone(), record::Queue { depth, peak, capacity })
    });
    let sinks = health.sinks.iter().map(|(name, sink)| {
        let counts = &sink.counts;
        let dropped = counts.dropped.iter().map(|(cause, count)| (cause.as_str().to_owned(), *count));
        let sink = record::Sink {
            emitted: counts.emitted,
            acknowledged: counts.acknowledged,
            spooled: counts.spooled,
            dead_lettered: counts.dead,
            dropped: dropped.collect(),
        };
        (name.clone(), sink)
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
        sinks: sinks.collect(),
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
    use sonde_common::encode::record::SensorId;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(1_700_000_000 + secs, 0)
    }

    #[test]
    fn health_comes_at_once_and_then_every_five_minutes_with_its_number() {
        let sensor = Sensor { id: SensorId(7), host: "web-07", since: at(0) };
        let (mut due, mut said) = (Due::new(SummarySettings::default(), at(0)), Vec::new());
        let mut engine = Engine::new("web-07".into(), 1 << 20, (1, 2));
        let mut health = Health::new("web-07".into(), at(0));
        health.count_lost("packets", 3);
        for secs in 0..=900 {
            due.round(&sensor, &mut engine, &health, at(secs), &mut |record| said.push(record));
        }
        assert_eq!(said.len(), 4);
        for (nth, record) in said.iter().enumerate() {
            let value: Value = serde_json::from_slice(&record.body).unwrap();
            assert_eq!(value["event"]["sequence"], nth as u64 + 1);
            assert_eq!(value["sonde"]["health"]["lost"]["packets"], 3);
            assert_eq!(value["sonde"]["health"]["verdict"], "blind", "judged as it is told");
        }
        // The clock is set back by a day: nothing waits a day for it.
        due.round(&sensor, &mut engine, &health, at(-86_400), &mut |record| said.push(record));
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn a_configuration_is_known_again_by_its_hash() {
        let of = |text: &str| config_sha256(&Config::parse(text, &[]).unwrap());
        assert_eq!(of(""), of("[summary]\ninterval_secs = 3600"));
        assert_ne!(of(""), of("[summary]\ninterval_secs = 60"));
        assert_eq!(of("").len(), 64);
    }
}
