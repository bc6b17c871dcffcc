//! Handshakes with leaves of our own making.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::super::fixture::{Counting, NOW, Still, agent, host};
use super::*;

#[derive(Debug)]
struct At;

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64)))
    }
}

fn authority(domains: &[&str]) -> (Authority, Arc<Still>) {
    let clock = Still::new();
    let name = AuthorityName {
        name: "Valetkey session".to_owned(),
        domains: domains.iter().map(ToString::to_string).collect(),
    };
    let random = Arc::new(Counting::default());
    (Authority::fresh(&name, Arc::<Still>::clone(&clock), random).expect("an authority"), clock)
}

fn client(authority: &Authority, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).expect("PEM")).expect("a root");
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(At))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    Arc::new(config)
}

type Both = (io::Result<tokio_rustls::client::TlsStream<DuplexStream>>, Result<TlsStream<DuplexStream>, AcceptError>);

async fn shake(authority: &Authority, config: &Arc<ClientConfig>, tunnel: &str, asked: &str) -> Both {
    shake_as("one", authority, config, (tunnel, asked)).await
}

async fn shake_as(who: &str, authority: &Authority, config: &Arc<ClientConfig>, (tunnel, asked): (&str, &str)) -> Both {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(asked.to_owned()).expect("a name");
    let connect = TlsConnector::from(Arc::clone(config)).connect(name, near);
    let (tunnel, agent) = (host(tunnel), agent(who));
    tokio::join!(connect, authority.accept(far, &tunnel, &agent))
}

#[tokio::test]
async fn clients_that_trust_the_authority_get_through() {
    let (authority, _) = authority(&[]);
    for (tunnel, asked) in [("api.github.com", "api.github.com"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let (client, server) = shake(&authority, &client(&authority, &["h2", "http/1.1"]), tunnel, asked).await;
        let (client, server) = (client.expect("client"), server.expect("server"));
        assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let group = client.get_ref().1.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
        assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
    }
}

/// Row A1: CONNECT and SNI must be one name.
#[tokio::test]
async fn another_name_than_the_tunnels_is_refused() {
    let (authority, _) = authority(&[]);
    for (tunnel, asked) in [
        ("good.test", "evil.test"),
        ("good.test", "sub.good.test"),
        ("good.test", "127.0.0.1"),
        ("127.0.0.1", "good.test"),
    ] {
        let (client, server) = shake(&authority, &client(&authority, &[]), tunnel, asked).await;
        assert!(client.is_err(), "{tunnel} {asked}");
        assert!(matches!(server, Err(AcceptError::Misdirected { .. })), "{tunnel} {asked}");
    }
    assert_eq!(authority.leaves.len(), 0, "no leaf is made for them");
}

#[tokio::test]
async fn strangers_and_names_outside_the_constraint_do_not_verify() {
    let (ours, _) = authority(&["good.test"]);
    let (other, _) = authority(&[]);
    let (client_side, _) = shake(&ours, &client(&other, &[]), "good.test", "good.test").await;
    assert!(client_side.is_err());
    let trusting = client(&ours, &[]);
    assert!(shake(&ours, &trusting, "api.good.test", "api.good.test").await.0.is_ok());
    assert!(shake(&ours, &trusting, "evil.test", "evil.test").await.0.is_err());
}

/// Tickets are on, early data is not (row F78).
#[tokio::test]
async fn sessions_resume_without_early_data() {
    let (authority, _) = authority(&[]);
    let config = client(&authority, &["http/1.1"]);
    // Row F79: what one agent got is good for nobody else, whoever has it now.
    for (who, kind) in [("one", HandshakeKind::Full), ("one", HandshakeKind::Resumed), ("on", HandshakeKind::Full)] {
        let (client, server) = shake_as(who, &authority, &config, ("a.test", "a.test")).await;
        let (mut client, mut server) = (client.expect("client"), server.expect("server"));
        assert_eq!(client.get_ref().1.handshake_kind(), Some(kind));
        assert!(!client.get_ref().1.is_early_data_accepted());
        // The ticket comes with the first octets.
        server.write_all(b"x").await.expect("written");
        server.flush().await.expect("flushed");
        client.read_u8().await.expect("read");
    }
}

#[test]
fn leaves_are_kept_renewed_bounded_and_numbered() {
    let (authority, clock) = authority(&[]);
    let first = authority.leaf(&host("a.test")).expect("a leaf");
    assert!(Arc::ptr_eq(&first, &authority.leaf(&host("a.test")).expect("a leaf")));
    clock.0.fetch_add(LEAF_SECONDS - LEAF_LEFT_SECONDS, Ordering::Relaxed);
    assert!(!Arc::ptr_eq(&first, &authority.leaf(&host("a.test")).expect("a leaf")));

    let mut serials = HashSet::new();
    let random = Counting::default();
    for _ in 0..1_000 {
        assert!(serials.insert(serial(&random).to_bytes()));
    }
    // Row J130, J131: more hosts than the bounds.
    clock.0.fetch_add(1, Ordering::Relaxed);
    let made = (0..3_000).filter(|n| authority.leaf(&host(&format!("h{n}.test"))).is_ok()).count();
    assert_eq!(made, LEAVES_PER_SECOND_MAX as usize);
    clock.0.fetch_add(1, Ordering::Relaxed);
    assert!(authority.leaf(&host("h2999.test")).is_ok());
    assert!(authority.leaves.len() <= LEAVES_MAX + LEAVES_MAX / 10);
}

#[test]
fn kept_authorities_come_back_and_wrong_ones_do_not() {
    let clock = Still::new();
    let random = Arc::new(Counting::default());
    let name = AuthorityName { name: "Valetkey".to_owned(), domains: Vec::new() };
    let make = || Authority::to_keep(&name, clock.now(), &*random).expect("an authority");
    let (one, two) = (make(), make());
    let pem = |kept: &Kept| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test plays the wiring, which reads the key back from the vault"
        )]
        String::from_utf8(kept.key.expose().to_vec()).expect("PEM")
    };
    let read = |certificate: &str, key: &str| {
        Authority::from_pem(certificate, key, Arc::<Still>::clone(&clock), Arc::<Counting>::clone(&random))
    };
    assert!(read(&one.certificate, &pem(&one)).is_ok());
    assert!(read(&one.certificate, &pem(&two)).is_err());
    assert!(read("", &pem(&one)).is_err());
    assert!(read(&one.certificate, "").is_err());
    clock.0.fetch_add(AUTHORITY_SECONDS, Ordering::Relaxed);
    assert!(read(&one.certificate, &pem(&one)).is_err());
}

/// Measures, does not judge.
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_leaves_and_handshakes() {
    let (authority, clock) = authority(&[]);
    let begun = std::time::Instant::now();
    for n in 0..1_000 {
        authority.leaf(&host(&format!("h{n}.test"))).expect("a leaf");
    }
    println!("leaf: {:?}", begun.elapsed() / 1_000);
    clock.0.fetch_add(1, Ordering::Relaxed);
    let (config, rounds) = (client(&authority, &["http/1.1"]), 500);
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        let (client, server) = shake(&authority, &config, "a.test", "a.test").await;
        drop((client.expect("client"), server.expect("server")));
    }
    println!("handshake, both ends, warm leaf, full: {:?}", begun.elapsed() / rounds);
}
