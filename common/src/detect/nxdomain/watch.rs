//! What one program (or a host, where no program is known) asked for that does not exist: the latest 64 names, in
//! bounded memory, with what else tells a generator from a list of dead links or a resolver that blocks.

use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;

use super::asked::Asked;
use super::look::{Look, look};
use super::pattern::{self, Pattern};
use super::report::Told;
use crate::event::DnsEvent;
use crate::net::is_internal;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Names kept per program; of more the oldest leaves. The patterns look at no more.
const MAX_NAMES: usize = 64;
/// Room is made for so many at a time: most programs ask for one or two in vain.
const GROWTH: usize = 8;
/// Names that exist, remembered per program: enough to say that most do, of as many names as are kept.
const MAX_EXISTING: usize = 4 * MAX_NAMES;
/// Widely used names that were said not to exist, remembered per program.
const MAX_DENIED: usize = 16;
/// Types of query counted per program.
const MAX_TYPES: usize = 8;
/// Names stay together for so long: slow generators ask for one a minute or two.
const WINDOW: i64 = 3 * 3_600 * NANOS_PER_SEC;
/// A silence of so long ends a burst: what comes then is another.
const BURST_END: i64 = 3_600 * NANOS_PER_SEC;
/// A burst without regard to how names look is counted in this window (scorer specification 6).
const BURST_WINDOW: i64 = 600 * NANOS_PER_SEC;
/// A name that answers so long after the last that did not is what they were asked for.
const FOUND_WITHIN: i64 = 1_800 * NANOS_PER_SEC;
/// So many names have to have failed before one that answers is the one looked for…
const MIN_FAILED: usize = 4;
/// …and so much has to speak for a pattern, in bans, that it has to fit. Without one, so many names in the burst.
const MIN_PATTERN_BANS: f64 = 2.0;
const MIN_BURST: f64 = 10.0;
/// What an allocation takes beside what is in it.
const BYTES_PER_TEXT: usize = 16;

/// A name that does not exist.
#[derive(Debug)]
struct Name {
    time: Timestamp,
    text: Box<str>,
    /// `None` where it cannot be judged, or its label was judged already below another suffix.
    look: Option<Look>,
    bare: bool,
}

/// The name that answered after others had not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Box<str>,
    pub(super) ip: IpAddr,
    pub(super) addresses: u32,
    pub(super) ttl_secs: u32,
}

/// The names of the latest ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Burst {
    /// Names, those of hosts below a domain counted a quarter: lists of trackers and services name hosts.
    pub(super) weight: f64,
    /// Names…
    pub(super) names: u32,
    /// …asked for by themselves.
    pub(super) bare: u32,
    /// Names that do exist, asked for in the same time.
    pub(super) existing: u32,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing that changes a verdict.
    None,
    /// One more name that does not exist.
    Name,
    /// The name that was looked for.
    Found,
}

/// One program's names.
#[derive(Debug, Default)]
pub(super) struct Watch {
    names: VecDeque<Name>,
    existing: VecDeque<(u64, Timestamp)>,
    denied: VecDeque<(u64, Timestamp)>,
    /// What the program asked in this burst: all questions for addresses, those answered that there is no such name, and
    /// distinct names among these.
    pub(super) queries: u32,
    pub(super) nxdomain: u32,
    pub(super) distinct: u32,
    pub(super) types: ArrayVec<(u16, u32), MAX_TYPES>,
    pub(super) resolver: Option<SocketAddr>,
    /// Of the burst.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) found: Option<Found>,
    /// The best pattern and burst so far.
    pub(super) pattern: Option<Pattern>,
    pub(super) burst: Burst,
    /// What was told of each class.
    pub(super) told: [Option<Told>; 2],
}

fn fingerprint(name: &str) -> u64 {
    let mut hash = SipHasher13::new();
    hash.write(name.as_bytes());
    hash.finish()
}

/// Remembers a name once, at its latest time.
fn note(list: &mut VecDeque<(u64, Timestamp)>, most: usize, name: &str, now: Timestamp) {
    let print = fingerprint(name);
    if let Some(known) = list.iter_mut().find(|(known, _)| *known == print) {
        known.1 = now;
        return;
    }
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back((print, now));
}

fn within(list: &VecDeque<(u64, Timestamp)>, now: Timestamp, window: i64) -> u32 {
    let recent = list.iter().filter(|(_, time)| now.since(*time) <= window).count();
    u32::try_from(recent).unwrap_or(u32::MAX)
}

impl Watch {
    /// Counts a question.
    pub(super) fn ask(&mut self, query: &DnsEvent<'_>) {
        self.queries = self.queries.saturating_add(1);
        self.resolver = query.resolver.or(self.resolver);
        if let Some((_, count)) = self.types.iter_mut().find(|(kind, _)| *kind == query.query_type) {
            *count = count.saturating_add(1);
        } else if !self.types.is_full() {
            // Those asked first are the usual ones.
            self.types.push((query.query_type, 1));
        }
    }

    /// Lets go of what is too old, or from a time that has not come: the clock was set, or another capture begins.
    fn expire(&mut self, now: Timestamp) {
        while self.names.front().is_some_and(|name| now.since(name.time) > WINDOW) {
            self.names.pop_front();
        }
        if self.distinct > 0 && (now.since(self.last) > BURST_END || self.last > now) {
            self.begin();
        }
    }

    /// A new burst. What the program found stays known.
    fn begin(&mut self) {
        self.names.clear();
        (self.queries, self.nxdomain, self.distinct) = (0, 0, 0);
        self.types.clear();
        self.told = [None, None];
        self.pattern = None;
        self.burst = Burst::default();
    }

    /// A name that does not exist. `exists` says that it is widely used or was known here before, so that the answer says
    /// something about the resolver only.
    pub(super) fn missing(
        &mut self,
        asked: &Asked<'_>,
        query: &DnsEvent<'_>,
        exists: bool,
        now: Timestamp,
    ) -> News {
        self.expire(now);
        if self.distinct == 0 {
            self.begin();
        }
        self.ask(query);
        self.nxdomain = self.nxdomain.saturating_add(1);
        if exists {
            note(&mut self.denied, MAX_DENIED, asked.name, now);
            return News::None;
        }
        let print = fingerprint(asked.name);
        // A name server may deny one type of a name that exists.
        if self.existing.iter().any(|(known, _)| *known == print)
            || self.names.iter().any(|name| *name.text == *asked.name)
        {
            return News::None;
        }
        if self.distinct == 0 {
            self.first = now;
        }
        self.last = now;
        self.distinct = self.distinct.saturating_add(1);
        // One label below many suffixes is one choice of letters.
        let judged = |name: &Name| name.look.is_some() && name.text.split('.').next() == Some(asked.label);
        let look = if self.names.iter().any(judged) { None } else { look(asked.label) };
        if self.names.len() >= MAX_NAMES {
            self.names.pop_front();
        }
        if self.names.len() == self.names.capacity() {
            self.names.reserve_exact(GROWTH);
        }
        self.names.push_back(Name { time: now, text: asked.name.into(), look, bare: asked.bare });
        let pattern = pattern::best(self.names.iter().rev().filter_map(|name| name.look));
        if let Some(pattern) = pattern
            && self.pattern.is_none_or(|best| pattern.total() >= best.total())
        {
            self.pattern = Some(pattern);
        }
        let burst = self.recent(now);
        if burst.weight >= self.burst.weight {
            self.burst = burst;
        }
        News::Name
    }

    /// A name that exists.
    pub(super) fn exists(
        &mut self,
        asked: &Asked<'_>,
        query: &DnsEvent<'_>,
        is_new: bool,
        now: Timestamp,
    ) -> News {
        self.expire(now);
        self.ask(query);
        self.names.retain(|name| *name.text != *asked.name);
        note(&mut self.existing, MAX_EXISTING, asked.name, now);
        let address = query.addresses.iter().find(|ip| !is_internal(**ip));
        let Some(ip) = address.filter(|_| is_new && asked.bare && self.found.is_none()) else {
            return News::None;
        };
        if self.names.len() < MIN_FAILED || now.since(self.last) > FOUND_WITHIN || !self.leads_to(asked, now)
        {
            return News::None;
        }
        self.found = Some(Found {
            name: asked.name.into(),
            ip: *ip,
            addresses: u32::try_from(query.addresses.len()).unwrap_or(u32::MAX),
            ttl_secs: query.ttl_secs,
        });
        News::Found
    }

    /// Whether a name is as those that failed.
    fn leads_to(&self, asked: &Asked<'_>, now: Timestamp) -> bool {
        let Some(look) = look(asked.label) else { return false };
        match pattern::best(self.names.iter().rev().filter_map(|name| name.look)) {
            Some(pattern) if pattern.total() >= MIN_PATTERN_BANS => pattern.fits(&look),
            // Names without a common look: as long as they are, of a suffix that they had, and most names fail.
            Some(pattern) => {
                let burst = self.recent(now);
                let suffix = Asked::suffix(asked.name);
                burst.weight >= MIN_BURST
                    && burst.existing <= burst.names
                    && pattern.has_length(&look)
                    && self.names.iter().any(|name| Asked::suffix(&name.text) == suffix)
            }
            None => false,
        }
    }

    /// The burst of the latest ten minutes.
    fn recent(&self, now: Timestamp) -> Burst {
        let mut burst = Burst { existing: within(&self.existing, now, BURST_WINDOW), ..Burst::default() };
        for name in self.names.iter().rev().take_while(|name| now.since(name.time) <= BURST_WINDOW) {
            burst.names += 1;
            burst.bare += u32::from(name.bare);
            burst.weight += if name.bare { 1.0 } else { 0.25 };
        }
        burst
    }

    /// Widely used or known names that were said not to exist, and all names that were.
    pub(super) fn denied(&self, now: Timestamp) -> (u32, u32) {
        let denied = within(&self.denied, now, WINDOW);
        (denied, denied.saturating_add(u32::try_from(self.names.len()).unwrap_or(u32::MAX)))
    }

    /// Whether it was told that the names look generated.
    pub(super) const fn told_generated(&self) -> bool {
        let [generated, _] = &self.told;
        generated.is_some()
    }

    /// How many of the names that are kept were asked for by themselves, and how many are kept.
    pub(super) fn bare(&self) -> (usize, usize) {
        (self.names.iter().filter(|name| name.bare).count(), self.names.len())
    }

    /// The latest names, at most `most`, oldest first.
    pub(super) fn samples(&self, most: usize) -> impl Iterator<Item = &str> {
        self.names.iter().skip(self.names.len().saturating_sub(most)).map(|name| &*name.text)
    }

    /// How much it is worth: names that came lately. What has the least leaves first.
    pub(super) fn worth(&self) -> (usize, Timestamp) {
        (self.names.len(), self.last)
    }

    /// Forgets the oldest name, else all that exist; whether there was anything.
    pub(super) fn forget_one(&mut self) -> bool {
        let gone = self.names.pop_front().is_some();
        self.names.shrink_to_fit();
        if gone || self.existing.capacity() + self.denied.capacity() == 0 {
            return gone;
        }
        (self.existing, self.denied) = (VecDeque::new(), VecDeque::new());
        true
    }

    /// Memory held, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.names.capacity() * size_of::<Name>()
            + self.names.iter().map(|name| name.text.len() + BYTES_PER_TEXT).sum::<usize>()
            + (self.existing.capacity() + self.denied.capacity()) * size_of::<(u64, Timestamp)>()
            + self.found.as_ref().map_or(0, |found| found.name.len() + BYTES_PER_TEXT)
    }

    /// Moves all times, when the clock was set.
    pub(super) fn shift(&mut self, nanos: i64) {
        let shift = |time: &mut Timestamp| *time = time.plus_nanos(nanos);
        self.names.iter_mut().for_each(|name| shift(&mut name.time));
        self.existing.iter_mut().chain(&mut self.denied).for_each(|(_, time)| shift(time));
        shift(&mut self.first);
        shift(&mut self.last);
    }
}
