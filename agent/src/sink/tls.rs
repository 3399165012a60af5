//! TLS to a server or proxy: rustls with ring, 1.2 at least; who vouches for the other side, which keys it may have, and our
//! own certificate where it wants one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sonde_common::config::{Pin, TlsSettings};

use super::pins::Pinned;
use super::secret;

/// Largest file of certificates that is read: what Linux distributions ship is a quarter of a megabyte.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// How the other side is known, and how it knows us.
#[derive(Clone, Debug)]
pub struct Tls {
    verifier: Arc<dyn ServerCertVerifier>,
    /// Files of our certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Of a server.
    ///
    /// # Errors
    /// When a file cannot be read or holds nothing of use: the text names the key and the file.
    pub fn server(settings: &TlsSettings) -> Result<Self, String> {
        let roots = match settings.ca.get() {
            Some(path) => custom(path)?,
            None => system()?,
        };
        let place = |place: Option<&str>| place.map(PathBuf::from);
        let identity = place(settings.certificate.get()).zip(place(settings.key.get()));
        let tls = Self { verifier: verifier(roots, &settings.pins)?, identity };
        // What is wrong with the files is told at once, not at the first connection.
        tls.config()?;
        Ok(tls)
    }

    /// Of a proxy: those that the machine trusts may vouch for it, and the sink's own authority. It is not shown our
    /// certificate, and the server's pins are not its own.
    ///
    /// # Errors
    /// When a file cannot be read or holds nothing of use.
    pub fn proxy(settings: &TlsSettings) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = settings.ca.get() {
            roots = custom(path)?;
        }
        match system() {
            Ok(more) => roots.extend(more.roots),
            Err(error) if roots.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(Self { verifier: verifier(roots, &[])?, identity: None })
    }

    /// The configuration of one connection. Our certificate is read each time, since it may have been renewed.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("tls: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let Some((certificate, key)) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = certificates("tls.certificate", certificate)?;
        let text = secret::read_file(key).map_err(|error| format!("tls.key: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
            format!("tls.key: {} holds no key in PEM form that is not encrypted", key.display())
        })?;
        let config = builder.with_client_auth_cert(chain, key);
        config.map(Arc::new).map_err(|error| format!("tls.certificate and tls.key do not fit: {error}"))
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn verifier(roots: RootCertStore, pins: &[Pin]) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let roots = Arc::new(roots);
    let plain = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
        .build()
        .map_err(|error| format!("tls: {error}"))?;
    Ok(if pins.is_empty() { plain } else { Arc::new(Pinned::new(plain, &roots, pins)) })
}

fn system() -> Result<RootCertStore, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A machine's store holds certificates of old that do not parse: the others count.
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let why = loaded.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this machine trusts no certificate authority{why}: install ca-certificates, or name the authority's file in tls.ca"
        ));
    }
    Ok(roots)
}

fn custom(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", Path::new(path))? {
        roots.add(certificate).map_err(|error| format!("tls.ca: {path}: {error}"))?;
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let error = |why: &dyn std::fmt::Display| format!("{key}: {}: {why}", path.display());
    let data = std::fs::metadata(path).map_err(|e| error(&e))?;
    if !data.is_file() || data.len() > MAX_FILE_BYTES {
        return Err(error(&"is no file of certificates: it is no regular file, or larger than 4 MiB"));
    }
    let bytes = std::fs::read(path).map_err(|e| error(&e))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| error(&e))?;
    if all.is_empty() {
        return Err(error(&"holds no certificate in PEM form"));
    }
    Ok(all)
}
