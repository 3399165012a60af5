//! `[feeds]`: where lists of known-bad infrastructure are.

use serde::{Deserialize, Serialize};

use super::amount::{Bytes, Whole};
use super::text::Place;

/// Feeds, and what names networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// Files and folders of feeds, absolute. Default none.
    pub paths: Vec<Place>,
    /// Memory for what they hold, beside `limits.memory`. Default 256 MiB, from 1 MiB to 16 GiB; some 60 bytes for each
    /// indicator. What does not fit is refused, counted and told. While feeds are read anew, the old ones stay in use, and it
    /// takes up to three times as much.
    pub memory: FeedMemory,
    /// Seconds between two looks at the files of the live sensor. Default 30, from 1 to 86,400. A file is read once it has
    /// been the same for two looks: one that is being written is left alone.
    pub check_secs: FeedCheck,
    /// Database of networks (MaxMind's format, ASN), absolute. Default "": none.
    pub asn_database: Place,
}

/// Memory for indicators.
pub type FeedMemory = Bytes<{ 256 << 20 }, { 1 << 20 }, { 16 << 30 }>;
/// Seconds between two looks at the files.
pub type FeedCheck = Whole<30, 1, 86_400>;
