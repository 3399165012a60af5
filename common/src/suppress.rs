//! Known-good entries: which findings are not emitted, why, by whose word and until when.
//!
//! An entry names a program, a destination, or both. Everything in it has to hold, exactly: a path is the whole path (never
//! a bare file name, which anyone can give to a file), a domain is that name and the names below it, a package's file has to
//! be as the package brought it. What is held back is counted and still listed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Suppressed};
use crate::process::ProcessInfo;
use crate::text::is_plain;
use crate::time::Timestamp;

/// Most entries.
pub const MAX_ENTRIES: usize = 4096;
/// Longest text of an entry, in bytes: Linux allows a path 4,096.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Destinations of a group that an alert names: of one that has so many, there may be more that it does not name.
const NAMED_MEMBERS: usize = 6;

/// What makes a program the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramFile {
    /// The whole path of its executable.
    Path(String),
    /// SHA-256 of its executable, lower-case hex.
    Sha256(String),
    /// Name of the installed package that owns its executable, with or without version. Holds only while the file is as the
    /// package brought it.
    Package(String),
}

/// A program, and maybe the account that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRule {
    /// Which.
    pub file: ProgramFile,
    /// Account that has to run it.
    pub user: Option<String>,
}

/// Where a destination is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A name, and every name below it.
    Domain(String),
    /// A bare address in a network. A destination that has a name is meant by that name.
    Network {
        /// Address of the network.
        address: IpAddr,
        /// Bits of it that count.
        prefix: u8,
    },
}

/// A destination, and maybe its port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRule {
    /// Where.
    pub place: Place,
    /// Port that it has to have.
    pub port: Option<u16>,
}

/// What someone asks to be let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The program; none: any.
    pub program: Option<ProgramRule>,
    /// The destination; none: any.
    pub destination: Option<DestinationRule>,
    /// Why. Required.
    pub reason: String,
    /// Account that asks, by its number…
    pub created_by: u32,
    /// …and its name.
    pub created_by_name: String,
    /// When.
    pub created: Timestamp,
    /// Until when it holds; none: until it is lifted.
    pub expires: Option<Timestamp>,
}

/// An entry that is in force, or was until it expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// What it says.
    pub draft: Draft,
    /// How often it held a finding back.
    pub suppressed: u64,
    /// When it last did.
    pub last: Option<Timestamp>,
}

/// Why an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// There are as many as there may be.
    #[error("there are {MAX_ENTRIES} entries already: lift one first")]
    Full,
    /// Neither program nor destination.
    #[error("an entry needs a program or a destination")]
    Empty,
    /// No reason.
    #[error("an entry needs a reason")]
    NoReason,
    /// A text that is too long, or could steer a terminal.
    #[error("{0} is longer than {MAX_TEXT_BYTES} bytes or holds invisible characters")]
    Text(&'static str),
    /// Not a whole path.
    #[error("`{0}` is not a whole path: a file name alone is anyone's to take")]
    Path(String),
    /// Not a hash.
    #[error("`{0}` is not a SHA-256 (64 hexadecimal digits)")]
    Hash(String),
    /// Not a name.
    #[error(
        "`{0}` is not a name of a host or domain with a dot in it, in lower case and without one at its end"
    )]
    Domain(String),
    /// Not a network.
    #[error("a network of this kind has at most {0} bits")]
    Prefix(u8),
    /// Over before it begins.
    #[error("it would have expired already")]
    Expired,
}

impl Draft {
    /// Whether it says what it has to, and nothing that would match by accident.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), DraftError> {
        if self.program.is_none() && self.destination.is_none() {
            return Err(DraftError::Empty);
        }
        if self.reason.trim().is_empty() {
            return Err(DraftError::NoReason);
        }
        if self.expires.is_some_and(|expires| expires <= self.created) {
            return Err(DraftError::Expired);
        }
        let text = |what, text: &str| {
            let fits = text.len() <= MAX_TEXT_BYTES && text.chars().all(is_plain);
            if fits { Ok(()) } else { Err(DraftError::Text(what)) }
        };
        text("the reason", &self.reason)?;
        text("the name of the account", &self.created_by_name)?;
        if let Some(rule) = &self.program {
            text("the account", rule.user.as_deref().unwrap_or_default())?;
            match &rule.file {
                ProgramFile::Path(path) => {
                    text("the path", path)?;
                    if !is_whole_path(path) {
                        return Err(DraftError::Path(path.clone()));
                    }
                }
                ProgramFile::Sha256(hash) => {
                    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                    text("the hash", hash)?;
                    if hash.len() != 64 || !hash.bytes().all(hex) {
                        return Err(DraftError::Hash(hash.clone()));
                    }
                }
                ProgramFile::Package(package) => {
                    text("the package", package)?;
                    if package.trim().is_empty() {
                        return Err(DraftError::Text("the package"));
                    }
                }
            }
        }
        match self.destination.as_ref().map(|rule| &rule.place) {
            Some(Place::Domain(name)) => {
                text("the domain", name)?;
                let sound = name.contains('.')
                    && !name.starts_with('.')
                    && !name.ends_with('.')
                    && !name.bytes().any(|b| b.is_ascii_uppercase() || b == b'*' || b == b' ')
                    && name.parse::<IpAddr>().is_err();
                if sound { Ok(()) } else { Err(DraftError::Domain(name.clone())) }
            }
            Some(Place::Network { address, prefix }) => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                if *prefix <= most { Ok(()) } else { Err(DraftError::Prefix(most)) }
            }
            None => Ok(()),
        }
    }
}

/// A path from the root of a file system, of either kind of system.
fn is_whole_path(path: &str) -> bool {
    let drive = |path: &str| {
        let mut bytes = path.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic()) && bytes.next() == Some(b':')
    };
    let root = path.starts_with('/') || path.starts_with("\\\\") || drive(path);
    root && path.len() > 3 && !path.ends_with(['/', '\\'])
}

impl ProgramRule {
    fn holds(&self, info: &ProcessInfo) -> bool {
        let file = match &self.file {
            ProgramFile::Path(path) => info.image == *path,
            ProgramFile::Sha256(hash) => info.sha256 == *hash,
            ProgramFile::Package(package) => {
                let rest = info.package.strip_prefix(package.as_str());
                info.signed == Some(true) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            }
        };
        file && self.user.as_ref().is_none_or(|user| info.user == *user)
    }
}

impl DestinationRule {
    fn holds(&self, alert: &Alert) -> bool {
        let destination = &alert.destination;
        if self.port.is_some_and(|port| port != destination.port) {
            return false;
        }
        if !destination.group.is_empty() {
            return destination.group.len() < NAMED_MEMBERS
                && destination.group.iter().all(|name| self.is_at(name));
        }
        // A client may claim any name: what it resolved, and what a proxy was asked for, have to agree with it.
        let told = [&destination.fqdn, &destination.connect_host, &destination.sni];
        self.is_at(&destination.name) && told.into_iter().all(|name| name.is_empty() || self.is_at(name))
    }

    fn is_at(&self, name: &str) -> bool {
        match &self.place {
            Place::Domain(domain) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|below| below.is_empty() || below.ends_with('.')),
            Place::Network { address, prefix } => {
                name.parse().is_ok_and(|ip: IpAddr| is_inside(ip, *address, *prefix))
            }
        }
    }
}

pub(crate) fn is_inside(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (ip.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let rest = 32u32.saturating_sub(prefix.into());
            (u32::from(ip) ^ u32::from(network)).checked_shr(rest).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let rest = 128u32.saturating_sub(prefix.into());
            (u128::from(ip) ^ u128::from(network)).checked_shr(rest).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl Entry {
    /// Whether it holds at this time.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.draft.expires.is_none_or(|expires| now < expires)
    }

    fn holds(&self, alert: &Alert) -> bool {
        let program = self
            .draft
            .program
            .as_ref()
            .is_none_or(|rule| alert.process.as_ref().is_some_and(|process| rule.holds(&process.info)));
        program && self.draft.destination.as_ref().is_none_or(|rule| rule.holds(alert))
    }
}

/// All entries of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressions {
    entries: Vec<Entry>,
    /// Number of the latest entry.
    latest: u64,
}

impl Suppressions {
    /// Adds an entry; its number.
    ///
    /// # Errors
    /// If there is no room, or it does not say what it has to.
    pub fn allow(&mut self, draft: Draft) -> Result<u64, DraftError> {
        draft.check()?;
        if self.entries.len() >= MAX_ENTRIES {
            return Err(DraftError::Full);
        }
        self.latest = self.latest.saturating_add(1);
        self.entries.push(Entry { id: self.latest, draft, suppressed: 0, last: None });
        Ok(self.latest)
    }

    /// Takes an entry out.
    pub fn unallow(&mut self, id: u64) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at))
    }

    /// All entries, oldest first, those that have expired too.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether each entry is one that may be there.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.entries.len() <= MAX_ENTRIES && self.entries.iter().all(|entry| entry.draft.check().is_ok())
    }

    /// The oldest entry that an alert falls under.
    #[must_use]
    pub fn of(&self, alert: &Alert, now: Timestamp) -> Option<Suppressed> {
        let entry = self.entries.iter().find(|entry| entry.is_in_force(now) && entry.holds(alert))?;
        Some(Suppressed { entry: entry.id, reason: entry.draft.reason.clone() })
    }

    /// Counts what an entry held back.
    pub fn count(&mut self, id: u64, now: Timestamp) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.suppressed = entry.suppressed.saturating_add(1);
            entry.last = Some(now);
        }
    }

    /// Whether an entry expired after `before`, and by `now`.
    #[must_use]
    pub fn any_expired(&self, before: Timestamp, now: Timestamp) -> bool {
        self.entries.iter().any(|entry| !entry.is_in_force(now) && entry.is_in_force(before))
    }

    /// Bytes in use now.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let text = |entry: &Entry| {
            let Draft { program, destination, reason, created_by_name, .. } = &entry.draft;
            let file = program.as_ref().map_or(0, |rule| match &rule.file {
                ProgramFile::Path(text) | ProgramFile::Sha256(text) | ProgramFile::Package(text) => {
                    text.len() + rule.user.as_ref().map_or(0, String::len)
                }
            });
            let domain = match destination.as_ref().map(|rule| &rule.place) {
                Some(Place::Domain(name)) => name.len(),
                _ => 0,
            };
            file + domain + reason.len() + created_by_name.len()
        };
        self.entries.capacity() * size_of::<Entry>() + self.entries.iter().map(text).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    fn draft(program: Option<ProgramFile>, place: Option<Place>) -> Draft {
        Draft {
            program: program.map(|file| ProgramRule { file, user: None }),
            destination: place.map(|place| DestinationRule { place, port: None }),
            reason: "ours".into(),
            created_by: 0,
            created_by_name: "root".into(),
            created: Timestamp::ZERO,
            expires: None,
        }
    }

    fn holds(draft: Draft, alert: &Alert) -> bool {
        let mut all = Suppressions::default();
        all.allow(draft).unwrap();
        all.of(alert, Timestamp::ZERO).is_some()
    }

    fn path(text: &str) -> Option<ProgramFile> {
        Some(ProgramFile::Path(text.into()))
    }

    fn domain(text: &str) -> Option<Place> {
        Some(Place::Domain(text.into()))
    }

    fn network(address: &str, prefix: u8) -> Option<Place> {
        Some(Place::Network { address: address.parse().unwrap(), prefix })
    }

    #[test]
    fn an_entry_that_could_match_by_accident_is_refused() {
        let refused = |program, place| draft(program, place).check().unwrap_err();
        assert_eq!(refused(None, None), DraftError::Empty);
        for name in ["curl", "bin/curl", "", "/", "/usr/bin/", "C:"] {
            assert_eq!(refused(path(name), None), DraftError::Path(name.into()), "{name}");
        }
        assert!(matches!(refused(Some(ProgramFile::Sha256("ab".into())), None), DraftError::Hash(_)));
        for name in ["", "com", ".example.com", "example.com.", "*.example.com", "Example.com", "10.0.0.1"] {
            assert_eq!(refused(None, domain(name)), DraftError::Domain(name.into()), "{name}");
        }
        assert_eq!(refused(None, network("10.0.0.0", 33)), DraftError::Prefix(32));
        let silent = Draft { reason: "  ".into(), ..draft(path("/usr/bin/curl"), None) };
        assert_eq!(silent.check(), Err(DraftError::NoReason));
        let steering = Draft { reason: "\u{1b}[2J".into(), ..draft(path("/usr/bin/curl"), None) };
        assert_eq!(steering.check(), Err(DraftError::Text("the reason")));
        let over = Draft { expires: Some(Timestamp::ZERO), ..draft(path("/usr/bin/curl"), None) };
        assert_eq!(over.check(), Err(DraftError::Expired));
        assert_eq!(draft(path(r"C:\Windows\curl.exe"), None).check(), Ok(()));
    }

    #[test]
    fn everything_in_an_entry_has_to_hold_exactly() {
        let alert = samples::implant();
        let (image, hash) =
            (path("/home/ci/.cache/.font/updater"), alert.process.clone().unwrap().info.sha256);
        assert!(holds(draft(image.clone(), None), &alert));
        assert!(holds(draft(Some(ProgramFile::Sha256(hash)), domain("telemetry-edge.example")), &alert));
        assert!(!holds(draft(path("/home/ci/.cache/.font/updater2"), None), &alert));
        assert!(!holds(draft(path("/home/other/updater"), None), &alert), "the same file name elsewhere");
        assert!(holds(draft(None, domain("cdn.telemetry-edge.example")), &alert));
        assert!(!holds(draft(None, domain("y-edge.example")), &alert), "a suffix that is no label");
        assert!(!holds(draft(image.clone(), domain("other.example")), &alert), "one of two is not enough");
        assert!(!holds(draft(None, network("203.0.113.0", 24)), &alert), "it has a name");
        let mut of = draft(image.clone(), None);
        of.program.as_mut().unwrap().user = Some("root".into());
        assert!(!holds(of.clone(), &alert));
        of.program.as_mut().unwrap().user = Some("ci".into());
        assert!(holds(of, &alert));
        let mut port = draft(None, domain("telemetry-edge.example"));
        port.destination.as_mut().unwrap().port = Some(8443);
        assert!(!holds(port, &alert));
        let mut unknown = alert.clone();
        unknown.process = None;
        assert!(!holds(draft(image, None), &unknown), "no process is no program");
    }

    #[test]
    fn a_claimed_name_does_not_hide_another_destination() {
        let mut alert = samples::implant();
        alert.destination.fqdn = "evil.example".into();
        assert!(!holds(draft(None, domain("telemetry-edge.example")), &alert));
        // A group is let pass only if all of it is.
        let group = samples::rotation();
        let first = group.destination.group.first().unwrap().clone();
        assert!(!holds(draft(None, domain(&first)), &group));
    }

    #[test]
    fn a_package_counts_while_its_file_is_untouched() {
        let mut alert = samples::dns();
        let package = || draft(Some(ProgramFile::Package("bind9-dnsutils".into())), None);
        assert!(!holds(package(), &alert), "nobody told that it is untouched");
        alert.process.as_mut().unwrap().info.signed = Some(true);
        assert!(holds(package(), &alert));
        assert!(!holds(draft(Some(ProgramFile::Package("bind9".into())), None), &alert));
    }

    #[test]
    fn networks_match_by_their_bits() {
        let alert = samples::in_connection();
        for (address, prefix, expected) in [
            ("198.51.100.0", 24, true),
            ("198.51.100.61", 32, true),
            ("198.51.100.60", 32, false),
            ("0.0.0.0", 0, true),
            ("::", 0, false),
            ("::ffff:198.51.100.61", 32, true),
        ] {
            assert_eq!(holds(draft(None, network(address, prefix)), &alert), expected, "{address}/{prefix}");
        }
    }

    #[test]
    fn entries_expire_are_counted_and_end_at_their_number() {
        let at = |secs| Timestamp::from_secs_nanos(secs, 0);
        let mut all = Suppressions::default();
        let alert = samples::implant();
        let entry = Draft { expires: Some(at(100)), ..draft(path("/home/ci/.cache/.font/updater"), None) };
        let id = all.allow(entry.clone()).unwrap();
        assert_eq!(all.of(&alert, at(99)).unwrap().entry, id);
        assert_eq!(all.of(&alert, at(100)), None);
        assert!(all.any_expired(at(99), at(100)) && !all.any_expired(at(100), at(200)));
        all.count(id, at(7));
        assert_eq!((all.entries()[0].suppressed, all.entries()[0].last), (1, Some(at(7))));
        assert!(all.unallow(id).is_some() && all.unallow(id).is_none());
        for number in 0..MAX_ENTRIES {
            assert_eq!(all.allow(entry.clone()), Ok(number as u64 + 2), "a number is not used again");
        }
        assert_eq!(all.allow(entry), Err(DraftError::Full));
        assert!(all.is_sound());
    }
}
