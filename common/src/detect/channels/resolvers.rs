//! Which resolvers are this host's: those that its resolver service asks, and those that most of its programs do. Learnt from
//! what is asked, since no two hosts keep it in the same place; a container has its own.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::hash;
use super::services::is_resolver_program;
use super::table::list_bytes;
use crate::program::Program;
use crate::time::Timestamp;

/// Resolvers that are told apart. Of more, the one with the fewest programs leaves.
const MAX_RESOLVERS: usize = 32;
/// Programs that are told apart for each.
const MAX_PROGRAMS: usize = 4;
/// A resolver that so many programs ask is the host's.
const PROGRAMS_OF_A_HOST: usize = 3;

/// What a resolver is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The host's own.
    Usual,
    /// Not the host's, which has others.
    Odd,
    /// Cannot be told: the host's own are not known yet.
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
struct Resolver {
    scope: u64,
    ip: IpAddr,
    queries: u32,
    programs: [u64; MAX_PROGRAMS],
    by_service: bool,
    last: Timestamp,
}

impl Resolver {
    fn programs(&self) -> usize {
        self.programs.iter().filter(|&&program| program != 0).count()
    }

    fn is_usual(&self) -> bool {
        self.by_service || self.programs() >= PROGRAMS_OF_A_HOST || self.ip.is_loopback()
    }
}

/// The resolvers of a host and its containers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Resolvers {
    list: Vec<Resolver>,
}

/// A container has its own resolvers.
fn scope(program: Option<&Program>) -> u64 {
    match program {
        Some(program) if !program.info.container.is_empty() => hash(&[program.info.container.as_bytes()]),
        _ => 0,
    }
}

impl Resolvers {
    /// Notes that a program asked a resolver.
    pub(super) fn note(&mut self, program: Option<&Program>, ip: IpAddr, now: Timestamp) {
        let scope = scope(program);
        let at = self.list.iter().position(|resolver| resolver.scope == scope && resolver.ip == ip);
        let at = at.unwrap_or_else(|| {
            if self.list.len() >= MAX_RESOLVERS {
                let weakest =
                    self.list.iter().enumerate().min_by_key(|(_, resolver)| {
                        (resolver.by_service, resolver.programs(), resolver.last)
                    });
                if let Some((weakest, _)) = weakest {
                    self.list.swap_remove(weakest);
                }
            }
            let programs = [0; MAX_PROGRAMS];
            self.list.push(Resolver { scope, ip, queries: 0, programs, by_service: false, last: now });
            self.list.len() - 1
        });
        let Some(resolver) = self.list.get_mut(at) else { return };
        resolver.queries = resolver.queries.saturating_add(1);
        resolver.last = resolver.last.max(now);
        let key = program.map_or(0, |program| program.key);
        if !resolver.programs.contains(&key)
            && let Some(room) = resolver.programs.iter_mut().find(|program| **program == 0)
        {
            *room = key;
        }
        resolver.by_service |= program.is_some_and(|program| is_resolver_program(&program.info));
    }

    /// What a resolver is to whoever asks it. Without processes, most questions decide.
    pub(super) fn standing(&self, program: Option<&Program>, ip: IpAddr) -> Standing {
        let scope = scope(program);
        let within = || self.list.iter().filter(move |resolver| resolver.scope == scope);
        if ip.is_loopback() || within().any(|resolver| resolver.ip == ip && resolver.is_usual()) {
            return Standing::Usual;
        }
        if within().any(|resolver| resolver.ip != ip && resolver.is_usual()) {
            return Standing::Odd;
        }
        if program.is_none() {
            let all: u32 = within().fold(0, |all, resolver| all.saturating_add(resolver.queries));
            let of = |wanted: bool| {
                within()
                    .filter(move |resolver| (resolver.ip == ip) == wanted)
                    .any(|resolver| u64::from(resolver.queries) * 2 > u64::from(all))
            };
            if all >= 20 && of(true) {
                return Standing::Usual;
            }
            if all >= 20 && of(false) {
                return Standing::Odd;
            }
        }
        Standing::Unknown
    }

    /// Whether one of the host's own resolvers was asked since then: it has not moved to another network.
    pub(super) fn usual_since(&self, program: Option<&Program>, then: Timestamp) -> Option<IpAddr> {
        let scope = scope(program);
        let mut list: Vec<_> = self
            .list
            .iter()
            .filter(|resolver| resolver.scope == scope && resolver.is_usual() && resolver.last >= then)
            .collect();
        list.sort_unstable_by_key(|resolver| (std::cmp::Reverse(resolver.queries), resolver.ip));
        list.first().map(|resolver| resolver.ip)
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        list_bytes::<Resolver>(self.list.len())
    }

    /// Whether there are no more than there may be.
    pub(super) const fn is_sound(&self) -> bool {
        self.list.len() <= MAX_RESOLVERS
    }

    pub(super) fn shift(&mut self, nanos: i64) {
        for resolver in &mut self.list {
            resolver.last = resolver.last.plus_nanos(nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene;
    use super::*;

    #[test]
    fn what_most_programs_ask_is_the_hosts_and_what_one_asks_is_not() {
        let mut resolvers = Resolvers::default();
        let (own, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let programs = ["/usr/bin/a", "/usr/bin/b", "/usr/bin/c"].map(scene::program);
        let implant = scene::implant();
        let now = Timestamp::from_secs_nanos(1_700_000_000, 0);
        resolvers.note(Some(&implant), other, now);
        assert_eq!(resolvers.standing(Some(&implant), other), Standing::Unknown, "nothing to compare with");
        for program in &programs {
            resolvers.note(Some(program), own, now);
        }
        assert_eq!(resolvers.standing(Some(&implant), own), Standing::Usual);
        assert_eq!(resolvers.standing(Some(&implant), other), Standing::Odd);
        assert_eq!(resolvers.standing(Some(&implant), "127.0.0.53".parse().unwrap()), Standing::Usual);
    }

    #[test]
    fn what_the_resolver_service_asks_is_the_hosts_and_a_flood_of_others_does_not_push_it_out() {
        let mut resolvers = Resolvers::default();
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        let service = scene::program("/usr/lib/systemd/systemd-resolved");
        let implant = scene::implant();
        resolvers.note(Some(&service), own, Timestamp::ZERO);
        for number in 0..1000u32 {
            let ip = IpAddr::V4((0xc633_6400 + number).into());
            resolvers.note(Some(&implant), ip, Timestamp::from_secs_nanos(number.into(), 0));
        }
        assert_eq!(resolvers.standing(Some(&implant), own), Standing::Usual);
        assert!(resolvers.list.len() <= MAX_RESOLVERS);
    }

    #[test]
    fn a_container_has_resolvers_of_its_own() {
        let mut resolvers = Resolvers::default();
        for image in ["/usr/bin/a", "/usr/bin/b", "/usr/bin/c"] {
            resolvers.note(Some(&scene::program(image)), "192.0.2.1".parse().unwrap(), Timestamp::ZERO);
        }
        let mut info = scene::info("/app");
        info.container = "4f2a".into();
        let contained = Program::of(info);
        let public: IpAddr = "192.0.2.9".parse().unwrap();
        resolvers.note(Some(&contained), public, Timestamp::ZERO);
        assert_eq!(resolvers.standing(Some(&contained), public), Standing::Unknown);
    }
}
