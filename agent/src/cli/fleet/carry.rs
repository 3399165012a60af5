//! `sonde fleet carry`: the bridge from the sensors' stream to the store, as a service or until the stream is empty.

use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

use crate::cli::failure::{Failure, written};
use crate::cli::output::{Format, Output, Style};
use crate::cli::settings;
use crate::exit::Exit;
use crate::fleet::carry::Carrier;
use crate::platform::service::Signals;

/// Arguments of `sonde fleet carry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It ends on SIGTERM or Ctrl-C, once the batch under way is in the store or given back. Several may run beside each other; what one
leaves behind another gets. What no table takes is written to carry.dead.ndjson in fleet.carry.dead_dir.

Exit codes: 0 ended as asked; 78 the configuration leads nowhere. While a server is away it waits and tries again.")]
pub(super) struct Arguments {
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay a setting over the configuration; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End when the stream has nothing more
    #[arg(long)]
    once: bool,
}

impl Arguments {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let config = settings::read(settings::file(self.config.as_deref()).as_deref(), &self.set)?;
        let (ask, stop) = watch::channel(false);
        let carrier =
            Carrier::new(&config.fleet, stop).map_err(|error| Failure(Exit::Config, error.to_string()))?;
        let internal = |error: io::Error| Failure(Exit::Internal, error.to_string());
        // One thread asks the stream and the store while another may parse.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let counts = runtime.map_err(internal)?.block_on(async {
            let mut signals = Signals::listen()?;
            tokio::spawn(async move {
                loop {
                    if signals.next().await == crate::platform::service::Signal::Stop {
                        ask.send_replace(true);
                    }
                }
            });
            Ok::<_, io::Error>(carrier.run(self.once).await)
        });
        let counts = counts.map_err(internal)?;
        let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
        written(out.write_text(&format!("{counts}\n")).and_then(|()| out.flush()))
    }
}
