//! The portable way: interfaces and packets through pnet.
//!
//! Packets come by a system call each, are filtered in this process and timed when they are read, and what the kernel drops is not
//! told: worse than the ring in every way, and said so. The filter is the ring's own program, so both give the same packets.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pnet::datalink::{self, Channel, ChannelType, DataLinkReceiver, NetworkInterface};
use sonde_common::live::Unavailable;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use crate::live::layer::{LivePacket, PacketSource};
use crate::platform::neutral::Interface;

use super::bpf::{Instruction, meta};
use super::interpret::{Meta, run};
use super::ring::RingOptions;
use super::socket::unavailable;
use super::{filter, now, self_test};

/// Interfaces that are listened to at a time; each has a thread.
const MAX_INTERFACES: usize = 64;
/// Bytes of packets that wait to be drained; what comes then is lost and counted.
const MAX_QUEUED_BYTES: usize = 2 << 20;
/// How long a thread sleeps on its socket before it asks whether it shall end.
const WAKE: Duration = Duration::from_millis(250);
/// How often new interfaces are looked for.
const LIST_EVERY: i64 = 5 * NANOS_PER_SEC;
/// Longest packet that is read: what the interface segments by itself comes as one.
const READ_BYTES: usize = 65_536;
const WHAT: &str = "packets through pnet";
/// What is unavailable through pnet on every system: one thing.
const ALWAYS_UNAVAILABLE: usize = 1;

/// The interfaces of this network namespace, in the system's order.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let interface = |interface: NetworkInterface| Interface {
        up: interface.is_up(),
        loopback: interface.is_loopback(),
        addresses: interface.ips.iter().map(|net| (net.ip(), net.prefix())).collect(),
        index: interface.index,
        name: interface.name,
    };
    datalink::interfaces().into_iter().map(interface).collect()
}

/// Packets that wait, one behind the other.
#[derive(Debug, Default)]
struct Queue {
    packets: Vec<Queued>,
    bytes: Vec<u8>,
    lost: u64,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    time: Timestamp,
    interface: u32,
    kept: usize,
    length: u32,
}

impl Queue {
    fn push(&mut self, packet: &[u8], keep: usize, interface: u32) {
        let kept = packet.get(..keep).unwrap_or(packet);
        let taken = self.bytes.len() + self.packets.len() * size_of::<Queued>();
        if taken + kept.len() + size_of::<Queued>() > MAX_QUEUED_BYTES {
            self.lost += 1;
            return;
        }
        self.bytes.extend_from_slice(kept);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        self.packets.push(Queued { time: now(), interface, kept: kept.len(), length });
    }
}

#[derive(Debug)]
struct Listener {
    interface: u32,
    thread: JoinHandle<()>,
}

/// Packets through pnet: a thread for each interface, filtered in this process.
#[derive(Debug)]
pub struct PnetSource {
    listeners: Vec<Listener>,
    queue: Arc<Mutex<Queue>>,
    /// Emptied into this, so that the listeners do not wait for whoever takes the packets.
    drained: Queue,
    program: Arc<[Instruction]>,
    stop: Arc<AtomicBool>,
    listed: Timestamp,
    lost: u64,
    unavailable: Vec<Unavailable>,
}

impl PnetSource {
    /// Listens on all interfaces that are up, and proves by a datagram on the loopback interface that packets come out.
    ///
    /// # Errors
    /// The system's reason, and what helps.
    pub fn open() -> Result<Self, Unavailable> {
        let mut source = Self {
            listeners: Vec::new(),
            queue: Arc::default(),
            drained: Queue::default(),
            program: filter::capture(RingOptions::default().snap).into(),
            stop: Arc::default(),
            listed: now(),
            lost: 0,
            unavailable: vec![Unavailable {
                what: "packet loss counter".to_owned(),
                reason: "pnet reads each packet by a call, times it then, and does not tell what the kernel dropped".to_owned(),
                remedy: "--capture=ring".to_owned(),
            }],
        };
        source.listen().map_err(|error| unavailable(WHAT, "packet socket", &error))?;
        self_test::run(&mut source).map_err(|error| unavailable(WHAT, "self-test", &error))?;
        Ok(source)
    }

    /// Listens on interfaces that are up and not yet listened to; one that is not to be had is named among what is unavailable.
    ///
    /// # Errors
    /// If none is to be had.
    fn listen(&mut self) -> io::Result<()> {
        self.listeners.retain(|listener| !listener.thread.is_finished());
        self.unavailable.truncate(ALWAYS_UNAVAILABLE);
        for interface in datalink::interfaces().into_iter().filter(NetworkInterface::is_up) {
            if self.listeners.iter().any(|listener| listener.interface == interface.index) {
                continue;
            }
            let listener = if self.listeners.len() < MAX_INTERFACES {
                self.listen_on(&interface)
            } else {
                Err(io::Error::other(format!("more than {MAX_INTERFACES} interfaces are up")))
            };
            match listener {
                Ok(listener) => self.listeners.push(listener),
                Err(error) if self.listeners.is_empty() => return Err(error),
                Err(error) => {
                    let what = format!("packets of interface {}", interface.name);
                    self.unavailable.push(unavailable(&what, "packet socket", &error));
                    // The others would say the same.
                    break;
                }
            }
        }
        Ok(())
    }

    fn listen_on(&self, interface: &NetworkInterface) -> io::Result<Listener> {
        let config = datalink::Config {
            read_buffer_size: READ_BYTES,
            read_timeout: Some(WAKE),
            // From the network header on, whatever the link.
            channel_type: ChannelType::Layer3(u16::try_from(libc::ETH_P_ALL).unwrap_or_default()),
            promiscuous: false,
            ..Default::default()
        };
        let Channel::Ethernet(_, receiver) = datalink::channel(interface, config)? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let listening = Listening {
            receiver,
            interface: interface.index,
            loopback: interface.is_loopback(),
            program: Arc::clone(&self.program),
            queue: Arc::clone(&self.queue),
            stop: Arc::clone(&self.stop),
            pairs: Pairs::default(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("packets-{}", interface.index))
            .spawn(move || listening.run())?;
        Ok(Listener { interface: interface.index, thread })
    }
}

impl PacketSource for PnetSource {
    fn name(&self) -> &'static str {
        "pnet"
    }

    fn drain(&mut self, now: Timestamp, take: &mut dyn FnMut(LivePacket<'_>)) {
        if now.since(self.listed).abs() >= LIST_EVERY {
            self.listed = now;
            // What cannot be listened to now is named, and tried again next time.
            let _ = self.listen();
        }
        std::mem::swap(&mut self.drained, &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rest = self.drained.bytes.as_slice();
        for packet in self.drained.packets.drain(..) {
            let Some((bytes, behind)) = rest.split_at_checked(packet.kept) else { break };
            rest = behind;
            let Queued { time, interface, length, .. } = packet;
            take(LivePacket { time, interface, bytes, length });
        }
        self.drained.bytes.clear();
        self.lost += std::mem::take(&mut self.drained.lost);
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

impl Drop for PnetSource {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for listener in self.listeners.drain(..) {
            // A listener that panicked has said so; there is nothing left to do about it.
            let _ = listener.thread.join();
        }
    }
}

/// What the thread of one interface works with.
struct Listening {
    receiver: Box<dyn DataLinkReceiver>,
    interface: u32,
    loopback: bool,
    program: Arc<[Instruction]>,
    queue: Arc<Mutex<Queue>>,
    stop: Arc<AtomicBool>,
    pairs: Pairs,
}

impl Listening {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let packet = match self.receiver.next() {
                Ok(packet) => packet,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) =>
                {
                    continue;
                }
                // The interface is gone or down; it is listened to anew when it is back.
                Err(_) => return,
            };
            let keep = run(&self.program, packet, &about(packet, self.loopback));
            if keep == 0 || (self.loopback && self.pairs.is_second(packet)) {
                continue;
            }
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(packet, keep, self.interface);
        }
    }
}

/// What the filter asks beside the bytes, as far as pnet tells it: not which way a packet goes. On the loopback interface the
/// filter takes what leaves, so both copies are called that.
fn about(packet: &[u8], loopback: bool) -> Meta {
    let protocol = match packet.first().map(|byte| byte >> 4) {
        Some(4) => 0x0800,
        Some(6) => 0x86dd,
        _ => 0,
    };
    Meta {
        protocol,
        direction: if loopback { meta::FROM_US } else { meta::TO_US },
        interface_type: if loopback { meta::LOOPBACK } else { 1 },
    }
}

/// Tells the second copy of each packet on the loopback interface from the first.
#[derive(Debug, Default)]
struct Pairs {
    hasher: RandomState,
    /// Hashes of first copies, the newest over the oldest.
    first: [Option<u64>; 16],
    next: usize,
}

impl Pairs {
    fn is_second(&mut self, packet: &[u8]) -> bool {
        let hash = self.hasher.hash_one(packet);
        if let Some(first) = self.first.iter_mut().find(|first| **first == Some(hash)) {
            *first = None;
            return true;
        }
        if let Some(oldest) = self.first.get_mut(self.next) {
            *oldest = Some(hash);
        }
        self.next = (self.next + 1) % self.first.len();
        false
    }
}

#[cfg(test)]
mod tests;
