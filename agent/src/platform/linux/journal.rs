//! The systemd journal's own socket: one datagram for an entry, or a sealed piece of memory where it is too long for one.

use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sendto,
};
use sonde_common::encode::journal::append;
use sonde_common::record::Record;

/// What it is called.
pub const NAME: &str = "the journal's socket";
/// Where systemd has it.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// This machine's.
    ///
    /// # Errors
    /// If the process has no descriptor left. A journal that is not there is told when something is sent.
    pub fn new() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    /// One whose socket is elsewhere.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Why a record could not be entered, with what to look at.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> String {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no journal listens on {path}: is systemd-journald running?")
            }
            io::ErrorKind::WouldBlock => format!("the journal on {path} is busy"),
            _ => format!("the journal on {path}: {error}"),
        }
    }

    /// Enters a record.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn enter(&self, record: &Record) -> io::Result<()> {
        let mut entry = Vec::new();
        append(record, &mut entry);
        self.send(&entry)
    }

    /// Hands an entry over. It waits for nothing: a journal that is busy is an error ([`io::ErrorKind::WouldBlock`]).
    ///
    /// # Errors
    /// If the journal is not there, has no room, or the system has no memory for a long entry.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        let to = SocketAddrUnix::new(&self.path)?;
        // The address may be that of a journal started anew: so it is looked up for each entry.
        match sendto(&self.socket, entry, SendFlags::NOSIGNAL, &to) {
            Ok(_) => Ok(()),
            // More than a datagram holds, or than the socket has room for.
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.send_memory(entry, &to),
            Err(error) => Err(error.into()),
        }
    }

    /// The entry in memory that nobody can change any more, whose descriptor is sent.
    fn send_memory(&self, entry: &[u8], to: &SocketAddrUnix) -> io::Result<()> {
        let memory: OwnedFd =
            memfd_create(c"sonde-journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(entry)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        sendmsg_addr(&self.socket, to, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}
