//! SCRAM (RFC 5802, RFC 7677), the client's side: the password is proved without being sent, and so is that the server
//! knows it. User and password are taken as they are: SASLprep is left out, so that they have to be spelt as the broker
//! keeps them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

/// Rounds that a server may ask for. RFC 7677 wants 4,096 at least; the most is what costs a tenth of a second or so.
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=100_000;

/// With which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        macro_rules! with {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes a key of any length");
                for part in parts {
                    mac.update(part);
                }
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha256 => with!(Sha256),
            Self::Sha512 => with!(Sha512),
        }
    }

    /// PBKDF2 of one block, as `Hi` of RFC 5802, section 2.2.
    fn salted(self, password: &str, salt: &[u8], rounds: u32) -> Zeroizing<Vec<u8>> {
        let mut last = self.hmac(password.as_bytes(), &[salt, &1u32.to_be_bytes()]);
        let mut all = Zeroizing::new(last.clone());
        for _ in 1..rounds {
            last = self.hmac(password.as_bytes(), &[&last]);
            all.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        all
    }
}

/// An exchange: what we said first.
pub(super) struct Scram {
    hash: Hash,
    nonce: String,
    bare: String,
}

impl Scram {
    /// Begins with a nonce of our own, which is of printable ASCII without a comma.
    pub(super) fn new(hash: Hash, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        Self { hash, nonce, bare }
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The proof for the server's first message, and the signature that its last one has to bear.
    pub(super) fn proof(&self, password: &str, said: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
        let said = std::str::from_utf8(said).map_err(|_| "its answer is no text")?;
        let (mut nonce, mut salt, mut rounds) = (None, None, None);
        for part in said.split(',') {
            match part.split_once('=') {
                Some(("r", value)) => nonce = Some(value),
                Some(("s", value)) => salt = BASE64.decode(value).ok(),
                Some(("i", value)) => rounds = value.parse().ok().filter(|rounds| ROUNDS.contains(rounds)),
                Some(("m", _)) => return Err("it asks for an extension that is not known"),
                _ => {}
            }
        }
        let nonce = nonce.filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce));
        let nonce = nonce.ok_or("its answer is to somebody else's question")?;
        let salt = salt.ok_or("its salt is none")?;
        let rounds = rounds.ok_or("its iterations are not between 4,096 and 100,000")?;
        let salted = self.hash.salted(password, &salt, rounds);
        let ends = format!("c=biws,r={nonce}");
        let message = format!("{},{said},{ends}", self.bare);
        let client_key = Zeroizing::new(self.hash.hmac(&salted, &[b"Client Key"]));
        let signature = self.hash.hmac(&self.hash.digest(&client_key), &[message.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, byte)| key ^ byte).collect();
        let server_key = Zeroizing::new(self.hash.hmac(&salted, &[b"Server Key"]));
        let expected = self.hash.hmac(&server_key, &[message.as_bytes()]);
        Ok((format!("{ends},p={}", BASE64.encode(proof)), expected))
    }

    /// Whether the server's last message shows that it knows the password as well.
    pub(super) fn is_proved(said: &[u8], expected: &[u8]) -> bool {
        let signature = std::str::from_utf8(said)
            .ok()
            .and_then(|said| said.split(',').find_map(|part| part.strip_prefix("v=")))
            .and_then(|value| BASE64.decode(value).ok())
            .unwrap_or_default();
        // Equal in all places, looked at whatever the first ones were.
        signature.len() == expected.len()
            && signature.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SAID: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// The exchange that RFC 7677, section 3, shows.
    #[test]
    fn the_exchange_of_the_rfc_comes_out() {
        let scram = Scram::new(Hash::Sha256, "user", NONCE.to_owned());
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (proof, expected) = scram.proof("pencil", SAID.as_bytes()).unwrap();
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(Scram::is_proved(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", &expected));
        assert!(!Scram::is_proved(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", &expected));
        assert!(!Scram::is_proved(b"v=", &expected) && !Scram::is_proved(b"e=other-error", &expected));
    }

    #[test]
    fn a_server_that_answers_wrongly_gets_no_proof() {
        let scram = Scram::new(Hash::Sha512, "a=b,c", NONCE.to_owned());
        assert_eq!(scram.first(), format!("n,,n=a=3Db=2Cc,r={NONCE}"));
        for said in [
            "".to_owned(),
            format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(),
            SAID.replace("4096", "1"),
            SAID.replace("4096", "4000000000"),
            SAID.replace("s=W22", "s=*"),
            format!("m=x,{SAID}"),
        ] {
            assert!(scram.proof("pencil", said.as_bytes()).is_err(), "{said}");
        }
    }
}
