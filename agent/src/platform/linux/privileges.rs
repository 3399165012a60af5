//! Gives up what the sensor no longer needs once its sources are open, in every thread.
//!
//! Capabilities belong to threads, and sources start threads of their own. So each thread is sent a signal whose handler
//! gives them up with plain system calls, as the C library does for `setuid`; afterwards the kernel is asked, thread by
//! thread, whether it is so.

use std::io;
use std::ops::BitOrAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::accounts;

/// How long threads are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// Capabilities by number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A capability that the sensor may need, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Read files that others own: executables to hash, package databases.
    ReadAll = 2,
    /// Open connections' counters and other namespaces' rules.
    NetAdmin = 12,
    /// Open packet sockets.
    NetRaw = 13,
    /// Look at other users' processes: their executables and descriptors.
    Ptrace = 19,
    /// Enter other network namespaces.
    SysAdmin = 21,
    /// Kernel programs that look at processes.
    Perfmon = 38,
    /// Kernel programs.
    Bpf = 39,
}

impl Capability {
    /// As the kernel's headers name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }

    const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// What the sensor goes on to need once its sources are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Sources will enter network namespaces that are made later (netlink layer, polling).
    pub enter_namespaces: bool,
    /// Packet sockets will be opened for interfaces or namespaces that come later.
    pub open_packet_sockets: bool,
    /// Kernel programs will be attached later.
    pub attach_programs: bool,
}

impl BitOrAssign for Needs {
    fn bitor_assign(&mut self, other: Self) {
        self.enter_namespaces |= other.enter_namespaces;
        self.open_packet_sockets |= other.open_packet_sockets;
        self.attach_programs |= other.attach_programs;
    }
}

impl Needs {
    /// The capabilities.
    #[must_use]
    pub fn capabilities(self) -> Vec<Capability> {
        // Executables and descriptors of other users' processes are read for as long as the sensor runs.
        let mut keep = vec![Capability::ReadAll, Capability::Ptrace];
        if self.enter_namespaces {
            keep.push(Capability::SysAdmin);
        }
        if self.open_packet_sockets {
            keep.push(Capability::NetRaw);
        }
        if self.attach_programs {
            keep.extend([Capability::Bpf, Capability::Perfmon, Capability::NetAdmin]);
        }
        keep
    }
}

/// What became of the privileges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Account that the process runs as now.
    pub uid: u32,
    /// Capabilities given up.
    pub dropped: Vec<String>,
    /// Capabilities kept.
    pub kept: Vec<String>,
    /// What did not work; then nothing can be relied on.
    pub failure: Option<String>,
}

/// What a thread may do, as the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rights {
    effective: u64,
    permitted: u64,
    bounding: u64,
    no_new: bool,
}

/// The capabilities that this process has now, by name.
#[must_use]
pub fn held() -> Vec<String> {
    names(rights("self").unwrap_or_default().effective)
}

/// Whether this process has a capability now.
#[must_use]
pub fn has(capability: Capability) -> bool {
    rights("self").unwrap_or_default().effective & capability.bit() != 0
}

/// Gives up all capabilities but those needed, in every thread and for good, and changes to another account if one is
/// named. To be called once, when all sources are open.
pub fn reduce(needs: Needs, user: Option<&str>) -> Report {
    let before = rights("self").unwrap_or_default();
    let keep = needs.capabilities().into_iter().fold(0, |bits, capability| bits | capability.bit());
    let failure = try_reduce(keep & before.permitted, user).err();
    let after = rights("self").unwrap_or_default();
    Report {
        uid: rustix::process::geteuid().as_raw(),
        dropped: names(before.permitted & !after.permitted),
        kept: names(after.permitted),
        failure,
    }
}

fn try_reduce(keep: u64, user: Option<&str>) -> Result<(), String> {
    // Two at once would mix up their orders.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().map_err(|_| "a former attempt failed".to_owned())?;
    if let Some(name) = user {
        let user = accounts::user(name).ok_or_else(|| format!("there is no user `{name}` (run.user)"))?;
        in_all_threads(Order { keep, hold: true })?;
        become_user(&user).map_err(|error| format!("cannot become {name}: {error}"))?;
    }
    in_all_threads(Order { keep, hold: false })
}

/// Changes all threads to another account. The C library sees to all of them.
fn become_user(user: &accounts::User) -> io::Result<()> {
    let check = |failed: i32| if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: plain system calls; the list of groups is empty, so its pointer is not read.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(user.gid, user.gid, user.gid))?;
        check(libc::setresuid(user.uid, user.uid, user.uid))
    }
}

/// What every thread is to do.
#[derive(Clone, Copy)]
struct Order {
    /// Give up all but these.
    keep: u64,
    /// Not yet: hold what there is while the account changes, and take from the bounding set alone, which needs a capability
    /// that the change puts out of effect.
    hold: bool,
}

// What the handler reads: it may do nothing but system calls and atomics.
static KEEP: AtomicU64 = AtomicU64::new(0);
static ONLY_HOLD: AtomicBool = AtomicBool::new(false);
static DONE: AtomicUsize = AtomicUsize::new(0);

fn in_all_threads(order: Order) -> Result<(), String> {
    KEEP.store(order.keep, Ordering::SeqCst);
    ONLY_HOLD.store(order.hold, Ordering::SeqCst);
    obey();
    let signal = libc::SIGRTMAX() - 3;
    let mut action: libc::sigaction = {
        // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask, the default handler.
        unsafe { std::mem::zeroed() }
    };
    action.sa_sigaction = handler as extern "C" fn(i32) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler is async-signal-safe (system calls and atomics), and stays for good, so that a late signal
    // finds it: it would only do the same again.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(format!("cannot reach the other threads: {}", io::Error::last_os_error()));
    }
    let started = Instant::now();
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    let process = rustix::process::getpid().as_raw_nonzero().get();
    loop {
        // A thread that is started meanwhile may be the child of one that was not reached yet: hence in rounds.
        let others: Vec<i32> =
            tasks().into_iter().filter(|task| *task != own && !is_done(order, *task)).collect();
        if others.is_empty() {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{} threads did not give them up", others.len()));
        }
        let before = DONE.load(Ordering::SeqCst);
        let mut sent = 0;
        for task in others {
            // SAFETY: a plain system call; a thread that is gone is an error that is of no concern.
            let failed = unsafe { libc::syscall(libc::SYS_tgkill, process, task, signal) };
            sent += usize::from(failed == 0);
        }
        while DONE.load(Ordering::SeqCst).wrapping_sub(before) < sent && started.elapsed() <= PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if order.hold {
            // Whether a thread holds them cannot be read; it was reached, and if it holds none the account's change shows.
            break;
        }
    }
    if order.hold || is_done(order, own) { Ok(()) } else { Err("the kernel does not let us".to_owned()) }
}

/// Whether a thread has obeyed, as the kernel sees it.
fn is_done(order: Order, task: i32) -> bool {
    if order.hold {
        return false;
    }
    // A thread that is gone has no rights.
    let Some(rights) = rights(&format!("self/task/{task}")) else { return true };
    // The bounding set cannot be cut without CAP_SETPCAP; without new privileges at exec it gives nothing.
    (rights.effective | rights.permitted) & !order.keep == 0 && rights.no_new
}

fn tasks() -> Vec<i32> {
    let Ok(list) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

extern "C" fn handler(_signal: i32) {
    // SAFETY: the location of this thread's errno is valid for as long as the thread.
    let errno = unsafe { *libc::__errno_location() };
    obey();
    DONE.fetch_add(1, Ordering::SeqCst);
    // SAFETY: as above. The interrupted code may be about to read it.
    unsafe { *libc::__errno_location() = errno };
}

/// Does in this thread what was ordered. Async-signal-safe.
fn obey() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let keep = KEEP.load(Ordering::SeqCst);
    let hold = ONLY_HOLD.load(Ordering::SeqCst);
    // SAFETY: plain system calls that touch this thread alone. A capability that the kernel does not know is EINVAL.
    unsafe {
        if hold {
            libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        }
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        for capability in 0..64u32 {
            if keep >> capability & 1 == 0 {
                libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0);
            }
        }
    }
    if hold {
        return;
    }
    let [low, high] = [keep & 0xffff_ffff, keep >> 32].map(|half| u32::try_from(half).unwrap_or(0));
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let data = [low, high].map(|bits| Data { effective: bits, permitted: bits, inheritable: 0 });
    // SAFETY: header and data have the kernel's layout for this version, and live for the call.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
}

/// What a process or thread below `/proc` may do.
fn rights(of: &str) -> Option<Rights> {
    let text = std::fs::read_to_string(format!("/proc/{of}/status")).ok()?;
    Some(parse(&text))
}

fn parse(status: &str) -> Rights {
    let mut rights = Rights::default();
    for line in status.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let bits = || u64::from_str_radix(value.trim(), 16).unwrap_or(u64::MAX);
        match name {
            "CapEff" => rights.effective = bits(),
            "CapPrm" => rights.permitted = bits(),
            "CapBnd" => rights.bounding = bits(),
            "NoNewPrivs" => rights.no_new = value.trim() == "1",
            _ => {}
        }
    }
    rights
}

fn names(bits: u64) -> Vec<String> {
    let name = |number: u32| match NAMES.get(number as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("CAP_{number}"),
    };
    (0..64).filter(|number| bits >> number & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a test of this module that spoils its process in a process of its own.
    fn alone(test: &str) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("platform::linux::privileges::tests::{test}"),
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root() && has(Capability::ReadAll)
    }

    #[test]
    fn every_thread_gives_up_what_is_not_needed() {
        if is_root() {
            alone("in_a_process_of_its_own");
            alone("in_another_account");
        } else {
            assert!(std::env::var_os("CI").is_none(), "this needs root");
        }
    }

    fn threads_stay(count: usize) {
        for _ in 0..count {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
        }
    }

    fn check_all(keep: u64) {
        let all = tasks();
        assert!(all.len() > 8);
        for task in all {
            let rights = rights(&format!("self/task/{task}")).unwrap();
            assert_eq!((rights.effective, rights.permitted), (keep, keep), "{task}");
            assert_eq!(rights.bounding & !keep, 0, "{task}");
            assert!(rights.no_new, "{task}");
        }
    }

    /// A process of root's, with all its capabilities, while a part runs; it ends by itself.
    #[expect(
        clippy::zombie_processes,
        reason = "whoever became another account can neither end nor await it"
    )]
    fn beside_another(part: impl FnOnce(&dyn Fn() -> bool)) {
        let other = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let exe = format!("/proc/{}/exe", other.id());
        part(&|| std::fs::read_link(&exe).is_ok());
    }

    #[test]
    #[ignore = "it spoils its process: run by every_thread_gives_up_what_is_not_needed"]
    fn in_a_process_of_its_own() {
        beside_another(alone_in_its_process);
    }

    fn alone_in_its_process(still_sees_others: &dyn Fn() -> bool) {
        threads_stay(8);
        let report = reduce(Needs { open_packet_sockets: true, ..Needs::default() }, None);
        assert_eq!(report.failure, None);
        assert_eq!(report.kept, ["CAP_DAC_READ_SEARCH", "CAP_NET_RAW", "CAP_SYS_PTRACE"]);
        assert!(report.dropped.contains(&"CAP_NET_ADMIN".to_owned()), "{:?}", report.dropped);
        check_all(Capability::ReadAll.bit() | Capability::NetRaw.bit() | Capability::Ptrace.bit());
        // What was given up does not come back.
        assert!(rustix::process::chroot("/").is_err());
        assert!(still_sees_others());
        // A second time is no failure, and nothing new.
        assert_eq!(reduce(Needs::default(), None).kept, ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
    }

    #[test]
    #[ignore = "it spoils its process: run by every_thread_gives_up_what_is_not_needed"]
    fn in_another_account() {
        beside_another(as_another);
    }

    fn as_another(still_sees_others: &dyn Fn() -> bool) {
        threads_stay(8);
        let report = reduce(Needs::default(), Some("65534"));
        assert_eq!((report.failure, report.uid), (None, 65_534));
        check_all(Capability::ReadAll.bit() | Capability::Ptrace.bit());
        assert!(still_sees_others());
        assert!(std::fs::File::create("/etc/sonde-privileges-test").is_err(), "it may write where root may");
    }

    #[test]
    fn an_account_that_is_not_there_is_named() {
        let error = try_reduce(u64::MAX, Some("no-such-user-here")).unwrap_err();
        assert!(error.contains("no-such-user-here"), "{error}");
    }

    #[test]
    fn status_is_read_and_what_is_odd_counts_as_all() {
        let text = "Name:\tx\nCapPrm:\t0000000000080004\nCapEff:\tzz\nNoNewPrivs:\t1\n";
        let rights = parse(text);
        assert_eq!((rights.permitted, rights.effective, rights.no_new), (0x8_0004, u64::MAX, true));
        assert_eq!(names(rights.permitted), ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
        assert_eq!(names(1 << 63), ["CAP_63"]);
        assert_eq!(Capability::Bpf.name(), "CAP_BPF");
        assert_eq!(Capability::NetRaw.name(), "CAP_NET_RAW");
    }
}
