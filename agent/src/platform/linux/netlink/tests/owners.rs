//! How well owners are found, and what it costs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use std::io::Write as _;

use sonde_common::live::SocketNews;
use sonde_common::net::FiveTuple;
use sonde_common::process::Quality;

use super::super::{clock, finder, socket};
use super::{Bench, boot, call, lock, shell};
use crate::live::layer::Layer as _;

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
    let host = if hold_ms.is_multiple_of(2) { "127.0.0.1" } else { "[::1]" };
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

/// Owners found, in percent, at least, while a whole test suite runs beside on two processors. What the layer finds by itself
/// `tests/cases/live/accuracy.rs` asserts, and `scripts/accuracy` prints.
const BESIDE_OTHERS: usize = 60;

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
        // A caller's port may be given out again, and two calls then count as one.
        assert!((calls * 3 / 4..=calls).contains(&(cell.right + cell.none + cell.unseen)), "{cell:?}");
        if hold_ms >= 5 {
            assert!(cell.right * 100 >= (cell.right + cell.none + cell.unseen) * BESIDE_OTHERS, "{cell:?}");
        }
    }
    assert_eq!(bench.layer.lost(), 0);
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
        assert!(
            hold_ms < 5 || cell.right * 100 >= (cell.right + cell.none + cell.unseen) * BESIDE_OTHERS,
            "{cell:?}"
        );
    }
    search_costs();
}

/// What a search costs: an owner that was one before, and one that is as old as its account's oldest.
fn search_costs() {
    use super::super::processes::Processes;
    use super::super::procfs::Proc;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = stream.local_addr().unwrap();
    let tuple = FiveTuple {
        transport: sonde_common::net::Transport::Tcp,
        local,
        remote: stream.peer_addr().unwrap(),
    };
    let row = socket::DiagSocket::open().unwrap().look_up(&tuple, 1).unwrap().unwrap();
    let mut all = Processes::default();
    all.refresh(&Proc::open(boot()).unwrap());
    let processes = Arc::new(Mutex::new(all));
    let mut finder = finder::Finder::new(Proc::open(boot()).unwrap(), Arc::clone(&processes), true);
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
    let mut held = std::collections::VecDeque::new();
    for n in 0..calls {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
        stream.write_all(&std::process::id().to_le_bytes()).unwrap();
        // Held for some 20 ms: what is measured is the cost, not the race.
        held.push_back(stream);
        if held.len() > 20 {
            held.pop_front();
        }
        std::thread::sleep(Duration::from_millis(1));
        if n % 50 == 0 {
            let cpu = clock::thread_cpu();
            bench.drain();
            drains += clock::thread_cpu() - cpu;
        }
    }
    bench.drain_until(Duration::from_millis(300), |_| false);
    let owned = super::sockets(&bench.events)
        .filter(|e| e.tuple.remote.port() == bench.port && matches!(e.news, SocketNews::Opened(Some(_))))
        .count();
    println!(
        "{calls} connections, {owned} with owner: {} us of the threads and {} us of the drain for each",
        (spent(&threads) - before) / 1_000 / u64::from(calls),
        drains / 1_000 / i64::from(calls),
    );
    assert!(owned * 100 >= calls as usize * BESIDE_OTHERS, "{owned} of {calls}");
}

#[test]
fn a_long_lived_caller_that_closes_at_once_is_never_told_as_a_process_that_died_beside_it() {
    let Some(mut bench) = Bench::open() else { return };
    let calls = std::env::var("SONDE_TABLE_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let _churn = shell("while true; do /bin/true; done");
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    drop(TcpStream::connect(refused));
    let mut ours = Vec::new();
    for _ in 0..calls {
        let stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
        ours.push(stream.local_addr().unwrap());
        drop(stream);
        std::thread::sleep(Duration::from_millis(7));
        bench.drain();
    }
    bench.drain_until(Duration::from_millis(500), |_| false);
    let opened = bench.opened();
    let owner = |from: &SocketAddr| opened.get(from).copied().flatten();
    let right =
        ours.iter().filter(|from| owner(from).is_some_and(|o| o.process.pid == std::process::id())).count();
    let wrong =
        ours.iter().filter(|from| owner(from).is_some_and(|o| o.process.pid != std::process::id())).count();
    println!("closed at once beside dying processes: {right} right, {wrong} wrong of {calls}");
    assert_eq!(wrong, 0);
}
