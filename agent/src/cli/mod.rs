//! The commands, and what they share: arguments in, exit code out.

pub mod output;
pub mod progress;
mod replay;
mod run;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

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
}

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
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
    start_log(arguments.verbose);
    match arguments.command {
        Command::Replay(arguments) => arguments.run(),
        Command::Run(arguments) => arguments.run(),
    }
}

/// Logs go to stderr: results alone go to stdout.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let wanted = std::env::var("SONDE_LOG").ok();
    let filter = wanted.and_then(|wanted| {
        let filter = tracing_subscriber::EnvFilter::try_new(&wanted);
        filter.map_err(|error| complain(&format!("SONDE_LOG is no log filter and is ignored: {error}"))).ok()
    });
    let filter = filter.unwrap_or_else(|| tracing_subscriber::EnvFilter::new(level));
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second start (in tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .without_time()
        .with_target(false)
        .try_init();
}

/// Says on stderr why a command failed.
#[expect(
    clippy::print_stderr,
    reason = "the last word of a command belongs on stderr, whatever the log level"
)]
fn complain(error: &dyn std::fmt::Display) {
    eprintln!("sonde: {error}");
}
