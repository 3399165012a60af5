//! What is known of the chosen series, in lines: the verdict, the sentence, when it called, what its score is made of, who and
//! whom, and the command that would take it for known-good.

use ratatui::text::{Line, Span};
use sonde_common::alert::Alert;
use sonde_common::encode::native;
use sonde_common::explain::allow::{self, NoCommand};
use sonde_common::explain::facts::{self, Fact, cut};
use sonde_common::human::{self, counted};

use super::super::output::Style;
use super::super::output::finding::bars;
use super::super::output::text::{push_left, width, wrap};
use super::draw::Look;
use super::raster::raster;

/// Where values begin.
const COLUMN: usize = 13;
/// Most rows and columns of the raster.
const RASTER_ROWS: usize = 5;
const RASTER_COLUMNS: usize = 96;
/// Columns of a part's bar.
const BAR: usize = 8;
/// What the command is filled in with: for a person to replace.
const REASON: &str = "why it is known-good";
const EXPIRES: &str = "90d";
/// Digits of an id that are enough to name it.
const SHORT_ID: usize = 8;

/// The lines, each at most so wide.
pub(super) fn lines(row: &Alert, style: Style, columns: usize) -> Vec<Line<'static>> {
    let mut page = Page { look: Look(style), columns, lines: Vec::new() };
    page.verdict(row);
    page.raster(row);
    page.score(row);
    page.facts(&facts::caller(row), &["script", "command line", "user", "process", "known by"]);
    page.facts(
        &facts::called(row),
        &["address", "network", "resolved", "server name (TLS)", "asked of a proxy", "JA4"],
    );
    page.facts(&facts::timing(row, style.plus_minus()), &["interval", "gaps"]);
    page.facts(&facts::sizes(row), &["sent", "received"]);
    page.allow(row);
    page.lines
}

struct Page {
    look: Look,
    columns: usize,
    lines: Vec<Line<'static>>,
}

impl Page {
    fn verdict(&mut self, row: &Alert) {
        let Look(style) = self.look;
        let severity = row.severity.as_str().to_uppercase();
        let head = format!("{} {severity}  {:.2}", style.mark(row.severity), cut(row.score));
        let short: String = row.id.to_string().chars().take(SHORT_ID).collect();
        let what = format!("  {}, finding {short}", native::rule_name(row.class));
        self.lines.push(Line::from(vec![
            Span::styled(head, self.look.severity(row.severity)),
            Span::styled(what, self.look.bold()),
        ]));
        for line in wrap(&style.clean(&row.reason), self.columns) {
            self.lines.push(Line::raw(line));
        }
        if let Some(entry) = &row.suppressed_by {
            self.row(
                "known-good",
                &format!("entry {}: {}; sonde unallow {}", entry.entry, entry.reason, entry.entry),
            );
        }
        for Fact { name, value } in facts::profile(row) {
            self.row(if name == "name" { "profile" } else { "" }, &value);
        }
        self.lines.push(Line::default());
    }

    fn raster(&mut self, row: &Alert) {
        let Look(style) = self.look;
        let times = &row.evidence.recent;
        // The name of a row, two frames and a space.
        let room = self.columns.saturating_sub(COLUMN + 2).min(RASTER_COLUMNS);
        let Some(raster) = raster(times, RASTER_ROWS, room, style) else { return };
        let frame = style.frame();
        for (name, marks) in raster.rows {
            let mut line = String::new();
            push_left(&mut line, &name, COLUMN);
            line.push(frame);
            let marks = Span::styled(marks, self.look.severity(row.severity));
            self.lines.push(Line::from(vec![Span::raw(line), marks, Span::raw(frame.to_string())]));
        }
        let length = human::span(raster.length.unsigned_abs());
        let count = counted(times.len() as u64, "latest call", "latest calls");
        let text = format!("{:COLUMN$} {count}, UTC; a row is {length}", "");
        self.lines.push(Line::styled(text, self.look.dim()));
        self.lines.push(Line::default());
    }

    fn score(&mut self, row: &Alert) {
        let Look(style) = self.look;
        let most = row.parts.iter().map(|part| part.points).fold(0.0, f64::max);
        for part in &row.parts {
            let mut head = format!("{:+6.2} ", part.points);
            push_left(&mut head, &bars::bar(part.points / most.max(f64::EPSILON), BAR, style), BAR + 1);
            push_left(&mut head, &style.clean(&part.name.replace('_', " ")), COLUMN + 3);
            self.folded(&head, &part.detail);
        }
        let held = facts::held_at(row).map_or_else(String::new, |why| format!("; {why}"));
        self.folded(&format!("{:+6.2} = ", row.points), &format!("a score of {:.2}{held}", cut(row.score)));
        self.row("not known", &row.missing.join(", "));
        self.lines.push(Line::default());
    }

    /// Those facts of a list that have these names: the rest is for `sonde explain`.
    fn facts(&mut self, facts: &[Fact], names: &[&str]) {
        for Fact { name, value } in facts.iter().filter(|fact| names.contains(&fact.name.as_ref())) {
            let short = match name.as_ref() {
                "server name (TLS)" => "SNI",
                "asked of a proxy" => "by a proxy",
                name => name,
            };
            self.row(short, value);
        }
    }

    fn allow(&mut self, row: &Alert) {
        let id: String = row.id.to_string().chars().take(SHORT_ID).collect();
        self.lines.push(Line::default());
        match allow::command(row, REASON, EXPIRES) {
            // What is chosen is named by its id: short, and nothing that others named is to be pasted.
            Ok(_) => self.row(
                "to allow it",
                &format!("sonde allow --finding {id} --reason '{REASON}' --expires {EXPIRES}"),
            ),
            Err(NoCommand::NoProgram) => self.row(
                "to allow it",
                "which program calls is not known, and a destination alone is never known-good",
            ),
            Err(why) => self.row("to allow it", why.why()),
        }
        self.row("all of it", &format!("sonde explain {id}"));
    }

    fn row(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let mut head = String::new();
            push_left(&mut head, name, COLUMN);
            self.folded(&head, value);
        }
    }

    /// A head, and a value that is folded behind it.
    fn folded(&mut self, head: &str, value: &str) {
        let Look(style) = self.look;
        let indent = width(head);
        let lines = wrap(&style.clean(value), self.columns.saturating_sub(indent).max(8));
        for (index, line) in lines.into_iter().enumerate() {
            let head = if index == 0 { head.to_owned() } else { " ".repeat(indent) };
            self.lines.push(Line::from(vec![Span::styled(head, self.look.dim()), Span::raw(line)]));
        }
    }
}
