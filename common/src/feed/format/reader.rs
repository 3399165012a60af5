//! The reader of one feed: pieces of bytes to lines or to a document, the form told from the first of them, and what came of
//! it counted.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::super::Indicator;
use super::csv::Columns;
use super::json;
use super::list;
use super::note::{Draft, Notes};
use super::options::Options;
use super::report::{Item, Kind, Place, Problem, Reason, Report};
use super::value::Judged;
use super::{Format, MAX_INDICATORS, MAX_LINE_BYTES, MAX_LIST_BYTES, MAX_SHOWN_BYTES};
use crate::text::Rule;

const SHOWN: Rule = Rule { cap: MAX_SHOWN_BYTES, lower_case: false, strip_dot: false };
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one feed.
#[derive(Debug)]
pub struct Reader {
    core: Core,
    state: State,
}

/// What lies behind all formats.
#[derive(Debug)]
pub(super) struct Core {
    options: Options,
    notes: Notes,
    report: Report,
    /// Hashes of the subjects handed out, where duplicates are wanted to be known.
    seen: Option<HashSet<u64>>,
}

#[derive(Debug)]
enum State {
    /// What came so far, until the form is known.
    Start(Vec<u8>),
    Lines(Lines),
    Document(json::Document),
    /// Nothing more is read.
    Ended,
}

/// Where an entry stands, for those who report of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot<'a> {
    Line(u64),
    Object { line: u64, path: &'a str },
}

impl Spot<'_> {
    fn place(self) -> Place {
        match self {
            Self::Line(line) => Place::Line(line),
            Self::Object { line, path } => Place::Object { line, path: path.to_owned() },
        }
    }
}

/// Where entries go.
pub(super) struct Sink<'c, 't> {
    core: &'c mut Core,
    take: &'t mut dyn FnMut(Item),
}

impl Sink<'_, '_> {
    /// An entry that was judged; its problem, if it has one, is told with `text`.
    pub(super) fn judged(&mut self, spot: Spot<'_>, judged: Judged, text: &str, draft: &Draft<'_>) {
        let value = match judged {
            Ok(value) => value,
            Err(reason) => return self.problem(spot, reason, text),
        };
        let core = &mut *self.core;
        if core.report.indicators() >= MAX_INDICATORS {
            return self.problem(spot, Reason::TooMany, text);
        }
        if let Some(seen) = &mut core.seen {
            let mut hasher = DefaultHasher::new();
            value.subject.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                return self.problem(spot, Reason::Duplicate, text);
            }
        }
        let options = &core.options;
        let filled = Draft {
            label: if draft.label.is_empty() { &options.label } else { draft.label },
            confidence: draft.confidence.or(options.confidence),
            group: if draft.group.is_empty() { &options.group } else { draft.group },
            software: if draft.software.is_empty() { &options.software } else { draft.software },
            ..*draft
        };
        let note = core.notes.note(&filled);
        *core.report.kinds.entry(Kind::of(&value.subject)).or_default() += 1;
        (self.take)(Item::Indicator(Indicator { subject: value.subject, note }));
        if let Some(reason) = value.warned {
            self.problem(spot, reason, text);
        }
    }

    /// Something that cannot be used, or should be looked at.
    pub(super) fn problem(&mut self, spot: Spot<'_>, reason: Reason, text: &str) {
        let mut shown = String::new();
        if SHOWN.append(text, &mut shown) {
            shown.push('…');
        }
        let problem = Problem { place: spot.place(), reason, text: shown };
        self.core.report.note(&problem);
        (self.take)(Item::Problem(problem));
    }

    /// Something for which the whole file is not read on.
    pub(super) fn fatal(&mut self, spot: Spot<'_>, reason: Reason, text: &str) {
        self.problem(spot, reason, text);
        self.core.report.fatal = Some(Problem { place: spot.place(), reason, text: text.to_owned() });
    }

    pub(super) fn options(&self) -> &Options {
        &self.core.options
    }

    pub(super) fn is_format(&mut self, format: Format) {
        self.core.report.format = Some(format);
    }
}

impl Reader {
    /// A reader at the start of a feed of this name, which stands in its indicators unless the options name another.
    #[must_use]
    pub fn new(name: &str, options: Options) -> Self {
        let notes = Notes::new(options.name.as_deref().unwrap_or(name));
        let core = Core { options, notes, report: Report::default(), seen: None };
        Self { core, state: State::Start(Vec::new()) }
    }

    /// The same, which hands out each subject once and says which stand there again. Takes eight bytes and some for each.
    #[must_use]
    pub fn without_duplicates(mut self) -> Self {
        self.core.seen = Some(HashSet::new());
        self
    }

    /// Whether nothing more is read: the file is refused, or too large.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(Item)) {
        if bytes.is_empty() {
            return;
        }
        let mut sink = Sink { core: &mut self.core, take };
        sink.core.report.bytes = sink.core.report.bytes.saturating_add(bytes.len() as u64);
        match &mut self.state {
            State::Start(head) => {
                head.extend_from_slice(bytes);
                if let Some(form) = form(head, &sink.core.options, false) {
                    let head = std::mem::take(head);
                    self.begin(form, &head, take);
                }
            }
            State::Lines(lines) => {
                if !lines.feed(bytes, &mut sink) {
                    self.state = State::Ended;
                }
            }
            State::Document(document) => {
                if !document.feed(bytes, &mut sink) {
                    self.state = State::Ended;
                }
            }
            State::Ended => {}
        }
    }

    fn begin(&mut self, form: Form, head: &[u8], take: &mut dyn FnMut(Item)) {
        let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
        let mut sink = Sink { core: &mut self.core, take };
        match form {
            Form::Lines => {
                let mut lines = Lines::new(sink.core.options.clone());
                let more = lines.feed(head, &mut sink);
                self.state = if more { State::Lines(lines) } else { State::Ended };
            }
            Form::Document => {
                let mut document = json::Document::default();
                let more = document.feed(head, &mut sink);
                self.state = if more { State::Document(document) } else { State::Ended };
            }
        }
    }

    /// The end of the file: hands out what was held back, and reports.
    pub fn finish(mut self, take: &mut dyn FnMut(Item)) -> Report {
        if let State::Start(head) = &mut self.state {
            let head = std::mem::take(head);
            if let Some(form) = form(&head, &self.core.options, true) {
                self.begin(form, &head, take);
            }
        }
        let mut sink = Sink { core: &mut self.core, take };
        match self.state {
            State::Lines(mut lines) => lines.end(&mut sink),
            State::Document(document) => document.end(&mut sink),
            State::Start(_) | State::Ended => {}
        }
        self.core.report
    }
}

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Document,
}

/// How a file that begins so is cut; `None` asks for more of it.
fn form(head: &[u8], options: &Options, complete: bool) -> Option<Form> {
    let complete = complete || head.len() > MAX_LINE_BYTES;
    if !complete && head.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(head) {
        return None;
    }
    match options.format {
        Some(Format::List | Format::Hosts | Format::Csv) => return Some(Form::Lines),
        Some(Format::Stix | Format::Misp) => return Some(Form::Document),
        None => {}
    }
    // No more than this is looked at, however much there is.
    let head = head.get(..MAX_LINE_BYTES).unwrap_or(head);
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let mut rest = text.iter().filter(|b| !b.is_ascii_whitespace());
    match (rest.next(), rest.next()) {
        (Some(b'{'), _) | (Some(b'['), Some(b'{' | b']')) => Some(Form::Document),
        (Some(b'['), None) | (None, _) if !complete => None,
        // Also an IPv6 address in brackets.
        _ => Some(Form::Lines),
    }
}

/// How the lines of a file are read.
#[derive(Debug)]
enum Layout {
    /// Not known before the first entry; the header that a comment may have been.
    Open(Option<Columns>),
    Entries(Format),
    Table(Columns),
}

/// A file that is read line by line.
#[derive(Debug)]
struct Lines {
    /// The reader's, with what the file itself sets.
    options: Options,
    layout: Layout,
    number: u64,
    bytes: u64,
    /// The beginning of a line whose end is still to come.
    partial: Vec<u8>,
    /// Whether that line is too long already.
    overlong: bool,
}

impl Lines {
    fn new(options: Options) -> Self {
        let layout = match options.format {
            Some(format @ (Format::List | Format::Hosts)) => Layout::Entries(format),
            _ => Layout::Open(None),
        };
        Self { options, layout, number: 0, bytes: 0, partial: Vec::new(), overlong: false }
    }

    /// Takes the next bytes; whether more are wanted.
    fn feed(&mut self, bytes: &[u8], sink: &mut Sink<'_, '_>) -> bool {
        let left = usize::try_from(MAX_LIST_BYTES - self.bytes).unwrap_or(usize::MAX);
        let (taken, beyond) = bytes.split_at(left.min(bytes.len()));
        self.bytes += taken.len() as u64;
        let mut rest = taken;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
            rest = behind;
            let more = if self.partial.is_empty() && !self.overlong {
                self.whole(line, sink)
            } else {
                self.append(line);
                self.held(sink)
            };
            if !more {
                return false;
            }
        }
        self.append(rest);
        if !beyond.is_empty() {
            sink.fatal(Spot::Line(self.number + 1), Reason::Size, "");
        }
        beyond.is_empty()
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.overlong || self.partial.len() + bytes.len() > MAX_LINE_BYTES {
            self.overlong = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// The line that was held back has come to its end.
    fn held(&mut self, sink: &mut Sink<'_, '_>) -> bool {
        if std::mem::take(&mut self.overlong) {
            self.number += 1;
            sink.problem(Spot::Line(self.number), Reason::LineTooLong, "");
            return true;
        }
        let mut line = std::mem::take(&mut self.partial);
        let more = self.whole(&line, sink);
        line.clear();
        self.partial = line;
        more
    }

    /// A line without its end; whether more are wanted.
    fn whole(&mut self, line: &[u8], sink: &mut Sink<'_, '_>) -> bool {
        self.number += 1;
        let spot = Spot::Line(self.number);
        if line.len() > MAX_LINE_BYTES {
            sink.problem(spot, Reason::LineTooLong, "");
            return true;
        }
        if memchr::memchr(0, line).is_some() {
            sink.fatal(spot, Reason::NotText, "");
            return false;
        }
        let lossy;
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(_) => {
                // Old feeds hold URLs in Latin-1, whose hosts can be read all the same.
                lossy = String::from_utf8_lossy(line);
                &lossy
            }
        };
        self.text(text.trim(), spot, sink);
        true
    }

    fn text(&mut self, text: &str, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
        if text.is_empty() {
            return;
        }
        if let Some(comment) = text.strip_prefix(['#', ';']).or_else(|| text.strip_prefix("//")) {
            return self.comment(comment.trim(), spot, sink);
        }
        if let Layout::Open(header) = &mut self.layout {
            let header = header.take();
            let (layout, used) = decide(text, header, &self.options);
            let format = match &layout {
                Layout::Table(_) => Format::Csv,
                Layout::Entries(format) => *format,
                Layout::Open(_) => Format::List,
            };
            sink.is_format(format);
            self.layout = layout;
            if used {
                return;
            }
        }
        match &self.layout {
            Layout::Table(columns) => columns.row(text, &self.options, spot, sink),
            Layout::Entries(format) => {
                sink.is_format(*format);
                list::line(text, *format, &self.options, spot, sink);
            }
            Layout::Open(_) => {}
        }
    }

    /// A comment may set something, or be the header of a table.
    fn comment(&mut self, comment: &str, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
        if let Some(settings) = comment.strip_prefix("sonde:") {
            if sink.core.report.format.is_some() {
                return sink.problem(spot, Reason::Directive, settings);
            }
            match self.options.directive(settings) {
                Ok(()) => sink.core.options = self.options.clone(),
                Err(error) => sink.problem(spot, Reason::Directive, &error.to_string()),
            }
            return;
        }
        if let Layout::Open(header) = &mut self.layout
            && let Some(found) = Columns::header(comment, self.options.separator, true)
        {
            *header = Some(found);
        }
    }

    fn end(&mut self, sink: &mut Sink<'_, '_>) {
        if self.overlong || !self.partial.is_empty() {
            self.held(sink);
        }
    }
}

/// How a file with this first entry is read, and whether that entry is a header and so used up.
fn decide(text: &str, commented: Option<Columns>, options: &Options) -> (Layout, bool) {
    let entries = |format| (Layout::Entries(format), false);
    if let Some(format @ (Format::List | Format::Hosts)) = options.format {
        return entries(format);
    }
    let header = Columns::header(text, options.separator, false);
    if let Some(columns) = Columns::named(options) {
        return (Layout::Table(columns), header.is_some());
    }
    if let Some(columns) = commented.filter(|columns| columns.may_hold(text)) {
        return (Layout::Table(columns), false);
    }
    if let Some(columns) = header {
        return (Layout::Table(columns), true);
    }
    entries(if list::is_hosts(text) { Format::Hosts } else { Format::List })
}
