//! System calls that have no safe form: io_uring's connect, a process with a chosen id, a socket with a chosen port.
//!
//! The only unsafe code of the tests. Each function takes and returns safe values.
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::ffi::{CString, c_int, c_long, c_uint, c_void};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// `IP_LOCAL_PORT_RANGE` (Linux 6.3, uapi/linux/in.h).
const IP_LOCAL_PORT_RANGE: c_int = 51;
/// `IORING_OP_CONNECT` (uapi/linux/io_uring.h).
const IORING_OP_CONNECT: u8 = 16;
const IORING_ENTER_GETEVENTS: c_long = 1;
const IORING_OFF_SQ_RING: i64 = 0;
const IORING_OFF_CQ_RING: i64 = 0x0800_0000;
const IORING_OFF_SQES: i64 = 0x1000_0000;

fn checked(result: c_long) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(c_int::try_from(result).unwrap_or(c_int::MAX))
    }
}

/// Makes the kernel choose exactly this local port when the socket connects. It must lie in the system's own range.
pub(super) fn choose_port(socket: BorrowedFd<'_>, port: u16) -> io::Result<()> {
    let range = u32::from(port) | u32::from(port) << 16;
    // SAFETY: the value is a u32 that outlives the call, and its size is given.
    checked(c_long::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_LOCAL_PORT_RANGE,
            ptr::from_ref(&range).cast::<c_void>(),
            libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(4),
        )
    }))
    .map(drop)
}

/// Starts a program in a new process with the id `pid`, with this process's environment and descriptors.
///
/// # Errors
/// `AlreadyExists` while the id is taken; else what the system says. A program that cannot be run ends with 127.
pub(super) fn spawn_with_pid(pid: i32, program: &CString, arguments: &[CString]) -> io::Result<()> {
    let mut argv: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    argv.push(ptr::null());
    let environment: [*const libc::c_char; 1] = [ptr::null()];
    let ids = [pid];
    // SAFETY: all zeroes is a value of this plain struct: no flags, no pointers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or(17);
    args.set_tid = ptr::from_ref(&ids).addr().try_into().unwrap_or(0);
    args.set_tid_size = 1;
    // SAFETY: without CLONE_VM this is a fork: the child gets a copy of everything. It only calls execve and _exit, which
    // are safe after a fork, and both vectors end in a null pointer and outlive the call.
    let result = unsafe {
        let result = libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of::<libc::clone_args>());
        if result == 0 {
            libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr());
            libc::_exit(127);
        }
        result
    };
    checked(result).map(drop)
}

/// `struct io_sqring_offsets`, 40 bytes.
#[repr(C)]
#[derive(Default)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    user: u64,
}

/// `struct io_cqring_offsets`, 40 bytes.
#[repr(C)]
#[derive(Default)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    entries: u32,
    flags: u32,
    reserved: u32,
    user: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    idle: [u32; 7],
    submissions: SubmissionOffsets,
    completions: CompletionOffsets,
}

/// `struct io_uring_sqe`, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct Submission {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

/// A mapping of the ring's memory.
struct Mapping(*mut u8, usize);

impl Mapping {
    fn new(ring: BorrowedFd<'_>, length: usize, offset: i64) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring.as_raw_fd(),
                offset,
            )
        };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(at.cast(), length)) }
    }

    /// A place in it, if `size` bytes from there are in it and it is aligned for u64.
    fn at<T>(&self, offset: usize) -> io::Result<*mut T> {
        let fits = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.1);
        if !fits || !offset.is_multiple_of(align_of::<T>()) {
            return Err(io::Error::other("the kernel gave an offset outside its ring"));
        }
        // SAFETY: just checked to lie within the mapping; mappings begin at a page.
        Ok(unsafe { self.0.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this length, and nothing borrows from it.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

/// Connects a socket through io_uring, and waits until it is connected or has failed.
pub(super) fn uring_connect(socket: BorrowedFd<'_>, remote: SocketAddr) -> io::Result<()> {
    let (address, length) = plain_address(remote);
    let mut params = Params::default();
    // SAFETY: the kernel writes one `io_uring_params`, which `Params` has the size and layout of.
    let ring = checked(unsafe {
        libc::syscall(libc::SYS_io_uring_setup, c_uint::from(2_u8), ptr::from_mut(&mut params))
    })?;
    // SAFETY: a new descriptor that nothing else owns.
    let ring = unsafe { OwnedFd::from_raw_fd(ring) };
    let fd = std::os::fd::AsFd::as_fd(&ring);
    let wide = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let sq_length = wide(params.submissions.array) + wide(params.sq_entries) * size_of::<u32>();
    let cq_length = wide(params.completions.entries) + wide(params.cq_entries) * 16;
    let sq = Mapping::new(fd, sq_length, IORING_OFF_SQ_RING)?;
    let cq = Mapping::new(fd, cq_length, IORING_OFF_CQ_RING)?;
    let entries = Mapping::new(fd, wide(params.sq_entries) * size_of::<Submission>(), IORING_OFF_SQES)?;
    let connect = Submission {
        opcode: IORING_OP_CONNECT,
        fd: socket.as_raw_fd(),
        address: ptr::from_ref(&address).addr().try_into().unwrap_or(0),
        offset: u64::from(length),
        ..Submission::default()
    };
    // SAFETY: all three places lie in their mappings, and the kernel reads none of them before the call below.
    unsafe {
        entries.at::<Submission>(0)?.write(connect);
        sq.at::<u32>(wide(params.submissions.array))?.write(0);
        sq.at::<u32>(wide(params.submissions.tail))?.write_volatile(1);
    }
    // SAFETY: submits the one entry and waits for the one completion; `address` outlives it.
    checked(unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            1_u32,
            1_u32,
            IORING_ENTER_GETEVENTS,
            ptr::null::<c_void>(),
            0_usize,
        )
    })?;
    // A completion is user data, result, flags: the result lies eight bytes in.
    // SAFETY: within the mapping, and the kernel has written it: one completion was waited for.
    let result = unsafe { cq.at::<i32>(wide(params.completions.entries) + 8)?.read_volatile() };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

fn plain_address(remote: SocketAddr) -> (libc::sockaddr_storage, u32) {
    // SAFETY: all zeroes is a value of this plain struct.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let length = match remote {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(2),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_storage has room and alignment for every address.
            unsafe { ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>().write(address) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or(10),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>().write(address) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, u32::try_from(length).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketType};

    use super::*;

    #[test]
    fn io_uring_connects_and_tells_a_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        match uring_connect(socket.as_fd(), address) {
            // Some hosts forbid io_uring; that is their right, and said.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                return crate::program::say(&format!("SKIPPED: io_uring: {error}"));
            }
            other => other.unwrap(),
        }
        assert_eq!(
            rustix::net::getpeername(&socket).unwrap().map(|a| SocketAddr::try_from(a).unwrap()),
            Some(address)
        );
        // Bound and never listening: a port that was only given back may be taken by another test.
        let closed = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&closed, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&closed).unwrap()).unwrap();
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let error = uring_connect(socket.as_fd(), address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
