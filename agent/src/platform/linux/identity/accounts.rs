//! Names of accounts, from `/etc/passwd`.
//!
//! Only that file: asking directories on the network (LDAP, SSSD) would make the sensor call out for each look-up.

use std::collections::HashMap;
use std::path::PathBuf;

use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::process::file_status;
use super::read_capped;

/// Longest account file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Accounts that are kept.
const MAX_ACCOUNTS: usize = 65_536;
/// Longest name of an account, in bytes (`useradd` allows 32).
const MAX_NAME: usize = 256;
/// How often the file's time is looked at.
const CHECK: i64 = 10 * NANOS_PER_SEC;

/// Account number -> name.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    names: HashMap<u32, Box<str>>,
    version: Option<(i64, u64)>,
    checked: Timestamp,
}

impl Default for Accounts {
    fn default() -> Self {
        Self::of("/etc/passwd".into())
    }
}

impl Accounts {
    /// Those of a file in the form of `/etc/passwd`.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        Self { path, names: HashMap::new(), version: None, checked: Timestamp::from_nanos(i64::MIN) }
    }

    /// The account's name, if it is known.
    pub fn name(&mut self, uid: u32, now: Timestamp) -> Option<&str> {
        if now.since(self.checked) >= CHECK || now < self.checked {
            self.checked = now;
            let version = file_status(&self.path).map(|s| (s.stx_mtime.tv_sec, s.stx_size));
            if version != self.version {
                self.version = version;
                self.names = read_capped(&self.path, MAX_FILE).map(|text| parse(&text)).unwrap_or_default();
            }
        }
        self.names.get(&uid).map(AsRef::as_ref)
    }
}

/// Reads the text of `/etc/passwd`. The first account of a number gives its name, as the C library has it.
#[must_use]
pub fn parse(text: &[u8]) -> HashMap<u32, Box<str>> {
    let mut names = HashMap::new();
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (Ok(name), Ok(uid)) = (std::str::from_utf8(name), std::str::from_utf8(uid)) else { continue };
        // `+` and `-` lines ask for other sources.
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with(['#', '+', '-']) {
            continue;
        }
        if let Ok(uid) = uid.parse::<u32>()
            && (names.len() < MAX_ACCOUNTS || names.contains_key(&uid))
        {
            names.entry(uid).or_insert_with(|| name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_a_changed_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        std::fs::write(&path, "root:x:0:0::/root:/bin/sh\ntoor:x:0:0:::\n# x:x:5:5\nann:x:1000:1000:,,,:/home/ann:\nbad\n+::7:\n")
            .unwrap();
        let mut accounts = Accounts::of(path.clone());
        let at = |secs| Timestamp::from_secs_nanos(secs, 0);
        assert_eq!(accounts.name(0, at(0)), Some("root"));
        assert_eq!(accounts.name(1000, at(0)), Some("ann"));
        assert_eq!(accounts.name(5, at(0)), None);
        assert_eq!(accounts.name(7, at(0)), None);
        std::fs::write(&path, "eve:x:5:5:::\n").unwrap();
        assert_eq!(accounts.name(5, at(1)), None, "not looked at again yet");
        assert_eq!(accounts.name(5, at(11)), Some("eve"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(accounts.name(5, at(30)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }
    }
}
