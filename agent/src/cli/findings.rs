//! `sonde beacons`, `sonde alerts`: what the running sensor has found, or what files hold; in the forms of `sonde replay`.

use std::io::{self, BufWriter, IsTerminal as _};

use sonde_common::alert::Severity;
use sonde_common::human;

use super::failure::{Failure, written};
use super::output::{self, Format, Output, Scored, Style};
use super::severity::Level;
use super::source::Source;
use crate::exit::Exit;
use crate::live::command::MAX_ROWS;

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// How results are written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Leave out what is milder
    #[arg(long, value_name = "SEVERITY")]
    min_severity: Option<Level>,
    /// List so many at the most, best first
    #[arg(long, value_name = "N", default_value_t = MAX_ROWS)]
    limit: usize,
}

impl Arguments {
    /// `all`: every scored series, and not only alerts.
    pub(super) fn run(self, all: bool) -> Exit {
        Failure::tell(self.list(all))
    }

    fn list(self, all: bool) -> Result<Exit, Failure> {
        let milder = if all { Severity::Info } else { Severity::Medium };
        let least = self.min_severity.map_or(milder, Severity::from);
        let rows = self.source.rows(all, least, self.limit)?;
        let format = self.format.unwrap_or_else(|| Format::by_default(io::stdout().is_terminal()));
        let style = Style::of_stdout();
        let mut out = Output::new(BufWriter::new(io::stdout()), format, style);
        let done = if rows.rows.is_empty() && format == Format::Table {
            let scored = Scored { events: rows.events, series: rows.series, hidden: 0 };
            out.write_text(&nothing(&scored, all, style))
        } else {
            out.write_all(&rows.rows)
        };
        let exit = written(done.and_then(|()| out.flush()))?;
        if rows.omitted > 0 {
            tracing::warn!(omitted = rows.omitted, "more than shown; --limit and --min-severity choose");
        }
        Ok(exit)
    }
}

/// Why the list is empty.
fn nothing(scored: &Scored, all: bool, style: Style) -> String {
    let Scored { events, series, .. } = *scored;
    let (events, count) = (human::count(events), human::count(series));
    let text = if all || series == 0 {
        format!(
            "No series to list: {events} connections, exchanges and queries were seen. A series is listed once a program \
             has called the same destination at least four times."
        )
    } else {
        format!(
            "No alert to list: {count} series were scored in {events} connections, exchanges and queries, and none is both \
             regular and suspicious enough, or --min-severity hides it. `sonde beacons` lists every series with its score."
        )
    };
    output::paragraph(&text, style)
}
