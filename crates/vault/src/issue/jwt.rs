//! JSON web tokens that we sign (RFC 7515, 7519) with a private key that is stored: RS256 for RSA, ES256 for P-256 (RFC 7518 3.3, 3.4).
#![expect(clippy::disallowed_methods, reason = "a private key signs here")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Random, Timestamp, hex, time::MICROS};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use secret::Secret;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use crate::backend::BackendError;

/// A key that signs.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
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

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
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
            Self::Rsa(key) => {
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut out).map_err(cannot)?;
                out
            }
            Self::Ec(key) => key.sign(&random, input.as_bytes()).map_err(cannot)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()))
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(MICROS)
}

/// An id that no other token has.
pub(crate) fn id(random: &dyn Random) -> String {
    let mut octets = [0; 16];
    random.fill(&mut octets);
    hex(&octets)
}
