//! The proc connector: fork, exec and exit as they happen. What a program is must be read at once, while it runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use sonde_common::live::{ProcessEvent, ProcessStart, Unavailable};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::cgroup::Cgroups;
use super::clock;
use super::diag::{ProcNews, new_thread, proc_event};
use super::processes::{Alive, Processes};
use super::procfs::Proc;
use super::queue::lock;
use super::socket::{Heard, Listener};

/// How long the kernel may take to tell of a thread of our own.
const PROOF: Duration = Duration::from_secs(1);

/// What to do with each event: called in the connector's thread, so it must be quick.
pub(super) type Take = Box<dyn FnMut(ProcessEvent) + Send>;

/// The thread that listens. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connector {
    stop: Arc<OwnedFd>,
    stopped: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Connector {
    /// Begins to listen, and keeps `processes` up to date.
    pub(super) fn start(boot: Timestamp, processes: Arc<Mutex<Processes>>, take: Take) -> io::Result<Self> {
        let mut listener = Listener::processes()?;
        prove(&mut listener)?;
        let proc = Proc::open(boot)?;
        // Listened to first and read then, so that none falls between.
        lock(&processes).refresh(&proc);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (stopped, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut listening = Listening {
            listener,
            reader: Reader { proc, processes, cgroups: Cgroups::find(), take },
            stop: Arc::clone(&stop),
            stopped: Arc::clone(&stopped),
            lost: Arc::clone(&lost),
        };
        let thread = thread::Builder::new().name("proc-connector".into()).spawn(move || listening.run())?;
        Ok(Self { stop, stopped, lost, thread: Some(thread) })
    }

    /// Times that the kernel had no room for events; each time one or more were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let woken = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            // It ends at once; had it panicked, that was said already.
            let _ = thread.join();
        }
    }
}

/// Sees that events come, and are numbered as `/proc` numbers processes: a thread of our own has to be told of. In a process
/// namespace of its own the kernel refuses without a word, or tells of the first namespace's numbers.
fn prove(listener: &mut Listener) -> io::Result<()> {
    let until = Instant::now() + PROOF;
    let begun = thread::Builder::new().name("heard-of".into()).spawn(rustix::thread::gettid)?;
    let thread = begun.join().map_err(|_| io::Error::other("a thread ended early"))?;
    let wanted = u32::try_from(thread.as_raw_nonzero().get()).ok().map(|thread| (thread, std::process::id()));
    let mut told = false;
    while !told && Instant::now() < until {
        if listener.hear(|message| told |= new_thread(message.body) == wanted) == Heard::Nothing {
            thread::sleep(PROOF / 200);
        }
    }
    let silent =
        || io::Error::new(io::ErrorKind::TimedOut, "the kernel tells of no process of this namespace");
    told.then_some(()).ok_or_else(silent)
}

/// What is lost without it.
pub(super) fn missing(error: &io::Error) -> Unavailable {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "start the sensor with CAP_NET_ADMIN: it gives it up afterwards",
        _ => "a kernel with CONFIG_PROC_EVENTS; run in the machine's first network and process namespace",
    };
    Unavailable {
        what: "events of processes (proc connector)".to_owned(),
        reason: format!("{error}; a caller is read from /proc instead, if it lives for some milliseconds"),
        remedy: remedy.to_owned(),
    }
}

struct Listening {
    listener: Listener,
    reader: Reader,
    stop: Arc<OwnedFd>,
    stopped: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl Listening {
    fn run(&mut self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let reader = &mut self.reader;
            match self.listener.hear(|message| {
                if let Some((time, news)) = proc_event(message.body) {
                    reader.read(clock::of_monotonic(time), news);
                }
            }) {
                Heard::Some => {}
                Heard::Overrun => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    lock(&self.reader.processes).refresh(&self.reader.proc);
                }
                Heard::Nothing => {
                    let mut fds =
                        [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&*self.stop, PollFlags::IN)];
                    // Interrupted or not: the loop looks again.
                    let _ = poll(&mut fds, None);
                }
            }
        }
    }
}

/// Turns the connector's pids into processes.
struct Reader {
    proc: Proc,
    processes: Arc<Mutex<Processes>>,
    cgroups: Cgroups,
    take: Take,
}

impl Reader {
    fn read(&mut self, time: Timestamp, news: ProcNews) {
        match news {
            ProcNews::Fork { parent, child } => self.fork(time, parent, child),
            ProcNews::Exec { pid } => self.exec(time, pid),
            ProcNews::Exit { pid } => {
                let process = lock(&self.processes).died(pid, time);
                if let Some(process) = process {
                    (self.take)(ProcessEvent::Exited { time, process });
                }
            }
        }
    }

    fn fork(&mut self, time: Timestamp, parent: u32, child: u32) {
        // Gone already: without its start it cannot be told from another with the same pid.
        let Ok(process) = self.proc.process(child) else { return };
        let (Ok(stat), Ok(uid)) = (process.stat(), process.uid()) else { return };
        let key = self.proc.key(child, &stat);
        let parent_key = {
            let mut processes = lock(&self.processes);
            processes.began(Alive {
                key,
                parent,
                uid,
                kernel: stat.kernel,
                forked: Some(time),
                began: time,
                idle: false,
            });
            processes.get(parent).map(|p| p.key)
        };
        if let Some(parent) = parent_key.or_else(|| self.proc.process(parent).ok()?.key().ok()) {
            (self.take)(ProcessEvent::Forked { time, parent, child: key });
        }
    }

    fn exec(&mut self, time: Timestamp, pid: u32) {
        let (mut start, parent) = match self.proc.process(pid) {
            Ok(process) => {
                let start = process.start(time, &mut self.cgroups);
                (start, process.stat().ok().map(|stat| stat.parent))
            }
            Err(_) => (ProcessStart { time, ..ProcessStart::default() }, None),
        };
        let mut processes = lock(&self.processes);
        let known = processes.get(pid).copied();
        if start.process.start == Timestamp::ZERO || start.process.pid == 0 {
            // Gone already: what its fork told still holds.
            let Some(known) = known else { return };
            start.process = known.key;
            start.uid = known.uid;
        }
        let parent = parent.or(known.map(|known| known.parent)).unwrap_or(0);
        start.parent =
            processes.get(parent).map(|p| p.key).filter(|p: &ProcessKey| p.start <= start.process.start);
        processes.began(Alive {
            key: start.process,
            parent,
            uid: start.uid,
            kernel: false,
            forked: None,
            began: time,
            idle: false,
        });
        drop(processes);
        (self.take)(ProcessEvent::Started(Box::new(start)));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_program_is_told_from_its_fork_to_its_exit_with_what_it_runs() {
        let processes = Arc::new(Mutex::new(Processes::default()));
        let (told, events) = mpsc::channel();
        let take = Box::new(move |event| told.send(event).unwrap());
        let boot = Timestamp::from_secs_nanos(1_000_000, 0);
        let connector = match Connector::start(boot, Arc::clone(&processes), take) {
            Ok(connector) => connector,
            Err(error) => return super::super::tests::skip("proc connector", &error),
        };
        let mut child = Command::new("/bin/sleep").args(["0.05", "0.0000"]).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let (mut forked, mut started, mut exited) = (None, None, None);
        let end = Instant::now() + Duration::from_secs(5);
        while exited.is_none() && Instant::now() < end {
            match events.recv_timeout(Duration::from_millis(100)) {
                Ok(ProcessEvent::Forked { child, parent, .. }) if child.pid == pid => {
                    assert_eq!(parent.pid, std::process::id());
                    forked = Some(child);
                }
                Ok(ProcessEvent::Started(start)) if start.process.pid == pid => started = Some(start),
                Ok(ProcessEvent::Exited { process, .. }) if process.pid == pid => exited = Some(process),
                _ => {}
            }
        }
        let started = started.unwrap();
        assert_eq!((forked, exited), (Some(started.process), Some(started.process)));
        assert_eq!(started.arguments, b"/bin/sleep\x000.05\x000.0000\0");
        assert!(started.image.ends_with(b"sleep"), "{started:?}");
        assert!(started.file.inode != 0 && started.net_namespace != 0 && !started.unlinked);
        assert_eq!(started.parent.unwrap().pid, std::process::id());
        assert!(lock(&processes).get(pid).is_none());
        assert_eq!(connector.lost(), 0);
    }
}
