//! `[limits]`: how much Sonde may use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::amount::{Whole, in_units, parse_amount};

/// How much Sonde may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory for detection state: connections, names, sightings and series of all hosts together. Default 64 MiB, at least
    /// 4 MiB, at most 64 GiB; a number of bytes or text such as "128 MiB". What does not fit is evicted by value, so that
    /// beacons that are being followed stay followed.
    pub memory: MemorySize,
    /// Events that the live sensor holds back, so that those of several sources meet in the order of time. Default 65,536,
    /// from 1,024 to 1,048,576; an event takes some 200 bytes. It holds them for a quarter of a second; what comes in
    /// excess is lost, counted, and told of as a gap.
    pub held_events: HeldEvents,
    /// Processor time that the live sensor may take, in percent of one processor, over half a minute. Default 25, from 1 to
    /// 100. Above it work is put off that it can do without (`sonde status` says which); events are never skipped for it.
    pub cpu_percent: CpuPercent,
}

/// Events held back.
pub type HeldEvents = Whole<65_536, 1_024, 1_048_576>;
/// Percent of one processor.
pub type CpuPercent = Whole<25, 1, 100>;

/// An amount of memory between 4 MiB and 64 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize(usize);

const MIN_MEMORY: u64 = 4 << 20;
const MAX_MEMORY: u64 = 64 << 30;
/// Share of the memory that goes to connection tracking, as a divisor; the rest is for detection.
const TRACKING_SHARE: usize = 4;

impl MemorySize {
    /// The whole amount, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }

    /// The part for connection tracking, in bytes.
    #[must_use]
    pub const fn tracking_bytes(self) -> usize {
        self.0 / TRACKING_SHARE
    }

    /// The part for names, sightings and series, in bytes.
    #[must_use]
    pub const fn detection_bytes(self) -> usize {
        self.0 - self.tracking_bytes()
    }
}

impl Default for MemorySize {
    fn default() -> Self {
        Self(64 << 20)
    }
}

/// An amount of memory that is none, or out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemorySizeError {
    /// Not an amount.
    #[error("`{0}` is not an amount of memory (such as \"64 MiB\", \"1 GiB\" or a number of bytes)")]
    Unreadable(String),
    /// Too little or too much.
    #[error("{0} bytes is out of range: from 4 MiB to 64 GiB")]
    OutOfRange(u64),
}

impl TryFrom<u64> for MemorySize {
    type Error = MemorySizeError;

    fn try_from(bytes: u64) -> Result<Self, MemorySizeError> {
        let fits = usize::try_from(bytes).ok().filter(|_| (MIN_MEMORY..=MAX_MEMORY).contains(&bytes));
        fits.map(Self).ok_or(MemorySizeError::OutOfRange(bytes))
    }
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    fn from_str(text: &str) -> Result<Self, MemorySizeError> {
        let unreadable = || MemorySizeError::Unreadable(text.chars().take(40).collect());
        Self::try_from(parse_amount(text).ok_or_else(unreadable)?)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = MemorySize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory such as \"64 MiB\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MemorySize, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<MemorySize, E> {
                self.visit_u64(u64::try_from(bytes).unwrap_or(0))
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<MemorySize, E> {
                MemorySize::try_from(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for MemorySize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&in_units(self.0 as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn memory_is_read_with_and_without_unit_and_checked() {
        let memory = |text: &str| Config::parse(text, &[]).map(|config| config.limits.memory.bytes());
        assert_eq!(memory(""), Ok(64 << 20));
        assert_eq!(memory("[limits]\nmemory = \"128 MiB\""), Ok(128 << 20));
        assert_eq!(memory("[limits]\nmemory = 8388608"), Ok(8 << 20));
        for bad in ["\"1 KiB\"", "\"lots\"", "-5", "\"99999999999999999999\"", "\"9999999999 GiB\"", "1.5"] {
            assert!(memory(&format!("[limits]\nmemory = {bad}")).is_err(), "{bad}");
        }
    }
}
