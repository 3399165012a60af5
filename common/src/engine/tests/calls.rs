//! An engine and those who call: made-up observations of one host, told in seconds.

use std::net::IpAddr;

use super::*;
use crate::alert::Alert;
use crate::event::{AppProtocol, DnsEvent, HostId, Totals};
use crate::live::{Gap, GapCause};
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ImageLocation, Method, ProcessKey, Quality};

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3600;

pub(super) fn secs(secs: i64) -> Timestamp {
    Timestamp::from_secs_nanos(1_700_000_000 + secs, 0)
}

const IMPLANT: ProcessKey = ProcessKey { pid: 7, start: Timestamp::ZERO };
const TOLD: Attribution = Attribution { method: Method::Ebpf, quality: Quality::KernelExact };

pub(super) struct Calls {
    pub(super) engine: Engine,
    pub(super) emitted: Vec<Alert>,
}

impl Calls {
    /// A host with an unsigned program in a temporary folder, which asked for the name of its server.
    pub(super) fn new() -> Self {
        Self::with(Engine::new("h".into(), 1 << 20, (1, 2)))
    }

    pub(super) fn with(engine: Engine) -> Self {
        let mut calls = Self { engine, emitted: Vec::new() };
        let info = ProcessInfo {
            image: "/tmp/.x/upd".into(),
            command_line: "upd -q --token=hunter2".into(),
            signed: Some(false),
            location: Some(ImageLocation::Temporary),
            ..ProcessInfo::default()
        };
        calls.tell(-10, Event::Process(IMPLANT, &info));
        calls.query(-5, "c2.example");
        calls
    }

    pub(super) fn tell(&mut self, at: i64, event: Event<'_>) {
        let observation = Observation { time: secs(at), host: HostId::Name("h"), event };
        self.engine.observe(&observation, &mut |alert| self.emitted.push(alert));
    }

    fn query(&mut self, at: i64, name: &str) {
        self.query_for(at, name, "203.0.113.7".parse().unwrap());
    }

    /// A look-up of a name that leads to an address.
    pub(super) fn query_for(&mut self, at: i64, name: &str, ip: IpAddr) {
        let event = DnsEvent {
            start: secs(at),
            process: Some(IMPLANT),
            program: None,
            attribution: TOLD,
            tuple: None,
            resolver: None,
            query: name,
            query_type: 1,
            response_code: Some(0),
            addresses: &[ip],
            ttl_secs: 60,
        };
        self.tell(at, Event::Dns(event));
    }

    fn connection(&mut self, at: i64, remote: &str, phase: Phase) {
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: "10.0.0.1:50000".parse().unwrap(),
                remote: remote.parse().unwrap(),
            },
            start: secs(at),
            process: Some(IMPLANT),
            program: None,
            attribution: TOLD,
            names: Names::default(),
            protocol: AppProtocol::Tls,
            ja4: None,
            phase,
        };
        self.tell(at, Event::Connection(event));
    }

    /// So many calls to one server.
    pub(super) fn every(&mut self, period: i64, from: i64, count: i64) {
        for nth in 0..count {
            self.to("203.0.113.7:443", from + nth * period);
        }
    }

    /// A call to a server.
    pub(super) fn to(&mut self, remote: &str, at: i64) {
        let totals = Totals { end: secs(at), bytes_out: Some(300), bytes_in: Some(500), ..Totals::default() };
        self.connection(at, remote, Phase::Whole(totals));
    }

    pub(super) fn exchanges(&mut self, period: i64, from: i64, count: i64) {
        for nth in 0..count {
            let at = from + nth * period;
            let exchange = Phase::Exchange { start: secs(at), bytes_out: 90, bytes_in: 80 };
            self.connection(at, "203.0.113.9:8443", exchange);
        }
    }

    pub(super) fn queries(&mut self, period: i64, from: i64, count: i64) {
        for nth in 0..count {
            let at = from + nth * period;
            self.query(at, &format!("{at}.t.tunnel.example"));
        }
    }

    pub(super) fn rotation(&mut self, period: i64, from: i64, count: i64) {
        for nth in 0..count {
            self.to(&format!("198.51.100.{}:4443", nth % 3), from + nth * period);
        }
    }

    /// A blind time that ends before the next event.
    pub(super) fn gap(&mut self, since: i64, until: i64, cause: GapCause) {
        let gap = Gap { since: secs(since), until: secs(until), cause, lost: 0 };
        self.tell(until, Event::Gap(gap));
    }

    /// The only alert there is.
    pub(super) fn only(&self) -> Alert {
        let alerts: Vec<_> = self.engine.alerts().collect();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        alerts.into_iter().next().unwrap()
    }
}
