//! Certificates for clients: an authority that signs a leaf for exactly the host a tunnel was opened for.
//!
//! One leaf key per authority (a signature costs 21 us instead of 45), leaves kept and bounded, a budget for minting
//! (row J131). The client's name for the server must be the tunnel's host, or nothing where that is an address; the
//! handshake for another ends before a certificate is shown (row A1).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::bounds::{LEAVES_MAX, LEAVES_PER_SECOND_MAX};
use model::canonical::Host;
use model::{AgentName, Clock, Random, Timestamp};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{Acceptor, ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use secret::Secret;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::provider;

/// Clocks of machines differ; a certificate from the future is refused.
const BACKDATE_SECONDS: u64 = 5 * 60;
/// Life of an authority, seconds (90 days: row F81).
const AUTHORITY_SECONDS: u64 = 90 * 24 * 60 * 60;
/// Life of a leaf, seconds (7 days).
const LEAF_SECONDS: u64 = 7 * 24 * 60 * 60;
/// A kept leaf is made anew when it has less than this left, seconds.
const LEAF_LEFT_SECONDS: u64 = 24 * 60 * 60;
/// TLS alert `unrecognized_name`, fatal, as a whole record (RFC 6066 3, RFC 8446 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// An authority cannot be made or read, or a leaf not signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Certificate or key do not parse, or do not belong together.
    #[error("certificate authority cannot be used: {0}; delete it to have a new one made")]
    Unusable(String),
    /// Signing failed.
    #[error("certificate for `{host}` cannot be signed: {reason}")]
    Signing {
        /// For whom.
        host: Host,
        /// What the library says.
        reason: String,
    },
    /// More new hosts per second than the budget.
    #[error("too many new hosts at once; try again in a second")]
    Budget,
}

/// Why a client's TLS handshake ended.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It asked for another name than its tunnel was opened for.
    #[error("tunnel was opened for `{host}`, TLS asks for `{asked}`; use one name for both")]
    Misdirected {
        /// What the tunnel was opened for.
        host: Host,
        /// What the ClientHello says; empty where it says nothing.
        asked: String,
    },
    /// No certificate to show.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The client broke off, or does not trust the authority.
    #[error("TLS handshake failed: {0}; let the client trust the session's CA bundle (`valetkey doctor` shows how)")]
    Handshake(#[from] io::Error),
}

/// An authority's certificate and its key, for keeping (`serve`); `run` never calls for it.
pub struct Kept {
    /// The certificate, PEM.
    pub certificate: String,
    /// The key, PKCS #8 PEM.
    pub key: Secret,
}

/// A certificate authority. Its key lives in memory alone unless it was made to be kept.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    leaf_key: KeyPair,
    signing: Arc<dyn SigningKey>,
    base: ServerConfig,
    leaves: Cache<Host, Arc<Leaf>>,
    budget: Mutex<Budget>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

struct Leaf {
    config: Arc<ServerConfig>,
    certified: Arc<CertifiedKey>,
    made: Timestamp,
    renew: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authority").field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}

/// What a new authority is called and may sign.
#[derive(Clone, Debug, Default)]
pub struct AuthorityName {
    /// Shown to people who look at a certificate: `Valetkey session ses_..`.
    pub name: String,
    /// Where not empty, the only names it can sign for, as clients understand it (RFC 5280 4.2.1.10): a domain covers
    /// what is under it.
    pub domains: Vec<String>,
}

impl Authority {
    /// A fresh authority for one session, its key in memory alone.
    ///
    /// # Errors
    /// The library cannot make a key.
    pub fn fresh(name: &AuthorityName, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, AuthorityError> {
        let (params, key) = authority_params(name, clock.now(), &*random)?;
        let certificate = params.self_signed(&key).map_err(unusable)?;
        let pem = certificate.pem();
        Self::assemble(Issuer::new(params, key), pem, clock, random)
    }

    /// Makes certificate and key of an authority that outlives the process; read back with [`Self::from_pem`].
    ///
    /// # Errors
    /// The library cannot make a key.
    pub fn to_keep(name: &AuthorityName, now: Timestamp, random: &dyn Random) -> Result<Kept, AuthorityError> {
        let (params, key) = authority_params(name, now, random)?;
        let certificate = params.self_signed(&key).map_err(unusable)?.pem();
        Ok(Kept { certificate, key: Secret::new(key.serialize_pem().into_bytes()) })
    }

    /// An authority that was kept. `key` is PKCS #8 PEM of an ECDSA P-256 key.
    ///
    /// # Errors
    /// Certificate or key do not parse, the certificate is no authority's or past its end, or they do not belong
    /// together.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, AuthorityError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(unusable)?;
        let key = KeyPair::from_pem(key).map_err(unusable)?;
        check_authority(&der, &key, clock.now())?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unusable)?;
        Self::assemble(issuer, certificate.to_owned(), clock, random)
    }

    fn assemble(
        issuer: Issuer<'static, KeyPair>,
        pem: String,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, AuthorityError> {
        let leaf_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let signing = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der).map_err(unusable)?;
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(unusable)?;
        let budget = Mutex::new(Budget { left: LEAVES_PER_SECOND_MAX, second: 0 });
        let base = server_config(ticketer)?;
        Ok(Self { issuer, pem, leaf_key, signing, base, leaves: Cache::new(LEAVES_MAX), budget, clock, random })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// The configuration that shows a leaf for `host`, made now unless it is kept.
    ///
    /// # Errors
    /// [`AuthorityError::Budget`] or [`AuthorityError::Signing`].
    pub fn leaf(&self, host: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        self.leaf_of(host).map(|leaf| Arc::clone(&leaf.config))
    }

    fn leaf_of(&self, host: &Host) -> Result<Arc<Leaf>, AuthorityError> {
        let now = self.clock.now();
        if let Some(leaf) = self.leaves.get(host)
            // A leaf from a time that the clock went back behind is not valid yet (row J132).
            && (leaf.made..leaf.renew).contains(&now)
        {
            return Ok(leaf);
        }
        if !self.budget.lock().take(now) {
            return Err(AuthorityError::Budget);
        }
        let (config, certified) = self.mint(host, now)?;
        let renew = now.plus_secs(LEAF_SECONDS - LEAF_LEFT_SECONDS);
        let leaf = Arc::new(Leaf { config: Arc::new(config), certified, made: now, renew });
        self.leaves.insert(host.clone(), Arc::clone(&leaf));
        Ok(leaf)
    }

    fn mint(&self, host: &Host, now: Timestamp) -> Result<(ServerConfig, Arc<CertifiedKey>), AuthorityError> {
        let fail = |reason: String| AuthorityError::Signing { host: host.clone(), reason };
        let mut params = CertificateParams::default();
        set_life(&mut params, now, LEAF_SECONDS);
        params.serial_number = Some(serial(&*self.random));
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match host.address() {
            Some(address) => SanType::IpAddress(address),
            None => SanType::DnsName(host.as_str().try_into().map_err(|error: rcgen::Error| fail(error.to_string()))?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(|error| fail(error.to_string()))?;
        let certified = Arc::new(CertifiedKey::new(vec![leaf.der().clone()], Arc::clone(&self.signing)));
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(Only { host: host.clone(), certified: Arc::clone(&certified) });
        Ok((config, certified))
    }

    /// Speaks TLS with a client whose tunnel was opened for `host` by a session of `agent`, to which alone its tickets
    /// will be good (row F79). The caller bounds the time.
    ///
    /// # Errors
    /// [`AcceptError`]; the stream is closed.
    pub async fn accept<IO>(&self, io: IO, host: &Host, agent: &AgentName) -> Result<TlsStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        if !names(&start.client_hello(), host) {
            let asked = start.client_hello().server_name().unwrap_or_default().to_owned();
            // Told so that the person at the other end sees why; the connection closes whether it arrives or not.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(AcceptError::Misdirected { host: host.clone(), asked });
        }
        let mut config = ServerConfig::clone(&*self.leaf(host)?);
        config.ticketer = Arc::new(Tickets { all: Arc::clone(&config.ticketer), agent: agent.clone() });
        Ok(start.into_stream(Arc::new(config)).await?)
    }

    /// Speaks TLS with a client of a database, under the first of `hosts` that it asks for; many ask for none, and get the first. The
    /// caller bounds the time.
    ///
    /// # Errors
    /// [`AcceptError`]; the stream is closed.
    pub async fn accept_database<IO>(
        &self,
        io: IO,
        hosts: &[Host],
        agent: &AgentName,
    ) -> Result<TlsStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let asked = |host: &&Host| names(&start.client_hello(), host);
        let first = hosts.first().ok_or_else(|| std::io::Error::other("the place has no name"))?;
        let host = hosts.iter().find(asked).unwrap_or(first);
        let leaf = self.leaf_of(host)?;
        let mut config = ServerConfig::clone(&*leaf.config);
        config.cert_resolver = Arc::new(Shown(Arc::clone(&leaf.certified)));
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        config.ticketer = Arc::new(Tickets { all: Arc::clone(&config.ticketer), agent: agent.clone() });
        Ok(start.into_stream(Arc::new(config)).await?)
    }
}

/// Whether the ClientHello asks for `host`: by name, or by nothing where it is an address (RFC 6066 3).
fn names(hello: &ClientHello<'_>, host: &Host) -> bool {
    match hello.server_name() {
        Some(name) => host.address().is_none() && name.eq_ignore_ascii_case(host.as_str()),
        None => host.address().is_some(),
    }
}

/// Shows one certificate, to those who ask for its host. [`Authority::accept`] has asked before; this is so that no
/// other way of using the configuration can be wrong.
struct Only {
    host: Host,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Only {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Only({})", self.host)
    }
}

impl ResolvesServerCert for Only {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        names(&hello, &self.host).then(|| Arc::clone(&self.certified))
    }
}

/// Shows one certificate to whoever comes: clients of databases often do not say whom they ask for.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Tickets of one agent: the name of whoever got one is sealed in with it, so that nobody else resumes his session.
#[derive(Debug)]
struct Tickets {
    all: Arc<dyn ProducesTickets>,
    agent: AgentName,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.all.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.all.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // The NUL ends the name, in which none can be.
        self.all.encrypt(&[self.agent.as_str().as_bytes(), &[0], plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let sealed = self.all.decrypt(cipher)?;
        let rest = sealed.strip_prefix(self.agent.as_str().as_bytes())?.strip_prefix(&[0])?;
        Some(rest.to_vec())
    }
}

/// The configuration without certificate that all leaves share: TLS 1.2 and 1.3, tickets, no early data.
fn server_config(ticketer: Arc<dyn ProducesTickets>) -> Result<ServerConfig, AuthorityError> {
    #[derive(Debug)]
    struct Nobody;
    impl ResolvesServerCert for Nobody {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            None
        }
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ticketer;
    // One ticket is what a client needs to come back; the second is 200 octets and a system call for nothing.
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

fn authority_params(
    name: &AuthorityName,
    now: Timestamp,
    random: &dyn Random,
) -> Result<(CertificateParams, KeyPair), AuthorityError> {
    let mut params = CertificateParams::default();
    set_life(&mut params, now, AUTHORITY_SECONDS);
    params.serial_number = Some(serial(random));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.name.as_str());
    params.distinguished_name.push(DnType::OrganizationName, "Valetkey");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if !name.domains.is_empty() {
        let permitted = name.domains.iter().cloned().map(GeneralSubtree::DnsName).collect();
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
    Ok((params, key))
}

fn check_authority(der: &CertificateDer<'_>, key: &KeyPair, now: Timestamp) -> Result<(), AuthorityError> {
    let fail = |reason: &str| Err(AuthorityError::Unusable(reason.to_owned()));
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(unusable)?;
    if !certificate.is_ca() {
        return fail("the certificate is not an authority's");
    }
    if certificate.validity().not_after.timestamp() <= now.0.div_euclid(model::time::MICROS) {
        return fail("the certificate is past its end");
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return fail("certificate and key do not belong together");
    }
    Ok(())
}

/// RFC 5280 4.1.2.2: positive, at most 20 octets; random, because clients refuse two certificates of one authority
/// with the same number, and rcgen would derive it from the key, which all leaves share.
fn serial(random: &dyn Random) -> SerialNumber {
    let mut octets = [0u8; 16];
    random.fill(&mut octets);
    if let Some(first) = octets.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from_slice(&octets)
}

fn set_life(params: &mut CertificateParams, now: Timestamp, seconds: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = now.0.div_euclid(model::time::MICROS).max(0).unsigned_abs();
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE_SECONDS));
    params.not_after = epoch + Duration::from_secs(now.saturating_add(seconds));
}

fn unusable(error: impl fmt::Display) -> AuthorityError {
    AuthorityError::Unusable(error.to_string())
}

/// Leaves that may still be made in this second of the clock.
struct Budget {
    left: u32,
    second: i64,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let second = now.0.div_euclid(model::time::MICROS);
        if second != self.second {
            (self.second, self.left) = (second, LEAVES_PER_SECOND_MAX);
        }
        let fine = self.left > 0;
        self.left = self.left.saturating_sub(1);
        fine
    }
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
