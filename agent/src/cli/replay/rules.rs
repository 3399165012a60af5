//! `--rule` and `--compare`: what others say of the same input.

use std::io::{self, BufWriter, IsTerminal as _};
use std::ops::ControlFlow;

use clap::ValueEnum;
use sonde_common::attribute::ProcessMap;
use sonde_common::config::Config;
use sonde_common::rule::compare::{Compared, Thresholds, compare};
use sonde_common::rule::record::{self, Record};
use sonde_common::rule::rita::RitaUnit;
use sonde_common::rule::sentinel::SentinelGroup;

use super::{Arguments, Failure, nothing_read, summary};
use crate::capture::{Found, total_length};
use crate::cli::output::{Format, Output, OutputError, Style, columns};
use crate::cli::progress::Progress;
use crate::cli::settings;
use crate::exit::Exit;
use crate::replay::Replay;
use crate::replay::rules::{Feed, Wanted};

/// A rule to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RuleName {
    /// The published hunting rule for DeviceNetworkEvents, to the letter
    Sentinel,
    /// RITA-compatible scores per source and destination
    Rita,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Sentinel,
    Rita,
    Compare,
}

impl Asked {
    pub(super) fn of(rule: Option<RuleName>, compare: bool) -> Option<Self> {
        match rule {
            Some(RuleName::Sentinel) => Some(Self::Sentinel),
            Some(RuleName::Rita) => Some(Self::Rita),
            None => compare.then_some(Self::Compare),
        }
    }
}

/// Columns of the hunting rule's answer that a table shows.
const SENTINEL_COLUMNS: [(&str, usize); 9] = [
    ("RiskScore", 13),
    ("DeviceName", 1),
    ("AccountName", 2),
    ("RemoteIP", 3),
    ("RemoteUrl", 4),
    ("ConnectionCount", 5),
    ("DurationMinutes", 6),
    ("AvgIntervalMinutes", 7),
    ("Processes", 10),
];

impl Arguments {
    /// Asks a rule, or all of them and Sonde.
    pub(super) fn ask(
        &self,
        asked: Asked,
        config: &Config,
        inputs: Vec<Found>,
        process_map: Option<ProcessMap>,
    ) -> Result<Exit, Failure> {
        if self.format == Some(Format::Ocsf) {
            let text = "--format ocsf is a form of Sonde's own findings: a rule's answer comes as table, ndjson or csv";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        let wanted = Wanted { sentinel: asked != Asked::Rita, rita: asked != Asked::Sentinel };
        let knowledge = settings::knowledge(config, &self.feed, self.hints.as_deref())?;
        let mut feed = Feed::new(wanted);
        let mut progress = Progress::new(total_length(&inputs), !self.no_progress);
        let replay = Replay {
            config,
            knowledge,
            local: self.local.clone(),
            events: None,
            input_format: self.input_format,
            process_map,
            threads: self.threads(),
            detect: asked == Asked::Compare,
            all: true,
            stream: false,
            activity: false,
            tap: Some(&mut feed),
        };
        let done = replay.run(inputs, &mut |_| ControlFlow::Continue(()), &mut |at| {
            progress.tick(at.bytes, at.records, at.events);
        });
        progress.finish();
        let (findings, totals) = done?;
        let answers = feed.answers(self.at).map_err(crate::replay::ReplayError::Spool)?;
        let style = Style::of_stdout();
        let format = self.format.unwrap_or_else(|| Format::by_default(io::stdout().is_terminal()));
        let mut out = Output::new(BufWriter::new(io::stdout()), format, style);
        let mut said = None;
        let written = match asked {
            Asked::Sentinel => write(
                &mut out,
                format,
                style,
                &answers.groups,
                sentinel_row,
                &SENTINEL_COLUMNS.map(|(name, _)| name),
            ),
            Asked::Rita => write(
                &mut out,
                format,
                style,
                &answers.units,
                rita_row,
                RitaUnit::HEADER.get(..RITA_COLUMNS).unwrap_or_default(),
            ),
            Asked::Compare => {
                let comparison = compare(
                    &answers.groups,
                    &answers.units,
                    &findings.series,
                    &Thresholds::default(),
                    self.all,
                );
                said = Some(comparison.summary.to_string());
                write(&mut out, format, style, &comparison.rows, compared_row, &COMPARE_COLUMNS)
            }
        };
        match written.and_then(|()| out.flush()) {
            // The reader has seen enough: that is success.
            Ok(()) | Err(OutputError::Closed { .. }) => {}
            Err(error) => return Err(Failure(Exit::Output, error.to_string())),
        }
        if let Some(said) = said {
            note(&said);
        }
        if !answers.lost.is_none() {
            let (rows, details) = (answers.lost.rows, answers.lost.details);
            tracing::warn!(
                rows,
                details,
                "the rules could not keep everything: too many groups for their memory"
            );
        }
        summary::tell(&totals, format == Format::Table);
        Ok(if nothing_read(&totals) { Exit::BadInput } else { Exit::Done })
    }
}

/// Says something beside the results.
#[expect(clippy::print_stderr, reason = "the summary belongs beside the table, not in it")]
fn note(text: &str) {
    eprintln!("{text}");
}

fn write<R: Record>(
    out: &mut Output<impl io::Write>,
    format: Format,
    style: Style,
    records: &[R],
    cells: impl Fn(&R) -> Vec<String>,
    header: &[&str],
) -> Result<(), OutputError> {
    match format {
        Format::Table if records.is_empty() => out.write_text("Nothing found.\n"),
        Format::Table => {
            let rows: Vec<_> = records.iter().map(cells).collect();
            out.write_text(&columns::table(header, &rows, style))
        }
        Format::Csv => {
            let mut text = Vec::new();
            record::csv_header::<R>(&mut text);
            out.write_bytes(&text)?;
            each(out, records, record::csv)
        }
        Format::Ndjson | Format::Ocsf => each(out, records, record::ndjson),
    }
}

fn each<R: Record>(
    out: &mut Output<impl io::Write>,
    records: &[R],
    write: impl Fn(&R, &mut Vec<u8>),
) -> Result<(), OutputError> {
    let mut text = Vec::new();
    records.iter().try_for_each(|record| {
        text.clear();
        write(record, &mut text);
        out.write_bytes(&text)
    })
}

/// The cells that a table shows, of all that the rule answers.
fn sentinel_row(group: &SentinelGroup) -> Vec<String> {
    let mut cells = group.cells();
    let processes = group.processes.join(", ");
    SENTINEL_COLUMNS
        .iter()
        .map(|&(name, at)| {
            if name == "Processes" {
                sonde_common::text::escape(&processes).into_owned()
            } else if name == "AvgIntervalMinutes" {
                // Fifteen decimals are for programs.
                format!("{:.2}", group.avg_interval_minutes)
            } else {
                cells.get_mut(at).map(std::mem::take).unwrap_or_default()
            }
        })
        .collect()
}

/// Columns of RITA's answer that a table shows: all but the times and the bytes.
const RITA_COLUMNS: usize = 8;

fn rita_row(unit: &RitaUnit) -> Vec<String> {
    let mut cells = unit.cells();
    cells.truncate(RITA_COLUMNS);
    cells
}

const COMPARE_COLUMNS: [&str; 9] =
    ["HOST", "DESTINATION", "PROGRAM", "RULE", "COUNT", "RITA", "SONDE", "SCORE", "EVERY"];

fn compared_row(row: &Compared) -> Vec<String> {
    use sonde_common::human;
    let dash = || "-".to_owned();
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(dash);
    let shown = |text: &str| or_dash(Some(sonde_common::text::escape(text).into_owned()));
    let port = row.port.map_or_else(String::new, |port| format!(":{port}"));
    vec![
        shown(&row.host),
        format!("{}{port}", shown(&row.destination)),
        shown(&row.process),
        or_dash(row.rule_risk_score.map(|risk| format!("risk {risk}"))),
        or_dash(
            row.sonde_callbacks
                .map(|count| human::count(u64::from(count)))
                .or_else(|| row.rita_connections.or(row.rule_connections).map(human::count)),
        ),
        or_dash(row.rita_score.map(|score| format!("{score:.2}"))),
        or_dash(row.sonde_severity.map(|severity| severity.to_string())),
        or_dash(row.sonde_score.map(|score| format!("{score:.2}"))),
        or_dash(row.sonde_period_secs.map(human::interval)),
    ]
}
