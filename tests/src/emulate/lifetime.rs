//! Starts callers at a steady rate: many short lives whose truth is known.
//!
//! The parent only forks and reaps. Each life runs one of several copies of the caller's program, which differ in path and
//! content, so that a mistaken executable shows.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{WaitOptions, waitpid};

use super::caller::{Close, Errand, Means};
use super::raw;

/// How long the parent waits for its last children beyond their life.
const GRACE: Duration = Duration::from_secs(20);
/// First of the process ids that a storm reuses: high, where the system's own counting rarely is.
const STORM_FIRST: i32 = 30_000;
/// Ports that refused callers get, one after the other: within the system's default range (32768 to 60999).
const PORTS: std::ops::Range<u16> = 33_000..60_000;

/// Many lives.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each does; its port is chosen here.
    pub errand: Errand,
    /// How many.
    pub count: u32,
    /// Lives begun a second.
    pub rate: f64,
    /// Processes that only sit there meanwhile.
    pub idle: u32,
    /// Process ids to reuse again and again; 0: as the system counts.
    pub pids: u32,
    /// Where the callers write what they were.
    pub truth: PathBuf,
}

/// Copies of the caller's program, each at a path and with a content of its own.
#[derive(Debug)]
pub struct Programs(Vec<PathBuf>);

impl Programs {
    /// Makes `count` copies of `caller` in `folder`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(caller: &Path, folder: &Path, count: u32) -> io::Result<Self> {
        let bytes = fs::read(caller)?;
        let source = fs::metadata(caller)?;
        let mut paths = Vec::new();
        for number in 0..count.max(1) {
            let path = folder.join(format!("caller-{number}"));
            // What follows an ELF file is nobody's business, but changes its hash.
            let copy = [&bytes[..], format!("copy {number}\n").as_bytes()].concat();
            // A copy that is there already stays, so that its inode and times do.
            let there = fs::metadata(&path).is_ok_and(|there| {
                there.len() == copy.len() as u64 && there.modified().ok() >= source.modified().ok()
            });
            if !there {
                fs::write(&path, copy)?;
                fs::set_permissions(&path, source.permissions())?;
            }
            paths.push(path);
        }
        Ok(Self(paths))
    }

    fn nth(&self, number: u32) -> &Path {
        let at = usize::try_from(number).unwrap_or(0) % self.0.len();
        self.0.get(at).map_or(Path::new(""), PathBuf::as_path)
    }
}

/// Processes that do nothing until this goes.
#[derive(Debug)]
pub struct Idle {
    children: Vec<Child>,
    release: Option<PipeWriter>,
}

impl Idle {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// What the system says, such as that there are too many processes.
    pub fn start(programs: &Programs, count: u32) -> io::Result<Self> {
        let (read, release) = io::pipe()?;
        let mut idle = Self { children: Vec::new(), release: Some(release) };
        for number in 0..count {
            let mut command = Command::new(programs.nth(number));
            idle.children.push(command.arg("idle").stdin(read.try_clone()?).spawn()?);
        }
        Ok(idle)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // The pipe's end is what they wait for.
        self.release = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Runs the plan to its end; gives how many lives were begun. A storm may begin fewer: an id that another process took
/// meanwhile is left out.
///
/// # Errors
/// What the system says. A caller that fails writes no truth, and is missing there.
pub fn run(plan: &Plan, programs: &Programs) -> io::Result<u32> {
    let _idle = Idle::start(programs, plan.idle)?;
    let began = Instant::now();
    let (mut started, mut running) = (0, 0_u32);
    // Numbers the ports on from run to run, so that neighbouring cells do not share five-tuples.
    let mut port =
        PORTS.start + u16::try_from(began_port() % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    for number in 0..plan.count {
        let due = began + Duration::from_secs_f64(f64::from(number) / plan.rate);
        while Instant::now() < due {
            running -= reap(running)?;
            thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(2)));
        }
        let mut errand = plan.errand.clone();
        if errand.tcp && errand.close == Close::Refused {
            port = if port + 1 >= PORTS.end { PORTS.start } else { port + 1 };
            errand.port = port;
        }
        if plan.pids > 0 {
            if storm(plan, &errand, programs, number, &mut running)? {
                (started, running) = (started + 1, running + 1);
            }
            running -= reap(running)?;
        } else {
            start(plan, &errand, programs.nth(number))?;
            (started, running) = (started + 1, running + 1);
        }
    }
    let deadline = Instant::now() + plan.errand.life + GRACE;
    while running > 0 && Instant::now() < deadline {
        running -= reap(running)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(started)
}

/// Where this run's ports begin: told by the clock, so that two runs rarely begin alike.
fn began_port() -> u32 {
    u32::try_from(super::truth::now().millis().rem_euclid(1_000_000)).unwrap_or(0)
}

fn start(plan: &Plan, errand: &Errand, program: &Path) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(errand.describe()).arg(&plan.truth);
    match errand.means {
        Means::Plain | Means::Uring => drop(command.stdin(Stdio::null()).spawn()?),
        Means::Inherited => drop(command.stdin(errand.socket()?).spawn()?),
        Means::Passed => {
            let (ours, theirs) = UnixStream::pair()?;
            drop(command.stdin(OwnedFd::from(theirs)).spawn()?);
            pass(&ours, &errand.socket()?)?;
        }
    }
    Ok(())
}

fn pass(over: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(over, &[IoSlice::new(b"s")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Starts a life with one of the storm's process ids. `false`: the id is taken by someone else.
fn storm(
    plan: &Plan,
    errand: &Errand,
    programs: &Programs,
    number: u32,
    running: &mut u32,
) -> io::Result<bool> {
    let pid = STORM_FIRST + i32::try_from(number % plan.pids).unwrap_or(0);
    let program = c_string(programs.nth(number))?;
    let arguments = [program.clone(), CString::new(errand.describe())?, c_string(&plan.truth)?];
    let deadline = Instant::now() + plan.errand.life + Duration::from_secs(1);
    loop {
        match raw::spawn_with_pid(pid, &program, &arguments) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Its last life may not be over or not be reaped.
                let own = rustix::process::Pid::from_raw(pid);
                if matches!(waitpid(own, WaitOptions::NOHANG), Ok(Some(_))) {
                    *running = running.saturating_sub(1);
                }
                if Instant::now() > deadline {
                    return Ok(false);
                }
                thread::sleep(Duration::from_micros(200));
            }
            other => return other.map(|()| true),
        }
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// Buries children that have ended, at most `running`; gives how many.
fn reap(running: u32) -> io::Result<u32> {
    let mut ended = 0;
    while ended < running {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => ended += 1,
            Err(rustix::io::Errno::CHILD) => return Ok(running),
            Ok(None) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ended)
}

/// The address to call for an ending: a port that answers, one that is closed, or a black hole.
#[must_use]
pub fn remote(
    close: Close,
    server: SocketAddr,
    closed_port: u16,
    black_hole: std::net::IpAddr,
) -> SocketAddr {
    match close {
        Close::Graceful | Close::Reset => server,
        Close::Refused => SocketAddr::new(server.ip(), closed_port),
        Close::BlackHole => SocketAddr::new(black_hole, server.port()),
    }
}
