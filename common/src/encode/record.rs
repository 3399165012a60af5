//! Everything that is shipped as a [`Record`]: alerts in the form of their sink, and what the sensor says besides: summaries
//! of destinations, its health, and what was done to it.
//!
//! `docs/records.md` is the reference of the fields. The sensor's own words have one form only: Elastic Common Schema names
//! where it has one, the rest below `sonde`. Ids are made of data, so that what is sent again is known again.

mod audit;
mod health;
mod summary;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use self::audit::{Audit, By, Deed, audit};
pub use self::health::{Gap, Health, Part, PartState, Queue, Sink, Usage, Verdict, health};
pub use self::summary::summaries;
use super::{native, ocsf};
use crate::alert::{Alert, Severity};
use crate::config::WireForm;
use crate::guide::Guidance;
use crate::record::{Kind, Record};
use crate::time::Timestamp;

/// Which sensor speaks: 128 bits, the same over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorId(pub u128);

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}

impl std::fmt::Display for SensorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub struct Sensor<'a> {
    /// Which sensor it is.
    pub id: SensorId,
    /// The host that it is on.
    pub host: &'a str,
    /// When it began: what it counts itself begins with it.
    pub since: Timestamp,
}

/// An alert as a record of this form, with as much guidance as its emission carries.
#[must_use]
pub fn alert(alert: &Alert, form: WireForm, guidance: Guidance) -> Record {
    let guidance = guidance.of_emission(alert);
    let mut body = Vec::with_capacity(8_192);
    match form {
        WireForm::Native => native::append(alert, guidance, &mut body),
        WireForm::Ocsf => ocsf::append(alert, guidance, &mut body),
    }
    Record {
        kind: Kind::Alert,
        id: alert.emission_id(),
        key: alert.id.to_string(),
        time: alert.time,
        severity: alert.severity,
        body,
    }
}

/// One of the sensor's own words.
fn own(
    kind: Kind,
    sensor: &Sensor<'_>,
    id: &str,
    (time, severity): (Timestamp, Severity),
    said: &impl Serialize,
) -> Record {
    let mut body = Vec::with_capacity(1_024);
    let done = super::json::write(&mut body, said);
    debug_assert!(done.is_ok(), "a Vec takes every write and keys are strings: {done:?}");
    Record { kind, id: id.to_owned(), key: sensor.id.to_string(), time, severity, body }
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Host<'a> {
    name: &'a str,
}

/// The sensor.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Agent {
    id: String,
    r#type: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Version {
    version: &'static str,
}

/// What kind of word it is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Event<'a> {
    kind: &'static str,
    category: [&'static str; 1],
    r#type: [&'static str; 1],
    action: &'static str,
    id: &'a str,
    module: &'static str,
    dataset: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

const ECS: Version = Version { version: native::ECS_VERSION };
const SCHEMA: Version = Version { version: native::SCHEMA_VERSION };

impl Sensor<'_> {
    fn agent(&self) -> Agent {
        Agent { id: self.id.to_string(), r#type: "sonde", version: env!("CARGO_PKG_VERSION") }
    }
}

#[cfg(test)]
pub(in crate::encode) use self::{
    audit::Document as AuditDocument, health::Document as HealthDocument,
    summary::Document as SummaryDocument,
};

#[cfg(test)]
mod tests;
