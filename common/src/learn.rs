//! What a host has learnt of itself: since when it knows its programs and destinations, where no source tells.
//!
//! For the first days everything is unknown, not new: the alert says so, and scores what is usual. What was seen by then is
//! the ground; what comes later is new for a week. What was not seen for a month is forgotten.

use std::hash::Hasher as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::program::Program;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::ways::Ways;

const MINUTE: i64 = 60 * NANOS_PER_SEC;
const DAY: i64 = 86_400 * NANOS_PER_SEC;
/// Minutes of a day, as [`Span`] counts.
const DAY_MINUTES: u32 = 1_440;
/// What was not seen for so long is forgotten: longer than a monthly job, so that it stays known.
const FORGOTTEN_MINUTES: u32 = 40 * DAY_MINUTES;
/// A destination that came after the learning period is new for so long (scorer specification 2.5: dstnew).
const NEW_MINUTES: u32 = 7 * DAY_MINUTES;
/// A destination of the learning period is known once it is that old (scorer specification 2.5: dstnew).
const KNOWN_MINUTES: u32 = 2 * DAY_MINUTES;
/// Silence for longer than this is not watching: a capture may hold two moments that lie years apart.
const MAX_SILENCE: i64 = 3_600 * NANOS_PER_SEC;
/// Share of the memory that goes to programs, as a divisor; the rest is for destinations.
const PROGRAMS_SHARE: usize = 4;

/// When something was first and last seen, in minutes since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    first: u32,
    last: u32,
}

impl Span {
    /// What is worth keeping: what came back on another day before what did not, then what was seen of late. A flood of
    /// names that are seen once leaves what is known alone.
    const fn worth(&self) -> (bool, u32) {
        (self.last.saturating_sub(self.first) >= DAY_MINUTES, self.last)
    }

    const fn is_forgotten(&self, now: u32) -> bool {
        now.saturating_sub(self.last) > FORGOTTEN_MINUTES
    }
}

/// Since when a host knows what it calls, and with what.
#[derive(Debug)]
pub struct Learned {
    seed: (u64, u64),
    /// First and latest event.
    seen: Option<(Timestamp, Timestamp)>,
    /// Time watched, in nanoseconds.
    watched: i64,
    /// When the learning period was over.
    over: Option<Timestamp>,
    destinations: Ways<Span>,
    programs: Ways<Span>,
    evicted: u64,
}

/// Its form on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    seed: (u64, u64),
    seen: Option<(Timestamp, Timestamp)>,
    watched: i64,
    over: Option<Timestamp>,
    destinations: Vec<(u64, Span)>,
    programs: Vec<(u64, Span)>,
    evicted: u64,
}

impl Learned {
    /// Nothing known yet, within `memory_bytes`. `seed` keys the hashes.
    #[must_use]
    pub fn new(memory_bytes: usize, seed: (u64, u64)) -> Self {
        let programs = memory_bytes / PROGRAMS_SHARE;
        Self {
            seed,
            seen: None,
            watched: 0,
            over: None,
            destinations: Ways::new(memory_bytes - programs),
            programs: Ways::new(programs),
            evicted: 0,
        }
    }

    /// The key of its hashes.
    pub(crate) const fn seed(&self) -> (u64, u64) {
        self.seed
    }

    /// Changes the budget; what is worth least leaves.
    pub fn set_memory(&mut self, memory_bytes: usize) {
        let programs = memory_bytes / PROGRAMS_SHARE;
        self.evicted += self.destinations.set_capacity(memory_bytes - programs, Span::worth);
        self.evicted += self.programs.set_capacity(programs, Span::worth);
    }

    /// Memory held, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.destinations.memory_bytes() + self.programs.memory_bytes()
    }

    /// Programs and destinations forgotten for want of memory.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Notes that time went by, with something to see in it. `period_days`: how long there is nothing but to learn.
    pub fn watch(&mut self, now: Timestamp, period_days: u32) {
        let (first, latest) = self.seen.unwrap_or((now, now));
        self.seen = Some((first.min(now), now));
        self.watched = self.watched.saturating_add(now.since(latest).clamp(0, MAX_SILENCE));
        let is_over = self.watched >= i64::from(period_days).saturating_mul(DAY);
        self.over = is_over.then(|| self.over.unwrap_or(now));
    }

    /// Notes that a program was seen.
    pub fn note_program(&mut self, program: &Program, now: Timestamp) {
        let hash = self.program_hash(program);
        self.evicted += u64::from(note(&mut self.programs, hash, now));
    }

    /// Notes that a destination was: a registrable domain, or an address where that is empty.
    pub fn note_destination(&mut self, registrable: &str, ip: Option<IpAddr>, now: Timestamp) {
        if let Some(hash) = self.destination_hash(registrable, ip) {
            self.evicted += u64::from(note(&mut self.destinations, hash, now));
        }
    }

    /// Whether enough was seen to tell what is new.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// For how long the host had been watched at a time, in seconds.
    #[must_use]
    pub fn watched_secs(&self, at: Timestamp) -> u64 {
        let since = self.seen.map_or(0, |(first, _)| at.since(first));
        u64::try_from(self.watched.min(since) / NANOS_PER_SEC).unwrap_or(0)
    }

    /// Days for which a destination is known; 0 if it is not. `None` while learning.
    #[must_use]
    pub fn destination_days(&self, registrable: &str, ip: Option<IpAddr>, now: Timestamp) -> Option<f64> {
        self.over?;
        let span = self.destination(registrable, ip, now);
        Some(span.map_or(0.0, |span| days(minutes(now).saturating_sub(span.first))))
    }

    /// Whether a destination is new; `None` where that cannot be told: while learning, and of what was forgotten.
    #[must_use]
    pub fn is_new(&self, registrable: &str, ip: Option<IpAddr>, now: Timestamp) -> Option<bool> {
        let over = minutes(self.over?);
        let span = self.destination(registrable, ip, now)?;
        let age = minutes(now).saturating_sub(span.first);
        if span.first < over {
            return (age >= KNOWN_MINUTES).then_some(false);
        }
        Some(age < NEW_MINUTES)
    }

    /// Days for which a program is known. `None` while learning.
    #[must_use]
    pub fn program_days(&self, program: &Program, now: Timestamp) -> Option<f64> {
        self.over?;
        let now = minutes(now);
        let span = self.programs.get(self.program_hash(program)).filter(|span| !span.is_forgotten(now))?;
        Some(days(now.saturating_sub(span.first)))
    }

    /// Moves all times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        let by = |minutes: u32| shifted(minutes, nanos);
        for span in self.destinations.iter_mut().chain(self.programs.iter_mut()) {
            (span.first, span.last) = (by(span.first), by(span.last));
        }
        let times = self.seen.iter_mut().flat_map(|(first, latest)| [first, latest]).chain(&mut self.over);
        for time in times {
            *time = time.plus_nanos(nanos);
        }
    }

    pub(crate) fn save(&self) -> Saved {
        let list = |table: &Ways<Span>| {
            let mut list: Vec<_> = table.iter().map(|(hash, span)| (hash, *span)).collect();
            list.sort_unstable_by_key(|(hash, _)| *hash);
            list
        };
        Saved {
            seed: self.seed,
            seen: self.seen,
            watched: self.watched,
            over: self.over,
            destinations: list(&self.destinations),
            programs: list(&self.programs),
            evicted: self.evicted,
        }
    }

    /// What was saved, within `memory_bytes`.
    pub(crate) fn restore(memory_bytes: usize, saved: Saved) -> Self {
        let mut this = Self::new(memory_bytes, saved.seed);
        (this.seen, this.watched, this.over) = (saved.seen, saved.watched.max(0), saved.over);
        let mut evicted = 0;
        for (table, list) in
            [(&mut this.destinations, saved.destinations), (&mut this.programs, saved.programs)]
        {
            for (hash, span) in list {
                if table.get(hash).is_none() {
                    evicted += u64::from(table.insert(hash, span, Span::worth).is_some());
                }
            }
        }
        this.evicted = saved.evicted.saturating_add(evicted);
        this
    }

    fn destination(&self, registrable: &str, ip: Option<IpAddr>, now: Timestamp) -> Option<Span> {
        let hash = self.destination_hash(registrable, ip)?;
        self.destinations.get(hash).filter(|span| !span.is_forgotten(minutes(now))).copied()
    }

    fn destination_hash(&self, registrable: &str, ip: Option<IpAddr>) -> Option<u64> {
        let mut hash = SipHasher24::new_with_keys(self.seed.0, self.seed.1);
        match (registrable, ip) {
            ("", None) => return None,
            ("", Some(IpAddr::V4(ip))) => hash.write(&ip.octets()),
            ("", Some(IpAddr::V6(ip))) => hash.write(&ip.octets()),
            (name, _) => hash.write(name.as_bytes()),
        }
        Some(hash.finish())
    }

    /// A signed program stays known through an update of its file; one that nobody vouches for is its file's hash.
    fn program_hash(&self, program: &Program) -> u64 {
        let info = &program.info;
        let vouched = info.signed == Some(true) || info.sha256.is_empty();
        let file = if vouched { &info.image } else { &info.sha256 };
        let mut hash = SipHasher24::new_with_keys(self.seed.0, self.seed.1);
        hash.write_u8(u8::from(!info.container.is_empty()));
        for text in [file, &info.script] {
            hash.write(text.as_bytes());
            hash.write_u8(0xff);
        }
        hash.finish()
    }
}

/// Notes that something was seen; whether something else left for it.
fn note(table: &mut Ways<Span>, hash: u64, now: Timestamp) -> bool {
    let now = minutes(now);
    if let Some(span) = table.get_mut(hash) {
        if span.is_forgotten(now) {
            span.first = now;
        }
        span.last = span.last.max(now);
        return false;
    }
    let gone = table.insert(hash, Span { first: now, last: now }, Span::worth);
    gone.is_some_and(|gone| !gone.is_forgotten(now))
}

/// Minutes since 1970, as far as a `u32` reaches.
fn minutes(time: Timestamp) -> u32 {
    u32::try_from(time.nanos().max(0) / MINUTE).unwrap_or(u32::MAX)
}

fn shifted(minutes: u32, nanos: i64) -> u32 {
    let moved = i64::from(minutes).saturating_add(nanos / MINUTE).max(0);
    u32::try_from(moved).unwrap_or(u32::MAX)
}

fn days(minutes: u32) -> f64 {
    f64::from(minutes) / f64::from(DAY_MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessInfo;

    const HOUR: i64 = 3_600 * NANOS_PER_SEC;

    fn day(days: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        Timestamp::from_secs_nanos(1_700_000_000 + (days * 86_400.0) as i64, 0)
    }

    /// Watches from one day to another, and sees what is given every hour.
    fn watch(learned: &mut Learned, from: f64, until: f64, names: &[&str]) {
        let mut now = day(from);
        while now <= day(until) {
            learned.watch(now, 7);
            for name in names {
                learned.note_destination(name, Some([192, 0, 2, 1].into()), now);
            }
            now = now.plus_nanos(HOUR);
        }
    }

    fn new(learned: &Learned, name: &str, at: f64) -> Option<bool> {
        learned.is_new(name, Some([192, 0, 2, 1].into()), day(at))
    }

    #[test]
    fn while_learning_nothing_is_new_and_nothing_is_known() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        watch(&mut learned, 0.0, 6.9, &["a.example"]);
        assert_eq!((new(&learned, "a.example", 6.9), new(&learned, "b.example", 6.9)), (None, None));
        assert_eq!(learned.destination_days("a.example", None, day(6.9)), None);
        let watched = learned.watched_secs(day(6.9));
        assert!((590_000..=600_000).contains(&watched), "{watched}");
        assert_eq!(learned.watched_secs(day(0.5)), 43_200, "as it was then");
    }

    #[test]
    fn what_was_there_is_known_and_what_comes_is_new_for_a_week() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        watch(&mut learned, 0.0, 6.5, &["a.example"]);
        watch(&mut learned, 6.5, 8.0, &["a.example", "late.example"]);
        assert_eq!(new(&learned, "a.example", 8.0), Some(false));
        assert_eq!(new(&learned, "late.example", 8.0), None, "too young to be known, too old to be new");
        watch(&mut learned, 8.0, 9.0, &["late.example", "c2.example"]);
        assert_eq!(new(&learned, "late.example", 9.0), Some(false));
        assert_eq!(new(&learned, "c2.example", 9.0), Some(true));
        watch(&mut learned, 9.0, 15.5, &["c2.example"]);
        assert_eq!(new(&learned, "c2.example", 14.9), Some(true));
        assert_eq!(new(&learned, "c2.example", 15.1), Some(false));
        assert_eq!(
            learned.destination_days("never.example", Some([1, 1, 1, 1].into()), day(15.0)),
            Some(0.0)
        );
    }

    #[test]
    fn what_was_not_seen_for_long_is_new_again() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        watch(&mut learned, 0.0, 10.0, &["a.example", "b.example"]);
        watch(&mut learned, 10.0, 60.0, &["a.example"]);
        assert_eq!(new(&learned, "b.example", 60.0), None, "forgotten");
        watch(&mut learned, 60.0, 60.1, &["b.example"]);
        assert_eq!(new(&learned, "b.example", 60.1), Some(true));
        assert_eq!(new(&learned, "a.example", 60.1), Some(false));
    }

    #[test]
    fn two_moments_years_apart_are_not_years_of_watching() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        for at in [0.0, 400.0, 800.0] {
            watch(&mut learned, at, at + 0.1, &["a.example"]);
        }
        assert!(!learned.is_over());
        assert!(learned.watched_secs(day(801.0)) < 10 * 3_600);
    }

    #[test]
    fn a_flood_of_names_leaves_what_is_known_alone_and_is_counted() {
        let mut learned = Learned::new(1 << 14, (1, 2));
        watch(&mut learned, 0.0, 8.0, &["a.example", "b.example"]);
        for number in 0..20_000 {
            learned.note_destination(&format!("{number}.example"), Some([192, 0, 2, 1].into()), day(8.0));
        }
        assert!(learned.memory_bytes() <= 1 << 14 && learned.evicted() > 18_000);
        assert_eq!(
            (new(&learned, "a.example", 8.0), new(&learned, "b.example", 8.0)),
            (Some(false), Some(false))
        );
    }

    #[test]
    fn programs_stay_known_through_an_update_only_if_someone_vouches_for_them() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        let of = |image: &str, sha256: &str, signed| {
            Program::of(ProcessInfo {
                image: image.into(),
                sha256: sha256.into(),
                signed: Some(signed),
                ..ProcessInfo::default()
            })
        };
        for program in [of("/usr/bin/a", "11", true), of("/opt/b", "22", false)] {
            learned.note_program(&program, day(0.0));
        }
        watch(&mut learned, 0.0, 8.0, &[]);
        let known = |image, sha256, signed| learned.program_days(&of(image, sha256, signed), day(8.0));
        assert_eq!(known("/usr/bin/a", "33", true), Some(8.0));
        assert_eq!(known("/opt/b", "22", false), Some(8.0));
        assert_eq!(known("/opt/b", "44", false), None);
        assert_eq!(known("/usr/bin/a", "33", false), None, "what stands in a signed program's place");
    }

    #[test]
    fn what_is_learnt_survives_a_restart_and_moves_with_the_clock() {
        let mut learned = Learned::new(1 << 16, (1, 2));
        watch(&mut learned, 0.0, 9.0, &["a.example"]);
        watch(&mut learned, 9.0, 9.5, &["c2.example"]);
        let bytes = postcard::to_allocvec(&learned.save()).unwrap();
        let mut again = Learned::restore(1 << 16, postcard::from_bytes(&bytes).unwrap());
        assert_eq!(postcard::to_allocvec(&again.save()).unwrap(), bytes);
        again.shift(-3 * DAY);
        for (name, expected) in [("a.example", Some(false)), ("c2.example", Some(true)), ("b.example", None)]
        {
            assert_eq!(new(&learned, name, 9.5), expected);
            assert_eq!(new(&again, name, 6.5), expected);
        }
        again.watch(day(6.5), 30);
        assert!(!again.is_over(), "a longer period begins to hold at once");
    }
}
