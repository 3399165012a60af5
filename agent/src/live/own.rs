//! What the sensor does itself: its connections upstream and its look-ups tick like a beacon, and none of them is one.
//!
//! They are told apart by their sockets and by the process, never by a name: whatever else on this host calls the same server
//! is looked at as before. What is left out is counted and listed.

use serde::{Deserialize, Serialize};
use sonde_common::event::{ConnectionEvent, DnsEvent, Event, Observation, Phase};
use sonde_common::net::Transport;
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use crate::sink::own::OwnSockets;

/// Destinations that are listed; the one that was used longest ago goes, and is counted.
const MAX_DESTINATIONS: usize = 16;

/// A destination of the sensor's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnDestination {
    /// `tcp` or `udp`.
    pub transport: Transport,
    /// Address and port.
    pub remote: String,
    /// What it was called, if that was seen.
    pub name: String,
    /// Connections opened.
    pub connections: u64,
    /// DNS queries sent there.
    pub queries: u64,
    /// Payload sent by connections that have ended, in bytes.
    pub bytes_out: u64,
    /// … received.
    pub bytes_in: u64,
    /// When it was last used.
    pub last: Timestamp,
}

/// What the sensor does itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnTraffic {
    /// Connections and queries that were left out of detection since the sensor began.
    pub count: u64,
    /// Where they went, the latest used last.
    pub destinations: Vec<OwnDestination>,
    /// Destinations that are no longer listed for want of room.
    pub unlisted: u64,
}

/// Tells the sensor's own apart.
#[derive(Debug, Default)]
pub struct Own {
    sockets: OwnSockets,
    process: Option<ProcessKey>,
    traffic: OwnTraffic,
}

impl Own {
    /// Shares the sockets with those who open them.
    pub fn set_sockets(&mut self, sockets: OwnSockets) {
        self.sockets = sockets;
    }

    /// This very process; `None` where its start is not known.
    pub const fn set_process(&mut self, process: Option<ProcessKey>) {
        self.process = process;
    }

    /// What was left out.
    #[must_use]
    pub const fn traffic(&self) -> &OwnTraffic {
        &self.traffic
    }

    /// Whether it is the sensor's own; then it is counted.
    pub fn takes(&mut self, observation: &Observation<'_>) -> bool {
        let ours = |process: Option<ProcessKey>| process.is_some() && process == self.process;
        match &observation.event {
            Event::Connection(event)
                if ours(event.process) || self.sockets.holds(event.tuple.local, event.tuple.remote) =>
            {
                self.connection(event, observation.time);
                true
            }
            Event::Dns(event)
                if ours(event.process)
                    || event.tuple.is_some_and(|tuple| self.sockets.holds(tuple.local, tuple.remote)) =>
            {
                self.query(event, observation.time);
                true
            }
            _ => false,
        }
    }

    fn connection(&mut self, event: &ConnectionEvent<'_>, time: Timestamp) {
        let opened = matches!(event.phase, Phase::Opened | Phase::Whole(_));
        self.traffic.count += u64::from(opened);
        let remote = event.tuple.remote.to_string();
        let destination = self.destination(event.tuple.transport, remote, time);
        destination.connections += u64::from(opened);
        if let Phase::Closed(totals) | Phase::Whole(totals) = event.phase {
            destination.bytes_out += totals.bytes_out.unwrap_or(0);
            destination.bytes_in += totals.bytes_in.unwrap_or(0);
        }
        let names = &event.names;
        let called = [names.sni, names.connect_host, names.http_host, names.fqdn];
        if let Some(name) = called.into_iter().find(|name| !name.is_empty())
            && destination.name != name
        {
            name.clone_into(&mut destination.name);
        }
    }

    fn query(&mut self, event: &DnsEvent<'_>, time: Timestamp) {
        self.traffic.count += 1;
        let (transport, remote) = match (event.tuple, event.resolver) {
            (Some(tuple), _) => (tuple.transport, tuple.remote.to_string()),
            (None, Some(resolver)) => (Transport::Udp, resolver.to_string()),
            (None, None) => return,
        };
        self.destination(transport, remote, time).queries += 1;
    }

    /// The destination's entry, which becomes the latest.
    fn destination(&mut self, transport: Transport, remote: String, time: Timestamp) -> &mut OwnDestination {
        let OwnTraffic { destinations, unlisted, .. } = &mut self.traffic;
        let known = destinations.iter().position(|d| d.transport == transport && d.remote == remote);
        let mut entry = match known {
            Some(at) => destinations.remove(at),
            None => OwnDestination { transport, remote, ..OwnDestination::default() },
        };
        if destinations.len() == MAX_DESTINATIONS {
            destinations.remove(0);
            *unlisted += 1;
        }
        entry.last = time;
        destinations.push(entry);
        destinations.last_mut().expect("one was put there")
    }
}
