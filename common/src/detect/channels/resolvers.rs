//! Which resolvers are this host's: those that it is set up to ask, where the source tells, those that its resolver service
//! asks, and those that most of its programs do. The last two are learnt from what is asked; a container has its own.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::hash;
use super::services::is_resolver_program;
use super::table::list_bytes;
use crate::event;
use crate::program::Program;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Resolvers that are told apart. Of more, the one with the fewest programs leaves.
const MAX_RESOLVERS: usize = 32;
/// Programs that are told apart for each.
const MAX_PROGRAMS: usize = 4;
/// A resolver that so many programs ask is the host's.
const PROGRAMS_OF_A_HOST: usize = 3;

/// For so long a host may ask its new resolvers before it is told that it has moved to another network: the sensor looks each
/// minute.
const TOLD_LATE: i64 = 90 * NANOS_PER_SEC;

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
    /// Those that the host is set up to ask. Told anew at each start.
    #[serde(skip)]
    told: Vec<IpAddr>,
}

/// A container has its own resolvers.
fn scope(program: Option<&Program>) -> u64 {
    match program {
        Some(program) if !program.info.container.is_empty() => hash(&[program.info.container.as_bytes()]),
        _ => 0,
    }
}

impl Resolvers {
    /// The host is set up to ask these, and no others that it was told of before. None of them: that is not known any more.
    pub(super) fn tell(&mut self, addresses: &[IpAddr]) {
        self.told = addresses.iter().take(event::MAX_RESOLVERS).map(IpAddr::to_canonical).collect();
    }

    /// Takes in what was learnt before; what was told stays.
    pub(super) fn restore(&mut self, saved: Self) {
        self.list = saved.list;
    }

    /// Whether it is one of the host's own.
    fn is_own(&self, resolver: &Resolver) -> bool {
        resolver.is_usual() || self.is_told(resolver.ip)
    }

    fn is_told(&self, ip: IpAddr) -> bool {
        self.told.contains(&ip.to_canonical())
    }

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
        let learnt = |resolver: &Resolver| resolver.ip == ip && resolver.is_usual();
        if ip.is_loopback() || self.is_told(ip) || within().any(learnt) {
            return Standing::Usual;
        }
        // What the host is set up to ask says nothing of a container.
        let told = scope == 0 && !self.told.is_empty();
        if told || within().any(|resolver| resolver.ip != ip && resolver.is_usual()) {
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

    /// One of the host's own resolvers that was asked since then, so that it has not moved to another network; or one that it
    /// is still set up to ask long enough after.
    pub(super) fn usual_since(
        &self,
        program: Option<&Program>,
        then: Timestamp,
        now: Timestamp,
    ) -> Option<IpAddr> {
        let scope = scope(program);
        let mut list: Vec<_> = self
            .list
            .iter()
            .filter(|resolver| resolver.scope == scope && self.is_own(resolver) && resolver.last >= then)
            .collect();
        list.sort_unstable_by_key(|resolver| (std::cmp::Reverse(resolver.queries), resolver.ip));
        let told = || self.told.first().filter(|_| scope == 0 && now.since(then) >= TOLD_LATE);
        list.first().map(|resolver| &resolver.ip).or_else(told).copied()
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        list_bytes::<Resolver>(self.list.len()) + list_bytes::<IpAddr>(self.told.len())
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
    use crate::process::ProcessInfo;

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
    fn what_the_host_is_set_up_to_ask_is_its_own_until_it_is_told_otherwise() {
        let mut resolvers = Resolvers::default();
        let (own, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let program = scene::program("/usr/bin/a");
        let now = Timestamp::from_secs_nanos(1_700_000_000, 0);
        let later = |secs| now.plus_nanos(secs * NANOS_PER_SEC);
        resolvers.tell(&["::ffff:192.0.2.1".parse().unwrap()]);
        assert_eq!(resolvers.standing(Some(&program), own), Standing::Usual);
        assert_eq!(resolvers.standing(Some(&program), other), Standing::Odd);
        assert_eq!(resolvers.usual_since(Some(&program), now, later(60)), None, "it may have moved");
        assert_eq!(resolvers.usual_since(Some(&program), now, later(90)), Some("192.0.2.1".parse().unwrap()));
        resolvers.note(Some(&program), own, later(1));
        assert_eq!(resolvers.usual_since(Some(&program), now, later(2)), Some(own));

        // A container is not set up as its host is, but what is the host's is no stranger to it.
        let contained = Program::of(ProcessInfo { container: "4f2a".into(), ..scene::info("/app") });
        assert_eq!(resolvers.standing(Some(&contained), own), Standing::Usual);
        assert_eq!(resolvers.standing(Some(&contained), other), Standing::Unknown);

        let bytes = postcard::to_allocvec(&resolvers).unwrap();
        resolvers.restore(postcard::from_bytes(&bytes).unwrap());
        assert_eq!(resolvers.standing(Some(&program), other), Standing::Odd, "still told");
        resolvers.tell(&[other]);
        assert_eq!(resolvers.standing(Some(&program), other), Standing::Usual);
        assert_eq!(resolvers.standing(Some(&program), own), Standing::Odd, "one program is not most");
        resolvers.tell(&[]);
        assert_eq!(resolvers.standing(Some(&program), own), Standing::Unknown);
        resolvers.tell(&[own; 100]);
        assert_eq!(resolvers.told.len(), event::MAX_RESOLVERS);
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
