//! The configuration as commands read it: a file, or the one that the system has, with settings laid over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::config::Config;
use sonde_common::knowledge::Knowledge;

use super::failure::Failure;
use crate::exit::Exit;
use crate::knowledge;
use crate::platform::paths;
use crate::profiles;

/// The configuration in a file, with settings laid over it; without a file the default.
pub(super) fn read(file: Option<&Path>, set: &[String]) -> Result<Config, Failure> {
    let text = match file {
        Some(path) => paths::check_config(path)
            .and_then(|()| std::fs::read_to_string(path))
            .map_err(|error| Failure(Exit::Config, format!("{}: {error}", path.display())))?,
        None => String::new(),
    };
    let place = file.map_or_else(String::new, |path| format!("{}: ", path.display()));
    let mut config =
        Config::parse(&text, set).map_err(|error| Failure(Exit::Config, format!("{place}{error}")))?;
    paths::settle(&mut config);
    Ok(config)
}

/// What people told Sonde beside its settings. Here someone waits for the answer, so what is wrong ends it.
/// `feeds`: files beside those of the settings.
pub(super) fn knowledge(config: &Config, feeds: &[PathBuf]) -> Result<Arc<Knowledge>, Failure> {
    let (profiles, problems) = profiles::read(&config.profiles);
    if !problems.is_empty() {
        return Err(Failure(Exit::Config, problems.join("\n")));
    }
    knowledge::for_replay(config, feeds, profiles).map_err(|why| Failure(Exit::BadInput, why))
}

/// The file that is meant: the one named, else the system's if it is there.
pub(super) fn file(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| Some(paths::config_file()).filter(|path| path.exists()))
}
