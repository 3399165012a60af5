//! Everything that is known of one finding, as a page of text: the verdict first, then why, who, whom and how, and last what
//! to do, so that the next step stands right above the prompt.

pub(in crate::cli) mod bars;
pub mod markdown;
pub mod queries;

use sonde_common::alert::Alert;
use sonde_common::encode::native;
pub use sonde_common::explain::facts::is_alert;
use sonde_common::explain::facts::{self, Fact, cut, seconds};
use sonde_common::explain::techniques;
use sonde_common::guide::{self, Step};
use sonde_common::human::{self, counted};
use sonde_common::time::Timestamp;

use super::Style;
use super::table::{color, sparkline};
use super::text::{push_left, push_spaces, width, wrap};

/// Where the values of a section begin.
const COLUMN: usize = 18;
/// Bins of the histogram.
const BINS: usize = sonde_common::alert::HISTOGRAM_BINS;
/// Columns of the score's bar, and of a part's.
const GAUGE: usize = 20;
const PART: usize = 10;
/// Most columns of a timeline.
const TIMELINE: usize = 64;
/// Length of an id that is told to be typed again.
const SHORT_ID: usize = 8;

/// The page, with a line feed at the end of each line.
#[must_use]
pub fn text(alert: &Alert, style: Style) -> String {
    let mut page = Page { style, out: String::new() };
    verdict(&mut page, alert);
    why(&mut page, alert);
    indicators(&mut page, alert);
    who(&mut page, alert);
    whom(&mut page, alert);
    how(&mut page, alert);
    names(&mut page, alert);
    allowed(&mut page, alert);
    attack(&mut page, alert);
    next(&mut page, alert);
    page.out
}

fn verdict(page: &mut Page, alert: &Alert) {
    let style = page.style;
    let severity = format!("{} {}", style.mark(alert.severity), alert.severity.as_str().to_uppercase());
    let line = format!(
        "{}  {:.2}  {}\n",
        styled(style, color(alert.severity), &severity),
        cut(alert.score),
        styled(style, color(alert.severity), &bars::gauge(alert.score, GAUGE, style)),
    );
    page.out.push_str(&line);
    for line in wrap(&format!("{}, finding {}", native::rule_name(alert.class), alert.id), style.width) {
        page.out.push_str(&line);
        page.out.push('\n');
    }
    page.out.push('\n');
    for line in wrap(&style.clean(&alert.reason), style.width) {
        page.out.push_str(&line);
        page.out.push('\n');
    }
    if let Some(suppressed) = &alert.suppressed_by {
        page.section("Held back by a known-good entry");
        page.row("entry", &format!("{}: {}", suppressed.entry, suppressed.reason));
        page.row("lift it", &format!("sonde unallow {}", suppressed.entry));
    }
}

fn why(page: &mut Page, alert: &Alert) {
    page.section("Why this score");
    // The largest part that speaks for it fills its bar; what implants' rarity takes off is no evidence.
    let most = alert.parts.iter().map(|part| part.points).fold(0.0, f64::max);
    let longest = alert.parts.iter().map(|part| width(&part.name)).max().unwrap_or(0).clamp(8, COLUMN);
    for part in &alert.parts {
        let mut line = format!("{:+6.2} ", part.points);
        push_left(&mut line, &bars::bar(part.points / most.max(f64::EPSILON), PART, page.style), PART + 1);
        push_left(&mut line, &page.style.clean(&part.name.replace('_', " ")), longest + 2);
        page.folded(&line, &part.detail);
    }
    let points = format!("{:+6.2} = ", alert.points);
    let verdict = match facts::held_at(alert) {
        Some(why) => format!("; {why}"),
        None if is_alert(alert) => String::new(),
        None => ": no alert (that takes more than -0.50)".to_owned(),
    };
    page.folded(&points, &format!("a score of {:.2}{verdict}", cut(alert.score)));
    if !alert.missing.is_empty() {
        page.row("not known", &alert.missing.join(", "));
    }
}

fn indicators(page: &mut Page, alert: &Alert) {
    if alert.indicators.is_empty() {
        return;
    }
    page.section("On a feed of known-bad infrastructure");
    for entry in &alert.indicators {
        page.rows(&facts::indicator(entry));
    }
}

fn who(page: &mut Page, alert: &Alert) {
    page.section("Who calls");
    page.rows(&facts::caller(alert));
    chain(page, alert);
    page.rows(&facts::trust(alert));
}

/// Who started whom, the eldest first, each below its parent.
fn chain(page: &mut Page, alert: &Alert) {
    for (depth, image) in facts::chain(alert).into_iter().enumerate() {
        let branch = match (depth, page.style.unicode) {
            (0, _) => String::new(),
            (_, true) => format!("{}└ ", " ".repeat(2 * (depth - 1))),
            (_, false) => format!("{}` ", " ".repeat(2 * (depth - 1))),
        };
        let mut line = String::new();
        push_left(&mut line, if depth == 0 { "started by" } else { "" }, COLUMN);
        line.push_str(&branch);
        page.folded(&line, image);
    }
}

fn whom(page: &mut Page, alert: &Alert) {
    page.section("Whom it calls");
    page.rows(&facts::called(alert));
}

fn how(page: &mut Page, alert: &Alert) {
    page.section(if alert.class.is_beacon() { "How it calls" } else { "When" });
    page.rows(&facts::timing(alert, page.style.plus_minus()));
    histogram(page, alert);
    latest(page, alert);
    page.rows(&facts::sizes(alert));
}

/// The intervals on their logarithmic axis.
fn histogram(page: &mut Page, alert: &Alert) {
    let histogram = &alert.evidence.histogram;
    let bars = sparkline(&histogram.counts, BINS, page.style);
    if bars.is_empty() || histogram.high_secs <= 0.0 {
        return;
    }
    let frame = page.style.frame();
    let (low, high) = (human::interval(histogram.low_secs), human::interval(histogram.high_secs));
    let mut text = format!("{frame}{bars}");
    push_spaces(&mut text, BINS - bars.chars().count().min(BINS));
    text.push(frame);
    page.fixed("intervals", &text);
    page.fixed(" ", &format!("{low} to {high}, logarithmic"));
}

/// When the latest callbacks came.
fn latest(page: &mut Page, alert: &Alert) {
    let recent = &alert.evidence.recent;
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return };
    let room = page.style.width.saturating_sub(COLUMN + 4).min(TIMELINE);
    let line = bars::timeline(recent, room, page.style);
    if line.is_empty() {
        return;
    }
    let frame = page.style.frame();
    page.fixed("latest calls", &format!("{frame}{line}{frame}"));
    let count = counted(recent.len() as u64, "call", "calls");
    let clock = |time: Timestamp| seconds(time).chars().skip(11).collect::<String>();
    let span = human::span(last.since(*first).unsigned_abs() / 1_000_000_000);
    page.fixed(" ", &format!("{} to {}: {count} in {span}", clock(*first), clock(*last)));
}

fn names(page: &mut Page, alert: &Alert) {
    let names = facts::names(alert);
    if !names.is_empty() {
        page.section("Names asked for");
        page.rows(&names);
    }
}

fn allowed(page: &mut Page, alert: &Alert) {
    let profile = facts::profile(alert);
    if !profile.is_empty() {
        page.section("Profile");
        page.rows(&profile);
    }
}

fn attack(page: &mut Page, alert: &Alert) {
    if alert.techniques.is_empty() {
        return;
    }
    page.section("Techniques that the evidence supports (MITRE ATT&CK)");
    for technique in &alert.techniques {
        let reason =
            techniques::reason(alert, &technique.id).map_or_else(String::new, |why| format!(": {why}"));
        page.row(&technique.id, &format!("{}{reason}", technique.name));
    }
}

/// What to do.
fn next(page: &mut Page, alert: &Alert) {
    let id: String = alert.id.to_string().chars().take(SHORT_ID).collect();
    if !is_alert(alert) {
        page.section("Next");
        page.row("nothing", "It is no alert: it is listed so that a hunt can find it.");
        return;
    }
    let guide = guide::of(alert);
    for (title, steps) in guide.sections().into_iter().filter(|(_, steps)| !steps.is_empty()) {
        page.section(title);
        for (index, step) in steps.iter().enumerate() {
            page.step(index + 1, step);
        }
    }
    page.section("Hunt on other hosts");
    page.row("queries", &format!("sonde explain {id} --queries kql (or spl, esql, sigma, all)"));
    page.row("a ticket", &format!("sonde explain {id} --format markdown"));
}

fn styled(style: Style, code: &str, text: &str) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn section(&mut self, title: &str) {
        self.out.push('\n');
        self.out.push_str(&styled(self.style, "1", title));
        self.out.push('\n');
    }

    /// A line of a section; none without a value.
    fn row(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let mut line = String::new();
            push_left(&mut line, &self.style.clean(name), COLUMN);
            self.folded(&line, value);
        }
    }

    fn rows(&mut self, facts: &[Fact]) {
        for Fact { name, value } in facts {
            self.row(name, value);
        }
    }

    /// A line whose value is ours, and keeps its spaces.
    fn fixed(&mut self, name: &str, value: &str) {
        let mut line = String::from("  ");
        push_left(&mut line, name, COLUMN);
        self.out.push_str(&line);
        self.out.push_str(value);
        self.out.push('\n');
    }

    /// A head, and a value that is folded behind it.
    fn folded(&mut self, head: &str, value: &str) {
        let value = self.style.clean(value);
        let indent = 2 + width(head);
        let lines = wrap(&value, self.style.width.saturating_sub(indent));
        for (index, line) in lines.iter().enumerate() {
            if index == 0 {
                self.out.push_str("  ");
                self.out.push_str(head);
            } else {
                push_spaces(&mut self.out, indent);
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    /// A step: its number, what to do, and the commands below, which are never folded: they are to be copied.
    fn step(&mut self, number: usize, step: &Step) {
        let text = self.style.clean(&step.text);
        self.folded(&format!("{number:>2}. "), &text);
        // What the terminal cannot show as it is cannot be copied from it either.
        for command in step.commands.iter().filter(|command| self.style.clean(command) == **command) {
            self.out.push_str(&styled(self.style, "2", &format!("        {command}")));
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests;
