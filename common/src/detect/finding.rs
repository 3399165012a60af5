//! What a detector that counts has found: everything but what only the engine knows of it.

use std::sync::Arc;

use crate::alert::{
    Class, Destination, DnsEvidence, Evidence, IndicatorMatch, ScorePart, Severity, Technique, Word,
};
use crate::process::{Attribution, ProcessInfo, ProcessKey};

/// Something found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What kind.
    pub class: Class,
    /// What it is about, such as a registrable domain: with host, class and program it makes the finding's id.
    pub subject: String,
    /// What its score is made of. Their points add up to S of the scorer specification 2.5: above -0.5 it is an alert, above
    /// 1.0 a high one.
    pub parts: Vec<ScorePart>,
    /// What could not be told.
    pub missing: Vec<Word>,
    /// The highest severity that it may have.
    pub ceiling: Severity,
    /// One plain sentence.
    pub reason: String,
    /// Key of the program; 0 where it is not known.
    pub program_key: u64,
    /// Process instance of the latest event.
    pub process: Option<ProcessKey>,
    /// Its program.
    pub program: Option<Arc<ProcessInfo>>,
    /// How the process is known.
    pub attribution: Attribution,
    /// Where it went.
    pub destination: Destination,
    /// How often (`callbacks`), since when, until when, bytes; the rest of it at its default.
    pub evidence: Evidence,
    /// What was counted of names.
    pub dns: Option<DnsEvidence>,
    /// Entries of feeds.
    pub indicators: Vec<IndicatorMatch>,
    /// Techniques that the evidence supports.
    pub techniques: Vec<Technique>,
}
