//! Records for tests, built from the manifests: field by field, in the order and width that those give. Not recorded.

use std::net::{IpAddr, SocketAddr};

use super::{CLASSIC_PROCESS, DNS_CLIENT, KERNEL_NETWORK, KERNEL_PROCESS, Provider, Record};
use crate::time::Timestamp;

/// The bytes of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn pointer(self, wide: bool, value: u32) -> Self {
        if wide { self.u64(value.into()) } else { self.u32(value) }
    }

    pub(crate) fn utf16(mut self, text: &str) -> Self {
        self.0.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        self
    }
}

/// An event before it is a record.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) provider: Provider,
    pub(crate) id: u16,
    pub(crate) version: u8,
    pub(crate) opcode: u8,
    pub(crate) process: u32,
    pub(crate) time: Timestamp,
    pub(crate) wide: bool,
    pub(crate) body: Body,
}

impl Event {
    pub(crate) fn new(provider: Provider, id: u16, version: u8, body: Body) -> Self {
        Self { provider, id, version, opcode: 0, process: 4, time: at(0), wide: true, body }
    }

    pub(crate) fn at(self, ms: i64) -> Self {
        Self { time: at(ms), ..self }
    }

    pub(crate) fn by(self, process: u32) -> Self {
        Self { process, ..self }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        let &Self { provider, id, version, opcode, process, time, wide, ref body } = self;
        Record { provider, id, version, opcode, process, time, wide, data: &body.0 }
    }
}

/// A moment of the tests.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + ms * 1_000_000)
}

/// The same as Windows counts.
pub(crate) fn filetime(ms: i64) -> u64 {
    u64::try_from(at(ms).nanos() / 100 + 116_444_736_000_000_000).unwrap()
}

fn octets(body: Body, ip: IpAddr) -> Body {
    match ip {
        IpAddr::V4(v4) => body.bytes(&v4.octets()),
        IpAddr::V6(v6) => body.bytes(&v6.octets()),
    }
}

/// An event of the network: its number is that for IPv4, 16 more stand for IPv6. `tail`: what follows, by the event's template.
pub(crate) fn network(id: u16, pid: u32, size: u32, source: &str, destination: &str, tail: usize) -> Event {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let id = if source.is_ipv6() { id + 16 } else { id };
    let body = octets(octets(Body::default().u32(pid).u32(size), destination.ip()), source.ip());
    let body = body.bytes(&destination.port().to_be_bytes()).bytes(&source.port().to_be_bytes());
    Event::new(KERNEL_NETWORK, id, 0, body.bytes(&vec![0xee; tail]))
}

/// Bytes of a mandatory label.
pub(crate) fn label(level: u32) -> Vec<u8> {
    let mut sid = vec![1, 1, 0, 0, 0, 0, 0, 16];
    sid.extend(level.to_le_bytes());
    sid
}

/// A process that begins, in each version of the event.
pub(crate) fn began(version: u8, pid: u32, parent: u32, created: i64, image: &str) -> Event {
    let mut body = Body::default().u32(pid);
    if version >= 3 {
        body = body.u64(77);
    }
    body = body.u64(filetime(created)).u32(parent);
    if version >= 3 {
        body = body.u64(76);
    }
    body = body.u32(1);
    if version >= 1 {
        body = body.u32(0);
    }
    if version >= 3 {
        body = body.u32(1).u32(0).bytes(&label(0x2000));
    }
    body = body.utf16(image);
    if version >= 2 {
        body = body.u32(0xabcd).u32(0x5f2d_8207).utf16("Vendor.App_1.0_x64__8wekyb3d8bbwe").utf16("App");
    }
    Event::new(KERNEL_PROCESS, 1, version, body).at(created)
}

/// A process that ends, in each version.
pub(crate) fn ended(version: u8, pid: u32, created: i64, exited: i64) -> Event {
    let mut body = Body::default().u32(pid);
    if version >= 2 {
        body = body.u64(77);
    }
    body = body.u64(filetime(created)).u64(filetime(exited)).u32(0).u32(1).u32(50).u64(1).u64(2);
    if version >= 1 {
        body = body.u64(9).u32(1).u32(2).u32(3).u32(4).u32(5);
    }
    Event::new(KERNEL_PROCESS, 2, version, body.bytes(b"x.exe\0")).at(exited)
}

/// A process that begins, as the kernel's own trace tells.
pub(crate) fn launched(version: u8, wide: bool, pid: u32, parent: u32, sid: &[u8], line: &str) -> Event {
    let mut body =
        Body::default().pointer(wide, 0x1000).u32(pid).u32(parent).u32(1).u32(0x103).pointer(wide, 7);
    if version >= 4 {
        body = body.u32(0);
    }
    body = if sid.is_empty() { body.u32(0) } else { body.pointer(wide, 0xdead).pointer(wide, 0).bytes(sid) };
    body = body.bytes(b"x.exe\0").utf16(line);
    if version >= 4 {
        body = body.utf16("").utf16("");
    }
    Event { opcode: 1, wide, ..Event::new(CLASSIC_PROCESS, 0, version, body) }
}

/// A question that was completed (3008), answered from the cache (3018) or by a server (3020), or began (3006).
pub(crate) fn query(id: u16, name: &str, query_type: u32, status: u32, results: &str) -> Event {
    let body = Body::default().utf16(name).u32(query_type).u64(0x4000_0000);
    let body = match id {
        3006 => body.utf16("192.0.2.53").u32(1).u32(0).u32(7).u32(0),
        _ => body.u32(status).utf16(results),
    };
    Event::new(DNS_CLIENT, id, 0, body)
}
