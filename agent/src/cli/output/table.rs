//! The table for people: a line of figures for each finding, and below it the sentence that explains it.
//!
//! Two shapes: where the terminal is wide enough everything stands in columns, else the figures move to a line of their
//! own. Nothing is wider than the terminal, nothing from the wire reaches it unescaped, and colour only repeats what a
//! mark and a word already say.

use sonde_common::alert::{Alert, Change, HISTOGRAM_BINS, Level, Severity};
use sonde_common::encode::native;
use sonde_common::explain::facts::{self, cut, push_port, whole_secs};
use sonde_common::net::Transport;
use sonde_common::process::image_name;
use sonde_common::text::escape;

use super::Style;
use super::text::{elide, elide_path, push_left, push_right, push_spaces, width, wrap};
use sonde_common::human;

/// Between two columns.
const GAP: usize = 2;
/// What stands below a finding's first line is set in by so much.
const INDENT: usize = 4;
/// Mark, space, and the longest severity.
const SEVERITY_WIDTH: usize = 10;
/// `0.98` below `SCORE`.
const SCORE_WIDTH: usize = 5;
const CALLBACKS: &str = "CALLBACKS";
const DWELL: &str = "DWELL";
const HISTOGRAM: &str = "HISTOGRAM";
/// A program or destination may be cut to so much before the figures move to their own line.
const PROGRAM_LEAST: usize = 14;
const DESTINATION_LEAST: usize = 28;
/// So much is enough for most names.
const PROGRAM_GOOD: usize = 24;
const DESTINATION_GOOD: usize = 52;
const PATH_GOOD: usize = 56;
const HOST_MOST: usize = 18;
/// A path is shown once it has so much room: less would show little but its ends.
const PATH_LEAST: usize = 36;
/// Folders of a path that are cut to less than this say nothing.
const FOLDERS_LEAST: usize = 5;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BARS: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '#'];

const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";

/// A finding as text, still of any width.
#[derive(Debug)]
struct Row {
    severity: Severity,
    score: String,
    host: String,
    /// Path of the executable, or only its name.
    path: String,
    /// Its name.
    program: String,
    /// The script that it runs, behind a space.
    script: String,
    destination: String,
    /// What follows the destination and is never cut: port, transport, size of a group.
    suffix: String,
    /// Its address, where that says more than the destination.
    ip: String,
    interval: String,
    jitter: String,
    callbacks: String,
    dwell: String,
    counts: [u16; HISTOGRAM_BINS],
    reason: String,
    group: Vec<String>,
    /// When and why it was emitted.
    news: String,
}

/// Widths of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Whether the figures stand in columns.
    columns: bool,
    /// Bins of the sparkline.
    bins: usize,
    /// 0 for no host column.
    host: usize,
    program: usize,
    /// Whether programs are shown with their path.
    paths: bool,
    destination: usize,
    interval: usize,
    jitter: usize,
    callbacks: usize,
    dwell: usize,
}

/// Writes findings as a table.
#[derive(Debug)]
pub(super) struct Table {
    style: Style,
    /// The layout of a stream, once its first finding came.
    stream: Option<(Layout, String)>,
}

impl Table {
    pub(super) const fn new(style: Style) -> Self {
        Self { style, stream: None }
    }

    /// All findings, in columns that fit them.
    pub(super) fn push_all(&self, alerts: &[Alert], out: &mut String) {
        let rows: Vec<Row> = alerts.iter().map(|alert| Row::new(alert, self.style)).collect();
        let Some(first) = rows.first() else { return };
        let hosts = rows.iter().any(|row| row.host != first.host);
        let layout = Layout::for_rows(&rows, hosts, self.style);
        self.push_header(&layout, out);
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            self.push_row(&layout, row, "", out);
        }
    }

    /// One finding of a stream. Later ones are not known yet, so the layout is the same for all; when a second host
    /// turns up, a new header brings its column.
    pub(super) fn push_next(&mut self, alert: &Alert, out: &mut String) {
        let row = Row::new(alert, self.style);
        let layout = match &self.stream {
            Some((layout, host)) if layout.host > 0 || *host == row.host => *layout,
            known => {
                let layout = Layout::for_stream(known.is_some(), self.style);
                if known.is_some() {
                    out.push('\n');
                }
                self.push_header(&layout, out);
                self.stream = Some((layout, row.host.clone()));
                self.push_row(&layout, &row, &row.news, out);
                return;
            }
        };
        out.push('\n');
        self.push_row(&layout, &row, &row.news, out);
    }

    fn push_header(&self, layout: &Layout, out: &mut String) {
        let mut line = String::new();
        push_left(&mut line, "SEVERITY", SEVERITY_WIDTH + GAP);
        push_right(&mut line, "SCORE", SCORE_WIDTH);
        push_spaces(&mut line, GAP);
        if layout.host > 0 {
            push_left(&mut line, "HOST", layout.host + GAP);
        }
        push_left(&mut line, "PROGRAM", layout.program + GAP);
        push_left(&mut line, "DESTINATION", layout.destination);
        if layout.columns {
            push_spaces(&mut line, GAP);
            push_right(&mut line, "INTERVAL", self.interval_width(layout));
            push_spaces(&mut line, GAP);
            push_right(&mut line, CALLBACKS, layout.callbacks);
            push_spaces(&mut line, GAP);
            push_right(&mut line, DWELL, layout.dwell);
            push_spaces(&mut line, GAP);
            line.push_str(HISTOGRAM);
        }
        self.push_styled(BOLD, line.trim_end(), out);
        out.push('\n');
    }

    fn push_row(&self, layout: &Layout, row: &Row, news: &str, out: &mut String) {
        let style = self.style;
        let ellipsis = style.ellipsis();
        let mut line = String::new();
        // Padded outside the colour, so that the end of a line can be trimmed.
        let severity = format!("{} {}", style.mark(row.severity), row.severity);
        let padding = (SEVERITY_WIDTH + GAP).saturating_sub(width(&severity));
        self.push_styled(color(row.severity), &severity, &mut line);
        push_spaces(&mut line, padding);
        push_right(&mut line, &row.score, SCORE_WIDTH);
        push_spaces(&mut line, GAP);
        if layout.host > 0 {
            push_left(&mut line, &elide(&row.host, layout.host, ellipsis), layout.host + GAP);
        }
        push_left(&mut line, &row.program_in(layout, ellipsis), layout.program + GAP);
        push_left(&mut line, &row.destination_in(layout.destination, ellipsis), layout.destination);
        if layout.columns {
            push_spaces(&mut line, GAP);
            push_right(&mut line, &row.interval_in(layout, style), self.interval_width(layout));
            push_spaces(&mut line, GAP);
            push_right(&mut line, &row.callbacks, layout.callbacks);
            push_spaces(&mut line, GAP);
            push_right(&mut line, &row.dwell, layout.dwell);
            push_spaces(&mut line, GAP);
            self.push_styled(CYAN, &sparkline(&row.counts, layout.bins, style), &mut line);
        }
        push_line(out, &line);

        let room = style.width.saturating_sub(INDENT);
        if !layout.columns {
            let mut figures = news.to_owned();
            if !news.is_empty() {
                push_spaces(&mut figures, GAP);
            }
            figures.push_str(&row.figures(style));
            let mut lines = if width(&figures) <= room { vec![figures] } else { wrap(&figures, room) };
            let last = lines.pop().unwrap_or_default();
            for text in lines {
                push_spaces(out, INDENT);
                push_line(out, &text);
            }
            let mut line = String::new();
            push_spaces(&mut line, INDENT);
            line.push_str(&last);
            let used = width(&line) + GAP + 2;
            let bins = [layout.bins, layout.bins / 2].into_iter().find(|bins| used + bins <= style.width);
            let bars = bins.map(|bins| (bins, sparkline(&row.counts, bins, style)));
            if let Some((bins, bars)) = bars.filter(|(_, bars)| !bars.is_empty()) {
                push_spaces(&mut line, GAP);
                // Framed, since without a column above it the axis would have no ends.
                line.push(style.frame());
                self.push_styled(CYAN, &bars, &mut line);
                push_spaces(&mut line, bins - width(&bars));
                line.push(style.frame());
            }
            push_line(out, &line);
        }
        for text in wrap(&row.reason, room) {
            push_spaces(out, INDENT);
            out.push_str(&text);
            out.push('\n');
        }
        if !row.group.is_empty() {
            let text = format!("Destinations: {}", row.group.join(", "));
            for text in wrap(&text, room) {
                push_spaces(out, INDENT);
                self.push_styled(DIM, &text, out);
                out.push('\n');
            }
        }
    }

    fn interval_width(&self, layout: &Layout) -> usize {
        interval_width(layout.interval, layout.jitter, self.style)
    }

    /// The text in a colour of ECMA-48 (SGR), where colour is wanted.
    fn push_styled(&self, code: &str, text: &str, out: &mut String) {
        if self.style.color && !text.is_empty() {
            out.push_str("\x1b[");
            out.push_str(code);
            out.push('m');
            out.push_str(text);
            out.push_str("\x1b[0m");
        } else {
            out.push_str(text);
        }
    }
}

impl Row {
    fn new(alert: &Alert, style: Style) -> Self {
        let clean = |text: &str| style.clean(text);
        let process = alert.process.as_ref().map(|process| &process.info);
        let image = process.map_or("", |info| info.image.as_str());
        let script = process.map_or("", |info| info.script.as_str());
        let destination = &alert.destination;
        let evidence = &alert.evidence;
        let measured = evidence.interval_median_secs > 0.0;

        let mut program = clean(image_name(image));
        let mut path = clean(image);
        if program.is_empty() {
            program.push_str(human::UNKNOWN);
            path.push_str(human::UNKNOWN);
        }
        let script = clean(image_name(script));
        let script = if script.is_empty() { script } else { format!(" {script}") };

        let is_address = destination.name.parse::<std::net::IpAddr>().ok();
        let mut suffix = String::new();
        let name = match (is_address, evidence.level, destination.transport) {
            (_, Level::Dns, _) => {
                suffix.push_str(" (DNS)");
                clean(&destination.name)
            }
            (_, _, Transport::Icmp) => {
                suffix.push_str(" (ICMP)");
                clean(&destination.name)
            }
            (Some(std::net::IpAddr::V6(ip)), _, transport) => {
                push_port(&mut suffix, destination.port, transport);
                format!("[{ip}]")
            }
            (_, _, transport) => {
                push_port(&mut suffix, destination.port, transport);
                clean(&destination.name)
            }
        };
        let others = destination.group.iter().filter(|member| **member != destination.name).count();
        if others > 0 {
            suffix.push_str(&format!(" +{others}"));
        }
        // With DNS the address is the resolver's, not that of who is called.
        let ip = destination.ip.filter(|ip| is_address != Some(*ip) && evidence.level != Level::Dns);

        let date: String = alert.time.to_string().chars().take(19).collect();
        Self {
            severity: alert.severity,
            score: if alert.score.is_finite() {
                format!("{:.2}", cut(alert.score))
            } else {
                human::UNKNOWN.to_owned()
            },
            host: clean(&alert.host),
            path,
            program,
            script,
            destination: if name.is_empty() { human::UNKNOWN.to_owned() } else { name },
            suffix,
            ip: ip.map(|ip| format!(" ({ip})")).unwrap_or_default(),
            interval: human::interval(evidence.interval_median_secs),
            jitter: if measured { human::percent(evidence.jitter_mad_ratio) } else { String::new() },
            callbacks: human::count(evidence.callbacks.into()),
            dwell: human::span(whole_secs(native::dwell_secs(evidence))),
            counts: evidence.histogram.counts,
            reason: clean(&format!("{}{}{}", alert.reason, held(alert), profile(alert))),
            group: destination.group.iter().map(|member| clean(member)).collect(),
            news: format!(
                "{}Z {}",
                date.replace('T', " "),
                match alert.change {
                    Change::Created => "new",
                    Change::Updated => "update",
                    Change::Closed => "closed",
                    Change::Final => "final",
                }
            ),
        }
    }

    /// The program in its column: with its path where there is room for paths, with its script where that fits.
    fn program_in(&self, layout: &Layout, ellipsis: &str) -> String {
        let Self { program, path, script, .. } = self;
        let room = layout.program.checked_sub(width(script));
        if let Some(room) = room.filter(|&room| layout.paths && room >= width(program)) {
            return format!("{}{script}", elide_path(path, program, room, FOLDERS_LEAST, ellipsis));
        }
        let script = if room.is_some_and(|room| room >= width(program)) { script } else { "" };
        format!("{}{script}", elide(program, layout.program, ellipsis))
    }

    /// The destination in its column: with its address where that fits, its port always.
    fn destination_in(&self, columns: usize, ellipsis: &str) -> String {
        let Self { destination, suffix, ip, .. } = self;
        if width(destination) + width(suffix) + width(ip) <= columns {
            return format!("{destination}{suffix}{ip}");
        }
        let room = columns.saturating_sub(width(suffix));
        format!("{}{suffix}", elide(destination, room, ellipsis))
    }

    /// Interval and jitter in their column, the sign between them below that of the other rows.
    fn interval_in(&self, layout: &Layout, style: Style) -> String {
        if self.jitter.is_empty() {
            return self.interval.clone();
        }
        let mut text = String::new();
        push_right(&mut text, &self.interval, layout.interval);
        text.push_str(style.plus_minus());
        push_left(&mut text, &format!("{} %", self.jitter), layout.jitter + " %".len());
        text
    }

    /// The figures in words, for a line of their own.
    fn figures(&self, style: Style) -> String {
        let mut text = String::new();
        if !self.jitter.is_empty() {
            text.push_str(&format!("every {}{}{} %, ", self.interval, style.plus_minus(), self.jitter));
        }
        if self.callbacks == "1" {
            text.push_str("1 callback");
        } else {
            text.push_str(&format!("{} callbacks in {}", self.callbacks, self.dwell));
        }
        text
    }
}

impl Layout {
    /// Columns as wide as these rows need, if the terminal can hold them.
    fn for_rows(rows: &[Row], hosts: bool, style: Style) -> Self {
        let widest = |text: &dyn Fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
        let figures = Self {
            columns: true,
            bins: HISTOGRAM_BINS,
            host: if hosts { widest(&|row| width(&row.host)).clamp(4, HOST_MOST) } else { 0 },
            program: widest(&|row| width(&row.program) + width(&row.script)).max("PROGRAM".len()),
            paths: false,
            destination: widest(&|row| width(&row.destination) + width(&row.suffix)).max("DESTINATION".len()),
            interval: widest(&|row| if row.jitter.is_empty() { 0 } else { width(&row.interval) }),
            jitter: widest(&|row| width(&row.jitter)),
            callbacks: widest(&|row| width(&row.callbacks)).max(CALLBACKS.len()),
            dwell: widest(&|row| width(&row.dwell)).max(DWELL.len()),
        };
        let shapes = [
            (Self { bins: HISTOGRAM_BINS, ..figures }, figures.names(PROGRAM_GOOD, DESTINATION_GOOD)),
            (Self { bins: HISTOGRAM_BINS / 2, ..figures }, figures.names(PROGRAM_LEAST, DESTINATION_LEAST)),
            (Self { columns: false, ..figures }, 0),
        ];
        let fitting = shapes.into_iter().find_map(|(shape, needs)| {
            let room = style.width.checked_sub(shape.fixed_width(style))?;
            (room >= needs).then_some((shape, room))
        });
        let (shape, room) = fitting.unwrap_or((Self { columns: false, ..figures }, 0));
        let with_ip = widest(&|row| width(&row.destination) + width(&row.suffix) + width(&row.ip));
        let with_path = widest(&|row| width(&row.path) + width(&row.script));
        shape.share(room, with_ip, with_path)
    }

    /// The layout of findings that come one by one.
    fn for_stream(hosts: bool, style: Style) -> Self {
        let shape = Self {
            columns: false,
            bins: HISTOGRAM_BINS,
            host: if hosts { HOST_MOST } else { 0 },
            program: 24,
            paths: false,
            destination: 64,
            interval: 0,
            jitter: 0,
            callbacks: 0,
            dwell: 0,
        };
        let room = style.width.saturating_sub(shape.fixed_width(style));
        shape.share(room, 64, 48)
    }

    /// Everything but program and destination.
    fn fixed_width(&self, style: Style) -> usize {
        let mut fixed = SEVERITY_WIDTH + GAP + SCORE_WIDTH + GAP + GAP;
        if self.host > 0 {
            fixed += self.host + GAP;
        }
        if self.columns {
            let interval = interval_width(self.interval, self.jitter, style);
            fixed += GAP
                + interval
                + GAP
                + self.callbacks
                + GAP
                + self.dwell
                + GAP
                + self.bins.max(HISTOGRAM.len());
        }
        fixed
    }

    /// Columns for program and destination, each as wide as it needs up to a bound.
    fn names(&self, program: usize, destination: usize) -> usize {
        self.program.min(program) + self.destination.min(destination)
    }

    /// Gives program and destination the room that is left: first for most names, then for addresses and paths, last
    /// for the longest names.
    fn share(self, room: usize, with_ip: usize, with_path: usize) -> Self {
        let least = self.names(PROGRAM_LEAST, DESTINATION_LEAST);
        let Some(mut rest) = room.checked_sub(least) else {
            let program = self.program.min(room / 3);
            return Self { program, destination: self.destination.min(room - program), ..self };
        };
        let mut program = self.program.min(PROGRAM_LEAST);
        let mut destination = self.destination.min(DESTINATION_LEAST);
        grow(&mut destination, self.destination.min(DESTINATION_GOOD), &mut rest);
        grow(&mut program, self.program.min(PROGRAM_GOOD), &mut rest);
        grow(&mut destination, with_ip.min(DESTINATION_GOOD), &mut rest);
        let paths = with_path > self.program && program + rest >= with_path.min(PATH_LEAST);
        if paths {
            grow(&mut program, with_path.min(PATH_GOOD), &mut rest);
        }
        grow(&mut destination, self.destination, &mut rest);
        grow(&mut program, self.program, &mut rest);
        grow(&mut destination, with_ip, &mut rest);
        Self { program, paths, destination, ..self }
    }
}

impl Style {
    /// A text from the wire as this terminal may show it.
    pub(in crate::cli) fn clean(self, text: &str) -> String {
        let text = escape(text);
        if self.unicode || text.is_ascii() {
            return text.into_owned();
        }
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                out.extend(c.escape_unicode());
            }
        }
        out
    }

    pub(in crate::cli) const fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    pub(in crate::cli) const fn plus_minus(self) -> &'static str {
        if self.unicode { " ± " } else { " +/- " }
    }

    pub(in crate::cli) const fn frame(self) -> char {
        if self.unicode { '│' } else { '|' }
    }

    /// A severity told without colour.
    pub(in crate::cli) const fn mark(self, severity: Severity) -> char {
        match (severity, self.unicode) {
            (Severity::Critical, true) => '◆',
            (Severity::High, true) => '▲',
            (Severity::Medium, true) => '●',
            (Severity::Low, true) => '○',
            (Severity::Info, true) => '·',
            (Severity::Critical, false) => '#',
            (Severity::High, false) => '!',
            (Severity::Medium, false) => '*',
            (Severity::Low, false) => 'o',
            (Severity::Info, false) => '.',
        }
    }
}

/// Widens a column to what it wants, as far as there is room.
fn grow(column: &mut usize, wanted: usize, rest: &mut usize) {
    let more = wanted.saturating_sub(*column).min(*rest);
    *column += more;
    *rest -= more;
}

/// Bold red, red, yellow, cyan, dim: of the colours that every palette of sixteen keeps apart.
pub(super) const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => CYAN,
        Severity::Info => DIM,
    }
}

fn interval_width(interval: usize, jitter: usize, style: Style) -> usize {
    let text =
        if jitter == 0 { interval } else { interval + width(style.plus_minus()) + jitter + " %".len() };
    text.max("INTERVAL".len())
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The intervals as bars on their logarithmic axis; a bin with any interval shows at least the lowest bar.
pub(super) fn sparkline(counts: &[u16; HISTOGRAM_BINS], bins: usize, style: Style) -> String {
    let bars = if style.unicode { BARS } else { ASCII_BARS };
    let merged: Vec<u32> = counts
        .chunks(HISTOGRAM_BINS.div_ceil(bins.max(1)))
        .map(|bins| bins.iter().map(|&count| u32::from(count)).sum())
        .collect();
    let most = merged.iter().copied().max().unwrap_or(0).max(1);
    let text: String = merged
        .iter()
        .map(|&count| {
            let level = (u64::from(count) * 8).div_ceil(u64::from(most));
            match usize::try_from(level).unwrap_or(0).checked_sub(1) {
                Some(level) => bars.get(level).copied().unwrap_or(' '),
                None => ' ',
            }
        })
        .collect();
    text.trim_end().to_owned()
}

/// Why it is milder than its score, as a sentence behind its reason.
fn held(alert: &Alert) -> String {
    let Some(why) = facts::held_at(alert) else { return String::new() };
    let mut letters = why.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.map_or_else(String::new, |first| format!(" {first}{}.", letters.as_str()))
}

/// The profile that an alert falls under, as a sentence behind its reason.
fn profile(alert: &Alert) -> String {
    match alert.profile.as_ref().filter(|note| note.matched) {
        Some(note) => {
            let done = if note.excused { "Held back" } else { "Labelled" };
            format!(" {done}: profile {} ({}).", note.name, note.class.replace('_', " "))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
