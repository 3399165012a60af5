//! `sonde config`: checks a configuration, shows what holds, prints the documented default.

use std::io;
use std::path::PathBuf;

use sonde_common::config::DEFAULT_TEXT;

use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use super::{settings, source};
use crate::exit::Exit;

/// Arguments of `sonde config`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say whether a configuration can be used, and if not, why and at which line
    Check {
        /// The file [default: the system's]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show every setting as it holds
    Show {
        /// The file [default: the system's, if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A setting that lies over the file, such as limits.memory="128 MiB"; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Print the default configuration, with what each setting means
    Default,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let text = match self.what {
            What::Default => DEFAULT_TEXT.to_owned(),
            What::Show { config, set } => {
                settings::read(settings::file(config.as_deref()).as_deref(), &set)?.to_toml()
            }
            What::Check { file } => match settings::file(file.as_deref()) {
                Some(path) => {
                    settings::read(Some(&path), &[])?;
                    format!("{}: can be used\n", source::shown(&path))
                }
                None => "no configuration file here: the defaults hold, and can be used\n".to_owned(),
            },
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
        written(out.write_text(&text).and_then(|()| out.flush()))
    }
}
