//! Formats of feeds: bytes in, [`Indicator`](super::Indicator)s out, and of everything that is not taken a [`Problem`] that
//! says where, what and why.
//!
//! A [`Reader`] is fed a file in whatever pieces the caller has; how it was cut changes nothing. The form is told from the
//! content, [`Options`] say what the content cannot. All of it is bounded: the caps stand below, and what goes beyond them
//! is refused and counted. `docs/feeds.md` is the user's page.

mod csv;
mod json;
mod list;
mod misp;
mod name;
mod network;
mod note;
mod options;
mod pattern;
mod reader;
mod report;
mod stix;
#[cfg(test)]
mod tests;
mod value;

pub use self::csv::Role;
pub use self::options::{OptionError, Options};
pub use self::reader::Reader;
pub use self::report::{Item, Kind, Place, Problem, Reason, Report, Weight};

/// Longest line, in bytes. The longest entry that makes sense is a URL of some kilobytes.
pub const MAX_LINE_BYTES: usize = 16 << 10;
/// Largest list, in bytes once unpacked: some 50 million addresses.
pub const MAX_LIST_BYTES: u64 = 1 << 30;
/// Largest JSON document, in bytes once unpacked: it is held in memory. All of ATT&CK Enterprise as STIX has 45 MiB.
pub const MAX_DOCUMENT_BYTES: usize = 128 << 20;
/// How deep JSON may be nested. MISP events reach 9.
pub const MAX_DEPTH: usize = 64;
/// Most indicators of one file.
pub const MAX_INDICATORS: u64 = 8_000_000;
/// Problems that a report keeps; all are counted and handed out.
pub const MAX_PROBLEMS: usize = 20;
/// Longest label, group or name of a feed that is kept, in bytes.
pub const MAX_LABEL_BYTES: usize = 128;
/// Longest reference that is kept, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 512;
/// Longest text of a problem that is kept, in bytes.
pub const MAX_SHOWN_BYTES: usize = 120;
/// Most columns of a CSV file.
pub const MAX_COLUMNS: usize = 256;
/// Most relationships of a STIX bundle that are followed.
pub const MAX_RELATIONSHIPS: usize = 1_000_000;
/// Most objects of a STIX bundle that an indicator can be related to.
pub const MAX_RELATED: usize = 200_000;
/// Most comparisons of a STIX pattern, once multiplied out.
pub const MAX_COMPARISONS: usize = 4_096;

/// The forms of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One entry a line.
    List,
    /// Lines of a hosts file, which lead bad names nowhere.
    Hosts,
    /// Rows under a header, or under columns that the user names.
    Csv,
    /// A STIX 2.x bundle.
    Stix,
    /// A MISP event, or several.
    Misp,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::List, Self::Hosts, Self::Csv, Self::Stix, Self::Misp];

    /// Its name, as in options and results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Hosts => "hosts",
            Self::Csv => "csv",
            Self::Stix => "stix",
            Self::Misp => "misp",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(name))
    }
}
