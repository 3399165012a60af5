//! A connection to one broker: dialled, its versions asked, the user proved; then one call at a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rustls::crypto::ring;
use sonde_common::config::{KafkaMechanism, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::errors::words;
use super::message::{self, API_VERSIONS, Call, Range, SASL_AUTHENTICATE, SASL_HANDSHAKE};
use super::scram::{Hash, Scram};
use crate::sink::dial::{Dialer, Stream};
use crate::sink::http::shown;
use crate::sink::secret;

/// Longest reply that is read: metadata of one topic with 10,000 partitions is half of it.
const MAX_REPLY: usize = 1 << 20;
/// Most calls whose versions a broker may list; Kafka 4 has below 100.
const MAX_CALLS: usize = 1_024;

/// How a user is proved.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) mechanism: KafkaMechanism,
}

/// A connection to one broker.
pub(super) struct Link {
    stream: Stream,
    versions: Vec<Range>,
    correlation: i32,
}

impl Link {
    pub(super) async fn open(
        dialer: &Dialer,
        host: &str,
        port: u16,
        login: Option<&Login>,
    ) -> Result<Self, String> {
        let stream = dialer.dial(host, port).await.map_err(|error| {
            format!(
                "cannot connect to {}:{port}: {}",
                shown(host.as_bytes()),
                shown(error.to_string().as_bytes())
            )
        })?;
        let mut link = Self { stream, versions: Vec::new(), correlation: 0 };
        let reply = link.exchange(API_VERSIONS, 0, &[]).await?;
        let (error, versions) = message::read_versions(&reply).map_err(|error| error.to_string())?;
        if error != 0 || versions.len() > MAX_CALLS {
            return Err(format!("the broker does not say which versions it takes: {}", words(error, "")));
        }
        link.versions = versions;
        if let Some(login) = login {
            link.log_in(login).await?;
        }
        Ok(link)
    }

    /// One call: which version was spoken, and the reply.
    pub(super) async fn call(
        &mut self,
        call: Call,
        body: impl FnOnce(i16) -> Vec<u8>,
    ) -> Result<(i16, Vec<u8>), String> {
        let offered = self.versions.iter().find(|range| range.key == call.key);
        let version = offered
            .map(|range| (range.most.min(call.most), range.least.max(call.least)))
            .filter(|(most, least)| most >= least)
            .map(|(most, _)| most)
            .ok_or_else(|| format!("the broker takes no version of {} that is spoken here", call.name))?;
        let reply = self.exchange(call, version, &body(version)).await?;
        Ok((version, reply))
    }

    async fn exchange(&mut self, call: Call, version: i16, body: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |error: std::io::Error| {
            format!("{}: the connection broke: {}", call.name, shown(error.to_string().as_bytes()))
        };
        self.correlation = self.correlation.wrapping_add(1);
        let request = message::request(call, version, self.correlation, body);
        let length = u32::try_from(request.len()).map_err(|_| format!("{}: too long", call.name))?;
        self.stream.write_all(&length.to_be_bytes()).await.map_err(failed)?;
        self.stream.write_all(&request).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)?;
        let length = usize::try_from(self.stream.read_u32().await.map_err(failed)?).unwrap_or(usize::MAX);
        if !(4..=MAX_REPLY).contains(&length) {
            return Err(format!("{}: a reply of {length} bytes is no reply", call.name));
        }
        let correlation = self.stream.read_i32().await.map_err(failed)?;
        if correlation != self.correlation {
            return Err(format!("{}: a reply to something else", call.name));
        }
        let mut reply = vec![0; length - 4];
        self.stream.read_exact(&mut reply).await.map_err(failed)?;
        Ok(reply)
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), String> {
        let mechanism = match login.mechanism {
            KafkaMechanism::Plain => "PLAIN",
            KafkaMechanism::ScramSha256 => "SCRAM-SHA-256",
            KafkaMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        let password = secret::read(&login.password).map_err(|error| error.to_string())?;
        let (_, reply) = self.call(SASL_HANDSHAKE, |_| message::sasl_handshake(mechanism)).await?;
        let (error, offered) = message::read_sasl_handshake(&reply).map_err(|error| error.to_string())?;
        if error != 0 {
            let offered = shown(offered.join(", ").as_bytes());
            return Err(format!(
                "the broker does not take {mechanism}: {}; it offers {offered}",
                words(error, "")
            ));
        }
        let hash = match login.mechanism {
            KafkaMechanism::Plain => {
                // RFC 4616; what it holds is overwritten when it goes.
                let whole = zeroize::Zeroizing::new(format!("\0{}\0{}", login.user, password.as_str()));
                return self.authenticate(whole.as_bytes()).await.map(drop);
            }
            KafkaMechanism::ScramSha256 => Hash::Sha256,
            KafkaMechanism::ScramSha512 => Hash::Sha512,
        };
        let scram = Scram::new(hash, &login.user, nonce()?);
        let said = self.authenticate(scram.first().as_bytes()).await?;
        let wrong = |why: &str| format!("the broker's part of {mechanism} is wrong: {why}");
        let (proof, expected) = scram.proof(&password, &said).map_err(wrong)?;
        let said = self.authenticate(proof.as_bytes()).await?;
        if !Scram::is_proved(&said, &expected) {
            return Err(wrong("it does not know the password"));
        }
        Ok(())
    }

    async fn authenticate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (_, reply) = self.call(SASL_AUTHENTICATE, |_| message::sasl_authenticate(bytes)).await?;
        let (error, said, answer) =
            message::read_sasl_authenticate(&reply).map_err(|error| error.to_string())?;
        if error != 0 {
            return Err(format!("{} ({})", words(error, ""), shown(said.as_bytes())));
        }
        Ok(answer)
    }
}

/// What nobody can have answered before.
fn nonce() -> Result<String, String> {
    let mut bytes = [0; 24];
    let random = ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(BASE64.encode(bytes))
}
