//! Results on stdout: a table for people, NDJSON for machines, CSV for spreadsheets.
//!
//! Each alert is made in memory and written in one call, so a reader never sees half a line of ours. A reader that
//! leaves early (`| head`) is no failure: that is told apart from a disk that is full.

pub mod columns;
pub mod finding;
mod table;
pub(in crate::cli) mod text;

use std::io::{self, Write};

use sonde_common::alert::Alert;
use sonde_common::encode::{csv as rows, native, ocsf};
use sonde_common::guide::Guidance;

use self::table::Table;
use sonde_common::human;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line, as in docs/alerts.md.
    Ndjson,
    /// The same as OCSF detection findings, as in docs/ocsf.md.
    Ocsf,
    /// Comma-separated, with a header.
    Csv,
}

impl Format {
    /// What is written if nothing is asked for: a table on a terminal, NDJSON elsewhere.
    #[must_use]
    pub const fn by_default(is_terminal: bool) -> Self {
        if is_terminal { Self::Table } else { Self::Ndjson }
    }
}

/// Results could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader has closed its end: the caller is done, with success.
    #[error("the reader closed the output after {written} bytes")]
    Closed {
        /// Bytes written before.
        written: u64,
    },
    /// Anything else, such as a full disk.
    #[error("cannot write the output after {written} bytes")]
    Write {
        /// Bytes written before.
        written: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OutputError {
    /// Whether the reader went away, which is no failure of ours.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    fn new(source: io::Error, written: u64) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed { written }
        } else {
            Self::Write { written, source }
        }
    }
}

/// What a table's reader can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns, 60 to 200.
    pub width: usize,
    /// Whether colour is wanted. It never carries meaning of its own.
    pub color: bool,
    /// Whether more than ASCII is shown.
    pub unicode: bool,
}

impl Style {
    /// Columns of a table that goes to a file or pipe.
    pub const PIPE_WIDTH: usize = 120;

    /// The style for this process's stdout.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        let columns = terminal_size::terminal_size_of(&stdout).map(|(width, _)| width.0);
        let is_terminal = io::IsTerminal::is_terminal(&stdout);
        Self::detect(is_terminal, columns, |name| std::env::var(name).ok())
    }

    /// From what is known of stdout and of the environment: `COLUMNS`, `NO_COLOR` (no-color.org), `TERM`, and the
    /// locale's variables in the order of POSIX.
    #[must_use]
    pub fn detect(
        is_terminal: bool,
        columns: Option<u16>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let width = if is_terminal {
            let asked =
                set("COLUMNS").and_then(|text| text.parse().ok()).filter(|&columns: &usize| columns > 0);
            asked.or(columns.map(usize::from)).unwrap_or(Self::PIPE_WIDTH).clamp(60, 200)
        } else {
            Self::PIPE_WIDTH
        };
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let unicode = match locale {
            Some(locale) => {
                let locale = locale.to_ascii_lowercase();
                locale.contains("utf-8") || locale.contains("utf8")
            }
            // Windows has no such variables, and its console takes Unicode from Rust's library.
            None => std::env::consts::FAMILY == "windows",
        };
        let color = is_terminal && set("NO_COLOR").is_none() && set("TERM").as_deref() != Some("dumb");
        Self { width, color, unicode }
    }
}

/// Writes alerts in one format.
///
/// Give it a writer that buffers; [`Output::flush`] tells whether the last of it arrived.
#[derive(Debug)]
pub struct Output<W: Write> {
    out: W,
    written: u64,
    buffer: Vec<u8>,
    form: Form,
    guidance: Guidance,
}

#[derive(Debug)]
enum Form {
    Table(Table),
    Ndjson,
    Ocsf,
    Csv { header_written: bool },
}

impl<W: Write> Output<W> {
    /// Writes nothing yet. The style matters to a table only.
    pub const fn new(out: W, format: Format, style: Style) -> Self {
        let form = match format {
            Format::Table => Form::Table(Table::new(style)),
            Format::Ndjson => Form::Ndjson,
            Format::Ocsf => Form::Ocsf,
            Format::Csv => Form::Csv { header_written: false },
        };
        Self { out, written: 0, buffer: Vec::new(), form, guidance: Guidance::None }
    }

    /// Has JSON carry so much guidance.
    #[must_use]
    pub fn with_guidance(self, guidance: Guidance) -> Self {
        Self { guidance, ..self }
    }

    /// Writes all results: a table's columns are as wide as they need. A CSV has its header even without results.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader went away, [`OutputError::Write`] if writing failed.
    pub fn write_all(&mut self, alerts: &[Alert]) -> Result<(), OutputError> {
        if let Form::Table(table) = &self.form {
            let mut text = String::new();
            table.push_all(alerts, &mut text);
            self.buffer.extend_from_slice(text.as_bytes());
            return self.send();
        }
        self.push_header()?;
        self.send()?;
        alerts.iter().try_for_each(|alert| self.write(alert))
    }

    /// Writes one alert of a stream, in the order of the calls.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader went away, [`OutputError::Write`] if writing failed.
    pub fn write(&mut self, alert: &Alert) -> Result<(), OutputError> {
        self.push_header()?;
        match &mut self.form {
            Form::Table(table) => {
                let mut text = String::new();
                table.push_next(alert, &mut text);
                self.buffer.extend_from_slice(text.as_bytes());
            }
            Form::Ndjson => {
                native::append(alert, self.guidance.of_emission(alert), &mut self.buffer);
                self.buffer.push(b'\n');
            }
            Form::Ocsf => {
                ocsf::append(alert, self.guidance.of_emission(alert), &mut self.buffer);
                self.buffer.push(b'\n');
            }
            Form::Csv { .. } => self.push_row(&rows::row(alert))?,
        }
        self.send()
    }

    /// Writes a text in the place of results.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader went away, [`OutputError::Write`] if writing failed.
    pub fn write_text(&mut self, text: &str) -> Result<(), OutputError> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes what is formed already.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader went away, [`OutputError::Write`] if writing failed.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.buffer.extend_from_slice(bytes);
        self.send()
    }

    /// Hands on what the writer still holds.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader went away, [`OutputError::Write`] if writing failed.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.out.flush().map_err(|error| OutputError::new(error, self.written))
    }

    /// The writer, with what was written so far.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn push_header(&mut self) -> Result<(), OutputError> {
        if let Form::Csv { header_written } = &mut self.form
            && !std::mem::replace(header_written, true)
        {
            self.push_row(&rows::HEADER)?;
        }
        Ok(())
    }

    fn push_row(&mut self, cells: &[impl AsRef<[u8]>]) -> Result<(), OutputError> {
        let mut writer = csv::Writer::from_writer(&mut self.buffer);
        let done = writer.write_record(cells).and_then(|()| Ok(writer.flush()?));
        drop(writer);
        done.map_err(|error| OutputError::new(error.into(), self.written))
    }

    fn send(&mut self) -> Result<(), OutputError> {
        let done = self.out.write_all(&self.buffer);
        let written = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer.clear();
        done.map_err(|error| OutputError::new(error, self.written))?;
        self.written = self.written.saturating_add(written);
        Ok(())
    }
}

/// What a run came to, for the text that replaces an empty table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scored {
    /// Connections, exchanges and DNS queries seen.
    pub events: u64,
    /// Series of callbacks scored.
    pub series: u64,
    /// Alerts that `--min-severity` hides.
    pub hidden: u64,
}

/// One paragraph that says that there is no alert, what was looked at, and how to see more; ends with a line's end.
#[must_use]
pub fn no_alerts(scored: &Scored, style: Style) -> String {
    let Scored { events, series, hidden } = *scored;
    let counted = |count: u64, one: &str, many: &str| {
        format!("{} {}", human::count(count), if count == 1 { one } else { many })
    };
    let events = counted(events, "event", "events");
    let text = if hidden > 0 {
        format!(
            "No alert is severe enough to show: --min-severity hides {}. {} scored in {events}. Lower --min-severity to \
             see the alerts, or use --all to list every series with its score.",
            counted(hidden, "milder one", "milder ones"),
            counted(series, "series was", "series were"),
        )
    } else if series == 0 {
        format!(
            "No alert: in {events} there was nothing to score. A series is scored once a program has called the same \
             destination at least four times."
        )
    } else {
        format!(
            "No alert. {} scored in {events}, and none is both regular and suspicious enough for an alert. Use --all to \
             list every series with its score.",
            counted(series, "series was", "series were"),
        )
    };
    paragraph(&text, style)
}

/// The head of a text, in at most so many columns.
#[must_use]
pub fn head(text: &str, columns: usize) -> &str {
    text::take_head(text, columns)
}

/// A text in lines that fit.
#[must_use]
pub fn paragraph(text: &str, style: Style) -> String {
    let mut out = text::wrap(text, style.width).join("\n");
    out.push('\n');
    out
}

#[cfg(test)]
use sonde_common as model;
#[cfg(test)]
#[path = "../../../common/src/encode/samples.rs"]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { width: 80, color: false, unicode: true };

    fn written(format: Format, alerts: &[Alert]) -> String {
        let mut output = Output::new(Vec::new(), format, STYLE);
        output.write_all(alerts).unwrap();
        output.flush().unwrap();
        String::from_utf8(output.into_inner()).unwrap()
    }

    /// A writer that fails after some bytes.
    struct Failing(usize, io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn ndjson_is_one_object_a_line() {
        let alerts = samples::all();
        let text = written(Format::Ndjson, &alerts);
        assert!(text.ends_with("}\n"));
        for (line, alert) in text.lines().zip(&alerts) {
            assert_eq!(line, native::to_json(alert));
        }
        assert_eq!(text.lines().count(), alerts.len());
    }

    #[test]
    fn ocsf_is_one_finding_a_line() {
        let alerts = samples::all();
        let text = written(Format::Ocsf, &alerts);
        for (line, alert) in text.lines().zip(&alerts) {
            assert_eq!(line, ocsf::to_json(alert, Guidance::None));
        }
        assert_eq!(text.lines().count(), alerts.len());
    }

    #[test]
    fn csv_reads_back_as_its_cells() {
        let alerts = samples::all();
        let text = written(Format::Csv, &alerts);
        assert_eq!(text.lines().count(), alerts.len() + 1);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), rows::HEADER[..]);
        for (record, alert) in reader.records().zip(&alerts) {
            assert_eq!(record.unwrap(), rows::row(alert)[..]);
        }
        assert_eq!(written(Format::Csv, &[]).lines().count(), 1, "the header comes without results too");
    }

    #[test]
    fn stream_and_whole_are_the_same_for_machines() {
        let alerts = samples::all();
        for format in [Format::Ndjson, Format::Ocsf, Format::Csv] {
            let mut output = Output::new(Vec::new(), format, STYLE);
            alerts.iter().for_each(|alert| output.write(alert).unwrap());
            assert_eq!(String::from_utf8(output.into_inner()).unwrap(), written(format, &alerts));
        }
    }

    #[test]
    fn reader_that_leaves_is_told_from_a_full_disk() {
        let alerts = samples::all();
        for format in [Format::Table, Format::Ndjson, Format::Ocsf, Format::Csv] {
            let mut pipe = Output::new(Failing(100, io::ErrorKind::BrokenPipe), format, STYLE);
            assert!(pipe.write_all(&alerts).unwrap_err().is_closed());
            let mut disk = Output::new(Failing(100, io::ErrorKind::StorageFull), format, STYLE);
            let error = disk.write_all(&alerts).unwrap_err();
            assert!(!error.is_closed());
            assert!(error.to_string().starts_with("cannot write the output after "), "{error}");
        }
    }

    #[test]
    fn style_follows_the_terminal_and_the_environment() {
        let detect = |is_terminal, columns, variables: &[(&str, &str)]| {
            Style::detect(is_terminal, columns, |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let utf8 = ("LANG", "en_GB.UTF-8");
        assert_eq!(detect(true, Some(93), &[utf8]), Style { width: 93, color: true, unicode: true });
        assert_eq!(detect(true, Some(93), &[utf8, ("COLUMNS", "140")]).width, 140);
        assert_eq!(detect(true, Some(93), &[utf8, ("COLUMNS", "wide")]).width, 93);
        assert_eq!(detect(true, Some(20), &[]).width, 60);
        assert_eq!(detect(true, Some(999), &[]).width, 200);
        assert_eq!(
            detect(false, Some(93), &[utf8, ("COLUMNS", "70")]),
            Style { width: 120, color: false, unicode: true }
        );
        assert!(!detect(true, None, &[utf8, ("NO_COLOR", "1")]).color);
        assert!(detect(true, None, &[utf8, ("NO_COLOR", "")]).color, "an empty NO_COLOR counts as not set");
        assert!(!detect(true, None, &[utf8, ("TERM", "dumb")]).color);
        assert!(!detect(true, None, &[("LC_ALL", "C"), utf8]).unicode);
        assert!(detect(true, None, &[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]).unicode);
    }

    #[test]
    fn no_alert_says_what_was_looked_at_and_how_to_see_more() {
        let no_alerts = |scored| {
            let text = no_alerts(scored, STYLE);
            assert!(text.ends_with(".\n") && text.lines().all(|line| line.len() <= STYLE.width), "{text}");
            text.replace('\n', " ")
        };
        let some = no_alerts(&Scored { events: 45_678, series: 1_234, hidden: 0 });
        assert!(
            some.contains("1,234 series were scored in 45,678 events") && some.contains("--all"),
            "{some}"
        );
        let none = no_alerts(&Scored { events: 1, series: 0, hidden: 0 });
        assert!(none.contains("in 1 event there was nothing to score"), "{none}");
        let hidden = no_alerts(&Scored { events: 9, series: 1, hidden: 1 });
        assert!(hidden.contains("hides 1 milder one. 1 series was scored"), "{hidden}");
    }
}
