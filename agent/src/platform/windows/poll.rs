//! The layer of last resort: the tables of sockets, read once a second. What lives shorter is missed, and so are datagrams,
//! whose sockets have no other end in the tables.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use sonde_common::live::{LiveEvent, SocketOwner, Unavailable};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{Attribution, Method, ProcessKey, Quality};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_common::windows::etw::{Assembler, Standing};
use sonde_common::windows::table::{Row, outgoing, state};

use super::{identity, tables};
use crate::live::layer::Layer;

/// How often the tables are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the thread looks whether it is still wanted.
const STOP_LATENCY: Duration = Duration::from_millis(250);
/// A row without an owner is looked at again for so long before it is told of as nobody's.
const OWNER_WAIT: i64 = 2 * NANOS_PER_SEC;
/// Such rows; more are told of at once.
const MAX_WAITING: usize = 4096;
/// Events that wait to be drained.
const QUEUE: usize = 16_384;

/// The wall clock.
pub(super) fn now() -> Timestamp {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The outgoing connections of the tables, with their owners.
#[derive(Debug, Default)]
pub(super) struct Tables {
    waiting: HashMap<FiveTuple, Timestamp>,
    owners: Owners,
}

/// The process of each row, as it was at the latest reading: its number, and who that is.
type Owners = HashMap<FiveTuple, (u32, Option<ProcessKey>)>;

impl Tables {
    /// Reads them; `None` if not all could be read: then what is missing may still be there. `how`: as what owners are told.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn take(
        &mut self,
        seen: Timestamp,
        how: Method,
        patient: bool,
    ) -> io::Result<Option<Vec<Standing>>> {
        let (rows, whole) = tables::tcp()?;
        let mut standing = Vec::new();
        let mut waiting = HashMap::new();
        let mut owners = HashMap::new();
        for row in outgoing(&rows) {
            let Some(tuple) = row.tuple(Transport::Tcp) else { continue };
            let owner = self.owner(tuple, row, &mut owners);
            if owner.is_none() && patient && waiting.len() < MAX_WAITING {
                // Whose it is may not be known yet: nobody is told only after a while.
                let since = self.waiting.get(&tuple).copied().unwrap_or(seen);
                waiting.insert(tuple, since);
                if seen.since(since) < OWNER_WAIT {
                    continue;
                }
            }
            let attribution = Attribution { method: how, quality: Quality::Exact };
            let owner =
                owner.map(|process| SocketOwner { process, uid: identity::account_of(process), attribution });
            standing.push(Standing { tuple, owner, asking: row.state == state::SYN_SENT });
        }
        self.waiting = waiting;
        self.owners = owners;
        Ok(whole.then_some(standing))
    }

    /// The row's process, asked for once. One that has closed its end is still the one that called: the system has no owner
    /// for such a row any more.
    fn owner(&self, tuple: FiveTuple, row: &Row, owners: &mut Owners) -> Option<ProcessKey> {
        let (pid, owner) = match (row.pid, self.owners.get(&tuple).copied()) {
            (None, None) => return None,
            (None, Some(before)) => before,
            (Some(pid), Some((before, owner))) if pid == before => (pid, owner),
            (Some(pid), _) => (pid, identity::created(pid).map(|start| ProcessKey { pid, start })),
        };
        owners.insert(tuple, (pid, owner));
        owner
    }
}

/// What was there before the sensor: all outgoing connections, with the processes that hold them.
#[must_use]
pub fn seed() -> Vec<LiveEvent> {
    let seen = now();
    let mut out = Vec::new();
    if let Ok(Some(standing)) = Tables::default().take(seen, Method::Seed, false) {
        Assembler::default().reconcile(seen, &standing, true, 0, &mut out);
    }
    out
}

/// Sockets by polling.
#[derive(Debug)]
pub struct PollLayer {
    queue: Arc<Mutex<Vec<LiveEvent>>>,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    unavailable: Vec<Unavailable>,
}

impl PollLayer {
    /// Begins to read. What is there already is left to the seed; its end is told.
    ///
    /// # Errors
    /// If the tables are not to be had.
    pub fn open() -> Result<Self, Unavailable> {
        let failed = |error: io::Error| Unavailable {
            what: "polled socket tables".into(),
            reason: error.to_string(),
            remedy: "report it: every Windows has them".into(),
        };
        let mut polling = Polling { tables: Tables::default(), sockets: Assembler::default() };
        polling.round(true).map_err(failed)?;
        let (queue, lost, stop) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let layer = Self {
            queue: Arc::clone(&queue),
            lost: Arc::clone(&lost),
            stop: Arc::clone(&stop),
            unavailable: vec![degraded()],
        };
        let run = move || {
            let mut slept = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(STOP_LATENCY);
                slept += STOP_LATENCY;
                if slept >= INTERVAL {
                    slept = Duration::ZERO;
                    // A table that cannot be read now can be read the next time.
                    let told = polling.round(false).unwrap_or_default();
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = QUEUE.saturating_sub(queue.len());
                    let over = told.len().saturating_sub(room);
                    lost.fetch_add(over as u64, Ordering::Relaxed);
                    queue.extend(told.into_iter().take(room));
                }
            }
        };
        thread::Builder::new().name("socket-poll".into()).spawn(run).map_err(failed)?;
        Ok(layer)
    }
}

fn degraded() -> Unavailable {
    Unavailable {
        what: "connections that live less than a second, and datagrams".into(),
        reason: "socket tables are read once a second (degraded)".into(),
        remedy: "run as SYSTEM, so that event tracing works".into(),
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

    fn drain(&mut self, _: Timestamp, out: &mut Vec<LiveEvent>) {
        out.append(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

struct Polling {
    tables: Tables,
    sockets: Assembler,
}

impl Polling {
    fn round(&mut self, first: bool) -> io::Result<Vec<LiveEvent>> {
        let seen = now();
        let mut out = Vec::new();
        if let Some(standing) = self.tables.take(seen, Method::Poll, !first)? {
            self.sockets.reconcile(seen, &standing, first, 0, &mut out);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use sonde_common::live::SocketNews;

    use super::*;

    #[test]
    fn a_call_is_told_from_begin_to_end() {
        // Calls to loopback are no calls: what the layer tells is seen through the tables, which it shares.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let local = client.local_addr().unwrap();
        let mut tables = Tables::default();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        let seen = now();
        let standing = tables.take(seen, Method::Poll, true).unwrap().unwrap();
        let call = standing.iter().find(|standing| standing.tuple.local == local).unwrap();
        let owner = call.owner.unwrap();
        assert_eq!(owner.process.pid, std::process::id());
        assert_eq!(owner.process.start, identity::created(std::process::id()).unwrap());
        assert!(!call.asking);
        // The same, as if the other end were elsewhere.
        let mut elsewhere = *call;
        elsewhere.tuple.remote = "198.51.100.7:443".parse().unwrap();
        elsewhere.tuple.local = "192.0.2.10:50000".parse().unwrap();
        let mut sockets = Assembler::default();
        let mut out = Vec::new();
        sockets.reconcile(seen, &[elsewhere], false, 0, &mut out);
        sockets.reconcile(seen.plus_nanos(NANOS_PER_SEC), &[], false, 0, &mut out);
        let news: Vec<_> = out
            .iter()
            .filter_map(|event| match event {
                LiveEvent::Socket(event) => Some(event.news),
                _ => None,
            })
            .collect();
        assert!(
            matches!(news[..], [SocketNews::Opened(Some(_)), SocketNews::Answered, SocketNews::Closed(_)]),
            "{news:?}"
        );
    }

    #[test]
    fn a_connection_that_is_closed_stays_that_of_who_called() {
        /// Closed on this side, not yet on the other (`MIB_TCP_STATE_FIN_WAIT2`).
        const FIN_WAIT_2: u32 = 7;
        let row = |state, pid| Row {
            local: "192.0.2.10:50000".parse().unwrap(),
            remote: "198.51.100.7:443".parse().unwrap(),
            state,
            pid,
            created: None,
        };
        let own = std::process::id();
        let open = row(state::ESTABLISHED, Some(own));
        let tuple = open.tuple(Transport::Tcp).unwrap();
        let mut tables = Tables::default();
        let mut read = |row: &Row| {
            let mut owners = Owners::new();
            let owner = tables.owner(tuple, row, &mut owners);
            tables.owners = owners;
            owner.map(|process| process.pid)
        };
        assert_eq!(read(&row(state::ESTABLISHED, None)), None, "nobody is known yet");
        assert_eq!(read(&open), Some(own));
        assert_eq!(read(&row(FIN_WAIT_2, None)), Some(own));
        assert_eq!(read(&row(FIN_WAIT_2, None)), Some(own));
    }

    #[test]
    fn the_layer_reads_and_stops() {
        let mut layer = PollLayer::open().unwrap();
        thread::sleep(Duration::from_millis(1500));
        let mut out = Vec::new();
        layer.drain(now(), &mut out);
        assert_eq!((layer.lost(), layer.method()), (0, Method::Poll));
        assert!(out.iter().all(|event| matches!(event, LiveEvent::Socket(_))));
        assert_eq!(layer.unavailable().len(), 1);
    }
}
