//! Times as portals, workspaces and spreadsheets write them. UTC unless an offset stands: that is what Defender records, and
//! an export in local time does not say which.

use crate::format::fields::date_time;
use crate::time::Timestamp;

/// A time: the forms of [`date_time`], and those that browsers and spreadsheets make of them (`Jan 5, 2026 3:04:05 PM`,
/// `1/5/2026, 3:04:05.123 PM`, `5.1.2026 15:04:05`). With slashes the month comes first; a day-first export is not told
/// from it and loses the rows whose day is no month, rather than have two orders in one file.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if matches!(text.as_bytes(), [a, _, _, _, b'-', ..] if a.is_ascii_digit()) {
        return date_time(text).or_else(|| {
            let bare = ["UTC", "GMT"].iter().find_map(|zone| text.strip_suffix(zone))?;
            date_time(bare)
        });
    }
    spoken(text)
}

/// Parts of a time, in whatever order they were written.
#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    clock: Option<(i8, i8, i8, i32)>,
    afternoon: Option<bool>,
    offset_secs: Option<i64>,
}

fn spoken(text: &str) -> Option<Timestamp> {
    /// More words than any of these forms has.
    const WORDS: usize = 8;
    let mut parts = Parts::default();
    // Browsers put a narrow no-break space before AM and PM, which is white space too.
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    for (count, word) in words.enumerate() {
        if count == WORDS {
            return None;
        }
        parts.take(word)?;
    }
    let (hour, minute, second, nanos) = parts.clock?;
    let hour = match parts.afternoon {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    let civil =
        jiff::civil::DateTime::new(parts.year?, parts.month?, parts.day?, hour, minute, second, nanos)
            .ok()?;
    let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let nanos = i64::try_from(time.as_nanosecond()).ok()?;
    let offset = parts.offset_secs.unwrap_or(0).checked_mul(crate::time::NANOS_PER_SEC)?;
    Some(Timestamp::from_nanos(nanos.checked_sub(offset)?))
}

impl Parts {
    /// Adds one word; `None` if it is none that a time has, or a second of its kind.
    fn take(&mut self, word: &str) -> Option<()> {
        if word.starts_with(['+', '-']) {
            return set(&mut self.offset_secs, offset(word)?);
        }
        if word.contains(':') {
            let end = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let (digits, rest) = word.split_at(end);
            set(&mut self.clock, clock(digits)?)?;
            return if rest.is_empty() { Some(()) } else { self.take(rest) };
        }
        if word.contains('/') {
            return self.date(word, '/');
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return if word.contains('.') { self.date(word, '.') } else { self.number(word) };
        }
        if matches!(word, "UTC" | "GMT" | "Z") {
            return set(&mut self.offset_secs, 0);
        }
        for (spoken, afternoon) in [("am", false), ("a.m.", false), ("pm", true), ("p.m.", true)] {
            if word.eq_ignore_ascii_case(spoken) {
                return set(&mut self.afternoon, afternoon);
            }
        }
        set(&mut self.month, month(word)?)
    }

    /// `1/5/2026` (month first), `5.1.2026` (day first) or `2026/1/5`.
    fn date(&mut self, word: &str, separator: char) -> Option<()> {
        let mut parts = word.split(separator);
        let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
        let (year, month, day) = match () {
            () if parts.next().is_some() => return None,
            () if a.len() == 4 => (a, b, c),
            () if separator == '/' => (c, a, b),
            () => (c, b, a),
        };
        if year.len() != 4 {
            return None;
        }
        set(&mut self.year, year.parse().ok()?)?;
        set(&mut self.month, month.parse().ok()?)?;
        set(&mut self.day, day.parse().ok()?)
    }

    /// The day or the year beside the name of a month.
    fn number(&mut self, word: &str) -> Option<()> {
        match word.len() {
            1 | 2 => set(&mut self.day, word.parse().ok()?),
            4 => set(&mut self.year, word.parse().ok()?),
            _ => None,
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// `3:04`, `15:04:05`, `3:04:05.1234567`.
fn clock(text: &str) -> Option<(i8, i8, i8, i32)> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    if parts.next().is_some() {
        return None;
    }
    let (second, decimals) = second.split_once('.').unwrap_or((second, ""));
    let mut nanos = 0;
    let mut scale = 1_000_000_000;
    for digit in decimals.bytes() {
        scale /= 10;
        nanos += i32::from(digit.is_ascii_digit().then(|| digit - b'0')?) * scale;
    }
    Some((hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, nanos))
}

/// `+02:00`, `-0500`.
fn offset(word: &str) -> Option<i64> {
    let (sign, digits) = word.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten().map(i64::from);
    let seconds = number(hours)? * 3600 + number(minutes)? * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

/// The number of a month from its English name, long or short.
fn month(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.strip_suffix('.').unwrap_or(word);
    let begins = |name: &str| name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let at = MONTHS.iter().position(|name| word.len() >= 3 && begins(name))?;
    i8::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_a_portal_is_read_as_the_same_moment() {
        let whole: Timestamp = "2026-01-05T15:04:05Z".parse().unwrap();
        for text in [
            "2026-01-05T15:04:05Z",
            "2026-01-05T15:04:05.0000000Z",
            "2026-01-05 15:04:05",
            "2026-01-05 15:04:05 UTC",
            "2026-01-05T17:04:05+02:00",
            "Jan 5, 2026 3:04:05 PM",
            "Jan 5, 2026 3:04:05\u{202f}PM",
            "Jan 5, 2026, 3:04:05 pm",
            "January 5, 2026 15:04:05",
            "5 Jan. 2026 15:04:05 GMT",
            "1/5/2026, 3:04:05.000 PM",
            "1/5/2026 3:04:05PM",
            "01/05/2026 15:04:05",
            "1/5/2026 5:04:05 PM +02:00",
            "1/5/2026 10:04:05 AM -0500",
            "5.1.2026 15:04:05",
            "05.01.2026, 15:04:05",
            "2026/1/5 15:04:05",
        ] {
            assert_eq!(read(text), Some(whole), "{text}");
        }
        assert_eq!(read("1/5/2026, 3:04:05.1234567 PM"), Some(whole.plus_nanos(123_456_700)));
        assert_eq!(read("1/5/2026 15:04"), Some(whole.plus_nanos(-5_000_000_000)));
        assert_eq!(read("1/5/2026 12:00:00 AM"), "2026-01-05T00:00:00Z".parse().ok());
        assert_eq!(read("1/5/2026 12:00:00 PM"), "2026-01-05T12:00:00Z".parse().ok());
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "now",
            "13/1/2026 10:00",
            "1/5/26 10:00",
            "1/5/2026",
            "10:00",
            "1/5/2026 13:00 PM",
            "1/5/2026 0:00 AM",
            "Foo 5, 2026 10:00",
            "Jan 5, 2026 10:00 11:00",
            "1/5/2026 10:00 +2",
            "2/30/2026 10:00",
            "1.2.3.2026 10:00",
            "1/5/2026 10:00:61",
            "1/5/2026 10:00 1 2 3 4 5 6 7",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_returns(text in "\\PC*") {
            let _ = read(&text);
        }

        #[test]
        fn any_near_time_returns(text in "[0-9/:., +\\-APMJan]{0,40}") {
            let _ = read(&text);
        }
    }
}
