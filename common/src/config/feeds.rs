//! `[feeds]`: where lists of known-bad infrastructure are.

use serde::{Deserialize, Serialize};

use super::text::Place;

/// Feeds, and what names networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// Files and folders of feeds, absolute. Default none.
    pub paths: Vec<Place>,
    /// Database of networks (MaxMind's format, ASN), absolute. Default "": none.
    pub asn_database: Place,
}
