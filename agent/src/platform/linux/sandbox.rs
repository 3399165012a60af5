//! Refuses system calls that the sensor does not need once it is set up, to all of its threads and for good (seccomp).
//!
//! It is a list of what is allowed: all else fails as if not permitted, so that a forgotten call is an error that is told, and
//! not a crash. What the sensor reads is not narrowed: it is there to read every process's executable. Landlock would be the
//! means for files, but a process inside of it may not look at processes outside (`ptrace_may_access`), which is what this
//! one is for.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use sonde_common::live::Unavailable;

use super::privileges::Needs;

/// What it is called in health and doctor.
pub const NAME: &str = "system call filter";

/// Calls that are allowed on every processor.
const ALLOWED: &[libc::c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // Files: which of them is for the account, its capabilities and the unit to say.
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ioctl,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    // Network.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
    // Waiting.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_restart_syscall,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Threads, signals, and itself. A process may be forked, but nothing can be run in it.
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_get_robust_list,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setpriority,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Older forms of these, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// Commands of `bpf` that look things up in maps that are open already: `BPF_MAP_LOOKUP_ELEM` to `BPF_MAP_GET_NEXT_KEY` of
/// linux/bpf.h.
const LOOK_UP: std::ops::RangeInclusive<u64> = 1..=4;

/// Refuses what is not needed from now on. To be called once, when all sources are open and privileges are reduced. `Some` of
/// what it is called, where there is such a thing.
///
/// # Errors
/// The kernel or the processor knows no such filter.
pub fn confine(needs: Needs) -> Result<Option<&'static str>, Unavailable> {
    program(needs)
        .and_then(|program| {
            seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
        })
        .map(|()| Some(NAME))
        .map_err(|reason| Unavailable {
            what: NAME.to_owned(),
            reason,
            remedy: "a kernel with CONFIG_SECCOMP_FILTER; run.filter = false does without".to_owned(),
        })
}

/// Whether this kernel has such filters.
///
/// # Errors
/// Why it has not.
pub fn look() -> Result<(String, Vec<Unavailable>), Unavailable> {
    match std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            let count = ALLOWED.len() + OLDER.len();
            Ok((format!("{count} system calls are allowed once the sensor is set up"), Vec::new()))
        }
        other => Err(Unavailable {
            what: NAME.to_owned(),
            reason: other
                .map_or_else(|error| error.to_string(), |_| "this kernel cannot refuse calls".to_owned()),
            remedy: "a kernel with CONFIG_SECCOMP_FILTER".to_owned(),
        }),
    }
}

fn program(needs: Needs) -> Result<BpfProgram, String> {
    let always = |call: &libc::c_long| (*call, Vec::new());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().chain(OLDER).map(always).collect();
    if needs.enter_namespaces {
        rules.insert(libc::SYS_setns, Vec::new());
    }
    let bpf = if needs.attach_programs { Vec::new() } else { looking_up()? };
    rules.insert(libc::SYS_bpf, bpf);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

fn looking_up() -> Result<Vec<SeccompRule>, String> {
    let command = |compare, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, compare, value);
    command(SeccompCmpOp::Ge, *LOOK_UP.start())
        .and_then(|from| Ok(vec![from, command(SeccompCmpOp::Le, *LOOK_UP.end())?]))
        .and_then(SeccompRule::new)
        .map(|rule| vec![rule])
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn in_all_threads_what_is_not_needed_is_refused() {
        let own = std::env::current_exe().unwrap();
        let name = "platform::linux::sandbox::tests::in_a_process_of_its_own";
        let output = Command::new(own).args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    fn refused(result: libc::c_long) -> bool {
        result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }

    #[test]
    #[ignore = "it spoils its process: run by in_all_threads_what_is_not_needed_is_refused"]
    fn in_a_process_of_its_own() {
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        // A thread that was there before.
        let before = std::thread::spawn(move || {
            let _ = gone.recv();
            Command::new("true").status().map_err(|error| error.raw_os_error())
        });
        assert_eq!(confine(Needs::default()), Ok(Some(NAME)));

        // Starting programs, in every thread.
        drop(go);
        assert_eq!(before.join().unwrap().unwrap_err(), Some(libc::EPERM));
        assert!(Command::new("true").status().is_err());
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert!(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");
        }
        // Other processes' memory, other file systems and namespaces, kernel programs.
        let pid = libc::c_long::from(other.id());
        let none = std::ptr::null::<u8>();
        // SAFETY: plain system calls, which are refused before the kernel looks at their arguments.
        unsafe {
            assert!(refused(libc::syscall(libc::SYS_ptrace, 16, pid, 0, 0)), "ptrace");
            assert!(
                refused(libc::syscall(libc::SYS_process_vm_readv, pid, none, 0, none, 0, 0)),
                "its memory"
            );
            assert!(refused(libc::syscall(libc::SYS_mount, none, none, none, 0, none)), "mount");
            assert!(refused(libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER)), "unshare");
            assert!(refused(libc::syscall(libc::SYS_setns, 0, 0)), "setns");
            assert!(refused(libc::syscall(libc::SYS_init_module, none, 0, none)), "modules");
            assert!(refused(libc::syscall(libc::SYS_keyctl, 0, 0)), "keys");
            assert!(refused(libc::syscall(libc::SYS_bpf, 5, none, 0)), "new kernel programs");
            // A look-up is let through, and finds no map.
            let looked = libc::syscall(libc::SYS_bpf, 1, none, 0);
            assert!(
                looked == -1 && std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM),
                "maps"
            );
        }
        // What the sensor does goes on.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "b").unwrap();
        std::fs::rename(folder.path().join("a"), folder.path().join("c")).unwrap();
        assert!(std::fs::read_link(format!("/proc/{pid}/exe")).is_ok());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(std::thread::spawn(move || std::net::TcpStream::connect(address)).join().unwrap().is_ok());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn what_is_never_to_be_allowed_is_not_on_the_list() {
        let never = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_chroot,
            libc::SYS_setresuid,
        ];
        assert!(never.iter().all(|call| !ALLOWED.contains(call) && !OLDER.contains(call)));
        assert!(look().is_ok());
        for needs in
            [Needs::default(), Needs { enter_namespaces: true, attach_programs: true, ..Needs::default() }]
        {
            // The kernel takes 4,096 instructions.
            assert!(program(needs).unwrap().len() < 2048);
        }
    }
}
