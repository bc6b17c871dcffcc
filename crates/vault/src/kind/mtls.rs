//! A client certificate (RFC 8446 4.4.2): PEM of the chain, the client's own first, and of its private key as PKCS#8, SEC 1 or PKCS#1.
//! The two must belong together, and after the certificate's own end it is not used.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use model::pem::{Block, blocks};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::CertifiedKey;
use secret::{Field, Material, Secret};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::{Kind, KindError};

const NAME: &str = "mtls";
const CERTIFICATE: &str = "CERTIFICATE";
/// Certificates of one chain: no authority has more between it and a client.
const CHAIN_MAX: usize = 10;

pub(super) struct Mtls;

/// What a stored text holds.
struct Stored<'a> {
    chain: Vec<Block<'a>>,
    key: Block<'a>,
}

fn wrong(form: &'static str) -> KindError {
    KindError::Form { kind: NAME, form }
}

fn read(value: &Secret) -> Result<Stored<'_>, KindError> {
    let form = wrong("PEM of the certificates, the client's own first, and of one private key without a passphrase");
    let text = std::str::from_utf8(value.expose()).map_err(|_| form.clone())?;
    let (mut chain, mut keys) = (Vec::new(), Vec::new());
    for block in blocks(text).ok_or_else(|| form.clone())? {
        match block.label {
            CERTIFICATE => chain.push(block),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => keys.push(block),
            // What `openssl ecparam -genkey` writes before the key.
            "EC PARAMETERS" => {}
            _ => return Err(form),
        }
    }
    match (chain.len(), keys.as_slice()) {
        (1..=CHAIN_MAX, [key]) => Ok(Stored { chain, key: *key }),
        _ => Err(form),
    }
}

/// The octets of a block; zeroized, because one of them is a key.
fn octets(block: &Block<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(block.inside.len()));
    packed.extend(block.inside.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(&*packed).ok().map(Zeroizing::new)
}

/// Refuses a key that cannot be read or is another certificate's: both would be found out by the first request only.
fn check(stored: &Stored<'_>) -> Result<(), KindError> {
    let broken = || wrong("certificates and a private key that can be read (EC, Ed25519 or RSA of 2048 bits and more)");
    let chain: Option<Vec<_>> = stored.chain.iter().map(octets).collect();
    let chain: Vec<_> = chain.ok_or_else(broken)?.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = octets(&stored.key).ok_or_else(broken)?;
    let key = match stored.key.label {
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(&**key)),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(&**key)),
        _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&**key)),
    };
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| broken())?;
    let pair = CertifiedKey { cert: chain, key: Arc::clone(&key), ocsp: None };
    pair.keys_match().map_err(|_| wrong("a private key that is the one of the first certificate"))
}

impl Kind for Mtls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes_documents(&self) -> bool {
        false
    }

    /// PEM has lines; none of it is ever written into a request.
    fn has_lines(&self) -> bool {
        true
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let stored = read(&value)?;
        check(&stored)?;
        let mut chain = String::new();
        for block in &stored.chain {
            chain.push_str(block.whole);
            chain.push('\n');
        }
        Ok(Material::new(vec![
            (Field::PrivateKey, Secret::new(stored.key.whole.as_bytes().to_vec())),
            (Field::Certificate, Secret::new(chain.into_bytes())),
        ]))
    }

    fn expires(&self, value: &Secret) -> Option<Timestamp> {
        let der = octets(read(value).ok()?.chain.first()?)?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some(Timestamp::from_secs(certificate.validity().not_after.timestamp().max(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_chain_and_its_key() {
        let ca = testkit::Ca::new("clients");
        let (certificate, key) = ca.leaf_pem(&["agent.test"]);
        let (_, other) = ca.leaf_pem(&["other.test"]);
        for whole in [
            format!("{certificate}{key}"),
            format!("{key}{certificate}"),
            format!("subject=agent\n{certificate}\n\n{}{key}", ca.pem()),
        ] {
            let material = Mtls.material(secret(&whole)).expect("a pair");
            assert!(material.field(Field::PrivateKey).is_some_and(|own| own.equals(key.trim_end().as_bytes())));
            assert!(material.field(Field::Certificate).is_some() && material.field(Field::Value).is_none());
            assert!(Mtls.expires(&secret(&whole)).is_some_and(|end| end > Timestamp::from_secs(1_790_000_000)));
        }
        let broken = key.replacen('A', "!", 1);
        let many = certificate.repeat(CHAIN_MAX + 1);
        for bad in [
            String::new(),
            certificate.clone(),
            key.clone(),
            format!("{certificate}{other}"),
            format!("{certificate}{key}{key}"),
            format!("{certificate}{broken}"),
            format!("{many}{key}"),
            format!("{certificate}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            format!("{certificate}{}", key.replace("-----END", "----END")),
        ] {
            assert!(Mtls.material(secret(&bad)).is_err(), "{bad}");
        }
    }
}
