//! `[fleet]`: where the fleet's records are kept and counted, for `sonde fleet`. A sensor needs none of it: it has sinks.

use serde::{Deserialize, Deserializer, Serialize};

use super::amount::{Bytes, Whole};
use super::sinks::{NatsSettings, Secret, Subject, TlsSettings};
use super::text::Place;

/// Longest name of a database, stream, bucket or consumer, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The fleet's store, what feeds it, and how records are carried from one to the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSettings {
    /// Where records are kept and counted.
    pub clickhouse: ClickHouseSettings,
    /// Where sensors send them.
    pub nats: FleetNatsSettings,
    /// How `sonde fleet carry` takes them from there.
    pub carry: CarrySettings,
}

/// ClickHouse, by its HTTP interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSettings {
    /// URL, such as `https://clickhouse.example:8443`; empty: there is no store.
    pub url: String,
    /// Database of the schema. Default `sonde`.
    pub database: DatabaseName,
    /// User; empty: none is told, and the server takes its default one.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Seconds that one call may take. Default 60, from 1 to 600.
    pub timeout_secs: Whole<60, 1, 600>,
    /// Most rows of one answer. Default 10,000, from 1 to 1,000,000. A question that has more is refused, not cut.
    pub max_rows: Whole<10_000, 1, 1_000_000>,
    /// How the server is known, and how it knows us.
    #[serde(deserialize_with = "checked_tls")]
    pub tls: TlsSettings,
}

/// NATS JetStream, as sinks reach it. At most one of `user` with `password`, `token` and `credentials` may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetNatsSettings {
    /// Servers, such as `tls://nats.example:4222`, at most 16.
    pub urls: Vec<String>,
    /// Begin of the subjects, as the sensors' sinks have it. Default `sonde`.
    pub subject: Subject,
    /// Stream that keeps them. Default `SONDE`.
    pub stream: StreamName,
    /// Bucket of the hints that sensors read. Default `sonde_hints`.
    pub bucket: BucketName,
    /// User, where a password is used.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// A token, where the server wants one.
    pub token: Secret,
    /// A credentials file (`.creds`).
    pub credentials: Secret,
    /// How the servers are known, and how they know us.
    #[serde(deserialize_with = "checked_tls")]
    pub tls: TlsSettings,
}

/// How `sonde fleet carry` carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarrySettings {
    /// Durable consumer of the stream; carriers of one name share the work. Default `sonde-carry`.
    pub consumer: ConsumerName,
    /// Most records of one batch. Default 10,000, from 1 to 100,000.
    pub batch_records: Whole<10_000, 1, 100_000>,
    /// Most bytes of one batch, as they stand in the stream. Default 16 MiB, from 2 MiB to 256 MiB; a record may have one.
    pub batch_bytes: Bytes<{ 16 << 20 }, { 2 << 20 }, { 256 << 20 }>,
    /// Seconds that a batch waits to fill up. Default 2, from 1 to 60: each insert makes a part on disk, and fewer are better.
    pub batch_secs: Whole<2, 1, 60>,
    /// Seconds after which the stream gives a batch to another carrier when the one that has it says nothing. Default 120, from 5
    /// to 3,600; longer than an insert takes.
    pub retry_secs: Whole<120, 5, 3_600>,
    /// Folder for what no table takes (`carry.dead.ndjson`), absolute. Default none, without which nothing is carried: one record
    /// that cannot be kept would stop all that come after it.
    pub dead_dir: Place,
}

impl FleetNatsSettings {
    /// As a sink is told.
    #[must_use]
    pub fn reach(&self) -> NatsSettings {
        NatsSettings {
            urls: self.urls.clone(),
            subject: self.subject.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            credentials: self.credentials.clone(),
        }
    }
}

pub(super) fn checked_tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TlsSettings, D::Error> {
    let tls = TlsSettings::deserialize(deserializer)?;
    match tls.fault() {
        None => Ok(tls),
        Some(fault) => Err(serde::de::Error::custom(fault)),
    }
}

/// A name of letters, digits, `_` and `-`: it stands in statements, subjects and paths as it is.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $default:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default.to_owned())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                plain(String::deserialize(deserializer)?).map(Self)
            }
        }
    };
}

name! {
    /// Name of a database.
    DatabaseName, "sonde"
}
name! {
    /// Name of a stream.
    StreamName, "SONDE"
}
name! {
    /// Name of a bucket.
    BucketName, "sonde_hints"
}
name! {
    /// Name of a durable consumer.
    ConsumerName, "sonde-carry"
}

fn plain<E: serde::de::Error>(text: String) -> Result<String, E> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && text.len() <= MAX_NAME_BYTES && text.chars().all(fits) {
        return Ok(text);
    }
    let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
    Err(E::custom(format_args!(
        "`{shown}` is no name: at most {MAX_NAME_BYTES} of letters, digits, _ and -, beginning with a letter"
    )))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn names_stand_in_statements_and_subjects_as_they_are() {
        let parse = |text: &str| Config::parse(text, &[]);
        let fleet = parse("[fleet.nats]\nstream = \"OTHER_1\"").unwrap().fleet;
        assert_eq!((fleet.nats.stream.as_str(), fleet.nats.bucket.as_str()), ("OTHER_1", "sonde_hints"));
        assert_eq!(
            (fleet.clickhouse.database.as_str(), fleet.carry.consumer.as_str()),
            ("sonde", "sonde-carry")
        );
        for bad in ["", "a b", "a.b", "a`; DROP", "1a", "*", "a\\u001b"] {
            let error = parse(&format!("[fleet.clickhouse]\ndatabase = \"{bad}\"")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains("is no name"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let error = Config::parse("[fleet.clickhouse]\ntls = { certificate = \"/c.pem\" }", &[]).unwrap_err();
        assert!(error.to_string().contains("tls.certificate needs tls.key"), "{error}");
    }
}
