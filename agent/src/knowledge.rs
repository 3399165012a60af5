//! What detection draws on, as the settings name it: feeds, the database of networks and profiles, read from their files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::config::{Config, FeedSettings};
use sonde_common::feed::format::{Problem, Weight};
use sonde_common::feed::{Builder, Index, Networks, networks};
use sonde_common::knowledge::Knowledge;
use sonde_common::profile::Profiles;
use sonde_common::text::escape;

use crate::feeds;

/// Feeds and networks, read.
#[derive(Debug)]
pub struct Read {
    /// What is looked up in.
    pub index: Arc<Index>,
    /// Which network an address belongs to.
    pub networks: Option<Arc<Networks>>,
    /// Files of feeds read.
    pub files: u64,
    /// Entries that are refused, one by one; `sonde feeds check` names them.
    pub entries_refused: u64,
    /// What could not be used: where and why.
    pub failures: Vec<String>,
}

/// Where the settings say that feeds are.
#[must_use]
pub fn paths(settings: &FeedSettings) -> Vec<PathBuf> {
    settings.paths.iter().filter_map(|path| path.get()).map(PathBuf::from).collect()
}

/// Reads feeds, those of the settings and `more`, and the database of networks.
#[must_use]
pub fn read(settings: &FeedSettings, more: &[PathBuf]) -> Read {
    let mut from = paths(settings);
    from.extend_from_slice(more);
    let mut builder = Builder::new(settings.memory.size());
    let (loaded, folders) = feeds::load(&from, &mut |indicator| {
        builder.add(&indicator);
    });
    let index = builder.finish();
    let files = loaded.len() as u64;
    let mut failures: Vec<String> = folders.iter().map(ToString::to_string).collect();
    let mut entries_refused = 0;
    for feed in &loaded {
        entries_refused += feed.report.count(Weight::Refused);
        failures.extend(failure(feed));
    }
    let networks = settings.asn_database.get().and_then(|path| match database(Path::new(path)) {
        Ok(networks) => Some(Arc::new(networks)),
        Err(why) => {
            failures.push(format!("{} (feeds.asn_database): {why}", escape(path)));
            None
        }
    });
    Read { index: Arc::new(index), networks, files, entries_refused, failures }
}

/// Why a feed cannot be used, or not to its end. Entries that are refused one by one are no failure: most feeds have some.
fn failure(feed: &feeds::Loaded) -> Option<String> {
    let report = &feed.report;
    if let Some(failure) = &feed.failure {
        return Some(failure.to_string());
    }
    let problem = report.fatal.as_ref().or_else(|| {
        let refused = |problem: &&Problem| problem.reason.weight() == Weight::Refused;
        report.problems.iter().find(refused).filter(|_| report.is_unusable())
    })?;
    Some(format!("{}: {problem}", feed.path))
}

fn database(path: &Path) -> Result<Networks, String> {
    let most = networks::MAX_BYTES as u64;
    let mut bytes = Vec::new();
    // A device or a pipe has no end.
    let read = std::fs::metadata(path).and_then(|data| {
        if !data.is_file() {
            return Err(io::Error::other("is no file"));
        }
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)
    });
    read.map_err(|error| error.to_string())?;
    Networks::open(bytes).map_err(|error| error.to_string())
}

/// What a replay draws on; `more`: feeds beside those of the settings.
///
/// # Errors
/// What of it cannot be used.
pub fn for_replay(config: &Config, more: &[PathBuf], profiles: Profiles) -> Result<Arc<Knowledge>, String> {
    let Read { index, networks, failures, .. } = read(&config.feeds, more);
    if !failures.is_empty() {
        return Err(failures.join("\n"));
    }
    let refused = index.counts().refused;
    if refused > 0 {
        tracing::warn!(refused, "indicators have no room (feeds.memory), and are not looked up");
    }
    Ok(Arc::new(Knowledge { feeds: index, networks, profiles: Arc::new(profiles), ..Knowledge::of(config) }))
}
