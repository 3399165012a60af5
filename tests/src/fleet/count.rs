//! What the questions to the fleet's store should answer, counted by brute force from the bodies of the published records. It
//! shares no code with the store: neither the reading of records nor the classes of periods.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sonde_common::record::Record;
use sonde_common::time::Timestamp;

/// Everything that is needed to answer.
#[derive(Debug)]
pub struct Count {
    sensors: BTreeSet<String>,
    held: BTreeMap<(&'static str, String), Held>,
    beats: Vec<Beat>,
    health: BTreeMap<String, BTreeMap<i64, BTreeSet<u64>>>,
    latest: BTreeMap<String, (i64, String)>,
    findings: BTreeMap<String, (i64, u64, Finding)>,
    first_health: i64,
    now: i64,
    summary_now: i64,
    seen: BTreeSet<String>,
}

#[derive(Debug)]
struct Held {
    sensors: BTreeSet<String>,
    first: (i64, BTreeSet<String>),
    last: i64,
}

#[derive(Debug)]
struct Beat {
    agent: String,
    destination: String,
    sha256: String,
    class: i32,
}

#[derive(Clone, Debug)]
struct Finding {
    host: String,
    destination: String,
    score: f64,
    revision: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            sensors: BTreeSet::new(),
            held: BTreeMap::new(),
            beats: Vec::new(),
            health: BTreeMap::new(),
            latest: BTreeMap::new(),
            findings: BTreeMap::new(),
            first_health: i64::MAX,
            now: 0,
            summary_now: 0,
            seen: BTreeSet::new(),
        }
    }
}

impl Count {
    /// Counts a record; the same one again is none.
    ///
    /// # Panics
    /// When it is not of the published form.
    pub fn add(&mut self, record: &Record) {
        if !self.seen.insert(record.id.clone()) {
            return;
        }
        let body: Value = serde_json::from_slice(&record.body).expect("records are JSON");
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |at: &str| body.pointer(at).and_then(Value::as_u64).unwrap_or_default();
        let time = |at: &str| text(at).parse::<Timestamp>().map_or(0, |time| time.nanos() / 1_000_000_000);
        let (agent, now) = (text("/agent/id"), time("/@timestamp"));
        match text("/event/dataset").as_str() {
            "sonde.summary" => {
                self.summary_now = self.summary_now.max(now);
                self.sensors.insert(agent.clone());
                let (first, last) = (time("/sonde/summary/first_seen"), time("/sonde/summary/last_seen"));
                for (kind, at) in [
                    ("destination", "/destination/address"),
                    ("ja4", "/tls/client/ja4"),
                    ("program", "/process/hash/sha256"),
                ] {
                    let value = text(at);
                    if value.is_empty() {
                        continue;
                    }
                    let none =
                        || Held { sensors: BTreeSet::new(), first: (i64::MAX, BTreeSet::new()), last: 0 };
                    let held = self.held.entry((kind, value)).or_insert_with(none);
                    held.sensors.insert(agent.clone());
                    if first < held.first.0 {
                        held.first = (first, BTreeSet::new());
                    }
                    if first == held.first.0 {
                        held.first.1.insert(text("/host/name"));
                    }
                    held.last = held.last.max(last);
                }
                let period = body.pointer("/sonde/summary/rhythm/period_secs").and_then(Value::as_f64);
                if let Some(period) = period {
                    self.beats.push(Beat {
                        agent,
                        destination: text("/destination/address"),
                        sha256: text("/process/hash/sha256"),
                        class: class(period),
                    });
                }
            }
            "sonde.health" => {
                self.now = self.now.max(now);
                self.first_health = self.first_health.min(now);
                self.sensors.insert(agent.clone());
                let starts = self.health.entry(agent.clone()).or_default();
                starts.entry(time("/event/start")).or_default().insert(number("/event/sequence"));
                let latest = self.latest.entry(agent).or_insert((0, String::new()));
                if now >= latest.0 {
                    *latest = (now, text("/host/name"));
                }
            }
            "sonde.alert" => {
                let revision = number("/sonde/revision");
                let score = body.pointer("/sonde/score").and_then(Value::as_f64).unwrap_or_default();
                let finding = Finding {
                    host: text("/host/name"),
                    destination: text("/destination/address"),
                    score,
                    revision,
                };
                let place = self.findings.entry(text("/sonde/id"));
                let old = place.or_insert_with(|| (now, revision, finding.clone()));
                if (now, revision) >= (old.0, old.1) {
                    *old = (now, revision, finding);
                }
            }
            other => panic!("{other} is not counted"),
        }
    }

    /// Records that are counted.
    #[must_use]
    pub fn records(&self) -> usize {
        self.seen.len()
    }

    /// `kind value hosts all-hosts first last`, sorted.
    #[must_use]
    pub fn prevalence(&self) -> Vec<String> {
        let all = self.sensors.len();
        let row = |((kind, value), held): (&(&str, String), &Held)| {
            format!("{kind} {value} {} {all} {} {}", held.sensors.len(), held.first.0, held.last)
        };
        sorted(self.held.iter().map(row))
    }

    /// `kind value first age`, sorted; of destinations and programs.
    #[must_use]
    pub fn first_seen(&self) -> Vec<String> {
        let known = self.held.iter().filter(|((kind, _), _)| *kind != "ja4");
        sorted(known.map(|((kind, value), held)| {
            format!("{kind} {value} {} {}", held.first.0, self.summary_now - held.first.0)
        }))
    }

    /// Whether a host may be said to have had a value first: several may have had it in the same second.
    #[must_use]
    pub fn is_first(&self, kind: &str, value: &str, host: &str) -> bool {
        self.held.iter().any(|((of, name), held)| *of == kind && name == value && held.first.1.contains(host))
    }

    /// `way destination sha256 class hosts destinations`, sorted.
    #[must_use]
    pub fn rhythm(&self) -> Vec<String> {
        let mut ways: BTreeMap<_, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
        for beat in &self.beats {
            let destination = ("destination", beat.destination.as_str(), "", beat.class);
            let program = ("program", "", beat.sha256.as_str(), beat.class);
            for way in [Some(destination), (!beat.sha256.is_empty()).then_some(program)].into_iter().flatten()
            {
                let (hosts, destinations) = ways.entry(way).or_default();
                hosts.insert(&beat.agent);
                destinations.insert(&beat.destination);
            }
        }
        let ways = ways
            .into_iter()
            .filter(|(way, (_, destinations))| way.0 == "destination" || destinations.len() >= 2);
        sorted(ways.map(|((way, destination, sha256, class), (hosts, destinations))| {
            format!("{way} {destination} {sha256} {class} {} {}", hosts.len(), destinations.len())
        }))
    }

    /// `agent host last silent missing`, sorted.
    #[must_use]
    pub fn silent(&self, interval: i64) -> Vec<String> {
        let mut rows = Vec::new();
        for (agent, starts) in &self.health {
            let Some((last, host)) = self.latest.get(agent) else { continue };
            let missing: u64 = starts
                .iter()
                .map(|(start, numbers)| {
                    let most = numbers.last().copied().unwrap_or_default();
                    let from = if start / 86_400 >= self.first_health / 86_400 {
                        1
                    } else {
                        numbers.first().copied().unwrap_or(1)
                    };
                    most + 1 - from - numbers.len() as u64
                })
                .sum();
            let silent = self.now - last;
            if silent > 3 * interval || missing > 0 {
                rows.push(format!("{agent} {host} {last} {silent} {missing}"));
            }
        }
        sorted(rows.into_iter())
    }

    /// `finding host revision score destination hosts`, sorted.
    #[must_use]
    pub fn alerts(&self) -> Vec<String> {
        sorted(self.findings.iter().map(|(id, (_, _, finding))| {
            let Finding { host, destination, score, revision } = finding;
            let hosts =
                self.held.get(&("destination", destination.clone())).map_or(0, |held| held.sensors.len());
            format!("{id} {host} {revision} {score} {destination} {hosts}")
        }))
    }
}

fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.collect();
    rows.sort_unstable();
    rows
}

/// The class of a period by walking there in steps of 12 percent, from 60 s.
fn class(period: f64) -> i32 {
    let half = 1.12_f64.sqrt();
    let (mut class, mut middle) = (0, 60.0);
    while period >= middle * half {
        middle *= 1.12;
        class += 1;
    }
    while period < middle / half {
        middle /= 1.12;
        class -= 1;
    }
    class
}
