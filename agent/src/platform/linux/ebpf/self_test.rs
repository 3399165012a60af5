//! Proves the layer before it counts: calls to loopback and a short process must come back with the right owner.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sonde_common::live::{LiveEvent, ProcessEvent, SocketEvent, SocketNews, Unavailable};
use sonde_common::net::Transport;

use super::EbpfLayer;

/// How long records are waited for; they are there as soon as the calls return, unless the machine is very busy.
const WAIT: Duration = Duration::from_secs(2);
/// Programs that end at once, the first that is there.
const SHORT_PROGRAMS: [&str; 3] = ["/bin/true", "/usr/bin/true", "/bin/busybox"];

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) exchanges: bool,
    pub(super) datagrams: bool,
    pub(super) processes: bool,
}

/// A call that was made, and what must be told of it.
struct Expected {
    what: &'static str,
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    /// The answer must be told too.
    answer: bool,
    result: std::io::Result<()>,
}

/// Makes the calls and compares. Other hosts' events meanwhile are kept for the first drain.
pub(super) fn run(
    layer: &mut EbpfLayer,
    attached: &[&'static str],
    unavailable: &mut Vec<Unavailable>,
) -> Result<Proven, Unavailable> {
    let has = |name: &str| attached.contains(&name);
    let lengths = has("sonde_sent") && has("sonde_received");
    let mut expected = Vec::new();
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let v4 = ip.is_ipv4();
        if has("sonde_tcp") {
            expected.push(tcp(ip, if v4 { "TCP over IPv4" } else { "TCP over IPv6" }));
        }
        if has(if v4 { "sonde_send4" } else { "sonde_send6" }) {
            expected.push(udp(ip, if v4 { "datagrams (IPv4)" } else { "datagrams (IPv6)" }, false, lengths));
        }
        if lengths {
            let what = if v4 { "connected datagrams (IPv4)" } else { "connected datagrams (IPv6)" };
            expected.push(udp(ip, what, true, true));
        }
    }
    let process = (has("sonde_exec") || has("sonde_exit")).then(short_process);

    let mut seen = Vec::new();
    let since = Instant::now();
    let complete = |seen: &[LiveEvent]| {
        expected.iter().all(|call| call.result.is_err() || came_back(call, seen))
            && process.as_ref().is_none_or(|child| child.as_ref().is_err() || process_came_back(child, seen))
    };
    loop {
        layer.read(&mut seen);
        if complete(&seen) || since.elapsed() > WAIT {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }

    let mut proven =
        Proven { exchanges: lengths, datagrams: lengths && has("sonde_release"), processes: false };
    let mut tcp = 0;
    for call in &expected {
        let ok = call.result.is_ok() && came_back(call, &seen);
        if ok {
            tcp += usize::from(call.transport == Transport::Tcp);
            continue;
        }
        proven.datagrams &= call.transport == Transport::Tcp;
        proven.exchanges &= !call.what.starts_with("connected");
        unavailable.push(not_proven(call.what, call.result.as_ref().err()));
    }
    for served in ["sonde_receive4", "sonde_receive6"] {
        proven.datagrams &= has(served);
    }
    match &process {
        Some(child) if process_came_back(child, &seen) => {
            proven.processes = ["sonde_exec", "sonde_fork", "sonde_exit"].iter().all(|name| has(name));
        }
        Some(child) => unavailable.push(not_proven("programs as they start", child.as_ref().err())),
        None => {}
    }
    if tcp == 0 {
        let first = unavailable
            .iter()
            .find(|lost| lost.what.starts_with("TCP") || lost.what.contains("connect hooks"));
        return Err(first.cloned().unwrap_or_else(|| not_proven("eBPF connect hooks", None)));
    }
    seen.retain(|event| !is_own_call(event));
    layer.early = seen;
    Ok(proven)
}

fn not_proven(what: &str, error: Option<&std::io::Error>) -> Unavailable {
    match error {
        Some(error) => Unavailable {
            what: what.to_owned(),
            reason: format!("could not be tested on loopback: {error}"),
            remedy: "none needed if this host does not use it".to_owned(),
        },
        None => Unavailable {
            what: what.to_owned(),
            reason: "a test call on loopback was not told of, or not as this process's".to_owned(),
            remedy: "run the sensor on the host itself, in its own process namespace".to_owned(),
        },
    }
}

fn came_back(call: &Expected, seen: &[LiveEvent]) -> bool {
    let of_call = |event: &SocketEvent| {
        event.tuple.transport == call.transport
            && event.tuple.remote == call.remote
            // An unconnected datagram socket is bound to no address yet.
            && event.tuple.local.port() == call.local.port()
    };
    let sockets = || {
        seen.iter().filter_map(|event| match event {
            LiveEvent::Socket(event) if of_call(event) => Some(event),
            _ => None,
        })
    };
    let opened = sockets().any(|event| {
        matches!(event.news, SocketNews::Opened(Some(owner)) if owner.process.pid == std::process::id())
    });
    opened && (!call.answer || sockets().any(|event| event.news == SocketNews::Answered))
}

fn process_came_back(child: &std::io::Result<u32>, seen: &[LiveEvent]) -> bool {
    let Ok(pid) = *child else { return false };
    let started = seen.iter().any(|event| match event {
        LiveEvent::Process(ProcessEvent::Started(start)) => {
            start.process.pid == pid
                && start.parent.is_some_and(|parent| parent.pid == std::process::id())
                && !start.image.is_empty()
        }
        _ => false,
    });
    let ended = seen.iter().any(|event| {
        matches!(event, LiveEvent::Process(ProcessEvent::Exited { process, .. }) if process.pid == pid)
    });
    started && ended
}

fn is_own_call(event: &LiveEvent) -> bool {
    matches!(event, LiveEvent::Socket(event)
        if event.tuple.remote.ip().is_loopback() || event.tuple.remote.ip() == event.tuple.local.ip())
}

fn tcp(ip: IpAddr, what: &'static str) -> Expected {
    let none = SocketAddr::new(ip, 0);
    let mut call =
        Expected { what, transport: Transport::Tcp, local: none, remote: none, answer: true, result: Ok(()) };
    call.result = (|| {
        let listener = TcpListener::bind(none)?;
        call.remote = listener.local_addr()?;
        let mut stream = TcpStream::connect_timeout(&call.remote, WAIT)?;
        call.local = stream.local_addr()?;
        stream.write_all(b"sonde")?;
        let (mut accepted, _) = listener.accept()?;
        accepted.set_read_timeout(Some(WAIT))?;
        accepted.read_exact(&mut [0; 5])
    })();
    call
}

fn udp(ip: IpAddr, what: &'static str, connected: bool, answer: bool) -> Expected {
    let none = SocketAddr::new(ip, 0);
    let mut call =
        Expected { what, transport: Transport::Udp, local: none, remote: none, answer, result: Ok(()) };
    call.result = (|| {
        let server = UdpSocket::bind(none)?;
        let client = UdpSocket::bind(none)?;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(WAIT))?;
        }
        call.remote = server.local_addr()?;
        call.local = client.local_addr()?;
        if connected {
            client.connect(call.remote)?;
            client.send(b"sonde")?;
        } else {
            client.send_to(b"sonde", call.remote)?;
        }
        let mut buffer = [0; 16];
        let (_, from) = server.recv_from(&mut buffer)?;
        server.send_to(b"sonde", from)?;
        client.recv_from(&mut buffer).map(drop)
    })();
    call
}

fn short_process() -> std::io::Result<u32> {
    let mut error = std::io::Error::from(std::io::ErrorKind::NotFound);
    for program in SHORT_PROGRAMS {
        let child = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(mut child) => {
                child.wait()?;
                return Ok(child.id());
            }
            Err(new) => error = new,
        }
    }
    Err(error)
}
