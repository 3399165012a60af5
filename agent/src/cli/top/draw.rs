//! The view as a frame: what runs, the table, what is known of the chosen series, the keys. Any size is drawn; what there is no
//! room for is left out, the least telling first.
//!
//! Marks and words carry what colour says, so that it survives a terminal or an eye without it. Names pass
//! [`Style::clean`] on their way into a cell.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style as Paint};
use ratatui::text::{Line, Span};
use sonde_common::alert::{Alert, Severity};
use sonde_common::human;

use super::super::output::text::{elide, push_left, width};
use super::super::output::{Style, columns};
use super::super::status;
use super::detail;
use super::row::{Column, held_back};
use super::state::{Mode, Snapshot, State};
use crate::live::health::{Health, Verdict};

/// Lines that the table keeps beside a detail: its header and some rows.
const LEAST_TABLE: usize = 5;
/// Lines below which a detail is not worth a pane of its own: then it is shown in the table's place, and only when asked for.
const LEAST_DETAIL: usize = 8;
/// Between two columns.
const GAP: usize = 2;
/// The mark of the chosen row, before the first column.
const MARGIN: usize = 2;
/// What the keys do.
const KEYS: [(&str, &str); 12] = [
    ("arrows, j k", "choose a series; PgUp PgDn, g G go further"),
    ("Enter", "show what is known of it, or hide it"),
    ("] [ or J K", "scroll that"),
    ("/", "filter: rows in which every word is found; Escape clears"),
    ("a", "only alerts, or every series"),
    ("1 to 8", "sort by that column; once more: the other way round"),
    ("s, r", "sort by the next column; turn the order round"),
    ("space", "stop the picture, or let it go on"),
    ("?", "these keys; any key takes them away"),
    ("q", "end; so does Escape, and Ctrl-C"),
    ("", ""),
    ("marks", ""),
];

/// What the drawing found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Lines of the detail that do not fit into its pane.
    pub(super) most_scroll: usize,
    /// Whether it is shown at all.
    pub(super) detail: bool,
}

/// How things look on this terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look(pub(super) Style);

impl Look {
    fn colored(self, paint: Paint, color: Color) -> Paint {
        if self.0.color { paint.fg(color) } else { paint }
    }

    /// As in the table of `sonde replay`: of the colours that every palette of sixteen keeps apart, and never red against green.
    pub(super) fn severity(self, severity: Severity) -> Paint {
        let plain = Paint::new();
        match severity {
            Severity::Critical => self.colored(plain.add_modifier(Modifier::BOLD), Color::Red),
            Severity::High => self.colored(plain, Color::Red),
            Severity::Medium => self.colored(plain, Color::Yellow),
            Severity::Low => self.colored(plain, Color::Cyan),
            Severity::Info => self.dim(),
        }
    }

    pub(super) fn bold(self) -> Paint {
        Paint::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Paint {
        Paint::new().add_modifier(Modifier::DIM)
    }
}

/// Draws the whole view.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>) -> Drawn {
    let look = Look(state.style);
    let area = frame.area();
    let (wide, high) = (usize::from(area.width), usize::from(area.height));
    let mut lines = head(&state.snapshot, state.stale.as_deref(), state.paused, look);
    // The keys stay in sight, even where little else does.
    let room = high.saturating_sub(lines.len() + 1);
    let mut drawn = Drawn::default();
    if state.mode == Mode::Help {
        lines.extend(help(look).into_iter().take(room));
    } else {
        let detail = match state.chosen() {
            Some(row) if state.detail != Some(false) => {
                detail::lines(row, state.style, wide.saturating_sub(MARGIN))
            }
            _ => Vec::new(),
        };
        // A rule parts them. The table gives way, down to its least, where there are more rows than room.
        let wanted = detail.len() + 1;
        let most = room.saturating_sub(LEAST_TABLE.max(room / 3));
        // What a few rows leave free is the detail's.
        let free = wanted.min(room.saturating_sub(state.count() + 1));
        let below = match (detail.is_empty(), most >= LEAST_DETAIL) {
            (true, _) => 0,
            (false, true) => wanted.min(most).max(free),
            (false, false) if state.detail == Some(true) => room,
            (false, false) => 0,
        };
        drawn.detail = below > 0;
        lines.extend(table(state, wide, room - below, look));
        if below > 0 {
            // Right below the last row, where rows leave room.
            lines.push(rule(wide, look));
            let pane = below - 1;
            drawn.most_scroll = detail.len().saturating_sub(pane);
            let shown = detail.into_iter().skip(state.scroll.min(drawn.most_scroll)).take(pane);
            lines.extend(shown.map(|mut line| {
                line.spans.insert(0, Span::raw(" ".repeat(MARGIN)));
                line
            }));
        }
    }
    lines.truncate(high.saturating_sub(1));
    lines.resize_with(high.saturating_sub(1), Line::default);
    lines.push(foot(state, drawn, look));
    put(frame.buffer_mut(), area, &lines);
    if state.mode == Mode::Filter && high > 0 {
        let at = 1 + width(&state.style.clean(&state.filter));
        let x = area.x + u16::try_from(at).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
        frame.set_cursor_position((x, area.bottom().saturating_sub(1)));
    }
    drawn
}

/// The table as text, for output that is no terminal.
pub(super) fn plain(snapshot: &Snapshot, style: Style) -> String {
    let look = Look(Style { color: false, ..style });
    let mut out = String::new();
    for line in head(snapshot, None, false, look) {
        line.spans.iter().for_each(|span| out.push_str(&span.content));
        out.push('\n');
    }
    let now = snapshot.health.now;
    let rows: Vec<Vec<String>> = snapshot
        .rows
        .rows
        .iter()
        .map(|row| Column::ALL.iter().map(|column| column.cell(row, now, style)).collect())
        .collect();
    if rows.is_empty() {
        out.push_str(NOTHING_YET);
        out.push('\n');
    } else {
        out.push_str(&columns::table(&Column::ALL.map(Column::title), &rows, look.0));
    }
    out
}

const NOTHING_YET: &str =
    "no series yet: one is listed once a program has called the same destination four times";

/// Puts lines from the top; what does not fit is left out.
fn put(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

/// What runs, and what it saw.
fn head(snapshot: &Snapshot, stale: Option<&str>, paused: bool, look: Look) -> Vec<Line<'static>> {
    let health = &snapshot.health;
    let paint = if health.verdict == Verdict::Ok { look.bold() } else { look.severity(Severity::Critical) };
    let headline = Line::styled(look.0.clean(&status::headline(health)), paint);
    let mut lines = vec![headline, Line::styled(counts(snapshot, health), look.dim())];
    let note = match (stale, health.reasons.first()) {
        _ if paused => Some("the picture stands still: space lets it go on".to_owned()),
        (Some(error), _) => Some(format!("not fresh: {error}")),
        (None, Some(reason)) => Some(reason.clone()),
        (None, None) => None,
    };
    lines.extend(note.map(|note| Line::styled(look.0.clean(&note), look.severity(Severity::Medium))));
    lines.push(Line::default());
    lines
}

fn counts(snapshot: &Snapshot, health: &Health) -> String {
    let counters = &health.counters;
    let lost: u64 = health.lost.values().sum();
    let n = human::short_count;
    format!(
        "{} series, {}, {} connections ({} open), {} queries, {} lost; {:.1} % CPU, {}",
        human::count(snapshot.rows.series),
        human::counted(counters.alerts_emitted, "alert", "alerts"),
        n(counters.connections),
        n(counters.tracked),
        n(counters.queries),
        n(lost),
        health.usage.cpu_percent,
        human::bytes(health.usage.rss_bytes),
    )
}

/// A header and as many rows as fit, with the chosen one among them.
fn table(state: &State, wide: usize, room: usize, look: Look) -> Vec<Line<'static>> {
    if room == 0 {
        return Vec::new();
    }
    if state.count() == 0 {
        let text = if state.snapshot.rows.rows.is_empty() {
            NOTHING_YET
        } else if state.filter.is_empty() {
            "no alert: a shows every series"
        } else {
            "nothing fits the filter: Escape clears it"
        };
        return vec![Line::raw(text)];
    }
    let visible = room - 1;
    // The chosen row stays in the middle, where there is something above and below.
    let most = state.count().saturating_sub(visible);
    let from = state.at.saturating_sub(visible / 2).min(most);
    let now = state.snapshot.health.now;
    let rows: Vec<(&Alert, bool)> =
        state.rows().enumerate().skip(from).take(visible).map(|(at, row)| (row, at == state.at)).collect();
    let cells: Vec<[String; 9]> =
        rows.iter().map(|(row, _)| Column::ALL.map(|column| column.cell(row, now, state.style))).collect();
    let widths = widths(&cells, wide.saturating_sub(MARGIN));
    let mut lines = vec![header(state, &widths, look)];
    lines.extend(
        rows.iter().zip(&cells).map(|((row, chosen), cells)| line(row, cells, *chosen, &widths, look)),
    );
    lines
}

/// The columns that there is room for, and how wide they are.
fn widths(rows: &[[String; 9]], wide: usize) -> Vec<(Column, usize)> {
    /// What a narrow terminal goes without, first first: each is told otherwise, or by `sonde explain`.
    const GIVES_WAY: [Column; 7] = [
        Column::Severity,
        Column::Jitter,
        Column::Id,
        Column::Latest,
        Column::Calls,
        Column::Every,
        Column::Program,
    ];
    // The score has its mark before it, and each title an arrow behind it while it is sorted by.
    let least = |column: Column| match column {
        Column::Program => 12,
        Column::Destination => 18,
        Column::Score => "* SCORE v".len(),
        Column::Latest => "12 min 34 s".len(),
        Column::Every => "31.0 min".len(),
        Column::Id => 8,
        column => column.title().len() + 2,
    };
    let mut shown = Column::ALL.to_vec();
    let needed = |shown: &[Column]| {
        shown.iter().map(|&column| least(column)).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    for column in GIVES_WAY {
        if needed(&shown) <= wide {
            break;
        }
        shown.retain(|&kept| kept != column);
    }
    let mut rest = wide.saturating_sub(needed(&shown));
    let mut widths: Vec<_> = shown.into_iter().map(|column| (column, least(column))).collect();
    // The program takes what it needs, at most half; the destination all that is left.
    for (grows, share) in [(Column::Program, 2), (Column::Destination, 1)] {
        let index = Column::ALL.iter().position(|column| *column == grows).unwrap_or(0);
        let longest =
            rows.iter().filter_map(|cells| cells.get(index)).map(|cell| width(cell)).max().unwrap_or(0);
        if let Some((_, columns)) = widths.iter_mut().find(|(column, _)| *column == grows) {
            let more = longest.saturating_sub(*columns).min(rest / share);
            *columns += more;
            rest -= more;
        }
    }
    widths
}

fn header(state: &State, widths: &[(Column, usize)], look: Look) -> Line<'static> {
    let mut text = " ".repeat(MARGIN);
    for (column, columns) in widths {
        // Above the score's mark there is nothing.
        let mut title =
            if *column == Column::Score { "  SCORE".to_owned() } else { column.title().to_owned() };
        if *column == state.sort {
            title.push_str(match (state.reversed, look.0.unicode) {
                (false, true) => " ▾",
                (true, true) => " ▴",
                (false, false) => " v",
                (true, false) => " ^",
            });
        }
        push_left(&mut text, &elide(&title, *columns, look.0.ellipsis()), *columns + GAP);
    }
    Line::styled(text.trim_end().to_owned(), look.bold())
}

fn line(
    row: &Alert,
    cells: &[String; 9],
    chosen: bool,
    widths: &[(Column, usize)],
    look: Look,
) -> Line<'static> {
    let marker = match (chosen, look.0.unicode) {
        (false, _) => "  ",
        (true, true) => "▸ ",
        (true, false) => "> ",
    };
    let plain = if held_back(row).is_some() { look.dim() } else { Paint::new() };
    let mut spans = vec![Span::raw(marker)];
    for (column, columns) in widths {
        let index = Column::ALL.iter().position(|known| known == column).unwrap_or(0);
        let cell = cells.get(index).map_or("", String::as_str);
        let mut text = String::new();
        let paint = match column {
            Column::Score => {
                text.push(look.0.mark(row.severity));
                text.push(' ');
                look.severity(row.severity)
            }
            Column::Severity if held_back(row).is_none() => look.severity(row.severity),
            _ => plain,
        };
        let room = columns.saturating_sub(width(&text));
        text.push_str(&elide(cell, room, look.0.ellipsis()));
        let mut padded = String::new();
        push_left(&mut padded, &text, *columns + GAP);
        spans.push(Span::styled(padded, paint));
    }
    let line = Line::from(spans);
    if chosen { line.patch_style(Paint::new().add_modifier(Modifier::REVERSED)) } else { line }
}

fn rule(wide: usize, look: Look) -> Line<'static> {
    let dash = if look.0.unicode { "─" } else { "-" };
    Line::styled(dash.repeat(wide), look.dim())
}

fn help(look: Look) -> Vec<Line<'static>> {
    let column = KEYS.iter().map(|(keys, _)| keys.len()).max().unwrap_or(0) + 2;
    KEYS.iter()
        .map(|(keys, what)| {
            let mut head = " ".repeat(MARGIN);
            push_left(&mut head, keys, column + MARGIN);
            let mut line = Line::from(vec![Span::styled(head, look.bold()), Span::raw(*what)]);
            if *keys == "marks" {
                let all =
                    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];
                line.spans.extend(all.map(|severity| {
                    Span::styled(format!("{} {severity}   ", look.0.mark(severity)), look.severity(severity))
                }));
            }
            line
        })
        .collect()
}

/// The filter while it is typed; else how many rows there are, and the most useful keys.
fn foot(state: &State, drawn: Drawn, look: Look) -> Line<'static> {
    let filter = look.0.clean(&state.filter);
    if state.mode == Mode::Filter {
        return Line::from(vec![Span::styled("/", look.bold()), Span::raw(filter)]);
    }
    let rows = &state.snapshot.rows;
    let all = rows.rows.len() as u64 + rows.omitted;
    let mut text =
        format!("{} of {}", human::count(state.count() as u64), human::counted(all, "series", "series"));
    if !filter.is_empty() {
        text.push_str(&format!(", filter: {filter}"));
    }
    if rows.omitted > 0 {
        text.push_str(&format!(", the {} best were asked for", rows.rows.len()));
    }
    let mut line = Line::from(vec![Span::styled(text, look.bold())]);
    let mut keys = "   q quit  ? keys  / filter  Enter detail".to_owned();
    if drawn.most_scroll > 0 {
        keys.push_str("  ] [ scroll it");
    }
    line.spans.push(Span::styled(keys, look.dim()));
    line
}
