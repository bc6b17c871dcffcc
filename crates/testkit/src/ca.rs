//! A certificate authority for one test: made in memory, trusted by nobody else, gone with the test.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What is wrong with a leaf, for tests of verification (attack 74).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// Right: signed by the authority, for whatever name the client asked for.
    Good,
    /// For this other name, whatever the client asked for.
    WrongName(String),
    /// For these names together (attack 76: coalescing).
    Names(Vec<String>),
    /// Over since 2001.
    Expired,
    /// Valid from 2200.
    NotYet,
    /// Signed by itself.
    SelfSigned,
    /// For clients only (extended key usage).
    ClientOnly,
    /// Signed by another authority that nobody trusts.
    OtherCa,
}

/// A throw-away authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key_pem: String,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ca")
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Ca {
    /// A fresh authority (P-256) with this common name.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let key_pem = key.serialize_pem();
        Arc::new(Self { issuer: Issuer::new(params, key), pem, key_pem })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's private key (a test's, worth nothing).
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Roots that hold this authority alone.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        roots_of(&self.pem)
    }

    /// A client that trusts this authority alone, with these ALPN names.
    #[must_use]
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        client_trusting(self.roots(), alpn)
    }

    /// A leaf and its key as PEM for servers that want files (nginx, Python, Node).
    #[must_use]
    pub fn leaf_pem(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A server that shows a leaf of this kind, with these ALPN names (none: no ALPN).
    #[must_use]
    pub fn server(self: &Arc<Self>, kind: Leaf, alpn: &[&str]) -> Arc<ServerConfig> {
        let resolver = Resolver { ca: Arc::clone(self), kind, made: Mutex::new(HashMap::new()) };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn leaf(&self, kind: &Leaf, asked: &str) -> Arc<CertifiedKey> {
        let names = match kind {
            Leaf::WrongName(other) => vec![other.clone()],
            Leaf::Names(all) => all.clone(),
            _ => vec![asked.to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![match kind {
            Leaf::ClientOnly => rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            _ => rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        }];
        match kind {
            Leaf::Expired => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Leaf::NotYet => params.not_before = rcgen::date_time_ymd(2200, 1, 1),
            _ => {}
        }
        let key = KeyPair::generate().unwrap();
        let cert = match kind {
            Leaf::SelfSigned => params.self_signed(&key),
            Leaf::OtherCa => params.signed_by(&key, &Self::new("nobody trusts this").issuer),
            _ => params.signed_by(&key, &self.issuer),
        }
        .unwrap();
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).unwrap();
        Arc::new(CertifiedKey::new(vec![cert.der().clone()], signing))
    }
}

/// Roots of a PEM bundle.
#[must_use]
pub fn roots_of(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        // System bundles hold a few certificates that rustls does not take; they are not ours.
        let _ = roots.add(cert.unwrap());
    }
    roots
}

/// A client with these roots and ALPN names; it keeps no tickets, so that every connection is a whole handshake.
#[must_use]
pub fn client_trusting(roots: RootCertStore, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

struct Resolver {
    ca: Arc<Ca>,
    kind: Leaf,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that dials an address sends no name (RFC 6066 3).
        let name = hello.server_name().unwrap_or("127.0.0.1").to_owned();
        let mut made = self.made.lock();
        Some(Arc::clone(made.entry(name.clone()).or_insert_with(|| self.ca.leaf(&self.kind, &name))))
    }
}
