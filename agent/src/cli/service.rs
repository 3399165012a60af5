//! `sonde service`: has the system start the sensor by itself, and says how that service is. What is done for it is each
//! system's own affair (`platform::install`).

use std::io;
use std::path::PathBuf;

use sonde_common::text::escape;
use sonde_common::time::Timestamp;

use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use super::settings;
use crate::exit::Exit;
use crate::install::{InstallError, Plan, Status};
use crate::platform::{install, paths};

/// Arguments of `sonde service`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 done, or it runs; 1 status: it does not run; 77 not permitted; 78 the configuration is wrong.
What the sensor has learnt, its configuration and what waits for sinks stay when the service is removed.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a service of this program and start it; done again, it takes up what has changed
    Install {
        /// Configuration file that the service reads [default: the system's]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Do not start it yet: it starts with the system
        #[arg(long, conflicts_with = "if_configured")]
        no_start: bool,
        /// Start it only if the system's configuration is there: what installers ask for
        #[arg(long, hide = true)]
        if_configured: bool,
    },
    /// Stop the service and remove it
    Uninstall,
    /// Start the service
    Start,
    /// Stop the service; it starts again with the system
    Stop,
    /// Say whether the service is there and runs
    Status,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let (text, exit) = match self.what {
            What::Install { config, no_start, if_configured } => {
                let config = config
                    .map(std::path::absolute)
                    .transpose()
                    .map_err(|error| Failure(Exit::Usage, format!("--config: {error}")))?;
                // A configuration that the sensor would refuse is told here, where somebody reads it.
                settings::read(settings::file(config.as_deref()).as_deref(), &[])?;
                let configured = config.is_some() || paths::config_file().exists();
                let start = if if_configured { configured } else { !no_start };
                (lines(&install::install(&Plan { config, start })?), Exit::Done)
            }
            What::Uninstall => (lines(&install::uninstall(&Plan::default())?), Exit::Done),
            What::Start => {
                install::start()?;
                ("the service runs\n".to_owned(), Exit::Done)
            }
            What::Stop => {
                install::stop()?;
                ("the service is stopped\n".to_owned(), Exit::Done)
            }
            What::Status => status(install::status()?),
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
        written(out.write_text(&text).and_then(|()| out.flush())).map(|_| exit)
    }
}

/// One line each, with names of files made harmless.
fn lines(told: &[String]) -> String {
    told.iter().map(|line| format!("{}\n", escape(line))).collect()
}

fn status(status: Status) -> (String, Exit) {
    match status {
        Status::Absent => ("not installed\n".to_owned(), Exit::Found),
        Status::Stopped => ("installed, does not run\n".to_owned(), Exit::Found),
        Status::Running { pid, since } => {
            let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
            let since = since.map_or_else(String::new, |since| format!(", since {}", in_seconds(since)));
            (format!("runs{pid}{since}\n"), Exit::Done)
        }
    }
}

/// Without what no person reads.
fn in_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        let exit = match &error {
            InstallError::Denied { .. } => Exit::Permission,
            InstallError::Absent => Exit::NoInput,
            InstallError::Unsupported { .. } | InstallError::Failed { .. } | InstallError::System { .. } => {
                Exit::Internal
            }
        };
        Self(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_run_is_told_by_the_exit_code_too() {
        assert_eq!(status(Status::Absent), ("not installed\n".to_owned(), Exit::Found));
        assert_eq!(status(Status::Stopped).1, Exit::Found);
        let since = Some(Timestamp::ZERO);
        let (text, exit) = status(Status::Running { pid: Some(7), since });
        assert_eq!((text.as_str(), exit), ("runs, process 7, since 1970-01-01T00:00:00Z\n", Exit::Done));
        assert_eq!(status(Status::Running { pid: None, since: None }).0, "runs\n");
    }

    #[test]
    fn names_of_files_do_no_harm_in_what_is_told() {
        assert_eq!(lines(&["a\x1b[2Jb".to_owned(), "c".to_owned()]).lines().count(), 2);
        assert!(!lines(&["a\x1b[2Jb".to_owned()]).contains('\x1b'));
    }
}
