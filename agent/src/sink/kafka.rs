//! Kafka, by an idempotent producer: every replica in sync has a batch before it counts, and a batch that is sent again
//! because nothing was heard of it is recognised by its sequence number.
//!
//! A record's key is what it is about, so that what is said of one finding stays in order; its id stands in the header `id`.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use sonde_common::config::{HostPort, KafkaSettings, SinkName, SinkSettings};
use sonde_common::record::Record;
use tokio::time::{Instant, sleep, timeout_at};

use self::errors::{Meaning, meaning, words};
use self::lines::Lines;
use self::link::{Link, Login};
use self::message::{Broker, INIT_PRODUCER_ID, METADATA, PRODUCE, Produced};
use super::dial::Dialer;
use super::http::shown;
use super::own::OwnSockets;
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

mod batch;
mod errors;
mod lines;
mod link;
mod message;
mod partition;
mod scram;
mod wire;

/// Most first brokers.
const MAX_BROKERS: usize = 16;
/// Most connections kept: one to each leader of the topic's partitions. Beyond them one is closed for another.
const MAX_LINKS: usize = 64;
/// How long leaders are believed to be what they were.
const METADATA_AGE: Duration = Duration::from_secs(300);
/// Rounds of one call that may fail: a change of leaders shows as one, and need not wait for the core to come again.
const MAX_FAILURES: u32 = 3;
/// Pause before the next round, times how many have failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time that a broker's wish to be left alone is honoured.
const MAX_THROTTLE_MS: i32 = 60_000;

/// Kafka.
pub(super) struct KafkaSink {
    first: Vec<HostPort>,
    topic: String,
    dialer: Dialer,
    login: Option<Login>,
    gzip: bool,
    /// What one call may take, less what its end takes.
    budget: Duration,
    links: HashMap<i32, Link>,
    brokers: Vec<Broker>,
    leaders: Vec<i32>,
    asked: Option<Instant>,
    lines: Lines,
}

/// What is learnt in one call.
#[derive(Default)]
struct Told {
    acknowledged: usize,
    throttle_ms: i32,
    last: Option<Produced>,
}

/// One partition's part of a round: its number, and places in the batch.
type Part = (i32, Vec<usize>);

impl KafkaSink {
    pub(super) fn new(
        name: &SinkName,
        shared: &SinkSettings,
        settings: &KafkaSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason: String| SetupError { sink: name.clone(), reason };
        if settings.brokers.is_empty() || settings.brokers.len() > MAX_BROKERS {
            return Err(error(format!(
                "kafka.brokers has to name 1 to {MAX_BROKERS} brokers, such as kafka.example:9092"
            )));
        }
        if settings.user.is_empty() == settings.password.is_set() {
            return Err(error("kafka.user and kafka.password go together".to_owned()));
        }
        let login = (!settings.user.is_empty()).then(|| Login {
            user: settings.user.clone(),
            password: settings.password.clone(),
            mechanism: settings.mechanism,
        });
        let whole = Duration::from_secs(u64::from(shared.timeout_secs.get()));
        Ok(Self {
            first: settings.brokers.clone(),
            topic: settings.topic.as_str().to_owned(),
            dialer: Dialer::new(name, shared, settings.secure, own)?,
            login,
            gzip: shared.gzip,
            budget: whole - whole / 10,
            links: HashMap::new(),
            brokers: Vec::new(),
            leaders: Vec::new(),
            asked: None,
            lines: Lines::default(),
        })
    }

    async fn deliver_all(&mut self, batch: &[Record]) -> Delivery {
        let until = Instant::now() + self.budget;
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut told = Told::default();
        let (mut failures, mut reason) = (0, String::new());
        while outcomes.iter().any(Option::is_none) {
            match timeout_at(until, self.round(batch, until, &mut outcomes, &mut told)).await {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => reason = why,
                Err(_) => {
                    if reason.is_empty() {
                        "no answer in time".clone_into(&mut reason);
                    }
                    break;
                }
            }
            failures += 1;
            if failures == MAX_FAILURES {
                break;
            }
            sleep(PAUSE * failures).await;
        }
        let said = if reason.is_empty() { told.said(&self.topic) } else { reason.clone() };
        let throttle = told.throttle_ms.clamp(0, MAX_THROTTLE_MS).unsigned_abs();
        Delivery {
            outcomes: outcomes
                .into_iter()
                .map(|outcome| outcome.unwrap_or_else(|| Outcome::Retry(reason.clone())))
                .collect(),
            retry_after: (throttle > 0).then(|| Duration::from_millis(u64::from(throttle))),
            said,
        }
    }

    /// Sends one batch to each partition that something is left for.
    async fn round(
        &mut self,
        batch: &[Record],
        until: Instant,
        outcomes: &mut [Option<Outcome>],
        told: &mut Told,
    ) -> Result<(), String> {
        if self.asked.is_none_or(|asked| asked.elapsed() > METADATA_AGE) {
            self.ask_leaders().await?;
        }
        if self.lines.is_nameless() {
            self.take_id().await?;
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, (record, outcome)) in batch.iter().zip(outcomes.iter()).enumerate() {
            if outcome.is_none() {
                let partition = partition::of(record.key.as_bytes(), self.leaders.len());
                groups.entry(partition).or_default().push(at);
            }
        }
        let mut calls: BTreeMap<i32, Vec<Part>> = BTreeMap::new();
        let mut failed = None;
        for (at, group) in groups {
            let partition = i32::try_from(at).unwrap_or_default();
            let leader = self.leaders.get(at).copied().unwrap_or(-1);
            if leader < 0 {
                self.asked = None;
                failed = Some(format!("partition {partition} of {} has no leader", self.topic));
                continue;
            }
            let Some(chosen) = self.lines.choose(partition, &group, batch) else {
                self.lines.forget();
                return Ok(());
            };
            calls.entry(leader).or_default().push((partition, chosen));
        }
        for (leader, parts) in calls {
            if self.lines.is_nameless() {
                break;
            }
            if let Err(why) = self.produce(leader, &parts, batch, until, outcomes, told).await {
                failed = Some(why);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// One call to one leader.
    async fn produce(
        &mut self,
        leader: i32,
        parts: &[Part],
        batch: &[Record],
        until: Instant,
        outcomes: &mut [Option<Outcome>],
        told: &mut Told,
    ) -> Result<(), String> {
        // Taken out: a call that is given up half-way takes its connection along.
        let mut link = match self.links.remove(&leader) {
            Some(link) => link,
            None => self.open(leader).await?,
        };
        let mut batches = Vec::with_capacity(parts.len());
        for (partition, chosen) in parts {
            let records: Vec<&Record> = chosen.iter().filter_map(|at| batch.get(*at)).collect();
            let stamp = self.lines.begin(*partition, &records).ok_or("no producer id")?;
            batches.push((*partition, batch::encode(&records, stamp, self.gzip)));
        }
        let left = until.saturating_duration_since(Instant::now()) * 4 / 5;
        let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        let topic = &self.topic;
        let answered = link.call(PRODUCE, |_| message::produce(topic, left_ms, &batches)).await;
        let (version, reply) = answered.inspect_err(|_| self.asked = None)?;
        let (answers, throttle_ms) =
            message::read_produced(&reply, version).map_err(|error| error.to_string())?;
        self.keep(leader, link);
        told.throttle_ms = told.throttle_ms.max(throttle_ms);
        let mut failed = None;
        for (partition, chosen) in parts {
            let Some(answer) = answers.iter().find(|answer| answer.partition == *partition) else {
                failed = Some("the broker does not say what became of a batch".to_owned());
                continue;
            };
            if let Err(why) = self.settle(answer, chosen, outcomes, told) {
                failed = Some(why);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What an answer means for the records of a batch.
    fn settle(
        &mut self,
        answer: &Produced,
        chosen: &[usize],
        outcomes: &mut [Option<Outcome>],
        told: &mut Told,
    ) -> Result<(), String> {
        let mut text = words(answer.error, &self.topic);
        if !answer.message.is_empty() {
            text = format!("{text} ({})", shown(answer.message.as_bytes()));
        }
        let mut all = |outcome: &Outcome| {
            for at in chosen {
                if let Some(place) = outcomes.get_mut(*at) {
                    *place = Some(outcome.clone());
                }
            }
        };
        match meaning(answer.error) {
            Meaning::Acknowledged => {
                all(&Outcome::Acknowledged);
                self.lines.acknowledged(answer.partition);
                told.acknowledged += chosen.len();
                told.last = Some(answer.clone());
                return Ok(());
            }
            Meaning::Refused => {
                if chosen.len() == 1 {
                    all(&Outcome::Refused(text));
                }
                self.lines.refused(answer.partition);
                return Ok(());
            }
            Meaning::Renew => self.lines.forget(),
            Meaning::Elsewhere => self.asked = None,
            Meaning::Later => {}
        }
        Err(text)
    }

    async fn open(&mut self, leader: i32) -> Result<Link, String> {
        let Some(broker) = self.brokers.iter().find(|broker| broker.id == leader) else {
            self.asked = None;
            return Err(format!("broker {leader} leads, but its address is not known"));
        };
        let opened = Link::open(&self.dialer, &broker.host, broker.port, self.login.as_ref()).await;
        opened.inspect_err(|_| self.asked = None)
    }

    fn keep(&mut self, broker: i32, link: Link) {
        if self.links.len() >= MAX_LINKS
            && let Some(other) = self.links.keys().next().copied()
        {
            self.links.remove(&other);
        }
        self.links.insert(broker, link);
    }

    /// A connection to any broker, and whose it is: -1 for one whose number is not known.
    async fn any_link(&mut self) -> Result<(i32, Link), String> {
        if let Some(broker) = self.links.keys().next().copied()
            && let Some(link) = self.links.remove(&broker)
        {
            return Ok((broker, link));
        }
        let mut why = String::new();
        for _ in 0..self.first.len() {
            let Some(broker) = self.first.first() else { break };
            match Link::open(&self.dialer, broker.host(), broker.port(), self.login.as_ref()).await {
                Ok(link) => return Ok((-1, link)),
                Err(error) => why = error,
            }
            // The next call begins with the next.
            self.first.rotate_left(1);
        }
        Err(why)
    }

    async fn ask_leaders(&mut self) -> Result<(), String> {
        let (broker, mut link) = self.any_link().await?;
        let topic = self.topic.as_str();
        let (_, reply) = link.call(METADATA, |_| message::metadata(topic)).await?;
        let found = message::read_metadata(&reply, topic).map_err(|error| error.to_string())?;
        self.keep(broker, link);
        if found.error != 0 || found.leaders.is_empty() {
            let error = if found.error == 0 { errors::UNKNOWN_TOPIC } else { found.error };
            return Err(words(error, &self.topic));
        }
        // A broker that is elsewhere now is not the one that we are connected to.
        self.links.retain(|id, _| *id == -1 || found.brokers.iter().any(|broker| broker.id == *id));
        self.brokers = found.brokers;
        self.leaders = found.leaders;
        self.asked = Some(Instant::now());
        Ok(())
    }

    async fn take_id(&mut self) -> Result<(), String> {
        let (broker, mut link) = self.any_link().await?;
        let (version, reply) = link.call(INIT_PRODUCER_ID, message::init_producer_id).await?;
        let given = message::read_producer_id(&reply, version).map_err(|error| error.to_string())?;
        self.keep(broker, link);
        if given.error != 0 {
            return Err(words(given.error, &self.topic));
        }
        self.lines.named(given.id, given.epoch);
        // From here on brokers are known by their numbers.
        self.links.remove(&-1);
        Ok(())
    }
}

impl Told {
    fn said(&self, topic: &str) -> String {
        match &self.last {
            Some(Produced { partition, offset, .. }) => format!(
                "topic {topic} took {}; the last batch is at offset {offset} of partition {partition}",
                self.acknowledged
            ),
            None => format!("topic {topic} took nothing"),
        }
    }
}

impl Sink for KafkaSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.deliver_all(batch))
    }
}
