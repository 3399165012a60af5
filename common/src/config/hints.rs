//! `[hints]`: what a fleet tells its sensors, and whose word of it is taken.

use serde::{Deserialize, Deserializer, Serialize};

use super::amount::Whole;
use super::fleet::{BucketName, checked_tls};
use super::sinks::{NatsSettings, Secret, TlsSettings};
use crate::hints::PublicKey;

/// Most keys: one in use, its successor, and one that goes.
const MAX_KEYS: usize = 4;

/// Hints of a fleet. At most one of `user` with `password`, `token` and `credentials` may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HintSettings {
    /// Servers of NATS, such as `tls://nats.example:4222`, at most 16; none: no hints are asked for.
    pub urls: Vec<String>,
    /// Bucket that holds them. Default `sonde_hints`.
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
    /// Public keys whose signature is taken, as `sonde fleet keys new` prints them, at most 4. Without one none is.
    #[serde(deserialize_with = "few")]
    pub keys: Vec<PublicKey>,
    /// How much of its weight a hint has, in percent: 100 moves the score by at most 0.75 points. Default 100, from 0 to 100.
    pub weight_percent: Whole<100, 0, 100>,
    /// The secret key with which `sonde fleet hints publish` signs. A sensor needs none, and must have none.
    pub signing_key: Secret,
    /// Hours for which published hints hold. Default 48, from 1 to 720.
    pub lifetime_hours: Whole<48, 1, 720>,
}

impl HintSettings {
    /// As a sink of NATS is told.
    #[must_use]
    pub fn reach(&self) -> NatsSettings {
        NatsSettings {
            urls: self.urls.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            credentials: self.credentials.clone(),
            ..NatsSettings::default()
        }
    }
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let keys = Vec::<PublicKey>::deserialize(deserializer)?;
    if keys.len() > MAX_KEYS {
        let error = format_args!("{} keys, and {MAX_KEYS} are the most", keys.len());
        return Err(serde::de::Error::custom(error));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::hints::SecretKey;

    #[test]
    fn keys_are_checked_where_they_stand() {
        let key = SecretKey::of_seed(&[7; 32]).public().to_string();
        let config = Config::parse(&format!("[hints]\nkeys = [\"{key}\"]"), &[]).unwrap();
        assert_eq!(config.hints.keys.first().map(ToString::to_string), Some(key.clone()));
        assert_eq!(Config::parse(&config.to_toml(), &[]), Ok(config));
        let many = vec![format!("\"{key}\""); 5].join(",");
        for (keys, wanted) in [("\"x\\u001b\"", "is no public key"), (many.as_str(), "5 keys")] {
            let error = Config::parse(&format!("[hints]\nkeys = [{keys}]"), &[]).unwrap_err().to_string();
            assert!(
                error.contains("line 2") && error.contains(wanted) && !error.contains('\u{1b}'),
                "{error}"
            );
        }
    }
}
