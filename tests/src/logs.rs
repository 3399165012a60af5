//! Logs of made-up days: calls of several hosts, told as Zeek and as Defender tell them.
//!
//! A [`Call`] is one connection; the writers turn a list of them into the files of one format, row by row in the order of the
//! list. [`days`] tells a story whose beacons are known, and in which no two rows have one time, so that their order in a
//! file cannot matter.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use crate::rng::Rng;

/// When the stories begin: 2026-11-02 08:00:00 UTC.
pub const BEGIN: Timestamp = Timestamp::from_secs_nanos(1_793_606_400, 0);

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it begins.
    pub start: Timestamp,
    /// Last byte of the host's address, 10.20.0.x.
    pub host: u8,
    /// Its port.
    pub port: u16,
    /// Address called.
    pub remote: Ipv4Addr,
    /// Server name; empty: none was said.
    pub name: String,
    /// File name of the program, which lies among the user's temporary files.
    pub program: &'static str,
    /// Payload bytes sent and received.
    pub bytes: (u64, u64),
}

impl Call {
    /// Zeek's name of the connection.
    #[must_use]
    pub fn uid(&self) -> String {
        format!("C{:x}h{}p{}", self.start.nanos(), self.host, self.port)
    }

    /// Address of the host.
    #[must_use]
    pub const fn local(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, self.host)
    }
}

/// What a [`days`] story is about.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Hosts, from 10.20.0.1 on. Each has one beacon, to a name and address of its own.
    pub hosts: u8,
    /// How long it goes on.
    pub span: Duration,
    /// Calls to all kinds of names, for each host and hour.
    pub browsing: u32,
}

/// The name that host number `host` calls on a schedule.
#[must_use]
pub fn beacon_name(host: u8) -> String {
    format!("pixel{host}.weather-widgets.example")
}

/// The address behind it.
#[must_use]
pub const fn beacon_address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host)
}

/// Calls of several hosts in the order of time: each has a beacon every minute with a tenth of jitter, beside what people
/// do.
#[must_use]
pub fn days(story: Story, seed: u64) -> Vec<Call> {
    let mut rng = Rng::new(seed);
    let mut calls = Vec::new();
    let span = i64::try_from(story.span.as_nanos()).unwrap_or(i64::MAX);
    for host in 1..=story.hosts {
        let mut at = i64::from(host) * NANOS_PER_SEC;
        while at < span {
            calls.push(Call {
                start: BEGIN.plus_nanos(at),
                host,
                port: rng.client_port(),
                remote: beacon_address(host),
                name: beacon_name(host),
                program: "updsvc.exe",
                bytes: (510, 1200),
            });
            at += nanos(rng.between(Duration::from_secs(54), Duration::from_secs(66)));
        }
        let count = u64::from(story.browsing) * story.span.as_secs() / 3600;
        for _ in 0..count {
            let site = u8::try_from(rng.below(40)).unwrap_or(0);
            calls.push(Call {
                start: BEGIN.plus_nanos(nanos(rng.between(Duration::ZERO, story.span))),
                host,
                port: rng.client_port(),
                remote: Ipv4Addr::new(198, 51, 100, site),
                name: format!("site{site}.example.org"),
                program: "firefox.exe",
                bytes: (rng.below(4000), rng.below(200_000)),
            });
        }
    }
    calls.sort_by_key(|call| call.start);
    calls.dedup_by_key(|call| call.start);
    calls
}

fn nanos(duration: Duration) -> i64 {
    // Whole microseconds, which is what Zeek writes.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 1000) * 1000
}

/// Zeek's time: seconds with six decimals.
#[must_use]
pub fn zeek_time(time: Timestamp) -> String {
    let micros = time.nanos() / 1000;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The header of a tab-separated log.
#[must_use]
pub fn zeek_header(path: &str, fields: &str) -> String {
    let fields = fields.replace(' ', "\t");
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n#fields\t{fields}\n"
    )
}

/// Columns of [`zeek_conn`].
pub const CONN_FIELDS: &str = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes \
                               resp_bytes conn_state local_orig local_resp orig_ip_bytes resp_pkts";

/// A row of `conn.log`.
#[must_use]
pub fn zeek_conn_row(call: &Call) -> String {
    let (ts, uid, local, port) = (zeek_time(call.start), call.uid(), call.local(), call.port);
    let (remote, (out, back)) = (call.remote, call.bytes);
    let service = if call.name.is_empty() { "-" } else { "ssl" };
    let ip = out + 6 * 40;
    format!(
        "{ts}\t{uid}\t{local}\t{port}\t{remote}\t443\ttcp\t{service}\t0.312000\t{out}\t{back}\tSF\tT\tF\t{ip}\t7\n"
    )
}

/// `conn.log`.
#[must_use]
pub fn zeek_conn(calls: &[Call]) -> String {
    let mut text = zeek_header("conn", CONN_FIELDS);
    calls.iter().for_each(|call| text.push_str(&zeek_conn_row(call)));
    text
}

/// `ssl.log`: the server names, a twentieth of a second after their connections.
#[must_use]
pub fn zeek_ssl(calls: &[Call]) -> String {
    let fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version server_name resumed established ja4";
    let mut text = zeek_header("ssl", fields);
    for call in calls.iter().filter(|call| !call.name.is_empty()) {
        let (ts, uid) = (zeek_time(call.start.plus_nanos(50_000_000)), call.uid());
        let (local, port, remote, name) = (call.local(), call.port, call.remote, &call.name);
        let ja4 = "t13d1516h2_8daaf6152771_b0da82dd1658";
        text.push_str(&format!("{ts}\t{uid}\t{local}\t{port}\t{remote}\t443\tTLSv13\t{name}\tF\tT\t{ja4}\n"));
    }
    text
}

/// `conn` rows as JSON.
#[must_use]
pub fn zeek_conn_json(calls: &[Call]) -> String {
    let mut text = String::new();
    for call in calls {
        let (ts, uid, local, port) = (zeek_time(call.start), call.uid(), call.local(), call.port);
        let (remote, (out, back)) = (call.remote, call.bytes);
        let service = if call.name.is_empty() { "" } else { "\"service\":\"ssl\"," };
        let ip = out + 6 * 40;
        text.push_str(&format!(
            "{{\"_path\":\"conn\",\"ts\":{ts},\"uid\":\"{uid}\",\"id.orig_h\":\"{local}\",\"id.orig_p\":{port},\
             \"id.resp_h\":\"{remote}\",\"id.resp_p\":443,\"proto\":\"tcp\",{service}\"duration\":0.312,\
             \"orig_bytes\":{out},\"resp_bytes\":{back},\"conn_state\":\"SF\",\"local_orig\":true,\
             \"local_resp\":false,\"orig_ip_bytes\":{ip},\"resp_pkts\":7}}\n"
        ));
    }
    text
}

/// Columns of [`defender`].
pub const DEFENDER_HEADER: &str = "Timestamp,DeviceName,ActionType,RemoteIP,RemotePort,RemoteUrl,LocalIP,LocalPort,\
                                   Protocol,RemoteIPType,InitiatingProcessFileName,InitiatingProcessFolderPath,\
                                   InitiatingProcessId,InitiatingProcessAccountName\n";

/// `DeviceNetworkEvents` as CSV. Defender logs seven decimals of a second.
#[must_use]
pub fn defender(calls: &[Call]) -> String {
    let mut text = DEFENDER_HEADER.to_owned();
    for call in calls {
        let time = call.start.to_string();
        let time = time.get(..27).unwrap_or(&time);
        let (host, remote, name, local) = (call.host, call.remote, &call.name, call.local());
        let (port, program) = (call.port, call.program);
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{time}Z,pc-{host:02}.corp.example,ConnectionSuccess,{remote},443,{name},{local},{port},Tcp,Public,{program},\
             c:\\users\\ann\\appdata\\local\\temp\\{program},41{host:02},ann"
        );
    }
    text
}
