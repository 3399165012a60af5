//! Reads logs: files to blocks on this thread, blocks to rows on all others, rows to the [`Spool`] that sorts them.
//!
//! Nothing here depends on which thread reads what: a row's place is its file and its number in it, and bad rows are named
//! in that order.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use sonde_common::conntrack::local::Cidr;
use sonde_common::decode::packet::Addr;
use sonde_common::format::log::{LogFormat, LogParser};
use sonde_common::format::row::{Cause, Kind, Row, RowError, RowSink};
use sonde_common::net::{is_internal, is_no_peer};
use tracing::warn;

use super::spool::{BUCKETS, Batch, Place, Spool};
use crate::capture::{Block, CaptureError, Found, Input, Positions};

/// Bad rows of one file that are named; the others are counted.
const MAX_NAMED: usize = 5;
/// Hosts told apart when memory is dealt out; more share what there is.
const MAX_HOSTS: usize = 65_536;
/// Rows of one record: an API's answer may hold thousands.
const ROW_BITS: u32 = 20;

/// One log to read.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) found: Found,
    pub(super) format: LogFormat,
}

/// What the logs held.
#[derive(Debug)]
pub(super) struct Census {
    /// Bytes read, as the logs lie on disk.
    pub(super) bytes: u64,
    /// Records read.
    pub(super) records: u64,
    /// Rows that they gave.
    pub(super) rows: u64,
    /// Records that gave no row that can be used, by cause.
    pub(super) bad: BTreeMap<Cause, u64>,
    /// Records longer than are read.
    pub(super) too_long: u64,
    /// Rows of connections opened from outside.
    pub(super) foreign: u64,
    /// Rows of connections to no peer: multicast, broadcast, loopback.
    pub(super) no_peer: u64,
    /// Hosts in each bucket.
    pub(super) hosts: [u64; BUCKETS],
    /// Files that were damaged.
    pub(super) damaged: u64,
    /// Files of which nothing could be read.
    pub(super) unreadable: u64,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            bytes: 0,
            records: 0,
            rows: 0,
            bad: BTreeMap::new(),
            too_long: 0,
            foreign: 0,
            no_peer: 0,
            hosts: [0; BUCKETS],
            damaged: 0,
            unreadable: 0,
        }
    }
}

/// Which rows are ours, and where they go.
#[derive(Debug)]
pub(super) struct Sorter<'a> {
    /// Address blocks that are hosts; empty: as the logs tell.
    pub(super) local: &'a [Cidr],
    /// Buckets that hosts are dealt into.
    pub(super) buckets: usize,
    /// Threads that read rows.
    pub(super) threads: usize,
    /// Whether anyone asks for the columns of the hunting rule.
    pub(super) hunted: bool,
}

/// A block on its way, with what reads it.
struct Job {
    block: Block,
    parser: LogParser,
    source: u32,
    /// Number of its first record.
    first: u64,
}

impl Sorter<'_> {
    /// Reads all logs into a spool. `tick` is called now and then with bytes and records so far.
    pub(super) fn read(&self, logs: Vec<Log>, tick: &mut dyn FnMut(u64, u64)) -> io::Result<(Spool, Census)> {
        let spool = Spool::default();
        let mut census = Census::default();
        let names: Vec<_> = logs.iter().map(|log| log.found.name().to_owned()).collect();
        let failed = AtomicBool::new(false);
        let pool = Mutex::new(Vec::new());
        let (jobs, queue) = sync_channel::<Job>(self.threads * 2);
        let queue = Arc::new(Mutex::new(queue));
        let tallies = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads)
                .map(|_| {
                    let (queue, pool, spool, failed) = (Arc::clone(&queue), &pool, &spool, &failed);
                    scope.spawn(move || self.work(&queue, pool, spool, failed))
                })
                .collect();
            // The queue goes with the last who takes from it, however that one goes: then nothing more is put in.
            drop(queue);
            self.feed(logs, jobs, &pool, &failed, &mut census, tick);
            workers
                .into_iter()
                .map(|worker| worker.join().map_err(|_| io::Error::other("a reading thread panicked"))?)
                .collect::<Vec<_>>()
        });
        let mut named = Vec::new();
        let mut hosts: Vec<HashSet<u64>> = vec![HashSet::new(); BUCKETS];
        let mut bad_of: BTreeMap<u32, u64> = BTreeMap::new();
        for tally in tallies {
            let tally = tally?;
            census.rows += tally.rows;
            census.foreign += tally.foreign;
            census.no_peer += tally.no_peer;
            for (all, more) in hosts.iter_mut().zip(tally.hosts) {
                all.extend(more);
            }
            for (cause, count) in tally.bad {
                *census.bad.entry(cause).or_default() += count;
            }
            for (source, list) in tally.named {
                *bad_of.entry(source).or_default() += list.count;
                named.extend(list.first.into_iter().map(|bad| (source, bad)));
            }
        }
        for (count, hosts) in census.hosts.iter_mut().zip(&hosts) {
            *count = hosts.len() as u64;
        }
        named.sort_by_key(|(source, bad)| (*source, bad.number));
        tell_bad(&names, named, &bad_of);
        Ok((spool, census))
    }

    /// Cuts the files into blocks.
    fn feed(
        &self,
        logs: Vec<Log>,
        jobs: SyncSender<Job>,
        pool: &Mutex<Vec<Block>>,
        failed: &AtomicBool,
        census: &mut Census,
        tick: &mut dyn FnMut(u64, u64),
    ) {
        let mut positions = Positions::default();
        for (source, log) in (0u32..).zip(logs) {
            let input = match log.found.open() {
                Ok(input) => input,
                Err(error) => {
                    warn!(%error, remedy = error.remedy(), "input left out");
                    census.unreadable += 1;
                    continue;
                }
            };
            positions.add(input.progress().clone());
            let ended =
                self.feed_one(input, log.format, source, &jobs, pool, failed, census, &mut |records| {
                    tick(positions.bytes(), records);
                });
            census.bytes = positions.bytes();
            if let Err(error) = ended {
                super::report_damage(&error, &mut census.damaged);
            }
            if failed.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one loop, cut in two for its length")]
    fn feed_one(
        &self,
        input: Input,
        format: LogFormat,
        source: u32,
        jobs: &SyncSender<Job>,
        pool: &Mutex<Vec<Block>>,
        failed: &AtomicBool,
        census: &mut Census,
        tick: &mut dyn FnMut(u64),
    ) -> Result<(), CaptureError> {
        let mut parser = LogParser::new(format);
        let mut blocks = input.into_blocks(|head| format.framing(head));
        let mut first = 0;
        let ended = loop {
            let mut block = pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            match blocks.next_block(&mut block) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
            let before = parser.clone();
            for (_, record) in block.records() {
                parser.pass(record);
            }
            let records = block.len() as u64;
            census.records += records;
            // Nobody takes it: a worker failed, and says why.
            if failed.load(Ordering::Relaxed)
                || jobs.send(Job { block, parser: before, source, first }).is_err()
            {
                break Ok(());
            }
            first += records;
            tick(census.records);
        };
        let (too_long, line) = blocks.skipped();
        if too_long > 0 {
            warn!(file = blocks.name(), records = too_long, line, "records left out: longer than 1 MiB");
        }
        census.too_long += too_long;
        ended
    }

    /// Reads blocks until there are none.
    fn work(
        &self,
        queue: &Mutex<Receiver<Job>>,
        pool: &Mutex<Vec<Block>>,
        spool: &Spool,
        failed: &AtomicBool,
    ) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut batch = Batch::default();
        let mut failure = None;
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { block, mut parser, source, first }) = job else { break };
            if failed.load(Ordering::Relaxed) {
                continue;
            }
            let mut sink = Sink {
                sorter: self,
                tally: &mut tally,
                batch: &mut batch,
                spool,
                source,
                number: 0,
                line: 0,
                error: None,
            };
            for (number, (line, record)) in (first..).zip(block.records()) {
                sink.number = number << ROW_BITS;
                sink.line = line;
                parser.record(record, &mut sink);
            }
            if let Some(error) = sink.error {
                failed.store(true, Ordering::Relaxed);
                // Who cuts the blocks may be waiting for someone to take the next one, so they are taken to the end.
                failure = Some(error);
            }
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(block);
        }
        if let Some(error) = failure {
            return Err(error);
        }
        batch.flush(spool)?;
        Ok(tally)
    }
}

/// Says which rows could not be read, file after file.
fn tell_bad(names: &[String], named: Vec<(u32, Bad)>, counts: &BTreeMap<u32, u64>) {
    let mut told: BTreeMap<u32, usize> = BTreeMap::new();
    for (source, bad) in named {
        let told = told.entry(source).or_default();
        *told += 1;
        if *told <= MAX_NAMED {
            let file = names.get(source as usize).map_or("", String::as_str);
            warn!(file, line = bad.line, error = %bad.error, "row left out");
        }
    }
    for (&source, &count) in counts {
        if count > MAX_NAMED as u64 {
            let file = names.get(source as usize).map_or("", String::as_str);
            warn!(file, rows = count, "bad rows in all");
        }
    }
}

/// A bad row that will be named.
#[derive(Debug)]
struct Bad {
    number: u64,
    line: u64,
    error: RowError,
}

/// The first bad rows of a file that one worker saw, and how many there were.
#[derive(Debug, Default)]
struct BadList {
    first: Vec<Bad>,
    count: u64,
}

/// What one worker counted.
#[derive(Debug)]
struct Tally {
    rows: u64,
    foreign: u64,
    no_peer: u64,
    bad: BTreeMap<Cause, u64>,
    named: BTreeMap<u32, BadList>,
    hosts: Vec<HashSet<u64>>,
    latest_host: u64,
    hasher: foldhash::fast::FixedState,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rows: 0,
            foreign: 0,
            no_peer: 0,
            bad: BTreeMap::new(),
            named: BTreeMap::new(),
            hosts: vec![HashSet::new(); BUCKETS],
            latest_host: 0,
            hasher: foldhash::fast::FixedState::default(),
        }
    }
}

/// Takes the rows of one block.
struct Sink<'a> {
    sorter: &'a Sorter<'a>,
    tally: &'a mut Tally,
    batch: &'a mut Batch,
    spool: &'a Spool,
    source: u32,
    number: u64,
    line: u64,
    error: Option<io::Error>,
}

impl RowSink for Sink<'_> {
    fn row(&mut self, row: &Row<'_>) {
        if self.error.is_some() {
            return;
        }
        // Rows are large: one is copied only where it changes.
        let changed;
        let mut row = row;
        let verdict = judge(row, self.sorter.local);
        let unwanted = row.hunted.is_some() && !self.sorter.hunted;
        if unwanted || !matches!(verdict, Verdict::Ours) {
            let hunted = if unwanted { None } else { row.hunted };
            let kind = match verdict {
                Verdict::Ours => row.kind,
                Verdict::Foreign => {
                    self.tally.foreign += 1;
                    Kind::Other
                }
                Verdict::NoPeer => {
                    self.tally.no_peer += 1;
                    Kind::Other
                }
            };
            changed = Row { kind, hunted, ..*row };
            row = &changed;
        }
        self.tally.rows += 1;
        if matches!(row.kind, Kind::Other) && row.hunted.is_none() {
            return;
        }
        let bucket = self.tally.bucket(row, self.sorter.buckets);
        let place = Place { time: row.time, source: self.source, number: self.number };
        self.number += 1;
        self.error = self.batch.push(bucket, place, row, self.spool).err();
    }

    fn bad(&mut self, error: RowError) {
        *self.tally.bad.entry(error.cause).or_default() += 1;
        let list = self.tally.named.entry(self.source).or_default();
        list.count += 1;
        // Of the blocks that this worker sees, later ones come later.
        if list.first.len() < MAX_NAMED {
            list.first.push(Bad { number: self.number, line: self.line, error });
        }
        self.number += 1;
    }
}

impl Tally {
    /// Where the rows of a host go.
    fn bucket(&mut self, row: &Row<'_>, buckets: usize) -> usize {
        let mut hash = self.hasher.build_hasher();
        match row.local_ip() {
            Some(ip) if row.host.is_empty() => ip.hash(&mut hash),
            _ => row.host.hash(&mut hash),
        }
        let hash = hash.finish();
        let bucket = usize::try_from((hash >> 32) % buckets as u64).unwrap_or(0);
        if hash != self.latest_host {
            self.latest_host = hash;
            if let Some(hosts) = self.hosts.get_mut(bucket)
                && hosts.len() < MAX_HOSTS
            {
                hosts.insert(hash);
            }
        }
        bucket
    }
}

enum Verdict {
    Ours,
    Foreign,
    NoPeer,
}

/// Whether a row tells of a host of ours. A log that names its host speaks of that; one that was written on the wire has to be
/// asked who opened the connection.
fn judge(row: &Row<'_>, local: &[Cidr]) -> Verdict {
    let (ours, peer, told) = match &row.kind {
        Kind::Connection(row) => {
            (Some(row.tuple.local.ip()), Some(row.tuple.remote.ip()), row.opener_is_local)
        }
        Kind::Exchange(row) => (Some(row.tuple.local.ip()), Some(row.tuple.remote.ip()), row.opener_is_local),
        Kind::Dns(row) => (row.client, row.resolver.map(|to| to.ip()), row.opener_is_local),
        Kind::Attributes(_) | Kind::Started | Kind::Other => return Verdict::Ours,
    };
    // Of look-ups, a resolver on the host itself counts; of connections, nothing that stays there does.
    let dns = matches!(row.kind, Kind::Dns(_));
    let nobody = |ip: IpAddr| if ip.is_loopback() { !dns } else { is_no_peer(ip) };
    if peer.is_some_and(nobody) {
        return Verdict::NoPeer;
    }
    if !row.host.is_empty() {
        return Verdict::Ours;
    }
    let Some(ip) = ours.filter(|&ip| !nobody(ip)) else { return Verdict::NoPeer };
    if is_ours(ip, peer, told, local) { Verdict::Ours } else { Verdict::Foreign }
}

/// As the user says; else as the log says, but a sensor that was not told its networks calls every address foreign, so that
/// of an internal one it proves nothing; else whoever opens a connection from an internal address, or from a public one to
/// a public one.
fn is_ours(ip: IpAddr, peer: Option<IpAddr>, told: Option<bool>, local: &[Cidr]) -> bool {
    if !local.is_empty() {
        return local.iter().any(|block| block.contains(Addr::from(ip)));
    }
    match told {
        Some(true) => true,
        Some(false) => is_internal(ip),
        None => is_internal(ip) || peer.is_none_or(|peer| !is_internal(peer)),
    }
}
