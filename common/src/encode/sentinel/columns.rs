//! The columns of the tables: what each is called, of what type it is, and where a record has it.

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: at most 45 letters and digits, none of those that the service keeps for itself.
    pub name: &'static str,
    /// Its type.
    pub of: Type,
    /// Where its value is.
    pub(super) from: Source,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `string`.
    Text,
    /// `boolean`.
    Boolean,
    /// `int`: 32 bits.
    Int,
    /// `long`: 64 bits.
    Long,
    /// `real`.
    Real,
    /// `datetime`.
    Time,
    /// `dynamic`: JSON.
    Dynamic,
}

impl Type {
    /// What a data collection rule and a table call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Real => "real",
            Self::Time => "datetime",
            Self::Dynamic => "dynamic",
        }
    }
}

/// Where the value of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The record's time. The service replaces it where it is more than two days old.
    Time,
    /// The record's id.
    Id,
    /// What the record is about.
    Key,
    /// The record's kind.
    Kind,
    /// The record's severity.
    Severity,
    /// A number made of the record's id.
    Report,
    /// In the body, by a JSON pointer.
    At(&'static str),
    /// The same, with a capital letter.
    Capital(&'static str),
    /// What is below `sonde` and has no column.
    Rest,
}

const fn column(name: &'static str, of: Type, from: Source) -> Column {
    Column { name, of, from }
}

/// Of findings.
pub(super) const ALERT: &[Column] = &[
    column("TimeGenerated", Type::Time, Source::Time),
    column("Timestamp", Type::Time, Source::At("/@timestamp")),
    column("EmissionId", Type::Text, Source::Id),
    column("FindingId", Type::Text, Source::Key),
    column("ReportId", Type::Long, Source::Report),
    column("Activity", Type::Text, Source::At("/sonde/change")),
    column("ActionType", Type::Text, Source::At("/event/action")),
    column("EventKind", Type::Text, Source::At("/event/kind")),
    column("Severity", Type::Text, Source::Severity),
    column("Score", Type::Real, Source::At("/sonde/score")),
    column("RiskScore", Type::Real, Source::At("/event/risk_score")),
    column("Points", Type::Real, Source::At("/sonde/points")),
    column("Revision", Type::Long, Source::At("/sonde/revision")),
    column("Sentence", Type::Text, Source::At("/message")),
    column("RuleId", Type::Text, Source::At("/rule/id")),
    column("RuleName", Type::Text, Source::At("/rule/name")),
    column("FindingClass", Type::Text, Source::At("/sonde/class")),
    column("CallLevel", Type::Text, Source::At("/sonde/level")),
    column("DeviceName", Type::Text, Source::At("/host/name")),
    column("LocalIP", Type::Text, Source::At("/host/ip/0")),
    column("RemoteIP", Type::Text, Source::At("/destination/ip")),
    column("RemotePort", Type::Int, Source::At("/destination/port")),
    column("RemoteUrl", Type::Text, Source::At("/destination/domain")),
    column("RemoteName", Type::Text, Source::At("/destination/address")),
    column("RemoteDomain", Type::Text, Source::At("/destination/registered_domain")),
    column("RemoteAsn", Type::Long, Source::At("/destination/as/number")),
    column("RemoteAsOrganization", Type::Text, Source::At("/destination/as/organization/name")),
    column("RemoteIsHosting", Type::Boolean, Source::At("/sonde/hosting")),
    column("Protocol", Type::Text, Source::Capital("/network/transport")),
    column("ApplicationProtocol", Type::Text, Source::At("/network/protocol")),
    column("DnsDomain", Type::Text, Source::At("/dns/question/registered_domain")),
    column("TlsServerName", Type::Text, Source::At("/tls/client/server_name")),
    column("TlsJa4", Type::Text, Source::At("/tls/client/ja4")),
    column("TlsServerSHA1", Type::Text, Source::At("/tls/server/hash/sha1")),
    column("TlsServerSHA256", Type::Text, Source::At("/tls/server/hash/sha256")),
    column("HttpHost", Type::Text, Source::At("/url/domain")),
    column("HttpPort", Type::Int, Source::At("/url/port")),
    column("HttpUserAgent", Type::Text, Source::At("/user_agent/original")),
    column("InitiatingProcessFileName", Type::Text, Source::At("/process/name")),
    column("InitiatingProcessFolderPath", Type::Text, Source::At("/process/executable")),
    column("InitiatingProcessId", Type::Long, Source::At("/process/pid")),
    column("InitiatingProcessCommandLine", Type::Text, Source::At("/process/command_line")),
    column("InitiatingProcessCreationTime", Type::Time, Source::At("/process/start")),
    column("InitiatingProcessSHA256", Type::Text, Source::At("/process/hash/sha256")),
    column("InitiatingProcessParentFileName", Type::Text, Source::At("/process/parent/name")),
    column("InitiatingProcessParentFolderPath", Type::Text, Source::At("/process/parent/executable")),
    column("InitiatingProcessAccountName", Type::Text, Source::At("/user/name")),
    column("InitiatingProcessAccountDomain", Type::Text, Source::At("/user/domain")),
    column("AccountName", Type::Text, Source::At("/user/name")),
    column("ContainerId", Type::Text, Source::At("/container/id")),
    column("PodId", Type::Text, Source::At("/orchestrator/resource/id")),
    column("FirstSeen", Type::Time, Source::At("/sonde/evidence/first_seen")),
    column("LastSeen", Type::Time, Source::At("/sonde/evidence/last_seen")),
    column("Detected", Type::Time, Source::At("/sonde/detected")),
    column("DetectedAfterCallbacks", Type::Long, Source::At("/sonde/detected_after_callbacks")),
    column("Callbacks", Type::Long, Source::At("/sonde/evidence/callbacks")),
    column("Missed", Type::Long, Source::At("/sonde/evidence/missed")),
    column("PeriodSecs", Type::Real, Source::At("/sonde/evidence/period_secs")),
    column("IntervalMedianSecs", Type::Real, Source::At("/sonde/evidence/interval_median_secs")),
    column("JitterMadRatio", Type::Real, Source::At("/sonde/evidence/jitter_mad_ratio")),
    column("DwellSecs", Type::Real, Source::At("/sonde/evidence/dwell_secs")),
    column("EvidenceBans", Type::Real, Source::At("/sonde/evidence/bans")),
    column("BytesOut", Type::Long, Source::At("/sonde/evidence/bytes_out")),
    column("BytesIn", Type::Long, Source::At("/sonde/evidence/bytes_in")),
    column("Refused", Type::Long, Source::At("/sonde/evidence/refused")),
    column("Unanswered", Type::Long, Source::At("/sonde/evidence/unanswered")),
    column("TechniqueIds", Type::Dynamic, Source::At("/threat/technique/id")),
    column("TechniqueNames", Type::Dynamic, Source::At("/threat/technique/name")),
    column("ThreatGroup", Type::Text, Source::At("/threat/group/id")),
    column("ThreatSoftware", Type::Text, Source::At("/threat/software/id")),
    column("SensorVersion", Type::Text, Source::At("/sonde/version")),
    column("SchemaVersion", Type::Text, Source::At("/sonde/schema/version")),
    column("Details", Type::Dynamic, Source::Rest),
];

/// Of summaries.
pub(super) const SUMMARY: &[Column] = &[
    column("TimeGenerated", Type::Time, Source::Time),
    column("Timestamp", Type::Time, Source::At("/@timestamp")),
    column("EmissionId", Type::Text, Source::Id),
    column("SensorId", Type::Text, Source::At("/agent/id")),
    column("ActionType", Type::Text, Source::At("/event/action")),
    column("StartTime", Type::Time, Source::At("/event/start")),
    column("EndTime", Type::Time, Source::At("/event/end")),
    column("DeviceName", Type::Text, Source::At("/host/name")),
    column("RemoteIP", Type::Text, Source::At("/destination/ip")),
    column("RemotePort", Type::Int, Source::At("/destination/port")),
    column("RemoteUrl", Type::Text, Source::At("/destination/domain")),
    column("RemoteName", Type::Text, Source::At("/destination/address")),
    column("RemoteDomain", Type::Text, Source::At("/destination/registered_domain")),
    column("Protocol", Type::Text, Source::Capital("/network/transport")),
    column("TlsJa4", Type::Text, Source::At("/tls/client/ja4")),
    column("InitiatingProcessFileName", Type::Text, Source::At("/process/name")),
    column("InitiatingProcessFolderPath", Type::Text, Source::At("/process/executable")),
    column("InitiatingProcessSHA256", Type::Text, Source::At("/process/hash/sha256")),
    column("Connections", Type::Long, Source::At("/sonde/summary/connections")),
    column("BytesOut", Type::Long, Source::At("/source/bytes")),
    column("BytesIn", Type::Long, Source::At("/destination/bytes")),
    column("FirstSeen", Type::Time, Source::At("/sonde/summary/first_seen")),
    column("LastSeen", Type::Time, Source::At("/sonde/summary/last_seen")),
    column("FindingId", Type::Text, Source::At("/sonde/summary/rhythm/id")),
    column("Callbacks", Type::Long, Source::At("/sonde/summary/rhythm/callbacks")),
    column("PeriodSecs", Type::Real, Source::At("/sonde/summary/rhythm/period_secs")),
    column("IntervalMedianSecs", Type::Real, Source::At("/sonde/summary/rhythm/interval_median_secs")),
    column("JitterMadRatio", Type::Real, Source::At("/sonde/summary/rhythm/jitter_mad_ratio")),
    column("EvidenceBans", Type::Real, Source::At("/sonde/summary/rhythm/bans")),
    column("Score", Type::Real, Source::At("/sonde/summary/rhythm/score")),
    column("Severity", Type::Text, Source::At("/sonde/summary/rhythm/severity")),
    column("RestDestinations", Type::Long, Source::At("/sonde/summary/rest/destinations")),
    column("RestBytesOut", Type::Long, Source::At("/sonde/summary/rest/bytes_out")),
    column("RestBytesIn", Type::Long, Source::At("/sonde/summary/rest/bytes_in")),
    column("SensorVersion", Type::Text, Source::At("/agent/version")),
    column("SchemaVersion", Type::Text, Source::At("/sonde/schema/version")),
    column("Details", Type::Dynamic, Source::Rest),
];

/// Of health and audit.
pub(super) const SENSOR: &[Column] = &[
    column("TimeGenerated", Type::Time, Source::Time),
    column("Timestamp", Type::Time, Source::At("/@timestamp")),
    column("EmissionId", Type::Text, Source::Id),
    column("SensorId", Type::Text, Source::At("/agent/id")),
    column("RecordKind", Type::Text, Source::Kind),
    column("ActionType", Type::Text, Source::At("/event/action")),
    column("Outcome", Type::Text, Source::At("/event/outcome")),
    column("Severity", Type::Text, Source::Severity),
    column("Sequence", Type::Long, Source::At("/event/sequence")),
    column("StartTime", Type::Time, Source::At("/event/start")),
    column("Sentence", Type::Text, Source::At("/message")),
    column("DeviceName", Type::Text, Source::At("/host/name")),
    column("AccountName", Type::Text, Source::At("/user/name")),
    column("AccountId", Type::Text, Source::At("/user/id")),
    column("Verdict", Type::Text, Source::At("/sonde/health/verdict")),
    column("Reasons", Type::Dynamic, Source::At("/sonde/health/reasons")),
    column("IntervalSecs", Type::Long, Source::At("/sonde/health/interval_secs")),
    column("CpuPercent", Type::Real, Source::At("/sonde/health/usage/cpu_percent")),
    column("RssBytes", Type::Long, Source::At("/sonde/health/usage/rss_bytes")),
    column("ConfigSHA256", Type::Text, Source::At("/sonde/audit/config_sha256")),
    column("Reason", Type::Text, Source::At("/sonde/audit/reason")),
    column("SensorVersion", Type::Text, Source::At("/agent/version")),
    column("SchemaVersion", Type::Text, Source::At("/sonde/schema/version")),
    column("Details", Type::Dynamic, Source::Rest),
];
