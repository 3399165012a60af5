//! Program identity: what makes two processes the same caller, across pids.

use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use crate::process::{ImageLocation, ParentClass, ProcessInfo};

/// Version of the key layout that feeds finding ids: raise it, and every id changes.
const IDENTITY_VERSION: u8 = 1;

/// Stands for the container of a program in its key: see docs/decisions/0008.
const IN_CONTAINER: &str = "container";

/// A program as a series is keyed by it: executable (hash or path), interpreter script, parent program, user, and whether it
/// runs in a container. Not which one: a loop of `docker run --rm` is one caller, as a loop of processes is.
#[derive(Clone, Debug)]
pub struct Program {
    /// What is known of the process that was seen first.
    pub info: Arc<ProcessInfo>,
    /// Key of the identity; 0 stands for "no process known".
    pub key: u64,
}

impl Program {
    /// The program that a process runs.
    #[must_use]
    pub fn of(info: ProcessInfo) -> Self {
        let mut hash = SipHasher24::new();
        hash.write_u8(IDENTITY_VERSION);
        let image = if info.sha256.is_empty() { &info.image } else { &info.sha256 };
        let container = if info.container.is_empty() { "" } else { IN_CONTAINER };
        for text in [image.as_str(), &info.script, &info.parent_image, &info.user, container] {
            hash.write(&(text.len() as u64).to_le_bytes());
            hash.write(text.as_bytes());
        }
        let key = hash.finish().max(1);
        Self { info: Arc::new(info), key }
    }

    /// The same under another key.
    pub(crate) fn with_key(&self, key: u64) -> Self {
        Self { info: Arc::clone(&self.info), key }
    }

    /// Whether it lies where a user or anyone can write, or nowhere on disk.
    #[must_use]
    pub fn in_bad_location(&self) -> Option<bool> {
        self.info.location.map(|location| {
            matches!(location, ImageLocation::Home | ImageLocation::Temporary | ImageLocation::Memory)
        })
    }

    /// Whether an office program, a browser or a web server started it.
    #[must_use]
    pub fn has_bad_parent(&self) -> Option<bool> {
        self.info
            .parent_class
            .map(|class| matches!(class, ParentClass::Office | ParentClass::Browser | ParentClass::WebServer))
    }

    /// Whether it is a signed program of the operating system that interprets no scripts.
    #[must_use]
    pub fn is_system(&self) -> Option<bool> {
        let system = self.info.location.map(|location| location == ImageLocation::System);
        all([system, self.info.signed, self.info.script_host.map(|host| !host)])
    }
}

/// Conjunction of facts of which some may be unknown: one that is false decides.
#[must_use]
pub fn all<const N: usize>(facts: [Option<bool>; N]) -> Option<bool> {
    if facts.contains(&Some(false)) {
        Some(false)
    } else if facts.contains(&None) {
        None
    } else {
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_new_pids_is_one_program_and_a_renamed_copy_is_another() {
        let info = |image: &str, sha256: &str| ProcessInfo {
            image: image.into(),
            sha256: sha256.into(),
            ..Default::default()
        };
        assert_eq!(Program::of(info("/usr/bin/curl", "")).key, Program::of(info("/usr/bin/curl", "")).key);
        assert_ne!(Program::of(info("/usr/bin/curl", "")).key, Program::of(info("/tmp/curl", "")).key);
        assert_eq!(
            Program::of(info("/a", "ff")).key,
            Program::of(info("/b", "ff")).key,
            "the same file under two names"
        );
    }

    #[test]
    fn a_loop_of_containers_is_one_program_and_not_the_hosts() {
        let of = |container: &str| {
            let info = ProcessInfo {
                image: "/usr/bin/curl".into(),
                container: container.into(),
                ..Default::default()
            };
            Program::of(info).key
        };
        assert_eq!(of("3b2c6f5d8a9e"), of("9e0714c2d1b0"));
        assert_ne!(of("3b2c6f5d8a9e"), of(""));
    }

    #[test]
    fn unknown_is_neither_true_nor_false() {
        assert_eq!(all([Some(true), None]), None);
        assert_eq!(all([None, Some(false)]), Some(false));
        assert_eq!(all([Some(true), Some(true)]), Some(true));
    }
}
