//! The machine's managed identity: of a virtual machine of Azure by its instance metadata service, of a machine that Azure Arc
//! connects by its agent, which has the caller read a file that only the privileged can read.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use sonde_common::config::{SentinelSettings, SinkName, SinkSettings};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::token::{MAX_REPLY_BYTES, Refusal};
use super::{is_loopback, of_machine};
use crate::sink::http::{HttpClient, Reply, Request};
use crate::sink::own::OwnSockets;
use crate::sink::target::{self, HTTP};
use crate::sink::{SetupError, auth};

/// Address of the instance metadata service, which every machine of Azure has.
const METADATA_HOST: &str = "169.254.169.254";
/// Version of it that is spoken.
const METADATA_VERSION: &str = "2018-02-01";
/// Version of Arc's agent that is spoken.
const ARC_VERSION: &str = "2020-06-01";
/// Largest file of a challenge: the documents forbid a larger one.
const MAX_KEY_BYTES: u64 = 4_096;
/// Where Arc's agent keeps those files on Linux; a challenge that names another place is none of its own.
const KEYS: &str = "/var/opt/azcmagent/tokens";
/// … and on Windows below the folder for data of programs.
const KEYS_BELOW: [&str; 2] = ["AzureConnectedMachineAgent", "Tokens"];
/// Said with each question, since no page of the web can be made to say it.
const METADATA: HeaderName = HeaderName::from_static("metadata");

/// Where the identity is asked for.
#[derive(Debug)]
pub(super) struct Identity {
    client: HttpClient,
    path: String,
    /// Folders in which files of a challenge may be; none: there are no challenges.
    keys: Vec<PathBuf>,
}

impl Identity {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        sentinel: &SentinelSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason: String| SetupError { sink: name.clone(), reason };
        let (key, url) = ("sentinel.identity_url", &sentinel.identity_url);
        let target = target::parse(key, url, &HTTP).map_err(error)?;
        let arc = is_loopback(&target.host);
        if target.secure || !(arc || target.host == METADATA_HOST) {
            let why = format!(
                "{key} has to be http:// to {METADATA_HOST} or to loopback: managed identities are this machine's. For an \
                 application's secret set sentinel.tenant, client and secret"
            );
            return Err(error(why));
        }
        let client = HttpClient::new(name, &of_machine(settings), own, key, url, MAX_REPLY_BYTES)?;
        let resource = sentinel.scope.strip_suffix("/.default").unwrap_or(&sentinel.scope);
        let path = target.path.split('?').next().unwrap_or_default();
        let version = if arc { ARC_VERSION } else { METADATA_VERSION };
        let mut path = format!("{path}?api-version={version}&resource=");
        path.extend(byte_serialize(resource.as_bytes()));
        if !sentinel.client.is_empty() {
            path.push_str("&client_id=");
            path.extend(byte_serialize(sentinel.client.as_bytes()));
        }
        let windows =
            std::env::var_os("ProgramData").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let windows = windows.map(|folder| KEYS_BELOW.iter().fold(folder, |path, name| path.join(name)));
        let keys =
            if arc { std::iter::once(PathBuf::from(KEYS)).chain(windows).collect() } else { Vec::new() };
        Ok(Self { client, path, keys })
    }

    pub(super) async fn ask(&mut self) -> Result<Reply, Refusal> {
        let mut reply = self.send(None).await?;
        if reply.status == StatusCode::UNAUTHORIZED
            && !self.keys.is_empty()
            && let Some(file) = challenge(&reply)
        {
            let key = read_key(Path::new(&file), &self.keys).map_err(|why| {
                format!("no token from Azure Arc's agent: {why}; the sensor's account has to be in the group himds")
            })?;
            let header = auth::basic_of(&key)
                .ok_or_else(|| "the file of Arc's challenge holds what no header may".to_owned())?;
            reply = self.send(Some(header)).await?;
        }
        self.client.close();
        if reply.status.is_success() {
            return Ok(reply);
        }
        let reason = format!(
            "no token from the machine's managed identity: has the machine one, and is sentinel.identity_url right? {}",
            reply.said()
        );
        Err(Refusal { reason, retry_after: reply.retry_after })
    }

    async fn send(&mut self, authorization: Option<HeaderValue>) -> Result<Reply, Refusal> {
        let mut headers = vec![(METADATA, HeaderValue::from_static("true"))];
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let (path, body) = (self.path.clone(), Bytes::new());
        let request = Request { method: Method::GET, path, headers, body, gzip: false };
        let reply = self.client.send(request).await;
        Ok(reply.map_err(|error| format!("no token from the machine's managed identity: {error}"))?)
    }

    /// Takes files of challenges from this folder instead.
    #[cfg(test)]
    #[cfg(feature = "linux-tests")]
    pub(super) fn with_keys(&mut self, folder: &Path) {
        self.keys = vec![folder.to_owned()];
    }
}

/// The file that a challenge names: `Basic realm=/var/opt/azcmagent/tokens/….key`.
fn challenge(reply: &Reply) -> Option<String> {
    let text = reply.headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    let realm = text.strip_prefix("Basic realm=")?.trim().trim_matches('"');
    (!realm.is_empty()).then(|| realm.to_owned())
}

/// Reads the file of a challenge. Whoever answers on that port names it, so it has to lie where Arc's agent keeps such files.
fn read_key(file: &Path, folders: &[PathBuf]) -> Result<Zeroizing<String>, String> {
    let there = file.parent().is_some_and(|parent| folders.iter().any(|folder| folder == parent));
    if !there || file.extension().is_none_or(|ending| ending != "key") {
        return Err("its challenge names a file that is not one of the agent's".to_owned());
    }
    let shown = sonde_common::text::escape(&file.display().to_string()).into_owned();
    let error = |error: std::io::Error| format!("{shown}: {error}");
    // A link leads elsewhere, and a pipe would hold us.
    if !std::fs::symlink_metadata(file).map_err(error)?.is_file() {
        return Err(format!("{shown} is no regular file"));
    }
    let room = usize::try_from(MAX_KEY_BYTES).unwrap_or(usize::MAX) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let opened = std::fs::File::open(file).map_err(error)?;
    opened.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > MAX_KEY_BYTES {
        return Err(format!("{shown} is longer than {MAX_KEY_BYTES} bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} is no text"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_leads_to_no_file_but_the_agents() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [folder.path().to_owned()];
        let file = folder.path().join("a.key");
        std::fs::write(&file, "key-of-the-agent\n").unwrap();
        assert_eq!(read_key(&file, &keys).unwrap().as_str(), "key-of-the-agent");
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("b.key"), "x").unwrap();
        std::fs::write(folder.path().join("a.txt"), "x").unwrap();
        std::fs::write(folder.path().join("long.key"), "x".repeat(4_097)).unwrap();
        for (name, wanted) in [
            ("below/b.key", "not one of the agent's"),
            ("below/../a.key", "not one of the agent's"),
            ("a.txt", "not one of the agent's"),
            ("../x.key", "not one of the agent's"),
            ("long.key", "longer than"),
            ("none.key", "none.key"),
        ] {
            let error = read_key(&folder.path().join(name), &keys).unwrap_err();
            assert!(error.contains(wanted), "{name}: {error}");
        }
        assert!(read_key(Path::new("/etc/shadow"), &keys).is_err());
    }

    #[cfg(feature = "linux-tests")]
    #[test]
    fn a_link_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.key")).unwrap();
        let error = read_key(&folder.path().join("link.key"), &[folder.path().to_owned()]).unwrap_err();
        assert!(error.contains("no regular file"), "{error}");
    }
}
