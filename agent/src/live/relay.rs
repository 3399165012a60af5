//! Local resolvers pass on what others ask: a name that a process just asked of this machine's own resolver is not asked a
//! second time because that resolver asks its server.
//!
//! Bounded: the latest questions are remembered, each in the place that its name gives.

use std::hash::BuildHasher as _;

use sonde_common::event::DnsEvent;
use sonde_common::process::image_name;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

/// Questions remembered.
const QUESTIONS: usize = 1024;
/// How long a resolver may take to pass a question on: it tries several servers (resolv.conf(5), timeout and attempts).
const PASSING_ON: i64 = 10 * NANOS_PER_SEC;
/// Programs that answer on loopback for others. Sorted.
const RESOLVERS: [&str; 12] = [
    "coredns",
    "dnscrypt-proxy",
    "dnsmasq",
    "kresd",
    "named",
    "nscd",
    "pdns_recursor",
    "smartdns",
    "stubby",
    "systemd-resolve",
    "systemd-resolved",
    "unbound",
];

/// What was asked of this machine's own resolver lately.
#[derive(Debug, Default)]
pub struct Relay {
    asked: Vec<(u64, Timestamp)>,
    /// The system tells by itself who asks its resolver for what.
    system_tells: bool,
    hasher: foldhash::fast::RandomState,
    relayed: u64,
}

impl Relay {
    /// The system told of a question by itself: what its resolver sends is passed on, from now on.
    pub const fn system_tells(&mut self) {
        self.system_tells = true;
    }

    /// Whether a question only passes on one that a process of this machine asked; takes note of it if it is such a first
    /// question.
    pub fn is_relayed(&mut self, question: &DnsEvent<'_>) -> bool {
        // Windows' resolver is a service; its question was told of as that of the program that asked it.
        let by_service = |service: &str| service.split(' ').any(|name| name.eq_ignore_ascii_case("Dnscache"));
        if self.system_tells
            && question.tuple.is_some()
            && question.program.is_some_and(|program| by_service(&program.info.service))
        {
            self.relayed += 1;
            return true;
        }
        if self.asked.is_empty() {
            self.asked = vec![(0, Timestamp::ZERO); QUESTIONS];
        }
        let hash = self.hasher.hash_one((question.query, question.query_type)).max(1);
        let place = usize::try_from(hash % QUESTIONS as u64).unwrap_or(0);
        let Some(asked) = self.asked.get_mut(place) else { return false };
        if question.resolver.is_some_and(|resolver| resolver.ip().is_loopback()) {
            *asked = (hash, question.start);
            return false;
        }
        let by_resolver = question
            .program
            .is_some_and(|program| RESOLVERS.binary_search(&image_name(&program.info.image)).is_ok());
        let late = question.start.since(asked.1);
        let relayed = by_resolver && asked.0 == hash && (-NANOS_PER_SEC..=PASSING_ON).contains(&late);
        self.relayed += u64::from(relayed);
        relayed
    }

    /// Questions that were passed on.
    #[must_use]
    pub const fn relayed(&self) -> u64 {
        self.relayed
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::process::{Attribution, ProcessInfo};
    use sonde_common::program::Program;

    use super::*;

    fn asked<'a>(seconds: i64, query: &'a str, resolver: &str, program: &'a Program) -> DnsEvent<'a> {
        DnsEvent {
            start: Timestamp::from_secs_nanos(1_700_000_000 + seconds, 0),
            process: None,
            program: Some(program),
            attribution: Attribution::NONE,
            tuple: None,
            resolver: Some(resolver.parse().unwrap()),
            query,
            query_type: 1,
            response_code: None,
            addresses: &[],
            ttl_secs: 0,
        }
    }

    fn program(image: &str) -> Program {
        Program::of(ProcessInfo { image: image.into(), ..Default::default() })
    }

    #[test]
    fn only_a_resolver_passes_on_and_only_what_was_asked_just_now() {
        assert!(RESOLVERS.is_sorted());
        let mut relay = Relay::default();
        let (curl, resolved) = (program("/usr/bin/curl"), program("/usr/lib/systemd/systemd-resolved"));
        assert!(!relay.is_relayed(&asked(0, "c2.example", "127.0.0.53:53", &curl)));
        assert!(relay.is_relayed(&asked(0, "c2.example", "192.0.2.1:53", &resolved)));
        assert!(!relay.is_relayed(&asked(0, "c2.example", "192.0.2.1:53", &curl)), "it asked by itself, too");
        assert!(!relay.is_relayed(&asked(0, "other.example", "192.0.2.1:53", &resolved)));
        assert!(!relay.is_relayed(&asked(60, "c2.example", "192.0.2.1:53", &resolved)));
        assert_eq!(relay.relayed(), 1);
    }

    #[test]
    fn what_windows_tells_of_is_not_taken_again_from_its_resolvers_packets() {
        let service = |service: &str| {
            Program::of(ProcessInfo {
                image: r"C:\Windows\System32\svchost.exe".into(),
                service: service.into(),
                ..Default::default()
            })
        };
        let tuple = sonde_common::net::FiveTuple {
            transport: sonde_common::net::Transport::Udp,
            local: "192.0.2.10:50000".parse().unwrap(),
            remote: "192.0.2.53:53".parse().unwrap(),
        };
        let resolver = service("Dnscache NlaSvc");
        let by_packet = DnsEvent { tuple: Some(tuple), ..asked(0, "a.example", "192.0.2.53:53", &resolver) };
        let mut relay = Relay::default();
        assert!(!relay.is_relayed(&by_packet), "nobody else tells of it");
        relay.system_tells();
        assert!(relay.is_relayed(&by_packet));
        let other = service("BITS");
        assert!(!relay.is_relayed(&DnsEvent { program: Some(&other), ..by_packet }));
        assert!(!relay.is_relayed(&DnsEvent { tuple: None, ..by_packet }), "what the system tells itself");
    }
}
