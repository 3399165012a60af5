//! Passwords, tokens and keys: read from where the configuration says each time they are needed, wiped after use, and never
//! part of a message.

use std::io::Read as _;
use std::path::Path;

use sonde_common::config::Secret;
use zeroize::Zeroizing;

use crate::platform;

/// Longest secret, in bytes: a credentials file with a signed token takes two thousand.
const MAX_BYTES: usize = 64 << 10;

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// None is named.
    #[error("no secret is named: set file, credential or env")]
    None,
    /// Its file cannot be read, or others could read it.
    #[error("{place}: {error}")]
    File {
        /// The file or credential.
        place: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Credentials are passed by systemd alone.
    #[error(
        "credential {0}: $CREDENTIALS_DIRECTORY is not set: start the sensor by systemd with LoadCredential={0}:/path, or use \
         file instead"
    )]
    NoCredentials(String),
    /// The variable is not set, or no text.
    #[error("the environment variable {0} is not set, or holds no text")]
    Env(String),
    /// It is no secret of a usable form.
    #[error("{place}: {fault}")]
    Form {
        /// Where it was read.
        place: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// Reads a secret of one line: what follows the first line's end is left out.
///
/// # Errors
/// [`SecretError`] says where and why, and never what was read.
pub fn read(secret: &Secret) -> Result<Zeroizing<String>, SecretError> {
    let (whole, place) = fetch(secret)?;
    let line = whole.lines().next().unwrap_or_default().trim();
    let fault = |fault| Err(SecretError::Form { place, fault });
    if line.is_empty() {
        return fault("its first line is empty");
    }
    if line.chars().any(char::is_control) {
        return fault("it holds control characters");
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Reads a secret of many lines, such as a file of credentials or a key.
///
/// # Errors
/// [`SecretError`] says where and why, and never what was read.
pub fn read_all(secret: &Secret) -> Result<Zeroizing<String>, SecretError> {
    let (whole, place) = fetch(secret)?;
    if whole.trim().is_empty() {
        return Err(SecretError::Form { place, fault: "it is empty" });
    }
    Ok(whole)
}

/// Reads a file that holds a secret and that nobody else can read.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let place = path.display().to_string();
    let error = |error| SecretError::File { place: place.clone(), error };
    let mut file = platform::open_private(path).map_err(error)?;
    // Of its full size from the start: text that grew would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(error(cause)),
        }
    }
    let fault = |fault| SecretError::Form { place: place.clone(), fault };
    if length > MAX_BYTES {
        return Err(fault("it is longer than 64 KiB, which no secret is"));
    }
    let bytes = bytes.get(..length).unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| fault("it is no UTF-8 text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn fetch(secret: &Secret) -> Result<(Zeroizing<String>, String), SecretError> {
    if let Some(path) = secret.file.get() {
        return Ok((read_file(Path::new(path))?, path.to_owned()));
    }
    if !secret.credential.is_empty() {
        let name = secret.credential.clone();
        let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
            return Err(SecretError::NoCredentials(name));
        };
        return Ok((read_file(&Path::new(&folder).join(&name))?, format!("credential {name}")));
    }
    if secret.env.is_empty() {
        return Err(SecretError::None);
    }
    let place = format!("environment variable {}", secret.env);
    let value = std::env::var(&secret.env).map(Zeroizing::new);
    let value = value.map_err(|_| SecretError::Env(secret.env.clone()))?;
    if value.len() > MAX_BYTES {
        return Err(SecretError::Form { place, fault: "it is longer than 64 KiB, which no secret is" });
    }
    Ok((value, place))
}

#[cfg(test)]
mod tests {
    use sonde_common::config::Config;

    use super::*;

    /// The secret that `keys` name, such as `file = "/x"`.
    fn secret(keys: &str) -> Secret {
        let text =
            format!("[sinks.a]\nproxy = \"http://me@p:1\"\nproxy_password = {{ {keys} }}\n[sinks.a.file]");
        Config::parse(&text, &[]).unwrap().sinks.into_values().next().unwrap().proxy_password
    }

    fn file_of(bytes: &[u8]) -> (tempfile::NamedTempFile, Secret) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let secret = secret(&format!("file = '{}'", file.path().display()));
        (file, secret)
    }

    #[test]
    fn the_first_line_is_the_secret() {
        let (_file, one) = file_of(b"geheim \r\nsecond line\n");
        assert_eq!(read(&one).unwrap().as_str(), "geheim");
        assert_eq!(read_all(&one).unwrap().as_str(), "geheim \r\nsecond line\n");
        let path = std::env::var("PATH").unwrap();
        assert_eq!(*read(&secret("env = \"PATH\"")).unwrap(), path);
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        for (bytes, wanted) in [
            (&b""[..], "is empty"),
            (b"\ngeheim", "is empty"),
            (b"geh\x1b[31meim", "control characters"),
            (b"geheim\xff", "no UTF-8"),
            (&[b'x'; MAX_BYTES + 1], "longer than 64 KiB"),
        ] {
            let (_file, one) = file_of(bytes);
            let error = read(&one).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("eim"), "{error}");
        }
        let missing = read(&secret("env = \"SONDE_NO_SUCH_VARIABLE\"")).unwrap_err().to_string();
        assert!(missing.contains("SONDE_NO_SUCH_VARIABLE is not set"), "{missing}");
        let missing = read(&secret("file = \"/nonexistent/secret\"")).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/secret"), "{missing}");
        let missing = read(&secret("credential = \"hec\"")).unwrap_err().to_string();
        assert!(missing.contains("LoadCredential=hec"), "{missing}");
        assert!(matches!(read(&Secret::default()), Err(SecretError::None)));
    }
}
