//! How generated a name looks: its letters beside those of names that people chose.
//!
//! The model is a table of what each symbol costs, in bits, after the two before it, learnt from two public-domain lists
//! by `scripts/train-names`. It knows no generator: it only says how unlike ordinary names a name is.

/// What `scripts/train-names` made; its head describes the layout.
static MODEL: &[u8] = include_bytes!("../../../data/name-model.bin");

/// Bytes before the costs: kind and version of the file.
const HEAD: usize = 8;
/// Start or end of a label, 26 letters, ten digits, the hyphen.
const SYMBOLS: usize = 38;
/// Where the evidence of means begins, and how many there are.
const EVIDENCE: usize = HEAD + SYMBOLS * SYMBOLS * SYMBOLS;
const MEANS: usize = 61;
/// … and where the shares begin.
const SHARES: usize = EVIDENCE + 2 * MEANS;
/// The file's length.
const LENGTH: usize = SHARES + 2 * 3;

/// Costs are in sixteenths of a bit.
const COSTS_PER_BIT: f64 = 16.0;
/// Bits per symbol of an ordinary name, about: what a score counts from (scorer specification 6).
const CENTRE: f64 = 4.0;
/// A name counts for so much at most, either way: one that is odd enough must not speak for all.
const LOWEST: f64 = -3.0;
const HIGHEST: f64 = 12.0;
/// Means of the table are so far apart.
const STEP: f64 = 0.25;
/// A label has at most so many bytes (RFC 1035 section 3.1).
const MAX_LABEL: usize = 63;
/// Shorter names take turns of vowel and consonant too easily.
const MIN_TURNS: usize = 6;

/// What is kept of how a name looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// (mean bits per symbol − 4) × √length, within −3 and 12: 0 or less is ordinary; of 1,000 ordinary names one exceeds 10.
    pub score: f64,
    /// Characters.
    pub length: u8,
    /// Vowels and consonants take turns from end to end; `None` for a label too short to say.
    pub alternates: Option<bool>,
}

/// How a label looks. `None` for what the model cannot judge: labels of international names, which are spelt for
/// machines (`xn--`, RFC 5890), and such with other characters than host names have.
#[must_use]
pub fn look(label: &str) -> Option<Look> {
    if label.is_empty() || label.len() > MAX_LABEL || label.starts_with("xn--") {
        return None;
    }
    let (mut before, mut last, mut costs) = (0, 0, 0_u32);
    for byte in label.bytes() {
        let symbol = symbol(byte)?;
        costs += cost(before, last, symbol);
        (before, last) = (last, symbol);
    }
    costs += cost(before, last, 0);
    let length = u8::try_from(label.len()).ok()?;
    let bits = f64::from(costs) / COSTS_PER_BIT / f64::from(length + 1);
    let score = ((bits - CENTRE) * f64::from(length).sqrt()).clamp(LOWEST, HIGHEST);
    Some(Look { score, length, alternates: (label.len() >= MIN_TURNS).then(|| alternates(label)) })
}

fn symbol(byte: u8) -> Option<usize> {
    match byte {
        b'a'..=b'z' => Some(usize::from(byte - b'a') + 1),
        b'0'..=b'9' => Some(usize::from(byte - b'0') + 27),
        b'-' => Some(37),
        _ => None,
    }
}

fn cost(before: usize, last: usize, symbol: usize) -> u32 {
    MODEL.get(HEAD + (before * SYMBOLS + last) * SYMBOLS + symbol).copied().unwrap_or(u8::MAX).into()
}

/// Whether vowels and consonants take turns; `y` is either.
fn alternates(label: &str) -> bool {
    let fits = |first_is_vowel: bool| {
        label.bytes().enumerate().all(|(at, byte)| match byte {
            b'y' => true,
            b'a' | b'e' | b'i' | b'o' | b'u' => at.is_multiple_of(2) == first_is_vowel,
            b'a'..=b'z' => at.is_multiple_of(2) != first_is_vowel,
            _ => false,
        })
    };
    fits(true) || fits(false)
}

fn number(at: usize) -> f64 {
    let bytes = MODEL.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    f64::from(u16::from_le_bytes(bytes.unwrap_or_default()))
}

/// Evidence of one name, in bans, where names score `mean` on average: n names of that mean are n times as much (Chernoff
/// bound of the mean of n ordinary names).
#[must_use]
pub fn bans_per_name(mean: f64) -> f64 {
    let mean = mean.clamp(LOWEST, HIGHEST);
    let steps = (mean - LOWEST) / STEP;
    // The steps below the mean: at most 60, found without a cast.
    let below =
        (0..MEANS - 1).rev().find(|at| f64::from(u8::try_from(*at).unwrap_or(0)) <= steps).unwrap_or(0);
    let rest = steps - f64::from(u8::try_from(below).unwrap_or(0));
    let (low, high) = (number(EVIDENCE + 2 * below), number(EVIDENCE + 2 * (below + 1)));
    (low + (high - low) * rest) / 1000.0
}

/// Share of ordinary names in which vowels and consonants take turns.
#[must_use]
pub fn alternating_share() -> f64 {
    number(SHARES) / 10_000.0
}

/// Share of ordinary names that have one length, or one of `neighbours` neighbouring ones (1 or 3), at most.
#[must_use]
pub fn length_share(neighbours: usize) -> f64 {
    number(SHARES + if neighbours == 1 { 2 } else { 4 }) / 10_000.0
}

/// Whether the file is what this code reads.
#[must_use]
pub fn is_sound() -> bool {
    MODEL.starts_with(b"SONDENM1") && MODEL.len() == LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(label: &str) -> f64 {
        look(label).unwrap().score
    }

    #[test]
    fn the_model_is_the_one_this_code_reads() {
        assert!(is_sound());
        assert!((0.02..0.06).contains(&alternating_share()), "{}", alternating_share());
        assert!((0.08..0.15).contains(&length_share(1)) && (0.25..0.35).contains(&length_share(3)));
    }

    #[test]
    fn ordinary_names_score_low_and_random_letters_high() {
        for ordinary in ["microsoft", "nickelfreesolutions", "weather", "onlinebanking", "wikipedia"] {
            assert!(score(ordinary) < 2.0, "{ordinary}: {}", score(ordinary));
        }
        for generated in ["xkqzvwpjhgtr", "9f2b6c1d40a8e7f3", "q0z7x4k9w2v8", "jqxwzkvb"] {
            assert!(score(generated) > 6.0, "{generated}: {}", score(generated));
        }
    }

    #[test]
    fn what_cannot_be_judged_has_no_look() {
        for label in ["", "xn--bcher-kva", "under_score", "b\u{fc}cher", "UPPER", &"a".repeat(64)] {
            assert_eq!(look(label), None, "{label}");
        }
        let single = look("a").unwrap();
        assert!(single.score.is_finite() && single.alternates.is_none());
    }

    #[test]
    fn turns_are_seen_from_either_side_and_y_is_both() {
        for yes in ["bakido", "abimoru", "bykido", "satyra"] {
            assert_eq!(look(yes).unwrap().alternates, Some(true), "{yes}");
        }
        for no in ["street", "bakid0", "book-ed"] {
            assert_eq!(look(no).unwrap().alternates, Some(false), "{no}");
        }
    }

    #[test]
    fn evidence_grows_with_the_mean_and_is_none_for_ordinary_ones() {
        assert_eq!((bans_per_name(-9.0), bans_per_name(-0.5)), (0.0, 0.0));
        let mut before = 0.0;
        for tenths in 0..200 {
            let bans = bans_per_name(f64::from(tenths) / 10.0);
            assert!(bans >= before, "{tenths}");
            before = bans;
        }
        // The thresholds of the scorer specification 6 are all about one thing: 3 to 4 bans.
        for (names, mean) in [(4.0, 6.35), (8.0, 3.82), (12.0, 2.87)] {
            let bans = names * bans_per_name(mean);
            assert!((3.0..4.5).contains(&bans), "{names} names of {mean}: {bans}");
        }
    }
}
