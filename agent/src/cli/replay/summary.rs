//! What a replay has seen and left out, in a few lines.

use sonde_common::human::{self, counted};

use crate::replay::Totals;

/// Tells it all beside a table, else only what had to be dropped.
pub(super) fn tell(totals: &Totals, all: bool) {
    if totals.attribution.is_some_and(|attribution| attribution.attributed == 0 && attribution.unknown > 0) {
        tracing::warn!("the process map names the process of none of the connections");
    }
    if all {
        summary(totals);
    } else if let Some(lost) = lost(totals) {
        tracing::warn!("{lost}");
    }
}

/// What was seen, in a few lines on stderr.
#[expect(clippy::print_stderr, reason = "the summary belongs beside the table, not in it")]
fn summary(totals: &Totals) {
    let mut text = seen(totals);
    text.push('\n');
    if let Some(known) = known(totals) {
        text.push_str(&format!("{known}\n"));
    }
    let ignored = ignored(totals);
    if !ignored.is_empty() {
        text.push_str(&format!("Left out: {}.\n", ignored.join(", ")));
    }
    if let Some(lost) = lost(totals) {
        text.push_str(&lost);
        text.push('\n');
    }
    eprint!("{text}");
}

/// What was read, in a sentence.
pub(super) fn seen(totals: &Totals) -> String {
    let engine = &totals.engine;
    let mut text = String::new();
    if totals.frames > 0 {
        text.push_str(&format!("{}, ", counted(totals.frames, "packet", "packets")));
    }
    if totals.records > 0 {
        text.push_str(&format!("{}, ", counted(totals.records, "log record", "log records")));
    }
    if totals.hosts == 0 && totals.records > 0 {
        // A rule was asked, and not the engine.
        text.push_str(&format!("{}.", counted(totals.rows, "row", "rows")));
    } else {
        text.push_str(&format!(
            "{}, {}, {} of {}; {}.",
            counted(engine.connections, "connection", "connections"),
            counted(engine.exchanges, "exchange inside an open one", "exchanges inside open ones"),
            counted(engine.queries, "DNS query", "DNS queries"),
            counted(totals.hosts as u64, "host", "hosts"),
            counted(engine.beacon.series, "series", "series"),
        ));
    }
    text
}

/// Of how many events the process is known, where a capture could tell.
fn known(totals: &Totals) -> Option<String> {
    let n = human::count;
    let attribution = totals.attribution.as_ref()?;
    let (known, all) = (attribution.attributed, attribution.attributed + attribution.unknown);
    Some(format!("The process is known for {} of {} events.", n(known), n(all)))
}

/// What was left out, and inputs that were damaged, each in a sentence.
pub(super) fn left_out(totals: &Totals) -> Vec<String> {
    let mut texts = Vec::new();
    let ignored = ignored(totals);
    if !ignored.is_empty() {
        texts.push(format!("Left out: {}.", ignored.join(", ")));
    }
    let damaged = [
        (totals.damaged, "was damaged", "were damaged"),
        (totals.unreadable, "could not be read", "could not be read"),
    ];
    for (count, one, many) in damaged.into_iter().filter(|(count, _, _)| *count > 0) {
        let what = if count == 1 { one } else { many };
        texts
            .push(format!("{} {what}: the log of the replay names each.", counted(count, "input", "inputs")));
    }
    texts
}

/// What was ignored, by cause.
fn ignored(totals: &Totals) -> Vec<String> {
    let (tracking, assembled) = (&totals.tracking, &totals.assembled);
    let undecoded = &totals.undecoded;
    let ignored = [
        (undecoded.not_ip, "not IP", "not IP"),
        (undecoded.other_transport, "of another protocol", "other protocols"),
        (undecoded.fragment, "later fragment", "later fragments"),
        (undecoded.truncated, "cut in a header", "cut in a header"),
        (undecoded.link, "of an unknown link type", "unknown link type"),
        (
            tracking.no_peer,
            "multicast, broadcast, loopback or local discovery",
            "multicast, broadcast, loopback or local discovery",
        ),
        (
            tracking.foreign,
            "connection opened from outside or between others",
            "connections opened from outside or between others",
        ),
        (
            tracking.dns_damaged,
            "message on the DNS port that is none",
            "messages on the DNS port that are none",
        ),
        (totals.bad_lines, "damaged line", "damaged lines"),
        (
            totals.foreign_rows,
            "row of a connection opened from outside or between others",
            "rows of connections opened from outside or between others",
        ),
        (
            totals.no_peer_rows,
            "row of multicast, broadcast, loopback or local discovery",
            "rows of multicast, broadcast, loopback or local discovery",
        ),
        (
            assembled.resolver,
            "datagram to a resolver, whose look-up is counted",
            "datagrams to resolvers, whose look-ups are counted",
        ),
        (assembled.repeated, "row that told of a connection again", "rows that told of a connection again"),
        (assembled.retries, "retry of an attempt", "retries of an attempt"),
        (
            tracking.restarts,
            "step back in time, taken as a new start",
            "steps back in time, each taken as a new start",
        ),
    ];
    let bad =
        totals.bad_rows.iter().filter(|(_, count)| **count > 0).map(|(cause, count)| {
            counted(*count, &format!("bad row ({cause})"), &format!("bad rows ({cause})"))
        });
    ignored
        .iter()
        .filter(|(count, _, _)| *count > 0)
        .map(|&(count, one, many)| counted(count, one, many))
        .chain(bad)
        .collect()
}

/// What had to be dropped, in a sentence.
pub(super) fn lost(totals: &Totals) -> Option<String> {
    let (tracking, engine) = (&totals.tracking, &totals.engine);
    let attribution = totals.attribution.unwrap_or_default();
    let lost = [
        (tracking.evicted, "connection", "connections"),
        (engine.beacon.series_evicted, "series", "series"),
        (engine.learned_evicted, "learnt program or destination", "learnt programs and destinations"),
        (engine.beacon.sightings_evicted, "first sighting", "first sightings"),
        (engine.names_evicted, "name", "names"),
        (engine.findings_evicted, "finding", "findings"),
        (engine.hosts_evicted, "host", "hosts"),
        (engine.processes_evicted, "process", "processes"),
        (tracking.streams_refused, "client stream", "client streams"),
        (tracking.queries_evicted, "DNS query", "DNS queries"),
        (totals.assembled.said_evicted, "name of a connection to come", "names of connections to come"),
        (
            totals.assembled.connections_evicted,
            "connection that might be told of again",
            "connections that might be told of again",
        ),
        (totals.assembled.processes_evicted, "process of a log", "processes of logs"),
        (
            attribution.flows_evicted,
            "connection that a capture names the process of",
            "connections that a capture names the process of",
        ),
        (attribution.processes_evicted, "process that a capture names", "processes that a capture names"),
    ];
    let lost: Vec<_> = lost
        .iter()
        .filter(|(count, _, _)| *count > 0)
        .map(|&(count, one, many)| counted(count, one, many))
        .collect();
    (!lost.is_empty()).then(|| format!("Dropped to stay within bounds (limits.memory): {}.", lost.join(", ")))
}
