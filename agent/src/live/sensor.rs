//! The sensor's thread: drains its sources some eight times a second, puts what they told in order, and hands it on; answers
//! what is asked; keeps account of what was lost.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use sonde_common::attribute::Opener;
use sonde_common::config::Config;
use sonde_common::event::{Event, HostFacts};
use sonde_common::knowledge::Knowledge;
use sonde_common::live::{Gap, GapCause, LiveEvent, SocketEvent, SocketNews, SocketOwner};
use sonde_common::process::ProcessKey;
use sonde_common::program::Program;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use tracing::{error, info, warn};

use super::account::{Account, OTHER_INTERFACE, UNDECODABLE};
use super::budget::{Budget, Shift, Work};
use super::clock::Clocks;
use super::command::{Answer, Command, Glance, Look};
use super::desk;
use super::feeds::{FeedReader, News};
use super::flow::Flow;
use super::health::{Failure, Health, Role};
use super::hints::{self, HintReader};
use super::identity::{Identities, IdentityOptions, Lookup};
use super::keep::Keeper;
use super::queue::{Next, Queue};
use super::sources::{Interfaces, Sources};
use super::words::Words;
use crate::control::Heartbeat;
use crate::platform::{self, usage};
use crate::profiles;
use crate::sink::shipper::Outbox;
use crate::telemetry;

/// Time between two looks at the sources: eight wake-ups a second, whatever happens.
const ROUND: Duration = Duration::from_millis(125);
/// How long what came is held back, so that packets and sockets meet: a packet block is handed over after 100 ms.
const HELD: i64 = 250_000_000;
/// How long the first call of a program may wait for its executable to be looked at.
const IDENTITY_WAIT: i64 = 2 * NANOS_PER_SEC;
/// Time between two looks at the machine's addresses.
const ADDRESSES_EVERY: i64 = 5 * NANOS_PER_SEC;
/// … at the resolvers that it is set up to ask.
const RESOLVERS_EVERY: i64 = 60 * NANOS_PER_SEC;
/// … between two updates of what the sensor says of itself.
const HEALTH_EVERY: i64 = NANOS_PER_SEC;
/// … between two health lines in the log.
const HEALTH_LOG_EVERY: i64 = 300 * NANOS_PER_SEC;
/// Problems of profiles that are told of in health; all are in the log.
const MAX_PROBLEMS: usize = 16;
/// Longest wait until the disk has the alerts that a state knows as told.
const SAFE_WAIT: Duration = Duration::from_secs(2);
/// Processes followed at a time.
const MAX_PROCESSES: usize = 16_384;

/// The sensor.
#[expect(missing_debug_implementations, reason = "it holds trait objects and writers")]
pub struct Sensor {
    sources: Sources,
    queue: Queue,
    identities: Identities,
    flow: Flow,
    keeper: Keeper,
    budget: Budget,
    health: Health,
    /// The configuration that the sources and tables were made with.
    config: Config,
    log: Option<telemetry::Log>,
    feeds: Option<FeedReader>,
    hints: Option<HintReader>,
    outbox: Option<Arc<Outbox>>,
    words: Option<Words>,
    knowledge: Knowledge,
    began: Instant,
    /// The clocks at the latest round.
    clocks: Clocks,
    lost: Lost,
    account: Account,
    /// Those that the host is set up to ask, as last read.
    resolvers: Option<Result<Vec<std::net::IpAddr>, String>>,
    interfaces: Interfaces,
    drained: Vec<LiveEvent>,
    next_addresses: Timestamp,
    next_resolvers: Timestamp,
    next_health: Timestamp,
    next_log: Timestamp,
}

/// What had been lost at the latest round.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    events: u64,
    packets: u64,
}

/// What the sensor is made of beside its sources.
#[expect(missing_debug_implementations, reason = "it holds writers")]
pub struct Parts {
    /// The way of an observation.
    pub flow: Flow,
    /// What is kept over a restart.
    pub keeper: Keeper,
    /// The time that keys of processes are made with.
    pub boot: Timestamp,
    /// The time in which the sensor did not run.
    pub gap: Option<Gap>,
    /// Changes what is logged.
    pub log: Option<telemetry::Log>,
    /// Reads feeds.
    pub feeds: Option<FeedReader>,
    /// Takes hints of a fleet.
    pub hints: Option<HintReader>,
    /// Leads to the sinks.
    pub outbox: Option<Arc<Outbox>>,
}

impl Sensor {
    /// Puts the sensor together.
    #[must_use]
    pub fn new(config: &Config, mut sources: Sources, parts: Parts, health: Health) -> Self {
        let Parts { mut flow, mut keeper, boot, gap, log, feeds, hints, outbox } = parts;
        if let Some(outbox) = &outbox {
            let outbox = Arc::clone(outbox);
            keeper.after(Box::new(move || outbox.sync(SAFE_WAIT)));
        }
        let attribution = &config.attribution;
        let identities = Identities::new(IdentityOptions {
            boot,
            processes: MAX_PROCESSES,
            hash_bytes: attribution.hash_bytes.get(),
            command_lines: attribution.command_lines,
            ..IdentityOptions::default()
        });
        let clocks = platform::clock::clocks();
        let words =
            outbox.as_ref().map(|outbox| Words::new(Arc::clone(outbox), config, flow.engine(), clocks.wall));
        let mut queue = Queue::new(config.limits.held_events.get() as usize);
        let mut account = Account::default();
        for event in sources.seed.drain(..) {
            account.records.seen += 1;
            queue.event(event);
        }
        let mut sensor = Self {
            sources,
            queue,
            identities,
            flow,
            keeper,
            budget: Budget::new(config.limits.cpu_percent.get()),
            health,
            config: config.clone(),
            log,
            feeds,
            hints,
            outbox,
            words,
            knowledge: Knowledge::default(),
            began: Instant::now(),
            clocks,
            lost: Lost::default(),
            account,
            resolvers: None,
            interfaces: Interfaces::look(&config.capture.interfaces),
            drained: Vec::new(),
            next_addresses: clocks.wall,
            next_resolvers: clocks.wall,
            next_health: clocks.wall,
            next_log: clocks.wall.plus_nanos(HEALTH_LOG_EVERY),
        };
        let this = platform::identity::process_key(std::process::id(), boot);
        sensor.flow.own().set_process(this);
        sensor.learn(config);
        sensor.flow.expect_datagrams(sensor.sources.datagrams);
        sensor.lost = sensor.lost_now();
        match gap {
            Some(gap) => sensor.blind(gap),
            None => {
                let facts = HostFacts { history: false, observed_since: clocks.wall };
                sensor.flow.tell(clocks.wall, Event::Host(facts));
            }
        }
        sensor
    }

    /// Runs until it is told to stop.
    pub fn run(&mut self, commands: &Receiver<Command>, heartbeat: &Heartbeat) {
        let mut next = Instant::now();
        loop {
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Command::Ask(request, reply)) => reply.send(self.answer(&request)),
                Ok(Command::Look(look)) => self.show(look),
                Ok(Command::Reload(config)) => self.reload(*config),
                Ok(Command::ReloadFailed(reason)) => {
                    let time = self.clocks.wall;
                    if let Some(words) = &self.words {
                        words.rejected(&reason, time);
                    }
                    self.health.config.rejected = Some(Failure { time, reason });
                }
                Ok(Command::Feeds(news)) => self.take_feeds(&news),
                Ok(Command::Hints(news)) => self.take_hints(*news),
                Ok(Command::Ended(lost)) => {
                    error!(part = lost.what, reason = lost.reason, "it ended; the sensor goes on without it");
                    self.health.lost(Role::Aid, &lost);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next {
                self.round();
                heartbeat.beat();
                // Rounds that were missed are not made up for.
                next = now + ROUND;
            }
        }
        self.stop();
    }

    /// Tells which resolvers the host is set up to ask, when they have changed: a laptop takes up those of each network.
    fn look_for_resolvers(&mut self) {
        let found = platform::resolvers();
        if self.resolvers.as_ref() == Some(&found) {
            return;
        }
        match &found {
            Ok(addresses) => self.flow.tell(self.clocks.wall, Event::Resolvers(addresses)),
            Err(why) => warn!(%why, "which resolvers are the host's own is learnt from who asks which"),
        }
        self.resolvers = Some(found);
    }

    fn answer(&mut self, request: &super::command::Request) -> Answer {
        self.update_health();
        let (engine, emit) = self.flow.engine_and_emit();
        let answer = desk::answer(engine, &self.health, request, self.clocks.wall, emit);
        if let Some(words) = &self.words {
            words.answered(request, &answer, self.clocks.wall);
        }
        answer
    }

    /// Lets the console see.
    fn show(&mut self, Look { since, most, reply }: Look) {
        let began = Instant::now();
        self.update_health();
        let engine = self.flow.engine();
        let stamp = desk::stamp(engine, &self.health);
        let findings = (since != Some(stamp)).then(|| Arc::new(desk::findings(engine, most)));
        let allowed = engine.allowed().iter().map(super::known_good::entry).collect();
        let activity = self.flow.activity().cloned();
        let took = began.elapsed();
        // A page that was closed is no concern.
        let _ = reply.send(Box::new(Glance {
            health: self.health.clone(),
            allowed,
            stamp,
            findings,
            activity,
            took,
        }));
    }

    /// Goes on with another configuration. What the sources and tables were made with stays until a restart.
    fn reload(&mut self, config: Config) {
        let health = &mut self.health.config;
        health.loaded = self.clocks.wall;
        health.rejected = None;
        health.pending.clear();
        let old = &self.config;
        let pending = [
            ("capture", old.capture != config.capture),
            ("attribution", old.attribution != config.attribution),
            ("control", old.control != config.control),
            ("state.dir", old.state.dir != config.state.dir),
            ("run", old.run != config.run),
            ("limits.memory", old.limits.memory != config.limits.memory),
            ("limits.held_events", old.limits.held_events != config.limits.held_events),
        ];
        health
            .pending
            .extend(pending.iter().filter(|(_, changed)| *changed).map(|(key, _)| (*key).to_owned()));
        if let Some(log) = &self.log {
            log.set(&config.log);
        }
        self.keeper.reload(&config);
        if let Some(feeds) = &self.feeds {
            feeds.read(config.feeds.clone());
        }
        if let Some(hints) = &self.hints {
            hints.set(config.hints.clone());
        }
        if let Some(outbox) = &self.outbox
            && !outbox.reload(config.sinks.clone(), config.alerts.guidance)
        {
            error!(
                "the sinks are too busy to take up their settings: they go on with the old ones; reload again"
            );
            health.pending.push("sinks".to_owned());
        }
        if let Some(words) = &mut self.words {
            words.reloaded(&config, &health.pending, self.flow.engine(), self.clocks.wall);
        }
        self.budget.set(config.limits.cpu_percent.get());
        info!(pending = ?health.pending, "the configuration is reloaded");
        self.learn(&config);
    }

    /// Takes up the switches and profiles. What is wrong is left out and told of: a slip in one file must not leave the
    /// machine without a sensor.
    fn learn(&mut self, config: &Config) {
        let (profiles, problems) = profiles::read(&config.profiles);
        for problem in &problems {
            error!(problem, "left out");
        }
        self.health.profiles.count = profiles.list().len() as u64;
        self.health.profiles.problems = problems;
        self.health.profiles.problems.truncate(MAX_PROBLEMS);
        self.knowledge = Knowledge {
            feeds: Arc::clone(&self.knowledge.feeds),
            networks: self.knowledge.networks.clone(),
            hints: Arc::clone(&self.knowledge.hints),
            profiles: Arc::new(profiles),
            // Feeds may be named later, too.
            feeds_may_change: true,
            ..Knowledge::of(config)
        };
        self.flow.set_knowledge(&Arc::new(self.knowledge.clone()));
        let (engine, emit) = self.flow.engine_and_emit();
        engine.reconsider(&mut |alert| emit(alert));
    }

    /// Looks up in other feeds from now on, also all that is remembered; or notes why they cannot be used.
    fn take_feeds(&mut self, News { read, failure, took }: &News) {
        let health = &mut self.health.feeds;
        let time = self.clocks.wall;
        health.failure = failure.clone().map(|reason| Failure { time, reason });
        let Some(read) = read else { return };
        health.files = read.files;
        health.entries_refused = read.entries_refused;
        health.counts = *read.index.counts();
        health.networks = read.networks.as_ref().map(|networks| networks.described().0.to_owned());
        health.loaded = Some(time);
        health.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.knowledge.feeds = Arc::clone(&read.index);
        self.knowledge.networks.clone_from(&read.networks);
        self.flow.set_knowledge(&Arc::new(self.knowledge.clone()));
    }

    /// Weighs other hints of the fleet from now on; or notes why there are no new ones.
    fn take_hints(&mut self, hints::News { table, health }: hints::News) {
        self.health.hints = health;
        let Some(table) = table else { return };
        self.knowledge.hints = table;
        self.flow.set_knowledge(&Arc::new(self.knowledge.clone()));
    }

    /// One look at everything.
    fn round(&mut self) {
        let clocks = platform::clock::clocks();
        match clocks.gap_since(&self.clocks) {
            Some(gap) if gap.cause == GapCause::ClockSet => {
                // What was told in the old time is handed on in it.
                let end = Timestamp::from_nanos(i64::MAX);
                self.hand_on(end, end);
                self.note(gap);
                self.flow.gap(gap, clocks.stepped_since(&self.clocks));
            }
            Some(gap) => self.blind(gap),
            None => {}
        }
        let before = std::mem::replace(&mut self.clocks, clocks);
        self.drain(clocks.wall);
        self.account(before.wall, clocks.wall);
        self.identities.drain(clocks.wall);
        if clocks.wall >= self.next_addresses || clocks.wall < before.wall {
            self.next_addresses = clocks.wall.plus_nanos(ADDRESSES_EVERY);
            self.interfaces = Interfaces::look(&self.config.capture.interfaces);
            self.flow.set_addresses(&self.interfaces.addresses);
        }
        if clocks.wall >= self.next_resolvers || clocks.wall < before.wall {
            self.next_resolvers = clocks.wall.plus_nanos(RESOLVERS_EVERY);
            self.look_for_resolvers();
        }
        let until = clocks.wall.plus_nanos(-HELD);
        // While something waits, time may not pass it by.
        if !self.hand_on(until, clocks.wall) {
            self.flow.tick(until);
        }
        self.flow.review(until);
        self.flow.flush();
        if let Some(error) = self.flow.take_events_error() {
            error!(%error, "the events can no longer be written; the sensor goes on without them");
        }
        if clocks.wall >= self.next_health || clocks.wall < before.wall {
            self.next_health = clocks.wall.plus_nanos(HEALTH_EVERY);
            self.update_health();
            if let Some(words) = &mut self.words {
                words.round(self.flow.engine(), &self.health, clocks.wall);
            }
        }
        self.keeper.save_if_due(self.flow.engine(), clocks.wall);
        if clocks.wall >= self.next_log || clocks.wall < before.wall {
            self.next_log = clocks.wall.plus_nanos(HEALTH_LOG_EVERY);
            self.health.log();
        }
    }

    fn drain(&mut self, now: Timestamp) {
        let Self { sources, queue, identities, drained, health, interfaces, budget, account, .. } = self;
        let records = &mut account.records;
        if let Some(layer) = &mut sources.layer {
            layer.drain(now, drained);
        }
        if let Some(meter) = &mut sources.meter
            && budget.allows(Work::SocketCounters)
        {
            meter.drain(now, drained);
        }
        for event in drained.drain(..) {
            records.seen += 1;
            if let (LiveEvent::Socket(event), Some(meter)) = (&event, &mut sources.meter)
                && matches!(event.news, SocketNews::Opened(_))
            {
                meter.opened(event.socket, event.time);
            }
            match event {
                // Who a process is can be looked up at once: it may be gone soon.
                LiveEvent::Process(event) => {
                    health.counters.process_events += 1;
                    records.aggregated += 1;
                    identities.process(&event);
                }
                event => queue.event(event),
            }
        }
        if let Some(packets) = &mut sources.packets {
            packets.drain(now, &mut |packet| {
                records.seen += 1;
                if interfaces.wanted.as_ref().is_none_or(|wanted| wanted.contains(&packet.interface)) {
                    health.counters.packets += 1;
                    queue.packet(packet);
                } else {
                    records.ignore(OTHER_INTERFACE);
                }
            });
        }
    }

    fn lost_now(&self) -> Lost {
        Lost {
            events: self.sources.layer.as_ref().map_or(0, |layer| layer.lost()),
            packets: self.sources.packets.as_ref().map_or(0, |packets| packets.lost()),
        }
    }

    /// What was lost since the latest round is a time of blindness.
    fn account(&mut self, since: Timestamp, until: Timestamp) {
        let lost = self.lost_now();
        for (cause, count) in [
            (GapCause::EventsLost, lost.events.saturating_sub(self.lost.events)),
            (GapCause::PacketsLost, lost.packets.saturating_sub(self.lost.packets)),
        ] {
            if count > 0 {
                self.account.records.seen += count;
                self.account.records.evicted += count;
                self.blind(Gap { since, until, cause, lost: count });
            }
        }
        self.lost = lost;
    }

    /// Notes that the sensor was blind, in its order among the events.
    fn blind(&mut self, gap: Gap) {
        self.note(gap);
        self.account.records.seen += 1;
        self.queue.event(LiveEvent::Gap(gap));
    }

    /// Notes that the sensor was blind, in health and in the log.
    fn note(&mut self, gap: Gap) {
        // A flood says so again and again: the first of each kind and every hundredth are worth a line.
        let count = self.health.gaps.count.get(&gap.cause).copied().unwrap_or(0);
        if gap.cause == GapCause::Stopped {
            info!(since = %gap.since, until = %gap.until, "the sensor did not run");
        } else if count.is_multiple_of(100) {
            warn!(
                cause = gap.cause.as_str(),
                since = %gap.since,
                until = %gap.until,
                lost = gap.lost,
                "the sensor was blind"
            );
        }
        self.health.gaps.note(gap);
    }

    /// Hands on what happened until then; returns whether something waits for its program to be looked at. `now`: how late it
    /// is, for who waits.
    fn hand_on(&mut self, until: Timestamp, now: Timestamp) -> bool {
        let Self { queue, identities, flow, health, account, .. } = self;
        let records = &mut account.records;
        let mut waiting = false;
        queue.take(until, &mut |next, may_wait| {
            // Where there is no room to wait, what is known of the program by now has to do.
            let now = if may_wait { now } else { Timestamp::from_nanos(i64::MAX) };
            match next {
                Next::Packet(packet) => {
                    if !flow.packet(&packet) {
                        records.ignore(UNDECODABLE);
                        return ControlFlow::Continue(());
                    }
                }
                Next::Event(LiveEvent::Socket(event)) => {
                    let opener = match opener(identities, event, now) {
                        Ok(opener) => opener,
                        Err(Pending) => {
                            waiting = true;
                            return ControlFlow::Break(());
                        }
                    };
                    health.counters.socket_events += 1;
                    flow.socket(event, opener);
                }
                Next::Event(LiveEvent::Resolved(event)) => {
                    let asker = event.process.map(|process| program(identities, process, event.time, now));
                    let Ok(program) = asker.transpose() else {
                        waiting = true;
                        return ControlFlow::Break(());
                    };
                    flow.resolved(event, program.flatten().as_ref());
                }
                Next::Event(LiveEvent::Gap(gap)) => flow.gap(*gap, 0),
                Next::Event(LiveEvent::Process(event)) => identities.process(event),
            }
            records.aggregated += 1;
            ControlFlow::Continue(())
        });
        waiting
    }

    fn update_health(&mut self) {
        self.mind_budget();
        let lost = self.lost_now();
        let (undecoded, _) = self.flow.passed_over();
        let Self { health, flow, queue, identities, sources, outbox, .. } = self;
        health.now = self.clocks.wall;
        health.usage = telemetry::own_usage(self.budget.measured());
        health.state = self.keeper.health.clone();
        health.shed = self.budget.shed_work().iter().map(|work| work.as_str().to_owned()).collect();
        let owners = flow.owners().counters();
        let since_start = flow.told();
        health.own = flow.own().traffic().clone();
        health.sinks = outbox.as_ref().map(|outbox| outbox.health()).unwrap_or_default();
        let tracking = flow.tracker().counters();
        let open = flow.tracker().open_connections();
        let tracker_bytes = flow.tracker().memory_bytes();
        let engine = flow.engine();
        let counters = engine.counters();
        let told = &mut health.counters;
        told.observations = counters.events;
        told.connections = since_start.connections;
        told.exchanges = since_start.exchanges;
        told.queries = since_start.queries;
        told.attributed = since_start.attributed;
        told.alerts_emitted = since_start.alerts;
        told.alerts_suppressed = engine.allowed().iter().map(|entry| entry.suppressed).sum();
        health.profiles.excused =
            engine.excused().map(|(name, excused)| (name.to_owned(), excused.count)).collect();
        told.memory_limit_bytes = self.config.limits.memory.bytes() as u64;
        told.tracked = open as u64;
        told.series = counters.beacon.series;
        told.memory_bytes = (tracker_bytes + engine.memory_bytes()) as u64;
        health.count_lost("socket and process events", lost.events);
        health.count_lost("packets", lost.packets);
        health.count_lost("packets that could not be decoded", undecoded);
        health.count_lost("connections forgotten for want of room", tracking.evicted);
        health.count_lost("owners forgotten for want of room", owners.flows_evicted);
        health.count_lost("series forgotten for want of memory", counters.beacon.series_evicted);
        health.count_lost("learnt facts forgotten for want of memory", counters.learned_evicted);
        health.count_lost("processes forgotten for want of room", identities.lost().evicted);
        let queued = u64::try_from(queue.len()).unwrap_or(u64::MAX);
        health
            .queues
            .entry("held back".to_owned())
            .or_default()
            .note(queued, u64::from(self.config.limits.held_events.get()));
        for lost in identities.unavailable().iter().chain(&sources.unavailable) {
            health.lost(Role::Aid, lost);
        }
        self.account.records.waiting = queued;
        self.account.observations = flow.account();
        health.account = self.account.clone();
        health.judge();
    }

    /// Sees to it that the processor time stays within its budget.
    fn mind_budget(&mut self) {
        match self.budget.measure(usage::cpu_time(), self.began.elapsed()) {
            Some(Shift::Shed(work)) => warn!(work = work.as_str(), "put off to save processor time"),
            Some(Shift::Resumed(work)) => info!(work = work.as_str(), "taken up again"),
            Some(Shift::Exhausted) => {
                warn!(percent = self.budget.measured(), "more processor time is used than the budget allows");
            }
            None => {}
        }
        // One thread reads executables for both, hash and package.
        self.identities.set_frugal(!self.budget.allows(Work::Hashing));
    }

    /// Tells what is known, saves it, and ends.
    fn stop(&mut self) {
        self.drain(self.clocks.wall);
        let end = Timestamp::from_nanos(i64::MAX);
        self.hand_on(end, end);
        self.flow.finish();
        if let Some(words) = &self.words {
            words.stopped(self.flow.engine(), self.clocks.wall);
        }
        self.keeper.save(self.flow.engine(), self.clocks.wall);
        self.update_health();
        let account = serde_json::to_string(&self.health.account).unwrap_or_default();
        info!(%account, "what became of all that was seen");
        info!("the sensor stops");
        if let Some(outbox) = &self.outbox {
            outbox.stop();
        }
    }
}

/// The opener's program is being looked at.
struct Pending;

/// Who opened a socket, if that is the news and it is known.
fn opener(
    identities: &mut Identities,
    event: &SocketEvent,
    now: Timestamp,
) -> Result<Option<Opener>, Pending> {
    let (SocketNews::Opened(Some(owner)) | SocketNews::Found(Some(owner))) = event.news else {
        return Ok(None);
    };
    let SocketOwner { process, attribution, .. } = owner;
    let program = program(identities, process, event.time, now)?;
    Ok(program.map(|program| Opener { process, program, attribution }))
}

/// The program of a process that did something at `time`, if it is known.
fn program(
    identities: &mut Identities,
    process: ProcessKey,
    time: Timestamp,
    now: Timestamp,
) -> Result<Option<Program>, Pending> {
    let waited = now.since(time) >= IDENTITY_WAIT;
    Ok(match identities.program(process, now) {
        Lookup::Ready(program) => Some(program.clone()),
        Lookup::Pending if !waited => return Err(Pending),
        Lookup::Pending => identities.program_now(process, now).cloned(),
        Lookup::Unknown => None,
    })
}
