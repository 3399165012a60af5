//! Certificates for cases with TLS, made anew for each: an authority, what it vouches for, and each in the ways it can be
//! wrong. Not for use anywhere else: the keys are written where the case says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

/// An authority: a root, or one that a root vouches for.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// SHA-256 of its public key (SPKI).
    pub pin: [u8; 32],
}

impl Authority {
    /// A root of this name.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(authority(name), key).expect("its values fit");
        Self { issuer }
    }

    /// An authority that this one vouches for.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).expect("its values fit");
        Self { issuer }
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.issuer.der())
    }

    /// SHA-256 of its public key (SPKI).
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        Sha256::digest(self.issuer.key().subject_public_key_info()).into()
    }

    /// A certificate for servers and clients of these names or addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.make(names, false)
    }

    /// The same, but it expired years ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.make(names, true)
    }

    fn make(&self, names: &[&str], expired: bool) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("names fit");
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("its values fit");
        Issued {
            certificate: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
            pin: Sha256::digest(key.subject_public_key_info()).into(),
        }
    }
}

/// RFC 7468, by lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, letter) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + &format!("\n-----END {label}-----\n")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
