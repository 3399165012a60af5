//! `sonde explain ID`: everything that is known of one finding.

use std::io::{self, BufWriter};

use super::failure::{Failure, written};
use super::output::{Format, Output, Style, finding};
use super::source::Source;
use crate::exit::Exit;

/// Arguments of `sonde explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde explain 3f2a                     one finding of the running sensor, by the beginning of its id
  sonde explain 3f2a --format json
  sonde explain 3f2a --from seen.ndjson  of a file")]
pub(super) struct Arguments {
    /// Id of the finding, as alerts carry it, or its beginning (at least four digits)
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    source: Source,
    /// How it is written [default: text]
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Text for people, JSON for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TextOrJson {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.explain())
    }

    fn explain(self) -> Result<Exit, Failure> {
        let alert = self.source.finding(&self.id)?;
        let style = Style::of_stdout();
        let mut out = Output::new(BufWriter::new(io::stdout()), Format::Ndjson, style);
        let done = match self.format {
            TextOrJson::Json => out.write(&alert),
            TextOrJson::Text => out.write_text(&finding::text(&alert, style)),
        };
        written(done.and_then(|()| out.flush()))
    }
}
