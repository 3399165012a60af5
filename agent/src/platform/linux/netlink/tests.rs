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

#[test]
fn a_socket_that_children_inherited_is_its_openers() {
    let Some(mut bench) = Bench::open() else { return };
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; sleep 9; true", bench.port);
    let running = shell(&script);
    let shell = running.0[0].id();
    let mut owner = None;
    bench.drain_until(Duration::from_secs(3), |events| {
        owner = sockets(events).find_map(|event| match event.news {
            SocketNews::Opened(owner) => owner,
            _ => None,
        });
        owner.is_some()
    });
    assert_eq!(owner.unwrap().process.pid, shell);
    // By now the shell's child holds it, too: the seed names the one that handed it down.
    std::thread::sleep(Duration::from_millis(100));
    let seeded = super::seed::take(boot(), true);
    let owners: Vec<_> = sockets(&seeded)
        .filter_map(|event| match event.news {
            SocketNews::Found(Some(owner)) if event.tuple.remote.port() == bench.port => {
                Some(owner.process.pid)
            }
            _ => None,
        })
        .collect();
    assert_eq!(owners, [shell]);
    assert!(!owners.contains(&std::process::id()), "the server's side came in and is not told");
}

#[test]
fn a_socket_that_was_handed_over_belongs_to_who_holds_it() {
    let _one = lock(&ONE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = stream.local_addr().unwrap();
    let holder =
        Command::new("/bin/sleep").arg("5").stdin(std::os::fd::OwnedFd::from(stream)).spawn().unwrap();
    let running = Running(vec![holder]);
    let owner = found_owner(&super::seed::take(boot(), true), local).unwrap();
    assert_eq!(owner.process.pid, running.0[0].id());
    assert_eq!(owner.attribution.method, sonde_common::process::Method::Seed);
    assert!(
        super::seed(boot())
            .iter()
            .all(|event| matches!(event, LiveEvent::Socket(e) if e.tuple.local != local))
    );
}

#[test]
fn a_connected_udp_socket_is_told_with_its_owner_and_its_end() {
    let Some(mut bench) = Bench::open() else { return };
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    let local = client.local_addr().unwrap();
    assert!(bench.drain_until(Duration::from_secs(2), |events| found_owner(events, local).is_some()));
    assert_eq!(found_owner(&bench.events, local).unwrap().process.pid, std::process::id());
    drop(client);
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        sockets(events).any(|e| e.tuple.local == local && matches!(e.news, SocketNews::Closed(_)))
    }));
    let news = sockets(&bench.events).filter(|e| e.tuple.local == local).count();
    assert_eq!(news, 2, "opened once and closed once");
}

#[test]
fn check_ins_over_a_kept_connection_are_told_live() {
    let Some(mut bench) = Bench::open() else { return };
    let mut client = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    let local = client.local_addr().unwrap();
    client.write_all(&[0; 4]).unwrap();
    let mut sent = Vec::new();
    for _ in 0..2 {
        bench.drain_until(Duration::from_millis(2_600), |_| false);
        sent.push(clock::realtime());
        client.write_all(&[9; 120]).unwrap();
    }
    bench.drain_until(Duration::from_millis(2_600), |_| false);
    let told: Vec<_> = sockets(&bench.events)
        .filter_map(|event| match event.news {
            SocketNews::Exchange { start, bytes_out, .. } if event.tuple.local == local => {
                Some((start, bytes_out))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for ((start, bytes), sent) in told.iter().zip(&sent) {
        assert_eq!(*bytes, 120);
        assert!(start.since(*sent).abs() < 30_000_000, "{start} {sent}");
    }
}

/// Two namespaces of our own with a wire between them; gone when dropped.
struct Wire([String; 2]);

impl Wire {
    fn new() -> Result<Self, String> {
        let id = std::process::id() % 10_000;
        let wire = Self([format!("sonde-nl-{id}-a"), format!("sonde-nl-{id}-b")]);
        let [a, b] = &wire.0;
        for step in [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("-n {a} link add nl{id}a type veth peer name nl{id}b netns {b}"),
            format!("-n {a} addr add 192.0.2.1/30 dev nl{id}a"),
            format!("-n {b} addr add 192.0.2.2/30 dev nl{id}b"),
            format!("-n {a} link set nl{id}a up"),
            format!("-n {b} link set nl{id}b up"),
        ] {
            let output = Command::new("ip").args(step.split(' ')).output().map_err(|e| e.to_string())?;
            if !output.status.success() {
                return Err(format!("ip {step}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        Ok(wire)
    }

    fn run(&self, side: usize, task: (&str, &str)) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.0[side]])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("platform::linux::netlink::tests::{}", task.0), "--test-threads=1"])
            .env(if task.0 == "child" { "SONDE_TEST_CALL" } else { "SONDE_TEST_SERVE" }, task.1)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// The server's side in a namespace: a process of its own.
#[test]
fn child_server() {
    let Ok(address) = std::env::var("SONDE_TEST_SERVE") else { return };
    let listener = TcpListener::bind(address).unwrap();
    serve(&listener, &Callers::default());
}

#[test]
fn calls_from_another_network_namespace_are_told_with_their_owner() {
    let Some(mut bench) = Bench::open() else { return };
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(reason) => return skip("network namespaces", &reason),
    };
    let _server = Running(vec![wire.run(1, ("child_server", "192.0.2.2:4443"))]);
    std::thread::sleep(Duration::from_millis(300));
    let client = Running(vec![wire.run(0, ("child", "192.0.2.2:4443 1500"))]);
    let mut event = None;
    bench.drain_until(Duration::from_secs(3), |events| {
        event = sockets(events).find(|e| e.tuple.remote == "192.0.2.2:4443".parse().unwrap()).copied();
        event.is_some()
    });
    let event = event.expect("the call is told");
    let SocketNews::Opened(Some(owner)) = event.news else { panic!("{event:?}") };
    assert_eq!(owner.process.pid, client.0[0].id(), "ip netns exec becomes the program that it runs");
    assert_eq!(event.tuple.local.ip(), std::net::IpAddr::from([192, 0, 2, 1]));
    assert!(bench.drain_until(Duration::from_secs(4), |events| {
        sockets(events).any(|e| e.socket == event.socket && matches!(e.news, SocketNews::Closed(_)))
    }));
    let end = sockets(&bench.events).find_map(|e| match e.news {
        SocketNews::Closed(totals) if e.socket == event.socket => Some(totals),
        _ => None,
    });
    assert_eq!(end.unwrap().bytes_out, Some(4));
}

#[test]
fn polling_tells_what_lives_long_enough_by_netlink_and_by_text() {
    use super::snapshot::Snapshots;
    let _one = lock(&ONE);
    let options = NetlinkOptions { boot: boot(), queue: 4096 };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for text in [false, true] {
        let snapshots =
            |proc| if text { Snapshots::as_text(proc, true) } else { Snapshots::open(proc, true) };
        let mut layer =
            super::poll::PollLayer::start(&options, snapshots, super::ExchangeMeter::new()).unwrap();
        assert!(!layer.unavailable().is_empty(), "it says that it is degraded");
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let mut events = Vec::new();
        let wait = |layer: &mut super::poll::PollLayer, events: &mut Vec<LiveEvent>| {
            for _ in 0..25 {
                std::thread::sleep(Duration::from_millis(100));
                layer.drain(clock::realtime(), events);
            }
        };
        wait(&mut layer, &mut events);
        drop((stream, server));
        wait(&mut layer, &mut events);
        let news: Vec<_> = sockets(&events).filter(|e| e.tuple.local == local).map(|e| e.news).collect();
        let [SocketNews::Opened(Some(owner)), SocketNews::Closed(_)] = news[..] else {
            panic!("{text} {news:?}")
        };
        assert_eq!(owner.process.pid, std::process::id());
        assert!(sockets(&events).all(|e| e.tuple.local != remote), "the server's side came in");
        assert_eq!(layer.lost(), 0);
    }
}

/// `SONDE_TABLE_IDLE=3000` gives the figures of a release.
#[test]
fn owners_are_found_among_many_idle_processes() {
    let idle: usize = std::env::var("SONDE_TABLE_IDLE").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let sleepers = Command::new("/bin/bash")
        .args(["-c", &format!("for i in $(seq {idle}); do sleep 120 & done; wait")])
        .spawn()
        .unwrap();
    let _sleepers = Sleepers(sleepers);
    let begun = Instant::now();
    let count = || std::fs::read_dir("/proc").unwrap().count();
    while count() < idle && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let Some(mut bench) = Bench::open() else { return };
    let calls = std::env::var("SONDE_TABLE_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    println!("{} entries in /proc", count());
    for hold_ms in [0, 1, 5, 20, 50] {
        let cell = cell(&mut bench, hold_ms, calls);
        println!("{hold_ms} ms: {cell:?}");
        assert_eq!(cell.wrong, 0, "{cell:?}");
        assert!(hold_ms < 5 || cell.right * 100 >= calls * 95, "{cell:?}");
    }
    search_costs();
}

/// What a search costs: an owner that was one before, and one that is as old as its account's oldest.
fn search_costs() {
    use super::processes::Processes;
    use super::procfs::Proc;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = stream.local_addr().unwrap();
    let tuple = FiveTuple {
        transport: sonde_common::net::Transport::Tcp,
        local,
        remote: stream.peer_addr().unwrap(),
    };
    let row = super::socket::DiagSocket::open().unwrap().look_up(&tuple, 1).unwrap().unwrap();
    let mut all = Processes::default();
    all.refresh(&Proc::open(boot()).unwrap());
    let processes = Arc::new(Mutex::new(all));
    let finder = super::finder::Finder::new(Proc::open(boot()).unwrap(), Arc::clone(&processes), true);
    let mut costs = Vec::new();
    for round in 0..3 {
        if round == 1 {
            // All were looked at once: those without sockets come last from now on. This one is no known owner yet.
            finder.look_at_all();
            lock(&processes).forget_owners();
        }
        let cpu = clock::thread_cpu();
        let found = finder.find(row.inode, row.uid, None).unwrap();
        costs.push((clock::thread_cpu() - cpu) / 1_000);
        assert_eq!(found.pid, std::process::id());
    }
    println!(
        "search: {} us among all, {} us once all were looked at, {} us for one that owned before",
        costs[0], costs[1], costs[2]
    );
    assert!(costs[2] <= costs[0]);
}

struct Sleepers(Child);

impl Drop for Sleepers {
    fn drop(&mut self) {
        // Its children are ours to end: by their parent, one by one.
        let parent = self.0.id().to_string();
        let children =
            std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a connection costs the layer's threads, in processor time; `SONDE_TABLE_CALLS=2000` gives a figure.
#[test]
fn a_connection_costs_little() {
    let Some(mut bench) = Bench::open() else { return };
    let calls: u32 = std::env::var("SONDE_TABLE_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let spent = |names: &[&str]| -> u64 {
        let mut sum = 0;
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            if names.contains(&read("comm").trim()) {
                sum += read("schedstat").split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sum
    };
    let threads = ["syn-watch", "proc-connector", "socket-holders"];
    let (before, mut drains) = (spent(&threads), 0);
    for n in 0..calls {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
        stream.write_all(&std::process::id().to_le_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        if n % 50 == 0 {
            let cpu = clock::thread_cpu();
            bench.drain();
            drains += clock::thread_cpu() - cpu;
        }
    }
    bench.drain_until(Duration::from_millis(300), |_| false);
    let owned = bench.opened().values().flatten().count();
    println!(
        "{calls} connections, {owned} with owner: {} us of the threads and {} us of the drain for each",
        (spent(&threads) - before) / 1_000 / u64::from(calls),
        drains / 1_000 / i64::from(calls),
    );
    assert!(owned as u32 * 100 >= calls * 95, "{owned} of {calls}");
}
