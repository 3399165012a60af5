//! The way of one observation: tracker, owner, relay, events, engine, alert. What the sensor does with whatever its sources
//! told, once it is in order.

use std::io::Write;
use std::sync::Arc;

use sonde_common::activity::Activity;
use sonde_common::alert::Alert;
use sonde_common::attribute::{Opener, SocketOwners};
use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::packet;
use sonde_common::engine::Engine;
use sonde_common::event::{DnsEvent, Event, HostId, Observation, Phase};
use sonde_common::format::{Frame, LinkType};
use sonde_common::knowledge::Knowledge;
use sonde_common::live::{Gap, Resolved, SocketEvent, SocketNews};
use sonde_common::net::FiveTuple;
use sonde_common::program::Program;
use sonde_common::time::Timestamp;

use super::account::{Ledger, OWN, RELAYED};
use super::layer::LivePacket;
use super::own::Own;
use super::relay::Relay;
use crate::events::EventsWriter;

/// Takes alerts as they are emitted.
pub type Emit = Box<dyn FnMut(Alert) + Send>;

/// Everything behind the queue.
#[expect(missing_debug_implementations, reason = "it holds writers")]
pub struct Flow {
    host: String,
    tracker: Tracker,
    owners: SocketOwners,
    ends: Ends,
    undecoded: u64,
}

/// What takes the observations.
struct Ends {
    relay: Relay,
    own: Own,
    engine: Engine,
    events: EventsWriter<'static>,
    emit: Emit,
    /// Connections of which all was told.
    closed: Vec<(FiveTuple, Timestamp)>,
    told: Told,
    account: Ledger,
    /// What an engine that was restored had taken before.
    taken_before: u64,
    /// How much happened when, for the console.
    activity: Option<Activity>,
}

/// What was told since the sensor began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Connections opened.
    pub connections: u64,
    /// … of them with their process known.
    pub attributed: u64,
    /// Exchanges inside open connections.
    pub exchanges: u64,
    /// DNS queries.
    pub queries: u64,
    /// Alerts emitted.
    pub alerts: u64,
}

impl Ends {
    fn take(&mut self, owners: &SocketOwners, observation: &Observation<'_>) {
        self.account.seen += 1;
        let observation = owners.attribute(observation);
        if self.own.takes(&observation) {
            self.account.ignore(OWN);
            // Its owner is forgotten as others are.
            if let Event::Connection(event) = &observation.event
                && matches!(event.phase, Phase::Closed(_))
            {
                self.closed.push((event.tuple, event.start));
            }
            return;
        }
        let told = &mut self.told;
        match &observation.event {
            Event::Dns(question) => {
                if self.relay.is_relayed(question) {
                    self.account.ignore(RELAYED);
                    return;
                }
                told.queries += 1;
            }
            Event::Connection(event) => match event.phase {
                Phase::Opened | Phase::Whole(_) => {
                    told.connections += 1;
                    told.attributed += u64::from(event.process.is_some());
                }
                Phase::Exchange { .. } => told.exchanges += 1,
                Phase::Closed(_) => self.closed.push((event.tuple, event.start)),
                Phase::Joined | Phase::Certificate(_) => {}
            },
            _ => {}
        }
        self.tell(&observation);
    }

    fn tell(&mut self, observation: &Observation<'_>) {
        self.events.write(observation);
        if let Some(activity) = &mut self.activity {
            activity.observe(observation);
        }
        let Self { engine, emit, told, .. } = self;
        engine.observe(observation, &mut |alert| {
            told.alerts += 1;
            emit(alert);
        });
    }
}

impl Flow {
    /// Through an engine that may know this host already. `events`: where the normalised events go.
    #[must_use]
    pub fn new(
        host: String,
        tracking_bytes: usize,
        engine: Engine,
        events: Option<Box<dyn Write>>,
        emit: Emit,
    ) -> Self {
        let mut tracker = Tracker::new(Locals::machine(&host, &[]), tracking_bytes);
        tracker.expect_sockets(false);
        Self {
            host,
            tracker,
            // A quarter: most connections are short, and their owners are forgotten with them.
            owners: SocketOwners::new(tracking_bytes / 4),
            ends: Ends {
                relay: Relay::default(),
                own: Own::default(),
                taken_before: engine.counters().events,
                account: Ledger::default(),
                engine,
                events: EventsWriter::new(events),
                emit,
                closed: Vec::new(),
                told: Told::default(),
                activity: None,
            },
            undecoded: 0,
        }
    }

    /// Has it count how much happened when, for the console.
    pub fn keep_activity(&mut self) {
        self.ends.activity = Some(Activity::default());
    }

    /// How much happened when, if that is counted.
    #[must_use]
    pub const fn activity(&self) -> Option<&Activity> {
        self.ends.activity.as_ref()
    }

    /// The machine has these addresses now.
    pub fn set_addresses(&mut self, addresses: &[std::net::IpAddr]) {
        self.tracker.set_locals(Locals::machine(&self.host, addresses));
    }

    /// Whether sockets tell of datagrams, too.
    pub const fn expect_datagrams(&mut self, told: bool) {
        self.tracker.expect_sockets(told);
    }

    /// What tells the sensor's own traffic apart.
    pub const fn own(&mut self) -> &mut Own {
        &mut self.ends.own
    }

    /// Has the engine draw on this from now on; emits what new feeds bring of what it remembers.
    pub fn set_knowledge(&mut self, knowledge: &Arc<Knowledge>) {
        let Ends { engine, emit, told, .. } = &mut self.ends;
        engine.set_knowledge(knowledge, &mut |alert| {
            told.alerts += 1;
            emit(alert);
        });
    }

    /// Tells the engine something by itself.
    pub fn tell(&mut self, time: Timestamp, event: Event<'_>) {
        self.ends.account.seen += 1;
        self.ends.tell(&Observation { time, host: HostId::Name(&self.host), event });
    }

    /// A time of blindness. `stepped`: by how many nanoseconds the clock was set, if that was it.
    pub fn gap(&mut self, gap: Gap, stepped: i64) {
        if stepped != 0 {
            self.tracker.clock_set(stepped);
            self.owners.clock_set(stepped);
        }
        self.tell(gap.until, Event::Gap(gap));
    }

    /// A packet; whether it could be read.
    pub fn packet(&mut self, packet: &LivePacket<'_>) -> bool {
        let frame =
            Frame { time: packet.time, link: LinkType::RawIp, data: packet.bytes, wire_len: packet.length };
        let Ok(packet) = packet::decode(&frame) else {
            self.undecoded += 1;
            return false;
        };
        let Self { tracker, owners, ends, .. } = self;
        tracker.packet(&packet, &mut |observation| ends.take(owners, observation));
        self.forget();
        true
    }

    /// News of a socket; `opener`: who opened it, if that is the news.
    pub fn socket(&mut self, event: &SocketEvent, opener: Option<Opener>) {
        let Self { tracker, owners, ends, .. } = self;
        if matches!(event.news, SocketNews::Opened(_) | SocketNews::Found(_)) {
            owners.opened(&event.tuple, event.time, opener);
        }
        tracker.socket(event, &mut |observation| ends.take(owners, observation));
        self.forget();
    }

    /// A name that a program had resolved, told by the system; `program`: that of its process.
    pub fn resolved(&mut self, event: &Resolved, program: Option<&Program>) {
        let Self { host, owners, ends, .. } = self;
        ends.relay.system_tells();
        let question = DnsEvent {
            start: event.start,
            process: event.process,
            program,
            attribution: event.attribution,
            tuple: None,
            resolver: None,
            query: &event.query,
            query_type: event.query_type,
            response_code: event.response_code,
            addresses: &event.addresses,
            ttl_secs: 0,
        };
        let observation =
            Observation { time: event.time, host: HostId::Name(host), event: Event::Dns(question) };
        ends.take(owners, &observation);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Timestamp) {
        let Self { tracker, owners, ends, .. } = self;
        tracker.tick(now, &mut |observation| ends.take(owners, observation));
        self.forget();
    }

    /// Has the engine close what went silent, and repeat what goes on.
    pub fn review(&mut self, now: Timestamp) {
        let Ends { engine, emit, told, .. } = &mut self.ends;
        engine.tick(now, &mut |alert| {
            told.alerts += 1;
            emit(alert);
        });
    }

    /// Tells what is still under way, at the end.
    pub fn finish(&mut self) {
        let Self { tracker, owners, ends, .. } = self;
        tracker.finish(&mut |observation| ends.take(owners, observation));
        self.forget();
        self.ends.events.flush();
    }

    fn forget(&mut self) {
        for (tuple, start) in self.ends.closed.drain(..) {
            self.owners.closed(&tuple, start);
        }
    }

    /// Writes out what was gathered for the events' file.
    pub fn flush(&mut self) {
        self.ends.events.flush();
    }

    /// Why the events cannot be written any more, said once.
    pub fn take_events_error(&mut self) -> Option<std::io::Error> {
        self.ends.events.take_error()
    }

    /// The engine, and where its alerts go.
    pub const fn engine_and_emit(&mut self) -> (&mut Engine, &mut Emit) {
        (&mut self.ends.engine, &mut self.ends.emit)
    }

    /// The engine.
    pub const fn engine(&mut self) -> &mut Engine {
        &mut self.ends.engine
    }

    /// The connection tracker.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Whose sockets are known.
    #[must_use]
    pub const fn owners(&self) -> &SocketOwners {
        &self.owners
    }

    /// What was told since the sensor began.
    #[must_use]
    pub const fn told(&self) -> Told {
        self.ends.told
    }

    /// What became of the observations: all that came, what the engine says that it took, and what was left out before it.
    #[must_use]
    pub fn account(&self) -> Ledger {
        let Ends { engine, account, taken_before, .. } = &self.ends;
        let aggregated = engine.counters().events.saturating_sub(*taken_before);
        Ledger { aggregated, ..account.clone() }
    }

    /// Packets that could not be decoded, and questions that were only passed on.
    #[must_use]
    pub const fn passed_over(&self) -> (u64, u64) {
        (self.undecoded, self.ends.relay.relayed())
    }
}

#[cfg(test)]
mod tests;
