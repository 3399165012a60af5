//! Loads the object and attaches its programs, each on its own: one that does not go in here is named with the kernel's reason.

use std::error::Error;
use std::fs::File;

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, Program};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};
use sonde_common::live::Unavailable;

use super::control_group;
use super::exchanges::KernelFlows;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/sonde.bpf.o"));

/// Smallest and largest ring, in bytes: the kernel wants whole pages and a power of two.
const RING_BYTES: std::ops::RangeInclusive<u32> = 4096..=1 << 28;
/// Longest reason that is passed on, in bytes: a verifier's log may be megabytes.
const MAX_REASON: usize = 400;

/// What each program brings.
const HOOKS: [(&str, Hook, &str); 11] = [
    ("sonde_sent", Hook::Tracepoint("sock_send_length"), SENDS),
    ("sonde_received", Hook::Tracepoint("sock_recv_length"), RECEIVES),
    ("sonde_tcp", Hook::Group, "eBPF connect hooks"),
    ("sonde_send4", Hook::Group, "datagrams (IPv4)"),
    ("sonde_send6", Hook::Group, "datagrams (IPv6)"),
    ("sonde_receive4", Hook::Group, "telling datagram servers from callers (IPv4)"),
    ("sonde_receive6", Hook::Group, "telling datagram servers from callers (IPv6)"),
    ("sonde_release", Hook::Group, "end of datagram sockets"),
    ("sonde_exec", Hook::Tracepoint("sched_process_exec"), "programs as they start"),
    ("sonde_fork", Hook::Tracepoint("sched_process_fork"), "processes as they fork"),
    ("sonde_exit", Hook::Tracepoint("sched_process_exit"), "processes as they end"),
];
const SENDS: &str = "exchanges inside connections, datagrams of connected sockets (sends)";
const RECEIVES: &str = "exchanges inside connections, datagrams of connected sockets (receives)";

#[derive(Clone, Copy)]
enum Hook {
    Tracepoint(&'static str),
    Group,
}

/// The programs in the kernel, and the maps that they fill.
pub(super) struct Loaded {
    pub(super) programs: Ebpf,
    pub(super) ring: RingBuf<MapData>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) flows: KernelFlows,
    pub(super) unavailable: Vec<Unavailable>,
    pub(super) attached: Vec<&'static str>,
}

/// Loads and attaches what can be.
pub(super) fn load(ring_bytes: u32) -> Result<Loaded, Unavailable> {
    let group = control_group::open_root()?;
    let btf = Btf::from_sys_fs().map_err(|error| Unavailable {
        what: "eBPF".to_owned(),
        reason: reason(&error),
        remedy: "run a kernel with type information (CONFIG_DEBUG_INFO_BTF=y), Linux 5.8 or newer".to_owned(),
    })?;
    let loaded = load_object(ring_bytes, &group, &btf, true)?;
    let blind: Vec<Unavailable> =
        loaded.unavailable.iter().filter(|lost| is_length(&lost.what)).cloned().collect();
    if blind.is_empty() {
        return Ok(loaded);
    }
    // The datagram programs must know that lengths are not seen: again, without them.
    drop(loaded);
    let mut loaded = load_object(ring_bytes, &group, &btf, false)?;
    loaded.unavailable.extend(blind);
    Ok(loaded)
}

fn is_length(what: &str) -> bool {
    what == SENDS || what == RECEIVES
}

fn load_object(ring_bytes: u32, group: &File, btf: &Btf, lengths: bool) -> Result<Loaded, Unavailable> {
    let fail = |error: &(dyn Error + 'static)| Unavailable {
        what: "eBPF".to_owned(),
        reason: reason(error),
        remedy: remedy(error).to_owned(),
    };
    let ring_bytes = ring_bytes.clamp(*RING_BYTES.start(), *RING_BYTES.end()).next_power_of_two();
    let self_pid = std::process::id();
    let see_lengths = u8::from(lengths);
    let mut programs = EbpfLoader::new()
        .btf(Some(btf))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("self_pid", &self_pid, true)
        .override_global("see_lengths", &see_lengths, true)
        .map_max_entries("ring", ring_bytes)
        .load(OBJECT)
        .map_err(|error| fail(&error))?;
    let mut unavailable = Vec::new();
    let mut attached = Vec::new();
    for (name, hook, what) in HOOKS {
        if !lengths && is_length(what) {
            continue;
        }
        match attach(&mut programs, name, hook, group, btf) {
            Ok(()) => attached.push(name),
            Err(error) => unavailable.push(Unavailable { what: what.to_owned(), ..fail(&*error) }),
        }
    }
    let mut map = |name: &str| programs.take_map(name).ok_or_else(|| fail(&NoMap(name.to_owned())));
    let ring = RingBuf::try_from(map("ring")?).map_err(|error| fail(&error))?;
    let lost = PerCpuArray::try_from(map("lost")?).map_err(|error| fail(&error))?;
    let flows = HashMap::try_from(map("flows")?).map_err(|error| fail(&error))?;
    Ok(Loaded { programs, ring, lost, flows: KernelFlows(flows), unavailable, attached })
}

/// The links are those of Linux 5.7: they let other programs stand beside ours, and end with their descriptor.
fn attach(
    programs: &mut Ebpf,
    name: &str,
    hook: Hook,
    group: &File,
    btf: &Btf,
) -> Result<(), Box<dyn Error>> {
    let program = programs.program_mut(name).ok_or_else(|| NoProgram(name.to_owned()))?;
    let mode = CgroupAttachMode::Single;
    match (program, hook) {
        (Program::SockOps(program), Hook::Group) => {
            program.load()?;
            program.attach(group, mode)?;
        }
        (Program::CgroupSockAddr(program), Hook::Group) => {
            program.load()?;
            program.attach(group, mode)?;
        }
        (Program::CgroupSock(program), Hook::Group) => {
            program.load()?;
            program.attach(group, mode)?;
        }
        (Program::BtfTracePoint(program), Hook::Tracepoint(point)) => {
            program.load(point, btf)?;
            program.attach()?;
        }
        _ => return Err(NoProgram(name.to_owned()).into()),
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("the object has no map {0}")]
struct NoMap(String);

#[derive(Debug, thiserror::Error)]
#[error("the object has no such program {0}")]
struct NoProgram(String);

/// What the kernel said: the innermost error, on one line.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        inner = error.source();
    }
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MAX_REASON {
        let cut = (0..=MAX_REASON).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(cut);
    }
    line
}

fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    let mut inner = Some(error);
    while let Some(error) = inner {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; where that is so, the kernel is locked down \
                     or another program holds the control groups' hook alone"
                }
                _ => "none known; the netlink layer (--attribution=netlink) does without kernel programs",
            };
        }
        inner = error.source();
    }
    "a newer kernel has it (sends and receives: Linux 6.3)"
}
