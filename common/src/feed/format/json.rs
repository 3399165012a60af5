//! Feeds that are one JSON document: collected within bounds, told apart, handed to the reader of their format.
//!
//! The document is held as it came and walked with borrowed texts; no tree is built of it, and nothing here recurses.

use serde_json::value::RawValue;

use super::reader::{Sink, Spot};
use super::{Format, MAX_DEPTH, MAX_DOCUMENT_BYTES, Reason, misp, stix};
use crate::format::flat::{self, Place};

/// A document that is being collected.
#[derive(Debug, Default)]
pub(super) struct Document {
    bytes: Vec<u8>,
    line: u64,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Document {
    /// Takes the next bytes; whether more are wanted.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut Sink<'_, '_>) -> bool {
        let left = MAX_DOCUMENT_BYTES.saturating_sub(self.bytes.len());
        let (taken, beyond) = bytes.split_at(left.min(bytes.len()));
        for &byte in taken {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (_, b'\n') => self.line += 1,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > MAX_DEPTH {
                sink.fatal(Spot::Line(self.line + 1), Reason::Depth, "");
                return false;
            }
        }
        self.bytes.extend_from_slice(taken);
        if !beyond.is_empty() {
            sink.fatal(Spot::Line(self.line + 1), Reason::Size, "");
        }
        beyond.is_empty()
    }

    /// Reads what was collected.
    pub(super) fn end(self, sink: &mut Sink<'_, '_>) {
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = memchr::memchr_iter(b'\n', before).count() as u64 + 1;
                return sink.fatal(Spot::Line(line), Reason::NotText, "");
            }
        };
        if let Err(error) = serde_json::from_str::<&RawValue>(text) {
            let line = error.line() as u64;
            return sink.fatal(Spot::Line(line.max(1)), Reason::Json, &error.to_string());
        }
        let asked = sink.options().format;
        let mut cursor = Cursor::new(text);
        let text = text.trim();
        let top = top(text);
        let is_bundle = top.objects.starts_with('[') || is_list_of_stix(text);
        if is_bundle && asked != Some(Format::Misp) {
            sink.is_format(Format::Stix);
            let objects = if top.objects.is_empty() { text } else { top.objects };
            return stix::read(objects, &mut cursor, sink);
        }
        if asked == Some(Format::Stix) || !events(text, top, &mut cursor, sink) {
            sink.fatal(Spot::Line(1), Reason::NotAFeed, text);
        }
    }
}

/// What a document begins with.
#[derive(Clone, Copy, Debug, Default)]
struct Top<'a> {
    objects: &'a str,
    event: &'a str,
    response: &'a str,
    attributes: &'a str,
    kind: &'a str,
    id: &'a str,
}

fn top(text: &str) -> Top<'_> {
    let place = |_: u8, key: &str| match key {
        "objects" => Place::Slot(0),
        "Event" => Place::Slot(1),
        "response" => Place::Slot(2),
        "Attribute" => Place::Slot(3),
        "type" => Place::Slot(4),
        "id" => Place::Slot(5),
        _ => Place::Skip,
    };
    let [objects, event, response, attributes, kind, id] = flat::read::<6>(text, place).unwrap_or_default();
    Top { objects, event, response, attributes, kind, id }
}

/// Whether a document is the objects of a bundle without the bundle.
fn is_list_of_stix(text: &str) -> bool {
    let mut first = None;
    flat::each(text, |element| {
        first.get_or_insert(element);
    });
    first.map(top).is_some_and(|top| {
        let (kind, id) = (flat::scalar(top.kind), flat::scalar(top.id));
        !kind.is_empty() && id.strip_prefix(kind).is_some_and(|rest| rest.starts_with("--"))
    })
}

/// Reads MISP events, however they are wrapped; whether there was one.
fn events(text: &str, top_level: Top<'_>, cursor: &mut Cursor<'_>, sink: &mut Sink<'_, '_>) -> bool {
    let mut found = false;
    let mut one = |top: Top<'_>, whole: &str, path: &str, sink: &mut Sink<'_, '_>| {
        let (event, path) = match top {
            Top { event, .. } if event.starts_with('{') => (event, format!("{path}Event")),
            // What a search for attributes answers.
            Top { attributes, .. } if attributes.starts_with('[') => {
                (whole, path.trim_end_matches('.').to_owned())
            }
            _ => return,
        };
        found = true;
        sink.is_format(Format::Misp);
        misp::event(event, &path, cursor, sink);
    };
    if text.starts_with('[') {
        let mut at = 0;
        flat::each(text, |element| {
            one(top(element), element, &format!("[{at}]."), sink);
            at += 1;
        });
    } else if top_level.response.starts_with('[') {
        let mut at = 0;
        flat::each(top_level.response, |element| {
            one(top(element), element, &format!("response[{at}]."), sink);
            at += 1;
        });
    } else if top_level.response.starts_with('{') {
        one(top(top_level.response), top_level.response, "response.", sink);
    } else {
        one(top_level, text, "", sink);
    }
    found
}

/// Finds the lines of a document in which its parts begin, going forward only, so that a thousand problems cost one look at
/// the document.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    document: &'a str,
    at: usize,
    line: u64,
}

impl<'a> Cursor<'a> {
    const fn new(document: &'a str) -> Self {
        Self { document, at: 0, line: 1 }
    }

    /// The line in which this part of the document begins, or that of the part asked for before if it is not behind that.
    pub(super) fn line(&mut self, part: &str) -> u64 {
        let at = part.as_ptr().addr().wrapping_sub(self.document.as_ptr().addr());
        if let Some(between) = self.document.as_bytes().get(self.at..at) {
            self.line += memchr::memchr_iter(b'\n', between).count() as u64;
            self.at = at;
        }
        self.line
    }
}
