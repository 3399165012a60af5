//! Kernel records -> live events.

use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;

use sonde_common::event::{Outcome, Totals};
use sonde_common::live::{
    FileId, LiveEvent, ProcessEvent, ProcessStart, SocketEvent, SocketId, SocketNews, SocketOwner,
};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{Attribution, Method, ProcessKey, Quality};
use sonde_common::time::Timestamp;

use super::clock::{Clock, process_start};
use super::exchanges::{Flows, Lookup};
use super::record::{Exec, Head, Owner, Record, parse};

const DNS_PORT: u16 = 53;
const KERNEL: Attribution = Attribution { method: Method::Ebpf, quality: Quality::KernelExact };

/// Turns records into events.
#[derive(Debug)]
pub(super) struct Events {
    boot: Timestamp,
    /// Calls to loopback are those of the self-test; else they are left out.
    loopback: bool,
    damaged: u64,
}

impl Events {
    pub(super) fn new(boot: Timestamp, loopback: bool) -> Self {
        Self { boot, loopback, damaged: 0 }
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes one record.
    pub(super) fn take<L: Lookup>(
        &mut self,
        bytes: &[u8],
        clock: Clock,
        flows: &mut Flows<L>,
        out: &mut Vec<LiveEvent>,
    ) {
        let Some(record) = parse(bytes) else {
            self.damaged += 1;
            return;
        };
        match record {
            Record::Opened(head, owner) => {
                if let Some(owner) = owner.filter(|owner| owner.untold && self.is_wanted(&head.tuple)) {
                    let start = self.late_start(&owner, clock.wall(head.time));
                    out.push(LiveEvent::Process(ProcessEvent::Started(Box::new(start))));
                }
                let owner = owner.map(|owner| self.socket_owner(&owner));
                self.socket(head, clock, SocketNews::Opened(owner), out);
            }
            Record::Answered(head) => self.socket(head, clock, SocketNews::Answered, out),
            Record::Exchange(head, before) => {
                if self.is_wanted(&head.tuple) {
                    flows.began(head, before, clock, out);
                }
            }
            Record::Closed(head, closed) => {
                if !self.is_wanted(&head.tuple) {
                    return;
                }
                flows.closed(&head, closed.under_way, clock, out);
                // The kernel keeps count of datagrams only where it sees their lengths; else it does not say how it went.
                let counted = head.tuple.transport == Transport::Tcp || closed.outcome != Outcome::Unknown;
                let end = match head.tuple.transport {
                    Transport::Udp if closed.under_way.last != 0 => closed.under_way.last,
                    _ => head.time,
                };
                let totals = Totals {
                    end: clock.wall(end),
                    bytes_out: counted.then_some(closed.bytes_out),
                    bytes_in: counted.then_some(closed.bytes_in),
                    outcome: closed.outcome,
                };
                self.socket(head, clock, SocketNews::Closed(totals), out);
            }
            Record::Exec(exec) => {
                let start = self.start(&exec, clock);
                out.push(LiveEvent::Process(ProcessEvent::Started(Box::new(start))));
            }
            Record::Fork(fork) => out.push(LiveEvent::Process(ProcessEvent::Forked {
                time: clock.wall(fork.time),
                parent: self.key(fork.parent_pid, fork.parent_start),
                child: self.key(fork.pid, fork.start),
            })),
            Record::Exit(exit) => out.push(LiveEvent::Process(ProcessEvent::Exited {
                time: clock.wall(exit.time),
                process: self.key(exit.pid, exit.start),
            })),
        }
    }

    fn is_wanted(&self, tuple: &FiveTuple) -> bool {
        let here = tuple.remote.ip().is_loopback() || tuple.remote.ip() == tuple.local.ip();
        // A question to a resolver on this host tells which process wants to know.
        self.loopback || !here || tuple.remote.port() == DNS_PORT
    }

    fn socket(&self, head: Head, clock: Clock, news: SocketNews, out: &mut Vec<LiveEvent>) {
        if self.is_wanted(&head.tuple) {
            out.push(socket_event(&head, clock.wall(head.time), news));
        }
    }

    fn key(&self, pid: u32, start: u64) -> ProcessKey {
        ProcessKey { pid, start: process_start(self.boot, start) }
    }

    fn socket_owner(&self, owner: &Owner) -> SocketOwner {
        SocketOwner { process: self.key(owner.pid, owner.start), uid: owner.uid, attribution: KERNEL }
    }

    /// A program whose start found no room: what is known when it calls. Without it the process would pass for what it ran
    /// before.
    fn late_start(&self, owner: &Owner, time: Timestamp) -> ProcessStart {
        ProcessStart {
            time,
            process: self.key(owner.pid, owner.start),
            uid: owner.uid,
            image: path_of(owner.pid, owner.file).unwrap_or_default(),
            file: owner.file,
            cgroup: owner.cgroup,
            net_namespace: u64::from(owner.net_namespace),
            ..ProcessStart::default()
        }
    }

    fn start(&self, exec: &Exec<'_>, clock: Clock) -> ProcessStart {
        let owner = &exec.owner;
        ProcessStart {
            time: clock.wall(exec.time),
            process: self.key(owner.pid, owner.start),
            parent: (exec.parent_pid != 0).then(|| self.key(exec.parent_pid, exec.parent_start)),
            uid: owner.uid,
            image: exec.path.clone().or_else(|| path_of(owner.pid, owner.file)).unwrap_or_default(),
            arguments: exec.arguments.to_vec(),
            file: owner.file,
            unlinked: exec.unlinked,
            cgroup: owner.cgroup,
            net_namespace: u64::from(owner.net_namespace),
        }
    }
}

/// A path that the kernel program could not tell: asked for afterwards, and believed only if it leads to the same file.
fn path_of(pid: u32, file: FileId) -> Option<Vec<u8>> {
    let link = format!("/proc/{pid}/exe");
    let path = std::fs::read_link(&link).ok()?;
    let found = std::fs::metadata(&link).ok()?;
    (found.dev() == file.device && found.ino() == file.inode).then(|| path.into_os_string().into_vec())
}

/// An event of a socket.
pub(super) fn socket_event(head: &Head, time: Timestamp, news: SocketNews) -> LiveEvent {
    LiveEvent::Socket(SocketEvent { time, socket: SocketId(head.cookie), tuple: head.tuple, news })
}
