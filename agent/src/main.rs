//! The `sonde` command: arguments in, exit code out.

use std::process::ExitCode;

use sonde::exit::Exit;

fn main() -> ExitCode {
    // A fault of our own has its own exit code; what happened is already on stderr.
    std::panic::catch_unwind(sonde::cli::run).unwrap_or(Exit::Internal).into()
}
