//! What the comparison rules are fed with: what a replay sees, kept until the newest time is known, since both rules look
//! back from there.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::io;

use serde::{Deserialize, Serialize};
use sonde_common::event::{Event, Observation, Phase};
use sonde_common::format::row::{Hunted, Kind, Row};
use sonde_common::process::ProcessInfo;
use sonde_common::rule::Lost;
use sonde_common::rule::observed::Mapper;
use sonde_common::rule::rita::{Rita, RitaRow, RitaUnit};
use sonde_common::rule::sentinel::{Sentinel, SentinelGroup, SentinelRow};
use sonde_common::time::Timestamp;

use super::Tap;
use super::spool::{BUCKETS, Batch, Place, Spool};

/// Processes of event files that are remembered; the rows of later ones have no account and no process.
const MAX_PROCESSES: usize = 65_536;

/// One row for either rule, as it waits.
#[derive(Serialize, Deserialize)]
enum Waiting<'a> {
    Sentinel {
        time: i64,
        #[serde(borrow)]
        hunted: Hunted<'a>,
    },
    Rita {
        time: i64,
        source: &'a str,
        destination: &'a str,
        bytes: Option<u64>,
    },
}

/// Which rules are to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The hunting rule.
    pub sentinel: bool,
    /// RITA's scores.
    pub rita: bool,
}

/// Gathers what the rules want to see.
#[derive(Debug)]
pub struct Feed {
    wanted: Wanted,
    spool: Spool,
    batch: Batch,
    mapper: Mapper,
    /// Newest time of what the hunting rule is fed with, also of rows that it will leave out.
    newest_row: Option<Timestamp>,
    /// Newest start of a connection.
    newest_connection: Option<Timestamp>,
    rows: u64,
    /// Account and file name of the processes that event files told of, by the hash of host and process.
    processes: HashMap<u64, ProcessInfo, foldhash::fast::FixedState>,
    hasher: foldhash::fast::FixedState,
    error: Option<io::Error>,
}

/// What the rules said.
#[derive(Debug, Default)]
pub struct Answers {
    /// Groups of the hunting rule.
    pub groups: Vec<SentinelGroup>,
    /// Pairs that RITA scores.
    pub units: Vec<RitaUnit>,
    /// What did not fit.
    pub lost: Lost,
}

impl Feed {
    /// Nothing so far.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            spool: Spool::default(),
            batch: Batch::default(),
            mapper: Mapper::new(),
            newest_row: None,
            newest_connection: None,
            rows: 0,
            processes: HashMap::default(),
            hasher: foldhash::fast::FixedState::default(),
            error: None,
        }
    }

    /// Asks the rules. `at` is the hunting rule's "now"; by default the newest time there is.
    ///
    /// # Errors
    /// If the temporary file cannot be written or read.
    pub fn answers(mut self, at: Option<Timestamp>) -> io::Result<Answers> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.batch.flush(&self.spool)?;
        let now = at.or(self.newest_row).unwrap_or_default();
        let mut sentinel = Sentinel::new(now);
        let mut rita = Rita::new(self.newest_connection.unwrap_or_default());
        let mut rows = self.spool.rows(0..BUCKETS)?;
        while let Some((_, _, bytes)) = rows.next_row()? {
            match postcard::from_bytes(bytes) {
                Ok(Waiting::Sentinel { time, hunted }) => {
                    sentinel.add(&SentinelRow { time: Timestamp::from_nanos(time), hunted });
                }
                Ok(Waiting::Rita { time, source, destination, bytes }) => {
                    rita.add(&RitaRow { time: Timestamp::from_nanos(time), source, destination, bytes });
                }
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the temporary file changed under us",
                    ));
                }
            }
        }
        let (a, b) = (sentinel.lost(), rita.lost());
        let lost = Lost { rows: a.rows + b.rows, details: a.details + b.details };
        Ok(Answers { groups: sentinel.finish(), units: rita.finish(), lost })
    }
}

/// Keeps a row; the first failure is told at the end.
fn keep(
    batch: &mut Batch,
    spool: &Spool,
    rows: &mut u64,
    error: &mut Option<io::Error>,
    time: Timestamp,
    row: &Waiting<'_>,
) {
    if error.is_some() {
        return;
    }
    let place = Place { time, source: 0, number: *rows };
    *rows += 1;
    let encode = |out| postcard::to_extend(row, out).unwrap_or_default();
    *error = batch.push_with(0, place, encode, spool).err();
}

impl Tap for Feed {
    fn row(&mut self, row: &Row<'_>) {
        if !self.wanted.sentinel {
            return;
        }
        if let Some(SentinelRow { time, hunted }) = SentinelRow::of(row) {
            self.newest_row = self.newest_row.max(Some(time));
            let waiting = Waiting::Sentinel { time: time.nanos(), hunted };
            keep(&mut self.batch, &self.spool, &mut self.rows, &mut self.error, time, &waiting);
        }
    }

    fn observation(&mut self, observation: &Observation<'_>, row: Option<&Row<'_>>) {
        let event = match &observation.event {
            Event::Connection(event) => event,
            Event::Process(key, info) if self.processes.len() < MAX_PROCESSES => {
                let known =
                    ProcessInfo { image: info.image.clone(), user: info.user.clone(), ..Default::default() };
                self.processes.insert(self.hasher.hash_one((observation.host, key)), known);
                return;
            }
            _ => return,
        };
        if matches!(event.phase, Phase::Exchange { .. } | Phase::Certificate(_)) {
            return;
        }
        self.newest_connection = self.newest_connection.max(Some(event.start));
        let Self { wanted, spool, batch, mapper, newest_row, rows, processes, hasher, error, .. } = self;
        // A row that has the rule's own columns was taken as it is.
        if wanted.sentinel && row.is_none_or(|row| row.hunted.is_none()) {
            let told = || processes.get(&hasher.hash_one((observation.host, event.process?)));
            let process = event.program.map(|program| &*program.info).or_else(told);
            if let Some(SentinelRow { time, hunted }) = mapper.sentinel(observation, process) {
                *newest_row = (*newest_row).max(Some(time));
                keep(batch, spool, rows, error, time, &Waiting::Sentinel { time: time.nanos(), hunted });
            }
        }
        if wanted.rita {
            let ip_bytes = row.and_then(|row| match &row.kind {
                Kind::Connection(connection) => connection.ip_bytes_out,
                _ => None,
            });
            if let Some(RitaRow { time, source, destination, bytes }) = mapper.rita(observation, ip_bytes) {
                let waiting = Waiting::Rita { time: time.nanos(), source, destination, bytes };
                keep(batch, spool, rows, error, time, &waiting);
            }
        }
    }
}
