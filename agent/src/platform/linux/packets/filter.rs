//! Which packets the sensor is shown: the filters that the kernel runs on every packet of the host.
//!
//! A filter sees the packet from its network header on, whatever the link, and keeps no state: each packet is judged by
//! itself. Shown is what gives connections their begin, end and names (see [`capture`]); bulk data never is.

use super::bpf::code::{
    A_TO_X, ADD, ADD_X, AND, IF_ANY_BIT, IF_AT_LEAST, IF_AT_LEAST_X, IF_EQUAL, IF_GREATER, IF_GREATER_X,
    LOAD_BYTE, LOAD_BYTE_X, LOAD_HALF, LOAD_HALF_X, LOAD_LENGTH, LOAD_MEMORY, LOAD_WORD, LOAD_WORD_X, RETURN,
    SHIFT_LEFT, SHIFT_RIGHT, STORE, STORE_X, SUBTRACT_X, X_CONSTANT, X_IPV4_HEADER, X_MEMORY, X_TO_A,
};
use super::bpf::{Assembler, Instruction, Label, meta};

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
const IPV6_HEADER_BYTES: u32 = 40;
const FRAGMENT: u32 = 44;
const AUTHENTICATION: u32 = 51;
/// Extension headers whose length is counted in eight bytes without the first eight: hop-by-hop, routing, destination options
/// (RFC 8200), mobility, HIP, shim6.
const OPTIONS: [u32; 6] = [0, 43, 60, 135, 139, 140];
/// Extension headers in a row that are walked over; a packet with more is not shown. Each costs the program 40 instructions.
const MAX_EXTENSION_HEADERS: usize = 4;

const FIN: u32 = 1;
const SYN: u32 = 2;
const RST: u32 = 4;
const PSH: u32 = 8;
const ACK: u32 = 16;

const DNS_PORT: u32 = 53;
/// Where the rest of a ClientHello that was split is looked for (see [`capture`]): ports that IANA or common servers and
/// content networks have for TLS.
pub(super) const TLS_PORTS: [u16; 17] =
    [443, 465, 636, 853, 993, 995, 2053, 2083, 2087, 2096, 4443, 5671, 6443, 8443, 8883, 9443, 10443];
/// Longest payload that may be such a rest: what a segment carries over Ethernet.
pub(super) const MAX_REST_BYTES: u32 = 1460;
/// Record type handshake, major version 3.
const TLS_HANDSHAKE: u32 = 0x1603;
/// First four bytes of what SSH says first (RFC 4253 section 4.2).
const SSH: [u8; 4] = *b"SSH-";
/// First four bytes of the requests that `decode::http` knows, all between `C` and `V`.
pub(super) const METHODS: [&[u8; 4]; 23] = [
    b"GET ", b"POST", b"CONN", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"TRAC", b"PROP", b"MKCO",
    b"COPY", b"MOVE", b"LOCK", b"UNLO", b"SEAR", b"REPO", b"CHEC", b"MERG", b"MKAC", b"VERS", b"RPC_",
    b"RDG_",
];

// Words of scratch memory.
/// Where the packet ends, from its network header.
const END: u32 = 0;
/// Where the transport header begins.
const TRANSPORT: u32 = 1;
/// Where TCP's payload begins.
const PAYLOAD: u32 = 2;
/// Its length.
const LENGTH: u32 = 3;
/// TCP's flags; QUIC's first byte.
const FLAGS: u32 = 4;
/// Next header of an IPv6 extension header.
const NEXT: u32 = 5;

/// The filter of the sensor's packet sources: `snap` bytes are kept of
/// - TCP with SYN, FIN or RST;
/// - TCP whose payload begins as a TLS ClientHello, an HTTP request or an SSH identification does, to any port;
/// - TCP with payload and UDP from or to port 53;
/// - UDP that is a QUIC Initial of a version that can be read;
/// - ICMP and ICMPv6 echo, and destination unreachable.
///
/// Of the loopback interface only DNS is shown, in the copy that was sent: local resolvers answer there, and nothing else on
/// it is a call. Later fragments are not shown (they have no ports), nor packets for other hosts that a bridge makes the
/// interface take.
///
/// A hello with post-quantum key shares is longer than a segment. Where the interface segments by itself (TSO) it is mostly
/// shown whole, but not always. Else its rest comes in a second packet, which looks like any other data: shown is what goes to
/// [`TLS_PORTS`] with PSH, at most one segment long, that does not begin as a TLS record does. An upload has such a packet
/// about once a write, and requests of other protocols are nothing else: so the rule is not for all ports. Elsewhere the first
/// segment has to do.
pub(crate) fn capture(snap: u32) -> Vec<Instruction> {
    let mut program = Assembler::default();
    let p = &mut program;
    let [drop, pass] = [p.label(), p.label()];

    let ours = p.label();
    p.then(LOAD_WORD, meta::DIRECTION);
    p.when(IF_EQUAL, meta::FROM_US, ours);
    p.unless(IF_EQUAL, meta::TO_US, drop);
    // What arrives on the loopback interface was shown when it left.
    p.then(LOAD_WORD, meta::INTERFACE_TYPE);
    p.when(IF_EQUAL, meta::LOOPBACK, drop);
    p.place(ours);

    let [tcp, udp, icmp, icmpv6] = [p.label(), p.label(), p.label(), p.label()];
    network(p, drop);
    p.when(IF_EQUAL, TCP, tcp);
    p.when(IF_EQUAL, UDP, udp);
    p.when(IF_EQUAL, ICMP, icmp);
    p.when(IF_EQUAL, ICMPV6, icmpv6);
    p.goto(drop);

    p.place(tcp);
    tcp_of_interest(p, pass, drop);
    p.place(udp);
    udp_of_interest(p, pass, drop);

    p.place(icmp);
    not_loopback(p, drop);
    p.then(LOAD_BYTE_X, 0);
    p.when(IF_EQUAL, 8, pass); // echo request
    p.when(IF_EQUAL, 0, pass); // echo reply
    p.unless(IF_EQUAL, 3, drop); // unreachable, but not "fragmentation needed"
    p.then(LOAD_BYTE_X, 1);
    p.when(IF_EQUAL, 4, drop);
    p.goto(pass);

    p.place(icmpv6);
    not_loopback(p, drop);
    p.then(LOAD_BYTE_X, 0);
    p.when(IF_EQUAL, 128, pass);
    p.when(IF_EQUAL, 129, pass);
    p.when(IF_EQUAL, 1, pass);
    // … and falls through.
    p.place(drop);
    p.then(RETURN, 0);
    p.place(pass);
    p.then(RETURN, snap);
    program.finish()
}

/// The filter of what must be looked up while the socket lives: SYN without ACK that leaves the host. On the loopback
/// interface only to `loopback_port`, by which a self-test is seen.
pub(crate) fn outgoing_syn(loopback_port: Option<u16>, snap: u32) -> Vec<Instruction> {
    let mut program = Assembler::default();
    let p = &mut program;
    let [drop, pass] = [p.label(), p.label()];
    p.then(LOAD_WORD, meta::DIRECTION);
    p.unless(IF_EQUAL, meta::FROM_US, drop);
    network(p, drop);
    p.unless(IF_EQUAL, TCP, drop);
    p.then(LOAD_BYTE_X, 13);
    p.then(AND, SYN | ACK);
    p.unless(IF_EQUAL, SYN, drop);
    p.then(LOAD_WORD, meta::INTERFACE_TYPE);
    p.unless(IF_EQUAL, meta::LOOPBACK, pass);
    if let Some(port) = loopback_port {
        p.then(LOAD_HALF_X, 2);
        p.when(IF_EQUAL, u32::from(port), pass);
    }
    p.place(drop);
    p.then(RETURN, 0);
    p.place(pass);
    p.then(RETURN, snap);
    program.finish()
}

fn not_loopback(p: &mut Assembler, drop: Label) {
    p.then(LOAD_WORD, meta::INTERFACE_TYPE);
    p.when(IF_EQUAL, meta::LOOPBACK, drop);
}

/// Walks over the network header. Behind it A is the transport protocol, X where it begins, and [`END`] where the packet ends.
fn network(p: &mut Assembler, drop: Label) {
    let [v4, v4_end, v4_has_end, v6_end, v6_has_end, transport] =
        [p.label(), p.label(), p.label(), p.label(), p.label(), p.label()];
    // The protocol and not the version in the packet: behind an inner VLAN tag there is no IP header here. The interface of
    // that VLAN shows the packet without the tag.
    p.then(LOAD_WORD, meta::PROTOCOL);
    p.when(IF_EQUAL, IPV4, v4);
    p.unless(IF_EQUAL, IPV6, drop);

    // Length 0: a packet that the interface will segment has none yet.
    p.then(LOAD_HALF, 4);
    p.when(IF_EQUAL, 0, v6_end);
    p.then(ADD, IPV6_HEADER_BYTES);
    p.goto(v6_has_end);
    p.place(v6_end);
    p.then(LOAD_LENGTH, 0);
    p.place(v6_has_end);
    p.then(STORE, END);
    p.then(X_CONSTANT, IPV6_HEADER_BYTES);
    p.then(LOAD_BYTE, 6);
    for _ in 0..MAX_EXTENSION_HEADERS {
        extension_header(p, transport, drop);
    }
    p.goto(transport);

    p.place(v4);
    p.then(LOAD_HALF, 6);
    p.when(IF_ANY_BIT, 0x1fff, drop); // a later fragment
    p.then(LOAD_HALF, 2);
    p.when(IF_EQUAL, 0, v4_end);
    p.goto(v4_has_end);
    p.place(v4_end);
    p.then(LOAD_LENGTH, 0);
    p.place(v4_has_end);
    p.then(STORE, END);
    p.then(X_IPV4_HEADER, 0);
    p.then(LOAD_BYTE, 9);
    p.place(transport);
}

/// Walks over one extension header if A says that there is one; else A is the transport protocol.
fn extension_header(p: &mut Assembler, transport: Label, drop: Label) {
    let [options, fragment, authentication, next] = [p.label(), p.label(), p.label(), p.label()];
    for protocol in [TCP, UDP, ICMPV6] {
        p.when(IF_EQUAL, protocol, transport);
    }
    for header in OPTIONS {
        p.when(IF_EQUAL, header, options);
    }
    p.when(IF_EQUAL, FRAGMENT, fragment);
    p.when(IF_EQUAL, AUTHENTICATION, authentication);
    p.goto(transport);

    p.place(fragment);
    p.then(LOAD_HALF_X, 2);
    p.when(IF_ANY_BIT, 0xfff8, drop); // a later one
    p.then(LOAD_BYTE_X, 0);
    p.then(STORE, NEXT);
    p.then(X_TO_A, 0);
    p.then(ADD, 8);
    p.goto(next);

    p.place(authentication);
    p.then(LOAD_BYTE_X, 0);
    p.then(STORE, NEXT);
    p.then(LOAD_BYTE_X, 1);
    p.then(ADD, 2);
    p.then(SHIFT_LEFT, 2);
    p.then(ADD_X, 0);
    p.goto(next);

    p.place(options);
    p.then(LOAD_BYTE_X, 0);
    p.then(STORE, NEXT);
    p.then(LOAD_BYTE_X, 1);
    p.then(ADD, 1);
    p.then(SHIFT_LEFT, 3);
    p.then(ADD_X, 0);

    p.place(next);
    p.then(A_TO_X, 0);
    p.then(LOAD_MEMORY, NEXT);
}

/// X: where the TCP header begins.
fn tcp_of_interest(p: &mut Assembler, pass: Label, drop: Label) {
    let [dns, has_payload, content, word, hello, rest] =
        [p.label(), p.label(), p.label(), p.label(), p.label(), p.label()];
    p.then(STORE_X, TRANSPORT);
    p.then(LOAD_BYTE_X, 13);
    p.then(STORE, FLAGS);
    p.then(LOAD_BYTE_X, 12);
    p.then(SHIFT_RIGHT, 4);
    p.then(SHIFT_LEFT, 2);
    p.then(ADD_X, 0);
    p.then(STORE, PAYLOAD);

    for port in [0, 2] {
        p.then(LOAD_HALF_X, port);
        p.when(IF_EQUAL, DNS_PORT, dns);
    }
    not_loopback(p, drop);
    p.then(LOAD_MEMORY, FLAGS);
    p.when(IF_ANY_BIT, FIN | SYN | RST, pass);
    p.goto(content);

    p.place(dns);
    p.then(LOAD_WORD, meta::INTERFACE_TYPE);
    p.when(IF_EQUAL, meta::LOOPBACK, has_payload);
    p.then(LOAD_MEMORY, FLAGS);
    p.when(IF_ANY_BIT, FIN | SYN | RST, pass);
    p.place(has_payload);
    p.then(X_MEMORY, PAYLOAD);
    p.then(LOAD_MEMORY, END);
    p.when(IF_GREATER_X, 0, pass);
    p.goto(drop);

    p.place(content);
    p.then(X_MEMORY, PAYLOAD);
    p.then(LOAD_MEMORY, END);
    p.unless(IF_GREATER_X, 0, drop);
    p.then(SUBTRACT_X, 0);
    p.then(STORE, LENGTH);
    p.unless(IF_AT_LEAST, 4, rest);
    p.then(LOAD_WORD_X, 0);
    // Most of what passes is TLS: it begins below the letters.
    p.when(IF_AT_LEAST, u32::from_be_bytes([b'C', 0, 0, 0]), word);
    p.then(SHIFT_RIGHT, 16);
    p.when(IF_EQUAL, TLS_HANDSHAKE, hello);
    p.then(AND, 0xfcff); // record types 20 to 23
    p.when(IF_EQUAL, 0x1403, drop);
    p.goto(rest);

    p.place(word);
    p.when(IF_AT_LEAST, u32::from_be_bytes([b'W', 0, 0, 0]), rest);
    p.when(IF_EQUAL, u32::from_be_bytes(SSH), pass);
    for method in METHODS {
        p.when(IF_EQUAL, u32::from_be_bytes(*method), pass);
    }
    p.goto(rest);

    p.place(hello);
    p.then(LOAD_MEMORY, LENGTH);
    p.unless(IF_AT_LEAST, 6, drop);
    p.then(LOAD_BYTE_X, 2);
    p.when(IF_GREATER, 4, drop);
    p.then(LOAD_BYTE_X, 5);
    p.when(IF_EQUAL, 1, pass);
    p.goto(drop);

    p.place(rest);
    p.then(LOAD_MEMORY, FLAGS);
    p.unless(IF_ANY_BIT, PSH, drop);
    p.then(LOAD_MEMORY, LENGTH);
    p.when(IF_GREATER, MAX_REST_BYTES, drop);
    p.then(X_MEMORY, TRANSPORT);
    p.then(LOAD_HALF_X, 2);
    for port in TLS_PORTS {
        p.when(IF_EQUAL, u32::from(port), pass);
    }
    p.goto(drop);
}

/// X: where the UDP header begins.
fn udp_of_interest(p: &mut Assembler, pass: Label, drop: Label) {
    let [version_1, version_2] = [p.label(), p.label()];
    for port in [0, 2] {
        p.then(LOAD_HALF_X, port);
        p.when(IF_EQUAL, DNS_PORT, pass);
    }
    not_loopback(p, drop);
    // First byte, version and the length of an id must be there, behind the UDP header.
    p.then(STORE_X, TRANSPORT);
    p.then(X_TO_A, 0);
    p.then(ADD, 8 + 7);
    p.then(A_TO_X, 0);
    p.then(LOAD_MEMORY, END);
    p.unless(IF_AT_LEAST_X, 0, drop);
    p.then(X_MEMORY, TRANSPORT);
    // Long header and packet type; the fixed bit may be greased (RFC 9287).
    p.then(LOAD_BYTE_X, 8);
    p.then(AND, 0xb0);
    p.then(STORE, FLAGS);
    p.then(LOAD_WORD_X, 9);
    p.when(IF_EQUAL, 1, version_1);
    p.when(IF_EQUAL, 0x6b33_43cf, version_2);
    p.unless(IF_AT_LEAST, 0xff00_001d, drop); // drafts 29 …
    p.when(IF_GREATER, 0xff00_0022, drop); // … to 34
    p.place(version_1);
    p.then(LOAD_MEMORY, FLAGS);
    p.when(IF_EQUAL, 0x80, pass);
    p.goto(drop);
    p.place(version_2);
    p.then(LOAD_MEMORY, FLAGS);
    p.when(IF_EQUAL, 0x90, pass);
    p.goto(drop);
}

#[cfg(test)]
mod tests;
