//! The page of one finding: the verdict, who and whom, when and how, why, what would make it benign, and what to do.

mod next;

use maud::{Markup, PreEscaped, Render, html};
use sonde_common::alert::{Alert, Severity};
use sonde_common::encode::native;
use sonde_common::explain::facts::{self, Fact, cut, seconds, whole_secs};
use sonde_common::explain::{allow, benign, techniques};
use sonde_common::human::{self, counted};
use sonde_common::live::Gap;
use sonde_common::score;
use sonde_common::time::Timestamp;

use crate::picture::points::signed;
use crate::picture::{gauge, intervals, lifeline, points, raster, sizes};
use crate::told::Told;
use crate::{MAX_WITH_QUERIES, View, anchor, live, shell};

/// When an allow rule ends that is offered for pasting: so that it is looked at again.
const EXPIRES: &str = "90d";
/// What stands for its reason.
const REASON: &str = "why it is ours, and the ticket";

pub(crate) fn section(report: &View<'_>, index: usize, alert: &Alert) -> Markup {
    let gaps = report.activity.map(|activity| activity.gaps().0).unwrap_or_default();
    let own = gaps.iter().filter(|blind| blind.host == alert.host);
    let gaps: Vec<Gap> = own.map(|blind| blind.gap).collect();
    let id = anchor(alert);
    let title = format!("{id}-t");
    html! {
        section class={ "finding s-" (alert.severity) } id=(id) aria-labelledby=(title) {
            (steps_between(report, index))
            (verdict(report, alert, &title))
            (key_figures(alert))
            div.pair {
                (who(alert))
                (whom(report, alert))
            }
            (indicators(alert))
            (when(report, alert, &gaps))
            div.pair { (interval_panel(alert)) (size_panel(alert)) }
            div.panel { h2 { "Why this score" } (points::waterfall(alert)) (not_known(alert)) }
            @if facts::is_alert(alert) { div.pair { (would_be_benign(alert)) (allow_rule(report, alert)) } }
            (names(alert))
            (profile(alert))
            (attack(alert))
            (next::steps(alert, index < MAX_WITH_QUERIES || report.live.is_some()))
            (callbacks(alert))
        }
    }
}

fn panel(title: &str, content: &Markup) -> Markup {
    html! { div.panel { h2 { (title) } (content) } }
}

fn steps_between(report: &View<'_>, index: usize) -> Markup {
    let pages = &report.pages;
    let to = |at: Option<usize>, name: &str, rel: &str| {
        let alert = at.and_then(|at| pages.get(at));
        html! { @if let Some(alert) = alert { a rel=(rel) href={ "#" (anchor(alert)) } { (name) } } @else { span.soft { (name) } } }
    };
    html! {
        nav.between aria-label={ "Around finding " (index + 1) } {
            a href="#findings" { "All findings" }
            span { (index + 1) " of " (pages.len()) }
            (to(index.checked_sub(1), "Previous", "prev")) (to(index.checked_add(1), "Next", "next"))
        }
    }
}

fn verdict(report: &View<'_>, alert: &Alert, title: &str) -> Markup {
    html! {
        header.verdict {
            p.kind { (shell::badge(alert.severity)) " " (Told(native::rule_name(alert.class))) }
            h1 id=(title) tabindex="-1" { (Told(&facts::destination_text(alert))) }
            p.sentence { (Told(&alert.reason)) }
            div.scale {
                span.score { (format!("{:.2}", cut(alert.score))) }
                (gauge(alert.score, alert.severity))
                ol.marks aria-hidden="true" { li { "0" } li { "0.50 medium" } li { "0.80 high" } li { "0.95" } }
            }
            @let alone = score::severity_of(alert.points);
            @if alone > alert.severity && alert.severity > Severity::Info {
                p.note { "By its points alone it would be " (alone) "; with what is not known of it, severity stops at " (alert.severity) "." }
            }
            @if let Some(held) = &alert.suppressed_by {
                p.held { "Held back by known-good entry " (held.entry) ": " (Told(&held.reason)) ". Lift it with " code { "sonde unallow " (held.entry) } "."
                    @if report.live.is_some() { " " (live::lift(held.entry)) } }
            }
            p.id { "Finding " code { (alert.id) } }
        }
    }
}

/// The figures that are asked for first.
fn key_figures(alert: &Alert) -> Markup {
    let evidence = &alert.evidence;
    let median = evidence.interval_median_secs;
    let figure = |name: &str, value: String, more: String| {
        html! { div { dt { (name) } dd { (value) @if !more.is_empty() { " " span.soft { (more) } } } } }
    };
    let failed = u64::from(evidence.refused) + u64::from(evidence.unanswered);
    html! {
        dl.figures {
            @if median > 0.0 {
                (figure("Interval", human::interval(median), format!("± {}\u{202f}%", human::percent(evidence.jitter_mad_ratio))))
            }
            (figure(
                if alert.class.is_beacon() { "Callbacks" } else { "Events" },
                human::count(evidence.callbacks.into()),
                if failed > 0 { format!("{} failed", human::count(failed)) } else { String::new() },
            ))
            (figure("Over", human::span(whole_secs(native::dwell_secs(evidence))), String::new()))
            (figure("First seen", seconds(evidence.first_seen), String::new()))
            (figure("Latest", seconds(evidence.last_seen), String::new()))
            @if evidence.bytes_out > 0 || evidence.bytes_in > 0 {
                (figure("Sent, received", human::bytes(evidence.bytes_out), human::bytes(evidence.bytes_in)))
            }
        }
    }
}

fn fact_list(list: &[Fact]) -> Markup {
    facts_in("facts", list)
}

fn facts_in(class: &str, list: &[Fact]) -> Markup {
    html! {
        @if !list.is_empty() {
            dl class=(class) {
                @for Fact { name, value } in list { @if !name.is_empty() { dt { (Told(name)) } } dd { (Told(value)) } }
            }
        }
    }
}

fn who(alert: &Alert) -> Markup {
    let chain = facts::chain(alert);
    let last = chain.len().saturating_sub(1);
    html! {
        div.panel {
            h2 { "Who calls" }
            @if !chain.is_empty() {
                ol.chain aria-label="Who started whom" {
                    @for (depth, image) in chain.iter().enumerate() { li.self[depth == last] { span { (Told(image)) } } }
                }
            }
            (trust_mark(alert))
            (fact_list(&facts::caller(alert)))
            (fact_list(&facts::trust(alert)))
        }
    }
}

/// Whether its file is trusted, at a glance.
fn trust_mark(alert: &Alert) -> Markup {
    let signed = alert.process.as_ref().and_then(|process| process.info.signed);
    let (class, text) = match (signed, &alert.process) {
        (Some(true), _) => ("good", "signed or a package's"),
        (Some(false), _) => ("bad", "not signed, no package's"),
        (None, Some(_)) => ("unknown", "signature not known"),
        (None, None) => ("unknown", "program not known"),
    };
    html! { p.trust.{ (class) } { (text) } }
}

fn indicators(alert: &Alert) -> Markup {
    html! {
        @if !alert.indicators.is_empty() {
            div.panel.loud {
                h2 { "On a feed of known-bad infrastructure" }
                @for entry in &alert.indicators { (fact_list(&facts::indicator(entry))) }
            }
        }
    }
}

fn when(report: &View<'_>, alert: &Alert, gaps: &[Gap]) -> Markup {
    let evidence = &alert.evidence;
    let recent = evidence.recent.len() as u64;
    html! {
        figure.panel {
            figcaption { h2 { "When it called" }
                @if recent > 0 && recent < u64::from(evidence.callbacks) {
                    p.note { "The latest " (recent) " of " (human::count(evidence.callbacks.into())) " callbacks: of earlier ones only the count is kept." }
                }
            }
            @if let Some(span) = report.span { (lifeline::lifeline(alert, span, gaps)) }
            @if recent == 0 {
                p.note { "Single times are kept of what keeps a rhythm; of this, only the first and the latest." }
            } @else { (raster::raster(&evidence.recent, evidence.period_secs, gaps)) }
            (facts_in("facts two", &facts::timing(alert, " ± ")))
        }
    }
}

fn interval_panel(alert: &Alert) -> Markup {
    let histogram = &alert.evidence.histogram;
    if !intervals::is_drawn(histogram) {
        return html! {};
    }
    let bins =
        cells(histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, count)| {
            let (from, to) = intervals::edges(histogram, bin);
            [human::interval(from), human::interval(to), count.to_string()]
        }));
    html! {
        figure.panel {
            figcaption { h2 { "Intervals" } p.note { "How long it waited between two callbacks, on a logarithmic axis." } }
            (intervals::intervals(&alert.evidence))
            details { summary { "As a table" }
                table.counts.calls {
                    thead { tr { th scope="col" { "From" } th scope="col" { "to" } th scope="col" { "Intervals" } } }
                    tbody { (bins) }
                }
            }
        }
    }
}

fn size_panel(alert: &Alert) -> Markup {
    let evidence = &alert.evidence;
    let totals = facts::sizes(alert);
    if !sizes::are_known(&evidence.recent_sizes) && totals.is_empty() {
        return html! {};
    }
    html! {
        figure.panel {
            figcaption { h2 { "Sizes" } p.note { "Payload of the latest callbacks, sent up and received down." } }
            @if sizes::are_known(&evidence.recent_sizes) { (sizes::sizes(&evidence.recent_sizes)) }
            @else { p.note { "The sizes of single callbacks are not known." } }
            (fact_list(&totals))
        }
    }
}

fn not_known(alert: &Alert) -> Markup {
    html! {
        @if !alert.missing.is_empty() {
            p.note { b { "Not known: " } (Told(&alert.missing.join(", "))) ". Each adds what it adds on average." }
        }
    }
}

fn would_be_benign(alert: &Alert) -> Markup {
    let changes = benign::changes(alert);
    html! {
        div.panel {
            h2 { "What would make this benign" }
            @if changes.is_empty() {
                p { @if alert.indicators.is_empty() { "No part of the score speaks of program or destination: only what was counted does." }
                    @else { "Nothing about the program: a feed names what it calls. See whether the entry is right, and still holds." } }
            } @else {
                ul.changes {
                    @for change in &changes {
                        li {
                            p { "… if " (change.if_so) }
                            div.scale { span.score { (format!("{:.2}", cut(change.score))) } (gauge(change.score, change.severity)) (shell::badge(change.severity)) }
                            p.note { (signed(change.points)) " points"
                                @if !change.without.is_empty() { ", without: " (Told(&change.without.join(", "))) }
                                @if let Some(with) = change.with { ", with: " (with) } "." }
                        }
                    }
                }
                @if changes.iter().all(|change| change.points > score::ALERT_POINTS) && facts::is_alert(alert) {
                    p.note { "Even then it would be an alert: what else speaks has to be explained." }
                }
            }
        }
    }
}

fn allow_rule(report: &View<'_>, alert: &Alert) -> Markup {
    html! {
        div.panel {
            h2 { "If it is yours: the allow rule" }
            @if report.live.is_some() && alert.suppressed_by.is_none() { (live::allow_form(alert)) }
            @match allow::command(alert, REASON, EXPIRES) {
                Ok(command) => {
                    pre.copy tabindex="0" aria-label="Command" { code { (Told(&command)) } }
                    p.note { "It silences this program only where it calls this destination. Say why, and look again when it ends." }
                }
                Err(why) => p { "None to paste: " (why.why()) "." }
            }
            p { "To undo it: " code { "sonde allow --list" } ", then " code { "sonde unallow NUMBER" } "." }
        }
    }
}

fn whom(report: &View<'_>, alert: &Alert) -> Markup {
    let destination = &alert.destination;
    let claimed = !destination.sni.is_empty() || !destination.connect_host.is_empty();
    html! {
        div.panel {
            h2 { "Whom it calls" }
            (fact_list(&facts::called(alert)))
            dl.facts {
                @if destination.autonomous_system.is_none() && destination.ip.is_some() { dt { "network" } dd.soft { "not known" } }
                dt { "first seen" } dd { (seconds(alert.evidence.first_seen)) (if report.live.is_some() { " by this sensor" } else { " in this input" })
                    @if alert.parts.iter().any(|part| part.name == "new_destination") { ", and not known on this host before" } }
                dt { "look-ups" }
                dd { @if let Some(dns) = &alert.dns { (counted(dns.queries.into(), "query", "queries")) ", see below" }
                    @else if !destination.fqdn.is_empty() { "one of " (Told(&destination.fqdn)) " led to this address before it was called" }
                    @else if claimed { "none seen that led here: the name is what the client claimed" }
                    @else { "none seen that led here: it was called by its address" } }
            }
        }
    }
}

/// What was asked of resolvers, where the finding is about that.
fn names(alert: &Alert) -> Markup {
    let names = facts::names(alert);
    html! { @if !names.is_empty() { (panel("Names asked for", &fact_list(&names))) } }
}

fn profile(alert: &Alert) -> Markup {
    let profile = facts::profile(alert);
    html! { @if !profile.is_empty() { (panel("Profile", &fact_list(&profile))) } }
}

fn attack(alert: &Alert) -> Markup {
    html! {
        @if !alert.techniques.is_empty() {
            div.panel { h2 { "Techniques that the evidence supports (MITRE ATT&CK)" }
                dl.facts { @for technique in &alert.techniques {
                    dt { code { (Told(&technique.id)) } }
                    dd { (Told(&technique.name)) @if let Some(why) = techniques::reason(alert, &technique.id) { span.soft { ": " (Told(why)) } } }
                } }
            }
        }
    }
}

/// The callbacks that are drawn, as a table: the raster's and the sizes' for those who read.
fn callbacks(alert: &Alert) -> Markup {
    let evidence = &alert.evidence;
    if evidence.recent.is_empty() {
        return html! {};
    }
    let with_sizes = sizes::are_known(&evidence.recent_sizes);
    let sized_from = evidence.recent.len().saturating_sub(evidence.recent_sizes.len());
    let mut day = String::new();
    let rows = evidence.recent.iter().enumerate().map(|(index, time)| {
        let text = time.to_string();
        let date = text.get(..10).unwrap_or_default().to_owned();
        let from = if date == day { 11 } else { 0 };
        let shown = text.get(from..21).unwrap_or(&text).replace('T', " ");
        day = date;
        #[expect(clippy::cast_precision_loss, reason = "told to a tenth of a second")]
        let after = |before: &Timestamp| human::interval(time.since(*before) as f64 / 1e9);
        let before = index.checked_sub(1).and_then(|before| evidence.recent.get(before));
        let mut row = vec![shown, before.map(after).unwrap_or_default()];
        let size = index.checked_sub(sized_from).and_then(|at| evidence.recent_sizes.get(at));
        row.extend(
            size.copied().flatten().iter().flat_map(|(out, into)| [human::bytes(*out), human::bytes(*into)]),
        );
        row
    });
    let body = cells(rows);
    html! {
        details.panel {
            summary { h2 { (counted(evidence.recent.len() as u64, "callback", "callbacks")) ", one by one" } }
            div.scroll tabindex="0" role="region" aria-label="Callbacks" {
                table.counts.calls {
                    thead { tr { th scope="col" { "Time (UTC)" } th scope="col" { "After" }
                        @if with_sizes { th scope="col" { "Sent" } th scope="col" { "Received" } } } }
                    tbody { (body) }
                }
            }
        }
    }
}

/// Rows of figures of our own, without the end tags that HTML does without (13.1.2.4): a page has hundreds of them.
fn cells<R: IntoIterator<Item = String>>(rows: impl Iterator<Item = R>) -> Markup {
    let mut out = String::new();
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            out.push_str("<td>");
            Told(&cell).render_to(&mut out);
        }
    }
    PreEscaped(out)
}
