//! Who a process is: events of processes in, [`Program`]s out.
//!
//! A bounded table that outlives the processes by a minute, since their connections are told of later. What no event told is
//! asked of the system; what has to be read from disk is read by a thread of its own, and until then a program is `Pending`.
//! Policy only: `platform::identity` reads.

mod describe;
pub mod facts;
pub mod recent;
pub mod script;
mod table;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use sonde_common::config::CommandLines;
use sonde_common::live::{FileId, MAX_ARGUMENT_BYTES, ProcessEvent, ProcessStart, Unavailable};
use sonde_common::process::{ImageLocation, MAX_ANCESTORS, ProcessInfo, ProcessKey};
use sonde_common::program::Program;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use self::facts::{ExecutableFacts, ExecutableKey, Found, Place, Request, Unhashed};
use self::recent::Recent;
use self::script::Script;
use self::table::{Executable, Run, Table};
use self::worker::Worker;
use crate::platform::identity as system;

/// How long a process is remembered after its end: its last connection may be told of this much later.
const REMEMBER: i64 = 60 * NANOS_PER_SEC;
/// Executables whose facts are kept at hand.
const MAX_KNOWN: usize = 4096;
/// Scripts whose resolved paths are kept.
const MAX_SCRIPTS: usize = 1024;
/// Parents looked up for a process that began unseen.
const MAX_DEPTH: usize = MAX_ANCESTORS + 1;
/// Arguments kept of a process while the texts of all take more than their share.
const SHORT_ARGUMENTS: usize = 256;
/// Answers taken at a time.
const MAX_ANSWERS: usize = 1024;
/// Time between two looks whether a process of which no end was told still lives.
const CHECK_EVERY: i64 = NANOS_PER_SEC;
/// Processes looked at then.
const CHECKS: usize = 8;

/// How processes are followed.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// Wall-clock time at which the machine began: the one that the keys of processes are made with.
    pub boot: Timestamp,
    /// Processes followed at a time.
    pub processes: usize,
    /// Bytes of paths and arguments that are kept of them; above that, arguments are cut short.
    pub text_bytes: usize,
    /// Executables larger than this, in bytes, are not hashed.
    pub hash_bytes: u64,
    /// How command lines are kept.
    pub command_lines: CommandLines,
}

impl Default for IdentityOptions {
    fn default() -> Self {
        Self {
            boot: Timestamp::ZERO,
            processes: 16_384,
            text_bytes: 8 << 20,
            hash_bytes: 256 << 20,
            command_lines: CommandLines::Whole,
        }
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// Known, as well as it will be.
    Ready(&'a Program),
    /// Its executable is being looked at.
    Pending,
    /// There is no such process, and none was told of.
    Unknown,
}

/// What could not be kept or found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityLosses {
    /// Processes forgotten because the table was full.
    pub evicted: u64,
    /// Processes whose arguments were cut short because the texts of all took too much room.
    pub cut: u64,
    /// Programs asked for that could not be named.
    pub unknown: u64,
    /// Programs given without hash because the wait for it was over.
    pub given_early: u64,
    /// Runs of executables that were not hashed, by cause.
    pub unhashed: BTreeMap<Unhashed, u64>,
}

/// Interpreter, script as given, parent.
type ScriptKey = (Arc<str>, Box<str>, Arc<str>);

/// An executable at hand.
#[derive(Debug)]
struct Known {
    key: ExecutableKey,
    path: Box<[u8]>,
    facts: Arc<ExecutableFacts>,
}

/// Follows processes and names their programs.
#[derive(Debug)]
pub struct Identities {
    options: IdentityOptions,
    table: Table,
    worker: Worker,
    places: system::Places,
    accounts: system::Accounts,
    known: Recent<FileId, Known>,
    /// Whether the first program that was given of a file had its hash: later ones are keyed alike, so that a hash that
    /// came too late once does not part their series.
    hashed: Recent<FileId, bool>,
    /// Scripts as last resolved: a short-lived run is no other program.
    scripts: Recent<ScriptKey, Box<str>>,
    edition: u64,
    checked: Timestamp,
    frugal: bool,
    losses: IdentityLosses,
}

impl Identities {
    /// An empty table, and the thread that looks at executables.
    #[must_use]
    pub fn new(options: IdentityOptions) -> Self {
        let examiner = system::Examiner::new(options.hash_bytes);
        Self {
            table: Table::new(options.processes),
            worker: Worker::new(examiner),
            places: system::Places::default(),
            accounts: system::Accounts::default(),
            known: Recent::new(MAX_KNOWN),
            hashed: Recent::new(MAX_KNOWN),
            scripts: Recent::new(MAX_SCRIPTS),
            edition: 0,
            checked: Timestamp::from_nanos(i64::MIN),
            frugal: false,
            losses: IdentityLosses::default(),
            options,
        }
    }

    /// Takes what was told of a process.
    pub fn process(&mut self, event: &ProcessEvent) {
        match event {
            ProcessEvent::Started(start) => {
                let lineage = self.lineage(start);
                let at = self.begin(start, lineage, start.time);
                // What may be gone soon, or cannot be found by its path, is looked at now; the rest when it calls.
                if self.table.run(at).is_some_and(is_fleeting) {
                    self.look(at);
                }
            }
            ProcessEvent::Forked { time, parent, child } => {
                if !self.table.copy(*parent, *child) && self.find(*parent, *time, 0) {
                    self.table.copy(*parent, *child);
                }
            }
            ProcessEvent::Exited { time, process } => self.table.end(*process, *time),
        }
    }

    /// The program of a process. `Pending` asks to be asked again; who cannot wait takes [`Identities::program_now`].
    pub fn program(&mut self, key: ProcessKey, now: Timestamp) -> Lookup<'_> {
        let Some(at) = self.run_at(key, now) else {
            self.losses.unknown += 1;
            return Lookup::Unknown;
        };
        if self.table.run(at).is_some_and(|run| run.program.is_none()) {
            if self.frugal {
                return self.program_now(key, now).map_or(Lookup::Unknown, Lookup::Ready);
            }
            self.look(at);
            match self.table.run(at).map(|run| &run.executable) {
                Some(Executable::Known(facts)) => {
                    let facts = Arc::clone(facts);
                    self.give(at, &facts, now);
                }
                _ => return Lookup::Pending,
            }
        }
        match self.table.run(at).and_then(|run| run.program.as_ref()) {
            Some(program) => Lookup::Ready(program),
            None => Lookup::Unknown,
        }
    }

    /// The program of a process with what is known of it by now. It stays as it is given for the life of the process.
    pub fn program_now(&mut self, key: ProcessKey, now: Timestamp) -> Option<&Program> {
        let at = self.run_at(key, now)?;
        let run = self.table.run(at)?;
        if run.program.is_none() {
            let facts = match &run.executable {
                Executable::Known(facts) => Arc::clone(facts),
                Executable::NotAsked | Executable::Asked => {
                    self.losses.given_early += 1;
                    Arc::new(ExecutableFacts { in_memory: run.unlinked, ..Default::default() })
                }
            };
            self.give(at, &facts, now);
        }
        self.table.run(at)?.program.as_ref()
    }

    /// Whether executables are left unread, to save processor time: programs are known by their paths until then.
    pub const fn set_frugal(&mut self, frugal: bool) {
        self.frugal = frugal;
    }

    /// Takes what the thread found out, and forgets who is long dead.
    pub fn drain(&mut self, now: Timestamp) {
        for _ in 0..MAX_ANSWERS {
            let Some(answer) = self.worker.answer() else { break };
            if answer.edition != self.edition {
                // The package databases changed: what is at hand may be out of date.
                self.edition = answer.edition;
                self.known.clear();
            }
            self.answered(answer.id, answer.key, answer.facts);
        }
        self.table.forget(now.plus_nanos(-REMEMBER));
        if now.since(self.checked) >= CHECK_EVERY || now < self.checked {
            self.checked = now;
            for _ in 0..CHECKS.min(self.table.len()) {
                if let Some(process) = self.table.next_to_check()
                    && !system::is_running(process, self.options.boot)
                {
                    self.table.end(process, now);
                }
            }
        }
    }

    /// What could not be kept or found out so far.
    #[must_use]
    pub fn lost(&self) -> IdentityLosses {
        IdentityLosses { evicted: self.table.evicted, ..self.losses.clone() }
    }

    /// Processes followed now.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.table.len()
    }

    /// What does not work here.
    #[must_use]
    pub fn unavailable(&self) -> Vec<Unavailable> {
        self.worker.unavailable()
    }

    fn run_at(&mut self, key: ProcessKey, now: Timestamp) -> Option<u32> {
        if let Some(slot) = self.table.slot(key) {
            return Some(slot.run);
        }
        self.find(key, now, 0);
        self.table.slot(key).map(|slot| slot.run)
    }

    /// Parent and its ancestors, as a program that begins has them.
    fn lineage(&mut self, start: &ProcessStart) -> Lineage {
        if let Some(run) = self.table.run_of(start.process) {
            let parent = run.parent;
            return if self.table.slot(start.process).is_some_and(|slot| slot.copy) {
                Lineage::of(run, start.parent.or(Some(run.process)))
            } else {
                // Another program in the same process: the parent is the same.
                Lineage {
                    parent: start.parent.or(parent),
                    parent_image: Arc::clone(&run.parent_image),
                    ancestors: run.ancestors.clone(),
                    place: run.place.clone(),
                }
            };
        }
        let Some(parent) = start.parent else { return Lineage::default() };
        if self.table.slot(parent).is_none() {
            self.find(parent, start.time, 1);
        }
        self.table.run_of(parent).map_or_else(Lineage::default, |run| Lineage::of(run, Some(parent)))
    }

    /// Enters a program that a process begins to run.
    fn begin(&mut self, start: &ProcessStart, lineage: Lineage, now: Timestamp) -> u32 {
        let image: Arc<str> = describe::text(&start.image).into();
        let script = self.script(start, &image, &lineage);
        // A process that is put into a container is moved there before it runs the container's program: its own place counts
        // before that of its parent.
        let place = self.places.of(start.process, self.options.boot, start.cgroup, now).or(lineage.place);
        let full = self.table.text_bytes() >= self.options.text_bytes;
        let cap = if full { SHORT_ARGUMENTS } else { MAX_ARGUMENT_BYTES };
        let arguments = start.arguments.get(..cap).unwrap_or(&start.arguments);
        if full && arguments.len() < start.arguments.len() {
            self.losses.cut += 1;
        }
        let run = Run {
            process: start.process,
            started: start.time,
            path: start.image.as_slice().into(),
            image,
            arguments: arguments.into(),
            uid: start.uid,
            file: start.file,
            unlinked: start.unlinked,
            cgroup: start.cgroup,
            place,
            script,
            parent: lineage.parent,
            parent_image: lineage.parent_image,
            ancestors: lineage.ancestors,
            ..Run::default()
        };
        self.table.start(start.process, run)
    }

    /// Asks the system for a process that no event told of, and for its parents.
    fn find(&mut self, key: ProcessKey, now: Timestamp, depth: usize) -> bool {
        let Some(Found { start, copy }) = system::find_process(key, self.options.boot) else { return false };
        if let Some(parent) = start.parent
            && depth < MAX_DEPTH
            && self.table.slot(parent).is_none()
        {
            self.find(parent, now, depth + 1);
        }
        let parent = start.parent.and_then(|parent| self.table.run_of(parent).map(|run| (parent, run)));
        if let Some((parent, run)) = parent {
            // A worker of a daemon: the same program as its parent, and not a child that it started.
            if copy && *run.path == *start.image {
                return self.table.copy(parent, key);
            }
        }
        let mut lineage =
            parent.map_or_else(Lineage::default, |(parent, run)| Lineage::of(run, Some(parent)));
        lineage.place = None;
        self.begin(&start, lineage, now);
        true
    }

    /// The script that a process runs, by an absolute path where it can be had.
    fn script(&mut self, start: &ProcessStart, image: &Arc<str>, lineage: &Lineage) -> Box<str> {
        let arguments = describe::arguments(&start.arguments);
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let path = match script::script(image, &arguments) {
            None => return Box::default(),
            Some(Script::Module(name)) => return describe::text(name.as_bytes()).into(),
            Some(Script::File(path)) => path,
        };
        if path.starts_with('/') {
            return describe::text(script::resolve("/", path).as_bytes()).into();
        }
        let boot = self.options.boot;
        let key = (Arc::clone(image), Box::from(path), Arc::clone(&lineage.parent_image));
        let full = |folder: Vec<u8>| -> Box<str> {
            let folder = String::from_utf8_lossy(&folder);
            describe::text(script::resolve(&folder, path).as_bytes()).into()
        };
        if let Some(folder) = system::working_folder(start.process, boot) {
            let resolved = full(folder);
            self.scripts.insert(key, resolved.clone());
            return resolved;
        }
        if let Some(resolved) = self.scripts.get(&key) {
            return resolved.clone();
        }
        // A child begins in the folder of its parent, unless that one sent it elsewhere: then the script is not there.
        lineage
            .parent
            .and_then(|parent| system::working_folder(parent, boot))
            .map(full)
            .filter(|path| std::path::Path::new(&**path).exists())
            .unwrap_or_else(|| describe::text(path.as_bytes()).into())
    }

    /// Sees to it that the executable of a run is looked at.
    fn look(&mut self, at: u32) {
        let boot = self.options.boot;
        let Some(run) = self.table.run_mut(at) else { return };
        if !matches!(run.executable, Executable::NotAsked) {
            return;
        }
        if let Some(known) = self.known.get(&run.file)
            && known.path == run.path
            && system::executable_version(run.process, boot, &run.path) == Some(known.key)
        {
            run.executable = Executable::Known(Arc::clone(&known.facts));
            return;
        }
        let request = Request {
            id: u64::from(at) << 32 | u64::from(run.serial),
            process: run.process,
            started: run.started,
            boot,
            image: run.path.clone(),
            file: run.file,
            unlinked: run.unlinked,
        };
        if self.worker.ask(request) {
            run.executable = Executable::Asked;
        }
        // Without room it is asked again when the program is.
    }

    fn answered(&mut self, id: u64, key: Option<ExecutableKey>, facts: Arc<ExecutableFacts>) {
        if let Some(cause) = facts.unhashed {
            *self.losses.unhashed.entry(cause).or_default() += 1;
        }
        let (Ok(at), Ok(serial)) = (u32::try_from(id >> 32), u32::try_from(id & u64::from(u32::MAX))) else {
            return;
        };
        let Some(run) = self.table.run_mut(at).filter(|run| run.serial == serial) else { return };
        if let Some(key) = key
            && run.file != FileId::default()
            && !matches!(facts.unhashed, Some(Unhashed::Changed | Unhashed::Busy))
        {
            self.known.insert(run.file, Known { key, path: run.path.clone(), facts: Arc::clone(&facts) });
        }
        run.executable = Executable::Known(facts);
    }

    /// Makes the program of a run, once.
    fn give(&mut self, at: u32, facts: &ExecutableFacts, now: Timestamp) {
        let Some(run) = self.table.run(at) else { return };
        let place = match &run.place {
            Some(place) => Arc::clone(place),
            None => self.places.of(run.process, self.options.boot, run.cgroup, now).unwrap_or_default(),
        };
        // A container has accounts of its own, which are not ours.
        let name = place.container.is_empty().then(|| self.accounts.name(run.uid, now)).flatten();
        let user = name.map_or_else(|| run.uid.to_string(), |name| describe::text(name.as_bytes()));
        let info = describe::describe(run, facts, &place, user, self.options.command_lines);
        let file = run.file;
        let first = self.hashed.get(&file).copied();
        if first.is_none() && file != FileId::default() {
            self.hashed.insert(file, !facts.sha256.is_empty());
        }
        let program = if first == Some(false) && !facts.sha256.is_empty() {
            let key = Program::of(ProcessInfo { sha256: String::new(), ..info.clone() }).key;
            Program { info: Arc::new(info), key }
        } else {
            Program::of(info)
        };
        if let Some(run) = self.table.run_mut(at) {
            run.place = Some(place);
            run.program = Some(program);
        }
    }
}

/// What a program has from the one that started it.
#[derive(Default)]
struct Lineage {
    parent: Option<ProcessKey>,
    parent_image: Arc<str>,
    ancestors: Vec<Arc<str>>,
    place: Option<Arc<Place>>,
}

impl Lineage {
    /// That of a child of a run.
    fn of(run: &Run, parent: Option<ProcessKey>) -> Self {
        let above = (!run.parent_image.is_empty()).then(|| Arc::clone(&run.parent_image));
        Self {
            parent,
            parent_image: Arc::clone(&run.image),
            ancestors: above.into_iter().chain(run.ancestors.iter().cloned()).take(MAX_ANCESTORS).collect(),
            place: run.place.clone(),
        }
    }
}

/// Whether the executable of a run may not be found later: by its path alone, or at all.
fn is_fleeting(run: &Run) -> bool {
    let contained = run.place.as_ref().is_some_and(|place| !place.container.is_empty());
    let mut info = ProcessInfo { image: run.image.to_string(), ..Default::default() };
    sonde_common::classify::classify(&mut info);
    let installed = matches!(info.location, Some(ImageLocation::System | ImageLocation::Programs));
    run.unlinked || contained || !installed
}
