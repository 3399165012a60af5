//! The commands, and what they share: arguments in, exit code out.

mod allow;
mod config;
pub mod doctor;
mod explain;
mod failure;
mod feeds;
mod findings;
mod fleet;
mod man;
mod metrics;
pub mod output;
mod profiles;
pub mod progress;
mod replay;
mod run;
pub mod screen;
mod service;
mod settings;
mod severity;
mod sinks;
mod source;
mod status;
mod suggest;
mod tasks;
mod top;

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::exit::Exit;
use crate::telemetry;

/// Finds command-and-control beaconing: which destinations are called on a schedule, how regular, since when, and why it
/// matters.
#[derive(Debug, Parser)]
#[command(name = "sonde", version, max_term_width = 110, disable_help_subcommand = true)]
struct Arguments {
    /// Say more on stderr (twice: more still). `SONDE_LOG` takes a filter such as `debug` or `sonde::capture=trace`.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay captures, logs and event files through the engine and show what calls on a schedule
    Replay(replay::Arguments),
    /// Watch this machine: capture connections, name their programs and tell of what calls on a schedule
    Run(run::Arguments),
    /// Say how the running sensor is, what is lost, and how to mend it
    Status(status::Arguments),
    /// Print the running sensor's figures as Prometheus reads them
    Metrics(metrics::Arguments),
    /// List every series that the running sensor has scored, or those of files
    Beacons(findings::Arguments),
    /// List the alerts of the running sensor, or those of files
    Alerts(findings::Arguments),
    /// Tell everything that is known of one finding
    Explain(explain::Arguments),
    /// Show the running sensor's series in a table that is drawn anew every second
    Top(top::Arguments),
    /// Take a program with its destination for known-good, with a reason and until when; or list what is
    Allow(allow::Arguments),
    /// Lift a known-good entry
    Unallow(allow::Lift),
    /// List the profiles of programs that tick by nature, or check files of them
    Profiles(profiles::Arguments),
    /// Say what works here, what does not, what it costs, and how to mend it
    Doctor(doctor::Arguments),
    /// Have the system start the sensor by itself; say how that service is
    Service(service::Arguments),
    /// Check a configuration, show what holds, print the default
    Config(config::Arguments),
    /// Check lists of known-bad infrastructure, and show those that the configuration names
    Feeds(feeds::Arguments),
    /// What many sensors say: carried to a store that counts it, asked, and told back to the sensors
    Fleet(fleet::Arguments),
    /// List where alerts and the sensor's own words go, and test whether a server takes them
    Sinks(sinks::Arguments),
    /// Print the manual page of a command, or write those of all
    Man(man::Manual),
    /// Print completions for a shell
    Completions(man::Completions),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> Exit {
    let parsed = tasks::command().try_get_matches();
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are results, and clap writes them to stdout; everything else is a usage error.
            let printed = error.print();
            return match (error.use_stderr(), printed) {
                (true, _) => Exit::Usage,
                (false, Ok(())) => Exit::Done,
                (false, Err(_)) => Exit::Output,
            };
        }
    };
    // The sensor's log goes where its configuration says.
    if let Command::Run(sensor) = arguments.command {
        return sensor.run(arguments.verbose);
    }
    if let Some(wrong) = telemetry::start_for_command(arguments.verbose) {
        complain(&wrong);
    }
    match arguments.command {
        Command::Replay(arguments) => arguments.run(),
        Command::Run(sensor) => sensor.run(arguments.verbose),
        Command::Status(arguments) => arguments.run(),
        Command::Metrics(arguments) => arguments.run(),
        Command::Beacons(arguments) => arguments.run(true),
        Command::Alerts(arguments) => arguments.run(false),
        Command::Explain(arguments) => arguments.run(),
        Command::Top(arguments) => arguments.run(),
        Command::Allow(arguments) => arguments.run(),
        Command::Unallow(arguments) => arguments.run(),
        Command::Profiles(arguments) => arguments.run(),
        Command::Doctor(arguments) => arguments.run(),
        Command::Service(arguments) => arguments.run(),
        Command::Config(arguments) => arguments.run(),
        Command::Feeds(arguments) => arguments.run(),
        Command::Fleet(arguments) => arguments.run(),
        Command::Sinks(arguments) => arguments.run(),
        Command::Man(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(),
    }
}

/// Says on stderr why a command failed.
#[expect(
    clippy::print_stderr,
    reason = "the last word of a command belongs on stderr, whatever the log level"
)]
fn complain(error: &dyn std::fmt::Display) {
    eprintln!("sonde: {error}");
}
