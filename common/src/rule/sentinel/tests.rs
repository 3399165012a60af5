//! The rule at its boundaries, one table for each sentence of its description, and against the slow [`reference`].

use proptest::prelude::*;

use super::lists::{is_client, is_known_good, is_tool};
use super::*;
use crate::event::Outcome;
use crate::format::row::{AttributesRow, ConnectionRow, Said};
use crate::net::{FiveTuple, Transport};
use crate::rule::record::{all_csv, all_ndjson};

const SECOND: i64 = NANOS_PER_SEC;
const MINUTE: i64 = 60 * SECOND;
/// 2026-03-02T12:00:00Z.
const NOON: i64 = 1_772_452_800 * SECOND;

fn now() -> Timestamp {
    Timestamp::from_nanos(NOON)
}

/// A row that the rule keeps, so many nanoseconds before noon.
fn row(before: i64) -> SentinelRow<'static> {
    SentinelRow {
        time: Timestamp::from_nanos(NOON - before),
        hunted: Hunted {
            device_name: "pc1",
            account_name: "eva",
            action_type: "ConnectionSuccess",
            remote_ip: "198.51.100.7",
            remote_ip_type: "Public",
            remote_url: "c2.example",
            remote_port: Some(443),
            process_name: "updater.exe",
        },
    }
}

fn with(before: i64, change: impl FnOnce(&mut Hunted<'static>)) -> SentinelRow<'static> {
    let mut row = row(before);
    change(&mut row.hunted);
    row
}

/// So many rows, evenly from `before` nanoseconds before noon until noon.
fn evenly(count: i64, before: i64) -> Vec<SentinelRow<'static>> {
    (0..count).map(|at| row(before - before * at / (count - 1))).collect()
}

fn run(rows: &[SentinelRow<'_>]) -> Vec<SentinelGroup> {
    let mut sentinel = Sentinel::new(now());
    for row in rows {
        sentinel.add(row);
    }
    assert!(sentinel.lost().is_none());
    sentinel.finish()
}

fn one(rows: &[SentinelRow<'_>]) -> SentinelGroup {
    let mut groups = run(rows);
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.pop().unwrap()
}

fn csv_of(groups: &[SentinelGroup]) -> String {
    let mut out = Vec::new();
    all_csv(groups, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_domain_is_known_good_only_as_a_whole_term() {
    for (url, good) in [
        ("microsoft.com", true),
        ("MICROSOFT.COM", true),
        ("MicroSoft.Com", true),
        ("www.microsoft.com", true),
        ("https://www.microsoft.com/en-us?x=1", true),
        ("microsoft.com:443", true),
        ("evil-microsoft.com", true),
        ("evil_microsoft.com", true),
        ("microsoft.com.evil.net", true),
        ("microsoft.com-evil.net", true),
        ("microsoft.com_x", true),
        ("c2.example/?q=microsoft.com", true),
        ("ümicrosoft.com", true),
        ("microsoft.comü", true),
        ("xmicrosoft.com microsoft.com", true),
        ("microsoft.comx,microsoft.com", true),
        ("notmicrosoft.com", false),
        ("1microsoft.com", false),
        ("Zmicrosoft.com", false),
        ("microsoft.com1", false),
        ("microsoft.comx", false),
        ("microsoft.community", false),
        ("microsoft.co", false),
        ("microsoft com", false),
        ("microsoft..com", false),
        ("mi\u{200b}crosoft.com", false),
        ("azure.com1", false),
        ("1azure.com", false),
        ("blob.azure.com", true),
        ("live.com", true),
        ("olive.com", false),
        ("live.comx live.com", true),
        ("sectigo.com", false),
        ("ocsp.sectigo.com", true),
        ("xocsp.sectigo.com", false),
        ("x.ocsp.sectigo.com", true),
        ("cloudflare-dns.com", true),
        ("cloudflare.dns.com", false),
        ("office.com", true),
        ("office365.com", true),
        ("office366.com", false),
        ("pineapple.com", false),
        ("", false),
        ("c2.example", false),
    ] {
        assert_eq!(is_known_good(url), good, "{url:?}");
        assert_eq!(run(&many(|hunted| hunted.remote_url = url)).is_empty(), good, "{url:?}");
    }
}

/// Rows that are reported unless the change has them left out.
fn many(change: impl Fn(&mut Hunted<'static>)) -> Vec<SentinelRow<'static>> {
    (0..12).map(|at| with(at * 5 * MINUTE, &change)).collect()
}

#[test]
fn every_listed_name_is_heeded_and_no_other() {
    for domain in reference::good() {
        assert!(
            is_known_good(domain) && is_known_good(&format!("a.{}:1", domain.to_uppercase())),
            "{domain}"
        );
        assert!(!is_known_good(&format!("{domain}x")), "{domain}");
    }
    for tool in reference::tools() {
        assert!(is_tool(tool) && is_tool(&tool.to_uppercase()), "{tool}");
        assert!(!is_tool(&format!("x{tool}")) && !is_client(tool), "{tool}");
    }
    for client in reference::clients() {
        assert!(is_client(client) && is_client(&client.to_uppercase()), "{client}");
        assert!(!is_client(&format!("{client} ")) && !is_client(&format!("x{client}")) && !is_tool(client));
    }
    assert_eq!(
        (reference::good().count(), reference::tools().count(), reference::clients().count()),
        (23, 17, 15)
    );
}

#[test]
fn clients_are_left_out_by_their_whole_name_alone() {
    for (name, kept) in [
        ("chrome.exe", false),
        ("CHROME.EXE", false),
        ("MicrosoftEdgeCP.exe", false),
        ("microsoftedgecp.EXE", false),
        ("chrome.exe.bak", true),
        ("my-chrome.exe", true),
        ("chrome", true),
        ("", true),
    ] {
        assert_eq!(Sentinel::new(now()).keeps(&with(0, |hunted| hunted.process_name = name)), kept, "{name}");
    }
}

#[test]
fn action_and_address_type_are_compared_letter_by_letter() {
    for (action, kept) in [
        ("ConnectionSuccess", true),
        ("connectionsuccess", false),
        ("ConnectionSUCCESS", false),
        ("ConnectionSuccess ", false),
        ("ConnectionFailed", false),
        ("", false),
    ] {
        assert_eq!(
            Sentinel::new(now()).keeps(&with(0, |hunted| hunted.action_type = action)),
            kept,
            "{action}"
        );
    }
    for (kind, kept) in
        [("Public", true), ("public", false), ("PUBLIC", false), ("Private", false), ("", false)]
    {
        assert_eq!(
            Sentinel::new(now()).keeps(&with(0, |hunted| hunted.remote_ip_type = kind)),
            kept,
            "{kind}"
        );
    }
}

#[test]
fn a_row_of_exactly_a_day_ago_is_too_old() {
    let day = DAY_NANOS;
    for (before, kept) in
        [(day - 1, true), (day, false), (day + 1, false), (0, true), (-1, true), (-day, true)]
    {
        assert_eq!(Sentinel::new(now()).keeps(&row(before)), kept, "{before}");
    }
    // The rows of a group that are too old do not count for it.
    let mut rows = evenly(10, 40 * MINUTE);
    rows.push(row(day));
    assert_eq!(one(&rows).connection_count, 10);
}

#[test]
fn nine_connections_are_too_few_and_ten_are_enough() {
    for (count, found) in [(9, 0), (10, 1), (11, 1)] {
        assert_eq!(run(&evenly(count, 60 * MINUTE)).len(), found, "{count}");
    }
}

/// Ten rows, of which only the first and the last time matter.
fn from_to(first: &str, last: &str) -> Vec<SentinelRow<'static>> {
    let (first, last): (Timestamp, Timestamp) = (first.parse().unwrap(), last.parse().unwrap());
    let at = |time| SentinelRow { time, ..row(0) };
    let mut rows = vec![at(first); 9];
    rows.push(at(last));
    rows
}

#[test]
fn duration_counts_the_minute_boundaries_that_were_crossed() {
    for (first, last, minutes) in [
        ("2026-03-02T10:00:59Z", "2026-03-02T10:31:00Z", Some(31)),
        ("2026-03-02T10:00:00Z", "2026-03-02T10:30:59.9999999Z", None),
        ("2026-03-02T10:00:00Z", "2026-03-02T10:31:00Z", Some(31)),
        ("2026-03-02T10:00:59.999999999Z", "2026-03-02T10:31:00Z", Some(31)),
        ("2026-03-02T10:00:00Z", "2026-03-02T10:31:59.999Z", Some(31)),
        ("2026-03-02T10:00:59Z", "2026-03-02T10:30:59Z", None),
        ("2026-03-01T23:45:30Z", "2026-03-02T00:16:00Z", Some(31)),
    ] {
        let groups = run(&from_to(first, last));
        assert_eq!(groups.first().map(|group| group.duration_minutes), minutes, "{first} {last}");
    }
    // Also before the epoch, where rounding towards zero would be wrong.
    let mut sentinel = Sentinel::new(Timestamp::ZERO);
    for row in from_to("1969-12-31T23:29:59Z", "1970-01-01T00:00:01Z") {
        sentinel.add(&row);
    }
    assert_eq!(sentinel.finish().first().map(|group| group.duration_minutes), Some(31));
}

#[test]
fn average_intervals_from_half_a_minute_to_an_hour_are_a_beacons_ends_included() {
    for (count, minutes, beacon) in [
        (10, 600, true),  // 60.0
        (10, 601, false), // 60.1
        (10, 599, true),
        (100, 50, true),  // 0.5
        (101, 50, false), // 0.495
        (102, 51, true),  // 0.5
        (99, 50, true),
        (20, 1_200, true),
        (20, 1_201, false),
    ] {
        let mut rows = evenly(count, minutes * MINUTE);
        let groups = run(&rows);
        assert_eq!(groups.len(), usize::from(beacon), "{count} {minutes}");
        rows[3].hunted.process_name = "powershell.exe";
        let group = one(&rows);
        assert_eq!((group.is_beacon_interval, group.is_suspicious_process), (beacon, true));
        assert_eq!(group.risk_score, if beacon { 3 } else { 2 }, "{count} {minutes}");
        assert_eq!(group.avg_interval_minutes, minutes as f64 / count as f64);
    }
}

#[test]
fn more_than_thirty_regular_connections_score_two_without_a_tool() {
    for (count, risk) in [(10, 1), (29, 1), (30, 1), (31, 2), (32, 2)] {
        assert_eq!(one(&evenly(count, 120 * MINUTE)).risk_score, risk, "{count}");
    }
    // With a tool the number does not matter.
    let rows = many(|hunted| hunted.process_name = "cmd.exe");
    assert_eq!(one(&rows).risk_score, 3);
    // A tool alone, without a beacon's interval, scores two however many there are.
    let mut rows = evenly(100, 40 * MINUTE);
    rows[0].hunted.process_name = "cmd.exe";
    let group = one(&rows);
    assert_eq!((group.is_beacon_interval, group.risk_score), (false, 2));
}

#[test]
fn a_tool_is_found_as_a_whole_term_of_a_process_name() {
    for (name, tool) in [
        ("powershell.exe", true),
        ("PowerShell.EXE", true),
        ("my-powershell.exe", true),
        ("my_cmd.exe", true),
        ("cmd.exe.mui", true),
        ("a cmd.exe b", true),
        ("xcmd.exe", false),
        ("cmd.exe2", false),
        ("cmd", false),
        ("cmd exe", false),
        ("powershell_ise.exe", false),
        ("mycsc.exe", false),
        ("", false),
    ] {
        assert_eq!(is_tool(name), tool, "{name}");
        assert_eq!(one(&many(|hunted| hunted.process_name = name)).is_suspicious_process, tool, "{name}");
    }
}

#[test]
fn the_sixth_process_is_not_named_but_still_makes_the_group_suspicious() {
    let names = ["e.exe", "d.exe", "c.exe", "b.exe", "a.exe", "rundll32.exe", "f.exe"];
    let mut rows = evenly(14, 70 * MINUTE);
    for (row, name) in rows.iter_mut().zip(names.into_iter().cycle()) {
        row.hunted.process_name = name;
    }
    let group = one(&rows);
    assert_eq!(group.processes, ["e.exe", "d.exe", "c.exe", "b.exe", "a.exe"]);
    assert!(group.is_suspicious_process);
    assert_eq!(group.risk_score, 3);
    // The order of the file does not matter, only that of time.
    rows.reverse();
    assert_eq!(one(&rows), group);
}

#[test]
fn processes_of_one_time_stand_in_the_order_in_which_they_came() {
    let mut rows = evenly(10, 60 * MINUTE);
    for name in ["b.exe", "a.exe", "B.exe", ""] {
        rows.push(with(60 * MINUTE, |hunted| hunted.process_name = name));
    }
    let group = one(&rows);
    assert_eq!(
        group.processes,
        ["updater.exe", "b.exe", "a.exe", "B.exe", ""],
        "case counts, and no name is a name"
    );
}

#[test]
fn ten_ports_are_named_and_all_are_counted() {
    let mut rows = evenly(40, 60 * MINUTE);
    for (row, port) in rows.iter_mut().zip((1..13).rev().cycle()) {
        row.hunted.remote_port = Some(port * 1_000);
    }
    rows[39].hunted.remote_port = None;
    let group = one(&rows);
    assert_eq!(group.distinct_ports, 12);
    assert_eq!(group.ports, [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000]);
    let none = one(&many(|hunted| hunted.remote_port = None));
    assert_eq!((none.distinct_ports, none.ports.as_slice()), (0, &[][..]), "no port is not a port");
    let zero = one(&many(|hunted| hunted.remote_port = Some(0)));
    assert_eq!((zero.distinct_ports, zero.ports.as_slice()), (1, &[0][..]), "port 0 is one");
}

#[test]
fn device_account_address_and_url_each_make_a_group_of_their_own() {
    let mut rows = Vec::new();
    let changes: [fn(&mut Hunted<'static>); 9] = [
        |_| {},
        |hunted| hunted.device_name = "PC1",
        |hunted| hunted.account_name = "Eva",
        |hunted| hunted.account_name = "",
        |hunted| hunted.remote_ip = "198.51.100.8",
        |hunted| hunted.remote_url = "C2.example",
        |hunted| hunted.remote_url = "",
        // The same letters, parted elsewhere.
        |hunted| (hunted.device_name, hunted.account_name) = ("pc1e", "va"),
        |hunted| (hunted.device_name, hunted.account_name) = ("pc", "1eva"),
    ];
    for change in changes {
        rows.extend(many(change));
    }
    let groups = run(&rows);
    assert_eq!(groups.len(), changes.len());
    assert!(groups.iter().all(|group| group.connection_count == 12));
    // Process and port do not part a group.
    let mut rows = many(|_| {});
    rows.extend(many(|hunted| (hunted.process_name, hunted.remote_port) = ("b.exe", Some(80))));
    assert_eq!(one(&rows).connection_count, 24);
}

#[test]
fn the_riskiest_come_first_then_the_most_frequent_then_by_name() {
    let mut rows = Vec::new();
    for (device, account, ip, count, name) in [
        ("b", "x", "203.0.113.2", 12, "a.exe"),
        ("a", "y", "203.0.113.2", 12, "a.exe"),
        ("a", "x", "203.0.113.3", 12, "a.exe"),
        ("a", "x", "203.0.113.20", 12, "a.exe"),
        ("ä", "x", "203.0.113.2", 12, "a.exe"),
        ("B", "x", "203.0.113.2", 12, "a.exe"),
        ("z", "x", "203.0.113.2", 13, "a.exe"),
        ("z", "z", "203.0.113.9", 31, "a.exe"),
        ("z", "z", "203.0.113.9", 10, "cmd.exe"),
        ("z", "t", "203.0.113.9", 10, "cmd.exe"),
    ] {
        rows.extend(evenly(count, 90 * MINUTE).into_iter().map(|mut row| {
            let hunted = &mut row.hunted;
            (hunted.device_name, hunted.account_name) = (device, account);
            (hunted.remote_ip, hunted.process_name) = (ip, name);
            row
        }));
    }
    let order: Vec<String> = run(&rows)
        .iter()
        .map(|group| format!("{} {} {}", group.device_name, group.account_name, group.remote_ip))
        .collect();
    assert_eq!(
        order,
        [
            "z z 203.0.113.9",
            "z t 203.0.113.9",
            "z x 203.0.113.2",
            "B x 203.0.113.2",
            "a x 203.0.113.20",
            "a x 203.0.113.3",
            "a y 203.0.113.2",
            "b x 203.0.113.2",
            "ä x 203.0.113.2",
        ]
    );
}

#[test]
fn csv_and_ndjson_have_the_columns_of_the_rule_in_their_order() {
    let mut rows = evenly(10, 62 * MINUTE);
    for row in &mut rows {
        row.hunted.device_name = "pc, \"one\"";
        row.hunted.account_name = "müller 漢";
        row.hunted.process_name = "wget.exe";
    }
    rows[4].hunted.remote_port = Some(8443);
    let group = one(&rows);
    assert_eq!(
        csv_of(std::slice::from_ref(&group)),
        "Timestamp,DeviceName,AccountName,RemoteIP,RemoteUrl,ConnectionCount,DurationMinutes,AvgIntervalMinutes,\
         DistinctPorts,Ports,Processes,IsSuspiciousProcess,IsBeaconInterval,RiskScore\n\
         2026-03-02T12:00:00.000000000Z,\"pc, \"\"one\"\"\",müller 漢,198.51.100.7,c2.example,10,62,6.2,2,\"[443,8443]\",\
         \"[\"\"wget.exe\"\"]\",true,true,3\n"
    );
    let mut out = Vec::new();
    all_ndjson(&[group], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"Timestamp\":\"2026-03-02T12:00:00.000000000Z\",\"DeviceName\":\"pc, \\\"one\\\"\",\
         \"AccountName\":\"müller 漢\",\"RemoteIP\":\"198.51.100.7\",\"RemoteUrl\":\"c2.example\",\"ConnectionCount\":10,\
         \"DurationMinutes\":62,\"AvgIntervalMinutes\":6.2,\"DistinctPorts\":2,\"Ports\":[443,8443],\
         \"Processes\":[\"wget.exe\"],\"IsSuspiciousProcess\":true,\"IsBeaconInterval\":true,\"RiskScore\":3}\n"
    );
}

#[test]
fn a_row_counts_at_the_time_at_which_it_happened() {
    let hunted = row(0).hunted;
    let mut logged = Row { time: Timestamp::from_nanos(70), hunted: Some(hunted), ..Row::default() };
    assert_eq!(SentinelRow::of(&logged), Some(SentinelRow { time: logged.time, hunted }));
    logged.kind = Kind::Connection(ConnectionRow {
        uid: "",
        tuple: FiveTuple {
            transport: Transport::Tcp,
            local: ([10, 0, 0, 5], 50_000).into(),
            remote: ([198, 51, 100, 7], 443).into(),
        },
        start: Timestamp::from_nanos(60),
        duration: None,
        bytes_out: None,
        bytes_in: None,
        ip_bytes_out: None,
        outcome: Outcome::Established,
        opener_is_local: None,
        said: Said::default(),
    });
    assert_eq!(SentinelRow::of(&logged).map(|row| row.time.nanos()), Some(60));
    logged.kind = Kind::Attributes(AttributesRow::default());
    assert_eq!(SentinelRow::of(&logged).map(|row| row.time.nanos()), Some(70 + ATTRIBUTES_LEAD));
    assert_eq!(SentinelRow::of(&Row { hunted: None, ..logged }), None);
}

#[test]
fn no_rows_give_a_header_alone() {
    assert!(run(&[]).is_empty());
    assert_eq!(csv_of(&[]).lines().count(), 1);
}

#[test]
fn hostile_fields_stay_one_cell_of_one_line() {
    let texts = ["a\nb", "\r", "\u{1b}[31m", "=1+1", "\"", ",", "\u{202e}x", "-x", "x\u{0}"];
    for text in texts {
        let rows = many(|hunted| {
            (hunted.device_name, hunted.remote_url, hunted.process_name) = (text, text, text);
        });
        let csv = csv_of(&run(&rows));
        assert_eq!(csv.lines().count(), 2, "{text:?}");
        assert!(csv.chars().all(|c| c == '\n' || crate::text::is_plain(c)), "{text:?}");
    }
}

#[test]
fn a_full_rule_keeps_what_it_follows_and_counts_what_it_turns_away() {
    let mut sentinel = Sentinel::with_limits(now(), Limits { groups: 1, bytes: 1 << 20 });
    for (first, other) in many(|_| {}).iter().zip(many(|hunted| hunted.device_name = "pc2")) {
        sentinel.add(first);
        sentinel.add(&other);
    }
    assert_eq!((sentinel.groups(), sentinel.lost()), (1, Lost { rows: 12, details: 0 }));
    assert_eq!(sentinel.finish()[0].connection_count, 12);

    let mut small = Sentinel::with_limits(now(), Limits { groups: 9, bytes: 700 });
    for port in 0..2_000 {
        small.add(&with(0, |hunted| hunted.remote_port = Some(port)));
    }
    assert_eq!(small.groups(), 1);
    assert_eq!(small.lost().rows, 0);
    assert!(small.lost().details > 1_000);
}

#[test]
fn a_flood_of_hosts_and_ports_stays_within_the_byte_limit() {
    let limits = Limits { groups: 1_000_000, bytes: 1 << 20 };
    let mut sentinel = Sentinel::with_limits(now(), limits);
    let names: Vec<String> = (0..20_000).map(|n| format!("host-{n}")).collect();
    for (at, name) in (0u16..=u16::MAX).cycle().zip(names.iter().cycle().take(40_000)) {
        let mut row = row(0);
        (row.hunted.device_name, row.hunted.remote_port) = (name, Some(at));
        sentinel.add(&row);
    }
    assert!(sentinel.groups() * size_of::<Group>() <= limits.bytes);
    assert!(sentinel.lost().rows > 0);
}

#[test]
fn both_ends_of_time_do_no_harm() {
    for now in [i64::MIN, i64::MAX, 0] {
        let mut sentinel = Sentinel::new(Timestamp::from_nanos(now));
        for time in [i64::MIN, i64::MAX, 0].into_iter().cycle().take(60) {
            sentinel.add(&SentinelRow { time: Timestamp::from_nanos(time), ..row(0) });
        }
        let _ = sentinel.finish();
    }
}

/// Texts that are likely to meet the lists halfway.
fn near(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(words).prop_map(str::to_owned),
        2 => proptest::sample::select(&[".", "-", "_", "x", "1", "é", " ", "/", ""][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    (proptest::collection::vec(piece, 0..4), any::<bool>()).prop_map(|(pieces, upper)| {
        if upper { pieces.concat().to_ascii_uppercase() } else { pieces.concat() }
    })
}

const URL_WORDS: &[&str] = &[
    "microsoft.com",
    "azure.com",
    "live.com",
    "crl.microsoft.com",
    "cloudflare-dns.com",
    "c2.example",
    "apple.com",
];
const NAME_WORDS: &[&str] =
    &["cmd.exe", "powershell.exe", "chrome.exe", "MicrosoftEdgeCP.exe", "a.exe", "csc.exe"];

#[derive(Clone, Debug)]
struct Fields {
    time: i64,
    choices: (u8, u8, u8),
    url: String,
    name: String,
    port: Option<u16>,
}

impl Fields {
    fn row(&self) -> SentinelRow<'_> {
        let pick =
            |choice: u8, likely: &'static str, other: &'static str| if choice > 3 { likely } else { other };
        SentinelRow {
            time: Timestamp::from_nanos(NOON - self.time),
            hunted: Hunted {
                device_name: pick(self.choices.0, "pc1", "pc2"),
                account_name: "eva",
                action_type: pick(self.choices.1, "ConnectionSuccess", "connectionsuccess"),
                remote_ip: "198.51.100.7",
                remote_ip_type: pick(self.choices.2, "Public", "public"),
                remote_url: &self.url,
                remote_port: self.port,
                process_name: &self.name,
            },
        }
    }
}

/// Rows whose spacing lies around the boundaries, of groups large enough to be reported.
fn rows() -> impl Strategy<Value = Vec<Fields>> {
    let url = proptest::sample::select(
        &["", "c2.example", "c2.example", "microsoft.com.evil.net", "xlive.com"][..],
    );
    let name = proptest::sample::select(
        &["a.exe", "b.exe", "A.exe", "c.exe", "d.exe", "e.exe", "", "cmd.exe", "chrome.exe"][..],
    );
    let names = proptest::collection::vec(name, 1..9);
    let time = (0i64..1_500, 0i64..4, -1i64..2)
        .prop_map(|(minutes, quarter, nano)| minutes * MINUTE + quarter * 15 * SECOND + nano);
    (names, 1i64..70).prop_flat_map(move |(names, shrink)| {
        let fields = (time.clone(), any::<(u8, u8, u8)>(), url.clone(), 0..names.len(), 0u16..14).prop_map(
            move |(time, choices, url, name, port)| Fields {
                time: time / shrink,
                choices,
                url: url.to_owned(),
                name: names[name].to_owned(),
                port: port.checked_sub(1),
            },
        );
        proptest::collection::vec(fields, 0..120)
    })
}

proptest! {
    #[test]
    fn terms_are_found_as_the_obvious_way_finds_them(url in near(URL_WORDS), name in near(NAME_WORDS)) {
        prop_assert_eq!(is_known_good(&url), reference::good().any(|term| reference::has(&url, term)));
        prop_assert_eq!(is_tool(&name), reference::tools().any(|term| reference::has(&name, term)));
    }

    #[test]
    fn the_rule_is_its_slow_reference_whatever_the_order_of_rows(fields in rows()) {
        let rows: Vec<_> = fields.iter().map(Fields::row).collect();
        let groups = run(&rows);
        prop_assert_eq!(&groups, &reference::sentinel(now(), &rows));
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| row.time);
        prop_assert_eq!(groups, run(&sorted));
    }

    #[test]
    fn csv_reads_back_as_its_cells(device in ".{0,12}", url in ".{0,12}") {
        let rows: Vec<_> = evenly(12, 60 * MINUTE)
            .into_iter()
            .map(|mut row| {
                (row.hunted.device_name, row.hunted.remote_url) = (&device, &url);
                row
            })
            .collect();
        for group in run(&rows) {
            let csv = csv_of(std::slice::from_ref(&group));
            let line = csv.lines().nth(1).unwrap();
            prop_assert_eq!(unquote(line), group.cells());
        }
    }
}

/// The cells of a line of CSV.
fn unquote(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cell.push(c),
        }
    }
    cells
}
