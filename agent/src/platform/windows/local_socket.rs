//! The named pipe on which the sensor is asked. Its security descriptor admits SYSTEM, administrators and the account that the
//! sensor runs as, and it takes no connections from other machines.

use std::io::{self, Read, Write};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, IntoRawHandle as _, OwnedHandle};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer};
use tokio::sync::Mutex;
use windows_sys::Win32::Foundation::{ERROR_PIPE_BUSY, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, GetNamedPipeClientProcessId, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT,
};

use super::privileges;
use super::security::Descriptor;
use super::token::Token;
use super::wide::wide;

/// Where all pipes are.
const PIPES: &str = r"\\.\pipe\";
/// Bytes that the system keeps for either side.
const BUFFER: u32 = 64 << 10;
/// Pause before a pipe that is busy is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection of a peer.
pub type Stream = NamedPipeServer;

/// Who is at the other end: one whom the pipe's security descriptor admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0: an administrator, SYSTEM, or the sensor's own account. The pipe admits nobody else.
    pub uid: u32,
    /// No groups are admitted.
    pub groups: Vec<u32>,
    /// Process.
    pub pid: Option<u32>,
}

/// Why there is no pipe.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another sensor is there.
    #[error(
        "another sensor answers on {path}: one is enough; stop it first, or give this one another control.socket"
    )]
    Taken {
        /// The pipe.
        path: String,
    },
    /// It cannot be a pipe.
    #[error("{path} names no pipe: control.socket is \\\\.\\pipe\\ and a name")]
    Foreign {
        /// The path.
        path: String,
    },
    /// The system refuses.
    #[error("cannot open the control pipe {path}: {what}: {error}")]
    System {
        /// The pipe.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// The pipe, from when it is made until it is dropped.
#[derive(Debug)]
pub struct Listener {
    first: OwnedHandle,
    place: Place,
}

/// How instances of the pipe are made.
#[derive(Debug)]
struct Place {
    name: Vec<u16>,
    descriptor: Descriptor,
}

impl Place {
    fn instance(&self, flags: u32) -> io::Result<OwnedHandle> {
        let attributes = self.descriptor.attributes();
        // SAFETY: the name ends with a zero, and the descriptor outlives the call.
        let handle = unsafe {
            CreateNamedPipeW(
                self.name.as_ptr(),
                PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
                PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                PIPE_UNLIMITED_INSTANCES,
                BUFFER,
                BUFFER,
                0,
                &raw const attributes,
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the system gave us the handle, which nobody else owns.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

impl Listener {
    /// Makes the pipe. It goes with the last process that has it, so a dead sensor leaves nothing behind.
    ///
    /// # Errors
    /// [`BindError`] if another sensor is there, or the system refuses.
    pub fn bind(path: &Path, _group: Option<u32>) -> Result<Self, BindError> {
        let shown = || path.display().to_string();
        let text = path.to_string_lossy();
        if !text.get(..PIPES.len()).is_some_and(|start| start.eq_ignore_ascii_case(PIPES)) {
            return Err(BindError::Foreign { path: shown() });
        }
        let system = |what: &'static str| move |error| BindError::System { path: shown(), what, error };
        let name = wide(path).map_err(system("its name"))?;
        let descriptor = Descriptor::private("FA", "").map_err(system("saying who may"))?;
        let place = Place { name, descriptor };
        match place.instance(FILE_FLAG_FIRST_PIPE_INSTANCE) {
            Ok(first) => Ok(Self { first, place }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(BindError::Taken { path: shown() })
            }
            Err(error) => Err(system("making it")(error)),
        }
    }

    /// Makes it ready for [`Accepting::accept`]; within a tokio runtime.
    ///
    /// # Errors
    /// If the runtime does not take it.
    pub fn accepting(self) -> io::Result<Accepting> {
        Ok(Accepting { next: Mutex::new(Some(server(self.first)?)), place: self.place })
    }
}

/// An instance as the runtime has it.
fn server(instance: OwnedHandle) -> io::Result<NamedPipeServer> {
    // SAFETY: it is a pipe's server side, opened for overlapped calls, and ours alone.
    unsafe { NamedPipeServer::from_raw_handle(instance.into_raw_handle()) }
}

/// A pipe that accepts.
#[derive(Debug)]
pub struct Accepting {
    /// The instance that the next peer connects to; there is always one, or peers would find no pipe.
    next: Mutex<Option<NamedPipeServer>>,
    place: Place,
}

impl Accepting {
    /// The next connection, and who made it.
    ///
    /// # Errors
    /// If the system has no room for it.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let mut next = self.next.lock().await;
        let waiting = match next.take() {
            Some(waiting) => next.insert(waiting),
            None => next.insert(server(self.place.instance(0)?)?),
        };
        if let Err(error) = waiting.connect().await {
            // A peer that left before it was looked at: this instance is of no use to the next one.
            *next = self.place.instance(0).and_then(server).ok();
            return Err(error);
        }
        let following = self.place.instance(0).and_then(server);
        let stream = std::mem::replace(&mut *next, following.ok()).ok_or(io::ErrorKind::NotFound)?;
        let mut pid = 0;
        // SAFETY: the pipe is open, and the number is live.
        let known = unsafe { GetNamedPipeClientProcessId(stream.as_raw_handle(), &raw mut pid) } != 0;
        Ok((stream, Peer { uid: 0, groups: Vec::new(), pid: known.then_some(pid) }))
    }
}

/// A connection to the sensor; what is sent and received has so much time.
#[derive(Debug)]
pub struct Connection {
    runtime: tokio::runtime::Runtime,
    pipe: NamedPipeClient,
    patience: Duration,
}

/// Connects to the sensor; what is sent and received has so much time.
///
/// # Errors
/// What the system said.
pub fn connect(path: &Path, patience: Duration) -> io::Result<Connection> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let entered = runtime.enter();
    let pipe = loop {
        match ClientOptions::new().open(path) {
            Ok(pipe) => break pipe,
            // All instances have their peer; the next is made within a moment.
            Err(error)
                if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed())
                    && began.elapsed() < patience =>
            {
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    };
    drop(entered);
    Ok(Connection { runtime, pipe, patience })
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self { runtime, pipe, patience } = self;
        match runtime.block_on(async { tokio::time::timeout(*patience, pipe.read(into)).await }) {
            // The other side has said all.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            Ok(read) => read,
            Err(late) => Err(late.into()),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { runtime, pipe, patience } = self;
        runtime.block_on(async { tokio::time::timeout(*patience, pipe.write(bytes)).await })?
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self { runtime, pipe, patience } = self;
        runtime.block_on(async { tokio::time::timeout(*patience, pipe.flush()).await })?
    }
}

/// The account that this process runs as, by the last part of its security identifier.
#[must_use]
pub fn own_uid() -> u32 {
    privileges::own_number()
}

/// Who a peer is, for whoever reads the list later: `HOST\alice`.
#[must_use]
pub fn describe(peer: &Peer) -> String {
    let name = peer.pid.and_then(|pid| Token::of(pid).ok()).and_then(|token| token.account());
    name.unwrap_or_else(|| "an administrator".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(what: &str) -> std::path::PathBuf {
        format!("{PIPES}sonde-test-{}-{what}", std::process::id()).into()
    }

    #[test]
    fn a_living_sensors_pipe_is_taken_and_a_dead_ones_is_gone() {
        let path = name("one");
        let first = Listener::bind(&path, None).unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(BindError::Taken { .. })));
        drop(first);
        drop(Listener::bind(&path, None).unwrap());
        assert!(matches!(Listener::bind(Path::new(r"C:\pipe"), None), Err(BindError::Foreign { .. })));
        let error = connect(&path, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn peers_talk_one_after_the_other_and_are_named() {
        let path = name("talk");
        let listener = Listener::bind(&path, None).unwrap();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let accepting = listener.accepting().unwrap();
                for _ in 0..3 {
                    let (mut stream, peer) = accepting.accept().await.unwrap();
                    assert_eq!(peer.pid, Some(std::process::id()));
                    assert!(!describe(&peer).is_empty());
                    let mut asked = [0; 5];
                    stream.read_exact(&mut asked).await.unwrap();
                    stream.write_all(&vec![asked[0]; 300_000]).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
            });
        });
        for letter in [b'a', b'b', b'c'] {
            let mut connection = connect(&path, Duration::from_secs(10)).unwrap();
            connection.write_all(&[letter; 5]).unwrap();
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, vec![letter; 300_000], "all of it, though the other side is gone by now");
        }
        server.join().unwrap();
    }

    #[test]
    fn a_sensor_that_says_nothing_is_not_waited_for_for_ever() {
        let path = name("silent");
        let _listener = Listener::bind(&path, None).unwrap();
        let mut connection = connect(&path, Duration::from_millis(200)).unwrap();
        let error = connection.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
