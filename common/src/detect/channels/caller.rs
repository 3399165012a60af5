//! What is known of the program and the domain, as parts of a score: the same facts, points and words as a beacon's
//! ([`score`](crate::score)), for findings that count.

use crate::alert::{ScorePart, Word};
use crate::process::image_name;
use crate::program::{Program, all};
use crate::score::{Fact, WEIGHTS, neutral_of_counted};

/// A domain known for less than this is new.
const NEW_DAYS: f64 = 2.0;
/// A program known for this long is established.
const ESTABLISHED_DAYS: f64 = 7.0;

/// Parts of a score and what was missing for more.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) list: Vec<ScorePart>,
    pub(super) missing: Vec<Word>,
}

impl Parts {
    /// Adds a part.
    pub(super) fn add(&mut self, name: &'static str, points: f64, detail: impl Into<String>) {
        self.list.push(ScorePart { name: name.into(), points, detail: detail.into() });
    }

    /// Their sum.
    pub(super) fn points(&self) -> f64 {
        self.list.iter().map(|part| part.points).sum()
    }

    /// Adds what is known of the caller, and of how long the domain is known here.
    pub(super) fn context(&mut self, program: Option<&Program>, known_days: Option<f64>) {
        let signed = program.and_then(|program| program.info.signed);
        let old = program.and_then(|program| program.info.age_days).map(|days| days >= ESTABLISHED_DAYS);
        let new = known_days.map(|days| days < NEW_DAYS);
        let facts = [
            (Fact::BadLocation, program.and_then(Program::in_bad_location)),
            (Fact::ScriptHost, program.and_then(|program| program.info.script_host)),
            (Fact::BadParent, program.and_then(Program::has_bad_parent)),
            (Fact::Unsigned, signed.map(|signed| !signed)),
            (Fact::NewDestination, new),
            (Fact::Established, all([old, new.map(|new| !new), signed])),
        ];
        if program.is_none() {
            // One word for all that only a process tells.
            self.missing.push("process".into());
        }
        let mut unknown = 0.0;
        for (fact, holds) in facts {
            let Some(weight) = WEIGHTS.iter().find(|weight| weight.fact == fact) else { continue };
            match holds {
                Some(true) => self.add(weight.name, weight.points, weight.detail),
                Some(false) => {}
                None => {
                    unknown += neutral_of_counted(fact);
                    if program.is_some() || fact == Fact::NewDestination {
                        self.missing.push(weight.missing.into());
                    }
                }
            }
        }
        if unknown != 0.0 {
            self.add("unknown", unknown, "neutral expectation of what the source could not tell");
        }
    }
}

/// What a sentence calls the program.
pub(super) fn name(program: Option<&Program>) -> String {
    match program {
        Some(program) if !program.info.script.is_empty() => {
            format!("{} running {}", image_name(&program.info.image), image_name(&program.info.script))
        }
        Some(program) => image_name(&program.info.image).to_owned(),
        None => "A program of this host".to_owned(),
    }
}
