//! What is told of connections, from their call to their end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sonde_common::event::Totals;
use sonde_common::live::{LiveEvent, SocketNews};
use sonde_common::net::FiveTuple;
use sonde_common::process::Quality;

use super::super::layer::NetlinkOptions;
use super::super::poll::PollLayer;
use super::super::{ExchangeMeter, clock, seed};
use super::{Bench, Callers, ONE, Running, boot, found_owner, lock, serve, shell, skip, sockets};
use crate::live::layer::Layer as _;

#[test]
fn a_connection_is_told_from_its_call_to_its_end_with_owner_and_bytes() {
    let Some(mut bench) = Bench::open() else { return };
    let stream = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    let tuple = FiveTuple {
        transport: sonde_common::net::Transport::Tcp,
        local: stream.local_addr().unwrap(),
        remote: stream.peer_addr().unwrap(),
    };
    (&stream).write_all(&7u32.to_le_bytes()).unwrap();
    (&stream).read_exact(&mut [0]).unwrap();
    // It stays until it was looked for: how fast that is is measured elsewhere.
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        sockets(events).any(|event| event.tuple == tuple && matches!(event.news, SocketNews::Opened(_)))
    }));
    drop(stream);
    let mut end: Option<Totals> = None;
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        end = sockets(events).find_map(|event| match event.news {
            SocketNews::Closed(totals) if event.tuple == tuple => Some(totals),
            _ => None,
        });
        end.is_some()
    }));
    let all: Vec<_> = sockets(&bench.events).filter(|event| event.tuple == tuple).collect();
    let SocketNews::Opened(Some(owner)) = all[0].news else { panic!("{all:?}") };
    assert_eq!((owner.process.pid, owner.uid), (std::process::id(), 0));
    assert_eq!(owner.attribution.quality, Quality::Exact);
    assert_ne!(all[0].socket.0, 0);
    assert!(all.iter().all(|event| event.socket == all[0].socket));
    let end = end.unwrap();
    assert_eq!(end.bytes_out, Some(4));
    // The server's FIN counts as one where it came while the socket still stood.
    assert!(matches!(end.bytes_in, Some(1 | 2)), "{end:?}");
    assert!(end.end >= all[0].time);
}

#[test]
fn a_connection_that_was_reset_from_here_is_told_as_over() {
    let Some(mut bench) = Bench::open() else { return };
    let stream = TcpStream::connect(("::1", bench.port)).unwrap();
    let local = stream.local_addr().unwrap();
    assert!(
        bench.drain_until(Duration::from_secs(2), |events| sockets(events).any(|e| e.tuple.local == local))
    );
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    let mut end: Option<Totals> = None;
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        end = sockets(events).find_map(|event| match event.news {
            SocketNews::Closed(totals) if event.tuple.local == local => Some(totals),
            _ => None,
        });
        end.is_some()
    }));
    assert_eq!(end.unwrap().outcome, sonde_common::event::Outcome::Reset);
}

#[test]
fn a_socket_that_children_inherited_is_its_openers() {
    let Some(mut bench) = Bench::open() else { return };
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; sleep 9; true", bench.port);
    let running = shell(&script);
    let shell = running.0[0].id();
    let mut owner = None;
    bench.drain_until(Duration::from_secs(3), |events| {
        owner = sockets(events).find_map(|event| match event.news {
            SocketNews::Opened(owner) => owner,
            _ => None,
        });
        owner.is_some()
    });
    assert_eq!(owner.unwrap().process.pid, shell);
    // By now the shell's child holds it, too: the seed names the one that handed it down.
    std::thread::sleep(Duration::from_millis(100));
    let seeded = seed::take(boot(), true);
    let owners: Vec<_> = sockets(&seeded)
        .filter_map(|event| match event.news {
            SocketNews::Found(Some(owner)) if event.tuple.remote.port() == bench.port => {
                Some(owner.process.pid)
            }
            _ => None,
        })
        .collect();
    assert_eq!(owners, [shell]);
    assert!(!owners.contains(&std::process::id()), "the server's side came in and is not told");
}

#[test]
fn a_socket_that_was_handed_over_belongs_to_who_holds_it() {
    let _one = lock(&ONE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = stream.local_addr().unwrap();
    let holder =
        Command::new("/bin/sleep").arg("5").stdin(std::os::fd::OwnedFd::from(stream)).spawn().unwrap();
    let running = Running(vec![holder]);
    let owner = found_owner(&seed::take(boot(), true), local).unwrap();
    assert_eq!(owner.process.pid, running.0[0].id());
    assert_eq!(owner.attribution.method, sonde_common::process::Method::Seed);
    assert!(
        super::super::seed(boot())
            .iter()
            .all(|event| matches!(event, LiveEvent::Socket(e) if e.tuple.local != local))
    );
}

#[test]
fn a_connected_udp_socket_is_told_with_its_owner_and_its_end() {
    let Some(mut bench) = Bench::open() else { return };
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    let local = client.local_addr().unwrap();
    assert!(bench.drain_until(Duration::from_secs(2), |events| found_owner(events, local).is_some()));
    assert_eq!(found_owner(&bench.events, local).unwrap().process.pid, std::process::id());
    drop(client);
    assert!(bench.drain_until(Duration::from_secs(2), |events| {
        sockets(events).any(|e| e.tuple.local == local && matches!(e.news, SocketNews::Closed(_)))
    }));
    let news = sockets(&bench.events).filter(|e| e.tuple.local == local).count();
    assert_eq!(news, 2, "opened once and closed once");
}

#[test]
fn check_ins_over_a_kept_connection_are_told_live() {
    let Some(mut bench) = Bench::open() else { return };
    let mut client = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    let local = client.local_addr().unwrap();
    client.write_all(&[0; 4]).unwrap();
    let mut sent = Vec::new();
    for _ in 0..2 {
        bench.drain_until(Duration::from_millis(2_600), |_| false);
        sent.push(clock::realtime());
        client.write_all(&[9; 120]).unwrap();
    }
    bench.drain_until(Duration::from_millis(2_600), |_| false);
    let told: Vec<_> = sockets(&bench.events)
        .filter_map(|event| match event.news {
            SocketNews::Exchange { start, bytes_out, .. } if event.tuple.local == local => {
                Some((start, bytes_out))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for ((start, bytes), sent) in told.iter().zip(&sent) {
        assert_eq!(*bytes, 120);
        assert!(start.since(*sent).abs() < 30_000_000, "{start} {sent}");
    }
}

/// Two namespaces of our own with a wire between them; gone when dropped.
struct Wire([String; 2]);

impl Wire {
    fn new() -> Result<Self, String> {
        let id = std::process::id() % 10_000;
        let wire = Self([format!("sonde-nl-{id}-a"), format!("sonde-nl-{id}-b")]);
        let [a, b] = &wire.0;
        for step in [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("-n {a} link add nl{id}a type veth peer name nl{id}b netns {b}"),
            format!("-n {a} addr add 192.0.2.1/30 dev nl{id}a"),
            format!("-n {b} addr add 192.0.2.2/30 dev nl{id}b"),
            format!("-n {a} link set nl{id}a up"),
            format!("-n {b} link set nl{id}b up"),
        ] {
            let output = Command::new("ip").args(step.split(' ')).output().map_err(|e| e.to_string())?;
            if !output.status.success() {
                return Err(format!("ip {step}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        Ok(wire)
    }

    fn run(&self, side: usize, task: (&str, &str)) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.0[side]])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("platform::linux::netlink::tests::{}", task.0), "--test-threads=1"])
            .env(if task.0 == "child" { "SONDE_TEST_CALL" } else { "SONDE_TEST_SERVE" }, task.1)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// The server's side in a namespace: a process of its own.
#[test]
fn child_server() {
    let Ok(address) = std::env::var("SONDE_TEST_SERVE") else { return };
    let listener = TcpListener::bind(address).unwrap();
    serve(&listener, &Callers::default());
}

#[test]
fn calls_from_another_network_namespace_are_told_with_their_owner() {
    let Some(mut bench) = Bench::open() else { return };
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(reason) => return skip("network namespaces", &reason),
    };
    let _server = Running(vec![wire.run(1, ("events::child_server", "192.0.2.2:4443"))]);
    std::thread::sleep(Duration::from_millis(300));
    let client = Running(vec![wire.run(0, ("child", "192.0.2.2:4443 1500"))]);
    let mut event = None;
    bench.drain_until(Duration::from_secs(3), |events| {
        event = sockets(events).find(|e| e.tuple.remote == "192.0.2.2:4443".parse().unwrap()).copied();
        event.is_some()
    });
    let event = event.expect("the call is told");
    let SocketNews::Opened(Some(owner)) = event.news else { panic!("{event:?}") };
    assert_eq!(owner.process.pid, client.0[0].id(), "ip netns exec becomes the program that it runs");
    assert_eq!(event.tuple.local.ip(), std::net::IpAddr::from([192, 0, 2, 1]));
    assert!(bench.drain_until(Duration::from_secs(4), |events| {
        sockets(events).any(|e| e.socket == event.socket && matches!(e.news, SocketNews::Closed(_)))
    }));
    let end = sockets(&bench.events).find_map(|e| match e.news {
        SocketNews::Closed(totals) if e.socket == event.socket => Some(totals),
        _ => None,
    });
    assert_eq!(end.unwrap().bytes_out, Some(4));
}

#[test]
fn polling_tells_what_lives_long_enough_by_netlink_and_by_text() {
    use super::super::snapshot::Snapshots;
    let _one = lock(&ONE);
    let options = NetlinkOptions { boot: boot(), queue: 4096 };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for text in [false, true] {
        let snapshots =
            |proc| if text { Snapshots::as_text(proc, true) } else { Snapshots::open(proc, true) };
        let mut layer = PollLayer::start(&options, snapshots, ExchangeMeter::new()).unwrap();
        assert!(!layer.unavailable().is_empty(), "it says that it is degraded");
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let mut events = Vec::new();
        let wait = |layer: &mut PollLayer, events: &mut Vec<LiveEvent>| {
            for _ in 0..25 {
                std::thread::sleep(Duration::from_millis(100));
                layer.drain(clock::realtime(), events);
            }
        };
        wait(&mut layer, &mut events);
        drop((stream, server));
        wait(&mut layer, &mut events);
        let news: Vec<_> = sockets(&events).filter(|e| e.tuple.local == local).map(|e| e.news).collect();
        let [SocketNews::Opened(Some(owner)), SocketNews::Closed(_)] = news[..] else {
            panic!("{text} {news:?}")
        };
        assert_eq!(owner.process.pid, std::process::id());
        assert!(sockets(&events).all(|e| e.tuple.local != remote), "the server's side came in");
        assert_eq!(layer.lost(), 0);
    }
}
