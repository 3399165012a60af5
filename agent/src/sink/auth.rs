//! What a call says to be let in: headers made of secrets that are read for each batch, so that a new one is taken up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use sonde_common::config::Secret;
use zeroize::Zeroizing;

use super::secret;

/// `SCHEME secret`. `key`: how the secret is called in the configuration, for the error.
pub(super) fn token(scheme: &str, key: &str, of: &Secret) -> Result<HeaderValue, String> {
    let token = secret::read(of).map_err(|error| format!("{key}: {error}"))?;
    let text = Zeroizing::new(format!("{scheme} {}", token.as_str()));
    header(&text).ok_or_else(|| format!("{key}: it holds what no header may"))
}

/// `Basic` of user and password.
pub(crate) fn basic(user: &str, key: &str, of: &Secret) -> Result<HeaderValue, String> {
    let password = secret::read(of).map_err(|error| format!("{key}: {error}"))?;
    let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    header(&text).ok_or_else(|| format!("{key}: it holds what no header may"))
}

fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    // It is left out where headers are shown.
    value.set_sensitive(true);
    Some(value)
}
