//! Destinations seen of late, also those called but once, for feeds that come later: when, by which program.
//!
//! Bounded by weight. When full, the one that is longest in line and was not seen again meanwhile goes, so that what comes
//! once does not displace what comes again.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::alert::Level;
use crate::certificate::Certificate;
use crate::detect::beacon::texts;
use crate::event::{AppProtocol, Ja4, MAX_NAME_BYTES};
use crate::net::Transport;
use crate::process::{ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::time::Timestamp;

/// Destinations remembered, at most.
const MAX_RECENT: usize = 65_536;
/// What one takes beside its name: itself, its places in line and in a map that doubles.
const BYTES_PER_RECENT: usize = size_of::<Recent>() + 3 * 8 + 8;

/// A destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Recent {
    /// Its name; empty for a bare address.
    pub(super) name: Box<str>,
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) protocol: AppProtocol,
    pub(super) ja4: Option<Ja4>,
    /// Certificate that its server showed, where one was looked for: few do.
    certificate: Option<Box<Certificate>>,
    /// Connections, or questions for the name.
    pub(super) level: Level,
    /// Key of the program; 0 without one.
    pub(super) program_key: u64,
    pub(super) process: Option<ProcessKey>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u32,
    /// Seen again since it was last in line.
    again: bool,
}

impl Recent {
    /// A destination seen for the first time, at `start`.
    #[expect(clippy::too_many_arguments, reason = "its fields, once")]
    pub(super) fn new(
        level: Level,
        name: &str,
        ip: Option<IpAddr>,
        port: u16,
        transport: Transport,
        program: Option<&Program>,
        process: Option<ProcessKey>,
        start: Timestamp,
    ) -> Self {
        Self {
            name: name.into(),
            ip,
            port,
            transport,
            protocol: AppProtocol::Unknown,
            ja4: None,
            certificate: None,
            level,
            program_key: program.map_or(0, |program| program.key),
            process,
            first: start,
            last: start,
            count: 1,
            again: false,
        }
    }

    /// The certificate that its server showed last.
    pub(super) fn certificate(&self) -> Certificate {
        self.certificate.as_deref().copied().unwrap_or_default()
    }

    /// What it takes.
    fn weight(&self) -> usize {
        let certificate = if self.certificate.is_some() { size_of::<Certificate>() } else { 0 };
        BYTES_PER_RECENT + self.name.len() + certificate
    }

    fn key(&self) -> u64 {
        key(self.level, self.program_key, &self.name, self.ip, self.port)
    }
}

/// What a destination is found by.
fn key(level: Level, program: u64, name: &str, ip: Option<IpAddr>, port: u16) -> u64 {
    let mut hash = SipHasher24::new();
    hash.write_u8(level as u8);
    hash.write_u64(program);
    hash.write_u16(port);
    match ip {
        Some(IpAddr::V4(ip)) if name.is_empty() => hash.write(&ip.octets()),
        Some(IpAddr::V6(ip)) if name.is_empty() => hash.write(&ip.octets()),
        _ => hash.write(name.as_bytes()),
    }
    hash.finish()
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Recents {
    entries: HashMap<u64, Recent, foldhash::fast::RandomState>,
    line: VecDeque<u64>,
    /// Programs by their keys, their texts cut, and how many destinations each has.
    programs: HashMap<u64, (Arc<ProcessInfo>, u32), foldhash::fast::RandomState>,
    bytes: usize,
    capacity: usize,
    evicted: u64,
}

impl Recents {
    pub(super) fn set_memory(&mut self, memory_bytes: usize) {
        self.capacity = memory_bytes;
        self.make_room();
    }

    /// Takes in a sight; `make` describes the destination if it is new.
    pub(super) fn note(&mut self, seen: Recent, program: Option<&Program>) {
        let key = seen.key();
        if let Some(known) = self.entries.get_mut(&key) {
            known.last = known.last.max(seen.last);
            known.count = known.count.saturating_add(1);
            known.again = true;
            (known.ip, known.process) = (seen.ip.or(known.ip), seen.process.or(known.process));
            known.ja4 = seen.ja4.or(known.ja4);
            return;
        }
        self.put(key, seen, program.map(|program| &program.info));
    }

    /// A destination showed a certificate; one that is not remembered is passed over.
    pub(super) fn showed(
        &mut self,
        level: Level,
        program: u64,
        name: &str,
        ip: Option<IpAddr>,
        port: u16,
        certificate: Certificate,
    ) {
        let Some(known) = self.entries.get_mut(&key(level, program, name, ip, port)) else { return };
        match &mut known.certificate {
            Some(old) => **old = certificate,
            none => {
                *none = Some(Box::new(certificate));
                self.bytes += size_of::<Certificate>();
                self.make_room();
            }
        }
    }

    fn put(&mut self, key: u64, seen: Recent, program: Option<&Arc<ProcessInfo>>) {
        if let Some(info) = program {
            let (_, users) = self.programs.entry(seen.program_key).or_insert_with(|| {
                let kept = Arc::new(texts::cut(info));
                self.bytes += texts::weight(&kept);
                (kept, 0)
            });
            *users += 1;
        }
        self.bytes += seen.weight();
        self.entries.insert(key, seen);
        self.line.push_back(key);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.bytes > self.capacity || self.entries.len() > MAX_RECENT {
            let Some(key) = self.line.pop_front() else { return };
            if self.entries.get_mut(&key).is_some_and(|entry| std::mem::take(&mut entry.again)) {
                self.line.push_back(key);
            } else if let Some(gone) = self.entries.remove(&key) {
                self.evicted += 1;
                self.bytes -= gone.weight();
                let Some((info, users)) = self.programs.get_mut(&gone.program_key) else { continue };
                *users -= 1;
                if *users == 0 {
                    self.bytes -= texts::weight(info);
                    self.programs.remove(&gone.program_key);
                }
            }
        }
    }

    /// All, in line.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Recent, Option<&Arc<ProcessInfo>>)> {
        self.line
            .iter()
            .filter_map(|key| self.entries.get(key))
            .map(|entry| (entry, self.programs.get(&entry.program_key).map(|(info, _)| info)))
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn shift(&mut self, nanos: i64) {
        for entry in self.entries.values_mut() {
            entry.first = entry.first.plus_nanos(nanos);
            entry.last = entry.last.plus_nanos(nanos);
        }
    }

    /// All of it, as bytes.
    pub(super) fn save(&self) -> Vec<u8> {
        let mut programs: Vec<_> = self.programs.iter().map(|(key, (info, _))| (key, info)).collect();
        programs.sort_unstable_by_key(|(key, _)| **key);
        let entries: Vec<_> = self.iter().map(|(entry, _)| entry).collect();
        postcard::to_allocvec(&(programs, entries)).unwrap_or_default()
    }

    /// Takes it back, within the memory; false if the bytes make no sense.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> bool {
        type Saved = (Vec<(u64, ProcessInfo)>, Vec<Recent>);
        let Ok((programs, entries)) = postcard::from_bytes::<Saved>(bytes) else { return bytes.is_empty() };
        let programs: BTreeMap<u64, Arc<ProcessInfo>> =
            programs.into_iter().map(|(key, info)| (key, Arc::new(info))).collect();
        for entry in entries {
            let key = entry.key();
            if entry.name.len() > MAX_NAME_BYTES || self.entries.contains_key(&key) {
                return false;
            }
            let program = programs.get(&entry.program_key);
            self.put(key, entry, program);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(name: &str, secs: i64, program: Option<&Program>) -> Recent {
        let start = Timestamp::from_secs_nanos(secs, 0);
        Recent::new(Level::Connection, name, None, 443, Transport::Tcp, program, None, start)
    }

    fn program(image: &str) -> Program {
        let command_line = "x".repeat(32 << 10);
        Program::of(ProcessInfo { image: image.into(), command_line, ..ProcessInfo::default() })
    }

    #[test]
    fn what_comes_again_stays_behind_a_flood_of_what_comes_once() {
        let mut recents = Recents::default();
        recents.set_memory(64 << 10);
        for n in 0..10_000 {
            let once = program(&format!("/tmp/{n}"));
            recents.note(sight(&format!("{n}.example"), n, Some(&once)), Some(&once));
            recents.note(sight("again.example", n, None), None);
            assert!(recents.memory_bytes() <= 64 << 10);
        }
        let again = recents.iter().find(|(entry, _)| &*entry.name == "again.example").unwrap().0;
        assert_eq!((again.count, again.first.nanos()), (10_000, 0));
        assert_eq!(recents.evicted() + recents.entries.len() as u64, 10_001);
        assert_eq!(
            recents.programs.len() + 1,
            recents.entries.len(),
            "programs leave with their destinations"
        );
    }

    #[test]
    fn it_comes_back_as_it_was_and_damage_is_no_panic() {
        let mut recents = Recents::default();
        recents.set_memory(1 << 20);
        let curl = program("/usr/bin/curl");
        for n in 0..50 {
            recents.note(sight(&format!("{n}.example"), n, Some(&curl)), Some(&curl));
        }
        let bytes = recents.save();
        let mut back = Recents::default();
        back.set_memory(1 << 20);
        assert!(back.restore(&bytes));
        assert!(back.iter().map(|(entry, _)| entry).eq(recents.iter().map(|(entry, _)| entry)));
        assert_eq!((back.memory_bytes(), back.save()), (recents.memory_bytes(), bytes.clone()));
        for cut in 0..bytes.len() {
            let mut back = Recents::default();
            back.set_memory(4 << 10);
            back.restore(&bytes[..cut]);
            assert!(back.memory_bytes() <= 4 << 10);
        }
    }
}
