//! Reads feeds for the live sensor, on a thread of its own: at the start, on SIGHUP, and when a file changed. The sensor's
//! thread is handed what was read; it never waits for a file.
//!
//! Files are looked at now and then (size and time of change), not watched with inotify: that tells nothing of files on a
//! network's file system, nor of a folder that a link is turned to, and it tells of every write of a file that is not
//! written yet. A look costs a few system calls in half a minute.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use sonde_common::config::FeedSettings;
use tracing::{info, warn};

use super::command::{Command, Commander, NotTaken};
use crate::{feeds, knowledge};

/// Time between two attempts to hand over what was read, while the sensor is busy.
const AGAIN: Duration = Duration::from_millis(200);
/// Failures that are told one by one.
const MAX_TOLD: usize = 4;

/// What was read, for the sensor's thread.
#[derive(Clone, Debug)]
pub struct News {
    /// What is to be looked up in from now on; `None`: what there was stays.
    pub read: Option<Arc<knowledge::Read>>,
    /// Why something of it cannot be used.
    pub failure: Option<String>,
    /// How long the reading took.
    pub took: Duration,
}

/// The thread that reads feeds. Dropped, it ends after what it is at.
#[derive(Debug)]
pub struct FeedReader {
    wanted: Sender<FeedSettings>,
}

impl FeedReader {
    /// Starts it; it reads at once.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(settings: FeedSettings, commander: Commander) -> std::io::Result<Self> {
        let (wanted, wants) = channel();
        let this = Self { wanted };
        this.read(settings);
        std::thread::Builder::new()
            .name("sonde-feeds".to_owned())
            .spawn(move || run(&wants, &commander))
            .map(|_| this)
    }

    /// Reads these feeds, whether they changed or not.
    pub fn read(&self, settings: FeedSettings) {
        // The thread ends only with the sensor.
        let _ = self.wanted.send(settings);
    }
}

/// A file as a look at it shows it: when it changed last, and its size; `None` where it is not there.
type Look = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

fn look(settings: &FeedSettings) -> Look {
    let (mut files, _) = feeds::find(&knowledge::paths(settings));
    files.extend(settings.asn_database.get().map(PathBuf::from));
    let stamp = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    files.into_iter().map(|path| (stamp(&path), path)).map(|(stamp, path)| (path, stamp)).collect()
}

fn run(wants: &Receiver<FeedSettings>, commander: &Commander) {
    let mut settings = FeedSettings::default();
    let mut used = Look::new();
    let mut latest = Look::new();
    let mut any_used = false;
    loop {
        let nothing = settings.paths.is_empty() && settings.asn_database.get().is_none();
        let wanted = if nothing {
            // No wake-up for nothing.
            wants.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            wants.recv_timeout(Duration::from_secs(settings.check_secs.get().into()))
        };
        match wanted {
            Ok(told) => {
                settings = told;
                latest = look(&settings);
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = look(&settings);
                let settled = now == latest;
                latest = now;
                if !settled || latest == used {
                    continue;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        used.clone_from(&latest);
        let news = read(&settings, any_used);
        any_used |= news.read.is_some();
        if !hand_over(news, commander) {
            return;
        }
    }
}

/// Reads everything. What is broken keeps what there was; at the start, what is whole is used.
fn read(settings: &FeedSettings, any_used: bool) -> News {
    let began = Instant::now();
    let read = knowledge::read(settings, &[]);
    let took = began.elapsed();
    let counts = *read.index.counts();
    let mut told: Vec<_> = read.failures.iter().take(MAX_TOLD).cloned().collect();
    if read.failures.len() > MAX_TOLD {
        told.push(format!("and {} more", read.failures.len() - MAX_TOLD));
    }
    let keep = any_used && !read.failures.is_empty();
    for failure in read.failures.iter().take(MAX_TOLD) {
        let kept = if keep { "the feeds in use stay" } else { "the others are used" };
        warn!(failure, kept, "a feed cannot be used");
    }
    if counts.refused > 0 {
        warn!(refused = counts.refused, "indicators have no room (feeds.memory), and are not looked up");
    }
    if !keep && (read.files > 0 || read.networks.is_some()) {
        info!(
            files = read.files,
            indicators = counts.entries(),
            entries_refused = read.entries_refused,
            memory_bytes = counts.memory_bytes,
            millis = took.as_millis(),
            "the feeds are read"
        );
    }
    News { read: (!keep).then(|| Arc::new(read)), failure: (!told.is_empty()).then(|| told.join("; ")), took }
}

/// Whether the sensor's thread is there still.
fn hand_over(news: News, commander: &Commander) -> bool {
    loop {
        match commander.send(Command::Feeds(Box::new(news.clone()))) {
            Ok(()) => return true,
            Err(NotTaken::Busy) => std::thread::sleep(AGAIN),
            Err(NotTaken::Stopped) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::config::Config;

    use super::super::command::channel;
    use super::*;

    fn settings(dir: &Path) -> FeedSettings {
        let set = [format!("feeds.paths=['{}']", dir.display()), "feeds.check_secs=1".to_owned()];
        Config::parse("", &set).unwrap().feeds
    }

    fn next(commands: &Receiver<Command>) -> News {
        match commands.recv_timeout(Duration::from_secs(20)) {
            Ok(Command::Feeds(news)) => *news,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_changed_file_is_read_anew_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "a.example\n").unwrap();
        let (commander, commands) = channel();
        let reader = FeedReader::start(settings(folder.path()), commander).unwrap();
        let entries = |news: &News| news.read.as_ref().map(|read| read.index.counts().entries());
        assert_eq!(entries(&next(&commands)), Some(1));

        std::fs::write(&list, "a.example\nb.example\n").unwrap();
        let news = next(&commands);
        assert_eq!((entries(&news), news.failure), (Some(2), None));

        std::fs::write(&list, "broken line\n").unwrap();
        let news = next(&commands);
        assert_eq!(entries(&news), None);
        assert!(news.failure.unwrap().contains("list.txt: line 1"));

        // Told to, it reads at once, changed or not.
        std::fs::write(&list, "c.example\n").unwrap();
        reader.read(settings(folder.path()));
        assert_eq!(entries(&next(&commands)), Some(1));
    }
}
