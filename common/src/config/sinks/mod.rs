//! `[sinks.NAME]`: where records go, each with a spool of its own. One file per kind of sink.

mod elastic;
mod file;
mod hec;
mod kafka;
mod name;
mod nats;
mod notice;
mod otlp;
mod pin;
mod proxy;
mod secret;
mod sentinel;
mod stream_names;
mod syslog;
mod tls;
mod webhook;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::elastic::{ElasticSettings, Index};
pub use self::file::FileSettings;
pub use self::hec::HecSettings;
pub use self::kafka::{KafkaMechanism, KafkaSettings};
pub use self::name::SinkName;
pub use self::nats::NatsSettings;
pub use self::notice::NoticeSettings;
pub use self::otlp::OtlpSettings;
pub use self::pin::Pin;
pub use self::proxy::ProxyUrl;
pub use self::secret::Secret;
pub use self::sentinel::{SentinelSettings, Stream};
pub use self::stream_names::{HostPort, Subject, Topic};
pub use self::syslog::SyslogSettings;
pub use self::tls::TlsSettings;
pub use self::webhook::WebhookSettings;
use super::amount::{Bytes, Whole};
use crate::alert::Severity;
use crate::record::Kind;

/// All sinks by name, at most [`MAX_SINKS`].
pub type Sinks = BTreeMap<SinkName, SinkSettings>;

/// Sinks that can be set up: each has a spool, a task and a connection.
pub const MAX_SINKS: usize = 16;

/// One sink: what goes there, how it waits, and in one table below it how it is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkSettings {
    /// Which records: `alert`, `audit`, `health`, `summary`. Default all but `summary`, of which a fleet lives.
    pub records: Vec<Kind>,
    /// The least severity of an alert that goes there. Default `medium`.
    pub min_severity: Severity,
    /// `native` (Elastic Common Schema names and `sonde.*`) or `ocsf` (OCSF Detection Finding). Default `native`.
    pub form: WireForm,
    /// Room on disk for what waits. Default 64 MiB, from 1 MiB to 64 GiB. When it is full the oldest summaries go first,
    /// alerts last; what goes is counted and told.
    pub spool: SpoolBytes,
    /// Most records of one call. Default 500, from 1 to 10,000.
    pub batch_records: Whole<500, 1, 10_000>,
    /// Most bytes of one call before compression; one record may be longer. Default 512 KiB, from 4 KiB to 16 MiB.
    pub batch_bytes: Bytes<{ 512 << 10 }, { 4 << 10 }, { 16 << 20 }>,
    /// Seconds that records below severity high may wait for others. Default 5, from 0 to 3,600.
    pub flush_secs: Whole<5, 0, 3_600>,
    /// Seconds that one call may take. Default 30, from 1 to 600.
    pub timeout_secs: Whole<30, 1, 600>,
    /// Whether what is sent by HTTP is compressed. Default true.
    pub gzip: bool,
    /// HTTP proxy as `http://[user@]host:port` or `https://…`, through which CONNECT leads; empty: none. The environment
    /// (`HTTPS_PROXY`) is not asked: a sensor started by hand and by the service manager goes the same way.
    pub proxy: ProxyUrl,
    /// The password of the proxy's user.
    pub proxy_password: Secret,
    /// How the other side is known, and how it knows us.
    pub tls: TlsSettings,
    /// NDJSON to a file or to stdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSettings>,
    /// Elasticsearch or OpenSearch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<ElasticSettings>,
    /// Splunk's HTTP event collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hec: Option<HecSettings>,
    /// Microsoft Sentinel's Logs Ingestion API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<SentinelSettings>,
    /// Syslog, RFC 5424.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogSettings>,
    /// OpenTelemetry logs by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpSettings>,
    /// NATS JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<NatsSettings>,
    /// Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSettings>,
    /// JSON to a URL, such as that of a chat tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSettings>,
    /// A notice to the machine's own log: journald, or the Windows Event Log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<NoticeSettings>,
}

/// Room on disk for what waits.
pub type SpoolBytes = Bytes<{ 64 << 20 }, { 1 << 20 }, { 64 << 30 }>;

/// The form of a record's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireForm {
    /// Elastic Common Schema names plus `sonde.*`.
    #[default]
    Native,
    /// OCSF Detection Finding (class 2004).
    Ocsf,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            records: vec![Kind::Alert, Kind::Audit, Kind::Health],
            min_severity: Severity::Medium,
            form: WireForm::default(),
            spool: SpoolBytes::default(),
            batch_records: Whole::default(),
            batch_bytes: Bytes::default(),
            flush_secs: Whole::default(),
            timeout_secs: Whole::default(),
            gzip: true,
            proxy: ProxyUrl::default(),
            proxy_password: Secret::default(),
            tls: TlsSettings::default(),
            file: None,
            elastic: None,
            hec: None,
            sentinel: None,
            syslog: None,
            otlp: None,
            nats: None,
            kafka: None,
            webhook: None,
            notice: None,
        }
    }
}

/// How a sink is reached: the one table below its own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as the tables of SinkSettings are")]
pub enum Reach<'a> {
    File(&'a FileSettings),
    Elastic(&'a ElasticSettings),
    Hec(&'a HecSettings),
    Sentinel(&'a SentinelSettings),
    Syslog(&'a SyslogSettings),
    Otlp(&'a OtlpSettings),
    Nats(&'a NatsSettings),
    Kafka(&'a KafkaSettings),
    Webhook(&'a WebhookSettings),
    Notice(&'a NoticeSettings),
}

impl SinkSettings {
    /// The one table that says how it is reached; none if there is none or more than one.
    #[must_use]
    pub fn reach(&self) -> Option<Reach<'_>> {
        let all = [
            self.file.as_ref().map(Reach::File),
            self.elastic.as_ref().map(Reach::Elastic),
            self.hec.as_ref().map(Reach::Hec),
            self.sentinel.as_ref().map(Reach::Sentinel),
            self.syslog.as_ref().map(Reach::Syslog),
            self.otlp.as_ref().map(Reach::Otlp),
            self.nats.as_ref().map(Reach::Nats),
            self.kafka.as_ref().map(Reach::Kafka),
            self.webhook.as_ref().map(Reach::Webhook),
            self.notice.as_ref().map(Reach::Notice),
        ];
        let mut set = all.into_iter().flatten();
        let first = set.next();
        if set.next().is_some() { None } else { first }
    }

    /// What is wrong between the keys, if anything is.
    fn fault(&self) -> Option<&'static str> {
        if self.reach().is_none() {
            return Some(
                "exactly one table below it has to say how it is reached: file, elastic, hec, sentinel, syslog, otlp, nats, \
                 kafka, webhook or notice, such as [sinks.NAME.file]",
            );
        }
        if self.records.is_empty() {
            return Some("records is empty: nothing would go there; leave the sink out instead");
        }
        let user = self.proxy.get().is_some_and(|proxy| proxy.contains('@'));
        if self.proxy_password.is_set() && !user {
            return Some("proxy_password needs a user in proxy (http://user@host:port)");
        }
        let of_kind = self.elastic.as_ref().and_then(ElasticSettings::fault);
        let of_kind = of_kind.or_else(|| self.webhook.as_ref().and_then(WebhookSettings::fault));
        let of_kind = of_kind.or_else(|| self.sentinel.as_ref().and_then(SentinelSettings::fault));
        if self.sentinel.is_some() && self.form != WireForm::Native {
            return Some("sentinel makes rows of the native form: leave form out");
        }
        of_kind.or_else(|| self.tls.fault())
    }
}

/// One sink whose keys fit each other. Checked as it is read, so that an error points at its table.
struct Checked(SinkSettings);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = SinkSettings::deserialize(deserializer)?;
        match settings.fault() {
            None => Ok(Self(settings)),
            Some(fault) => Err(serde::de::Error::custom(fault)),
        }
    }
}

/// Reads all sinks, each of which fits.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sinks, D::Error> {
    let sinks: BTreeMap<SinkName, Checked> = BTreeMap::deserialize(deserializer)?;
    if sinks.len() > MAX_SINKS {
        let error = format_args!("{} sinks, and {MAX_SINKS} are the most", sinks.len());
        return Err(serde::de::Error::custom(error));
    }
    Ok(sinks.into_iter().map(|(name, Checked(settings))| (name, settings)).collect())
}

#[cfg(test)]
mod tests;
