//! Live tests: own processes, loopback, own namespaces. Here is what they share.

mod events;
mod owners;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sonde_common::live::{LiveEvent, SocketEvent, SocketNews, SocketOwner};
use sonde_common::time::Timestamp;

use super::layer::{NetlinkLayer, NetlinkOptions};
use super::queue::lock;
use super::{clock, self_test};
use crate::live::layer::Layer as _;

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
                while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {}
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

/// Processes that are ended when this is dropped.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn shell(script: &str) -> Running {
    Running(vec![Command::new("/bin/bash").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap()])
}

fn found_owner(events: &[LiveEvent], local: SocketAddr) -> Option<SocketOwner> {
    sockets(events).find_map(|event| match event.news {
        SocketNews::Opened(owner) | SocketNews::Found(owner) if event.tuple.local == local => owner,
        _ => None,
    })
}
