//! Feeds on disk: files and folders found, unpacked, read with what the user says of them, handed on entry by entry.
//!
//! What a feed holds is for `common::feed::format`; when they are read again is for whoever calls this.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sonde_common::feed::Indicator;
use sonde_common::feed::format::{Item, OptionError, Options, Reader, Report};
use sonde_common::format::Content;
use sonde_common::text::escape;

use crate::capture::{CaptureError, Found, Input};

/// Files of all folders together; a folder of feeds has some dozens.
pub const MAX_FILES: usize = 10_000;
/// Folders within folders that are entered.
const MAX_FOLDERS_DEEP: usize = 8;
/// Members of a zip archive that are read.
const MAX_MEMBERS: usize = 64;
/// Longest settings of a feed, in bytes.
const MAX_SETTINGS_BYTES: u64 = 64 << 10;
/// Bytes handed to a reader at a time.
const BLOCK_LEN: usize = 256 << 10;
/// What the settings of a feed are called: the feed's whole name with this behind it.
pub const SETTINGS: &str = ".sonde.toml";
/// Names of files in a folder that are no feeds: half-written downloads, copies of editors, settings.
const PASSED_OVER: [&str; 6] = [SETTINGS, ".part", ".tmp", ".swp", ".bak", "~"];
/// What MISP puts beside the events of a feed.
const OF_MISP: [&str; 2] = ["manifest.json", "hashes.csv"];

/// Why a feed cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It cannot be opened, unpacked or read.
    #[error(transparent)]
    Input(#[from] CaptureError),
    /// It is something else.
    #[error("{path}: is {what}, and no feed")]
    Foreign {
        /// The path as printed.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// What the user says of it is wrong.
    #[error("{path}: {error}")]
    Settings {
        /// The path of the settings, as printed.
        path: String,
        /// What is wrong.
        error: OptionError,
    },
    /// A folder cannot be listed, or holds too much.
    #[error("{path}: {what}")]
    Folder {
        /// The path as printed.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl FeedError {
    /// What the operator can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Input(CaptureError::Empty { .. }) => {
                "download it again; a list without entries has a comment that says so"
            }
            Self::Input(error) => error.remedy(),
            Self::Foreign { .. } => {
                "unpack archives other than .zip, and see docs/feeds.md for the formats that are read"
            }
            Self::Settings { .. } => "docs/feeds.md lists the settings of a feed",
            Self::Folder { .. } => "check its permissions, and keep nothing but feeds in it",
        }
    }

    /// Whether there is no such file.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Input(CaptureError::NotFound { .. }))
    }

    /// Whether the system denies it.
    #[must_use]
    pub const fn is_denied(&self) -> bool {
        matches!(self, Self::Input(CaptureError::PermissionDenied { .. }))
    }
}

/// What became of one feed.
#[derive(Debug)]
pub struct Loaded {
    /// Its path, or that of a member of an archive, as printed.
    pub path: String,
    /// What its indicators are told to be from.
    pub name: String,
    /// What was in it, as far as it could be read.
    pub report: Report,
    /// Why it could not be read, or not to its end.
    pub failure: Option<FeedError>,
}

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Settings that lie over those of each file.
    pub options: Vec<(String, String)>,
    /// Whether each subject is handed out once per file, and the others are told of.
    pub without_duplicates: bool,
}

/// The files that these paths lead to, in the order of their names, and what could not be looked into. A path that is no
/// folder is a file, whatever its name.
#[must_use]
pub fn find(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<FeedError>) {
    let mut walk = Walk::default();
    for path in paths {
        if path.is_dir() {
            walk.enter(path, 0);
        } else {
            walk.files.push(path.clone());
        }
    }
    (walk.files, walk.failures)
}

/// Files on the way, and the folders entered: links may lead to one again, or round in a circle.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    failures: Vec<FeedError>,
    entered: BTreeSet<PathBuf>,
}

impl Walk {
    fn enter(&mut self, folder: &Path, depth: usize) {
        let fail = |what: String| FeedError::Folder { path: shown(folder), what };
        if depth > MAX_FOLDERS_DEEP {
            return self.failures.push(fail(format!("lies more than {MAX_FOLDERS_DEEP} folders deep")));
        }
        let entries = folder.canonicalize().and_then(|real| {
            if !self.entered.insert(real) {
                return Ok(Vec::new());
            }
            let entries = std::fs::read_dir(folder)?;
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.failures.push(fail(format!("cannot be listed: {error}"))),
        };
        entries.sort();
        let of_misp =
            entries.iter().any(|entry| entry.file_name().is_some_and(|name| name == "manifest.json"));
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let passed_over = name.starts_with('.')
                || PASSED_OVER.iter().any(|end| name.ends_with(end))
                || (of_misp && OF_MISP.contains(&name.as_str()));
            if passed_over {
                continue;
            }
            match std::fs::metadata(&entry) {
                Ok(data) if data.is_dir() => self.enter(&entry, depth + 1),
                Ok(data) if data.is_file() && self.files.len() < MAX_FILES => self.files.push(entry),
                Ok(data) if data.is_file() => {
                    return self.failures.push(fail(format!("holds more than {MAX_FILES} files")));
                }
                // A pipe or device would keep us waiting.
                Ok(_) => {}
                Err(error) => {
                    let path = shown(&entry);
                    self.failures.push(FeedError::Folder { path, what: format!("cannot be read: {error}") });
                }
            }
        }
    }
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// What a feed is called, going by its path: the name of the file without what tells its form and packing.
fn name_of(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let packed = [".gz", ".zst", ".zip"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let bare = packed.rsplit_once('.').map_or(packed, |(bare, _)| bare);
    if bare.is_empty() { packed.to_owned() } else { bare.to_owned() }
}

/// Reads all indicators of these files and folders. Those of a file that turns out to be broken midway were handed out
/// before that.
pub fn load(paths: &[PathBuf], take: &mut dyn FnMut(Indicator)) -> (Vec<Loaded>, Vec<FeedError>) {
    let (files, failures) = find(paths);
    let mut all = Vec::new();
    for file in files {
        // What is named and is a pipe would keep the sensor waiting.
        if std::fs::metadata(&file).is_ok_and(|data| !data.is_file()) {
            let path = shown(&file);
            let failure = Some(FeedError::Foreign { path: path.clone(), what: "no regular file" });
            all.push(Loaded { name: name_of(&path), path, report: Report::default(), failure });
            continue;
        }
        all.extend(read(&file, &Reading::default(), &mut |_, item| {
            if let Item::Indicator(indicator) = item {
                take(indicator);
            }
        }));
    }
    (all, failures)
}

/// Reads one file: one feed, or as many as a zip archive holds. `take` gets each item with the path of its feed.
pub fn read(path: &Path, reading: &Reading, take: &mut dyn FnMut(&str, Item)) -> Vec<Loaded> {
    let fail = |failure: FeedError| {
        let path = shown(path);
        vec![Loaded { name: name_of(&path), path, report: Report::default(), failure: Some(failure) }]
    };
    let settings = match settings(path, reading) {
        Ok(settings) => settings,
        Err(error) => return fail(error),
    };
    let input = match Input::open_any(path) {
        Ok(input) => input,
        Err(error) => return fail(error.into()),
    };
    if input.content() == Content::Zip && input.is_plain() {
        let look = match Found::in_zip(path) {
            Ok(look) => look,
            Err(error) => return fail(error.into()),
        };
        let mut all: Vec<Loaded> = Vec::new();
        let too_many = look.found.len() > MAX_MEMBERS;
        for found in look.found.into_iter().take(MAX_MEMBERS) {
            let path = found.name().to_owned();
            all.push(match found.open() {
                Ok(input) => read_input(input, &settings, reading, take),
                Err(error) => {
                    let failure = Some(error.into());
                    Loaded { name: name_of(&path), path, report: Report::default(), failure }
                }
            });
        }
        for error in look.passed_over.into_iter().take(MAX_MEMBERS) {
            all.extend(fail(error.into()));
        }
        if too_many {
            let what = format!("holds more than {MAX_MEMBERS} files");
            all.extend(fail(FeedError::Folder { path: shown(path), what }));
        }
        return all;
    }
    vec![read_input(input, &settings, reading, take)]
}

/// What the user says of a file: beside it, and over all.
fn settings(path: &Path, reading: &Reading) -> Result<Options, FeedError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(SETTINGS);
    let beside = PathBuf::from(beside);
    let wrong = |error| FeedError::Settings { path: shown(&beside), error };
    let mut options = match std::fs::File::open(&beside) {
        Ok(file) => {
            let mut text = String::new();
            let read = file.take(MAX_SETTINGS_BYTES + 1).read_to_string(&mut text);
            read.map_err(|error| wrong(OptionError::Toml(error.to_string())))?;
            if text.len() as u64 > MAX_SETTINGS_BYTES {
                return Err(wrong(OptionError::Toml("is longer than 64 KiB".to_owned())));
            }
            Options::parse(&text).map_err(wrong)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Options::default(),
        // Not to know how a feed is meant is no reason to guess.
        Err(error) => return Err(wrong(OptionError::Toml(error.to_string()))),
    };
    for (key, value) in &reading.options {
        options.set(key, value).map_err(wrong)?;
    }
    Ok(options)
}

fn read_input(
    input: Input,
    options: &Options,
    reading: &Reading,
    take: &mut dyn FnMut(&str, Item),
) -> Loaded {
    let path = input.name().to_owned();
    let name = options.name.clone().unwrap_or_else(|| name_of(&path));
    let foreign = match input.content() {
        Content::Pcap | Content::PcapNg => Some("a capture"),
        Content::Zip | Content::Tar => Some("an archive"),
        Content::Events => Some("a file of Sonde's own events"),
        _ => None,
    };
    if let Some(what) = foreign {
        let failure = Some(FeedError::Foreign { path: path.clone(), what });
        return Loaded { path, name, report: Report::default(), failure };
    }
    let mut reader = Reader::new(&name, options.clone());
    if reading.without_duplicates {
        reader = reader.without_duplicates();
    }
    let mut source = input.into_bytes();
    let mut block = vec![0; BLOCK_LEN];
    let mut failure = None;
    let mut read = 0u64;
    let mut hand = |item: Item| take(&path, item);
    while !reader.has_ended() {
        match source.read(&mut block) {
            Ok(0) => break,
            Ok(len) => {
                read += len as u64;
                reader.feed(block.get(..len).unwrap_or_default(), &mut hand);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failure = Some(FeedError::Input(CaptureError::of_reading(&path, read, error)));
                break;
            }
        }
    }
    let report = reader.finish(&mut hand);
    Loaded { path, name, report, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_one(path: &Path) -> (Vec<Indicator>, Loaded) {
        let mut all = Vec::new();
        let (mut loaded, failures) = load(&[path.to_owned()], &mut |indicator| all.push(indicator));
        assert!(failures.is_empty() && loaded.len() == 1, "{failures:?} {loaded:?}");
        (all, loaded.remove(0))
    }

    #[test]
    fn a_feed_is_called_as_its_file() {
        for (path, name) in [
            ("/etc/sonde/feeds/ipblocklist.csv", "ipblocklist"),
            ("urlhaus.csv.zip", "urlhaus"),
            ("x.zip/csv.txt", "csv"),
            (r"C:\feeds\ours.txt.gz", "ours"),
            ("plain", "plain"),
            ("-", "-"),
        ] {
            assert_eq!(name_of(path), name);
        }
    }

    #[test]
    fn folders_are_walked_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("misp")).unwrap();
        for name in ["b.txt", "a.txt", ".hidden", "c.txt.part", "c.txt~", "a.txt.sonde.toml"] {
            file(name, "");
        }
        for name in ["manifest.json", "hashes.csv", "e1.json"] {
            file(&format!("misp/{name}"), "");
        }
        // A circle, where the system has links.
        let (files, failures) = find(&[folder.path().to_owned(), folder.path().to_owned()]);
        let names: Vec<_> = files
            .iter()
            .map(|file| file.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            ["a.txt", "b.txt", "misp/e1.json"].map(|name| name.replace('/', std::path::MAIN_SEPARATOR_STR))
        );
        assert!(failures.is_empty());
    }

    #[test]
    fn settings_beside_a_feed_say_what_it_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let feed = folder.path().join("ours.csv");
        std::fs::write(&feed, "x|198.51.100.7|Emotet\n").unwrap();
        assert_eq!(load_one(&feed).0.len(), 0);
        let settings = folder.path().join("ours.csv.sonde.toml");
        std::fs::write(&settings, "columns = \"-,address,label\"\nseparator = \"|\"\nname = \"desk\"")
            .unwrap();
        let (all, loaded) = load_one(&feed);
        assert_eq!((all.len(), loaded.name.as_str()), (1, "desk"));
        assert_eq!((&*all[0].note.feed, all[0].note.label.as_str()), ("desk", "Emotet"));
        std::fs::write(&settings, "colums = \"x\"").unwrap();
        let failure = load_one(&feed).1.failure.unwrap().to_string();
        assert!(failure.contains("ours.csv.sonde.toml") && failure.contains("`colums`"), "{failure}");
    }

    #[test]
    fn packed_feeds_are_unpacked_and_a_cut_one_gives_what_it_has() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..100_000).map(|n| format!("host{n}.bad.example\n")).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let path = folder.path().join("list.txt.gz");
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(load_one(&path).0.len(), 100_000);
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let (some, loaded) = load_one(&path);
        assert!(!some.is_empty() && some.len() < 100_000);
        assert!(loaded.failure.unwrap().to_string().contains("damaged after byte"));
        std::fs::write(folder.path().join("list.txt.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap())
            .unwrap();
        assert_eq!(load_one(&folder.path().join("list.txt.zst")).0.len(), 100_000);
    }
}
