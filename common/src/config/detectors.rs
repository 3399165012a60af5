//! `[detectors]`: which of the three prongs are on.

use serde::{Deserialize, Serialize};

use crate::alert::Class;

/// The prongs, each with its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorSettings {
    /// Regular callbacks, of every class; long connections and strobes. Default true.
    pub beacons: bool,
    /// Destinations on the user's feeds. Default true.
    pub indicators: bool,
    /// Suspicious names, answers and resolvers. Default true.
    pub dns: bool,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { beacons: true, indicators: true, dns: true }
    }
}

impl DetectorSettings {
    /// Whether findings of a class are wanted.
    #[must_use]
    pub const fn admit(&self, class: Class) -> bool {
        match class {
            Class::Beacon
            | Class::ProcessBeacon
            | Class::Rotation
            | Class::InConnection
            | Class::Proxied
            | Class::DeadCallback
            | Class::DnsCallback
            | Class::IcmpCallback
            | Class::LongConnection
            | Class::Strobe => self.beacons,
            Class::Indicator => self.indicators,
            Class::GeneratedNames
            | Class::NxdomainBurst
            | Class::DnsTunnel
            | Class::ResolverBypass
            | Class::FastFlux
            | Class::Rebinding => self.dns,
        }
    }
}
