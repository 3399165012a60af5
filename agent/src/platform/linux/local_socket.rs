//! The local socket on which the sensor is asked: a Unix socket that only its owner and one group can open, and whose
//! peers the kernel names.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::accounts;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;
/// Groups of a peer that are looked at; the kernel allows 65,536.
const MAX_PEER_GROUPS: usize = 65_536;
/// Owner and group; nobody else.
const SOCKET_MODE: u32 = 0o660;

/// A connection of a peer.
pub type Stream = tokio::net::UnixStream;
/// A connection to the sensor.
pub type Connection = std::os::unix::net::UnixStream;

/// Who is at the other end, as the kernel knew it when the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Its groups.
    pub groups: Vec<u32>,
    /// Process, where it is in a namespace that we see.
    pub pid: Option<i32>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another sensor is there.
    #[error(
        "another sensor answers on {path}: one is enough; stop it first, or give this one another control.socket"
    )]
    Taken {
        /// The socket.
        path: String,
    },
    /// Something else lies there.
    #[error("{path} is there already and is no socket: remove it, or set another control.socket")]
    Foreign {
        /// The path.
        path: String,
    },
    /// The system refuses.
    #[error("cannot open the control socket {path}: {what}: {error}")]
    System {
        /// The socket.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// The socket, from when it is bound until it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: std::os::unix::net::UnixListener,
    path: PathBuf,
    /// Device and inode of the socket: what is not ours any more is not removed.
    place: (u64, u64),
    /// Held for as long as the sensor lives; the kernel lets go of it when we die.
    lock: File,
}

impl Listener {
    /// Binds the socket. A socket that a dead sensor left is replaced.
    ///
    /// # Errors
    /// [`BindError`] if another sensor is there, or the system refuses.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        let shown = || path.display().to_string();
        let system =
            |what: &'static str| move |error: io::Error| BindError::System { path: shown(), what, error };
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(system("making its folder"))?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let lock = options.open(&lock_path).map_err(system("opening its lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BindError::Taken { path: shown() }),
            Err(TryLockError::Error(error)) => return Err(system("locking")(error)),
        }
        clear(path)?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|error| system("making it")(error.into()))?;
        let address = SocketAddrUnix::new(path).map_err(|error| system("its path")(error.into()))?;
        rustix::net::bind(&socket, &address).map_err(|error| system("binding")(error.into()))?;
        // Nobody can connect before we listen, so the rights are in place in time.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
            .map_err(system("setting its rights"))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(system("giving it to its group"))?;
        }
        let data = std::fs::symlink_metadata(path).map_err(system("finding it again"))?;
        rustix::net::listen(&socket, BACKLOG).map_err(|error| system("listening")(error.into()))?;
        Ok(Self { socket: socket.into(), path: path.to_owned(), place: (data.dev(), data.ino()), lock })
    }

    /// Makes it ready for [`Accepting::accept`]; within a tokio runtime.
    ///
    /// # Errors
    /// If the runtime does not take it.
    pub fn accepting(self) -> io::Result<Accepting> {
        let listener = tokio::net::UnixListener::from_std(self.socket.try_clone()?)?;
        Ok(Accepting { listener, _bound: self })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours =
            std::fs::symlink_metadata(&self.path).is_ok_and(|data| (data.dev(), data.ino()) == self.place);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
        // Closing would leave it locked for as long as a child that is being started has a copy of the descriptor.
        let _ = self.lock.unlock();
    }
}

/// Removes what a dead sensor left.
fn clear(path: &Path) -> Result<(), BindError> {
    let shown = || path.display().to_string();
    let data = match std::fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::System { path: shown(), what: "looking at it", error }),
    };
    if !data.file_type().is_socket() {
        return Err(BindError::Foreign { path: shown() });
    }
    // Connecting to our own file system's socket never waits: it is accepted, refused, or its queue is full.
    match Connection::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|error| BindError::System { path: shown(), what: "removing a dead one", error }),
        Ok(_) => Err(BindError::Taken { path: shown() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::Taken { path: shown() }),
        Err(error) => Err(BindError::System { path: shown(), what: "asking who is there", error }),
    }
}

/// A socket that accepts.
#[derive(Debug)]
pub struct Accepting {
    listener: tokio::net::UnixListener,
    _bound: Listener,
}

impl Accepting {
    /// The next connection, and who made it.
    ///
    /// # Errors
    /// If the system has no room for it, or does not say who it is.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, _) = self.listener.accept().await?;
        let who = stream.peer_cred()?;
        let mut groups = peer_groups(&stream)?;
        groups.push(who.gid());
        Ok((stream, Peer { uid: who.uid(), groups, pid: who.pid() }))
    }
}

/// The supplementary groups of a peer (`SO_PEERGROUPS`, Linux 4.13).
fn peer_groups(stream: &Stream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(groups.len() * size_of::<libc::gid_t>()).unwrap_or(0);
        // SAFETY: the descriptor is open, and the kernel writes at most `bytes` bytes to the live buffer.
        let failed = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = usize::try_from(bytes).unwrap_or(0) / size_of::<libc::gid_t>();
        if failed == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > MAX_PEER_GROUPS {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Connects to the sensor; what is sent and received has so much time.
///
/// # Errors
/// What the system said.
pub fn connect(path: &Path, patience: Duration) -> io::Result<Connection> {
    let connection = Connection::connect(path)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    Ok(connection)
}

/// The account that this process runs as, by number.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Who a peer is, for whoever reads the list later: `root (login alice)`.
#[must_use]
pub fn describe(peer: &Peer) -> String {
    let name = |uid| accounts::user_of(uid).map_or_else(|| format!("uid {uid}"), |user| user.name);
    let login = peer.pid.and_then(login_of).filter(|login| *login != peer.uid);
    match login {
        Some(login) => format!("{} (login {})", name(peer.uid), name(login)),
        None => name(peer.uid),
    }
}

/// Whoever logged in to a session in which a process runs, even if it became someone else since.
#[must_use]
fn login_of(pid: i32) -> Option<u32> {
    const NOBODY: u32 = u32::MAX;
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_sensors_socket_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let first = Listener::bind(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(Listener::bind(&path, None), Err(BindError::Taken { .. })));
        drop(first);
        assert!(!path.exists(), "it goes with its sensor");
        // Left behind by one that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = Listener::bind(&path, None).unwrap();
        // Someone who does not know of the lock.
        std::fs::remove_file(folder.path().join("run/control.sock.lock")).unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(BindError::Taken { .. })));
        drop(second);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(BindError::Foreign { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Listener::bind(&link, None), Err(BindError::Foreign { .. })));
        let long = folder.path().join("x".repeat(120));
        let error = Listener::bind(&long, None).unwrap_err().to_string();
        assert!(error.contains("its path"), "{error}");
    }

    #[test]
    fn a_socket_that_another_put_there_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let ours = Listener::bind(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(ours);
        assert!(path.exists());
    }
}
