//! `sonde explain ID`: everything that is known of one finding, what to do about it, and queries that hunt for the same.

use std::io::{self, BufWriter};

use sonde_common::alert::Alert;
use sonde_common::encode::native;
use sonde_common::guide::Guidance;

use super::failure::{Failure, written};
use super::output::finding::queries::{self, Language};
use super::output::finding::{self, markdown};
use super::output::{Format, Output, Style};
use super::source::Source;
use crate::exit::Exit;

/// Arguments of `sonde explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde explain 3f2a                     one finding of the running sensor, by the beginning of its id
  sonde explain 3f2a --queries kql       queries that hunt for the same on other hosts
  sonde explain 3f2a --format markdown   for a ticket
  sonde explain 3f2a --from seen.ndjson  of a file")]
pub(super) struct Arguments {
    /// Id of the finding, as alerts carry it, or its beginning (at least four digits)
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    source: Source,
    /// How it is written [default: text]
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Print hunting queries: alone as text or JSON, behind the rest as Markdown
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    queries: Option<Language>,
}

/// How a finding is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people at a terminal.
    Text,
    /// One JSON object, as in docs/alerts.md.
    Json,
    /// For tickets and chats.
    Markdown,
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
        let text = match (self.format, self.queries) {
            (Form::Text, None) => finding::text(&alert, style),
            (Form::Text, Some(language)) => queries::text(&alert, language),
            (Form::Markdown, language) => markdown::text(&alert, language),
            (Form::Json, None) => whole(&alert),
            (Form::Json, Some(language)) => as_json(&alert, language)?,
        };
        written(out.write_text(&text).and_then(|()| out.flush()))
    }
}

/// The alert with all of its guidance, whatever it was emitted with.
fn whole(alert: &Alert) -> String {
    let guidance = if finding::is_alert(alert) { Guidance::Full } else { Guidance::None };
    native::to_json_with(alert, guidance) + "\n"
}

fn as_json(alert: &Alert, language: Language) -> Result<String, Failure> {
    let queries: serde_json::Map<String, serde_json::Value> = queries::of(alert, language)
        .into_iter()
        .map(|(language, queries)| Ok((language.key().to_owned(), serde_json::to_value(queries)?)))
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| Failure(Exit::Internal, error.to_string()))?;
    Ok(serde_json::Value::Object(queries).to_string() + "\n")
}
