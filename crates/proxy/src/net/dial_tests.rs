//! Addresses, names and certificates that must not be reached, and the ways out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, NameConstraints, SanType};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::fixture::{Ca, Origins, Table, agent, dialer, host, https, server_config};
use super::super::name::{Answer, Resolving};
use super::super::tls::Trust;
use super::*;

async fn connect(dialer: &Dialer, name: &str) -> Result<Stream, DialError> {
    let agent = agent("a");
    dialer.connect(&https(name), For { agent: &agent, credential: None, speaks: Speaks::Http, presents: None }).await
}

fn table(rows: &[(&str, &[&str])]) -> Dialer {
    let rows = rows.iter().map(|(name, addresses)| {
        ((*name).to_owned(), addresses.iter().map(|address| address.parse().expect("an address")).collect())
    });
    Dialer::new(Box::new(Table(rows.collect())), Trust::platform(), Own::new(vec!["8.8.4.4".parse().expect("one")]))
}

/// Rows A12, A15, F68-F72: whatever road leads to a blocked address, one blocked answer is enough.
#[tokio::test]
async fn blocked_addresses_are_not_dialled() {
    let dialer = table(&[
        ("inside.test", &["127.0.0.1"]),
        ("mixed.test", &["8.8.8.8", "10.0.0.1"]),
        ("six.test", &["2606:4700::1111", "::ffff:127.0.0.1"]),
        ("metadata.google.internal", &["169.254.169.254"]),
        ("ours.test", &["8.8.4.4"]),
    ]);
    for name in [
        "inside.test",
        "mixed.test",
        "six.test",
        "metadata.google.internal",
        "ours.test",
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "0.0.0.0",
        "8.8.4.4",
    ] {
        let outcome = connect(&dialer, name).await;
        assert!(matches!(outcome, Err(DialError::Blocked { .. })), "{name}");
    }
    assert!(matches!(connect(&dialer, "nowhere.test").await, Err(DialError::Unknown { .. })));
}

/// Answers in turn: a public address, then loopback, for every name and question.
struct FlipFlop(AtomicUsize);

impl Resolve for FlipFlop {
    fn resolve<'a>(&'a self, _: &'a Host) -> Resolving<'a> {
        let even = self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let address = if even { "8.8.8.8" } else { "127.0.0.1" };
        Box::pin(async move { Ok(Answer { addresses: vec![address.parse().expect("one")], ttl_seconds: 0 }) })
    }
}

/// Row F72, a thousand times: what was checked is what is dialled, so that loopback never comes out of a check, and the
/// listener on it is never reached.
#[tokio::test]
async fn rebinding_never_connects() {
    let origin = Origins::start(None).await;
    let names = Names::new(Box::new(FlipFlop(AtomicUsize::new(0))), Own::default());
    let flipping = Dialer::new(Box::new(FlipFlop(AtomicUsize::new(1))), Trust::platform(), Own::default());
    let agent = agent("a");
    let (mut passed, mut refused) = (0, 0);
    for n in 0..1_000 {
        // A name of its own each time: nothing is answered from what was kept.
        match names.checked(&host(&format!("n{n}.test"))).await {
            Ok(addresses) => {
                passed += 1;
                assert_eq!(*addresses, ["8.8.8.8".parse::<IpAddr>().expect("one")]);
            }
            Err(_) => refused += 1,
        }
        // The same through the dialer, in the turn that answers loopback, towards a port that listens.
        let origin = Origin { scheme: Scheme::Http, host: host(&format!("m{n}.test")), port: origin.address.port() };
        let outcome = flipping
            .connect(&origin, For { agent: &agent, credential: None, speaks: Speaks::Http, presents: None })
            .await;
        assert!(matches!(outcome, Err(DialError::Blocked { .. })));
        flipping.names.checked(&host(&format!("skip{n}.test"))).await.expect("the public turn");
    }
    assert_eq!((passed, refused), (500, 500));
    assert_eq!(origin.connections(), 0);
    // And a name that passed once is not asked again while it is kept, even with a TTL of 0.
    let kept = Names::new(Box::new(FlipFlop(AtomicUsize::new(0))), Own::default());
    for _ in 0..10 {
        assert!(kept.checked(&host("one.test")).await.is_ok());
    }
}

/// Rows F74: nine certificates that must not verify, and one that must.
#[tokio::test]
async fn bad_certificates_are_untrusted() {
    let ca = Ca::new();
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        CertificateParams::new(names).expect("names")
    };
    let key = KeyPair::generate().expect("a key");
    let self_signed = named(&["good.test"]).self_signed(&key).expect("a certificate");
    let past = {
        let mut past = named(&["good.test"]);
        past.not_after = rcgen::date_time_ymd(2000, 1, 1);
        past
    };
    let future = {
        let mut future = named(&["good.test"]);
        future.not_before = rcgen::date_time_ymd(4000, 1, 1);
        future
    };
    let client_only = {
        let mut params = named(&["good.test"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    };
    let authority = {
        let mut params = named(&["good.test"]);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let address_only = {
        let mut params = named(&[]);
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().expect("one"))];
        params
    };
    let constrained = Ca::with(|params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("other.test".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let cases: [(&str, Arc<ServerConfig>, &Ca); 9] = [
        ("self-signed", server_config(self_signed.der().clone(), &key, &[]), &ca),
        ("another authority's", Ca::new().server(&["good.test"], &[]), &ca),
        ("for another host", ca.server(&["evil.test"], &[]), &ca),
        ("past its end", ca.server_with(&past, &[]), &ca),
        ("before its beginning", ca.server_with(&future, &[]), &ca),
        ("for clients alone", ca.server_with(&client_only, &[]), &ca),
        ("an authority's own", ca.server_with(&authority, &[]), &ca),
        ("for an address alone", ca.server_with(&address_only, &[]), &ca),
        ("outside its authority's constraint", constrained.server(&["good.test"], &[]), &constrained),
    ];
    for (what, config, ca) in cases {
        let origin = Origins::start(Some(config)).await;
        let outcome = connect(&dialer("good.test", origin.address, ca.trust()), "good.test").await;
        assert!(matches!(outcome, Err(DialError::Untrusted { .. })), "{what}: {:?}", outcome.err());
        assert_eq!(origin.requests(), 0);
    }
    let origin = Origins::start(Some(ca.server(&["good.test"], &[]))).await;
    assert!(connect(&dialer("good.test", origin.address, ca.trust()), "good.test").await.is_ok());
    // The platform does not vouch for it.
    assert!(matches!(
        connect(&dialer("good.test", origin.address, Trust::platform()), "good.test").await,
        Err(DialError::Untrusted { .. })
    ));
}

#[tokio::test]
async fn what_does_not_listen_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let outcome = connect(&dialer("good.test", address, Ca::new().trust()), "good.test").await;
    assert!(matches!(outcome, Err(DialError::Unreachable { .. })));
}

/// A silent listener takes the connection and says nothing: the time to connect includes TLS.
#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let outcome = connect(&dialer("good.test", address, Ca::new().trust()), "good.test").await;
    assert!(matches!(outcome, Err(DialError::Timeout { .. })));
}

#[tokio::test]
async fn a_dead_address_does_not_hide_a_live_one() {
    let origin = Origins::start(None).await;
    let port = origin.address.port();
    let dead = "127.9.9.9".parse().expect("one");
    let live = origin.address.ip();
    assert!(reach(&host("a.test"), &[dead, live], port).await.is_ok());
    assert!(reach(&host("a.test"), &[], port).await.is_err());
}

#[tokio::test]
async fn nagle_is_off() {
    let origin = Origins::start(None).await;
    assert!(tcp(origin.address).await.expect("connects").nodelay().expect("an answer"));
}

/// A corporate proxy that answers with `answer` and then joins the tunnel to `upstream`.
async fn corporate(answer: &'static [u8], upstream: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            client.read_buf(&mut head).await.expect("octets");
        }
        client.write_all(answer).await.expect("written");
        let mut server = TcpStream::connect(upstream).await.expect("an upstream");
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        String::from_utf8(head).expect("text")
    });
    (address, task)
}

#[tokio::test]
async fn the_way_out_through_a_corporate_proxy() {
    let ca = Ca::new();
    let origin = Origins::start(Some(ca.server(&["good.test"], &["http/1.1"]))).await;
    for (answer, fine) in [
        (&b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"[..], true),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\n\r\nextra", false),
        (b"SSH-2.0-OpenSSH\r\n", false),
    ] {
        let (address, task) = corporate(answer, origin.address).await;
        let login = Some(http::HeaderValue::from_static("Basic dTpw"));
        let way_out = WayOut::new(host("127.0.0.1"), address.port(), login, vec!["direct.test".to_owned()]);
        let dialer = Dialer::new(Box::new(Table::default()), ca.trust(), Own::default()).way_out(way_out);
        for blocked in ["127.0.0.1", "169.254.169.254", "localhost", "x.localhost", "metadata.google.internal"] {
            assert!(matches!(connect(&dialer, blocked).await, Err(DialError::Blocked { .. })), "{blocked}");
        }
        assert!(matches!(connect(&dialer, "direct.test").await, Err(DialError::Unknown { .. })));
        let outcome = connect(&dialer, "good.test").await;
        assert_eq!(outcome.is_ok(), fine, "{:?}", outcome.err());
        drop(outcome);
        let head = task.await.expect("no panic");
        assert_eq!(
            head,
            "CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }
}
