//! Live tests: own processes, loopback, own namespaces.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sonde_common::event::Totals;
use sonde_common::live::{LiveEvent, SocketEvent, SocketNews, SocketOwner};
use sonde_common::net::FiveTuple;
use sonde_common::process::Quality;
use sonde_common::time::Timestamp;

use super::layer::{NetlinkLayer, NetlinkOptions};
use super::queue::lock;
use super::{clock, self_test};
use crate::live::layer::Layer;

/// A test that needs what the kernel refuses here ends early; where it must not, it fails.
pub(super) fn skip(what: &str, reason: &dyn std::fmt::Display) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{what}: {reason}");
    println!("skipped: {what}: {reason}");
}

/// Layers under test run one at a time: they measure.
static ONE: Mutex<()> = Mutex::new(());

/// Wall-clock time of the boot.
pub(super) fn boot() -> Timestamp {
    use rustix::time::{ClockId, clock_gettime};
    let since = clock_gettime(ClockId::Boottime);
    clock::realtime().plus_nanos(-(since.tv_sec * 1_000_000_000 + since.tv_nsec))
}

/// What a caller says of itself, by the end that it called from.
type Callers = Arc<Mutex<HashMap<SocketAddr, u32>>>;

struct Bench {
    layer: NetlinkLayer,
    port: u16,
    callers: Callers,
    events: Vec<LiveEvent>,
    _one: MutexGuard<'static, ()>,
}

impl Bench {
    fn open() -> Option<Self> {
        let one = lock(&ONE);
        let options = NetlinkOptions { boot: boot(), queue: 1 << 16 };
        let (layer, listeners) = match self_test::open(&options, true) {
            Ok(opened) => opened,
            Err(missing) => {
                skip(&missing.what, &missing.reason);
                return None;
            }
        };
        let callers = Callers::default();
        let port = listeners[0].local_addr().unwrap().port();
        for listener in listeners {
            let callers = Arc::clone(&callers);
            std::thread::spawn(move || serve(&listener, &callers));
        }
        Some(Self { layer, port, callers, events: Vec::new(), _one: one })
    }

    fn drain(&mut self) {
        self.layer.drain(clock::realtime(), &mut self.events);
    }

    /// Drains as the sensor does, until `done` or for `limit`.
    fn drain_until(&mut self, limit: Duration, mut done: impl FnMut(&[LiveEvent]) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            self.drain();
            if done(&self.events) {
                return true;
            }
            if begun.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn opened(&self) -> HashMap<SocketAddr, Option<SocketOwner>> {
        sockets(&self.events)
            .filter_map(|event| match event.news {
                SocketNews::Opened(owner) => Some((event.tuple.local, owner)),
                _ => None,
            })
            .collect()
    }
}

fn sockets(events: &[LiveEvent]) -> impl Iterator<Item = &SocketEvent> {
    events.iter().filter_map(|event| match event {
        LiveEvent::Socket(event) => Some(event),
        _ => None,
    })
}

/// Takes calls; each says its pid first, and is answered with one byte.
fn serve(listener: &TcpListener, callers: &Callers) {
    while let Ok((mut stream, from)) = listener.accept() {
        let callers = Arc::clone(callers);
        std::thread::spawn(move || {
            let mut pid = [0; 4];
            if stream.read_exact(&mut pid).is_ok() {
                lock(&callers).insert(from, u32::from_le_bytes(pid));
                let _ = stream.write_all(&[1]);
                let _ = stream.read(&mut [0]);
            }
        });
    }
}

/// The caller's side, in a process of its own: this test binary, run again. Without its variable it is no test.
#[test]
fn child() {
    let Ok(task) = std::env::var("SONDE_TEST_CALL") else { return };
    let (remote, hold) = task.split_once(' ').unwrap();
    let mut stream = TcpStream::connect(remote).unwrap();
    stream.write_all(&std::process::id().to_le_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(hold.parse().unwrap()));
    std::process::exit(0);
}

fn call(remote: &str, hold_ms: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "platform::linux::netlink::tests::child", "--test-threads=1"])
        .env("SONDE_TEST_CALL", format!("{remote} {hold_ms}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Counts of one cell of the table.
#[derive(Debug, Default)]
struct Cell {
    right: usize,
    inferred: usize,
    wrong: usize,
    none: usize,
    unseen: usize,
}

fn cell(bench: &mut Bench, hold_ms: u64, calls: usize) -> Cell {
    bench.events.clear();
    lock(&bench.callers).clear();
    let host = if hold_ms % 2 == 0 { "127.0.0.1" } else { "[::1]" };
    let remote = format!("{host}:{}", bench.port);
    let mut children: Vec<Child> = Vec::new();
    for _ in 0..calls {
        children.push(call(&remote, hold_ms));
        std::thread::sleep(Duration::from_millis(12));
        bench.drain();
        children.retain_mut(|child| child.try_wait().unwrap().is_none());
    }
    children.iter_mut().for_each(|child| drop(child.wait()));
    bench.drain_until(Duration::from_millis(400), |_| false);
    let opened = bench.opened();
    let mut cell = Cell::default();
    for (from, pid) in lock(&bench.callers).iter() {
        match opened.get(from) {
            None => cell.unseen += 1,
            Some(None) => cell.none += 1,
            Some(Some(owner)) if owner.process.pid != *pid => cell.wrong += 1,
            Some(Some(owner)) => {
                cell.right += 1;
                cell.inferred += usize::from(owner.attribution.quality == Quality::Inferred);
            }
        }
    }
    cell
}

/// The accuracy table; `SONDE_TABLE_CALLS=200` gives the figures of a release.
#[test]
fn owners_of_short_lives_are_found_and_none_is_wrong() {
    let Some(mut bench) = Bench::open() else { return };
    let calls = std::env::var("SONDE_TABLE_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    println!("life ms | right | of them inferred | wrong | none | unseen");
    for hold_ms in [0, 1, 5, 20, 50] {
        let cell = cell(&mut bench, hold_ms, calls);
        println!(
            "{hold_ms:7} | {:5} | {:16} | {:5} | {:4} | {:6}",
            cell.right, cell.inferred, cell.wrong, cell.none, cell.unseen
        );
        assert_eq!(cell.wrong, 0, "{cell:?}");
        assert_eq!(cell.right + cell.none + cell.unseen, calls);
        if hold_ms >= 5 {
            assert!(cell.right * 100 >= calls * 95, "{cell:?}");
        }
    }
    assert_eq!(bench.layer.lost(), 0);
}

#[test]
fn a_connection_is_told_from_its_call_to_its_end_with_owner_and_bytes() {
    let Some(mut bench) = Bench::open() else { return };
    let stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    let tuple = FiveTuple {
        transport: sonde_common::net::Transport::Tcp,
        local: stream.local_addr().unwrap(),
        remote: stream.peer_addr().unwrap(),
    };
    (&stream).write_all(&7u32.to_le_bytes()).unwrap();
    (&stream).read_exact(&mut [0]).unwrap();
    drop(stream);
    let mut end: Option<Totals> = None;
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        end = sockets(events).find_map(|event| match event.news {
            SocketNews::Closed(totals) if event.tuple == tuple => Some(totals),
            _ => None,
        });
        end.is_some()
    }));
    let all: Vec<_> = sockets(&bench.events).filter(|event| event.tuple == tuple).collect();
    let SocketNews::Opened(Some(owner)) = all[0].news else { panic!("{all:?}") };
    assert_eq!((owner.process.pid, owner.uid), (std::process::id(), 0));
    assert_eq!(owner.attribution.quality, Quality::Exact);
    assert_ne!(all[0].socket.0, 0);
    assert!(all.iter().all(|event| event.socket == all[0].socket));
    let end = end.unwrap();
    assert_eq!(end.bytes_out, Some(4));
    // The server's FIN counts as one where it came while the socket still stood.
    assert!(matches!(end.bytes_in, Some(1 | 2)), "{end:?}");
    assert!(end.end >= all[0].time);
}

#[test]
fn a_connection_that_was_reset_from_here_is_told_as_over() {
    let Some(mut bench) = Bench::open() else { return };
    let stream = TcpStream::connect(("::1", bench.port)).unwrap();
    let local = stream.local_addr().unwrap();
    assert!(
        bench.drain_until(Duration::from_secs(2), |events| sockets(events).any(|e| e.tuple.local == local))
    );
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    let mut end: Option<Totals> = None;
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        end = sockets(events).find_map(|event| match event.news {
            SocketNews::Closed(totals) if event.tuple.local == local => Some(totals),
            _ => None,
        });
        end.is_some()
    }));
    assert_eq!(end.unwrap().outcome, sonde_common::event::Outcome::Reset);
}
