//! Sonde's own events as a result: every observation as a line, and a line for each process before its first.

use std::hash::BuildHasher as _;
use std::io::Write;

use sonde_common::event::{Event, HostId, Observation};
use sonde_common::format::events;
use sonde_common::process::ProcessKey;

/// Bytes of events gathered before they are written.
const EVENTS_BUFFER: usize = 256 * 1024;
/// Processes whose line was written and is not repeated; beyond it the places are shared.
const TOLD_PROCESSES: usize = 16_384;

/// Writes the normalised events; the first failure is kept and told at the end.
pub(crate) struct EventsWriter<'a> {
    out: Option<Box<dyn Write + 'a>>,
    buffer: Vec<u8>,
    /// Processes that a line told of, as hashes of host, process and program, each in the place that its hash names.
    told: Vec<u64>,
    hasher: foldhash::fast::FixedState,
    failed: Option<std::io::Error>,
}

impl<'a> EventsWriter<'a> {
    pub(crate) fn new(out: Option<Box<dyn Write + 'a>>) -> Self {
        let mut buffer = Vec::new();
        if out.is_some() {
            events::write_header(&mut buffer);
        }
        Self { out, buffer, told: Vec::new(), hasher: foldhash::fast::FixedState::default(), failed: None }
    }

    /// Whether anyone reads them.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.out.is_some()
    }

    pub(crate) fn write(&mut self, observation: &Observation<'_>) {
        if self.out.is_none() || self.failed.is_some() {
            return;
        }
        self.tell_process(observation);
        events::write_line(observation, &mut self.buffer);
        if self.buffer.len() >= EVENTS_BUFFER {
            self.flush();
        }
    }

    /// A source that knows the program of each event by itself tells of no processes; the file has to.
    fn tell_process(&mut self, observation: &Observation<'_>) {
        let (key, program) = match &observation.event {
            Event::Connection(event) => (event.process, event.program),
            Event::Dns(event) => (event.process, event.program),
            _ => return,
        };
        let (Some(key), Some(program)) = (key, program) else { return };
        if self.told.is_empty() {
            self.told = vec![0; TOLD_PROCESSES];
        }
        // The place is the process's, the mark is of the program, too: a pid that is another program now is told again.
        let process: (HostId<'_>, ProcessKey) = (observation.host, key);
        let place = self.hasher.hash_one(process);
        let info = &program.info;
        let texts = (&info.image, &info.command_line, &info.sha256, &info.parent_image, &info.user);
        let more = (&info.script, &info.container);
        let mark = self.hasher.hash_one((process, texts, more)).max(1);
        let place = usize::try_from(place % TOLD_PROCESSES as u64).unwrap_or(0);
        if let Some(told) = self.told.get_mut(place)
            && *told != mark
        {
            *told = mark;
            let process = Observation { event: Event::Process(key, info), ..*observation };
            events::write_line(&process, &mut self.buffer);
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) {
        if let Some(out) = &mut self.out {
            self.failed =
                self.failed.take().or_else(|| out.write_all(&self.buffer).and_then(|()| out.flush()).err());
        }
        self.buffer.clear();
    }

    /// The first failure, once: nothing is written after it.
    pub(crate) fn take_error(&mut self) -> Option<std::io::Error> {
        let error = self.failed.take()?;
        self.out = None;
        Some(error)
    }

    pub(crate) fn finish(mut self) -> Result<(), std::io::Error> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}
