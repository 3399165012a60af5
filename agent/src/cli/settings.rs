//! The configuration as commands read it: a file, or the one that the system has, with settings laid over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::config::Config;
use sonde_common::knowledge::Knowledge;

use super::failure::Failure;
use crate::exit::Exit;
use crate::knowledge::{self, Loaded};
use crate::platform::paths;

/// The configuration in a file, with settings laid over it; without a file the default.
pub(super) fn read(file: Option<&Path>, set: &[String]) -> Result<Config, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure(Exit::Config, format!("{}: {error}", path.display())))?,
        None => String::new(),
    };
    let place = file.map_or_else(String::new, |path| format!("{}: ", path.display()));
    Config::parse(&text, set).map_err(|error| Failure(Exit::Config, format!("{place}{error}")))
}

/// What people told Sonde beside its settings. Here someone waits for the answer, so what is wrong ends it.
pub(super) fn knowledge(config: &Config) -> Result<Arc<Knowledge>, Failure> {
    let Loaded { knowledge, problems } = knowledge::load(config);
    if problems.is_empty() { Ok(knowledge) } else { Err(Failure(Exit::Config, problems.join("\n"))) }
}

/// The file that is meant: the one named, else the system's if it is there.
pub(super) fn file(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| Some(PathBuf::from(paths::CONFIG_FILE)).filter(|path| path.exists()))
}
