//! Connections that no system call made.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::*;

/// Asks an io_uring of the kernel's ABI for one `connect` (opcode 16). Returns its result, or `None` where there is none.
fn connect_by_ring(socket: i32, address: &libc::sockaddr_in) -> Option<i32> {
    // struct io_uring_params: entries of both queues, flags, …; offsets of both rings from byte 40 and 80.
    let mut params = [0_u32; 30];
    // SAFETY: the structure is as large as the kernel writes.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    let ring = i32::try_from(fd).ok().filter(|&fd| fd >= 0)?;
    // SAFETY: just opened, and owned by nobody else.
    let _owned = unsafe { OwnedFd::from_raw_fd(ring) };
    let map = |offset: i64| {
        // SAFETY: a new mapping, which nothing else uses; it stays until the process ends.
        let place = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                1 << 14,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring,
                offset,
            )
        };
        assert_ne!(place, libc::MAP_FAILED);
        place.cast::<u8>()
    };
    let (rings, entries) = (map(0), map(0x1000_0000));
    let [sq_tail, sq_array] = [params[11], params[16]].map(|at| at as usize);
    let cq_entries = params[25] as usize;
    // SAFETY: offsets that the kernel gave, inside the mappings; one entry of 64 bytes.
    unsafe {
        entries.write(16); // IORING_OP_CONNECT
        entries.add(4).cast::<i32>().write(socket);
        entries.add(8).cast::<u64>().write(size_of::<libc::sockaddr_in>() as u64);
        entries.add(16).cast::<u64>().write(std::ptr::from_ref(address) as u64);
        rings.add(sq_array).cast::<u32>().write(0);
        rings.add(sq_tail).cast::<u32>().write(1);
        std::sync::atomic::fence(Ordering::SeqCst);
        let done = libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, 1, std::ptr::null::<u8>(), 0);
        assert_eq!(done, 1, "{}", std::io::Error::last_os_error());
        Some(rings.add(cq_entries + 8).cast::<i32>().read())
    }
}

#[test]
fn connections_through_io_uring_are_told() {
    let Some(mut layer) = layer(1 << 20) else { return };
    let lab = Lab::new();
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    let result = lab.inside('c', || {
        let SocketAddr::V4(v4) = to else { unreachable!() };
        // SAFETY: plain numbers in, a descriptor out.
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
        let address = libc::sockaddr_in {
            sin_family: u16::try_from(libc::AF_INET).unwrap(),
            sin_port: v4.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
            sin_zero: [0; 8],
        };
        connect_by_ring(socket.as_raw_fd(), &address)
    });
    let Some(result) = result else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "io_uring is there in CI");
        eprintln!("skipped: io_uring_setup: {}", std::io::Error::last_os_error());
        return;
    };
    assert_eq!(result, 0);
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
    let first = sockets(&events, to)[0];
    assert!(
        matches!(first.news, SocketNews::Opened(Some(owner)) if owner.process.pid == std::process::id()),
        "{first:?}"
    );
}
