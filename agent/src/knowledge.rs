//! Reads what people told Sonde beside its settings, and puts it together for the engines.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::config::{Config, ProfileSettings};
use sonde_common::knowledge::Knowledge;
use sonde_common::profile::{BUILTIN, MAX_FILE_BYTES, Profiles};
use sonde_common::text::escape;

/// Files of profiles in the user's folder that are read; the rest is told of.
const MAX_FILES: usize = 256;

/// What was read, and what could not be.
#[derive(Debug)]
pub struct Loaded {
    /// For the engines.
    pub knowledge: Arc<Knowledge>,
    /// What is wrong, each with its file, its line and what would help. What is in such a file does not count.
    pub problems: Vec<String>,
}

/// Reads all of it.
#[must_use]
pub fn load(config: &Config) -> Loaded {
    let (profiles, problems) = profiles(&config.profiles);
    let knowledge = Knowledge {
        detectors: config.detectors.clone(),
        profiles: Arc::new(profiles),
        ..Knowledge::default()
    };
    Loaded { knowledge: Arc::new(knowledge), problems }
}

/// The profiles that the settings name.
#[must_use]
pub fn profiles(settings: &ProfileSettings) -> (Profiles, Vec<String>) {
    let (files, mut problems) = settings.dir.get().map(|dir| read_folder(Path::new(dir))).unwrap_or_default();
    let builtin = BUILTIN.into_iter().filter(|_| settings.builtin);
    let own = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let (profiles, errors) = Profiles::read(builtin.chain(own));
    problems.extend(errors.iter().map(ToString::to_string));
    (profiles, problems)
}

/// Name and text of each file of a folder, in the order of their names; one that is not there holds none.
fn read_folder(dir: &Path) -> (Vec<(String, String)>, Vec<String>) {
    let shown = |path: &Path| escape(&path.to_string_lossy()).into_owned();
    let mut problems = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Vec::new(), problems),
        Err(error) => return (Vec::new(), vec![format!("{}: cannot be listed: {error}", shown(dir))]),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if entry.path().extension().is_some_and(|ending| ending == "toml") => {
                paths.push(entry.path())
            }
            Ok(_) => {}
            Err(error) => problems.push(format!("{}: cannot be listed: {error}", shown(dir))),
        }
    }
    paths.sort();
    for path in paths.iter().skip(MAX_FILES) {
        problems.push(format!("{}: more than {MAX_FILES} files: put several profiles into one", shown(path)));
    }
    let mut files = Vec::new();
    for path in paths.iter().take(MAX_FILES) {
        match read_file(path) {
            Ok(text) => files.push((shown(path), text)),
            Err(error) => problems.push(format!("{}: cannot be read: {error}", shown(path))),
        }
    }
    (files, problems)
}

/// A file's text; of a longer one as much as shows that it is too long.
fn read_file(path: &Path) -> std::io::Result<String> {
    // A pipe would keep us waiting.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path, builtin: bool) -> ProfileSettings {
        let text = format!("[profiles]\nbuiltin = {builtin}\ndir = {:?}", dir.display().to_string());
        Config::parse(&text, &[]).unwrap().profiles
    }

    #[test]
    fn a_users_files_join_those_that_come_with_sonde() {
        let dir = tempfile::tempdir().unwrap();
        let none = profiles(&settings(&dir.path().join("none"), true));
        assert!(none.1.is_empty() && none.0.list().len() > 60, "a folder that is not there is no error");
        let mine = "[[profile]]\nname = \"acme\"\nclass = \"other\"\ntitle = \"Ours\"\nexcuses = true\n\
                    [[profile.identity]]\npath = [\"/opt/acme/agent\"]\n\
                    [[profile.destination]]\ndomains = [\"acme.example\"]\n";
        std::fs::write(dir.path().join("b.toml"), mine).unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not a profile").unwrap();
        let (own, problems) = profiles(&settings(dir.path(), false));
        assert_eq!((own.list().len(), problems), (1, Vec::new()));
        std::fs::write(dir.path().join("a.toml"), "[[profile]]\nname = 3").unwrap();
        std::fs::create_dir(dir.path().join("c.toml")).unwrap();
        let (both, problems) = profiles(&settings(dir.path(), true));
        assert!(both.get("acme").is_some(), "the good file counts");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("a.toml, line 2")), "{problems:?}");
    }

    #[test]
    fn a_file_is_read_no_further_than_it_may_be_long() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("long.toml"), "#".repeat(4 * MAX_FILE_BYTES)).unwrap();
        let (_, problems) = profiles(&settings(dir.path(), false));
        assert!(problems.len() == 1 && problems[0].contains("split"), "{problems:?}");
    }
}
