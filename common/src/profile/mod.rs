//! Profiles: programs that tick by nature, each bound to its identity and its own destinations (docs/profiles.md).
//!
//! A profile excuses a program only where both sides match: its identity (place, package or signature, script) and its
//! destination. A name alone excuses nothing. What is excused is counted and still listed; what nearly matches is said in the
//! alert, since an impostor is what that may be.

mod builtin;
mod decide;
mod format;
pub mod pattern;

use std::collections::BTreeMap;

pub use self::builtin::BUILTIN;
pub use self::decide::Excused;
pub use self::format::{
    Destinations, Identity, MAX_FILE_BYTES, MAX_PER_FILE, MAX_SECTIONS, ProfileClass, ProfileError, Text,
};
use crate::domain::registrable;
use crate::process::image_name;

/// Most profiles.
pub const MAX_PROFILES: usize = 1024;

/// A program that ticks by nature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, such as `datadog-agent`.
    pub name: String,
    /// What class of program it is.
    pub class: ProfileClass,
    /// What it is called.
    pub title: Text,
    /// Whether it is held back where it matches; else it is labelled alone.
    pub excuses: bool,
    /// Where the facts are from.
    pub source: Vec<Text>,
    /// What else there is to know.
    pub note: Option<Text>,
    /// The ways in which a program is it.
    pub identity: Vec<Identity>,
    /// Where it calls of its own accord.
    pub destination: Vec<Destinations>,
    /// The file that it is from.
    pub file: String,
}

/// Place of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    profile: usize,
    identity: usize,
}

/// All profiles, sorted by name, with what they are looked up by.
#[derive(Debug, Default)]
pub struct Profiles {
    list: Vec<Profile>,
    /// Identities by the name of their file (that of the script, if there is one), in lower case.
    by_file: BTreeMap<String, Vec<At>>,
    /// Profiles by the registrable domains that they call.
    by_domain: BTreeMap<String, Vec<usize>>,
}

impl Profiles {
    /// Those of these files: name and text of each. A file that is wrong is left out as a whole, and told of.
    pub fn read<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> (Self, Vec<ProfileError>) {
        let mut profiles: BTreeMap<String, Profile> = BTreeMap::new();
        let (mut extensions, mut errors) = (Vec::new(), Vec::new());
        for (file, text) in files {
            let read = match format::read(file, text) {
                Ok(read) => read,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for draft in read.profile {
                let at = draft.name.span().start;
                let name = draft.name.into_inner();
                let wrong = if let Some(first) = profiles.get(&name) {
                    format!(
                        "`name`: {name} is a profile of {} already: give this one another name, or add to that one \
                         with [[extend]]",
                        first.file
                    )
                } else if profiles.len() >= MAX_PROFILES {
                    format!("there are {MAX_PROFILES} profiles already: {name} is left out")
                } else {
                    let profile = Profile {
                        class: draft.class,
                        title: draft.title,
                        excuses: draft.excuses,
                        source: draft.source,
                        note: draft.note,
                        identity: draft.identity,
                        destination: draft.destination,
                        file: file.to_owned(),
                        name: name.clone(),
                    };
                    profiles.insert(name, profile);
                    continue;
                };
                let line = Some(format::line_of(text, at));
                errors.push(ProfileError { file: file.to_owned(), line, reason: wrong });
            }
            extensions.extend(read.extend.into_iter().map(|extension| (file, text, extension)));
        }
        for (file, text, extension) in extensions {
            let line = Some(format::line_of(text, extension.profile.span().start));
            let name = extension.profile.into_inner();
            let error = |reason| ProfileError { file: file.to_owned(), line, reason };
            let Some(profile) = profiles.get_mut(&name) else {
                let reason = format!(
                    "`profile`: there is no profile {name} to add to; `sonde profiles list` shows those there are"
                );
                errors.push(error(reason));
                continue;
            };
            let identities = profile.identity.len() + extension.identity.len();
            let destinations = profile.destination.len() + extension.destination.len();
            if identities > MAX_SECTIONS || destinations > MAX_SECTIONS {
                errors.push(error(format!(
                    "{name} would have more than {MAX_SECTIONS} identities or destinations"
                )));
                continue;
            }
            profile.identity.extend(extension.identity);
            profile.destination.extend(extension.destination);
        }
        (Self::indexed(profiles.into_values().collect()), errors)
    }

    /// Those that come with Sonde.
    #[must_use]
    pub fn builtin() -> Self {
        Self::read(BUILTIN).0
    }

    fn indexed(list: Vec<Profile>) -> Self {
        let mut by_file: BTreeMap<String, Vec<At>> = BTreeMap::new();
        let mut by_domain: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (profile, of) in list.iter().enumerate() {
            for (identity, Identity { path, script, .. }) in of.identity.iter().enumerate() {
                let patterns = if script.is_empty() { path } else { script };
                for name in patterns.iter().filter_map(|pattern| pattern.file_name()) {
                    let places = by_file.entry(name.to_ascii_lowercase()).or_default();
                    let at = At { profile, identity };
                    if !places.contains(&at) {
                        places.push(at);
                    }
                }
            }
            for pattern in of.destination.iter().flat_map(|set| &set.domains) {
                let places = by_domain.entry(registrable(pattern.text()).to_owned()).or_default();
                if !places.contains(&profile) {
                    places.push(profile);
                }
            }
        }
        Self { list, by_file, by_domain }
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> &[Profile] {
        &self.list
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Profile> {
        let at = self.list.binary_search_by(|profile| profile.name.as_str().cmp(name)).ok()?;
        self.list.get(at)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The identities that claim a file name, with their profiles.
    fn claimants(&self, file: &str) -> impl Iterator<Item = (&Profile, &Identity)> {
        let places = self.by_file.get(image_name(file).to_ascii_lowercase().as_str());
        places.into_iter().flatten().filter_map(|at| {
            let profile = self.list.get(at.profile)?;
            Some((profile, profile.identity.get(at.identity)?))
        })
    }
}

#[cfg(test)]
mod tests;
