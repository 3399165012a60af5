//! What was there before the sensor: all outgoing connections, with the processes that hold them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use sonde_common::live::{LiveEvent, SocketEvent, SocketNews, SocketOwner};
use sonde_common::process::{Attribution, Method, Quality};
use sonde_common::time::Timestamp;

use super::clock;
use super::finder::Finder;
use super::processes::Processes;
use super::procfs::Proc;
use super::snapshot::Snapshots;

/// All outgoing connections that exist now, of all network namespaces, each with its owner where one is found. Those to
/// loopback are left out, and those whose local port is listened on: they came in. `boot` is the boot's wall-clock time.
#[must_use]
pub fn seed(boot: Timestamp) -> Vec<LiveEvent> {
    take(boot, false)
}

pub(super) fn take(boot: Timestamp, loopback: bool) -> Vec<LiveEvent> {
    let (Ok(proc), Ok(search)) = (Proc::open(boot), Proc::open(boot)) else { return Vec::new() };
    let finder = Finder::new(search, Arc::new(Mutex::new(Processes::default())), false);
    let mut rows = Vec::new();
    Snapshots::open(proc, loopback).take(&mut rows);
    let inodes: HashSet<u32> = rows.iter().map(|(_, row)| row.inode).collect();
    let owners = finder.find_all(&inodes);
    let time = clock::realtime();
    let mut events: Vec<LiveEvent> = rows
        .iter()
        .map(|(_, row)| {
            let owner = owners.get(&row.inode).map(|&process| SocketOwner {
                process,
                uid: row.uid,
                attribution: Attribution { method: Method::Seed, quality: Quality::Exact },
            });
            let news = SocketNews::Found(owner);
            LiveEvent::Socket(SocketEvent { time, socket: row.socket, tuple: row.tuple, news })
        })
        .collect();
    // The kernel's order is that of its hash table; one order for all runs reads better.
    events.sort_by_key(|event| match event {
        LiveEvent::Socket(event) => (event.tuple.local, event.tuple.remote),
        _ => unreachable!("only sockets are seeded"),
    });
    events
}
