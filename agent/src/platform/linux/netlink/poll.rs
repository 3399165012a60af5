//! The layer of last resort: the tables of sockets, read once a second. What lives shorter is missed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sonde_common::event::Totals;
use sonde_common::live::{LiveEvent, SocketEvent, SocketId, SocketNews, SocketOwner, Unavailable};
use sonde_common::net::FiveTuple;
use sonde_common::process::{Attribution, Method, Quality};
use sonde_common::time::Timestamp;

use super::finder::Finder;
use super::meter::ExchangeMeter;
use super::processes::Processes;
use super::procfs::Proc;
use super::queue::Queue;
use super::snapshot::Snapshots;
use super::{NetlinkOptions, clock, unavailable};
use crate::live::layer::Layer;

/// How often the tables are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the thread looks whether it is still wanted.
const STOP_LATENCY: Duration = Duration::from_millis(250);
/// Sockets that are followed; more are counted as lost.
const MAX_SOCKETS: usize = 1 << 16;

/// A socket in a table: its namespace, its number where the kernel told one, its inode, and its ends.
type Key = (u64, SocketId, u32, FiveTuple);

/// Sockets by polling.
#[derive(Debug)]
pub struct PollLayer {
    queue: Arc<Queue<LiveEvent>>,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    meter: Option<ExchangeMeter>,
    unavailable: Vec<Unavailable>,
}

impl PollLayer {
    /// Begins to read. What is there already is left to the seed; its end is told.
    ///
    /// # Errors
    /// If `/proc` is not to be had.
    pub fn open(options: &NetlinkOptions) -> Result<Self, Unavailable> {
        let snapshots = |proc| Snapshots::open(proc, false);
        Self::start(options, snapshots, ExchangeMeter::new())
    }

    pub(super) fn start(
        options: &NetlinkOptions,
        snapshots: impl FnOnce(Proc) -> Snapshots,
        meter: Result<ExchangeMeter, Unavailable>,
    ) -> Result<Self, Unavailable> {
        let failed = |error: io::Error| unavailable("polled socket tables", &error, "mount /proc");
        let mut missing = vec![Unavailable {
            what: "connections that live less than a second, and most of their owners".to_owned(),
            reason: "socket tables are read once a second (degraded)".to_owned(),
            remedy: "run where the eBPF or the netlink layer works".to_owned(),
        }];
        let snapshots = snapshots(Proc::open(options.boot).map_err(failed)?);
        if let Some(error) = snapshots.refused() {
            let remedy = "load the modules tcp_diag and udp_diag";
            missing.push(unavailable("numbers and counters of sockets (sock_diag)", error, remedy));
        }
        let meter = meter.map_err(|reason| missing.push(reason)).ok();
        let search = Proc::open(options.boot).map_err(failed)?;
        let queue = Arc::new(Queue::new(options.queue));
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut polling = Polling {
            snapshots,
            finder: Finder::new(search, Arc::new(Mutex::new(Processes::default())), false),
            queue: Arc::clone(&queue),
            known: HashMap::new(),
            refused: Arc::clone(&refused),
            round: 0,
        };
        // At once: what is there before the seed was taken must not be told as new.
        polling.round(false);
        let stopped = Arc::clone(&stop);
        let run = move || {
            let mut slept = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(STOP_LATENCY);
                slept += STOP_LATENCY;
                if slept >= INTERVAL {
                    slept = Duration::ZERO;
                    polling.round(true);
                }
            }
        };
        thread::Builder::new().name("socket-poll".into()).spawn(run).map_err(failed)?;
        Ok(Self { queue, stop, refused, meter, unavailable: missing })
    }
}

impl Drop for PollLayer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Layer for PollLayer {
    fn method(&self) -> Method {
        Method::Poll
    }

    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        if let Some(meter) = &mut self.meter {
            meter.drain(now, out);
        }
        out.extend(self.queue.take());
    }

    fn lost(&self) -> u64 {
        self.queue.lost()
            + self.refused.load(Ordering::Relaxed)
            + self.meter.as_ref().map_or(0, ExchangeMeter::lost)
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

struct Polling {
    snapshots: Snapshots,
    finder: Finder,
    queue: Arc<Queue<LiveEvent>>,
    /// The round in which each was last there.
    known: HashMap<Key, u32>,
    refused: Arc<AtomicU64>,
    round: u32,
}

impl Polling {
    fn round(&mut self, tell: bool) {
        self.round = self.round.wrapping_add(1);
        let round = self.round;
        let mut rows = Vec::new();
        let whole = self.snapshots.take(&mut rows);
        let mut fresh = Vec::new();
        for (space, row) in rows {
            let key = (space, row.socket, row.inode, row.tuple);
            if self.known.len() >= MAX_SOCKETS && !self.known.contains_key(&key) {
                self.refused.fetch_add(1, Ordering::Relaxed);
            } else if self.known.insert(key, round).is_none() {
                fresh.push(row);
            }
        }
        if tell && !fresh.is_empty() {
            let inodes: HashSet<u32> = fresh.iter().map(|row| row.inode).collect();
            let owners = self.finder.find_all(&inodes);
            let time = clock::realtime();
            for row in fresh {
                let owner = owners.get(&row.inode).map(|&process| SocketOwner {
                    process,
                    uid: row.uid,
                    attribution: Attribution { method: Method::Poll, quality: Quality::Exact },
                });
                let news = SocketNews::Opened(owner);
                let event = SocketEvent { time, socket: row.socket, tuple: row.tuple, news };
                self.queue.push(LiveEvent::Socket(event));
            }
        }
        if whole {
            let end = clock::realtime();
            self.known.retain(|&(_, socket, _, tuple), seen| {
                let there = *seen == round;
                if !there {
                    let news = SocketNews::Closed(Totals { end, ..Totals::default() });
                    self.queue.push(LiveEvent::Socket(SocketEvent { time: end, socket, tuple, news }));
                }
                there
            });
        }
    }
}
