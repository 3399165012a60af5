//! Proof that the netlink layer works here: calls of our own on the loopback interface must come back with our own pid.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sonde_common::live::{LiveEvent, SocketNews, Unavailable};

use super::clock;
use super::layer::{NetlinkLayer, NetlinkOptions};
use super::unavailable;
use crate::live::layer::Layer as _;

/// How long our own call may take to come back.
const WAIT: Duration = Duration::from_secs(2);
/// How often the layer is drained meanwhile.
const STEP: Duration = Duration::from_millis(5);
/// Tries to find a port that is free in both families.
const PORTS: usize = 8;

/// Opens the layer and proves it. `loopback`: calls to the listeners' port go on being heard (for tests).
pub(super) fn open(
    options: &NetlinkOptions,
    loopback: bool,
) -> Result<(NetlinkLayer, Vec<TcpListener>), Unavailable> {
    let what = "netlink layer";
    let (listeners, without_v6) =
        listeners().map_err(|error| unavailable(what, &error, "bring up the loopback interface"))?;
    let address = |listener: &TcpListener| listener.local_addr().ok();
    let Some(port) = listeners.first().and_then(address).map(|address| address.port()) else {
        let error = std::io::Error::other("a listener without address");
        return Err(unavailable(what, &error, "bring up the loopback interface"));
    };
    let mut layer = NetlinkLayer::start(options, Some(port), loopback)?;
    for remote in listeners.iter().filter_map(address) {
        let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
        if let Err(error) = prove(&mut layer, remote) {
            let missing = unavailable(
                &format!("owners of {family} connections by netlink"),
                &error,
                "use another layer",
            );
            if remote.is_ipv4() {
                return Err(missing);
            }
            layer.add_unavailable(missing);
        }
    }
    if let Some(error) = without_v6 {
        layer.add_unavailable(unavailable(
            "self-test of IPv6",
            &error,
            "none needed where IPv6 is switched off",
        ));
    }
    if !loopback {
        layer.end_self_test();
    }
    Ok((layer, listeners))
}

/// A port that is listened on in both families, or in IPv4 alone with the reason.
fn listeners() -> std::io::Result<(Vec<TcpListener>, Option<std::io::Error>)> {
    let mut last = None;
    for _ in 0..PORTS {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        match TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr()?.port())) {
            Ok(v6) => return Ok((vec![v4, v6], None)),
            Err(error) => last = Some((v4, error)),
        }
    }
    let (v4, error) = last.ok_or_else(|| std::io::Error::other("no port tried"))?;
    Ok((vec![v4], Some(error)))
}

fn prove(layer: &mut NetlinkLayer, remote: SocketAddr) -> std::io::Result<()> {
    let client = TcpStream::connect(remote)?;
    let local = client.local_addr()?;
    let begun = Instant::now();
    // What else comes now is before the start: connections that are open are the seed's, and a program that begins to run
    // within these milliseconds is read again when it calls.
    let mut told = Vec::new();
    while begun.elapsed() < WAIT {
        layer.drain(clock::realtime(), &mut told);
        for event in told.drain(..) {
            if let LiveEvent::Socket(event) = event
                && let SocketNews::Opened(owner) = event.news
                && (event.tuple.local, event.tuple.remote) == (local, remote)
            {
                return match owner {
                    Some(owner) if owner.process.pid == std::process::id() => Ok(()),
                    Some(_) => Err(std::io::Error::other("a call of our own was told as another's")),
                    None => Err(std::io::Error::other("a call of our own was told without owner")),
                };
            }
        }
        std::thread::sleep(STEP);
    }
    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "a call of our own was not heard"))
}
