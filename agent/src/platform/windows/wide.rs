//! Texts as the system takes and gives them: UTF-16 with a zero at the end.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt as _;

/// Longest text that is read back, in units.
const MAX_UNITS: usize = 32_768;

/// A text with a zero at its end.
///
/// # Errors
/// If it has a zero within: the system would read another text than was meant.
pub(super) fn wide(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = text.as_ref().encode_wide().collect();
    if units.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a zero in a name"));
    }
    units.push(0);
    Ok(units)
}

/// The text up to the first zero.
#[must_use]
pub(super) fn text(units: &[u16]) -> String {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(units.get(..end).unwrap_or_default())
}

/// The text at a place that the system gave.
///
/// # Safety
/// There has to be a zero within [`MAX_UNITS`], and all before it be readable; or the place be null.
pub(super) unsafe fn text_at(place: *const u16) -> String {
    if place.is_null() {
        return String::new();
    }
    let mut units = Vec::new();
    while units.len() < MAX_UNITS {
        // SAFETY: no zero was met so far, so this unit is readable.
        let unit = unsafe { *place.add(units.len()) };
        if unit == 0 {
            break;
        }
        units.push(unit);
    }
    String::from_utf16_lossy(&units)
}

/// How long a structure is, as the system wants to be told.
#[expect(clippy::cast_possible_truncation, reason = "no structure is that long")]
#[must_use]
pub(super) const fn length_of<T>() -> u32 {
    size_of::<T>() as u32
}

/// Whether a call of the system worked; else what it says.
///
/// # Errors
/// As the system says.
pub(super) fn check(worked: i32) -> io::Result<()> {
    if worked == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_there_and_back_and_a_zero_within_is_refused() {
        let units = wide("C:\\Straße\\\u{1f980}").unwrap();
        assert_eq!(units.last(), Some(&0));
        assert_eq!(text(&units), "C:\\Straße\\\u{1f980}");
        // SAFETY: the text ends with a zero.
        assert_eq!(unsafe { text_at(units.as_ptr()) }, "C:\\Straße\\\u{1f980}");
        assert!(wide("a\0b").is_err());
        assert_eq!(text(&[0xd800, 0x41]), "\u{fffd}A");
    }
}
