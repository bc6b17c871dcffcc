//! JSON web tokens that we sign (RFC 7515, 7519) with a private key that is stored: RS256 for RSA, or PS256 where that is wanted,
//! ES256 for P-256 (RFC 7518 3.3 to 3.5).
#![expect(clippy::disallowed_methods, reason = "a private key signs here")]

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Random, Timestamp, hex, time::MICROS};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secret::{Material, Secret};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use crate::backend::BackendError;

/// Characters of a signature of RSA with 2048 bits.
const SIGNATURE_CHARS: usize = 342;

/// A key that signs.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    /// RSA, with the padding of RFC 8017 8.1.
    Pss(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

/// A private key as PEM. Where its lines were joined by `\n` written out, as variables have them, they are taken apart again.
pub(crate) fn der(stored: &Secret) -> Result<PrivateKeyDer<'static>, BackendError> {
    let octets = stored.expose();
    let form = || BackendError::Malformed {
        what: "what is stored is no private key; store its PEM, from `-----BEGIN` to `-----END .. KEY-----`".to_owned(),
    };
    if octets.contains(&b'\n') {
        return PrivateKeyDer::from_pem_slice(octets).map_err(|_| form());
    }
    let text = std::str::from_utf8(octets).map_err(|_| form())?;
    // Room for the whole: growing would leave a copy behind.
    let mut lines = Zeroizing::new(Vec::with_capacity(octets.len()));
    for (count, line) in text.split("\\n").enumerate() {
        if count > 0 {
            lines.push(b'\n');
        }
        lines.extend_from_slice(line.as_bytes());
    }
    PrivateKeyDer::from_pem_slice(&lines).map_err(|_| form())
}

impl Signer {
    /// Of a private key as PEM: PKCS#8, PKCS#1 or SEC1.
    pub fn of(stored: &Secret) -> Result<Self, BackendError> {
        let mut der = der(stored)?;
        let octets = der.secret_der();
        let rsa = match &der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(octets).ok(),
            _ => RsaKeyPair::from_pkcs8(octets).ok(),
        };
        let ec = || EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, octets).ok();
        let made = rsa.map(|key| Self::Rsa(Box::new(key))).or_else(|| ec().map(|key| Self::Ec(Box::new(key))));
        der.zeroize();
        made.ok_or_else(|| BackendError::Malformed {
            what: "the private key is neither RSA of 2048 bits or more nor of the curve P-256; make another".to_owned(),
        })
    }

    /// The same with PS256 for RS256.
    pub fn with_pss(self) -> Result<Self, BackendError> {
        match self {
            Self::Rsa(key) | Self::Pss(key) => Ok(Self::Pss(key)),
            Self::Ec(_) => {
                Err(BackendError::Malformed { what: "a private key of RSA is needed here; make another".to_owned() })
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Pss(_) => "PS256",
            Self::Ec(_) => "ES256",
        }
    }

    /// A token with these claims; `head` adds to its header.
    pub fn sign(&self, mut head: Map<String, Value>, claims: &Value) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        head.insert("alg".to_owned(), json!(self.algorithm()));
        head.insert("typ".to_owned(), json!("JWT"));
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&Value::Object(head)), encode(claims));
        let cannot = |_| BackendError::Malformed { what: "the private key cannot sign; make another".to_owned() };
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) | Self::Pss(key) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if matches!(self, Self::Pss(_)) { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, input.as_bytes(), &mut out).map_err(cannot)?;
                out
            }
            Self::Ec(key) => key.sign(&random, input.as_bytes()).map_err(cannot)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()))
    }
}

/// The SHA-256 of the certificate that stands beside the private key, as `x5t#S256` has it (RFC 7515 4.1.8).
pub(crate) fn thumbprint(stored: &Secret) -> Result<String, BackendError> {
    let certificate = CertificateDer::from_pem_slice(stored.expose()).map_err(|_| BackendError::Malformed {
        what: "no certificate is stored beside the private key; store the PEM of both, one below the other".to_owned(),
    })?;
    Ok(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate)))
}

/// Seconds since 1970.
pub(crate) fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(MICROS)
}

/// Something of the form of a token with these claims, that nobody signed.
pub(crate) fn sample(random: &dyn Random, claims: &Value) -> Material {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let start = format!("{}.{}.", encode(&json!({ "alg": "RS256", "typ": "JWT" })), encode(claims));
    Material::token(super::drawn(random, &start, SIGNATURE_CHARS))
}

/// An id that no other token has.
pub(crate) fn id(random: &dyn Random) -> String {
    let mut octets = [0; 16];
    random.fill(&mut octets);
    hex(&octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_signed() {
        let key = testkit::RsaKey::fresh();
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        for pem in [key.pkcs8(), key.pkcs1(), key.pkcs1().replace('\n', "\\n")] {
            for (algorithm, pss) in [("RS256", false), ("PS256", true)] {
                let signer = Signer::of(&secret(&pem)).expect("a key");
                let signer = if pss { signer.with_pss().expect("RSA") } else { signer };
                let head = Map::from_iter([("kid".to_owned(), json!("k"))]);
                let token = signer.sign(head, &json!({ "sub": "x" })).expect("signed");
                let token = std::str::from_utf8(&token).expect("text");
                let (head, claims) = key.claims(token, algorithm).expect("good");
                assert_eq!((&head["kid"], &head["typ"], &claims["sub"]), (&json!("k"), &json!("JWT"), &json!("x")));
                assert!(testkit::RsaKey::fresh().claims(token, algorithm).is_err(), "another key's");
            }
        }
        let curve = testkit::Ca::new("x").key_pem().to_owned();
        assert!(Signer::of(&secret(&curve)).expect("a key").with_pss().is_err());
    }

    #[test]
    fn a_certificate_beside_the_key_is_found() {
        let (pem, der) = testkit::RsaKey::fresh().certified();
        let found = thumbprint(&Secret::new(pem.clone().into_bytes())).expect("a certificate");
        assert_eq!(found, URL_SAFE_NO_PAD.encode(testkit::signed::sha256(&der)));
        let alone = pem.split("-----BEGIN CERT").next().expect("a key");
        assert!(thumbprint(&Secret::new(alone.as_bytes().to_vec())).is_err());
    }
}
