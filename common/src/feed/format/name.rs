//! Domain names as feeds write them, to the one spelling that is looked up: lower case, ASCII, no dot at the end.
//!
//! Names beyond ASCII are lower-cased and written in Punycode (RFC 3492). That is less than UTS 46 does: names are taken
//! to be in the composed form (NFC), as registries hold them.

use std::borrow::Cow;

use crate::text::is_plain;

/// Longest name (RFC 1035 section 3.1, without the root's length byte).
const MAX_NAME: usize = 253;
/// Longest label (RFC 1035 section 3.1).
const MAX_LABEL: usize = 63;

/// The name in its one spelling; `None` if it is none. `.`, `*.` in front is the caller's business.
pub(super) fn normal(text: &str) -> Option<Box<str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let text: Cow<'_, str> = if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(to_ascii(text)?) };
    if text.is_empty() || text.len() > MAX_NAME {
        return None;
    }
    let mut last = "";
    for label in text.split('.') {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if label.is_empty() || label.len() > MAX_LABEL || !label.bytes().all(fits) {
            return None;
        }
        last = label;
    }
    // No top-level domain begins with a digit: this is an address that is none, or a number.
    if !last.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let mut name = text.into_owned();
    name.make_ascii_lowercase();
    Some(name.into_boxed_str())
}

fn to_ascii(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 16);
    // The ideographic full stops part labels, too (RFC 3490 section 3.1).
    for (nth, label) in text.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']).enumerate() {
        if nth > 0 {
            out.push('.');
        }
        if label.is_ascii() {
            out.push_str(label);
            continue;
        }
        let lower: Vec<char> = label.chars().flat_map(char::to_lowercase).take(MAX_LABEL + 1).collect();
        let wrong = |c: &char| !is_plain(*c) || c.is_whitespace() || *c == '\u{fffd}';
        if lower.len() > MAX_LABEL || lower.iter().any(wrong) {
            return None;
        }
        out.push_str("xn--");
        punycode(&lower, &mut out)?;
    }
    Some(out)
}

/// Appends the label in Punycode (RFC 3492 section 6.3).
fn punycode(label: &[char], out: &mut String) -> Option<()> {
    const BASE: u32 = 36;
    const T_MIN: u32 = 1;
    const T_MAX: u32 = 26;
    const SKEW: u32 = 38;
    const DAMP: u32 = 700;
    let basic = label.iter().filter(|c| c.is_ascii()).count();
    out.extend(label.iter().filter(|c| c.is_ascii()));
    if basic > 0 {
        out.push('-');
    }
    let digit = |value: u32| char::from_digit(if value < 26 { value + 10 } else { value - 26 }, BASE);
    let (mut n, mut delta, mut bias) = (0x80u32, 0u32, 72u32);
    let mut handled = u32::try_from(basic).ok()?;
    let total = u32::try_from(label.len()).ok()?;
    while handled < total {
        let next = label.iter().map(|c| u32::from(*c)).filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in label.iter().map(|c| u32::from(*c)) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c != n {
                continue;
            }
            let mut q = delta;
            let mut k = BASE;
            loop {
                let t = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                if q < t {
                    break;
                }
                out.push(digit(t + (q - t) % (BASE - t))?);
                q = (q - t) / (BASE - t);
                k += BASE;
            }
            out.push(digit(q)?);
            // RFC 3492 section 6.1.
            let first = u32::try_from(basic).ok()? == handled;
            let mut d = if first { delta / DAMP } else { delta / 2 };
            d += d / (handled + 1);
            let mut k = 0;
            while d > ((BASE - T_MIN) * T_MAX) / 2 {
                d /= BASE - T_MIN;
                k += BASE;
            }
            bias = k + (BASE - T_MIN + 1) * d / (d + SKEW);
            delta = 0;
            handled += 1;
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for (text, expected) in [
            ("Bad.Example.", "bad.example"),
            ("_dns.bad.example", "_dns.bad.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            // Examples of RFC 3492 section 7.1 (B) and of registries.
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("他们为什么不说中文.example", "xn--ihqwcrb4cv8a8dqg056pqjye.example"),
            ("пример。испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("münchen.de", "xn--mnchen-3ya.de"),
        ] {
            assert_eq!(normal(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_has_no_spelling() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = format!("{}example", "a.".repeat(130));
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "a b.example",
            "1.2.3.4",
            "1.2.3",
            "bad.example/",
            "a@b.example",
            "x.1",
            "a\u{202e}.example",
            "a\u{fffd}.example",
            "bad.example:80",
            "%41.example",
            &long,
            &longer,
        ] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }
}
