//! The objects of OCSF 1.8.0 that a finding is made of, with the attributes that Sonde fills. Names are OCSF's.

use std::net::IpAddr;

use serde::Serialize;

use super::attack::Attack;
use crate::alert::{Change, Class, Level, Suppressed, Word};
use crate::encode::native;
use crate::guide::Queries;
use crate::process::Attribution;

/// The finding (class `detection_finding`).
#[derive(Debug, Serialize)]
pub(super) struct Finding<'a> {
    pub(super) activity_id: u8,
    pub(super) activity_name: &'static str,
    pub(super) category_uid: u32,
    pub(super) category_name: &'static str,
    pub(super) class_uid: u32,
    pub(super) class_name: &'static str,
    pub(super) type_uid: u32,
    pub(super) type_name: &'static str,
    pub(super) time: i64,
    pub(super) start_time: i64,
    pub(super) end_time: i64,
    pub(super) count: u32,
    pub(super) severity_id: u8,
    pub(super) severity: &'static str,
    pub(super) confidence_id: u8,
    pub(super) confidence: &'static str,
    pub(super) confidence_score: u8,
    pub(super) risk_level_id: u8,
    pub(super) risk_level: &'static str,
    pub(super) risk_score: u8,
    pub(super) is_alert: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) message: &'a str,
    pub(super) metadata: Metadata,
    pub(super) finding_info: FindingInfo<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) observables: Vec<Observable>,
    pub(super) evidences: [Evidence<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<Device<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remediation: Option<Remediation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) osint: Vec<Osint<'a>>,
    pub(super) unmapped: Unmapped<'a>,
}

/// Who wrote it, and which emission it is.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    pub(super) uid: String,
    pub(super) version: &'static str,
    pub(super) product: Product,
    pub(super) profiles: &'static [&'static str],
    pub(super) event_code: &'static str,
    pub(super) log_name: &'static str,
    pub(super) log_version: &'static str,
    pub(super) correlation_uid: String,
}

/// This program.
#[derive(Debug, Serialize)]
pub(super) struct Product {
    pub(super) name: &'static str,
    pub(super) vendor_name: &'static str,
    pub(super) uid: &'static str,
    pub(super) version: &'static str,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct FindingInfo<'a> {
    pub(super) uid: String,
    pub(super) title: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) desc: &'a str,
    pub(super) types: [&'static str; 1],
    pub(super) analytic: Analytic,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attacks: Vec<Attack<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
    pub(super) modified_time: i64,
    pub(super) first_seen_time: i64,
    pub(super) last_seen_time: i64,
}

/// The rule that found it.
#[derive(Debug, Serialize)]
pub(super) struct Analytic {
    pub(super) type_id: u8,
    pub(super) r#type: &'static str,
    pub(super) name: &'static str,
    pub(super) uid: &'static str,
    pub(super) desc: &'static str,
    pub(super) version: &'static str,
}

/// A value worth looking for elsewhere.
#[derive(Debug, Serialize)]
pub(super) struct Observable {
    pub(super) type_id: u8,
    pub(super) r#type: &'static str,
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// The host.
#[derive(Debug, Serialize)]
pub(super) struct Device<'a> {
    pub(super) type_id: u8,
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
}

/// What to do.
#[derive(Debug, Serialize)]
pub(super) struct Remediation {
    pub(super) desc: String,
}

/// An entry of a feed that matches.
#[derive(Debug, Serialize)]
pub(super) struct Osint<'a> {
    pub(super) type_id: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) r#type: &'a str,
    pub(super) value: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) vendor_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) comment: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) src_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidence_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) intrusion_sets: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) malware: Option<[Malware<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<[&'static str; 1]>,
}

/// The software that a feed names; OCSF wants a class of it, which is not known (0).
#[derive(Debug, Serialize)]
pub(super) struct Malware<'a> {
    pub(super) classification_ids: [u8; 1],
    pub(super) uid: &'a str,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub(super) struct Evidence<'a> {
    pub(super) name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Process<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) src_endpoint: Option<Source<'a>>,
    pub(super) dst_endpoint: Endpoint<'a>,
    pub(super) connection_info: ConnectionInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<Query<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ja4_fingerprint_list: Option<[Ja4<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_request: Option<HttpRequest<'a>>,
    pub(super) data: Data<'a>,
}

/// Who called.
#[derive(Debug, Serialize)]
pub(super) struct Process<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    pub(super) uid: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) cmd_line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<File<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestry: Vec<Ancestor<'a>>,
}

/// The executable.
#[derive(Debug, Serialize)]
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) path: &'a str,
    pub(super) type_id: u8,
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Fingerprint<'a>>,
}

/// Its hash.
#[derive(Debug, Serialize)]
pub(super) struct Fingerprint<'a> {
    pub(super) algorithm_id: u8,
    pub(super) algorithm: &'static str,
    pub(super) value: &'a str,
}

/// What started it, nearest first.
#[derive(Debug, Serialize)]
pub(super) struct Ancestor<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) path: &'a str,
}

/// On whose behalf.
#[derive(Debug, Serialize)]
pub(super) struct Actor<'a> {
    pub(super) user: User<'a>,
}

/// The account.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) domain: &'a str,
}

/// The container.
#[derive(Debug, Serialize)]
pub(super) struct Container<'a> {
    pub(super) uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod_uuid: Option<&'a str>,
}

/// Our end.
#[derive(Debug, Serialize)]
pub(super) struct Source<'a> {
    pub(super) hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
}

/// The other end.
#[derive(Debug, Serialize)]
pub(super) struct Endpoint<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) hostname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) svc_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) autonomous_system: Option<AutonomousSystem<'a>>,
}

/// Its network.
#[derive(Debug, Serialize)]
pub(super) struct AutonomousSystem<'a> {
    pub(super) number: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
}

/// How the two are connected.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionInfo {
    pub(super) direction_id: u8,
    pub(super) direction: &'static str,
    pub(super) protocol_name: &'static str,
    pub(super) protocol_num: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol_ver_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boundary_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<&'static str>,
}

/// What was asked of DNS.
#[derive(Debug, Serialize)]
pub(super) struct Query<'a> {
    pub(super) hostname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) r#type: &'a str,
}

/// What the client claimed in TLS.
#[derive(Debug, Serialize)]
pub(super) struct Tls<'a> {
    pub(super) version: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) sni: &'a str,
}

/// Its fingerprint.
#[derive(Debug, Serialize)]
pub(super) struct Ja4<'a> {
    pub(super) type_id: u8,
    pub(super) r#type: &'static str,
    pub(super) value: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) section_a: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) section_b: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) section_c: &'a str,
}

/// What the client claimed in HTTP.
#[derive(Debug, Serialize)]
pub(super) struct HttpRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_headers: Option<[Header<'a>; 1]>,
}

/// One header.
#[derive(Debug, Serialize)]
pub(super) struct Header<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a str,
}

/// What was measured, in the words of the native form.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    pub(super) class: Class,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<Level>,
    pub(super) evidence: native::Measured<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns: Option<native::Counted<'a>>,
    /// Here, since OCSF's own object wants issuer and serial number, which a feed's match does not need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_server: Option<native::TlsServer>,
}

/// What OCSF has no place for.
#[derive(Debug, Serialize)]
pub(super) struct Unmapped<'a> {
    pub(super) sonde: Kept<'a>,
}

/// The same, in the words of the native form.
#[derive(Debug, Serialize)]
pub(super) struct Kept<'a> {
    pub(super) schema: native::Version,
    pub(super) revision: u32,
    pub(super) change: Change,
    pub(super) score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) points: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<native::Part<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) missing: &'a [Word],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detected_after_callbacks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hosting: Option<bool>,
    pub(super) destination: native::Names<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) group: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<native::Program<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Attribution::is_none")]
    pub(super) attribution: Attribution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<native::ProfileFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suppressed_by: Option<&'a Suppressed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queries: Option<Queries>,
}
