//! Detection some thousand observations behind the reading, host by host, on a thread of its own where there is one to spare.
//!
//! What comes of it is what comes of taking each observation at once: engines of different hosts know nothing of each other,
//! and whatever concerns several (a new host takes its share of the memory from all) waits until they have caught up.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sonde_common::alert::{Alert, Severity};
use sonde_common::engine::{Backlog, Directory, Engines};
use sonde_common::event::Observation;

/// With fewer observations than this it takes longer to hand them over than to take them.
const WORTH_A_THREAD: usize = 1_024;

/// Engines, and what they have yet to see.
#[derive(Debug)]
pub(super) struct Behind {
    /// Gathered now.
    backlog: Backlog,
    /// Taken out of the engines, which may be elsewhere.
    directory: Directory,
    engines: Place,
    thread: Option<Thread>,
    worst: Option<Severity>,
}

/// Where the engines are.
#[derive(Debug)]
enum Place {
    Here(Box<Engines>),
    /// On the thread, with a backlog that was full.
    Away,
}

/// What goes to the thread and comes back, caught up.
#[derive(Debug)]
struct Job {
    engines: Box<Engines>,
    backlog: Backlog,
    worst: Option<Severity>,
}

#[derive(Debug)]
struct Thread {
    jobs: SyncSender<Job>,
    done: Receiver<Job>,
    handle: JoinHandle<()>,
    /// The backlog that is not being filled while nothing is away.
    spare: Backlog,
}

impl Thread {
    /// `None` if the system has none to give: then all is done here.
    fn start() -> Option<Self> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (finished, done) = sync_channel(1);
        let work = move || {
            while let Ok(mut job) = todo.recv() {
                job.catch_up();
                if finished.send(job).is_err() {
                    return;
                }
            }
        };
        let handle = std::thread::Builder::new().name("detection".into()).spawn(work).ok()?;
        Some(Self { jobs, done, handle, spare: Backlog::default() })
    }
}

impl Job {
    fn catch_up(&mut self) {
        let Self { engines, backlog, worst } = self;
        engines.catch_up(backlog, &mut |alert| *worst = (*worst).max(Some(alert.severity)));
    }
}

impl Behind {
    /// For engines; with a thread of their own if `threads` allows for one beside the reader's.
    pub(super) fn new(mut engines: Engines, threads: usize) -> Self {
        Self {
            backlog: Backlog::default(),
            directory: std::mem::take(engines.directory()),
            engines: Place::Here(Box::new(engines)),
            thread: if threads > 1 { Thread::start() } else { None },
            worst: None,
        }
    }

    /// Takes an observation: now or later.
    #[inline]
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        if let Some(place) = self.directory.find(observation.host)
            && self.backlog.keep(place, observation)
        {
            if self.backlog.is_full() {
                self.hand_over();
            }
        } else {
            self.at_once(observation);
        }
    }

    /// Of what is no news of a connection, and of a new host.
    #[cold]
    fn at_once(&mut self, observation: &Observation<'_>) {
        let mut engines = self.caught_up();
        std::mem::swap(engines.directory(), &mut self.directory);
        let worst = &mut self.worst;
        engines.observe(observation, &mut |alert: Alert| *worst = (*worst).max(Some(alert.severity)));
        std::mem::swap(engines.directory(), &mut self.directory);
        self.engines = Place::Here(engines);
    }

    /// Has the engines catch up with what is gathered, while more is.
    #[cold]
    fn hand_over(&mut self) {
        let engines = self.back();
        let Some(thread) = &mut self.thread else {
            self.engines = Place::Here(self.catch_up(engines));
            return;
        };
        let backlog = std::mem::replace(&mut self.backlog, std::mem::take(&mut thread.spare));
        match thread.jobs.send(Job { engines, backlog, worst: self.worst }) {
            Ok(()) => self.engines = Place::Away,
            // It ends only with a panic, which is told when it is joined.
            Err(_) => self.fail(),
        }
    }

    /// The engines, when they have seen all.
    fn caught_up(&mut self) -> Box<Engines> {
        if self.backlog.len() >= WORTH_A_THREAD && self.thread.is_some() {
            self.hand_over();
        }
        let engines = self.back();
        self.catch_up(engines)
    }

    fn catch_up(&mut self, engines: Box<Engines>) -> Box<Engines> {
        let mut job = Job { engines, backlog: std::mem::take(&mut self.backlog), worst: self.worst };
        job.catch_up();
        (self.backlog, self.worst) = (job.backlog, job.worst);
        job.engines
    }

    /// The engines, when they have seen what was handed over.
    fn back(&mut self) -> Box<Engines> {
        if let Place::Here(engines) = std::mem::replace(&mut self.engines, Place::Away) {
            return engines;
        }
        if let Some(thread) = &mut self.thread
            && let Ok(job) = thread.done.recv()
        {
            thread.spare = job.backlog;
            self.worst = job.worst;
            return job.engines;
        }
        self.fail()
    }

    /// Goes on with the panic of the thread: it would have ended the replay here, too.
    #[cold]
    fn fail(&mut self) -> ! {
        let panic = self.thread.take().and_then(|thread| thread.handle.join().err());
        std::panic::resume_unwind(panic.unwrap_or_else(|| Box::new("the thread of the detection is gone")))
    }

    /// The engines, when they have seen all, and the severity of the worst alert that they had.
    pub(super) fn finish(mut self) -> (Engines, Option<Severity>) {
        let mut engines = self.caught_up();
        *engines.directory() = std::mem::take(&mut self.directory);
        (*engines, self.worst)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use sonde_common::event::{AppProtocol, ConnectionEvent, Event, HostId, Names, Phase};
    use sonde_common::live::{Gap, GapCause};
    use sonde_common::net::{FiveTuple, Transport};
    use sonde_common::process::Attribution;
    use sonde_common::time::Timestamp;

    use super::*;

    const SEED: (u64, u64) = (1, 2);

    /// Minute after minute, so many hosts call: each a beacon's destination, and one that nobody called before. Now and then a
    /// host tells of more than connections.
    fn story(hosts: u32, minutes: u32, mut tell: impl FnMut(&Observation<'_>)) {
        let mut other = 0u32;
        for minute in 0..minutes {
            for host in 0..hosts {
                let local = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + host));
                let time =
                    Timestamp::from_secs_nanos(1_700_000_000 + i64::from(minute) * 60, i64::from(host));
                other = other.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                for (remote, name) in [(0xc633_6407, "c2.example.net"), (0x2000_0000 | other >> 4, "")] {
                    let event = ConnectionEvent {
                        tuple: FiveTuple {
                            transport: Transport::Tcp,
                            local: (local, 40_000).into(),
                            remote: (Ipv4Addr::from_bits(remote), 443).into(),
                        },
                        start: time,
                        process: None,
                        program: None,
                        attribution: Attribution::NONE,
                        names: Names { sni: name, ..Names::default() },
                        protocol: AppProtocol::Tls,
                        ja4: None,
                        phase: Phase::Opened,
                    };
                    let host = HostId::Address(local);
                    tell(&Observation { time, host, event: Event::Connection(event) });
                }
                if (minute + host) % 97 == 0 {
                    let until = time.plus_nanos(1);
                    let gap = Gap { since: time, until, cause: GapCause::Suspended, lost: 0 };
                    tell(&Observation { time, host: HostId::Address(local), event: Event::Gap(gap) });
                }
            }
        }
    }

    /// What engines came to, and their worst.
    fn came_to(engines: &Engines, worst: Option<Severity>) -> String {
        format!("{:?} {:?} {worst:?} {:#?}", engines.len(), engines.counters(), engines.series())
    }

    #[test]
    fn later_and_elsewhere_gives_what_at_once_gives() {
        // With little memory hosts are forgotten, too: 400 of them do not fit.
        for (hosts, minutes, memory) in [(1, 600, 8 << 20), (60, 300, 8 << 20), (400, 40, 8 << 20)] {
            let (mut engines, mut worst) = (Engines::with_memory(memory, SEED), None);
            story(hosts, minutes, |observation| {
                engines.observe(observation, &mut |alert: Alert| worst = worst.max(Some(alert.severity)));
            });
            let expected = came_to(&engines, worst);
            assert!(hosts == 400 || worst.is_some(), "something is found");
            assert_eq!(engines.counters().hosts_evicted > 0, hosts == 400);
            for threads in [1, 2] {
                let mut behind = Behind::new(Engines::with_memory(memory, SEED), threads);
                story(hosts, minutes, |observation| behind.observe(observation));
                let (engines, worst) = behind.finish();
                assert!(came_to(&engines, worst) == expected, "{hosts} hosts, {threads} threads");
            }
        }
    }
}
