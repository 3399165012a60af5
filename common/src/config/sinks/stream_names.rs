//! Names that streaming servers give to what they keep: a subject of NATS, a topic of Kafka, a broker.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest subject or topic, in bytes: Kafka's own bound for topics (`Topic.MAX_NAME_LENGTH`).
const MAX_BYTES: usize = 249;

/// Longest host name, in bytes (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// The begin of subjects: words of letters, digits, `_` and `-` with dots between them. Default `sonde`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Subject(String);

/// A topic of Kafka: letters, digits, `.`, `_` and `-`. Default `sonde`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Topic(String);

/// A server as `host:port`; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HostPort(String);

impl Default for Subject {
    fn default() -> Self {
        Self("sonde".to_owned())
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self("sonde".to_owned())
    }
}

impl Subject {
    /// The begin, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Topic {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostPort {
    /// From text, if it names a host and a port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        split(text).map(|_| Self(text.to_owned()))
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        split(&self.0).map_or("", |(host, _)| host)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        split(&self.0).map_or(0, |(_, port)| port)
    }
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= MAX_HOST_BYTES
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    fits.then_some((inner.unwrap_or(host), port))
}

fn wrong<E: serde::de::Error>(text: &str, what: &str) -> E {
    let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
    E::custom(format_args!("`{shown}` is {what}"))
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        if text.len() > MAX_BYTES || !text.split('.').all(word) {
            return Err(wrong(
                &text,
                "no subject: words of letters, digits, _ and - with dots between them, at most 249 bytes",
            ));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty()
            || text.len() > MAX_BYTES
            || !text.chars().all(fits)
            || matches!(text.as_str(), "." | "..")
        {
            return Err(wrong(&text, "no topic: letters, digits, dots, _ and -, at most 249 bytes"));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| wrong(&text, "no host:port, such as kafka.example:9092 or [::1]:9092"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<'de, T: Deserialize<'de>>(text: &'de str) -> bool {
        let text: serde::de::value::StrDeserializer<'de, serde::de::value::Error> =
            serde::de::IntoDeserializer::into_deserializer(text);
        T::deserialize(text).is_ok()
    }

    #[test]
    fn a_subject_has_no_wildcards_spaces_or_empty_words() {
        assert!(reads::<Subject>("sonde") && reads::<Subject>("fleet-1.sonde_x.a"));
        for text in ["", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "a\r\nPUB", "ä", &"a".repeat(250)] {
            assert!(!reads::<Subject>(text), "{text:?}");
        }
    }

    #[test]
    fn a_topic_is_one_that_kafka_takes() {
        assert!(reads::<Topic>("sonde.alerts_1-a"));
        for text in ["", ".", "..", "a b", "a/b", "a\n", "ü", &"a".repeat(250)] {
            assert!(!reads::<Topic>(text), "{text:?}");
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        let parts =
            |text: &str| HostPort::parse(text).map(|broker| (broker.host().to_owned(), broker.port()));
        assert_eq!(parts("kafka.example:9092"), Some(("kafka.example".to_owned(), 9092)));
        assert_eq!(parts("[::1]:1"), Some(("::1".to_owned(), 1)));
        for text in ["kafka", "kafka:", "kafka:0", "kafka:65536", ":9092", "::1:9092", "a b:1", "http://a:1"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
