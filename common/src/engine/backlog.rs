//! Observations kept for a while and taken host by host: what one host needs of memory is then read once for many events,
//! and another thread can do it while the next are gathered.
//!
//! Engines of different hosts know nothing of each other, so the order between hosts does not matter to what they find; of one
//! host, the order is kept. What tells of more than connections and names (gaps, processes, facts of the host) is rare and
//! not kept: whoever fills a backlog lets it be caught up with first.

use std::net::{IpAddr, SocketAddr};

use crate::event::{AppProtocol, ConnectionEvent, DnsEvent, Event, HostId, Ja4, Names, Observation, Phase};
use crate::net::FiveTuple;
use crate::process::{Attribution, ProcessKey};
use crate::program::Program;
use crate::time::Timestamp;

/// Observations kept at most, in 2 MB: a capture of 200 hosts has some 40 of each then.
const MAX_KEPT: usize = 8_192;
/// Bytes of their texts at most, but for the last one's.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Addresses of their answers at most, but for the last one's.
const MAX_ADDRESSES: usize = 32_768;

/// Observations of many hosts, in the order of each.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Of each host by itself, by the host's place: what is read one after the other lies so.
    queues: Vec<Queue>,
    /// Hosts that have any, in the order of their first.
    waiting: Vec<usize>,
    kept: usize,
    text_bytes: usize,
    addresses: usize,
}

#[derive(Debug, Default)]
struct Queue {
    kept: Vec<Kept>,
    texts: String,
    addresses: Vec<IpAddr>,
}

#[derive(Debug)]
struct Kept {
    time: Timestamp,
    start: Timestamp,
    process: Option<ProcessKey>,
    program: Option<Program>,
    attribution: Attribution,
    /// Where its texts begin.
    texts: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Connection {
        tuple: FiveTuple,
        /// Lengths of its names, in the order of [`texts_of`].
        lengths: [u32; 5],
        connect_port: u16,
        protocol: AppProtocol,
        ja4: Option<Ja4>,
        phase: Phase,
    },
    Query {
        length: u32,
        query_type: u16,
        response_code: Option<u16>,
        ttl_secs: u32,
        resolver: Option<SocketAddr>,
        /// Where its addresses begin, and how many there are.
        addresses: (usize, usize),
    },
}

const fn texts_of<'a>(names: &Names<'a>) -> [&'a str; 5] {
    [names.fqdn, names.sni, names.connect_host, names.http_host, names.user_agent]
}

impl Backlog {
    /// Whether it should be caught up with before more is kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept >= MAX_KEPT || self.text_bytes >= MAX_TEXT_BYTES || self.addresses >= MAX_ADDRESSES
    }

    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// Observations kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kept
    }

    /// Keeps an observation of the host at a place. Returns whether it is of a kind that is kept.
    pub fn keep(&mut self, place: usize, observation: &Observation<'_>) -> bool {
        if place >= self.queues.len() {
            self.queues.resize_with(place + 1, Queue::default);
        }
        let Some(queue) = self.queues.get_mut(place) else { return false };
        let (text_bytes, addresses) = (queue.texts.len(), queue.addresses.len());
        let Some(kept) = queue.take(observation) else { return false };
        if queue.kept.is_empty() {
            self.waiting.push(place);
        }
        queue.kept.push(kept);
        self.kept += 1;
        self.text_bytes += queue.texts.len() - text_bytes;
        self.addresses += queue.addresses.len() - addresses;
        true
    }

    /// Hands out all that is kept, host by host, each to what takes the observations of its place; keeps it no more.
    pub(super) fn drain<E>(&mut self, hosts: &mut [E], mut take: impl FnMut(&mut E, &Observation<'_>)) {
        // What a host may go on to hold while it is empty: of all together no more than twice what is kept at most.
        let most = 2 * MAX_KEPT / self.queues.len().max(1);
        for place in self.waiting.drain(..) {
            let Some(queue) = self.queues.get_mut(place) else { continue };
            if let Some(host) = hosts.get_mut(place) {
                for kept in &queue.kept {
                    take(host, &kept.observation(&queue.texts, &queue.addresses));
                }
            }
            queue.clear(most);
        }
        (self.kept, self.text_bytes, self.addresses) = (0, 0, 0);
    }
}

impl Queue {
    fn take(&mut self, observation: &Observation<'_>) -> Option<Kept> {
        let texts = self.texts.len();
        Some(match observation.event {
            Event::Connection(event) => {
                let names = texts_of(&event.names);
                names.iter().for_each(|text| self.texts.push_str(text));
                Kept {
                    time: observation.time,
                    start: event.start,
                    process: event.process,
                    program: event.program.cloned(),
                    attribution: event.attribution,
                    texts,
                    what: What::Connection {
                        tuple: event.tuple,
                        lengths: names.map(|text| u32::try_from(text.len()).unwrap_or(0)),
                        connect_port: event.names.connect_port,
                        protocol: event.protocol,
                        ja4: event.ja4,
                        phase: event.phase,
                    },
                }
            }
            Event::Dns(query) => {
                self.texts.push_str(query.query);
                let addresses = (self.addresses.len(), query.addresses.len());
                self.addresses.extend_from_slice(query.addresses);
                Kept {
                    time: observation.time,
                    start: query.start,
                    process: query.process,
                    program: query.program.cloned(),
                    attribution: query.attribution,
                    texts,
                    what: What::Query {
                        length: u32::try_from(query.query.len()).unwrap_or(0),
                        query_type: query.query_type,
                        response_code: query.response_code,
                        ttl_secs: query.ttl_secs,
                        resolver: query.resolver,
                        addresses,
                    },
                }
            }
            Event::Host(_)
            | Event::Process(..)
            | Event::KnownDestination { .. }
            | Event::Resolvers(_)
            | Event::Gap(_) => return None,
        })
    }

    /// Holds nothing, and room for no more than so many.
    fn clear(&mut self, most: usize) {
        self.kept.clear();
        self.texts.clear();
        self.addresses.clear();
        self.kept.shrink_to(most);
        self.texts.shrink_to(most * (MAX_TEXT_BYTES / MAX_KEPT));
        self.addresses.shrink_to(most * (MAX_ADDRESSES / MAX_KEPT));
    }
}

impl Kept {
    fn observation<'a>(&'a self, texts: &'a str, addresses: &'a [IpAddr]) -> Observation<'a> {
        let mut from = self.texts;
        let mut text = |length: u32| {
            let start = from;
            from += length as usize;
            texts.get(start..from).unwrap_or_default()
        };
        let program = self.program.as_ref();
        let event = match &self.what {
            What::Connection { tuple, lengths, connect_port, protocol, ja4, phase } => {
                let [fqdn, sni, connect_host, http_host, user_agent] = lengths.map(&mut text);
                Event::Connection(ConnectionEvent {
                    tuple: *tuple,
                    start: self.start,
                    process: self.process,
                    program,
                    attribution: self.attribution,
                    names: Names {
                        fqdn,
                        sni,
                        connect_host,
                        connect_port: *connect_port,
                        http_host,
                        user_agent,
                    },
                    protocol: *protocol,
                    ja4: *ja4,
                    phase: *phase,
                })
            }
            What::Query { length, query_type, response_code, ttl_secs, resolver, addresses: (at, count) } => {
                Event::Dns(DnsEvent {
                    start: self.start,
                    process: self.process,
                    program,
                    attribution: self.attribution,
                    // The engine has no use for it.
                    tuple: None,
                    resolver: *resolver,
                    query: text(*length),
                    query_type: *query_type,
                    response_code: *response_code,
                    addresses: addresses.get(*at..at + count).unwrap_or_default(),
                    ttl_secs: *ttl_secs,
                })
            }
        };
        // Whose it is, its place says; an engine knows its host.
        Observation { time: self.time, host: HostId::Name(""), event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Transport;

    fn connection(second: i64, names: Names<'_>) -> Observation<'_> {
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: "10.0.0.1:40000".parse().unwrap(),
                remote: "198.51.100.7:443".parse().unwrap(),
            },
            start: Timestamp::from_secs_nanos(second, 0),
            process: None,
            program: None,
            attribution: Attribution::NONE,
            names,
            protocol: AppProtocol::Tls,
            ja4: Some(Ja4(*b"t13d1511h2_8daaf6152771_0d798cd18806")),
            phase: Phase::Opened,
        };
        let host = HostId::Address("10.0.0.1".parse().unwrap());
        Observation { time: Timestamp::from_secs_nanos(second + 1, 0), host, event: Event::Connection(event) }
    }

    fn query<'a>(second: i64, name: &'a str, addresses: &'a [IpAddr]) -> Observation<'a> {
        let event = DnsEvent {
            start: Timestamp::from_secs_nanos(second, 0),
            process: Some(ProcessKey { pid: 7, start: Timestamp::ZERO }),
            program: None,
            attribution: Attribution::NONE,
            tuple: None,
            resolver: Some("10.0.0.53:53".parse().unwrap()),
            query: name,
            query_type: 1,
            response_code: Some(0),
            addresses,
            ttl_secs: 60,
        };
        let host = HostId::Address("10.0.0.1".parse().unwrap());
        Observation { time: Timestamp::from_secs_nanos(second, 0), host, event: Event::Dns(event) }
    }

    /// What an engine is told, as text.
    fn told(observation: &Observation<'_>) -> String {
        format!("{:?} {:?}", observation.time, observation.event)
    }

    #[test]
    fn every_word_of_an_observation_is_kept_in_the_order_of_its_host() {
        let names = Names {
            fqdn: "a.example.net",
            sni: "sni.example.net",
            connect_host: "inner.example.net",
            connect_port: 8443,
            http_host: "host.example.net",
            user_agent: "Mozilla/5.0",
        };
        let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let all = [
            (3, connection(1, names)),
            (0, query(2, "one.example.net", &addresses)),
            (3, query(3, "", &[])),
            (0, connection(4, Names::default())),
            (3, connection(5, Names { user_agent: "x", ..names })),
        ];
        let mut backlog = Backlog::default();
        for round in 0..2 {
            for (place, observation) in &all {
                assert!(backlog.keep(*place, observation));
            }
            assert_eq!(backlog.len(), all.len());
            let (mut seen, mut hosts) = (Vec::new(), [0, 1, 2, 3]);
            backlog.drain(&mut hosts, |place, observation| seen.push((*place, told(observation))));
            let of = |place: usize| {
                all.iter().filter(move |(of, _)| *of == place).map(move |(_, event)| (place, told(event)))
            };
            assert_eq!(seen, of(3).chain(of(0)).collect::<Vec<_>>(), "round {round}");
            assert!(backlog.is_empty());
        }
    }

    #[test]
    fn it_is_full_before_it_is_large() {
        let mut backlog = Backlog::default();
        let text = "x".repeat(60_000);
        let mut kept = 0;
        while !backlog.is_full() {
            assert!(backlog.keep(0, &connection(0, Names { user_agent: &text, ..Names::default() })));
            kept += 1;
        }
        assert!(kept <= MAX_TEXT_BYTES / 60_000 + 1, "{kept}");
        let mut backlog = Backlog::default();
        while !backlog.is_full() {
            assert!(backlog.keep(backlog.len() % 100, &connection(0, Names::default())));
        }
        assert_eq!(backlog.len(), MAX_KEPT);
        assert!(size_of::<Kept>() <= 280, "{}", size_of::<Kept>());
    }

    #[test]
    fn what_is_rare_is_not_kept() {
        let host = HostId::Name("one");
        let event = Event::KnownDestination { name: "example.net", age_days: 3.0 };
        let mut backlog = Backlog::default();
        assert!(!backlog.keep(0, &Observation { time: Timestamp::ZERO, host, event }));
        assert!(backlog.is_empty());
    }
}
