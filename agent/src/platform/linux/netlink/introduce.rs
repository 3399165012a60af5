//! Who called out, where the kernel tells of no processes (no proc connector): read from `/proc` at once, while it still runs.
//!
//! A caller's program is looked up when the sensor drains, up to an eighth of a second later; one that calls and ends is gone by
//! then. So it is introduced by the thread that found it, as the connector would have told of it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::io;

use sonde_common::live::ProcessEvent;
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::cgroup::Cgroups;
use super::procfs::Proc;

/// Processes that are remembered as introduced, first ones forgotten first: then they are introduced anew, which costs a reading.
const MAX_INTRODUCED: usize = 4096;

/// Introduces processes, each once for every program that it runs.
#[derive(Debug)]
pub(super) struct Introductions {
    proc: Proc,
    cgroups: Cgroups,
    hashes: RandomState,
    /// What each was last seen to run, in short.
    told: HashMap<ProcessKey, u64>,
    order: VecDeque<ProcessKey>,
}

impl Introductions {
    pub(super) fn new(boot: Timestamp) -> io::Result<Self> {
        Ok(Self {
            proc: Proc::open(boot)?,
            cgroups: Cgroups::find(),
            hashes: RandomState::new(),
            told: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    /// What the sensor has to know of a process that called out at `time`; `None` where it was told already, or is gone.
    pub(super) fn introduce(&mut self, key: ProcessKey, time: Timestamp) -> Option<ProcessEvent> {
        let process = self.proc.process(key.pid).ok()?;
        let stat = process.stat().ok()?;
        let mut start = process.start(time, &mut self.cgroups);
        // All of it was read through one directory, so it is one process; another one of this number says nothing of the caller.
        if start.process != key || start.image.is_empty() {
            return None;
        }
        let brief =
            self.hashes.hash_one((&start.image, start.file.device, start.file.inode, &start.arguments));
        if self.told.insert(key, brief) == Some(brief) {
            return None;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_INTRODUCED
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
        let parent = self.proc.process(stat.parent).ok().and_then(|parent| parent.key().ok());
        start.parent = parent.filter(|parent| parent.start <= key.start);
        Some(match start.parent {
            // A worker of a daemon: a copy of its parent, which began no program.
            Some(parent) if stat.copy => ProcessEvent::Forked { time, parent, child: key },
            _ => ProcessEvent::Started(Box::new(start)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::tests::boot;
    use super::*;

    #[test]
    fn a_process_is_introduced_once_with_what_it_runs_and_anew_once_it_runs_something_else() {
        let boot = boot();
        let mut all = Introductions::new(boot).unwrap();
        let mut child = Command::new("/bin/sh").args(["-c", "sleep 0.4; exec sleep 20"]).spawn().unwrap();
        let pid = child.id();
        let shell = |all: &Introductions| all.proc.process(pid).unwrap().start(boot, &mut Cgroups::find());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !shell(&all).arguments.starts_with(b"/bin/sh\0") && std::time::Instant::now() < until {}
        let key = shell(&all).process;
        let Some(ProcessEvent::Started(start)) = all.introduce(key, boot) else { panic!("not introduced") };
        assert_eq!((start.process, start.parent.unwrap().pid), (key, std::process::id()));
        assert!(start.arguments.starts_with(b"/bin/sh\0-c\0"), "{start:?}");
        assert_eq!(all.introduce(key, boot), None, "told already");
        let another = ProcessKey { pid, start: key.start.plus_nanos(-10_000_000) };
        assert_eq!(all.introduce(another, boot), None, "an earlier process of that number");
        while !shell(&all).arguments.starts_with(b"sleep\0") && std::time::Instant::now() < until {}
        let Some(ProcessEvent::Started(start)) = all.introduce(key, boot) else { panic!("not told anew") };
        assert_eq!(start.arguments, b"sleep\x0020\0");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(all.introduce(key, boot), None, "gone");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut all = Introductions::new(boot()).unwrap();
        let own = all.proc.process(std::process::id()).unwrap().key().unwrap();
        for pid in 0..u32::try_from(MAX_INTRODUCED).unwrap() {
            let key = ProcessKey { pid: 1 << 30 | pid, ..own };
            all.told.insert(key, 0);
            all.order.push_back(key);
        }
        assert!(all.introduce(own, own.start).is_some());
        assert_eq!((all.told.len(), all.order.len()), (MAX_INTRODUCED, MAX_INTRODUCED));
    }
}
