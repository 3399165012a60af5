//! Which network an address belongs to, from a database in MaxMind's format: context for alerts.
//!
//! The bytes come from outside and may be damaged: what cannot be walked from end to end is refused when it is opened.

use std::net::IpAddr;
use std::sync::LazyLock;

use maxminddb::Reader;
use serde::Deserialize;

use crate::alert::AutonomousSystem;
use crate::text::Rule;

/// Largest database that is opened, in bytes. The usual ones take some ten megabytes.
pub const MAX_BYTES: usize = 512 << 20;
/// How the name of an organisation is kept.
const NAME: Rule = Rule { cap: 128, lower_case: false, strip_dot: false };

/// Numbers of those who rent servers to anyone, ascending. From `data/hosting-networks.txt`.
static HOSTING: LazyLock<Vec<u32>> = LazyLock::new(|| {
    include_str!("../../data/hosting-networks.txt")
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.parse().ok())
        .collect()
});

/// Whether an autonomous system rents servers to anyone.
#[must_use]
pub fn is_hosting(number: u32) -> bool {
    HOSTING.binary_search(&number).is_ok()
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// Too large.
    #[error("{0} bytes are more than a database of networks has (at most {MAX_BYTES})")]
    TooLarge(usize),
    /// Not in the format, or damaged.
    #[error("no sound database in MaxMind's format: {0}")]
    Damaged(#[source] maxminddb::MaxMindDbError),
    /// It holds something else, such as countries.
    #[error("the database names no networks (its type is `{0}`; wanted is one with `ASN` in it)")]
    OtherType(String),
}

/// A database of networks.
#[derive(Debug)]
pub struct Networks {
    reader: Reader<Vec<u8>>,
}

/// A record, by the names that the makers of such databases use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    /// `AS64496`.
    asn: Option<&'a str>,
    #[serde(alias = "name")]
    as_name: Option<&'a str>,
}

impl Networks {
    /// Opens a database: every network and every record is walked once.
    ///
    /// # Errors
    /// If it is damaged, or no database of networks.
    pub fn open(bytes: Vec<u8>) -> Result<Self, NetworksError> {
        if bytes.len() > MAX_BYTES {
            return Err(NetworksError::TooLarge(bytes.len()));
        }
        let reader = Reader::from_source(bytes).map_err(NetworksError::Damaged)?;
        reader.verify().map_err(NetworksError::Damaged)?;
        let kind = &reader.metadata().database_type;
        if !kind.to_ascii_lowercase().contains("asn") {
            let shown = kind.chars().take(64).flat_map(char::escape_default).collect();
            return Err(NetworksError::OtherType(shown));
        }
        Ok(Self { reader })
    }

    /// The network that an address belongs to, if it is known.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Option<AutonomousSystem> {
        let record: Record<'_> = self.reader.lookup(ip.to_canonical()).ok()?.decode().ok()??;
        let told = record.asn.and_then(|text| text.trim_start_matches("AS").parse().ok());
        let number = record.autonomous_system_number.or(told)?;
        let name = record.autonomous_system_organization.or(record.as_name).unwrap_or_default();
        let mut scratch = String::new();
        let organization = NAME.keep(name, &mut scratch).to_owned();
        Some(AutonomousSystem { number, organization, hosting: is_hosting(number) })
    }

    /// What the database says of itself: its type, and when it was made (seconds since the epoch).
    #[must_use]
    pub fn described(&self) -> (&str, u64) {
        let metadata = self.reader.metadata();
        (&metadata.database_type, metadata.build_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_hosting_networks_is_whole_and_sorted_for_its_search() {
        let lines = include_str!("../../data/hosting-networks.txt").lines();
        assert_eq!(HOSTING.len(), lines.filter(|line| !line.starts_with('#')).count());
        assert!(HOSTING.is_sorted_by(|a, b| a < b));
        assert!(is_hosting(14061) && !is_hosting(3320));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&b""[..], b"no database", b"\xab\xcd\xefMaxMind.com", &[0xff; 4096]] {
            assert!(matches!(Networks::open(bytes.to_vec()), Err(NetworksError::Damaged(_))));
        }
    }
}
