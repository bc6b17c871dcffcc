//! Client certificates against servers that ask for one: presented by the connections of their credential and by no other.

use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use inject::Presented;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use secret::{Credential, Field, Lease, Material, Secret};

use super::super::dial::Speaks;
use super::super::fixture::{Ca, Origins, agent, dialer, https};
use super::super::tls::provider;
use super::*;

type Out = UnsyncBoxBody<Bytes, hyper::Error>;

fn name() -> CredentialName {
    CredentialName::new("client").expect("a name")
}

/// What the vault makes of a stored pair.
fn presented(ca: &Ca, version: u64) -> Presented {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["agent.test".to_owned()]).expect("names");
    let chain = params.signed_by(&key, &ca.issuer).expect("a leaf").pem();
    let material = Material::new(vec![
        (Field::PrivateKey, Secret::new(key.serialize_pem().into_bytes())),
        (Field::Certificate, Secret::new(chain.into_bytes())),
    ]);
    Presented::of(Credential::new(name(), version, Arc::new(material), Lease::default())).expect("a certificate")
}

/// A server that asks for a certificate of `clients`, and whether it takes callers without.
fn asking(ca: &Ca, clients: &Ca, lenient: bool) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for one in rustls::pki_types::pem::PemObject::pem_slice_iter(clients.pem.as_bytes()) {
        roots.add(one.expect("a certificate")).expect("a root");
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = if lenient { verifier.allow_unauthenticated() } else { verifier };
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["good.test".to_owned()]).expect("names").signed_by(&key, &ca.issuer);
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![leaf.expect("a leaf").der().clone()], private);
    Arc::new(config.expect("a certificate"))
}

fn key(who: &str, version: Option<u64>) -> PoolKey {
    PoolKey { agent: agent(who), credential: version.map(|version| (name(), version)), origin: https("good.test") }
}

async fn ask(pool: &Pool<Out>, way: Way<'_>, key: PoolKey) -> Result<String, SendError> {
    let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    let response = pool.send(way, key, Request::post("/").body(body).expect("a request"), false).await?;
    let body = response.into_body().collect().await.expect("a body");
    Ok(String::from_utf8(body.to_bytes().to_vec()).expect("text"))
}

#[tokio::test]
async fn a_certificate_is_its_credentials_alone() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let origin = Origins::start(Some(asking(&ca, &clients, false))).await;
    let dialer = dialer("good.test", origin.address, ca.trust());
    let (pool, own) = (Pool::<Out>::new(), presented(&clients, 1));
    let with = Way { dialer: &dialer, presents: Some(&own) };
    assert!(ask(&pool, with, key("a", Some(1))).await.expect("an answer").starts_with("1 "));
    assert!(ask(&pool, with, key("a", Some(1))).await.expect("an answer").starts_with("1 "), "kept");
    // Nobody else is given that connection, nor let in by a session of it.
    let bare = Way::from(&dialer);
    for other in [key("a", None), key("b", None), key("b", Some(1)), key("a", Some(2))] {
        assert!(ask(&pool, bare, other).await.is_err());
    }
    let stranger = presented(&ca, 1);
    assert!(ask(&pool, Way { dialer: &dialer, presents: Some(&stranger) }, key("c", Some(1))).await.is_err());
    assert_eq!(origin.requests(), 2, "what was refused in the handshake is not served");
    pool.evict_credential(&name());
    let error = ask(&pool, bare, key("a", Some(1))).await.expect_err("revoked");
    assert!(!error.to_string().contains("PRIVATE"), "{error}");
}

#[tokio::test]
async fn every_connection_proves_it_anew() {
    let (ca, clients) = (Ca::new(), Ca::new());
    // This one takes callers without a certificate too, and would resume their sessions.
    let origin = Origins::start(Some(asking(&ca, &clients, true))).await;
    let dialer = dialer("good.test", origin.address, ca.trust());
    let (own, who) = (presented(&clients, 1), agent("a"));
    let kinds = async |presents: Option<&Presented>| {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let party = For { agent: &who, credential: None, speaks: Speaks::Http, presents };
            let mut stream = dialer.connect(&https("good.test"), party).await.expect("a connection");
            // The tickets come behind the handshake.
            let mut some = [0u8; 16];
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: good.test\r\n\r\n")
                .await
                .expect("sent");
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut some).await.expect("an answer");
            kinds.push(stream.tls().and_then(|tls| tls.handshake_kind()));
        }
        kinds
    };
    assert_eq!(kinds(None).await, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "the check can fail");
    assert_eq!(kinds(Some(&own)).await, [Some(HandshakeKind::Full); 2]);
}

#[test]
fn no_configuration_keeps_a_key() {
    let (clients, own) = (Ca::new(), presented(&Ca::new(), 1));
    let trust = clients.trust();
    let config = trust.config_of(&own, Speaks::Http).expect("a config");
    assert_eq!(Arc::strong_count(&config), 1, "nobody but its connection has it");
    assert!(config.client_auth_cert_resolver.has_certs());
    assert!(
        !trust
            .config(&agent("a"), Some(&(name(), 1)), Speaks::Http)
            .expect("a config")
            .client_auth_cert_resolver
            .has_certs()
    );
    assert_eq!(format!("{own:?}"), "Presented(client)");
}
