//! What `sonde feeds` writes: problems and entries as they come, then what each file holds.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;
use sonde_common::feed::format::{Kind, Place, Problem, Reason, Report, Weight};
use sonde_common::feed::{Indicator, Subject};
use sonde_common::human;
use sonde_common::time::Timestamp;

use crate::cli::output::{Format, Output, OutputError, Style, columns};
use crate::feeds::{FeedError, Loaded};

/// Writes the results of one command.
pub(super) struct Show<W: Write> {
    out: Output<W>,
    table: bool,
    style: Style,
    files: Vec<Loaded>,
    /// Reasons whose remedy was told.
    told: BTreeSet<Reason>,
    failed: Option<OutputError>,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    r#type: &'static str,
    file: &'a str,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    outcome: &'static str,
    reason: &'static str,
    text: &'a str,
    why: &'static str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct IndicatorLine<'a> {
    r#type: &'static str,
    file: &'a str,
    feed: &'a str,
    kind: &'static str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdomains: Option<bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<u8>,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    software: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
}

#[derive(Serialize)]
struct FileLine<'a> {
    r#type: &'static str,
    file: &'a str,
    feed: &'a str,
    format: Option<&'static str>,
    bytes: u64,
    entries: u64,
    kinds: serde_json::Map<String, serde_json::Value>,
    refused: serde_json::Map<String, serde_json::Value>,
    warned: serde_json::Map<String, serde_json::Value>,
    passed_over: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Serialize)]
struct FailureLine {
    r#type: &'static str,
    failure: String,
    remedy: &'static str,
}

impl<W: Write> Show<W> {
    pub(super) fn new(out: W, table: bool, style: Style) -> Self {
        let out = Output::new(out, Format::Ndjson, style);
        Self { out, table, style, files: Vec::new(), told: BTreeSet::new(), failed: None }
    }

    /// Whether the reader went away, or the disk is full: nothing more need be read.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.out.write_text(text).err();
        }
    }

    fn line(&mut self, line: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(line) {
            self.text(&(text + "\n"));
        }
    }

    pub(super) fn problem(&mut self, file: &str, problem: &Problem) {
        let reason = problem.reason;
        if self.table {
            let weight = match reason.weight() {
                Weight::Refused => "",
                Weight::Warned => "warning: ",
                Weight::PassedOver => "passed over: ",
            };
            let remedy = if self.told.insert(reason) && reason.weight() != Weight::PassedOver {
                format!("    {}\n", reason.remedy())
            } else {
                String::new()
            };
            return self.text(&format!("{file}: {weight}{problem}\n{remedy}"));
        }
        let (line, path) = match &problem.place {
            Place::Line(line) => (*line, None),
            Place::Object { line, path } => (*line, Some(path.as_str())),
        };
        self.line(&ProblemLine {
            r#type: "problem",
            file,
            line,
            path,
            outcome: reason.weight().as_str(),
            reason: reason.as_str(),
            text: &problem.text,
            why: reason.why(),
            remedy: reason.remedy(),
        });
    }

    pub(super) fn indicator(&mut self, file: &str, indicator: &Indicator) {
        let (value, subdomains) = value_of(&indicator.subject);
        let kind = Kind::of(&indicator.subject).as_str();
        let note = &*indicator.note;
        if self.table {
            let below = if subdomains == Some(true) { " and below" } else { "" };
            let label = if note.label.is_empty() { String::new() } else { format!("  ({})", note.label) };
            return self.text(&format!("{kind:<18}  {value}{below}{label}\n"));
        }
        self.line(&IndicatorLine {
            r#type: "indicator",
            file,
            feed: &note.feed,
            kind,
            value,
            subdomains,
            label: &note.label,
            confidence: note.confidence,
            group: &note.group,
            software: &note.software,
            reference: &note.reference,
            valid_from: note.valid_from,
            valid_until: note.valid_until,
        });
    }

    /// What could not be looked into.
    pub(super) fn failure(&mut self, failure: &FeedError) {
        if self.table {
            return self.text(&format!("{failure}\n    {}\n", failure.remedy()));
        }
        self.line(&FailureLine { r#type: "failure", failure: failure.to_string(), remedy: failure.remedy() });
    }

    /// What became of a file.
    pub(super) fn file(&mut self, loaded: Loaded) {
        if let Some(failure) = &loaded.failure {
            self.failure(failure);
        }
        if self.table {
            return self.files.push(loaded);
        }
        let of = |weight: Weight| {
            let reasons = loaded.report.reasons.iter().filter(|(reason, _)| reason.weight() == weight);
            reasons.map(|(reason, count)| (reason.as_str().to_owned(), (*count).into())).collect()
        };
        self.line(&FileLine {
            r#type: "file",
            file: &loaded.path,
            feed: &loaded.name,
            format: loaded.report.format.map(|format| format.as_str()),
            bytes: loaded.report.bytes,
            entries: loaded.report.indicators(),
            kinds: loaded.report.kinds.iter().map(|(k, n)| (k.as_str().to_owned(), (*n).into())).collect(),
            refused: of(Weight::Refused),
            warned: of(Weight::Warned),
            passed_over: of(Weight::PassedOver),
            failure: loaded.failure.as_ref().map(ToString::to_string),
        });
    }

    /// Writes the table of the files, and whatever is still to be written.
    pub(super) fn end(mut self) -> Result<(), OutputError> {
        if !self.files.is_empty() {
            let text = table(&self.files, self.style);
            self.text(&text);
        }
        self.failed.map_or_else(|| self.out.flush(), Err)
    }
}

/// What is looked up, as text.
fn value_of(subject: &Subject) -> (String, Option<bool>) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match subject {
        Subject::Ip(ip) => (ip.to_string(), None),
        Subject::Network { address, prefix } => (format!("{address}/{prefix}"), None),
        Subject::Asn(number) => (format!("AS{number}"), None),
        Subject::Domain { name, subdomains } => (name.to_string(), Some(*subdomains)),
        Subject::UrlHost(host) => (host.to_string(), None),
        Subject::Ja4(ja4) => (ja4.as_str().to_owned(), None),
        Subject::CertificateSha1(hash) => (hex(hash), None),
        Subject::CertificateSha256(hash) => (hex(hash), None),
    }
}

/// One row for each file; columns for the kinds that there are.
fn table(files: &[Loaded], style: Style) -> String {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| files.iter().any(|file| file.report.kinds.contains_key(kind)))
        .collect();
    let mut header: Vec<String> = ["FEED", "FORMAT", "ENTRIES"].map(str::to_owned).to_vec();
    header.extend(kinds.iter().map(|kind| kind.as_str().to_ascii_uppercase()));
    header.extend(["REFUSED", "WARNED", "PASSED OVER", "FILE"].map(str::to_owned));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let count = |count: u64| human::count(count);
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            let Report { format, .. } = &file.report;
            let mut row = vec![
                sonde_common::text::escape(&file.name).into_owned(),
                format.map_or("-", |format| format.as_str()).to_owned(),
                count(file.report.indicators()),
            ];
            row.extend(kinds.iter().map(|kind| count(file.report.kinds.get(kind).copied().unwrap_or(0))));
            let weights = [Weight::Refused, Weight::Warned, Weight::PassedOver];
            row.extend(weights.map(|weight| count(file.report.count(weight))));
            row.push(file.path.clone());
            row
        })
        .collect();
    columns::table(&header, &rows, style)
}
