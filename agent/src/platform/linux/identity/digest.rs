//! Digests of a file: SHA-256 for the world, and the package manager's own in the same pass.

use sha2::Digest as _;

use super::packages::Algorithm;

/// SHA-256 and, where another one is asked for, that.
pub(super) struct Digests {
    sha256: sha2::Sha256,
    other: Other,
}

enum Other {
    None,
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Digests {
    pub(super) fn new(algorithm: Option<Algorithm>) -> Self {
        let other = match algorithm {
            None | Some(Algorithm::Sha256) => Other::None,
            Some(Algorithm::Md5) => Other::Md5(md5::Md5::new()),
            Some(Algorithm::Sha1) => Other::Sha1(sha1::Sha1::new()),
            Some(Algorithm::Sha224) => Other::Sha224(sha2::Sha224::new()),
            Some(Algorithm::Sha384) => Other::Sha384(sha2::Sha384::new()),
            Some(Algorithm::Sha512) => Other::Sha512(sha2::Sha512::new()),
        };
        Self { sha256: sha2::Sha256::new(), other }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match &mut self.other {
            Other::None => {}
            Other::Md5(hash) => hash.update(bytes),
            Other::Sha1(hash) => hash.update(bytes),
            Other::Sha224(hash) => hash.update(bytes),
            Other::Sha384(hash) => hash.update(bytes),
            Other::Sha512(hash) => hash.update(bytes),
        }
    }

    /// SHA-256, and the one that was asked for, in lower-case hex.
    pub(super) fn finish(self) -> (String, String) {
        let sha256 = hex(&self.sha256.finalize());
        let other = match self.other {
            Other::None => sha256.clone(),
            Other::Md5(hash) => hex(&hash.finalize()),
            Other::Sha1(hash) => hex(&hash.finalize()),
            Other::Sha224(hash) => hex(&hash.finalize()),
            Other::Sha384(hash) => hex(&hash.finalize()),
            Other::Sha512(hash) => hex(&hash.finalize()),
        };
        (sha256, other)
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_come_from_one_pass() {
        // FIPS 180-4 and RFC 1321 examples for "abc".
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (algorithm, expected) in [
            (None, sha256),
            (Some(Algorithm::Md5), "900150983cd24fb0d6963f7d28e17f72"),
            (Some(Algorithm::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Some(Algorithm::Sha224), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            (Some(Algorithm::Sha256), sha256),
        ] {
            let mut digests = Digests::new(algorithm);
            digests.update(b"a");
            digests.update(b"bc");
            assert_eq!(digests.finish(), (sha256.to_owned(), expected.to_owned()));
        }
        let long = |algorithm| {
            let mut digests = Digests::new(Some(algorithm));
            digests.update(b"abc");
            digests.finish().1
        };
        assert!(long(Algorithm::Sha512).starts_with("ddaf35a193617abacc417349ae204131"));
        assert!(long(Algorithm::Sha384).starts_with("cb00753f45a35e8bb5a03d699ac65007"));
    }
}
