//! What a profile may say of a path, a name and a network, and whether something is it.
//!
//! Patterns are narrow on purpose: every wildcard stands inside one folder name or one label, so none of them can reach from
//! a vendor's place into another one.

use std::net::IpAddr;

use serde::Deserialize;

use crate::net::is_internal;
use crate::suppress::is_inside;
use crate::text::is_plain;

/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;
/// Shortest prefix of an IPv4 network: a sixteenth of a per cent of the Internet is no vendor's.
const LEAST_BITS_V4: u8 = 8;
/// … of an IPv6 network.
const LEAST_BITS_V6: u8 = 16;

/// Why something is no pattern. Each says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Too long, or steers a terminal.
    #[error("a pattern has 1 to {MAX_PATTERN_BYTES} bytes and no invisible characters")]
    Text,
    /// Not from the root.
    #[error(
        "`{0}` is no whole path: write it from the root, as in /opt/vendor/agent or C:\\Program Files\\Vendor\\agent.exe"
    )]
    NotWhole(String),
    /// A folder that is none.
    #[error("`{0}` holds an empty folder, `.` or `..`: write the path as the system shows it")]
    Folder(String),
    /// A wildcard where everything could be meant.
    #[error("`{0}` has a wildcard in its first folder: begin with a folder that is named")]
    Unanchored(String),
    /// More than one wildcard in a folder or label.
    #[error(
        "`{0}` has more than one `*` in a part: one is allowed in each, and stands for characters of that part alone"
    )]
    Wildcards(String),
    /// No name.
    #[error(
        "`{0}` is no domain: write it in lower case, with a dot in it and without one at its ends; an address goes to `networks`"
    )]
    Domain(String),
    /// A name that anyone can have a name below.
    #[error(
        "`{0}` is a public suffix, below which anyone has names: name the vendor's own domain, without `*` in it"
    )]
    Suffix(String),
    /// No network.
    #[error("`{0}` is no network: write `internal`, an address, or a block such as 10.20.0.0/16")]
    Network(String),
    /// A network of half the world.
    #[error("`{0}` is too large: a network has at least {LEAST_BITS_V4} bits, of IPv6 {LEAST_BITS_V6}")]
    TooLarge(String),
}

/// A folder's name or a label: as it is written, or with one `*` for one or more characters.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(String),
    Around(String, String),
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('*') {
            None => Some(Self::Exactly(text.to_owned())),
            Some((_, tail)) if tail.contains('*') => None,
            Some((head, tail)) => Some(Self::Around(head.to_owned(), tail.to_owned())),
        }
    }

    const fn is_wild(&self) -> bool {
        matches!(self, Self::Around(..))
    }

    fn is(&self, text: &str, ignore_case: bool) -> bool {
        let same = |a: &[u8], b: &[u8]| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        let text = text.as_bytes();
        match self {
            Self::Exactly(part) => same(part.as_bytes(), text),
            Self::Around(head, tail) => {
                let (head, tail) = (head.as_bytes(), tail.as_bytes());
                let Some(rest) = text.len().checked_sub(tail.len()) else { return false };
                // The star stands for at least one character.
                rest > head.len()
                    && text.get(..head.len()).is_some_and(|begin| same(head, begin))
                    && text.get(rest..).is_some_and(|end| same(tail, end))
            }
        }
    }
}

/// The whole path of an executable or script.
///
/// A path of Windows stands for every spelling of its case. Its drive is that drive, or a hard-disk volume where the source
/// names it by device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPattern {
    text: String,
    /// Drive letter; `None` on Unix.
    drive: Option<char>,
    parts: Vec<Part>,
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        check_text(&text)?;
        let (drive, rest) = root_of(&text).ok_or_else(|| PatternError::NotWhole(text.clone()))?;
        let drive = match drive {
            Root::Unix => None,
            Root::Drive(letter) => Some(letter),
            Root::Volume => return Err(PatternError::NotWhole(text)),
        };
        let mut parts = Vec::new();
        for folder in folders(rest, drive.is_some()) {
            if !is_folder(folder, drive.is_some()) {
                return Err(PatternError::Folder(text.clone()));
            }
            parts.push(Part::parse(folder).ok_or_else(|| PatternError::Wildcards(text.clone()))?);
        }
        if parts.first().is_none_or(Part::is_wild) {
            return Err(PatternError::Unanchored(text));
        }
        Ok(Self { text, drive, parts })
    }
}

impl PathPattern {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file's name; `None` where it holds a wildcard.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        match self.parts.last() {
            Some(Part::Exactly(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether a path is it.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        let Some((root, rest)) = root_of(path) else { return false };
        let windows = match (root, self.drive) {
            (Root::Unix, None) => false,
            (Root::Drive(letter), Some(drive)) if letter == drive => true,
            (Root::Volume, Some(_)) => true,
            _ => return false,
        };
        let mut folders = folders(rest, windows);
        let all = self.parts.iter().all(|part| {
            folders.next().is_some_and(|folder| is_folder(folder, windows) && part.is(folder, windows))
        });
        all && folders.next().is_none()
    }

    /// A path that it is, with `filler` for every wildcard.
    #[must_use]
    pub fn example(&self, filler: &str) -> String {
        self.text.replace('*', filler)
    }
}

#[derive(Clone, Copy, Debug)]
enum Root {
    Unix,
    Drive(char),
    Volume,
}

/// The root of a path of either kind of system, and what follows it.
fn root_of(path: &str) -> Option<(Root, &str)> {
    if let Some(rest) = path.strip_prefix('/') {
        return Some((Root::Unix, rest));
    }
    let path = path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\??\")).unwrap_or(path);
    let mut letters = path.chars();
    if let (Some(letter), Some(':'), Some('\\' | '/')) = (letters.next(), letters.next(), letters.next())
        && letter.is_ascii_alphabetic()
    {
        return Some((Root::Drive(letter.to_ascii_uppercase()), letters.as_str()));
    }
    let behind = crate::classify::on_volume(path)?;
    Some((Root::Volume, behind.strip_prefix('\\')?))
}

/// The folders of a path, and its file.
fn folders(path: &str, windows: bool) -> impl Iterator<Item = &str> {
    path.split(move |c| c == '/' || (windows && c == '\\'))
}

/// Whether it is the name of a folder or file, and no way to another one. Windows drops dots and blanks at the end of a name,
/// and what follows a colon is another stream of the same file.
fn is_folder(name: &str, windows: bool) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !(windows && (name.ends_with(['.', ' ']) || name.contains(':')))
}

fn check_text(text: &str) -> Result<(), PatternError> {
    let fits = (1..=MAX_PATTERN_BYTES).contains(&text.len()) && text.chars().all(is_plain);
    if fits { Ok(()) } else { Err(PatternError::Text) }
}

/// A domain: that name and every name below it. A label may hold one `*`, where the vendor has a name for each region or
/// customer; the registrable domain itself may not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NamePattern {
    text: String,
    /// From the right.
    labels: Vec<Part>,
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        check_text(&text)?;
        let sound = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*'))
            && text.contains('.')
            && !text.split('.').any(str::is_empty)
            && crate::domain::literal_address(&text).is_none();
        if !sound {
            return Err(PatternError::Domain(text));
        }
        let mut labels = Vec::new();
        for label in text.rsplit('.') {
            labels.push(Part::parse(label).ok_or_else(|| PatternError::Wildcards(text.clone()))?);
        }
        // What stands right of the last star has to be someone's own.
        let own = match text.rfind('*').map(|star| text.get(star..).unwrap_or_default()) {
            None => text.as_str(),
            Some(rest) => rest.split_once('.').map_or("", |(_, right)| right),
        };
        if psl::domain(own.as_bytes()).is_none() {
            return Err(PatternError::Suffix(text));
        }
        Ok(Self { text, labels })
    }
}

impl NamePattern {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a name is it or stands below it, label by label.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let mut labels = name.strip_suffix('.').unwrap_or(name).rsplit('.');
        self.labels
            .iter()
            .all(|part| labels.next().is_some_and(|label| !label.is_empty() && part.is(label, true)))
            && labels.all(|label| !label.is_empty())
    }

    /// A name that it is, with `filler` for every wildcard.
    #[must_use]
    pub fn example(&self, filler: &str) -> String {
        self.text.replace('*', filler)
    }
}

/// A network: `internal` is every address that leads nowhere outside a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Network {
    /// Private and the like: [`is_internal`].
    Internal,
    /// A block.
    Block(IpAddr, u8),
}

impl TryFrom<String> for Network {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        check_text(&text)?;
        if text == "internal" {
            return Ok(Self::Internal);
        }
        let none = || PatternError::Network(text.clone());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| none())?)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let (least, most) = if address.is_ipv4() { (LEAST_BITS_V4, 32) } else { (LEAST_BITS_V6, 128) };
        match bits.unwrap_or(most) {
            bits if bits > most => Err(none()),
            bits if bits < least => Err(PatternError::TooLarge(text)),
            bits => Ok(Self::Block(address, bits)),
        }
    }
}

impl Network {
    /// Whether an address lies in it.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        match self {
            Self::Internal => is_internal(ip),
            Self::Block(address, bits) => is_inside(ip, *address, *bits),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal => f.write_str("internal addresses"),
            Self::Block(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> Result<PathPattern, PatternError> {
        PathPattern::try_from(text.to_owned())
    }

    fn name(text: &str) -> Result<NamePattern, PatternError> {
        NamePattern::try_from(text.to_owned())
    }

    #[test]
    fn a_star_stays_inside_its_folder() {
        let agent = path(r"C:\Program Files\Elastic\Agent\data\elastic-agent-*\elastic-agent.exe").unwrap();
        for (image, expected) in [
            (r"C:\Program Files\Elastic\Agent\data\elastic-agent-1a2b\elastic-agent.exe", true),
            (r"c:\program files\elastic\agent\DATA\elastic-agent-9.1.2\Elastic-Agent.EXE", true),
            (
                r"\device\harddiskvolume3\Program Files\Elastic\Agent\data\elastic-agent-1\elastic-agent.exe",
                true,
            ),
            (r"\\?\C:\Program Files\Elastic\Agent\data\elastic-agent-1\elastic-agent.exe", true),
            (r"D:\Program Files\Elastic\Agent\data\elastic-agent-1\elastic-agent.exe", false),
            (r"\device\cdrom0\Program Files\Elastic\Agent\data\elastic-agent-1\elastic-agent.exe", false),
            (r"C:\Program Files\Elastic\Agent\data\elastic-agent-\elastic-agent.exe", false),
            (r"C:\Program Files\Elastic\Agent\data\elastic-agent-1\..\elastic-agent.exe", false),
            (r"C:\Program Files\Elastic\Agent\data\elastic-agent-1\x\elastic-agent.exe", false),
            (r"C:\Program Files\Elastic\Agent\data\elastic-agent-1 \elastic-agent.exe", false),
            (r"C:\Users\ann\C:\Program Files\Elastic\Agent\data\elastic-agent-1\elastic-agent.exe", false),
            ("elastic-agent.exe", false),
            ("", false),
        ] {
            assert_eq!(agent.is(image), expected, "{image}");
        }
        let unix = path("/opt/vendor/*/agent").unwrap();
        assert!(unix.is("/opt/vendor/1.2/agent") && !unix.is("/opt/vendor/../agent"));
        assert!(!unix.is("/OPT/vendor/1/agent") && !unix.is("/tmp/opt/vendor/1/agent"));
        assert!(!unix.is("/opt/vendor/1/agent (deleted)") && !unix.is("/opt/vendor/1/agent/"));
    }

    #[test]
    fn a_pattern_that_could_mean_everything_is_refused() {
        for bad in ["", "agent", "bin/agent", "C:", r"C:\", "/", "*", r"\\server\share\a.exe", r"C:agent.exe"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert!(matches!(path("/*/agent"), Err(PatternError::Unanchored(_))));
        assert!(matches!(path(r"C:\*\agent.exe"), Err(PatternError::Unanchored(_))));
        assert!(matches!(path("/opt/*a*/agent"), Err(PatternError::Wildcards(_))));
        assert!(matches!(path("/opt/../agent"), Err(PatternError::Folder(_))));
        assert!(matches!(path("/opt//agent"), Err(PatternError::Folder(_))));
        for bad in
            ["com", "localhost", ".a.com", "a.com.", "A.com", "10.0.0.1", "a..com", "a.com:443", "a b.com"]
        {
            assert!(matches!(name(bad), Err(PatternError::Domain(_))), "{bad}");
        }
        for bad in ["co.uk", "*.com", "a.*.com", "cloudfront.net", "*.github.io", "blob.core.windows.net"] {
            assert!(matches!(name(bad), Err(PatternError::Suffix(_))), "{bad}");
        }
        let network = |text: &str| Network::try_from(text.to_owned());
        assert!(matches!(network("0.0.0.0/0"), Err(PatternError::TooLarge(_))));
        assert!(matches!(network("::/0"), Err(PatternError::TooLarge(_))));
        assert!(matches!(network("10.0.0.0/33"), Err(PatternError::Network(_))));
        assert!(network("private").is_err() && network("internal").is_ok() && network("192.0.2.1").is_ok());
    }

    #[test]
    fn a_domain_ends_at_a_label() {
        let microsoft = name("microsoft.com").unwrap();
        for (text, expected) in [
            ("microsoft.com", true),
            ("update.Microsoft.com", true),
            ("update.microsoft.com.", true),
            ("microsoft.com.evil.net", false),
            ("notmicrosoft.com", false),
            ("xn--mcrosoft-p2a.com", false),
            ("com", false),
            ("", false),
            (".microsoft.com", false),
        ] {
            assert_eq!(microsoft.is(text), expected, "{text}");
        }
        let region = name("ssm.*.amazonaws.com").unwrap();
        assert!(region.is("ssm.eu-west-1.amazonaws.com") && !region.is("ssm.amazonaws.com"));
        assert!(!region.is("ssm.a.b.amazonaws.com") && !region.is("evil.eu-west-1.amazonaws.com"));
        let instance = name("instance-*-relay.screenconnect.com").unwrap();
        assert!(instance.is("instance-x7-relay.screenconnect.com") && !instance.is("x7.screenconnect.com"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(pattern in "\\PC{0,40}", text in "\\PC{0,60}") {
            if let Ok(pattern) = path(&pattern) {
                let _ = pattern.is(&text);
            }
            if let Ok(pattern) = name(&pattern) {
                let _ = pattern.is(&text);
            }
            let _ = Network::try_from(pattern);
        }

        #[test]
        fn an_example_is_what_it_is_an_example_of(
            folders in proptest::collection::vec("[a-zA-Z0-9 ]{0,4}[a-z]\\*?[a-z0-9]{0,3}", 1..5),
            filler in "[a-z0-9]{1,6}",
            windows: bool,
        ) {
            let text = if windows {
                format!(r"C:\Windows\{}", folders.join(r"\"))
            } else {
                format!("/usr/{}", folders.join("/"))
            };
            let pattern = path(&text).unwrap();
            let image = pattern.example(&filler);
            prop_assert!(pattern.is(&image), "{} {}", text, image);
            prop_assert_eq!(pattern.is(&image.to_uppercase()), windows || image == image.to_uppercase());
            // A folder more or less is another place.
            let deeper = image.replacen(if windows { r"\" } else { "/" }, if windows { r"\x\" } else { "/x/" }, 1);
            prop_assert!(!pattern.is(&deeper), "{}", deeper);
        }

        #[test]
        fn a_name_matches_only_what_ends_in_its_own_domain(
            own in "[a-z]{3,8}", other in "[a-z]{3,8}", below in proptest::collection::vec("[a-z0-9]{1,5}", 0..3),
        ) {
            // A short name may be a suffix that others register below, and is none of a profile's.
            let domain = format!("{own}-of-a-profile.com");
            let pattern = name(&domain).unwrap();
            let mut labels = below.clone();
            labels.push(domain.clone());
            let real = labels.join(".");
            prop_assert!(pattern.is(&real));
            let (appended, prefixed) = (format!("{real}.{other}.net"), format!("{other}{domain}"));
            prop_assert!(!pattern.is(&appended));
            prop_assert!(!pattern.is(&prefixed));
        }
    }
}
