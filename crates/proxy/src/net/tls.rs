//! TLS towards upstreams: one provider, verified always.
//!
//! There is no switch that turns verification off, no key log, no early data. What may sign an upstream's certificate
//! is the platform's set of roots, or for a listed upstream the authority it names and no other.

use std::fmt;
use std::sync::{Arc, OnceLock};

use inject::Presented;
use model::{AgentName, CredentialName};
use quick_cache::sync::Cache;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::dial::Speaks;

/// Sessions remembered for one party towards one set of roots.
const SESSIONS_PER_PARTY: usize = 32;
/// Parties whose sessions are remembered.
const PARTIES_MAX: usize = 256;

/// Where Unix systems keep the roots: Debian and Alpine, Red Hat, SUSE, BSD. The variables by which OpenSSL finds
/// others are not read: the agent may have set them (row F75).
#[cfg(all(unix, not(target_vendor = "apple")))]
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The one provider: aws-lc-rs, X25519MLKEM768 first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// A set of roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("certificates of the authority cannot be used: {0}; give PEM with at least one certificate")]
pub struct TrustError(String);

/// Who may sign an upstream's certificate. Cheap to copy; the same `Trust` shares its sessions.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    /// None: the platform's, loaded on first use so that nobody waits for it at the start.
    roots: Option<RootCertStore>,
    verifier: OnceLock<Arc<dyn ServerCertVerifier>>,
    parties: Cache<Party, Arc<ClientConfig>>,
}

/// Whose sessions may be resumed with whose: a resumed session carries what was authenticated in it (row F79).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Party {
    agent: AgentName,
    credential: Option<(CredentialName, u64)>,
    speaks: Speaks,
}

impl fmt::Debug for Trust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.roots.is_some() { "Trust(one authority)" } else { "Trust(platform)" })
    }
}

impl Trust {
    /// The platform's roots, or the compiled-in Mozilla set where the platform has none (an empty container).
    #[must_use]
    pub fn platform() -> Self {
        Self::new(None)
    }

    /// The authorities in `pem` and no others.
    ///
    /// # Errors
    /// No certificate in it, or a broken one.
    pub fn pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TrustError(error.to_string()))?;
            roots.add(certificate).map_err(|error| TrustError(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TrustError("there is none in it".to_owned()));
        }
        Ok(Self::new(Some(roots)))
    }

    fn new(roots: Option<RootCertStore>) -> Self {
        Self(Arc::new(Inner { roots, verifier: OnceLock::new(), parties: Cache::new(PARTIES_MAX) }))
    }

    /// Loads the roots now. The wiring calls it on a thread of its own after start-up, so that the first request does
    /// not pay the few milliseconds.
    ///
    /// # Errors
    /// The platform's roots cannot be used.
    pub fn warm(&self) -> Result<(), TrustError> {
        self.verifier().map(|_| ())
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        if let Some(verifier) = self.0.verifier.get() {
            return Ok(Arc::clone(verifier));
        }
        let made = match &self.0.roots {
            Some(roots) => webpki(roots.clone())?,
            None => platform_verifier()?,
        };
        Ok(Arc::clone(self.0.verifier.get_or_init(|| made)))
    }

    /// The configuration for connections of one agent with one version of one credential. `speaks`: what is
    /// offered to be spoken.
    ///
    /// # Errors
    /// The roots cannot be used.
    pub fn config(
        &self,
        agent: &AgentName,
        credential: Option<&(CredentialName, u64)>,
        speaks: Speaks,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        let party = Party { agent: agent.clone(), credential: credential.cloned(), speaks };
        if let Some(config) = self.0.parties.get(&party) {
            return Ok(config);
        }
        let config = Arc::new(client_config(self.verifier()?, speaks)?);
        self.0.parties.insert(party, Arc::clone(&config));
        Ok(config)
    }

    /// The configuration of one connection on which a client certificate is presented. It is kept by nobody else and goes with the
    /// connection, and with it the key; nor is a session of it ever resumed: each connection proves anew that it may.
    ///
    /// # Errors
    /// The roots or the certificate cannot be used.
    pub fn config_of(&self, presents: &Presented, speaks: Speaks) -> Result<Arc<ClientConfig>, TrustError> {
        let certified = presents.certified().map_err(|error| TrustError(error.to_string()))?;
        let mut config = client_config(self.verifier()?, speaks)?;
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn client_config(verifier: Arc<dyn ServerCertVerifier>, speaks: Speaks) -> Result<ClientConfig, TrustError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TrustError(error.to_string()))?
        // The name is rustls's for "a verifier of your choice"; ours are WebPKI and the platform's.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = match speaks {
        Speaks::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Speaks::Upgrade => vec![b"http/1.1".to_vec()],
        Speaks::Postgres => vec![b"postgresql".to_vec()],
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_PARTY);
    config.enable_early_data = false;
    Ok(config)
}

fn webpki(roots: RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TrustError(error.to_string()))?;
    Ok(verifier)
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform_verifier() -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    for bundle in BUNDLES {
        let Ok(certificates) = CertificateDer::pem_file_iter(bundle) else { continue };
        // One broken certificate in a bundle does not make the others useless.
        let (added, ignored) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        tracing::debug!(bundle, added, ignored, "platform roots loaded");
        if !roots.is_empty() {
            return webpki(roots);
        }
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    webpki(roots)
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn platform_verifier() -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    match rustls_platform_verifier::Verifier::new(provider()) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) => Err(TrustError(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_quantum_first_and_no_ring() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups.first(), Some(&rustls::NamedGroup::X25519MLKEM768));
    }

    #[test]
    fn platform_roots_load_and_parties_are_apart() {
        let trust = Trust::platform();
        trust.warm().expect("roots");
        let (one, two) = (AgentName::new("one").expect("a name"), AgentName::new("two").expect("a name"));
        let config = |agent, version: Option<u64>| {
            let credential = version.map(|version| (CredentialName::new("c").expect("a name"), version));
            trust.config(agent, credential.as_ref(), Speaks::Http).expect("a config")
        };
        assert!(Arc::ptr_eq(&config(&one, Some(1)), &config(&one, Some(1))));
        assert!(!Arc::ptr_eq(&config(&one, Some(1)), &config(&one, Some(2))));
        assert!(!Arc::ptr_eq(&config(&one, Some(1)), &config(&two, Some(1))));
        assert!(!config(&one, None).enable_early_data);
        assert_eq!(config(&one, None).alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn pem_is_checked() {
        assert!(Trust::pem(b"").is_err());
        assert!(Trust::pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
