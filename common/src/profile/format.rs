//! The files that profiles are written in: TOML, checked as it is read (docs/profiles.md).

use serde::Deserialize;
use toml::Spanned;

use super::pattern::{NamePattern, Network, PathPattern};
use crate::text::is_plain;

/// Longest file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;
/// Profiles and extensions in a file.
pub const MAX_PER_FILE: usize = 256;
/// Identities or destinations of a profile.
pub const MAX_SECTIONS: usize = 64;
/// Entries of a list.
const MAX_ENTRIES: usize = 256;
/// Longest text, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// Longest name of a profile, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A file that is no profile: which, where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct ProfileError {
    /// The file, as its source names it.
    pub file: String,
    /// The line, from 1, where one is meant.
    pub line: Option<usize>,
    /// What is wrong, with the key, and what would be right.
    pub reason: String,
}

/// What class of program a profile describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileClass {
    /// Agents that send metrics and logs.
    Monitoring,
    /// What looks for new versions.
    Updater,
    /// Licence servers, activation, heartbeats of applications.
    Licence,
    /// Remote administration: labelled, never silenced.
    RemoteManagement,
    /// Security software.
    Security,
    /// Runners of continuous integration.
    CiRunner,
    /// Browsers' own services.
    Browser,
    /// Mail clients.
    Mail,
    /// Messengers and meetings.
    Chat,
    /// File synchronisation and media.
    Sync,
    /// Services of the operating system.
    System,
    /// Anything else.
    Other,
}

impl ProfileClass {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 12] = [
        Self::Monitoring,
        Self::Updater,
        Self::Licence,
        Self::RemoteManagement,
        Self::Security,
        Self::CiRunner,
        Self::Browser,
        Self::Mail,
        Self::Chat,
        Self::Sync,
        Self::System,
        Self::Other,
    ];

    /// Name as in files and alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monitoring => "monitoring",
            Self::Updater => "updater",
            Self::Licence => "licence",
            Self::RemoteManagement => "remote_management",
            Self::Security => "security",
            Self::CiRunner => "ci_runner",
            Self::Browser => "browser",
            Self::Mail => "mail",
            Self::Chat => "chat",
            Self::Sync => "sync",
            Self::System => "system",
            Self::Other => "other",
        }
    }
}

/// A text of ours or of the user's: short, without what steers a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(pub(super) String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.chars().all(is_plain);
        if fits {
            Ok(Self(text))
        } else {
            Err(format!("a text has 1 to {MAX_TEXT_BYTES} bytes and no invisible characters"))
        }
    }
}

impl Text {
    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) profile: Vec<Draft>,
    #[serde(default)]
    pub(super) extend: Vec<Extension>,
}

/// A profile as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    pub(super) name: Spanned<String>,
    pub(super) class: ProfileClass,
    pub(super) title: Text,
    pub(super) excuses: bool,
    #[serde(default)]
    pub(super) source: Vec<Text>,
    #[serde(default)]
    pub(super) note: Option<Text>,
    pub(super) identity: Vec<Identity>,
    pub(super) destination: Vec<Destinations>,
}

/// More of a profile that stands elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    pub(super) profile: Spanned<String>,
    #[serde(default)]
    pub(super) identity: Vec<Identity>,
    #[serde(default)]
    pub(super) destination: Vec<Destinations>,
}

/// One way in which a program is the one that is meant: all of it has to hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Where its executable lies: one of these.
    pub path: Vec<PathPattern>,
    /// The script that it runs, where it is an interpreter: one of these. Without it, what runs a script is not the program.
    #[serde(default)]
    pub script: Vec<PathPattern>,
    /// The package that owns the executable, where that is known: one of these.
    #[serde(default)]
    pub package: Vec<Text>,
    /// Unit of the service manager, where that is known: one of these.
    #[serde(default)]
    pub service: Vec<Text>,
    /// File name of the parent's executable, where that is known: one of these.
    #[serde(default)]
    pub parent: Vec<Text>,
    /// Its vendor installs it without a package or signature: then the place alone vouches for it.
    #[serde(default)]
    pub unpackaged: bool,
    /// Its vendor lets only administrators write to its folder, though it lies where others mostly may.
    #[serde(default)]
    pub admin_only: bool,
    /// Its file has a name that many programs have, so that the name alone claims nothing.
    #[serde(default)]
    pub generic_name: bool,
}

/// Where a program calls of its own accord.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destinations {
    /// Domains, each with the names below it.
    #[serde(default)]
    pub domains: Vec<NamePattern>,
    /// Networks.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Ports; all where there is none.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// Reads a file.
pub(super) fn read(file: &str, text: &str) -> Result<File, ProfileError> {
    let error = |line: Option<usize>, reason: String| ProfileError { file: file.to_owned(), line, reason };
    if text.len() > MAX_FILE_BYTES {
        return Err(error(None, format!("longer than {MAX_FILE_BYTES} bytes: split it into several files")));
    }
    let read: File = toml::from_str(text).map_err(|wrong| {
        // The key that it is about: serde knows the value alone.
        let line = wrong.span().map(|span| line_of(text, span.start));
        let key =
            line.and_then(|line| key_at(text, line)).map(|key| format!("`{key}`: ")).unwrap_or_default();
        error(line, format!("{key}{}", wrong.message()))
    })?;
    if read.profile.len() + read.extend.len() > MAX_PER_FILE {
        return Err(error(None, format!("more than {MAX_PER_FILE} profiles: split it into several files")));
    }
    for draft in &read.profile {
        let line = Some(line_of(text, draft.name.span().start));
        check_draft(draft).map_err(|reason| error(line, reason))?;
    }
    for extension in &read.extend {
        let line = Some(line_of(text, extension.profile.span().start));
        let name = extension.profile.get_ref();
        check_name(name)
            .and_then(|()| check_parts(name, &extension.identity, &extension.destination))
            .map_err(|reason| error(line, reason))?;
    }
    Ok(read)
}

fn check_draft(draft: &Draft) -> Result<(), String> {
    let name = draft.name.get_ref();
    check_name(name)?;
    if draft.identity.is_empty() || draft.destination.is_empty() {
        return Err(format!(
            "`identity` or `destination` of {name} is empty: a program alone is never excused, nor is a destination"
        ));
    }
    if draft.excuses && draft.class == ProfileClass::RemoteManagement {
        return Err(format!(
            "`excuses` of {name} is true: remote management is labelled, never silenced; use `sonde allow` for one that is yours"
        ));
    }
    if draft.source.len() > MAX_ENTRIES {
        return Err(format!("`source` of {name} has more than {MAX_ENTRIES} entries"));
    }
    check_parts(name, &draft.identity, &draft.destination)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        Ok(())
    } else {
        Err(format!("`name` is 1 to {MAX_NAME_BYTES} of the letters a to z, digits and `-`"))
    }
}

fn check_parts(name: &str, identities: &[Identity], destinations: &[Destinations]) -> Result<(), String> {
    if identities.len() > MAX_SECTIONS || destinations.len() > MAX_SECTIONS {
        return Err(format!("{name} has more than {MAX_SECTIONS} identities or destinations"));
    }
    for Identity { path, script, package, service, parent, .. } in identities {
        let longest = [path.len(), script.len(), package.len(), service.len(), parent.len()];
        if longest.into_iter().any(|entries| entries > MAX_ENTRIES) {
            return Err(format!("a list of an identity of {name} has more than {MAX_ENTRIES} entries"));
        }
        if path.is_empty() {
            return Err(format!("`path` of an identity of {name} is empty: say where its executable lies"));
        }
        // The name that it is looked up by.
        let looked_up = if script.is_empty() { path } else { script };
        if looked_up.iter().any(|pattern| pattern.file_name().is_none()) {
            return Err(format!(
                "a file name of an identity of {name} holds a wildcard: name the file, and use `*` for folders above it"
            ));
        }
    }
    for Destinations { domains, networks, ports } in destinations {
        if domains.len() > MAX_ENTRIES || networks.len() > MAX_ENTRIES || ports.len() > MAX_ENTRIES {
            return Err(format!("a list of a destination of {name} has more than {MAX_ENTRIES} entries"));
        }
        if domains.is_empty() && networks.is_empty() {
            return Err(format!("a destination of {name} has neither `domains` nor `networks`"));
        }
        if !networks.is_empty() && ports.is_empty() {
            return Err(format!(
                "a destination of {name} has `networks` without `ports`: an address says little, so name the service too"
            ));
        }
    }
    Ok(())
}

/// The line that a byte stands in, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The key that a line sets, looking upwards for the beginning of a list.
fn key_at(text: &str, line: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    lines.into_iter().rev().take_while(|line| !line.trim_start().starts_with('[')).find_map(key_of)
}

fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then_some(key)
}
