//! A packet socket: the system calls around it, each in a small wrapper.
//!
//! Cooked (`SOCK_DGRAM`), so that filter and data begin at the network header whatever the link; never promiscuous. It is
//! made without a protocol and so receives nothing until it is bound, when its filter is long in place.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sonde_common::live::Unavailable;
use sonde_common::time::Timestamp;

use super::bpf::Instruction;

/// A packet socket, bound or not.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
}

/// What `recvmsg` tells of a packet beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Bytes that are in the buffer.
    pub(super) length: usize,
    /// When the kernel saw it, where it says so.
    pub(super) time: Option<Timestamp>,
    /// Number of the interface.
    pub(super) interface: u32,
}

impl PacketSocket {
    /// A socket behind this filter, not bound yet.
    pub(super) fn open(filter: &[Instruction]) -> io::Result<Self> {
        // SAFETY: no memory is passed; the result is checked before it is owned.
        let fd = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        check(fd)?;
        // SAFETY: a fresh descriptor that nothing else owns.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        socket.filter(filter)?;
        Ok(socket)
    }

    /// Sets the filter, or replaces it at once.
    pub(super) fn filter(&self, filter: &[Instruction]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            // The kernel only reads it; `Instruction` has the layout of `sock_filter`.
            filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
        };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Receives from all interfaces, also those that come later.
    pub(super) fn bind_all(&self) -> io::Result<()> {
        // SAFETY: all fields are integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
        // SAFETY: the address lives through the call and its size is its own.
        let result = unsafe {
            libc::bind(self.raw(), (&raw const address).cast(), size_of_u32::<libc::sockaddr_ll>())
        };
        check(result)
    }

    /// Sets a socket option.
    pub(super) fn set<T: Copy>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        // SAFETY: the value lives through the call, its size is its own, and the kernel only reads it.
        let result = unsafe {
            libc::setsockopt(self.raw(), level, name, std::ptr::from_ref(value).cast(), size_of_u32::<T>())
        };
        check(result)
    }

    /// Packets dropped for want of room since the last call: reading resets the kernel's counter.
    pub(super) fn take_drops(&self) -> io::Result<u32> {
        // The ring's version adds a third word; the shorter form fills the first two alone.
        let mut statistics = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        let mut length = size_of_u32::<libc::tpacket_stats_v3>();
        // SAFETY: the kernel writes at most `length` bytes of integers into a structure of that size.
        let result = unsafe {
            libc::getsockopt(
                self.raw(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        check(result)?;
        Ok(statistics.tp_drops)
    }

    /// Waits until a packet (or a block of them) can be read; false at the end of the time.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.raw(), events: libc::POLLIN, revents: 0 };
        // Rounded up, so that a short wait is not a busy one.
        let millis = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: one structure, which lives through the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, millis) };
        match check(ready) {
            Ok(()) => Ok(ready > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes one packet, cut to the buffer; `None` if there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        // SAFETY: integers and pointers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // Room for a time stamp and more; words, so that it is aligned as control messages must be.
        let mut control = [0u64; 16];
        let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of_u32::<libc::sockaddr_ll>();
        message.msg_iov = &raw mut slice;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control_length(size_of_val(&control));
        // SAFETY: all that the message points to lives through the call and has the size it is said to have.
        let length = unsafe { libc::recvmsg(self.raw(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        };
        Ok(Some(Received {
            length: length.min(buffer.len()),
            time: time_stamp(&message),
            interface: u32::try_from(address.sll_ifindex).unwrap_or_default(),
        }))
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The kernel's time stamp among the control messages.
fn time_stamp(message: &libc::msghdr) -> Option<Timestamp> {
    // SAFETY: the kernel filled the control buffer that the message points to, and `msg_controllen` says how far.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the macros give null or a header within the buffer.
    while let Some(control) = unsafe { header.as_ref() } {
        let is_time = control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_TIMESTAMPNS;
        if is_time && control.cmsg_len >= control_length(CONTROL_TIME_BYTES) {
            // SAFETY: the message is of this type and long enough for it; it may stand unaligned.
            let time = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
            return Some(Timestamp::from_secs_nanos(time.tv_sec, time.tv_nsec));
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// Length that a control message with a time has.
const CONTROL_TIME_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<libc::timespec>();

/// The length of control messages in the type that the C library has for it: another one in musl than in glibc.
fn control_length<T: TryFrom<usize, Error: std::fmt::Debug>>(bytes: usize) -> T {
    T::try_from(bytes).expect("some dozens of bytes fit into each of them")
}

/// The size of a type, as system calls take it.
fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Says what is lost, why, and what helps against this error.
pub(super) fn unavailable(what: &str, doing: &str, error: &io::Error) -> Unavailable {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root or give the program CAP_NET_RAW",
        Some(libc::EAFNOSUPPORT) => {
            "allow AF_PACKET where the service is confined (RestrictAddressFamilies=), or load the kernel's packet sockets"
        }
        Some(libc::ENOMEM | libc::ENOBUFS) => "make the ring smaller or give the service more memory",
        Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN) => {
            "bring the loopback interface up (ip link set lo up)"
        }
        Some(libc::ENOPROTOOPT | libc::EINVAL) => "use a newer kernel, or --capture=pnet",
        _ => "use --capture=pnet",
    };
    Unavailable { what: what.to_owned(), reason: format!("{doing}: {error}"), remedy: remedy.to_owned() }
}

/// Memory that the kernel shares: the blocks of a ring. A block belongs to the kernel or to us, as its status says.
#[derive(Debug)]
pub(super) struct Blocks {
    start: NonNull<u8>,
    block_bytes: usize,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Blocks {}

/// Status of a block that is ours (`TP_STATUS_USER`).
const OURS: u32 = 1;
/// … that is the kernel's (`TP_STATUS_KERNEL`).
const KERNELS: u32 = 0;

impl Blocks {
    /// Gives the socket a ring of version 3 with `count` blocks of `block_bytes` (a multiple of the page, at least
    /// [`BLOCK_HEADER_BYTES`](super::block::BLOCK_HEADER_BYTES)) and maps it. A block that is not full is handed out after
    /// `retire`.
    pub(super) fn map(
        socket: &PacketSocket,
        block_bytes: usize,
        count: usize,
        retire: Duration,
    ) -> io::Result<Self> {
        let invalid = |_| io::ErrorKind::InvalidInput;
        let length = block_bytes.checked_mul(count).ok_or(io::ErrorKind::InvalidInput)?;
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        socket.set(libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: u32::try_from(block_bytes).map_err(invalid)?,
            tp_block_nr: u32::try_from(count).map_err(invalid)?,
            // Version 3 packs packets one behind the other; the kernel only checks that these agree.
            tp_frame_size: u32::try_from(block_bytes).map_err(invalid)?,
            tp_frame_nr: u32::try_from(count).map_err(invalid)?,
            tp_retire_blk_tov: u32::try_from(retire.as_millis()).map_err(invalid)?,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at a place of the kernel's choice; the result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.raw(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, block_bytes, count })
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The block, if the kernel has handed it out.
    pub(super) fn ready(&self, index: usize) -> Option<&[u8]> {
        let status = self.status(index)?;
        if status.load(Ordering::Acquire) & OURS == 0 {
            return None;
        }
        // SAFETY: `status` gave a block of the mapping. The kernel writes to it no more until it is given back, which takes a
        // mutable borrow and so ends this one.
        Some(unsafe { std::slice::from_raw_parts(self.block(index)?, self.block_bytes) })
    }

    /// Gives a block back to the kernel.
    pub(super) fn give_back(&mut self, index: usize) {
        if let Some(status) = self.status(index) {
            status.store(KERNELS, Ordering::Release);
        }
    }

    fn block(&self, index: usize) -> Option<*mut u8> {
        // SAFETY: within the mapping, since the index is below the number of blocks.
        (index < self.count).then(|| unsafe { self.start.as_ptr().add(index * self.block_bytes) })
    }

    fn status(&self, index: usize) -> Option<&AtomicU32> {
        let block = self.block(index)?;
        // SAFETY: blocks begin at a page and are longer than their header, so the word is inside and aligned; the kernel and we
        // read and write it as one word.
        Some(unsafe { AtomicU32::from_ptr(block.add(super::block::STATUS_AT).cast()) })
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made, of this length, which nothing borrows any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.block_bytes * self.count) };
    }
}

/// Bytes of a page of memory.
pub(super) fn page_bytes() -> usize {
    // SAFETY: only asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
