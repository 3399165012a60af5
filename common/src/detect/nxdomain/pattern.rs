//! What names have in common that ordinary names have not, in bans (log10 of the odds against chance).
//!
//! Three tests, each beside its share or spread among ordinary names: letters, turns of vowel and consonant, and, only
//! where one of those speaks already, one length. The newest 4, 6, 8 … 64 names are looked at each time, so that a burst
//! stands out from what went before.

use super::look::{Look, alternating_share, bans_per_name, length_share};
use crate::detect::beacon::stats;

/// How many of the newest names are looked at together.
const SIZES: [u8; 9] = [4, 6, 8, 12, 16, 24, 32, 48, 64];
/// Evidence counts up to so many bans, as that of a rhythm does.
const MAX_BANS: f64 = 8.0;
/// One length alone is no sign of a generator; beside another sign it adds at most so much.
const MIN_BANS_FOR_LENGTH: f64 = 1.0;
const MAX_LENGTH_BANS: f64 = 2.0;
/// Penalties of tests that look for the best of several windows, as in the scorer specification 2.4.
const PENALTY_TURNS: f64 = 0.3;
const PENALTY_LENGTH: f64 = 0.8;

/// Which test speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The letters are not those of ordinary names.
    Letters,
    /// Vowels and consonants take turns.
    Turns,
}

/// What the best set of names has in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pattern {
    /// Which test speaks.
    pub(super) test: Test,
    /// Its evidence, in bans.
    pub(super) bans: f64,
    /// What one length adds, in bans.
    pub(super) length_bans: f64,
    /// Names that were looked at.
    pub(super) names: u8,
    /// Names in which vowels and consonants take turns, of those long enough.
    pub(super) turns: (u8, u8),
    /// Their mean score.
    pub(super) mean: f64,
    /// Shortest and longest.
    pub(super) lengths: (u8, u8),
}

impl Pattern {
    /// All its evidence.
    pub(super) fn total(&self) -> f64 {
        self.bans + self.length_bans
    }

    /// Whether another name looks as if it were one of them.
    pub(super) fn fits(&self, look: &Look) -> bool {
        let like = match self.test {
            // Half of a generator's names score below its mean, few ordinary ones near it.
            Test::Letters => look.score >= 0.6 * self.mean,
            Test::Turns => look.alternates == Some(true),
        };
        like && self.has_length(look)
    }

    /// Whether another name is as long as they are, give or take one.
    pub(super) fn has_length(&self, look: &Look) -> bool {
        let (shortest, longest) = self.lengths;
        (shortest.saturating_sub(1)..=longest.saturating_add(1)).contains(&look.length)
    }
}

/// The best pattern among names, newest first. `None` for fewer than four.
pub(super) fn best(newest_first: impl Iterator<Item = Look>) -> Option<Pattern> {
    let mut sums = Sums { lengths: [0; 64], count: 0, score: 0.0, turns: (0, 0), range: (u8::MAX, 0) };
    let mut best: Option<Pattern> = None;
    for look in newest_first {
        sums.add(&look);
        if SIZES.contains(&sums.count) {
            let pattern = sums.pattern();
            // Of equal evidence the larger set says more.
            if best.is_none_or(|best| pattern.total() >= best.total()) {
                best = Some(pattern);
            }
        }
        if sums.count >= 64 {
            break;
        }
    }
    best
}

struct Sums {
    /// Names by length.
    lengths: [u8; 64],
    count: u8,
    score: f64,
    turns: (u8, u8),
    range: (u8, u8),
}

impl Sums {
    fn add(&mut self, look: &Look) {
        self.count += 1;
        self.score += look.score;
        if let Some(alternates) = look.alternates {
            self.turns.0 += u8::from(alternates);
            self.turns.1 += 1;
        }
        if let Some(names) = self.lengths.get_mut(usize::from(look.length)) {
            *names += 1;
        }
        self.range = (self.range.0.min(look.length), self.range.1.max(look.length));
    }

    fn pattern(&self) -> Pattern {
        let count = f64::from(self.count);
        let mean = self.score / count;
        let letters = count * bans_per_name(mean);
        // Three short words that take turns are three names, not proof.
        let turns = stats::bans(self.turns.0.into(), self.turns.1.into(), alternating_share(), PENALTY_TURNS)
            .min(self.turns.1.into());
        let (test, bans) = if turns > letters { (Test::Turns, turns) } else { (Test::Letters, letters) };
        // A few names prove no more than their number.
        let most = MAX_BANS.min(count);
        let length_bans =
            if bans < MIN_BANS_FOR_LENGTH { 0.0 } else { self.length_bans().min(MAX_LENGTH_BANS) };
        let bans = bans.min(most);
        Pattern {
            test,
            bans,
            length_bans: length_bans.min(most - bans),
            names: self.count,
            turns: self.turns,
            mean,
            lengths: self.range,
        }
    }

    /// Evidence that the names are of one length, or of three neighbouring ones.
    fn length_bans(&self) -> f64 {
        let windows = [1, 3].map(|neighbours| {
            let most =
                self.lengths.windows(neighbours).map(|names| names.iter().map(|n| usize::from(*n)).sum());
            stats::bans(most.max().unwrap_or(0), self.count.into(), length_share(neighbours), PENALTY_LENGTH)
        });
        windows.into_iter().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::look;
    use super::*;

    fn of(labels: &[&str]) -> Option<Pattern> {
        best(labels.iter().rev().filter_map(|label| look(label)))
    }

    #[test]
    fn fewer_than_four_names_are_no_pattern() {
        assert_eq!(of(&["xkqzvwpj", "qzxkvwjh", "zzqxkwvj"]), None);
    }

    #[test]
    fn random_letters_turns_and_lengths_are_told_apart() {
        let letters = of(&["xkqzvwpj", "qzxkvwjh", "zzqxkwvj", "wqpxzkjv"]).unwrap();
        assert_eq!(
            (letters.test, letters.bans),
            (Test::Letters, 4.0),
            "four names prove no more than four bans"
        );
        let turns = of(&["bakido", "zoruvemi", "tipalo", "hemurigo", "galupisa", "wonetiri"]).unwrap();
        assert_eq!((turns.test, turns.turns), (Test::Turns, (6, 6)));
        assert!(turns.total() > 4.0, "{turns:?}");
        assert!(turns.fits(&look("mokirena").unwrap()) && !turns.fits(&look("streetmap").unwrap()));
    }

    #[test]
    fn ordinary_names_of_one_length_are_none() {
        let names = ["weather", "booking", "pharmacy", "holiday", "kitchen", "bicycle", "gardens", "factory"];
        assert!(of(&names).unwrap().total() < 1.0, "{:?}", of(&names));
    }

    #[test]
    fn a_burst_stands_out_from_what_went_before() {
        let mut names =
            vec!["weather", "booking", "holiday", "kitchen", "bicycle", "gardens", "factory", "recipes"];
        names.extend(["9f2b6c1d40a8e7f3", "b7720f11c9de4a05", "00ac4471fe93bb12", "e41f70c2299d0b8a"]);
        let pattern = of(&names).unwrap();
        assert!(pattern.names <= 8 && pattern.bans >= 4.0, "{pattern:?}");
    }
}
