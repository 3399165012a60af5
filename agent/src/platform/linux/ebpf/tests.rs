//! What the layer promises, on a kernel that lets it: needs root. Calls go to loopback, or into network namespaces made here.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sonde_common::event::{Outcome, Totals};
use sonde_common::live::{ProcessEvent, ProcessStart, SocketEvent, SocketNews};
use sonde_common::net::Transport;

use super::*;

mod limits;
mod measure;
mod traffic;
mod uring;

const V4: &str = "192.0.2.2";
const V6: &str = "2001:db8::2";
const SECOND: Duration = Duration::from_secs(1);

/// The layer, or `None` where this machine does not let it: then the test says so, and in CI fails.
fn layer(ring_bytes: u32) -> Option<EbpfLayer> {
    match EbpfLayer::open(&EbpfOptions { ring_bytes, boot: Timestamp::ZERO }) {
        Ok(layer) => Some(layer),
        Err(lost) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI machines can: {lost}");
            eprintln!("skipped: {lost}");
            None
        }
    }
}

/// Two network namespaces and a cable between them: callers have 192.0.2.1 and 2001:db8::1, servers .2 and ::2.
struct Lab {
    name: String,
}

impl Lab {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sonde{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { name };
        let n = &lab.name;
        for command in [
            format!("netns add {n}c"),
            format!("netns add {n}s"),
            format!("-n {n}c link add veth0 type veth peer name veth0 netns {n}s"),
            format!("-n {n}c addr add 192.0.2.1/24 dev veth0"),
            format!("-n {n}s addr add {V4}/24 dev veth0"),
            format!("-n {n}c addr add 2001:db8::1/64 dev veth0 nodad"),
            format!("-n {n}s addr add {V6}/64 dev veth0 nodad"),
            format!("-n {n}c link set veth0 up"),
            format!("-n {n}s link set veth0 up"),
            // Nobody has this address, but packets to it leave.
            format!("-n {n}c neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev veth0"),
        ] {
            let done = Command::new("ip").args(command.split(' ')).output().unwrap();
            assert!(done.status.success(), "ip {command}: {}", String::from_utf8_lossy(&done.stderr));
        }
        lab
    }

    fn path(&self, side: char) -> String {
        format!("/run/netns/{}{side}", self.name)
    }

    /// Runs something in one of the namespaces: `c` of the callers, `s` of the servers.
    fn inside<T: Send>(&self, side: char, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let space = std::fs::File::open(self.path(side)).unwrap();
                    let kind = rustix::thread::LinkNameSpaceType::Network;
                    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), Some(kind))
                        .unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }

    fn listen(&self, ip: &str) -> TcpListener {
        let at = SocketAddr::new(ip.parse().unwrap(), 0);
        self.inside('s', || TcpListener::bind(at).unwrap())
    }

    fn receive(&self, ip: &str) -> UdpSocket {
        let at = SocketAddr::new(ip.parse().unwrap(), 0);
        let socket = self.inside('s', || UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(5 * SECOND)).unwrap();
        socket
    }

    fn connect(&self, to: SocketAddr) -> TcpStream {
        self.inside('c', || TcpStream::connect(to).unwrap())
    }

    /// A short process that calls and ends.
    fn call(&self, kind: &str, to: SocketAddr) -> Child {
        let script = format!("echo x > /dev/{kind}/{}/{}", to.ip(), to.port());
        self.inside('c', || {
            Command::new("/bin/bash").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in ['c', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}{side}", self.name)]).output();
        }
    }
}

/// Drains until `enough`, or for ten seconds.
fn drain_until(layer: &mut EbpfLayer, out: &mut Vec<LiveEvent>, enough: impl Fn(&[LiveEvent]) -> bool) {
    let since = Instant::now();
    loop {
        layer.drain(Timestamp::ZERO, out);
        if enough(out) || since.elapsed() > 10 * SECOND {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sockets(events: &[LiveEvent], remote: SocketAddr) -> Vec<SocketEvent> {
    let of_remote = |event: &LiveEvent| match event {
        LiveEvent::Socket(event) if event.tuple.remote == remote => Some(*event),
        _ => None,
    };
    events.iter().filter_map(of_remote).collect()
}

fn closed(events: &[LiveEvent], remote: SocketAddr) -> Option<Totals> {
    sockets(events, remote).iter().find_map(|event| match event.news {
        SocketNews::Closed(totals) => Some(totals),
        _ => None,
    })
}

fn started(events: &[LiveEvent], pid: u32) -> Option<&ProcessStart> {
    events.iter().rev().find_map(|event| match event {
        LiveEvent::Process(ProcessEvent::Started(start)) if start.process.pid == pid => Some(&**start),
        _ => None,
    })
}

fn exchanges(events: &[LiveEvent], remote: SocketAddr) -> Vec<(Timestamp, u64, u64)> {
    let one = |event: SocketEvent| match event.news {
        SocketNews::Exchange { start, bytes_out, bytes_in } => Some((start, bytes_out, bytes_in)),
        _ => None,
    };
    sockets(events, remote).into_iter().filter_map(one).collect()
}

fn wall() -> Timestamp {
    let clock = Clock::now();
    clock.wall(clock.since_boot)
}

#[test]
fn everything_works_on_this_kind_of_machine() {
    let Some(layer) = layer(1 << 20) else { return };
    assert_eq!(layer.unavailable(), &[]);
    assert!(layer.tells_exchanges() && layer.tells_datagrams() && layer.tells_processes());
    assert_eq!((layer.method(), layer.lost(), layer.records_damaged()), (Method::Ebpf, 0, 0));
}

#[test]
fn short_processes_are_told_with_pid_path_and_arguments() {
    let Some(mut layer) = layer(1 << 22) else { return };
    let lab = Lab::new();
    let mut events = Vec::new();
    for (kind, ip) in [("tcp", V4), ("tcp", V6), ("udp", V4), ("udp", V6)] {
        let (listener, receiver) = (lab.listen(ip), lab.receive(ip));
        let (transport, to) = match kind {
            "tcp" => (Transport::Tcp, listener.local_addr().unwrap()),
            _ => (Transport::Udp, receiver.local_addr().unwrap()),
        };
        for _ in 0..5 {
            let mut child = lab.call(kind, to);
            assert!(child.wait().unwrap().success());
            let pid = child.id();
            let of_child = |event: &SocketEvent| matches!(event.news, SocketNews::Opened(Some(owner)) if owner.process.pid == pid);
            drain_until(&mut layer, &mut events, |seen| sockets(seen, to).iter().any(of_child));
            let opened = sockets(&events, to).into_iter().find(of_child).unwrap();
            let SocketNews::Opened(Some(owner)) = opened.news else { unreachable!() };
            assert_eq!(opened.tuple.transport, transport);
            assert_ne!(opened.tuple.local.port(), 0);
            assert_eq!(opened.tuple.local.ip().is_ipv4(), to.is_ipv4());
            assert!((opened.time.since(wall())).abs() < 10_000_000_000);

            let start = started(&events, pid).unwrap();
            let bash = std::fs::canonicalize("/bin/bash").unwrap();
            assert_eq!(owner.process, start.process);
            assert_eq!(start.image, bash.as_os_str().as_encoded_bytes());
            assert!(start.arguments.starts_with(b"/bin/bash\0-c\0echo x > /dev/"));
            let file = std::fs::metadata(&bash).unwrap();
            assert_eq!(
                (start.file.device, start.file.inode, start.unlinked),
                (file.dev(), file.ino(), false)
            );
            assert_eq!(start.parent.unwrap().pid, std::process::id());
            assert_eq!(start.net_namespace, std::fs::metadata(lab.path('c')).unwrap().ino());
            drain_until(&mut layer, &mut events, |seen| closed(seen, to).is_some());
            assert!(closed(&events, to).is_some());
        }
        assert!(transport == Transport::Tcp || closed(&events, to).unwrap().bytes_out == Some(2));
    }
    assert_eq!(layer.lost(), 0);
}

#[test]
fn starts_of_processes_are_those_of_proc() {
    let Some(mut layer) = layer(1 << 20) else { return };
    let mut child = Command::new("/bin/sleep").arg("20").spawn().unwrap();
    let pid = child.id();
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| started(seen, pid).is_some());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ticks: i64 = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    assert_eq!(started(&events, pid).unwrap().process.start, Timestamp::from_nanos(ticks * 10_000_000));
}

#[test]
fn programs_without_a_file_are_told_as_such() {
    use std::os::fd::AsRawFd as _;
    let Some(mut layer) = layer(1 << 20) else { return };
    let memory = rustix::fs::memfd_create("odd", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut file = std::fs::File::from(memory);
    file.write_all(&std::fs::read("/bin/true").unwrap()).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    // Read-only, as the kernel runs nothing that is open for writing.
    let readable = std::fs::File::open(&path).unwrap();
    drop(file);
    let path = format!("/proc/{}/fd/{}", std::process::id(), readable.as_raw_fd());
    let mut child = Command::new(path).spawn().unwrap();
    child.wait().unwrap();
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| started(seen, child.id()).is_some());
    let start = started(&events, child.id()).unwrap();
    assert_eq!((start.image.as_slice(), start.unlinked), (&b"/memfd:odd"[..], true));
}

#[test]
fn refused_and_unanswered_attempts_are_told_apart() {
    let Some(mut layer) = layer(1 << 20) else { return };
    let lab = Lab::new();
    let refused = lab.listen(V4).local_addr().unwrap(); // closed again at once
    let hole: SocketAddr = "192.0.2.99:443".parse().unwrap();
    lab.inside('c', || {
        assert!(TcpStream::connect(refused).is_err());
        assert!(TcpStream::connect_timeout(&hole, Duration::from_millis(200)).is_err());
    });
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| {
        closed(seen, refused).is_some() && closed(seen, hole).is_some()
    });
    for (remote, outcome) in [(refused, Outcome::Refused), (hole, Outcome::Unanswered)] {
        let totals = closed(&events, remote).unwrap();
        assert_eq!((totals.outcome, totals.bytes_out, totals.bytes_in), (outcome, Some(0), Some(0)));
        let news = sockets(&events, remote);
        assert!(
            matches!(news[0].news, SocketNews::Opened(Some(owner)) if owner.process.pid == std::process::id())
        );
        assert_eq!(news.len(), 2, "no answer: {news:?}");
    }
}
