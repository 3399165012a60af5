//! Names as programs make them up: constructions of our own after what is published of domain generation algorithms, and
//! ordinary names to hold them against. Chance comes from the caller's seed alone.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sonde_common::domain::registrable;

use crate::rng::Rng;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const VOWELS: &[u8] = b"aeiou";
const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxyz";
const SUFFIXES: [&str; 6] = ["com", "net", "org", "info", "biz", "ru"];
/// Common short English words, for generators that join two.
const WORDS: &str = "able acid aged also area army away baby back ball band bank base bath bear beat been beer bell belt best \
    bird blow blue boat body bond bone book born boss both bowl bulk burn bush busy cake call calm came camp card care case \
    cash cast cell chat chip city club coal coat code cold come cook cool cope copy core cost crew crop dark data date dawn \
    dead deal dean dear debt deep desk dial diet dirt dish door dose down draw dress drink drive duty each earn ease east \
    edge else even ever face fact fail fair fall farm fast fate fear feed feel fill film find fine fire firm fish five flat \
    flow food foot ford form fort four free fuel full fund gain game gate gave gear gift girl give glad goal gold golf gone \
    green group guest guide happy heart heavy horse hotel house human image index inner issue joint judge knife large laser \
    later laugh layer learn lemon level light limit local logic loose lucky lunch magic major maker march match maybe metal \
    minor model money month moral motor mount mouse mouth movie music never night noise north novel nurse ocean offer order \
    other paint panel paper party peace phase phone photo piece pilot pitch place plain plane plant plate point pound power \
    press price pride prime print prize proof proud queen quick quiet radio range rapid ratio reach ready right river round";

/// The lists of ordinary names.
const LISTS: [&str; 2] = [
    include_str!("../../common/data/popular-domains.txt"),
    include_str!("../data/names/ordinary-domains.txt"),
];
/// The training leaves out the last of so many parts of the labels (`scripts/train-names`).
const FOLDS: u32 = 4;

/// How labels are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Random letters, so many.
    Letters(usize, usize),
    /// Sixteen hexadecimal digits.
    Hex,
    /// Random letters and digits, 10 to 14.
    Base36,
    /// Random letters, each as frequent as among ordinary names, 10 to 16.
    Frequent,
    /// Consonant and vowel in turn, 8 to 12.
    Turns,
    /// Two to four syllables of three letters with a vowel in the middle.
    Syllables,
    /// Two words.
    Words,
    /// A word and four digits.
    Numbered,
}

impl Generator {
    /// All, with a name for each.
    pub const ALL: [(&'static str, Self); 10] = [
        ("random letters 12–20", Self::Letters(12, 20)),
        ("random letters 7–11", Self::Letters(7, 11)),
        ("random letters 5–7", Self::Letters(5, 7)),
        ("hexadecimal 16", Self::Hex),
        ("letters and digits 10–14", Self::Base36),
        ("ordinary letter frequencies 10–16", Self::Frequent),
        ("consonant and vowel in turn 8–12", Self::Turns),
        ("syllables of three letters", Self::Syllables),
        ("word and four digits", Self::Numbered),
        ("two words", Self::Words),
    ];

    /// A label.
    #[must_use]
    pub fn label(self, rng: &mut Rng) -> String {
        let of = |rng: &mut Rng, alphabet: &[u8]| char::from(*rng.pick(alphabet));
        let many = |rng: &mut Rng, alphabet: &[u8], low: usize, high: usize| -> String {
            (0..rng.length(low, high + 1)).map(|_| of(rng, alphabet)).collect()
        };
        match self {
            Self::Letters(low, high) => many(rng, LETTERS, low, high),
            Self::Hex => many(rng, HEX, 16, 16),
            Self::Base36 => many(rng, BASE36, 10, 14),
            Self::Frequent => {
                static FREQUENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
                    ordinary(true)
                        .iter()
                        .flat_map(|label| label.bytes())
                        .filter(u8::is_ascii_lowercase)
                        .collect()
                });
                many(rng, &FREQUENT, 10, 16)
            }
            Self::Turns => (0..rng.length(8, 13))
                .map(|at| of(rng, if at % 2 == 0 { CONSONANTS } else { VOWELS }))
                .collect(),
            Self::Syllables => (0..rng.length(2, 5))
                .flat_map(|_| [CONSONANTS, VOWELS, CONSONANTS].map(|alphabet| of(rng, alphabet)))
                .collect(),
            Self::Words => format!("{}{}", word(rng), word(rng)),
            Self::Numbered => format!("{}{:04}", word(rng), rng.below(10_000)),
        }
    }

    /// A domain.
    #[must_use]
    pub fn domain(self, rng: &mut Rng) -> String {
        format!("{}.{}", self.label(rng), rng.pick(&SUFFIXES))
    }
}

fn word(rng: &mut Rng) -> &'static str {
    static LIST: LazyLock<Vec<&str>> = LazyLock::new(|| WORDS.split_whitespace().collect());
    rng.pick::<&str>(LIST.as_slice())
}

/// Distinct labels of ordinary names, sorted: those that the model was trained on, or those that it never saw.
#[must_use]
pub fn ordinary(trained: bool) -> Vec<&'static str> {
    let lines = LISTS
        .iter()
        .flat_map(|list| list.lines())
        .filter(|line| line.contains('.') && !line.starts_with('#'));
    let labels: BTreeSet<_> = lines.filter_map(|line| registrable(line).split('.').next()).collect();
    let is_left_out = |label: &str| {
        let mut crc = flate2::Crc::new();
        crc.update(label.as_bytes());
        crc.sum() % FOLDS == FOLDS - 1
    };
    labels.into_iter().filter(|label| !label.starts_with("xn--") && is_left_out(label) != trained).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_names_and_each_kind_its_own() {
        for (name, generator) in Generator::ALL {
            let make = |seed| (0..20).map(|_| generator.domain(&mut Rng::new(seed))).collect::<Vec<_>>();
            assert_eq!(make(7), make(7), "{name}");
            let label = generator.label(&mut Rng::new(7));
            assert!((5..=20).contains(&label.len()), "{name}: {label}");
        }
        assert!(WORDS.split_whitespace().count() > 200);
    }

    #[test]
    fn a_quarter_of_the_ordinary_names_is_left_out_of_the_training() {
        let (trained, left_out) = (ordinary(true).len(), ordinary(false).len());
        assert!(left_out > 4_000 && (2 * left_out..4 * left_out).contains(&trained), "{trained}, {left_out}");
    }
}
