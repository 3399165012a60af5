//! `sonde status`: how the running sensor is, what is lost, and how to mend it.

use std::io;

use sonde_common::human::{self, ago};
use sonde_common::text::escape;
use sonde_common::time::NANOS_PER_SEC;

use super::explain::TextOrJson;
use super::failure::{Failure, written};
use super::output::{Format, Output, Style, paragraph};
use super::source::{Sensor, unexpected};
use crate::exit::Exit;
use crate::live::command::{Answer, Request};
use crate::live::health::{Health, PartState, Verdict};

/// Arguments of `sonde status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it runs; 1 it runs, and sees nothing; 66 no sensor runs here; 77 permission."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let Answer::Status(health) = self.sensor.ask(Request::Status)? else { return Err(unexpected()) };
        let style = Style::of_stdout();
        let text = match self.format {
            TextOrJson::Text => text(&health, style),
            TextOrJson::Json => {
                serde_json::to_string(&health).map_err(|error| Failure(Exit::Internal, error.to_string()))?
                    + "\n"
            }
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, style);
        let exit = written(out.write_text(&text).and_then(|()| out.flush()))?;
        Ok(if health.verdict == Verdict::Blind { Exit::Found } else { exit })
    }
}

/// The whole page.
pub(super) fn text(health: &Health, style: Style) -> String {
    let mut out = String::new();
    fold(&mut out, "", &headline(health), style);
    for reason in &health.reasons {
        fold(&mut out, "  - ", reason, style);
    }
    out.push_str("\nParts\n");
    for part in &health.parts {
        let mark = match &part.state {
            PartState::Active => "+",
            PartState::Degraded { .. } => "~",
            PartState::Lost { .. } => "-",
            PartState::Unused => " ",
        };
        let (role, state) = (part.role.as_str(), part.state.told());
        fold(&mut out, &format!("  {mark} {role:<12} "), &format!("{}: {state}", part.name), style);
        if let PartState::Lost { remedy, .. } = &part.state
            && !remedy.is_empty()
        {
            fold(&mut out, &format!("    {:<12} ", ""), &format!("to mend it: {remedy}"), style);
        }
    }
    let counters = &health.counters;
    out.push_str("\nSeen\n");
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            fold(&mut out, &format!("  {name:<12} "), &value, style);
        }
    };
    let n = human::count;
    let known = match counters.connections {
        0 => String::new(),
        all => format!(", {} % with their process", counters.attributed.saturating_mul(100) / all),
    };
    row("connections", format!("{}{known}; {} open", n(counters.connections), n(counters.tracked)));
    row("exchanges", format!("{} inside open connections", n(counters.exchanges)));
    row("queries", format!("{} (DNS)", n(counters.queries)));
    row(
        "records",
        format!(
            "{} packets, {} socket events, {} process events",
            n(counters.packets),
            n(counters.socket_events),
            n(counters.process_events)
        ),
    );
    row("series", format!("{} followed", n(counters.series)));
    let kept_back = match counters.alerts_suppressed {
        0 => String::new(),
        count => format!(", {} kept back as known-good", n(count)),
    };
    row("alerts", format!("{} emitted{kept_back}", n(counters.alerts_emitted)));
    let excused: Vec<_> =
        health.profiles.excused.iter().map(|(name, count)| format!("{name} {}", n(*count))).collect();
    if !excused.is_empty() {
        row("excused", format!("by profile: {}", excused.join(", ")));
    }
    let lost: Vec<_> = health.lost.iter().map(|(what, count)| format!("{} {what}", n(*count))).collect();
    row("lost", if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") });
    let gaps: Vec<_> = health
        .gaps
        .count
        .iter()
        .map(|(cause, count)| {
            let secs = health.gaps.secs.get(cause).copied().unwrap_or(0);
            format!("{} {} ({})", n(*count), cause.as_str().replace('_', " "), human::span(secs))
        })
        .collect();
    row("gaps", gaps.join(", "));
    if let Some(latest) = health.gaps.latest {
        row("", format!("the latest ended {}", ago(health.now, latest.until)));
    }
    own(health, &mut row);
    if !health.sinks.is_empty() {
        out.push_str("\nSinks\n");
        for (name, sink) in &health.sinks {
            for (at, line) in sink.lines(health.now).iter().enumerate() {
                let head = if at == 0 { name.as_str() } else { "" };
                fold(&mut out, &format!("  {:<12} ", escape(head)), line, style);
            }
        }
    }
    costs(&mut out, health, style);
    out
}

/// What the sensor does itself: left out of detection, and told of here.
fn own(health: &Health, row: &mut impl FnMut(&str, String)) {
    let n = human::count;
    if health.own.count == 0 {
        return;
    }
    row(
        "own",
        format!(
            "{} connections and queries of the sensor itself, left out of detection",
            n(health.own.count)
        ),
    );
    for to in &health.own.destinations {
        let name = if to.name.is_empty() { String::new() } else { format!(" ({})", to.name) };
        let mut parts = Vec::new();
        if to.connections > 0 {
            parts.push(format!("{} connections", n(to.connections)));
        }
        if to.queries > 0 {
            parts.push(format!("{} queries", n(to.queries)));
        }
        if to.bytes_out + to.bytes_in > 0 {
            parts.push(format!("{} out, {} in", human::bytes(to.bytes_out), human::bytes(to.bytes_in)));
        }
        parts.push(format!("last {}", ago(health.now, to.last)));
        row("", format!("{} {}{name}: {}", to.transport, to.remote, parts.join(", ")));
    }
    if health.own.unlisted > 0 {
        row("", format!("and {} more, no longer listed", n(health.own.unlisted)));
    }
}

fn costs(out: &mut String, health: &Health, style: Style) {
    let Health { usage, counters, state, config, privileges, .. } = health;
    let n = human::count;
    out.push_str("\nCosts and state\n");
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            fold(out, &format!("  {name:<12} "), &value, style);
        }
    };
    row("processor", format!("{:.2} % of one of late, {:.1} s in all", usage.cpu_percent, usage.cpu_secs));
    row(
        "memory",
        format!(
            "{} resident, {} at the most; {} of {} for detection",
            human::bytes(usage.rss_bytes),
            human::bytes(usage.rss_peak_bytes),
            human::bytes(counters.memory_bytes),
            human::bytes(counters.memory_limit_bytes)
        ),
    );
    let queues: Vec<_> = health
        .queues
        .iter()
        .map(|(name, queue)| {
            format!("{name} {} of {} (most {})", n(queue.depth), n(queue.capacity), n(queue.peak))
        })
        .collect();
    row("queues", queues.join(", "));
    let saved = match (&state.path, &state.failure, state.saved) {
        (None, _, _) => "nothing is kept over a restart".to_owned(),
        (Some(path), Some(failure), _) => {
            format!("{path}: {}, {}", failure.reason, ago(health.now, failure.time))
        }
        (Some(path), None, Some(saved)) => {
            format!("{path}, {}, saved {}", human::bytes(state.bytes), ago(health.now, saved))
        }
        (Some(path), None, None) => format!("{path}, not saved yet"),
    };
    row("state", saved);
    if let Some(restored) = state.restored {
        row("", format!("taken up at start, as it was {}", ago(health.now, restored)));
    }
    row("feeds", feeds(health));
    if let Some(failure) = &health.feeds.failure {
        row("", format!("not all can be used, {}: {}", ago(health.now, failure.time), failure.reason));
    }
    if health.hints.wanted {
        row("hints", hints(health));
        for problem in [&health.hints.failure, &health.hints.refusal].into_iter().flatten() {
            row("", format!("{}: {}", ago(health.now, problem.time), problem.reason));
        }
    }
    let file = config.path.as_deref().unwrap_or("defaults");
    row("config", format!("{file}, taken {}", ago(health.now, config.loaded)));
    if let Some(rejected) = &config.rejected {
        row(
            "",
            format!("a later one was not taken, {}: {}", ago(health.now, rejected.time), rejected.reason),
        );
    }
    if !config.pending.is_empty() {
        row("", format!("only a restart takes up: {}", config.pending.join(", ")));
    }
    let kept = if privileges.kept.is_empty() { "none".to_owned() } else { privileges.kept.join(", ") };
    row("privileges", format!("uid {}, capabilities: {kept}", privileges.uid));
}

/// What the feeds hold.
fn feeds(health: &Health) -> String {
    let feeds = &health.feeds;
    let Some(loaded) = feeds.loaded.filter(|_| feeds.files > 0 || feeds.networks.is_some()) else {
        return "none".to_owned();
    };
    let mut text = format!(
        "{} indicators of {} files, {}, taken {}",
        human::count(feeds.counts.entries()),
        human::count(feeds.files),
        human::bytes(feeds.counts.memory_bytes),
        ago(health.now, loaded)
    );
    if feeds.entries_refused > 0 {
        let refused = human::count(feeds.entries_refused);
        text.push_str(&format!("; {refused} entries refused (`sonde feeds check` names them)"));
    }
    if let Some(networks) = &feeds.networks {
        text.push_str(&format!("; networks from {networks}"));
    }
    text
}

/// What the fleet tells.
fn hints(health: &Health) -> String {
    let hints = &health.hints;
    let refused: u64 = hints.refused.values().sum();
    let refused =
        if refused > 0 { format!("; {} documents refused", human::count(refused)) } else { String::new() };
    let Some((made, expires)) = hints.made.zip(hints.expires) else {
        return format!("none came yet{refused}");
    };
    let end = if expires <= health.now { "expired at" } else { "until" };
    format!(
        "{} of a fleet of {} hosts, serial {} of {}, made {}, {end} {expires}{refused}",
        human::count(hints.entries),
        human::count(hints.hosts.into()),
        hints.serial,
        hints.issuer,
        ago(health.now, made),
    )
}

/// One line: what runs where, since when, and how it is.
pub(super) fn headline(health: &Health) -> String {
    let verdict = match health.verdict {
        Verdict::Ok => "all works",
        Verdict::Degraded => "DEGRADED",
        Verdict::Blind => "BLIND",
    };
    let secs = u64::try_from(health.now.since(health.since) / NANOS_PER_SEC).unwrap_or(0);
    let [version, host] = [&health.version, &health.host].map(|text| escape(text));
    format!("Sonde {version} on {host}, for {}, pid {}: {verdict}", human::span(secs), health.pid)
}

/// A head, and a text that is folded behind it.
fn fold(out: &mut String, head: &str, text: &str, style: Style) {
    let indent = head.chars().count();
    let folded = Style { width: style.width.saturating_sub(indent).max(20), ..style };
    for (index, line) in paragraph(&escape(text), folded).lines().enumerate() {
        if index == 0 {
            out.push_str(head);
        } else {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::live::{Gap, GapCause, Unavailable};
    use sonde_common::time::Timestamp;

    use super::*;
    use crate::live::health::Role;

    #[test]
    fn a_loss_is_named_with_its_reason_and_its_remedy() {
        let mut health = Health::new("web-07\u{1b}[31m".into(), Timestamp::from_secs_nanos(1_000, 0));
        health.now = Timestamp::from_secs_nanos(1_000 + 3_700, 0);
        health.active(Role::Connections, "netlink");
        health.lost(
            Role::Connections,
            &Unavailable {
                what: "eBPF connect hooks".into(),
                reason: "Operation not permitted".into(),
                remedy: "start it with CAP_BPF".into(),
            },
        );
        health.count_lost("packets", 1_234);
        health.gaps.note(Gap {
            since: Timestamp::from_secs_nanos(1_100, 0),
            until: Timestamp::from_secs_nanos(1_160, 0),
            cause: GapCause::Suspended,
            lost: 0,
        });
        health.judge();
        for columns in [60, 120] {
            let text = text(&health, Style { width: columns, color: false, unicode: true });
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for wanted in [
                "for 1 h 1 min",
                "DEGRADED",
                "eBPF connect hooks: lost: Operation not permitted",
                "to mend it: start it with CAP_BPF",
                "lost 1,234 packets",
                "1 suspended (1 min)",
                "nothing is kept over a restart",
            ] {
                assert!(flat.contains(wanted), "{wanted} is missing in\n{text}");
            }
            assert!(
                !text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= columns),
                "{text}"
            );
        }
    }
}
