//! What a record's body says of itself, for forms that show a sentence and a figure beside it.

use serde::Deserialize;

use crate::record::Record;

/// Sentence and score of a record, as far as its body has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The sentence: the words of others stand in it.
    pub message: Option<String>,
    /// From 0 to 1.
    pub score: Option<f64>,
}

/// Both forms of a body have `message`; the native one has the score below `sonde`, the other as a risk of a hundred.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    message: Option<String>,
    sonde: Own,
    risk_score: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Own {
    score: Option<f64>,
}

/// What a record says of itself.
#[must_use]
pub fn told(record: &Record) -> Told {
    let body: Body = serde_json::from_slice(&record.body).unwrap_or_default();
    let score = body.sonde.score.or(body.risk_score.map(|risk| risk / 100.0));
    let score = score.filter(|score| (0.0..=1.0).contains(score));
    Told { message: body.message.filter(|message| !message.is_empty()), score }
}

/// The number that syslog and journald give a severity (RFC 5424, table 2).
#[must_use]
pub const fn priority(severity: crate::alert::Severity) -> u8 {
    use crate::alert::Severity;
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}
