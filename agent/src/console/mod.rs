//! The live page of `sonde run --console`: what the report shows, of the running sensor, to a browser on this machine.
//!
//! It has a thread of its own, which never touches the engine: it asks the sensor's thread for a look at it while somebody watches,
//! and renders only what is shown. Every peer is taken for hostile: `gate` says who gets in, `serve` bounds how many and for how
//! long, `routes` answers, `board` holds what was seen last, `facts` puts the sensor's health in words.

mod board;
mod facts;
mod gate;
mod routes;
mod serve;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sonde_common::live::Unavailable;
use tokio::sync::{Notify, oneshot};

pub use self::gate::Token;
use crate::live::command::{Command, Commander, NotTaken};

/// Where it listens if nothing is said: any free port.
pub const DEFAULT: &str = "127.0.0.1:0";

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address is none of this machine's own.
    #[error(
        "--console {given}: {why}; give an address of this machine alone, such as 127.0.0.1:8642 or [::1]:8642; from elsewhere, take \
         `ssh -L`"
    )]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot listen there.
    #[error(
        "--console: cannot listen on {address}: {source}; give another port, or none for any that is free"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no token.
    #[error("--console: the system gives no random numbers, so there is no token")]
    Random,
    /// The thread or its runtime.
    #[error("cannot start the console's thread: {0}")]
    Start(#[from] io::Error),
}

/// Reads where to listen: an address, a port, or both.
///
/// # Errors
/// If others could reach it.
pub fn address(given: &str) -> Result<SocketAddr, ConsoleError> {
    let wrong = |why| ConsoleError::Address { given: given.escape_default().to_string(), why };
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = given
        .parse::<SocketAddr>()
        .or_else(|_| given.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)))
        .or_else(|_| given.parse::<u16>().map(|port| SocketAddr::new(local, port)))
        .map_err(|_| wrong("that is no address"))?;
    if !address.ip().is_loopback() {
        return Err(wrong("others could reach it there"));
    }
    Ok(address)
}

/// What was refused since the start, by cause.
#[derive(Debug, Default)]
struct Refused {
    /// Requests without the token, or with another.
    token: AtomicU64,
    /// … that named another host.
    host: AtomicU64,
    /// … of other pages.
    origin: AtomicU64,
    /// … too large.
    size: AtomicU64,
    /// Connections and bodies that did not come in time.
    slow: AtomicU64,
    /// Connections that had no place.
    places: AtomicU64,
    /// Streams that had none.
    streams: AtomicU64,
    /// All else that was no request of the page's.
    other: AtomicU64,
}

impl Refused {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Causes and counts, for people.
    fn told(&self) -> [(&'static str, u64); 8] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("without the token", of(&self.token)),
            ("for another host", of(&self.host)),
            ("from other pages", of(&self.origin)),
            ("too large", of(&self.size)),
            ("too slow", of(&self.slow)),
            ("no place", of(&self.places)),
            ("too many pages", of(&self.streams)),
            ("no such page", of(&self.other)),
        ]
    }
}

/// The running console. Dropped, it ends.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    token: Token,
    bell: Arc<Notify>,
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Listens, and answers from now on.
///
/// # Errors
/// [`ConsoleError`].
pub fn start(address: SocketAddr, commander: Commander) -> Result<Console, ConsoleError> {
    let token = Token::random().ok_or(ConsoleError::Random)?;
    let bind = |source| ConsoleError::Bind { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(bind)?;
    listener.set_nonblocking(true).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let bell = Arc::new(Notify::new());
    let (quit, quits) = oneshot::channel();
    let (started, starts) = std::sync::mpsc::sync_channel(1);
    let desk = routes::Desk::new(address, token.clone(), commander.clone(), Arc::clone(&bell));
    let thread = std::thread::Builder::new().name("sonde-console".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => mourned(&commander, || runtime.block_on(run(listener, desk, started, quits))),
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    match starts.recv() {
        Ok(Ok(())) => Ok(Console { address, token, bell, quit: Some(quit), thread: Some(thread) }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(io::Error::other("it ended at once").into()),
    }
}

/// What the console is called in health.
pub const PART: &str = "console";
/// How long the end of the console may wait for room among the sensor's commands, in all.
const MOURN: Duration = Duration::from_secs(10);

/// Does the console's work; if that ends in another way than by being told to, health says so.
fn mourned(commander: &Commander, work: impl FnOnce() -> Result<(), String>) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let Err(reason) = outcome.unwrap_or_else(|panic| Err(told(&*panic))) else { return };
    let remedy = "restart the sensor; this is a fault of Sonde's, and its log has more".to_owned();
    let lost = Unavailable { what: PART.to_owned(), reason, remedy };
    let began = Instant::now();
    while commander.send(Command::Ended(lost.clone())) == Err(NotTaken::Busy) && began.elapsed() < MOURN {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("its thread failed: {}", text.unwrap_or_else(|| "it did not say why".to_owned()))
}

async fn run(
    listener: std::net::TcpListener,
    desk: routes::Desk,
    started: std::sync::mpsc::SyncSender<io::Result<()>>,
    quits: oneshot::Receiver<()>,
) -> Result<(), String> {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            // Whoever started it hears of it there.
            drop(started.send(Err(error)));
            return Ok(());
        }
    };
    let _ = started.send(Ok(()));
    let desk = Arc::new(desk);
    let mut pace = tokio::spawn(board::pace(Arc::clone(&desk.board)));
    let ended = tokio::select! {
        // Sent or dropped, both mean the end.
        _ = quits => Ok(()),
        () = serve::serve(listener, desk) => Err("it accepts no connections any more".to_owned()),
        ended = &mut pace => Err(match ended.map_err(tokio::task::JoinError::try_into_panic) {
            Err(Ok(panic)) => told(&*panic),
            _ => "it does not look at the sensor any more".to_owned(),
        }),
    };
    pace.abort();
    ended
}

impl Console {
    /// The address to open, with the token in its fragment, which browsers keep to themselves.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token.text())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// To be rung when an alert is emitted, so that nobody waits for it.
    #[must_use]
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nobody.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
