//! Texts of log fields to values, shared by all readers. Each answers `None` to what it cannot read; the reader knows the
//! field's name and says so.

use std::net::IpAddr;

use crate::time::{NANOS_PER_SEC, Timestamp};

/// Seconds since the epoch with up to nine decimals (`1672843056.913119`, also `-1.5` and `1.6e9`); exact, since a float of
/// seconds would lose the microseconds that timing lives on. Digits beyond the ninth are dropped.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return scientific(text);
    }
    if whole.is_empty() || (fraction.is_empty() && digits.ends_with('.')) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let mut nanos = 0;
    let mut scale = NANOS_PER_SEC;
    for digit in fraction.bytes().take(9) {
        scale /= 10;
        nanos += i64::from(digit - b'0') * scale;
    }
    let value = whole.checked_mul(NANOS_PER_SEC)?.checked_add(nanos)?;
    Some(if negative { -value } else { value })
}

/// The form with an exponent, which some JSON writers choose for large and small numbers.
fn scientific(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let nanos = number * 1e9;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked, and the fraction is below a nanosecond"
    )]
    (nanos.abs() < 9e18).then_some(nanos as i64)
}

/// Seconds since the epoch as a moment; as [`seconds`].
#[must_use]
pub fn epoch(text: &str) -> Option<Timestamp> {
    seconds(text).map(Timestamp::from_nanos)
}

/// A date and time: RFC 3339 with any number of decimals, `T` or a space between date and time, and UTC where no offset
/// stands (as Sysmon, Windows and Kusto write it).
#[must_use]
pub fn date_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    quick(text.as_bytes()).or_else(|| {
        // Everything that is not the common form: offsets, lower case, commas.
        let text = text.replacen(',', ".", 1);
        if let Ok(time) = text.parse() {
            return Some(time);
        }
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
    })
}

/// `YYYY-MM-DD[T ]hh:mm:ss[.decimals][Z]`, which nearly every row has.
fn quick(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let number = |at: std::ops::Range<usize>| {
        head.get(at)?
            .iter()
            .try_fold(0i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, c)| head.get(at) != Some(&c))
        || !matches!(head.get(10), Some(b'T' | b' '))
    {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let mut nanos = 0;
    if let Some((b'.', decimals)) = rest.split_first() {
        let mut scale = NANOS_PER_SEC;
        for b in decimals {
            scale /= 10;
            nanos += i64::from(b.is_ascii_digit().then(|| b - b'0')?) * scale;
        }
        if decimals.is_empty() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    // What nanoseconds in an `i64` can hold, to the year: 1677 to 2262.
    if !(1678..=2261).contains(&year) {
        return None;
    }
    // Days since the epoch, with years that begin in March (Hinnant, "chrono-compatible low-level date algorithms").
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    Some(Timestamp::from_secs_nanos(((days * 24 + hour) * 60 + minute) * 60 + second, nanos))
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// An address, also in brackets, with a zone (`fe80::1%12`) or as IPv4 in IPv6 (`::ffff:10.0.0.1`), which becomes IPv4.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// A port.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok()
}

/// A count of bytes or packets.
#[must_use]
pub fn count(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The host of a URL, of `host:port` or of a bare name: without scheme, user, port and path; empty if there is none.
#[must_use]
pub fn url_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seconds_are_exact_to_the_nanosecond() {
        assert_eq!(seconds("1672843056.913119"), Some(1_672_843_056_913_119_000));
        assert_eq!(seconds("0.000000001"), Some(1));
        assert_eq!(seconds("-1.5"), Some(-1_500_000_000));
        assert_eq!(seconds("19"), Some(19_000_000_000));
        assert_eq!(seconds("0.06416988372802734"), Some(64_169_883));
        assert_eq!(seconds("1e3"), Some(1_000_000_000_000));
        for bad in ["", "-", ".", "1.", "x", "1.2.3", "nan", "inf", "99999999999999999999", "1e300", "+"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_read_in_the_forms_that_logs_have() {
        let expected = Some(Timestamp::from_secs_nanos(1_596_810_742, 751_000_000));
        for text in [
            "2020-08-07 14:32:22.751",
            "2020-08-07T14:32:22.751Z",
            "2020-08-07T14:32:22.7510000Z",
            "2020-08-07T14:32:22.751000+00:00",
            "2020-08-07T16:32:22.751+02:00",
            "2020-08-07T14:32:22.751000+0000",
            " 2020-08-07 14:32:22,751 ",
        ] {
            assert_eq!(date_time(text), expected, "{text}");
        }
        for bad in [
            "9999-01-01 00:00:00",
            "0001-01-01T00:00:00Z",
            "",
            "2020",
            "2020-13-01T00:00:00Z",
            "2020-02-30 00:00:00",
            "2020-01-01T25:00:00Z",
            "today",
        ] {
            assert_eq!(date_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_lose_zone_brackets_and_mapping() {
        assert_eq!(address("fe80::1%12"), "fe80::1".parse().ok());
        assert_eq!(address("[2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(address("::ffff:10.0.0.1"), "10.0.0.1".parse().ok());
        assert_eq!(address("0:0:0:0:0:0:0:1"), "::1".parse().ok());
        assert_eq!(address("10.0.0"), None);
    }

    #[test]
    fn the_host_of_a_url_is_found_in_all_its_forms() {
        for (url, host) in [
            ("https://user@a.example:8443/x?y#z", "a.example"),
            ("a.example", "a.example"),
            ("a.example:443", "a.example"),
            ("a.example/path:x", "a.example"),
            ("http://[2001:db8::1]:80/", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(url_host(url), host, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_into_any_field_returns(text in "\\PC*") {
            let _ = (seconds(&text), date_time(&text), address(&text), port(&text), count(&text), url_host(&text).len());
        }

        #[test]
        fn the_quick_reader_of_dates_agrees_with_the_thorough_one(nanos in 0i64..4_000_000_000_000_000_000) {
            let time = Timestamp::from_nanos(nanos);
            let text = time.to_string();
            prop_assert_eq!(quick(text.as_bytes()), Some(time));
            prop_assert_eq!(text.parse().ok(), Some(time));
        }
    }
}
