//! How much happened when, and of how much of it the program is known.

use maud::{Markup, html};
use sonde_common::activity::{Activity, HostGap, Slot};
use sonde_common::explain::facts::seconds;
use sonde_common::human;
use sonde_common::live::Gap;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use crate::picture::{Path, WIDTH, plane, ratio, units};

/// Height of the plane.
const HEIGHT: f64 = 100.0;
/// Rows of the table beside it, at most.
const TABLE_ROWS: usize = 24;
/// Labels below the axis, less one.
const PARTS: i64 = 4;

/// The picture with its table; nothing for an input without events.
pub(crate) fn figure(activity: &Activity) -> Markup {
    let slots = activity.slots();
    let most = slots.iter().map(|slot| slot.events).max().unwrap_or(0);
    if most == 0 {
        return html! {};
    }
    let width = WIDTH / units(slots.len());
    let (mut known, mut unknown, mut blind) = (Path::default(), Path::default(), Path::default());
    for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.events > 0) {
        let x = units(index) * width;
        let all = tall(slot.events, most).max(1.5);
        let part = tall(slot.attributed, most).min(all);
        if part > 0.0 {
            known.bar(x, HEIGHT - part, width * 0.84, part);
        }
        if all > part {
            unknown.bar(x, HEIGHT - all, width * 0.84, all - part);
        }
    }
    let (gaps, more) = activity.gaps();
    for HostGap { gap, .. } in gaps {
        shade(activity, gap, &mut blind);
    }
    let total = activity.total();
    let step = slot_text(activity.slot_secs());
    let shapes = html! { (blind.drawn("blind")) (unknown.drawn("unknown")) (known.drawn("known")) };
    html! {
        figure.panel #traffic {
            figcaption { h3 { "Traffic over time" }
                p.note { (human::count(total.events)) " connections, exchanges and DNS queries, in slots of " (step) "; at most "
                    (human::count(most)) " in one. The program behind " (share(total)) " of them is known." } }
            div.chart aria-hidden="true" {
                (plane("plot", WIDTH, HEIGHT, &shapes))
                ol.axis { @for part in 0..=PARTS { li { (label(activity, part)) } } }
            }
            p.legend {
                span.key.known { "program known" }
                span.key.unknown { "program not known" }
                @if !blind.is_empty() { span.key.blind { "the sensor was blind" } }
            }
            @if more > 0 { p.note { (human::counted(more, "gap more is", "gaps more are")) " not drawn." } }
            (table(activity))
        }
    }
}

/// How tall a count is.
#[expect(clippy::cast_precision_loss, reason = "a length in a picture")]
fn tall(count: u64, most: u64) -> f64 {
    count as f64 / most.max(1) as f64 * (HEIGHT - 4.0)
}

/// The attributed share, in words.
pub(crate) fn share(slot: Slot) -> String {
    match (slot.attributed, slot.events) {
        (0, _) => "none".to_owned(),
        (known, all) if known >= all => "all".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        (known, all) => format!("{} %", human::percent(known as f64 / all as f64)),
    }
}

fn shade(activity: &Activity, gap: &Gap, path: &mut Path) {
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let at = |time: Timestamp| {
        let all = activity.slot_secs() as f64 * units(activity.slots().len()) * 1e9;
        ratio(time.since(activity.begins()) as f64, 0.0, all) * WIDTH
    };
    let (from, to) = (at(gap.since), at(gap.until));
    if to > from {
        path.bar(from, 0.0, (to - from).max(2.0), HEIGHT);
    }
}

fn slot_start(activity: &Activity, slot: i64) -> Timestamp {
    let secs = i64::try_from(activity.slot_secs()).unwrap_or(i64::MAX);
    activity.begins().plus_nanos(secs.saturating_mul(slot).saturating_mul(NANOS_PER_SEC))
}

fn label(activity: &Activity, part: i64) -> String {
    let slots = i64::try_from(activity.slots().len()).unwrap_or(0);
    // A day and a minute: shorter than that, the year and the seconds say little.
    seconds(slot_start(activity, slots * part / PARTS)).chars().skip(5).take(11).collect()
}

fn slot_text(secs: u64) -> String {
    human::span(secs)
}

fn table(activity: &Activity) -> Markup {
    let slots = activity.slots();
    let chunk = slots.len().div_ceil(TABLE_ROWS).max(1);
    let sum = |slots: &[Slot]| {
        slots.iter().fold(Slot::default(), |sum, slot| Slot {
            events: sum.events + slot.events,
            attributed: sum.attributed + slot.attributed,
        })
    };
    html! {
        details {
            summary { "As a table" }
            div.scroll tabindex="0" role="region" aria-label="Traffic over time" {
                table {
                    thead { tr { th scope="col" { "From" } th.num scope="col" { "Events" } th.num scope="col" { "Program known" } } }
                    tbody {
                        @for (index, slots) in slots.chunks(chunk).enumerate() {
                            tr {
                                td { (seconds(slot_start(activity, i64::try_from(index * chunk).unwrap_or(0)))) }
                                td.num { (human::count(sum(slots).events)) }
                                td.num { (human::count(sum(slots).attributed)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
