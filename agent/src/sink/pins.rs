//! Pins: keys of which the other side's chain has to hold one, besides being valid by every other measure.
//!
//! Only keys of the chain that was in fact verified count. A server may send certificates that lead nowhere, and somebody
//! with a certificate of any authority would otherwise add a public one that bears the pinned key.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use sonde_common::config::Pin;

/// Most certificates of a chain that are looked at; the library verifies no longer ones.
const MAX_CHAIN: usize = 16;

/// Verifies as the library does, and that a pinned key is in the chain.
#[derive(Debug)]
pub(super) struct Pinned {
    plain: Arc<WebPkiServerVerifier>,
    pins: HashSet<[u8; 32]>,
    /// Those that we trust and whose key is pinned.
    anchors: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

/// No key of the chain is pinned.
#[derive(thiserror::Error)]
#[error("its certificate is valid, but no key of its chain is one of tls.pins (its own key is {0})")]
struct NotPinned(Pin);

// What the library shows to people of an error that is not its own.
impl std::fmt::Debug for NotPinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Pinned {
    pub(super) fn new(plain: Arc<WebPkiServerVerifier>, roots: &RootCertStore, pins: &[Pin]) -> Self {
        let pins: HashSet<_> = pins.iter().map(|pin| *pin.hash()).collect();
        let held = |content: &[u8]| pins.contains(&hash(&sequence(content)));
        let anchors =
            roots.roots.iter().filter(|root| held(root.subject_public_key_info.as_ref())).cloned().collect();
        let algorithms = super::tls::provider().signature_verification_algorithms;
        Self { plain, pins, anchors, algorithms }
    }

    /// Whether the certificate's key is pinned, or it is vouched for by somebody whose key is.
    fn is_pinned(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<bool, Error> {
        let parsed = ParsedCertificate::try_from(end)?;
        let held = |info: &[u8]| self.pins.contains(&hash(info));
        if held(parsed.subject_public_key_info().as_ref()) {
            return Ok(true);
        }
        let mut anchors = self.anchors.clone();
        for certificate in between.iter().take(MAX_CHAIN) {
            let key = ParsedCertificate::try_from(certificate);
            if key.is_ok_and(|key| held(key.subject_public_key_info().as_ref())) {
                // As an anchor it only says whether the chain goes through it; that the chain is valid is known already.
                let _ = anchors.add(certificate.clone().into_owned());
            }
        }
        if anchors.is_empty() {
            return Ok(false);
        }
        let algorithms = self.algorithms.all;
        Ok(verify_server_cert_signed_by_trust_anchor(&parsed, &anchors, between, now, algorithms).is_ok())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.plain.verify_server_cert(end, between, name, ocsp, now)?;
        if self.is_pinned(end, between, now)? {
            return Ok(verified);
        }
        let own = ParsedCertificate::try_from(end)?.subject_public_key_info();
        let error = NotPinned(Pin::from(hash(own.as_ref())));
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.plain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.plain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.plain.supported_verify_schemes()
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The content of a DER SEQUENCE with its head: an anchor's key is kept without it.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![0x30];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(u8::MAX));
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}
