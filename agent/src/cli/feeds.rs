//! `sonde feeds`: says what a list of known-bad infrastructure holds, and of everything that is not taken from it where it
//! stands and why.

mod show;

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::PathBuf;

use sonde_common::feed::format::{Item, Options, Weight};

use self::show::Show;
use super::failure::{Failure, written};
use super::output::Style;
use super::settings;
use crate::exit::Exit;
use crate::feeds::{self, FeedError, Loaded, Reading};

/// Arguments of `sonde feeds`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read feeds and name every entry that cannot be used, with file, line and why
    Check(Check),
    /// List the feeds that the configuration names, with what is in them
    List(List),
}

/// Arguments of `sonde feeds check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde feeds check ipblocklist.csv               what is in it, and what is wrong with it
  sonde feeds check /etc/sonde/feeds --strict     a folder; exit code 65 if anything at all is refused
  sonde feeds check ours.csv --set columns=-,address,label --set 'separator=;'
  sonde feeds check bundle.json --entries --format ndjson | jq 'select(.type == \"indicator\")'

Exit codes: 0 usable; 64 usage; 65 a file gives nothing that can be used, or with --strict has refused entries;
66 no such file; 74 output failed; 77 permission; 78 configuration.")]
struct Check {
    /// Files, plain, .gz, .zst or in a .zip; folders are walked; `-` is stdin [default: the configuration's feeds]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How results are written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Show the entries that are taken, too, each as it will be looked up
    #[arg(long)]
    entries: bool,
    /// Name what is passed over, too: duplicates, hashes of files, context, what is revoked
    #[arg(long)]
    all: bool,
    /// Name at most so many entries of a file; all are counted [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Exit with 65 also if a single entry is refused
    #[arg(long)]
    strict: bool,
    /// A setting of the feeds, such as columns=address,-,label, over those of their .sonde.toml; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Arguments of `sonde feeds list`.
#[derive(Debug, clap::Args)]
struct List {
    /// How results are written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// One JSON object a line.
    Ndjson,
}

impl Form {
    fn or_default(form: Option<Self>) -> Self {
        form.unwrap_or_else(|| if io::stdout().is_terminal() { Self::Table } else { Self::Ndjson })
    }
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(match self.what {
            What::Check(check) => check.done(),
            What::List(list) => list.done(),
        })
    }
}

/// The feeds of the configuration.
fn configured(config: Option<&std::path::Path>) -> Result<Vec<PathBuf>, Failure> {
    let config = settings::read(settings::file(config).as_deref(), &[])?;
    Ok(config.feeds.paths.iter().filter_map(|place| place.get()).map(PathBuf::from).collect())
}

impl Check {
    fn done(self) -> Result<Exit, Failure> {
        let options: Vec<(String, String)> =
            self.set.iter().map(|text| setting(text)).collect::<Result<_, _>>()?;
        let paths = if self.files.is_empty() { configured(self.config.as_deref())? } else { self.files };
        if paths.is_empty() {
            let text = "no feeds to check: name files, or set feeds.paths in the configuration";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        let reading = Reading { options, without_duplicates: true };
        let mut show = Show::new(
            BufWriter::new(io::stdout()),
            Form::or_default(self.format) == Form::Table,
            Style::of_stdout(),
        );
        let (files, failures) = feeds::find(&paths);
        let mut worst = failures.iter().map(exit_of).fold(Exit::Done, worse);
        for failure in &failures {
            show.failure(failure);
        }
        for file in files {
            let mut named = 0;
            let loaded = feeds::read(&file, &reading, &mut |path, item| match item {
                Item::Indicator(indicator) if self.entries => show.indicator(path, &indicator),
                Item::Indicator(_) => {}
                Item::Problem(problem) => {
                    let wanted = self.all || problem.reason.weight() != Weight::PassedOver;
                    if wanted && self.limit.is_none_or(|limit| named < limit) {
                        named += 1;
                        show.problem(path, &problem);
                    }
                }
            });
            for loaded in loaded {
                worst = worse(worst, verdict(&loaded, self.strict));
                show.file(loaded);
            }
            if show.has_failed() {
                break;
            }
        }
        written(show.end()).map(|done| worse(done, worst))
    }
}

impl List {
    fn done(self) -> Result<Exit, Failure> {
        let paths = configured(self.config.as_deref())?;
        let table = Form::or_default(self.format) == Form::Table;
        let mut show = Show::new(BufWriter::new(io::stdout()), table, Style::of_stdout());
        if paths.is_empty() && table {
            show.text("No feeds: set feeds.paths in the configuration to files and folders of them.\n");
        }
        let (loaded, failures) = feeds::load(&paths, &mut |_| {});
        let mut worst = failures.iter().map(exit_of).fold(Exit::Done, worse);
        for failure in &failures {
            show.failure(failure);
        }
        for loaded in loaded {
            worst = worse(worst, verdict(&loaded, false));
            show.file(loaded);
        }
        written(show.end()).map(|done| worse(done, worst))
    }
}

fn setting(text: &str) -> Result<(String, String), Failure> {
    let wrong = |why: String| Failure(Exit::Usage, format!("--set: {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| wrong("write KEY=VALUE".to_owned()))?;
    let (key, value) = (key.trim(), value.trim());
    Options::default().set(key, value).map_err(|error| wrong(error.to_string()))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn exit_of(failure: &FeedError) -> Exit {
    match failure {
        _ if failure.is_missing() => Exit::NoInput,
        _ if failure.is_denied() => Exit::Permission,
        FeedError::Settings { .. } => Exit::Config,
        _ => Exit::BadInput,
    }
}

/// What a feed alone would end the command with.
fn verdict(loaded: &Loaded, strict: bool) -> Exit {
    let refused = strict && loaded.report.count(Weight::Refused) > 0;
    match &loaded.failure {
        Some(failure) => exit_of(failure),
        None if loaded.report.is_unusable() || refused => Exit::BadInput,
        None => Exit::Done,
    }
}

/// The one that says more: what could not be read at all goes before what was of no use.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::BadInput => 1,
        Exit::Config => 2,
        Exit::Permission => 3,
        Exit::NoInput => 4,
        _ => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}
