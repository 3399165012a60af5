//! `sonde fleet keys`: the keys that sign hints and check them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sonde_common::hints::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::cli::failure::{Failure, written};
use crate::cli::output::{Format, Output, Style};
use crate::exit::Exit;
use crate::platform;
use crate::sink::secret;

/// Arguments of `sonde fleet keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key: the secret one into a file that nobody else can read, the public one to stdout, for hints.keys
    New {
        /// The file to write; one that is there already is left alone
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public key of a secret one
    Public {
        /// The file that holds it
        file: PathBuf,
    },
}

impl Arguments {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        match self.what {
            What::New { out } => new(&out),
            What::Public { file } => of_file(&file).and_then(|key| print(&key.public())),
        }
    }
}

fn new(path: &Path) -> Result<Exit, Failure> {
    let place = path.display();
    let failed = |error: io::Error| Failure(Exit::Output, format!("{place}: {error}"));
    if path.symlink_metadata().is_ok() {
        let text = format!(
            "{place}: it is there already, and a key that is written over is lost: name another file"
        );
        return Err(Failure(Exit::Output, text));
    }
    let mut seed = Zeroizing::new([0; 32]);
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(seed.as_mut_slice())
        .map_err(|_| Failure(Exit::Internal, "the system gives no random numbers".to_owned()))?;
    let key = SecretKey::of_seed(&seed);
    let text = Zeroizing::new(key.to_text());
    let mut file = platform::files::private(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    print(&key.public())
}

fn of_file(path: &Path) -> Result<SecretKey, Failure> {
    let text = secret::read_file(path).map_err(|error| {
        let exit = if path.exists() { Exit::Permission } else { Exit::NoInput };
        Failure(exit, error.to_string())
    })?;
    SecretKey::of_text(&text)
        .map_err(|error| Failure(Exit::BadInput, format!("{}: it {error}", path.display())))
}

fn print(key: &PublicKey) -> Result<Exit, Failure> {
    let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
    let done = out.write_text(&format!("{key}\n"));
    tracing::info!(id = %key.id(), "the key's name");
    written(done.and_then(|()| out.flush()))
}
