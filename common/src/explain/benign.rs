//! What would make a finding benign: the same rhythm, had program or destination been what this host knows.
//!
//! Nothing is scored anew: the parts that speak against the program or the destination are left out, and what is left is put
//! on the same scale. So each line can be checked by hand against the parts that the alert shows.

use crate::alert::{Alert, Class, Severity};
use crate::score::{self, Fact, WEIGHTS};

/// Parts that speak against a destination that the host has not known.
const DESTINATION: [&str; 4] = ["new_destination", "unpopular", "bare_address", "system_to_new"];
/// Parts that speak against a program that is not installed as programs are.
const PROGRAM: [&str; 5] = ["location", "unsigned", "masquerade", "parent", "script_host"];

/// One change, and what the score would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What would have to be so, as the end of "if …".
    pub if_so: &'static str,
    /// Parts that would fall away.
    pub without: Vec<String>,
    /// The part that would come.
    pub with: Option<&'static str>,
    /// What the points would be.
    pub points: f64,
    /// The score of them.
    pub score: f64,
    /// Its name.
    pub severity: Severity,
}

/// The changes that would lower the score, the smallest first; empty where nothing but the feed or the count speaks.
#[must_use]
pub fn changes(alert: &Alert) -> Vec<Change> {
    if alert.class == Class::Indicator || !alert.indicators.is_empty() {
        return Vec::new();
    }
    let established = WEIGHTS
        .iter()
        .find(|weight| weight.fact == Fact::Established && alert.class.is_beacon())
        .filter(|weight| !alert.parts.iter().any(|part| part.name == weight.name));
    let wishes: [(&str, &[&[&str]], bool); 3] = [
        (
            "the destination were one that this host has long called, by a widely used name",
            &[&DESTINATION],
            false,
        ),
        ("the program were an installed one, signed or a package's, in its place", &[&PROGRAM], false),
        ("both were so, for a week or longer", &[&DESTINATION, &PROGRAM], true),
    ];
    let mut changes = Vec::new();
    for (if_so, lists, for_long) in wishes {
        let mut points = alert.points;
        let mut without = Vec::new();
        for part in &alert.parts {
            let falls = lists.iter().any(|list| list.contains(&part.name.as_ref())) && part.points > 0.0;
            // What was not known is known then, and speaks neither way.
            let known = for_long && part.name == "unknown" && part.points > 0.0;
            if falls || known {
                points -= part.points;
                without.push(part.name.replace('_', " "));
            }
        }
        let more = established.filter(|_| for_long);
        points += more.map_or(0.0, |weight| weight.points);
        if !without.is_empty() {
            let severity = score::severity_of(points).min(alert.severity);
            let with = more.map(|weight| weight.name);
            changes.push(Change { if_so, without, with, points, score: score::scale(points), severity });
        }
    }
    // Where only one of the two speaks, the first line says all of it.
    changes.dedup_by(|next, before| (&next.without, next.with) == (&before.without, before.with));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    #[test]
    fn what_is_left_is_the_sum_of_the_parts_that_stay() {
        let alert = samples::implant();
        let [destination, program, both] = &changes(&alert)[..] else { panic!("{:?}", changes(&alert)) };
        assert!((destination.points - (alert.points - 1.75)).abs() < 1e-9, "{destination:?}");
        assert!((program.points - (alert.points - 3.75)).abs() < 1e-9, "{program:?}");
        assert!((both.points - (alert.points - 5.5 - 1.25)).abs() < 1e-9, "{both:?}");
        assert_eq!(both.severity, Severity::Low);
        assert_eq!((both.with, both.without.len()), (Some("established"), 4));
    }

    #[test]
    fn nothing_excuses_an_entry_of_a_feed() {
        assert_eq!(changes(&samples::on_feed()), []);
        let mut alert = samples::implant();
        alert.indicators = samples::on_feed().indicators;
        assert_eq!(changes(&alert), []);
    }

    #[test]
    fn no_change_raises_the_severity() {
        for alert in samples::all() {
            assert!(changes(&alert).iter().all(|change| change.severity <= alert.severity), "{alert:?}");
        }
    }
}
