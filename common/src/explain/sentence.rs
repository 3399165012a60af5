//! The finding in one sentence, and the half sentence that says how regular it is.

use super::{disguise, is_dead};
use crate::alert::{Destination, Evidence, Level, Severity};
use crate::detect::beacon::label::Label;
use crate::detect::beacon::stats::Test;
use crate::human::{self, counted};
use crate::masquerade::Masquerade;
use crate::net::Transport;
use crate::process::image_name;
use crate::score::{self, Fact, Facts};
use crate::time::NANOS_PER_SEC;

/// Part of the dwell, as a divisor, for which the sensor must have been blind to say so.
const BLIND_PART: i64 = 20;

/// The rhythm in half a sentence.
pub(super) fn rhythm(evidence: &Evidence) -> String {
    if evidence.test.is_empty() {
        return "no rhythm".to_owned();
    }
    let period = human::interval(evidence.period_secs);
    format!("{}, around {period}", fitting(evidence))
}

/// How many of the intervals fit which shape.
fn fitting(evidence: &Evidence) -> String {
    let Evidence { matched, of, shape, .. } = evidence;
    if is_steady(evidence) {
        return format!("{of} stretches of at least half an hour fit {shape}");
    }
    let of = counted((*of).into(), "interval", "intervals");
    format!("{matched} of {of} {} {shape}", if *matched == 1 { "fits" } else { "fit" })
}

/// Whether it is a pace that was found, and no interval.
fn is_steady(evidence: &Evidence) -> bool {
    evidence.test == Test::Steady.name()
}

/// Who calls whom, how regularly, and the three weightiest reasons why that is suspicious.
pub(super) fn of(
    host: &str,
    label: &Label,
    destination: &Destination,
    evidence: &Evidence,
    facts: Facts,
    severity: Severity,
) -> String {
    let caller = match &label.program {
        Some(info) if !info.script.is_empty() => {
            format!("{} running {}", image_name(&info.image), image_name(&info.script))
        }
        Some(info) => image_name(&info.image).to_owned(),
        // Without a process, the host is all that is known of the caller.
        None => host.to_owned(),
    };
    let dwell = evidence.last_seen.since(evidence.first_seen) / NANOS_PER_SEC;
    let dwell = human::span(u64::try_from(dwell).unwrap_or(0));
    let whom = whom(label, destination);
    let calls = counted(evidence.callbacks.into(), "time", "times");
    if severity == Severity::Info {
        return format!("{caller} {} {whom} {calls} in {dwell}, without a rhythm.", verb(label, false));
    }
    let period = human::interval(evidence.period_secs);
    let jitter = evidence.jitter_mad_ratio * 100.0;
    let how = if is_steady(evidence) {
        "on average".to_owned()
    } else if jitter < 0.5 {
        "almost to the tick".to_owned()
    } else {
        format!("± {jitter:.0} %")
    };
    let mut text = format!(
        "{caller} {} {whom} about every {period} ({how}), {calls} in {dwell}: {}.",
        verb(label, true),
        fitting(evidence)
    );
    let failed = evidence.refused.saturating_add(evidence.unanswered);
    let dead = is_dead(evidence);
    if dead {
        let what =
            if evidence.refused >= evidence.unanswered { "refuses the connection" } else { "never answers" };
        text.push_str(&format!(" The server {what} ({}).", counted(failed.into(), "time", "times")));
    } else if evidence.missed > 0 {
        let missed = counted(evidence.missed.into(), "callback was", "callbacks were");
        text.push_str(&format!(" {missed} missed."));
    }
    let blind = i64::from(evidence.gap_secs);
    let lived = evidence.last_seen.since(evidence.first_seen) / NANOS_PER_SEC;
    if blind.saturating_mul(BLIND_PART) >= lived && blind > 0 {
        let times = if evidence.gaps == 1 { "once".to_owned() } else { format!("{} times", evidence.gaps) };
        let span = human::span(evidence.gap_secs.into());
        text.push_str(&format!(" The sensor was blind {times} in that time, for {span} in all."));
    }
    let mut why: Vec<_> = score::WEIGHTS
        .iter()
        .filter(|weight| weight.points > 0.0 && facts.get(weight.fact) == Some(true))
        // Of a server that is not there, sizes say nothing.
        .filter(|weight| !(dead && matches!(weight.fact, Fact::Small | Fact::ConstantReply)))
        .collect();
    why.sort_by(|a, b| b.points.total_cmp(&a.points));
    let detail = |weight: &score::Weight| match weight.fact {
        Fact::Masquerade => disguise(label).map_or(weight.detail, Masquerade::detail),
        _ => weight.detail,
    };
    let why: Vec<_> = why.iter().take(3).map(|weight| detail(weight)).collect();
    if let Some((last, rest)) = why.split_last() {
        let list =
            if rest.is_empty() { (*last).to_owned() } else { format!("{}, and {last}", rest.join(", ")) };
        let mut letters = list.chars();
        if let Some(first) = letters.next() {
            text.push_str(&format!(" {}{}.", first.to_uppercase(), letters.as_str()));
        }
    }
    if facts.get(Fact::Established) == Some(true) {
        text.push_str(" Both are long established here.");
    }
    text
}

const fn verb(label: &Label, present: bool) -> &'static str {
    // Echoes are calls, whether the tracker has them in one flow or not.
    let level = if matches!(label.transport, Transport::Icmp) { Level::Connection } else { label.level };
    match (level, present) {
        (Level::Dns, true) => "asks for new names below",
        (Level::Dns, false) => "asked for new names below",
        (Level::Exchange, true) => "exchanges data inside open connections to",
        (Level::Exchange, false) => "exchanged data inside open connections to",
        (_, true) => "calls",
        (_, false) => "called",
    }
}

fn whom(label: &Label, destination: &Destination) -> String {
    if !destination.group.is_empty() {
        let shown: Vec<_> = destination.group.iter().take(3).map(String::as_str).collect();
        let more = if destination.group.len() > 3 { " and others" } else { "" };
        return format!("{} destinations in turn ({}{more})", destination.group.len(), shown.join(", "));
    }
    if label.level == Level::Dns {
        return destination.name.clone();
    }
    if label.transport == Transport::Icmp {
        return format!("{} by ICMP echo", destination.name);
    }
    let name = if destination.name.contains(':') {
        format!("[{}]", destination.name)
    } else {
        destination.name.clone()
    };
    let through = if destination.connect_host.is_empty() { "" } else { " through a proxy" };
    format!("{name}:{}{through}", destination.port)
}
