//! Health as Prometheus reads it (text format 0.0.4): for a collector of text files, or whoever asks the control socket.

use std::fmt::Write as _;

use super::account::Ledger;
use super::health::{Health, PartState, Verdict};
use crate::sink::health::Circuit;

/// What a figure is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only grows while the sensor runs; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text, family by family.
struct Text(String);

/// One sample's labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// A family: its head, and a line for each sample. A family without samples is left out.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP sonde_{name} {help}\n# TYPE sonde_{name} {kind}");
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.0, "sonde_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help, [(Vec::new(), number(value))]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help, [(Vec::new(), value)]);
    }

    /// An account: `seen = aggregated + evicted + waiting + ignored`.
    fn account(&mut self, of: &str, ledger: &Ledger) {
        self.counter(&format!("{of}_seen_total"), "All that came.", ledger.seen);
        self.counter(&format!("{of}_aggregated_total"), "What went into detection.", ledger.aggregated);
        self.counter(&format!("{of}_evicted_total"), "What there was no room for.", ledger.evicted);
        self.gauge(&format!("{of}_waiting"), "What waits for its turn.", number(ledger.waiting));
        let ignored =
            ledger.ignored.iter().map(|(reason, n)| (vec![("reason", reason.as_str())], number(*n)));
        self.family(
            &format!("{of}_ignored_total"),
            Kind::Counter,
            "What was left out of detection, by reason.",
            ignored,
        );
    }
}

/// The whole text.
#[must_use]
pub fn text(health: &Health) -> String {
    let mut text = Text(String::new());
    let told = [(vec![("version", health.version.as_str()), ("host", health.host.as_str())], 1.0)];
    text.family("info", Kind::Gauge, "Which sensor it is.", told);
    text.gauge("start_time_seconds", "When the sensor began, since 1970.", seconds(health.since.nanos()));
    let verdicts = [Verdict::Ok, Verdict::Degraded, Verdict::Blind];
    let verdicts = verdicts
        .map(|verdict| (vec![("verdict", verdict.as_str())], f64::from(u8::from(verdict == health.verdict))));
    text.family("verdict", Kind::Gauge, "In how far it can be relied on: 1 at the one that holds.", verdicts);
    let parts = health.parts.iter().filter(|part| part.state != PartState::Unused).map(|part| {
        let works = f64::from(u8::from(matches!(part.state, PartState::Active)));
        (vec![("part", part.name.as_str())], works)
    });
    text.family("part_works", Kind::Gauge, "Whether a part works: 0 if it is lost or degraded.", parts);
    text.account("records", &health.account.records);
    text.account("observations", &health.account.observations);
    counters(&mut text, health);
    let lost = health.lost.iter().map(|(what, n)| (vec![("what", what.as_str())], number(*n)));
    text.family("lost_total", Kind::Counter, "What was lost or forgotten, by what it was.", lost);
    let gaps = health.gaps.count.iter().map(|(cause, n)| (vec![("cause", cause.as_str())], number(*n)));
    text.family("gaps_total", Kind::Counter, "Times in which the sensor was blind.", gaps);
    let gaps = health.gaps.secs.iter().map(|(cause, n)| (vec![("cause", cause.as_str())], number(*n)));
    text.family("gap_seconds_total", Kind::Counter, "How long it was blind.", gaps);
    let queues = |value: fn(&super::health::Queue) -> u64| {
        health.queues.iter().map(move |(name, queue)| (vec![("queue", name.as_str())], number(value(queue))))
    };
    text.family("queue_depth", Kind::Gauge, "What waits in a queue.", queues(|queue| queue.depth));
    text.family("queue_peak", Kind::Gauge, "The most that ever waited.", queues(|queue| queue.peak));
    text.family("queue_capacity", Kind::Gauge, "What fits in.", queues(|queue| queue.capacity));
    sinks(&mut text, health);
    usage(&mut text, health);
    text.0
}

fn counters(text: &mut Text, health: &Health) {
    let counters = &health.counters;
    text.counter("packets_total", "Packets taken.", counters.packets);
    text.counter("socket_events_total", "Events of sockets taken.", counters.socket_events);
    text.counter("process_events_total", "Events of processes taken.", counters.process_events);
    text.counter("connections_total", "Connections opened.", counters.connections);
    text.counter("connections_attributed_total", "… of them with their process known.", counters.attributed);
    text.counter("exchanges_total", "Exchanges inside open connections.", counters.exchanges);
    text.counter("queries_total", "DNS queries.", counters.queries);
    text.counter("own_total", "Connections and queries of the sensor itself.", health.own.count);
    text.counter("alerts_emitted_total", "Alerts emitted.", counters.alerts_emitted);
    text.counter("alerts_suppressed_total", "Alerts kept back as known-good.", counters.alerts_suppressed);
    text.gauge("connections_open", "Connections followed at the moment.", number(counters.tracked));
    text.counter("series_created_total", "Series that were begun.", counters.series);
    text.gauge("memory_bytes", "Memory of connections and detection.", number(counters.memory_bytes));
    let limit = number(counters.memory_limit_bytes);
    text.gauge("memory_limit_bytes", "Its bound (limits.memory).", limit);
}

fn sinks(text: &mut Text, health: &Health) {
    let of = |value: fn(&crate::sink::health::SinkHealth) -> u64| {
        health.sinks.iter().map(move |(name, sink)| {
            (vec![("sink", name.as_str()), ("kind", sink.kind.as_str())], number(value(sink)))
        })
    };
    let counter = Kind::Counter;
    text.family("sink_emitted_total", counter, "Records for a sink.", of(|sink| sink.counts.emitted));
    text.family("sink_acknowledged_total", counter, "… that it took.", of(|sink| sink.counts.acknowledged));
    text.family("sink_dead_total", counter, "… that it refused for good.", of(|sink| sink.counts.dead));
    let dropped = of(|sink| sink.counts.dropped.values().sum());
    text.family("sink_dropped_total", counter, "… that were dropped.", dropped);
    text.family("sink_spooled", Kind::Gauge, "… that wait.", of(|sink| sink.counts.spooled));
    text.family("sink_spool_bytes", Kind::Gauge, "What they take on disk.", of(|sink| sink.spool_bytes));
    let delivers = of(|sink| u64::from(sink.circuit == Circuit::Closed));
    text.family("sink_delivers", Kind::Gauge, "Whether batches are sent: 0 during an outage.", delivers);
}

fn usage(text: &mut Text, health: &Health) {
    let usage = &health.usage;
    let seconds = [(Vec::new(), usage.cpu_secs)];
    text.family("cpu_seconds_total", Kind::Counter, "Processor time since the start.", seconds);
    text.gauge("resident_memory_bytes", "Memory resident.", number(usage.rss_bytes));
    text.gauge("resident_memory_peak_bytes", "… at the most.", number(usage.rss_peak_bytes));
    text.gauge("open_fds", "File descriptors open.", number(usage.descriptors));
    text.gauge("threads", "Threads.", number(usage.threads));
    let shed = health.shed.iter().map(|work| (vec![("work", work.as_str())], 1.0));
    text.family("shed", Kind::Gauge, "Work that is put off to save processor time.", shed);
}

/// A count as Prometheus keeps all figures; beyond 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "the format knows no other numbers")]
const fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "microseconds are precise enough")]
fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000) as f64 / 1e6
}

/// A label's value: quotes, backslashes and line ends are escaped as the format wants it, other control characters as in our
/// own texts.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use sonde_common::live::{Gap, GapCause, Unavailable};
    use sonde_common::time::Timestamp;

    use super::super::health::Role;
    use super::*;

    #[test]
    fn the_text_says_what_health_says_and_evil_names_stay_inside_their_quotes() {
        let mut health =
            Health::new("a\"b\\c\nd\x1b[2J".into(), Timestamp::from_secs_nanos(1_700_000_000, 0));
        health.active(Role::Connections, "ebpf");
        let (what, reason) = ("ring".to_owned(), "EPERM".to_owned());
        health.lost(Role::Packets, &Unavailable { what, reason, remedy: String::new() });
        health.counters.connections = 12;
        health.account.records.seen = 7;
        health.account.records.ignore("other interface");
        health.count_lost("packets", 3);
        let (since, until) = (Timestamp::ZERO, Timestamp::from_secs_nanos(90, 0));
        health.gaps.note(Gap { since, until, cause: GapCause::Suspended, lost: 0 });
        health.sinks.entry("soc".into()).or_default().counts.emitted = 4;
        health.judge();
        let text = text(&health);
        for line in [
            "sonde_info{version=\"0.1.0\",host=\"a\\\"b\\\\c\\nd\u{fffd}[2J\"} 1",
            "# TYPE sonde_connections_total counter",
            "sonde_connections_total 12",
            "sonde_verdict{verdict=\"degraded\"} 1",
            "sonde_part_works{part=\"ring\"} 0",
            "sonde_records_seen_total 7",
            "sonde_records_ignored_total{reason=\"other interface\"} 1",
            "sonde_lost_total{what=\"packets\"} 3",
            "sonde_gap_seconds_total{cause=\"suspended\"} 90",
            "sonde_sink_emitted_total{sink=\"soc\",kind=\"\"} 4",
            "sonde_start_time_seconds 1700000000",
        ] {
            let line = line.replace("0.1.0", env!("CARGO_PKG_VERSION"));
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        assert!(!text.contains("sonde_shed"), "a family without samples is left out");
    }
}
