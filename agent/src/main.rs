//! The `sonde` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    sonde::cli::run().into()
}
