//! Numbers that check themselves: amounts of bytes and whole numbers, each with its default and range in its type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of bytes: a number, or text with a unit (KiB, MiB, GiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes<const DEFAULT: u64, const LEAST: u64, const MOST: u64>(u64);

impl<const DEFAULT: u64, const LEAST: u64, const MOST: u64> Bytes<DEFAULT, LEAST, MOST> {
    /// The amount, in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount as a size in memory.
    #[must_use]
    pub fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const DEFAULT: u64, const LEAST: u64, const MOST: u64> Default for Bytes<DEFAULT, LEAST, MOST> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: u64, const LEAST: u64, const MOST: u64> Serialize for Bytes<DEFAULT, LEAST, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&in_units(self.0))
    }
}

impl<'de, const DEFAULT: u64, const LEAST: u64, const MOST: u64> Deserialize<'de>
    for Bytes<DEFAULT, LEAST, MOST>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(Amount)?;
        if (LEAST..=MOST).contains(&value) {
            return Ok(Self(value));
        }
        let range = format!("from {} to {}", in_units(LEAST), in_units(MOST));
        Err(D::Error::custom(format_args!("{value} bytes is out of range: {range}")))
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const DEFAULT: u32, const LEAST: u32, const MOST: u32>(u32);

impl<const DEFAULT: u32, const LEAST: u32, const MOST: u32> Whole<DEFAULT, LEAST, MOST> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const DEFAULT: u32, const LEAST: u32, const MOST: u32> Default for Whole<DEFAULT, LEAST, MOST> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: u32, const LEAST: u32, const MOST: u32> Serialize for Whole<DEFAULT, LEAST, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de, const DEFAULT: u32, const LEAST: u32, const MOST: u32> Deserialize<'de>
    for Whole<DEFAULT, LEAST, MOST>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number::<LEAST, MOST>(PhantomData)).map(Self)
    }
}

struct Number<const LEAST: u32, const MOST: u32>(PhantomData<()>);

impl<const LEAST: u32, const MOST: u32> Visitor<'_> for Number<LEAST, MOST> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {LEAST} to {MOST}")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u32, E> {
        let fits = u32::try_from(value).ok().filter(|value| (LEAST..=MOST).contains(value));
        fits.ok_or_else(|| E::custom(format_args!("{value} is out of range: from {LEAST} to {MOST}")))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u32, E> {
        self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

struct Amount;

impl Visitor<'_> for Amount {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of bytes such as \"4 MiB\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        let shown: String = text.chars().take(40).collect();
        let say = "is not an amount of bytes (such as \"4 MiB\" or a number)";
        parse_amount(text).ok_or_else(|| E::custom(format_args!("`{shown}` {say}")))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::custom(format_args!("{value} bytes is less than nothing")))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }
}

/// A text such as `64 MiB` in bytes; more than 64 bits hold is the most that they do.
pub(super) fn parse_amount(text: &str) -> Option<u64> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at_checked(digits)?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" | "K" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(number.saturating_mul(1 << shift))
}

/// An amount in the largest unit that gives it in full.
pub(super) fn in_units(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Table {
        ring: Option<Bytes<4096, 1024, 1_048_576>>,
        count: Option<Whole<5, 1, 10>>,
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 5 << 20, 64 << 30, u64::MAX] {
            assert_eq!(parse_amount(&in_units(bytes)), Some(bytes), "{}", in_units(bytes));
        }
        assert_eq!(in_units(64 << 20), "64 MiB");
        assert_eq!(in_units(1025), "1025 B");
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range_and_its_place() {
        let good: Table = toml::from_str("ring = \"64 KiB\"\ncount = 10").unwrap();
        assert_eq!((good.ring.unwrap().get(), good.count.unwrap().get()), (65_536, 10));
        for (text, wanted) in [
            ("ring = 1023", "from 1 KiB to 1 MiB"),
            ("ring = \"2 MiB\"", "from 1 KiB to 1 MiB"),
            ("ring = \"much\"", "is not an amount"),
            ("ring = -1", "less than nothing"),
            ("ring = \"99999999999999999999 GiB\"", "is not an amount"),
            ("count = 0", "from 1 to 10"),
            ("count = -1", "from 1 to 10"),
            ("count = \"3\"", "a whole number from 1 to 10"),
            ("count = 2.5", "a whole number from 1 to 10"),
        ] {
            let error = toml::from_str::<Table>(&format!("\n{text}")).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("line 2"), "{text}: {error}");
        }
    }
}
