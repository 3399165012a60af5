//! The user's map as a table: of all entries that fit a connection, the one that says most of it.

use std::cmp::Reverse;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::ops::Range;

use hashbrown::HashMap;

use super::{Owner, kept};
use crate::format::process_map::MapEntry;
use crate::net::{FiveTuple, Transport};
use crate::process::ProcessInfo;
use crate::time::Timestamp;

/// Entries of a map; further ones are counted and left out. Each takes some 150 bytes.
const MAX_ENTRIES: usize = 1 << 17;
/// Bytes of the texts of all processes in it, and what a process takes beside them; entries of further processes are left
/// out.
const MAX_PROCESS_BYTES: usize = 16 << 20;
const PROCESS_BYTES: usize = size_of::<ProcessInfo>() + 128;
/// Entries for the same ends that are looked at: the latest that begin before the connection does.
const MAX_TRIED: usize = 64;

/// The ends that an entry is about; what it leaves open is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ends {
    local_port: Option<u16>,
    remote_ip: Option<IpAddr>,
    remote_port: Option<u16>,
    local_ip: Option<IpAddr>,
    transport: Option<Transport>,
}

/// Which ends an entry names, as bits: a higher number says more of a connection, and is asked first.
type Mask = u8;
const LOCAL_PORT: Mask = 16;
const REMOTE_IP: Mask = 8;
const REMOTE_PORT: Mask = 4;
const LOCAL_IP: Mask = 2;
const TRANSPORT: Mask = 1;
/// Both ends as a whole.
const BOTH_ENDS: Mask = LOCAL_PORT | REMOTE_IP | REMOTE_PORT | LOCAL_IP;

impl Ends {
    fn mask(&self) -> Mask {
        let bit = |told: bool, bit: Mask| if told { bit } else { 0 };
        bit(self.local_port.is_some(), LOCAL_PORT)
            | bit(self.remote_ip.is_some(), REMOTE_IP)
            | bit(self.remote_port.is_some(), REMOTE_PORT)
            | bit(self.local_ip.is_some(), LOCAL_IP)
            | bit(self.transport.is_some(), TRANSPORT)
    }

    /// What entries with this mask would say of a connection.
    fn of(tuple: &FiveTuple, mask: Mask) -> Self {
        let has = |bit: Mask| mask & bit != 0;
        Self {
            local_port: has(LOCAL_PORT).then(|| tuple.local.port()),
            remote_ip: has(REMOTE_IP).then(|| tuple.remote.ip()),
            remote_port: has(REMOTE_PORT).then(|| tuple.remote.port()),
            local_ip: has(LOCAL_IP).then(|| tuple.local.ip()),
            transport: has(TRANSPORT).then_some(tuple.transport),
        }
    }
}

/// When an entry holds, and whose the connections are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: Timestamp,
    end: Timestamp,
    owner: usize,
}

/// What became of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapCounters {
    /// Entries in the map.
    pub entries: usize,
    /// Processes in it.
    pub processes: usize,
    /// Entries left out for want of room.
    pub left_out: u64,
}

/// Gathers entries.
#[derive(Debug, Default)]
pub struct ProcessMapBuilder {
    hasher: foldhash::fast::FixedState,
    entries: Vec<(Ends, Entry)>,
    owners: Vec<Owner>,
    by_texts: HashMap<u64, usize, foldhash::fast::FixedState>,
    bytes: usize,
    left_out: u64,
}

impl ProcessMapBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &MapEntry<'_>) {
        if self.entries.len() >= MAX_ENTRIES {
            self.left_out += 1;
            return;
        }
        let Some(owner) = self.owner(entry) else {
            self.left_out += 1;
            return;
        };
        let ends = Ends {
            local_port: entry.local_port,
            remote_ip: entry.remote_ip,
            remote_port: entry.remote_port,
            local_ip: entry.local_ip,
            transport: entry.transport,
        };
        let start = entry.start.unwrap_or(Timestamp::from_nanos(i64::MIN));
        let end = entry.end.unwrap_or(Timestamp::from_nanos(i64::MAX));
        self.entries.push((ends, Entry { start, end, owner }));
    }

    /// The process of an entry, which other entries may share.
    fn owner(&mut self, entry: &MapEntry<'_>) -> Option<usize> {
        let texts = [
            entry.image,
            entry.command_line,
            entry.sha256,
            entry.script,
            entry.parent_image,
            entry.user,
            entry.container,
        ];
        let judged = (entry.signed, entry.script_host, entry.browser, entry.age_days.map(f64::to_bits));
        let classes = (entry.location.map(|class| class as u8), entry.parent_class.map(|class| class as u8));
        let hash = self.hasher.hash_one((entry.pid, entry.process_start, texts, judged, classes));
        if let Some(&known) = self.by_texts.get(&hash) {
            return Some(known);
        }
        let info = ProcessInfo {
            image: kept(entry.image),
            command_line: kept(entry.command_line),
            sha256: kept(entry.sha256).to_ascii_lowercase(),
            script: kept(entry.script),
            parent_image: kept(entry.parent_image),
            user: kept(entry.user),
            container: kept(entry.container),
            signed: entry.signed,
            location: entry.location,
            parent_class: entry.parent_class,
            script_host: entry.script_host,
            browser: entry.browser,
            age_days: entry.age_days,
            ..ProcessInfo::default()
        };
        // What is kept of a text may be longer than the text, where it had to be escaped.
        let kept = [
            &info.image,
            &info.command_line,
            &info.sha256,
            &info.script,
            &info.parent_image,
            &info.user,
            &info.container,
        ];
        let bytes = kept.iter().map(|text| text.len()).sum::<usize>() + PROCESS_BYTES;
        if self.bytes + bytes > MAX_PROCESS_BYTES {
            return None;
        }
        self.bytes += bytes;
        let number = self.owners.len();
        self.owners.push(Owner::new(entry.pid.unwrap_or(0), entry.process_start, info));
        self.by_texts.insert(hash, number);
        Some(number)
    }

    /// The map, and what became of the entries.
    #[must_use]
    pub fn build(self) -> (ProcessMap, MapCounters) {
        let Self { mut entries, owners, left_out, .. } = self;
        let counters = MapCounters { entries: entries.len(), processes: owners.len(), left_out };
        // The sort keeps equal ones in the order of the file.
        entries.sort_by_key(|(ends, entry)| (*ends, entry.start));
        let mut index: HashMap<Ends, Range<usize>, foldhash::fast::FixedState> = HashMap::default();
        let mut masks = Vec::new();
        for (at, (ends, _)) in entries.iter().enumerate() {
            index.entry(*ends).or_insert(at..at).end = at + 1;
            let mask = ends.mask();
            if !masks.contains(&mask) {
                masks.push(mask);
            }
        }
        masks.sort_unstable_by_key(|mask| Reverse(*mask));
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        (ProcessMap { owners, entries, index, masks }, counters)
    }
}

/// Connections to processes, as a user says.
#[derive(Debug)]
pub struct ProcessMap {
    owners: Vec<Owner>,
    /// Those for the same ends lie together, by the time at which they begin to hold.
    entries: Vec<Entry>,
    index: HashMap<Ends, Range<usize>, foldhash::fast::FixedState>,
    /// The kinds of entries that there are, those that say most first.
    masks: Vec<Mask>,
}

impl ProcessMap {
    /// Whose a connection that began then was, and whether the entry names both its ends as a whole.
    #[must_use]
    pub fn find(&self, tuple: &FiveTuple, start: Timestamp) -> Option<(&Owner, bool)> {
        self.masks.iter().find_map(|&mask| {
            let range = self.index.get(&Ends::of(tuple, mask))?;
            let same = self.entries.get(range.clone())?;
            // Of those that hold the one that began latest, and of equal ones the last.
            let begun = same.partition_point(|entry| entry.start <= start);
            let mut tried = same.get(..begun)?.iter().rev().take(MAX_TRIED);
            let entry = tried.find(|entry| start <= entry.end)?;
            Some((self.owners.get(entry.owner)?, mask & BOTH_ENDS == BOTH_ENDS))
        })
    }
}
