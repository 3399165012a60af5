//! What tests on a live system share: two network namespaces with a wire between them, and leave to skip where the kernel
//! refuses, with its reason.

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc;

use sonde_common::live::Unavailable;

/// What was opened; `None`, said aloud, where the kernel refuses it. Where `CI` is set a refusal is a failure.
pub(super) fn opened<T>(result: Result<T, Unavailable>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Addresses of the near and the far end.
pub(super) const ENDS: [(&str, &str); 2] = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")];

/// Runs `near` in a new network namespace, whose interface `near0` is wired to `far0` in another one, where `far` runs beside
/// it. Both namespaces end with their threads.
pub(super) fn wired(near: impl FnOnce(&dyn Fn(&str) -> bool) + Send, far: impl FnOnce() + Send) {
    let (tell, told) = mpsc::channel();
    let (ready, wired) = mpsc::channel::<()>();
    let (finish, finished) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let far = scope.spawn(move || {
            if !enter_namespace() {
                return;
            }
            // SAFETY: asks for a number.
            let thread = unsafe { libc::gettid() };
            tell.send(thread).unwrap();
            if wired.recv().is_ok() {
                far();
            }
            // The namespace, and with it the wire, lives as long as this thread.
            let _ = finished.recv();
        });
        let near = scope.spawn(move || {
            let Ok(peer) = told.recv() else { return };
            if !enter_namespace() {
                return;
            }
            let ip = |arguments: &str| {
                let done = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
                if !done.status.success() {
                    eprintln!("ip {arguments}: {}", String::from_utf8_lossy(&done.stderr).trim());
                }
                done.status.success()
            };
            assert!(ip("link set lo up"));
            assert!(ip(&format!("link add near0 type veth peer name far0 netns {peer}")));
            let far = |arguments: &str| {
                let enter = format!("--net=/proc/{peer}/ns/net");
                let status =
                    Command::new("nsenter").arg(enter).arg("ip").args(arguments.split_whitespace()).status();
                assert!(status.unwrap().success(), "{arguments}");
            };
            for (near, far_end) in ENDS {
                let (bits, more) = if near.contains(':') { (64, "nodad") } else { (24, "") };
                assert!(ip(&format!("address add {near}/{bits} dev near0 {more}")));
                far(&format!("address add {far_end}/{bits} dev far0 {more}"));
            }
            assert!(ip("link set near0 up"));
            far("link set far0 up");
            far("link set lo up");
            ready.send(()).unwrap();
            near(&ip);
            drop(finish);
        });
        near.join().unwrap();
        far.join().unwrap();
    });
}

fn enter_namespace() -> bool {
    // SAFETY: moves this thread alone into a network namespace of its own.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        return true;
    }
    skip(&format!("network namespace: {}", std::io::Error::last_os_error()));
    false
}

/// An address of [`ENDS`].
pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
