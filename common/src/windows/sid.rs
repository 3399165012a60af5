//! Security identifiers: bytes to text, and the integrity level that one of them is.

use std::fmt::Write as _;

use super::bytes::Bytes;

/// Sub-authorities that an identifier may have (winnt.h: `SID_MAX_SUB_AUTHORITIES`).
const MAX_PARTS: u8 = 15;
/// Authority of mandatory labels (winnt.h: `SECURITY_MANDATORY_LABEL_AUTHORITY`).
const LABEL_AUTHORITY: u64 = 16;

/// A security identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    parts: Vec<u32>,
}

impl Sid {
    /// Takes one from the front of bytes (MS-DTYP section 2.4.2.2): revision 1, count of parts, authority in the order of the
    /// wire, parts little-endian.
    pub fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut next = *bytes;
        let [revision, count] = next.array()?;
        if revision != 1 || count > MAX_PARTS {
            return None;
        }
        let [a, b, c, d, e, f] = next.array()?;
        let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let parts = (0..count).map(|_| next.u32()).collect::<Option<_>>()?;
        *bytes = next;
        Some(Self { authority, parts })
    }

    /// From bytes that hold one in front.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::take(&mut Bytes::new(bytes))
    }

    /// The level, if it is a mandatory label.
    #[must_use]
    pub fn integrity(&self) -> Option<Integrity> {
        let (LABEL_AUTHORITY, [level]) = (self.authority, self.parts.as_slice()) else { return None };
        Some(Integrity::of(*level))
    }
}

impl std::fmt::Display for Sid {
    /// `S-1-5-21-…`; an authority of more than 32 bits is written in hexadecimal (MS-DTYP section 2.4.2.1).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("S-1-")?;
        if self.authority >> 32 == 0 {
            write!(f, "{}", self.authority)?;
        } else {
            write!(f, "0x{:012x}", self.authority)?;
        }
        self.parts.iter().try_for_each(|part| {
            f.write_char('-')?;
            write!(f, "{part}")
        })
    }
}

/// How far the system trusts a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// Nothing at all: an anonymous or tightly caged process.
    Untrusted,
    /// A sandbox, such as a browser's.
    Low,
    /// An ordinary user.
    Medium,
    /// An administrator who was asked.
    High,
    /// The system and its services.
    System,
    /// A process that even the system protects.
    Protected,
}

impl Integrity {
    /// That of a label's last part (winnt.h: `SECURITY_MANDATORY_*_RID`); between two of them the lower one counts.
    #[must_use]
    pub const fn of(level: u32) -> Self {
        match level {
            0..0x1000 => Self::Untrusted,
            0x1000..0x2000 => Self::Low,
            0x2000..0x3000 => Self::Medium,
            0x3000..0x4000 => Self::High,
            0x4000..0x5000 => Self::System,
            _ => Self::Protected,
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::System => "system",
            Self::Protected => "protected",
        }
    }
}

/// The name of an account that every Windows has, in English whatever its language: so that a series keeps its user on hosts
/// of any language.
#[must_use]
pub fn well_known(sid: &str) -> Option<&'static str> {
    Some(match sid {
        "S-1-5-18" => r"NT AUTHORITY\SYSTEM",
        "S-1-5-19" => r"NT AUTHORITY\LOCAL SERVICE",
        "S-1-5-20" => r"NT AUTHORITY\NETWORK SERVICE",
        "S-1-5-7" => r"NT AUTHORITY\ANONYMOUS LOGON",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of an identifier.
    fn bytes(authority: [u8; 6], parts: &[u32]) -> Vec<u8> {
        let mut bytes = vec![1, u8::try_from(parts.len()).unwrap()];
        bytes.extend(authority);
        parts.iter().for_each(|part| bytes.extend(part.to_le_bytes()));
        bytes
    }

    #[test]
    fn an_identifier_is_written_as_windows_writes_it() {
        let sid = |authority, parts: &[u32]| Sid::read(&bytes(authority, parts)).unwrap();
        assert_eq!(sid([0, 0, 0, 0, 0, 5], &[18]).to_string(), "S-1-5-18");
        assert_eq!(
            sid([0, 0, 0, 0, 0, 5], &[21, 1, 4_294_967_295, 3, 1001]).to_string(),
            "S-1-5-21-1-4294967295-3-1001"
        );
        assert_eq!(sid([1, 2, 3, 4, 5, 6], &[]).to_string(), "S-1-0x010203040506");
        assert_eq!(well_known("S-1-5-18"), Some(r"NT AUTHORITY\SYSTEM"));
    }

    #[test]
    fn a_label_is_a_level_and_nothing_else_is() {
        let label = |parts: &[u32]| Sid::read(&bytes([0, 0, 0, 0, 0, 16], parts)).unwrap().integrity();
        assert_eq!(label(&[0x2000]), Some(Integrity::Medium));
        assert_eq!(label(&[0x2100]), Some(Integrity::Medium), "medium plus");
        assert_eq!(label(&[0x4000]), Some(Integrity::System));
        assert_eq!(label(&[0x2000, 1]), None);
        assert_eq!(Sid::read(&bytes([0, 0, 0, 0, 0, 5], &[0x2000])).unwrap().integrity(), None);
        assert_eq!(Integrity::High.as_str(), "high");
    }

    #[test]
    fn what_is_cut_or_of_another_revision_is_none_and_takes_nothing() {
        let whole = bytes([0, 0, 0, 0, 0, 5], &[21, 7]);
        for length in 0..whole.len() {
            let mut cut = Bytes::new(&whole[..length]);
            assert_eq!(Sid::take(&mut cut), None);
            assert_eq!(cut.rest().len(), length);
        }
        let mut other = whole.clone();
        other[0] = 2;
        assert_eq!(Sid::read(&other), None);
        let mut long = whole;
        long[1] = 16;
        long.extend([0; 64]);
        assert_eq!(Sid::read(&long), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(sid) = Sid::read(&data) {
                prop_assert!(sid.to_string().starts_with("S-1-") && sid.parts.len() <= 15);
            }
        }
    }
}
