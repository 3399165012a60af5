//! What the sensor keeps across restarts: one file of named sections, each sealed by itself.
//!
//! The file is never half written: a new one is made beside it, brought to the disk, and put in its place. A full disk
//! leaves the old file as it is. A damaged file, or one of a later version, is set aside and never fatal: the sensor begins
//! anew with what was whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sonde_common::live::Unavailable;
use sonde_common::seal::{self, SealError};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use tracing::{debug, warn};

/// What the file is.
const FILE_KIND: [u8; 8] = *b"sondeSta";
/// Version of its layout; each section has its own in what it holds.
const FILE_VERSION: u32 = 1;
/// What a section is.
const SECTION_KIND: [u8; 8] = *b"sondeSec";
/// Most sections of a file.
const MAX_SECTIONS: usize = 64;
/// Longest name of a section, in bytes.
const MAX_SECTION_NAME: usize = 64;
/// Files that are kept aside; beyond it the oldest is deleted.
const MAX_SET_ASIDE: usize = 3;
/// What a file that is being written is called, in front and behind.
const TEMPORARY: (&str, &str) = (".sonde-state-", ".tmp");
/// After a failure the next attempt waits this long at most, however rarely the state is saved.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Named pieces of state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    named: BTreeMap<String, Vec<u8>>,
}

impl Sections {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in a section, in place of one of that name.
    ///
    /// # Panics
    /// In a debug build, if there are too many or the name is too long: both are ours.
    pub fn put(&mut self, name: &str, content: Vec<u8>) {
        debug_assert!(name.len() <= MAX_SECTION_NAME && self.named.len() < MAX_SECTIONS, "{name}");
        self.named.insert(name.to_owned(), content);
    }

    /// What a section holds.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.named.get(name).map(Vec::as_slice)
    }

    /// Takes a section out.
    pub fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        self.named.remove(name)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Writes all: kind and version, then of each section its name, the length of its sealed content, and that.
    fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        to.write_all(&FILE_KIND)?;
        to.write_all(&FILE_VERSION.to_le_bytes())?;
        let mut sealed = Vec::new();
        for (name, content) in &self.named {
            sealed.clear();
            seal::seal(SECTION_KIND, FILE_VERSION, &mut sealed, |out| out.extend_from_slice(content));
            to.write_all(&[u8::try_from(name.len()).unwrap_or(u8::MAX)])?;
            to.write_all(name.as_bytes())?;
            to.write_all(&u64::try_from(sealed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
            to.write_all(&sealed)?;
        }
        to.flush()
    }

    /// Reads what is whole; what is not, and why, goes to `damage`.
    fn read(bytes: &[u8], damage: &mut Vec<String>) -> Self {
        let mut sections = Self::default();
        let Some((version, mut rest)) =
            bytes.strip_prefix(&FILE_KIND).and_then(<[u8]>::split_first_chunk::<4>)
        else {
            damage.push("it is no state of a sensor".to_owned());
            return sections;
        };
        let had = u32::from_le_bytes(*version);
        if had != FILE_VERSION {
            damage.push(SealError::Version { had, reads: FILE_VERSION }.to_string());
            return sections;
        }
        while !rest.is_empty() && sections.named.len() < MAX_SECTIONS {
            let Some((name, sealed, behind)) = split_section(rest) else {
                damage.push("it ends within a section".to_owned());
                return sections;
            };
            rest = behind;
            match seal::open(SECTION_KIND, FILE_VERSION, sealed) {
                Ok(content) => {
                    sections.named.insert(name.to_owned(), content.to_vec());
                }
                Err(error) => damage.push(format!("section `{}`: {error}", name.escape_debug())),
            }
        }
        sections
    }
}

/// Name and sealed content of the first section, and what stands behind it.
fn split_section(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (sealed, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_SECTION_NAME)?;
    Some((name, sealed, rest))
}

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The sections that are whole; none where there was no file.
    pub sections: Sections,
    /// What could not be read, and why.
    pub damage: Vec<String>,
    /// Where the damaged file is now.
    pub set_aside: Option<PathBuf>,
}

/// The file.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    max_bytes: u64,
}

impl StateFile {
    /// A file of at most `max_bytes`: a longer one is not read.
    #[must_use]
    pub const fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. `now` names what is set aside. Nothing here is fatal: what is damaged is told, in the log too.
    #[must_use]
    pub fn load(&self, now: Timestamp) -> Loaded {
        self.remove_temporaries();
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Loaded::default(),
            Err(error) => {
                let reason = error.to_string();
                warn!(file = %self.path.display(), reason, "the state cannot be read: the sensor begins anew");
                return Loaded { damage: vec![reason], ..Loaded::default() };
            }
        };
        let mut damage = Vec::new();
        let sections = match &bytes {
            Some(bytes) => Sections::read(bytes, &mut damage),
            None => {
                damage.push(format!("it is longer than {} bytes", self.max_bytes));
                Sections::new()
            }
        };
        let set_aside = if damage.is_empty() { None } else { self.set_aside(now, &damage.join("; ")) };
        Loaded { sections, damage, set_aside }
    }

    /// The content, unless it is too long.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok((length <= self.max_bytes).then_some(bytes))
    }

    /// Renames the file to `NAME.damaged-TIME`, and says why in the log; also for who finds that a whole section makes no
    /// sense. Of those set aside three are kept.
    pub fn set_aside(&self, now: Timestamp, reason: &str) -> Option<PathBuf> {
        let file = self.path.display();
        let name = self.path.file_name()?.to_string_lossy().into_owned();
        // Times before 1970 are a clock's mistake, and would not sort.
        let time = now.nanos().max(0) / NANOS_PER_SEC;
        let prefix = format!("{name}.damaged-");
        let to = self.path.with_file_name(format!("{prefix}{time:012}"));
        match fs::rename(&self.path, &to) {
            Ok(()) => warn!(%file, set_aside = %to.display(), reason, "the state is damaged: set aside"),
            Err(error) => {
                warn!(%file, reason, error = %error, "the state is damaged, and cannot be set aside");
                return None;
            }
        }
        let mut aside: Vec<_> = self
            .neighbours()
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .collect();
        aside.sort_unstable();
        let surplus = aside.len().saturating_sub(MAX_SET_ASIDE);
        for old in aside.iter().take(surplus) {
            if let Err(error) = fs::remove_file(old) {
                warn!(file = %old.display(), error = %error, "an old state cannot be deleted");
            }
        }
        Some(to)
    }

    /// Brings the sections to the disk. The file has them all or stays as it was; only its owner can read it.
    ///
    /// # Errors
    /// What failed, why, and what to do. It is worth trying again later.
    pub fn save(&self, sections: &Sections) -> Result<(), Unavailable> {
        self.try_save(sections).map_err(|(what, error)| Unavailable {
            what: format!("saving the state to {}", self.path.display()),
            reason: format!("{what}: {error}"),
            remedy: remedy(&error, self.folder()),
        })
    }

    fn try_save(&self, sections: &Sections) -> Result<(), (&'static str, io::Error)> {
        let told = |what| move |error| (what, error);
        // Readable by its owner alone from the beginning, and deleted again if anything fails.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            .tempfile_in(self.folder())
            .map_err(told("making a new file"))?;
        let mut out = io::BufWriter::with_capacity(1 << 18, file.as_file_mut());
        sections.write(&mut out).map_err(told("writing"))?;
        drop(out);
        file.as_file().sync_all().map_err(told("bringing it to the disk"))?;
        file.persist(&self.path).map_err(|failed| ("putting it in place", failed.error))?;
        // The new name is on the disk once its folder is. Not every file system lets a folder be opened.
        if let Ok(folder) = File::open(self.folder()) {
            folder.sync_all().map_err(told("bringing its folder to the disk"))?;
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn neighbours(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder())
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default()
    }

    /// What a sensor that was killed left half written.
    fn remove_temporaries(&self) {
        for path in self.neighbours() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1) {
                let removed = fs::remove_file(&path);
                debug!(file = %path.display(), ok = removed.is_ok(), "a half-written state was removed");
            }
        }
    }
}

fn remedy(error: &io::Error, folder: &Path) -> String {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room on the file system of {folder}; the state is saved again when there is")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!("create the folder {folder}"),
        io::ErrorKind::PermissionDenied => format!("let the sensor's account write to {folder}"),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("mount the file system of {folder} writable, or name another folder")
        }
        _ => format!("check the disk of {folder}"),
    }
}

/// When to save: now and then, and sooner after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    every: Duration,
    due: Instant,
}

impl Timer {
    /// The first time is one period from `now`.
    #[must_use]
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, due: now + every }
    }

    /// Whether it is time.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Notes an attempt.
    pub fn attempted(&mut self, now: Instant, saved: bool) {
        self.due = now + if saved { self.every } else { self.every.min(RETRY_AFTER) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(secs, 0)
    }

    fn place() -> (tempfile::TempDir, StateFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().join("state"), 1 << 20);
        (folder, file)
    }

    fn two() -> Sections {
        let mut sections = Sections::new();
        sections.put("engine", vec![7; 1000]);
        sections.put("sensor", b"boot".to_vec());
        sections
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_is_left_in_the_folder() {
        let (folder, file) = place();
        let loaded = file.load(at(0));
        assert!(loaded.sections.is_empty() && loaded.damage.is_empty(), "no file is no damage");
        file.save(&Sections::new()).unwrap();
        file.save(&two()).unwrap();
        assert_eq!(names(folder.path()), ["state"]);
        let loaded = file.load(at(0));
        assert_eq!((loaded.sections, loaded.damage, loaded.set_aside), (two(), Vec::new(), None));
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, file) = place();
        file.save(&two()).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_its_whole_sections_are_used() {
        let (folder, file) = place();
        for round in 1..=5 {
            file.save(&two()).unwrap();
            let mut bytes = fs::read(file.path()).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(file.path(), &bytes).unwrap();
            let loaded = file.load(at(round));
            assert_eq!(loaded.sections.get("engine"), Some([7; 1000].as_slice()));
            assert_eq!(loaded.sections.get("sensor"), None);
            assert!(loaded.damage[0].contains("section `sensor`: its checksum"), "{:?}", loaded.damage);
            assert_eq!(fs::read(loaded.set_aside.unwrap()).unwrap(), bytes);
        }
        let kept = ["state.damaged-000000000003", "state.damaged-000000000004", "state.damaged-000000000005"];
        assert_eq!(names(folder.path()), kept);
    }

    #[test]
    fn any_cut_and_any_change_is_noticed_and_never_fatal() {
        let (_folder, file) = place();
        file.save(&two()).unwrap();
        let bytes = fs::read(file.path()).unwrap();
        for at_byte in (0..bytes.len()).step_by(7).filter(|&cut| cut != 12) {
            let mut damage = Vec::new();
            let read = Sections::read(&bytes[..at_byte], &mut damage);
            assert!(!damage.is_empty() || read.named.len() == 1, "cut at {at_byte}");
            let mut changed = bytes.clone();
            changed[at_byte] ^= 0x55;
            let mut damage = Vec::new();
            let read = Sections::read(&changed, &mut damage);
            assert!(!damage.is_empty() || read != two(), "changed at {at_byte}");
        }
    }

    #[test]
    fn a_later_version_and_a_file_that_is_too_long_are_set_aside() {
        let (_folder, file) = place();
        file.save(&two()).unwrap();
        let mut bytes = fs::read(file.path()).unwrap();
        bytes[8] = 2;
        fs::write(file.path(), bytes).unwrap();
        let loaded = file.load(at(9));
        assert!(loaded.damage[0].contains("its version is 2"), "{:?}", loaded.damage);
        assert!(loaded.set_aside.is_some() && !file.path().exists());
        fs::write(file.path(), vec![0; 2 << 20]).unwrap();
        let loaded = file.load(at(10));
        assert!(loaded.damage[0].contains("longer than") && loaded.set_aside.is_some());
    }

    #[test]
    fn what_a_killed_sensor_left_half_written_is_removed() {
        let (folder, file) = place();
        file.save(&two()).unwrap();
        fs::write(folder.path().join(".sonde-state-ab12.tmp"), "half").unwrap();
        assert_eq!(file.load(at(0)).sections, two());
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn a_failure_names_what_to_do_and_leaves_the_old_file() {
        let (folder, _) = place();
        let file = StateFile::new(folder.path().join("missing/state"), 1 << 20);
        let failed = file.save(&two()).unwrap_err();
        assert!(failed.reason.contains("making a new file"), "{failed:?}");
        assert!(failed.remedy.contains("create the folder"), "{failed:?}");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(remedy(&full, Path::new("/var/lib/sonde")).contains("make room"));
    }

    /// A real device that is always full, where there is one.
    #[test]
    fn a_full_disk_is_an_error_of_the_write() {
        let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
        let error = two().write(&mut io::BufWriter::new(full)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn after_a_failure_it_is_tried_again_sooner() {
        let start = Instant::now();
        let mut timer = Timer::new(Duration::from_secs(600), start);
        assert!(!timer.is_due(start) && timer.is_due(start + Duration::from_secs(600)));
        timer.attempted(start, false);
        assert!(timer.is_due(start + RETRY_AFTER));
        timer.attempted(start, true);
        assert!(!timer.is_due(start + RETRY_AFTER));
    }
}
