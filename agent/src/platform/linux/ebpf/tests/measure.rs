//! Figures, not promises: `scripts/bench-internals`.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd as _, AsRawFd as _};

use sonde_common::process::ProcessKey;

use super::*;

const PROCESSES: usize = 1000;
const CONNECTIONS: u64 = 10_000;

/// Processes that call, send their own pid and end: what they say is compared with what the kernel programs told.
fn owners(kind: &str, ip: &str) {
    let Some(mut layer) = layer(1 << 23) else { return };
    let lab = Lab::new();
    let (listener, receiver) = (lab.listen(ip), lab.receive(ip));
    // Until the neighbour is found, which may take a second, the kernel drops datagrams.
    let listener_at = listener.local_addr().unwrap();
    drop(lab.connect(listener_at));
    drop(listener.accept().unwrap());
    let to = if kind == "tcp" { listener.local_addr() } else { receiver.local_addr() }.unwrap();
    let script = format!("echo $$ > /dev/{kind}/{}/{}", to.ip(), to.port());
    let server = std::thread::spawn({
        let tcp = kind == "tcp";
        move || {
            let mut said = Vec::new();
            while said.len() < PROCESSES {
                let mut text = String::new();
                let from = if tcp {
                    let (mut stream, from) = listener.accept().unwrap();
                    stream.read_to_string(&mut text).unwrap();
                    from
                } else {
                    let mut buffer = [0; 32];
                    match receiver.recv_from(&mut buffer) {
                        Ok((length, from)) => {
                            text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                            from
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                        // A datagram may be lost on its way.
                        Err(_) => break,
                    }
                };
                said.push((from.port(), text.trim().parse::<u32>().unwrap()));
            }
            said
        }
    });
    let mut events = Vec::new();
    drain_until(&mut layer, &mut events, |seen| closed(seen, listener_at).is_some());
    events.clear();
    let since = Instant::now();
    lab.inside('c', || {
        for _ in 0..PROCESSES / 4 {
            let mut children: Vec<Child> =
                (0..4).map(|_| Command::new("/bin/bash").args(["-c", &script]).spawn().unwrap()).collect();
            for child in &mut children {
                child.wait().unwrap();
            }
            layer.drain(Timestamp::ZERO, &mut events);
        }
    });
    let took = since.elapsed();
    let said = server.join().unwrap();
    layer.drain(Timestamp::ZERO, &mut events);
    let (mut right, mut wrong, mut none, mut named) = (0, 0, 0, 0);
    // Ports are used again, so each port's calls are compared in their order.
    let mut told: HashMap<u16, VecDeque<Option<ProcessKey>>> = HashMap::new();
    for event in sockets(&events, to) {
        if let SocketNews::Opened(owner) = event.news {
            told.entry(event.tuple.local.port()).or_default().push_back(owner.map(|owner| owner.process));
        }
    }
    for &(port, pid) in &said {
        match told.get_mut(&port).and_then(VecDeque::pop_front) {
            Some(Some(process)) if process.pid == pid => {
                right += 1;
                let start = started(&events, pid).unwrap();
                named += usize::from(
                    start.process == process
                        && start.image.ends_with(b"/bash")
                        && start.arguments.ends_with(format!("{script}\0").as_bytes()),
                );
            }
            Some(Some(_)) => wrong += 1,
            _ => none += 1,
        }
    }
    println!(
        "{kind} {ip}: {} calls of {PROCESSES} processes in {took:.1?}: owner right {right}, wrong {wrong}, none {none}; program right {named}; lost {}",
        said.len(),
        layer.lost()
    );
}

#[test]
#[ignore = "prints figures and checks nothing: scripts/bench-internals runs it"]
fn owners_of_a_thousand_short_processes() {
    for kind in ["tcp", "udp"] {
        for ip in [V4, V6] {
            owners(kind, ip);
        }
    }
}

/// Nanoseconds and runs of each program, as the kernel counts them.
fn run_times(layer: &EbpfLayer) -> Vec<(String, u64, u64)> {
    let one = |(name, program): (&str, &aya::programs::Program)| {
        let fd = program.fd().unwrap().as_fd().as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        (name.to_owned(), field("run_time_ns:"), field("run_cnt:"))
    };
    let mut all: Vec<_> = layer._programs.programs().map(one).collect();
    all.sort();
    all
}

#[test]
#[ignore = "prints figures and checks nothing: scripts/bench-internals runs it"]
fn cost_of_a_connection() {
    let Some(mut layer) = layer(1 << 23) else { return };
    let lab = Lab::new();
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    std::fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
    let before = run_times(&layer);
    let server = std::thread::spawn(move || {
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            stream.write_all(b"y").unwrap();
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let mut events = Vec::new();
    let (mut reading, mut told) = (Duration::ZERO, 0);
    let since = Instant::now();
    lab.inside('c', || {
        for at in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            drop(stream);
            if at % 500 == 499 {
                let since = Instant::now();
                layer.drain(Timestamp::ZERO, &mut events);
                reading += since.elapsed();
                told += sockets(&events, to).len();
                events.clear();
            }
        }
    });
    let took = since.elapsed();
    server.join().unwrap();
    let after = run_times(&layer);
    std::fs::write("/proc/sys/kernel/bpf_stats_enabled", "0").unwrap();
    println!(
        "{CONNECTIONS} connections in {took:.1?} ({told} records read in {reading:.1?}), lost {}",
        layer.lost()
    );
    for ((name, time, runs), (_, time_before, runs_before)) in after.into_iter().zip(before) {
        let (time, runs) = (time - time_before, runs - runs_before);
        if let Some(each) = time.checked_div(runs) {
            println!("{name:15} {each:6} ns a run, {runs} runs, {} ns a connection", time / CONNECTIONS);
        }
    }
}
