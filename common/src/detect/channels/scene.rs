//! What the tests of these detectors share: programs, and a detector with what it found.

use std::net::{IpAddr, SocketAddr};

use super::super::{Detector, Finding, Host, Seen, What};
use crate::alert::Severity;
use crate::domain::registrable;
use crate::event::{AppProtocol, ConnectionEvent, DnsEvent, Names, Phase};
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ImageLocation, ParentClass, ProcessInfo};
use crate::program::Program;
use crate::score;
use crate::time::Timestamp;

/// A signed program of the system that has been here for a month.
pub(super) fn info(image: &str) -> ProcessInfo {
    ProcessInfo {
        image: image.into(),
        signed: Some(true),
        location: Some(ImageLocation::System),
        parent_class: Some(ParentClass::Service),
        script_host: Some(false),
        browser: Some(false),
        age_days: Some(30.0),
        ..ProcessInfo::default()
    }
}

pub(super) fn program(image: &str) -> Program {
    Program::of(info(image))
}

/// An unsigned program in a temporary folder.
pub(super) fn implant() -> Program {
    Program::of(ProcessInfo {
        signed: Some(false),
        location: Some(ImageLocation::Temporary),
        age_days: Some(0.0),
        ..info("/tmp/.x/upd")
    })
}

/// A host that knows everything for a month, or nothing.
struct Known(bool);

impl Host for Known {
    fn known_days(&self, registrable: &str, _: Option<IpAddr>) -> Option<f64> {
        self.0.then(|| if registrable.starts_with("new") { 0.0 } else { 30.0 })
    }
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) at: f64,
    pub(super) program: Option<&'a Program>,
    pub(super) resolver: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: u16,
    pub(super) code: Option<u16>,
    pub(super) addresses: &'a [&'a str],
    pub(super) ttl: u32,
}

impl Default for Question<'_> {
    fn default() -> Self {
        Self {
            at: 0.0,
            program: None,
            resolver: "192.0.2.1",
            name: "",
            kind: 1,
            code: Some(0),
            addresses: &[],
            ttl: 60,
        }
    }
}

/// A detector and what it found.
#[derive(Debug)]
pub(super) struct Scene<D> {
    pub(super) detector: D,
    pub(super) found: Vec<Finding>,
    pub(super) history: bool,
}

#[expect(clippy::cast_possible_truncation, reason = "times of a test")]
pub(super) fn at(secs: f64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + (secs * 1e9) as i64)
}

impl<D: Detector> Scene<D> {
    pub(super) fn new(mut detector: D) -> Self {
        detector.set_memory(1 << 20);
        Self { detector, found: Vec::new(), history: false }
    }

    pub(super) fn ask(&mut self, question: &Question<'_>) {
        let addresses: Vec<IpAddr> = question.addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let resolver = question.resolver.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53));
        let event = DnsEvent {
            start: at(question.at),
            process: None,
            program: question.program,
            attribution: Attribution::NONE,
            tuple: None,
            resolver,
            query: question.name,
            query_type: question.kind,
            response_code: question.code,
            addresses: &addresses,
            ttl_secs: question.ttl,
        };
        let seen = Seen {
            time: at(question.at),
            process: None,
            program: question.program,
            name: question.name,
            fqdn: question.name,
            registrable: registrable(question.name),
            what: What::Query(&event),
        };
        let found = &mut self.found;
        self.detector.observe(&seen, &Known(self.history), &mut |finding| found.push(finding));
    }

    /// A connection that a program opens.
    pub(super) fn connect(&mut self, secs: f64, program: Option<&Program>, to: &str, name: &str) {
        let names = Names { sni: name, ..Names::default() };
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: "192.0.2.100:50000".parse().unwrap(),
                remote: to.parse().unwrap(),
            },
            start: at(secs),
            process: None,
            program,
            attribution: Attribution::NONE,
            names,
            protocol: AppProtocol::Tls,
            ja4: None,
            phase: Phase::Opened,
        };
        let seen = Seen {
            time: at(secs),
            process: None,
            program,
            name,
            fqdn: "",
            registrable: registrable(name),
            what: What::Connection(&event),
        };
        let found = &mut self.found;
        self.detector.observe(&seen, &Known(self.history), &mut |finding| found.push(finding));
    }

    /// The highest severity so far, if anything is an alert.
    pub(super) fn severity(&self) -> Option<Severity> {
        let severity = |finding: &Finding| {
            let points = finding.parts.iter().map(|part| part.points).sum();
            score::severity_of(points).min(finding.ceiling)
        };
        self.found.iter().map(severity).filter(|&severity| severity >= Severity::Medium).max()
    }
}
