//! A client certificate: nothing of it is written into a request. It is presented in the TLS handshake with the upstream
//! (RFC 8446 4.4.2), on a connection that is this credential's alone.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::canonical::CanonicalRequest;
use model::pem::{Block, blocks};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::CertifiedKey;
use secret::{Credential, Field, Secret};
use zeroize::Zeroizing;

use super::{Draft, Scheme, Slot, SlotValue};
use crate::InjectError;

/// Nothing on the request.
pub(crate) struct Mtls;

impl Scheme for Mtls {
    fn slot(&self) -> Slot<'_> {
        Slot::Connection
    }

    /// An agent holds nothing that it could put there.
    fn slot_value<'a>(&self, _request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        SlotValue::default()
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        // Whoever is meant is said by the certificate alone.
        draft.headers.remove(http::header::AUTHORIZATION);
        let held = |field| credential.material().field(field).is_some_and(|part| !part.is_empty());
        if held(Field::PrivateKey) && held(Field::Certificate) { Ok(()) } else { Err(unusable(credential)) }
    }

    fn redacted(&self, name: &str) -> String {
        format!("client certificate <{name}>")
    }
}

fn unusable(credential: &Credential) -> InjectError {
    InjectError::Certificate { name: credential.name().clone() }
}

/// A credential whose certificate is presented on new connections. It is opened for each of them and not before, so that no key is kept
/// beside the connections that it made.
pub struct Presented(Credential);

impl fmt::Debug for Presented {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Presented({})", self.0.name())
    }
}

impl Presented {
    /// What was opened for a permit; `None` where it has no certificate.
    #[must_use]
    pub fn of(credential: Credential) -> Option<Self> {
        credential.material().field(Field::PrivateKey).is_some().then_some(Self(credential))
    }

    /// The chain, and a key that signs; the key's octets are zeroized when this returns.
    ///
    /// # Errors
    /// [`InjectError::Certificate`].
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, InjectError> {
        let unusable = || unusable(&self.0);
        let text = |field| {
            let octets = self.0.material().field(field).map(Secret::expose);
            octets.and_then(|octets| std::str::from_utf8(octets).ok()).and_then(blocks)
        };
        let chain = text(Field::Certificate).ok_or_else(unusable)?;
        let chain: Option<Vec<_>> =
            chain.iter().map(|block| decoded(block).map(|der| CertificateDer::from(der.to_vec()))).collect();
        let keys = text(Field::PrivateKey).ok_or_else(unusable)?;
        let block = keys.first().ok_or_else(unusable)?;
        let octets = decoded(block).ok_or_else(unusable)?;
        let key = match block.label {
            "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(&**octets)),
            "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(&**octets)),
            _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&**octets)),
        };
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| unusable())?;
        Ok(Arc::new(CertifiedKey { cert: chain.ok_or_else(unusable)?, key, ocsp: None }))
    }
}

fn decoded(block: &Block<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(block.inside.len()));
    packed.extend(block.inside.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(&*packed).ok().map(Zeroizing::new)
}
