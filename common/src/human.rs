//! Figures as people read them: a unit behind each, no more digits than matter.
//!
//! A minus or a value that is no number never reaches a reader: it is shown as `-`.

use crate::time::{NANOS_PER_SEC, Timestamp};

/// Shown where nothing is known.
pub const UNKNOWN: &str = "-";

/// An interval: `530 ms`, `60.0 s`, `31.0 min`, `4.0 h`, `2.5 d`.
#[must_use]
pub fn interval(secs: f64) -> String {
    if !secs.is_finite() || secs <= 0.0 {
        UNKNOWN.to_owned()
    } else if secs < 0.9995 {
        format!("{:.0} ms", secs * 1e3)
    } else if secs < 120.0 {
        format!("{secs:.1} s")
    } else if secs < 7_200.0 {
        format!("{:.1} min", secs / 60.0)
    } else if secs < 172_800.0 {
        format!("{:.1} h", secs / 3_600.0)
    } else {
        format!("{:.1} d", secs / 86_400.0)
    }
}

/// A ratio in percent without its sign: `12`, `0.4`, `0`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if !percent.is_finite() || percent < 0.0 {
        UNKNOWN.to_owned()
    } else if percent < 0.05 {
        "0".to_owned()
    } else if percent < 0.95 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.0}")
    }
}

/// A span of time in its two largest units, cut: `45 s`, `9 min 5 s`, `34 min`, `2 h 10 min`, `12 d 4 h`.
#[must_use]
pub fn span(secs: u64) -> String {
    let (whole, unit, rest, rest_unit) = match secs {
        0..60 => (secs, "s", 0, ""),
        60..600 => (secs / 60, "min", secs % 60, "s"),
        600..3_600 => (secs / 60, "min", 0, ""),
        3_600..86_400 => (secs / 3_600, "h", secs % 3_600 / 60, "min"),
        _ => (secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    };
    if rest == 0 { format!("{whole} {unit}") } else { format!("{whole} {unit} {rest} {rest_unit}") }
}

/// How long before `now` something was.
#[must_use]
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    match u64::try_from(now.since(then) / NANOS_PER_SEC) {
        Ok(0) => "just now".to_owned(),
        Ok(secs) => format!("{} ago", span(secs)),
        Err(_) => "in the future: the clock was set".to_owned(),
    }
}

/// A count in full, its thousands apart: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with what is counted: `1 time`, `1,234 times`.
#[must_use]
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A count in at most six characters: `999`, `45.1 k`, `5.1 M`.
#[must_use]
pub fn short_count(value: u64) -> String {
    scaled(value, 1000, &["", " k", " M", " G", " T", " P", " E"])
}

/// Bytes in binary units: `999 B`, `12.4 MiB`, `1.2 GiB`.
#[must_use]
pub fn bytes(value: u64) -> String {
    scaled(value, 1024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// One decimal, cut: a figure never shows more than was reached.
fn scaled(value: u64, base: u64, units: &[&str]) -> String {
    let (mut unit, mut size) = (0, 1);
    while value / size >= base && unit + 1 < units.len() {
        size *= base;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    let (whole, part) = (value / size, value % size);
    // Widened: the largest unit times ten does not fit 64 bits.
    let tenth = u128::from(part) * 10 / u128::from(size);
    if unit == 0 || whole >= 100 { format!("{whole}{name}") } else { format!("{whole}.{tenth}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_has_the_unit_that_reads_best() {
        for (secs, text) in [
            (0.53, "530 ms"),
            (0.9999, "1.0 s"),
            (5.0614, "5.1 s"),
            (60.0212, "60.0 s"),
            (119.9, "119.9 s"),
            (120.0, "2.0 min"),
            (1861.4, "31.0 min"),
            (14_401.0, "4.0 h"),
            (216_000.0, "2.5 d"),
            (0.0, "-"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(interval(secs), text, "{secs}");
        }
    }

    #[test]
    fn percent_shows_small_jitter_but_no_false_precision() {
        for (ratio, text) in [
            (0.0, "0"),
            (0.0004, "0"),
            (0.0041, "0.4"),
            (0.0096, "1"),
            (0.123, "12"),
            (1.7, "170"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
    }

    #[test]
    fn span_is_cut_to_two_units() {
        for (secs, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (545, "9 min 5 s"),
            (2_099, "34 min"),
            (7_200, "2 h"),
            (7_801, "2 h 10 min"),
            (1_051_200, "12 d 4 h"),
        ] {
            assert_eq!(span(secs), text, "{secs}");
        }
    }

    #[test]
    fn counts_and_bytes_never_show_more_than_was_reached() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "time", "times"), "1 time");
        assert_eq!(counted(0, "time", "times"), "0 times");
        assert_eq!(short_count(999), "999");
        assert_eq!(short_count(45_190), "45.1 k");
        assert_eq!(short_count(999_999), "999 k");
        assert_eq!(short_count(5_120_000), "5.1 M");
        assert_eq!(short_count(u64::MAX), "18.4 E");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(134_217_728), "128 MiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
    }
}
