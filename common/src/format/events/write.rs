//! One [`Observation`] as one line of JSON, appended to a buffer that the caller keeps.
//!
//! Nothing is allocated but that buffer's growth. Empty fields are left out, and so is a time that equals the line's own.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use serde::Serialize;

use super::{DNS_PORT, HEADER_TYPE, MAX_ADDRESSES, MAX_PROCESS_TEXT_BYTES, SHORT_TEXT, VERSION};
use crate::certificate::{Certificate, hex};
use crate::event::{
    AppProtocol, ConnectionEvent, DnsEvent, Event, HostId, Ja4, MAX_NAME_BYTES, MAX_RESOLVERS,
    MAX_USER_AGENT_BYTES, Observation, Outcome, Phase, Totals,
};
use crate::net::FiveTuple;
use crate::process::{Attribution, MAX_ANCESTORS, ProcessInfo, ProcessKey};
use crate::text::is_plain;
use crate::time::Timestamp;

/// Appends the line that opens a file.
pub fn write_header(out: &mut Vec<u8>) {
    let mut line = Line { out };
    line.put(b"{\"type\":\"");
    line.put(HEADER_TYPE.as_bytes());
    line.put(b"\"");
    line.number("version", VERSION);
    line.put(b"}\n");
}

/// Appends the line of one observation, with its line feed.
///
/// Texts longer than the reader keeps are cut, so that every line written can be read.
pub fn write_line(observation: &Observation<'_>, out: &mut Vec<u8>) {
    let mut line = Line { out };
    let time = observation.time;
    line.put(b"{\"time\":");
    line.time_value(time);
    match observation.host {
        HostId::Address(ip) => line.ip("host", ip),
        HostId::Name(name) => line.text("host", name, MAX_NAME_BYTES),
    }
    match observation.event {
        Event::Host(facts) => {
            line.word("type", "host");
            line.number("history", facts.history);
            line.time("observed_since", facts.observed_since, time);
        }
        Event::Process(key, info) => line.process(key, info),
        Event::KnownDestination { name, age_days } => {
            line.word("type", "known_destination");
            line.text("name", name, MAX_NAME_BYTES);
            line.float("age_days", age_days);
        }
        Event::Resolvers(addresses) => {
            line.word("type", "resolvers");
            line.addresses(addresses.get(..MAX_RESOLVERS).unwrap_or(addresses));
        }
        Event::Connection(connection) => line.connection(time, &connection),
        Event::Dns(dns) => line.dns(time, &dns),
        Event::Gap(gap) => {
            line.word("type", "gap");
            line.time("since", gap.since, time);
            line.time("until", gap.until, time);
            line.variant("cause", gap.cause);
            if gap.lost != 0 {
                line.number("lost", gap.lost);
            }
        }
    }
    line.put(b"}\n");
}

/// The line being written: each method but `put` and the `…_value`s appends `,"name":value`.
struct Line<'o> {
    out: &'o mut Vec<u8>,
}

impl Line<'_> {
    fn process(&mut self, key: ProcessKey, info: &ProcessInfo) {
        self.word("type", "process");
        self.process_key(key);
        for (name, text) in [
            ("image", &info.image),
            ("command_line", &info.command_line),
            ("sha256", &info.sha256),
            ("script", &info.script),
            ("parent_image", &info.parent_image),
            ("user", &info.user),
            ("container", &info.container),
        ] {
            self.text(name, text, MAX_PROCESS_TEXT_BYTES);
        }
        for (name, text) in [("pod", &info.pod), ("service", &info.service), ("package", &info.package)] {
            self.text(name, text, SHORT_TEXT.cap);
        }
        if !info.ancestors.is_empty() {
            self.name("ancestors");
            for (index, image) in info.ancestors.iter().take(MAX_ANCESTORS).enumerate() {
                self.put(if index == 0 { b"[\"" } else { b",\"" });
                self.escaped(image.get(..image.floor_char_boundary(SHORT_TEXT.cap)).unwrap_or_default());
                self.put(b"\"");
            }
            self.put(b"]");
        }
        self.flag("signed", info.signed);
        if let Some(location) = info.location {
            self.variant("location", location);
        }
        if let Some(class) = info.parent_class {
            self.variant("parent_class", class);
        }
        self.flag("script_host", info.script_host);
        self.flag("browser", info.browser);
        if let Some(age) = info.age_days {
            self.float("age_days", age);
        }
    }

    fn connection(&mut self, time: Timestamp, connection: &ConnectionEvent<'_>) {
        self.word("type", "connection");
        self.word(
            "phase",
            match connection.phase {
                Phase::Opened => "opened",
                Phase::Joined => "joined",
                Phase::Exchange { .. } => "exchange",
                Phase::Certificate(_) => "certificate",
                Phase::Closed(_) => "closed",
                Phase::Whole(_) => "whole",
            },
        );
        self.time("start", connection.start, time);
        self.tuple(&connection.tuple);
        if let Some(key) = connection.process {
            self.process_key(key);
        }
        self.attribution(connection.attribution);
        let names = &connection.names;
        self.text("fqdn", names.fqdn, MAX_NAME_BYTES);
        self.text("sni", names.sni, MAX_NAME_BYTES);
        self.text("connect_host", names.connect_host, MAX_NAME_BYTES);
        self.port("connect_port", names.connect_port, 0);
        self.text("http_host", names.http_host, MAX_NAME_BYTES);
        self.text("user_agent", names.user_agent, MAX_USER_AGENT_BYTES);
        if connection.protocol != AppProtocol::Unknown {
            self.variant("protocol", connection.protocol);
        }
        if let Some(ja4) = &connection.ja4 {
            self.text("ja4", Ja4::as_str(ja4), MAX_NAME_BYTES);
        }
        match connection.phase {
            Phase::Opened | Phase::Joined => {}
            Phase::Exchange { start, bytes_out, bytes_in } => {
                self.time("exchange_start", start, time);
                self.number("bytes_out", bytes_out);
                self.number("bytes_in", bytes_in);
            }
            Phase::Certificate(Certificate { sha1, sha256 }) => {
                if let Some(digest) = sha1 {
                    self.text("certificate_sha1", &hex(&digest), 2 * digest.len());
                }
                if let Some(digest) = sha256 {
                    self.text("certificate_sha256", &hex(&digest), 2 * digest.len());
                }
            }
            Phase::Closed(totals) | Phase::Whole(totals) => self.totals(time, &totals),
        }
    }

    fn totals(&mut self, time: Timestamp, totals: &Totals) {
        self.time("end", totals.end, time);
        if let Some(bytes) = totals.bytes_out {
            self.number("bytes_out", bytes);
        }
        if let Some(bytes) = totals.bytes_in {
            self.number("bytes_in", bytes);
        }
        if totals.outcome != Outcome::Unknown {
            self.variant("outcome", totals.outcome);
        }
    }

    fn dns(&mut self, time: Timestamp, dns: &DnsEvent<'_>) {
        self.word("type", "dns");
        self.time("start", dns.start, time);
        if let Some(key) = dns.process {
            self.process_key(key);
        }
        self.attribution(dns.attribution);
        if let Some(resolver) = dns.resolver {
            self.ip("resolver_ip", resolver.ip());
            self.port("resolver_port", resolver.port(), DNS_PORT);
        }
        self.text("query", dns.query, MAX_NAME_BYTES);
        self.number("query_type", dns.query_type);
        if let Some(code) = dns.response_code {
            self.number("response_code", code);
        }
        self.addresses(dns.addresses);
        if dns.ttl_secs != 0 {
            self.number("ttl_secs", dns.ttl_secs);
        }
    }

    fn addresses(&mut self, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        self.name("addresses");
        for (index, ip) in addresses.iter().take(MAX_ADDRESSES).enumerate() {
            self.put(if index == 0 { b"[" } else { b"," });
            self.ip_value(*ip);
        }
        self.put(b"]");
    }

    /// Both ends. A source that does not know our end says "unspecified": that is left out, and the community ID with it.
    fn tuple(&mut self, tuple: &FiveTuple) {
        self.word("transport", tuple.transport.as_str());
        let unspecified: IpAddr = match tuple.remote.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local_known = tuple.local.ip() != unspecified;
        if local_known {
            self.ip("local_ip", tuple.local.ip());
        }
        self.port("local_port", tuple.local.port(), 0);
        self.ip("remote_ip", tuple.remote.ip());
        self.port("remote_port", tuple.remote.port(), 0);
        if local_known {
            self.name("community_id");
            self.put(b"\"1:");
            // 20 bytes of SHA-1 are 28 characters of Base64.
            let mut text = [0; 28];
            let encoder = base64::engine::general_purpose::STANDARD;
            let written = encoder.encode_slice(tuple.community_hash(), &mut text).unwrap_or(0);
            self.put(text.get(..written).unwrap_or_default());
            self.put(b"\"");
        }
    }

    fn process_key(&mut self, key: ProcessKey) {
        self.put(b",\"process\":{\"pid\":");
        self.display(key.pid);
        if key.start != Timestamp::ZERO {
            self.put(b",\"start\":");
            self.time_value(key.start);
        }
        self.put(b"}");
    }

    fn attribution(&mut self, attribution: Attribution) {
        if attribution != Attribution::NONE {
            self.variant("attribution", attribution);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to a `Vec` cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// `,"name":` for a name of ours, which needs no escaping.
    fn name(&mut self, name: &str) {
        self.put(b",\"");
        self.put(name.as_bytes());
        self.put(b"\":");
    }

    /// A word of ours, which needs no escaping.
    fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.put(b"\"");
        self.put(word.as_bytes());
        self.put(b"\"");
    }

    /// Words of ours as serde names them.
    fn variant(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        // Variants are strings, and writing to a `Vec` cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, &value);
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.display(value);
    }

    /// The shortest text that reads back as the same number. JSON has no word for NaN and infinity: 0 and the largest.
    fn float(&mut self, name: &str, value: f64) {
        self.name(name);
        let value = if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
        let _ = write!(self.out, "{value:?}");
    }

    fn flag(&mut self, name: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    fn port(&mut self, name: &str, port: u16, left_out: u16) {
        if port != left_out {
            self.number(name, port);
        }
    }

    fn ip(&mut self, name: &str, ip: IpAddr) {
        self.name(name);
        self.ip_value(ip);
    }

    fn ip_value(&mut self, ip: IpAddr) {
        self.put(b"\"");
        self.display(ip);
        self.put(b"\"");
    }

    fn time(&mut self, name: &str, time: Timestamp, left_out: Timestamp) {
        if time != left_out {
            self.name(name);
            self.time_value(time);
        }
    }

    fn time_value(&mut self, time: Timestamp) {
        self.put(b"\"");
        self.display(time);
        self.put(b"\"");
    }

    /// A text from outside, escaped; left out if empty.
    fn text(&mut self, name: &str, text: &str, cap: usize) {
        if text.is_empty() {
            return;
        }
        self.name(name);
        self.put(b"\"");
        self.escaped(text.get(..text.floor_char_boundary(cap)).unwrap_or_default());
        self.put(b"\"");
    }

    /// JSON escapes, and `\u` for everything that could steer a terminal or a browser which shows the file.
    fn escaped(&mut self, text: &str) {
        if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
            return self.put(text.as_bytes());
        }
        for c in text.chars() {
            match c {
                '"' => self.put(b"\\\""),
                '\\' => self.put(b"\\\\"),
                c if is_plain(c) => self.put(c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
            }
        }
    }
}
