//! Rows of the attack catalogue about TLS on both sides of the gateway: who is trusted, what is resumed, what a client that
//! does not trust us gets.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use e2e::audit::Log;
use e2e::{Gateway, House, Session};
use rustls::client::{EchConfig, EchGreaseConfig, EchMode, Resumption};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128 as HPKE;
use rustls::crypto::hpke::Hpke as _;
use rustls::{ClientConfig, HandshakeKind, ServerConnection};
use testkit::ca::{Leaf, client_trusting, roots_of};
use testkit::client::{Answer, Wire};
use testkit::process::{Finished, finish};
use testkit::{Ca, Canary, Upstream};

use crate::talk::{Agent, HOST, agent, echo_house};

const PATIENCE: Duration = Duration::from_mins(1);

/// A request with the placeholder where it belongs, and its answer.
fn get(wire: &mut Wire, host: &str, placeholder: &str) -> std::io::Result<Answer> {
    let head = format!("GET /anything HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {placeholder}\r\n\r\n");
    wire.send(head.as_bytes())?;
    wire.answer("GET")
}

/// A corporate proxy in the wrong hands: whatever it is asked for, it connects to `to`.
fn detour(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let journal = Arc::clone(&asked);
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut head = Vec::new();
            let mut octet = [0u8; 1];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut octet).is_ok_and(|size| size == 1) {
                head.push(octet[0]);
            }
            journal.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let Ok(server) = TcpStream::connect(to) else { continue };
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    (address, asked)
}

/// Row F75: variables by which other programs find their roots, their proxy or a place for session keys do not make the
/// gateway trust anybody, nor give its keys away.
#[test]
fn the_environment_neither_adds_trust_nor_takes_keys() {
    let (honest, rogue) = (Upstream::start(), Upstream::start());
    let canary = Canary::new(401, "tok_", 40);
    let config = format!(
        "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, from: env:ECHO_TOKEN }}\nagents:\n{}\
         upstreams:\n{}  python.echo.test: {{ address: \"{}\" }}\n",
        agent("tester", ""),
        honest.entry(HOST),
        rogue.addr()
    );
    let house = House::new(&config, &[("ECHO_TOKEN", &canary.value())]);
    std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
    let (ca, keys, (proxy, asked)) = (rogue.ca_file(), house.path("keys.log"), detour(rogue.addr()));
    let (ca, proxy) = (ca.to_str().unwrap(), format!("http://{proxy}"));
    let gateway = house.serve_with(&[
        ("SSL_CERT_FILE", ca),
        ("SSL_CERT_DIR", rogue.folder().to_str().unwrap()),
        ("NODE_EXTRA_CA_CERTS", ca),
        ("REQUESTS_CA_BUNDLE", ca),
        ("CURL_CA_BUNDLE", ca),
        ("SSLKEYLOGFILE", keys.to_str().unwrap()),
        ("HTTPS_PROXY", &proxy),
        ("https_proxy", &proxy),
        ("ALL_PROXY", &proxy),
    ]);
    let session = house.session("tester");
    let driver = Agent::of(&gateway, &session);
    let tls = client_trusting(roots_of(&session.ca), &["http/1.1"]);
    let ask = |host: &str| {
        let mut wire = driver.tunnel(host).unwrap().tls(host, &tls).unwrap();
        get(&mut wire, host, &driver.placeholder).unwrap()
    };
    assert_eq!(ask(HOST).status, 200);
    assert_eq!(honest.journal().last().count(&canary.value()), 1);
    // The first is dialled where the configuration says, the second by way of the proxy; neither shows a root of ours.
    for host in ["python.echo.test", "node.echo.test"] {
        let answer = ask(host);
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (502, Some("upstream_untrusted")),
            "{host}: {}",
            answer.text()
        );
    }
    assert!(rogue.journal().is_empty() && rogue.journal().handshakes() == 0, "{:?}", rogue.journal());
    // What is listed never takes the way out, and the way out learns a host and nothing else.
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("CONNECT node.echo.test:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(!asked[0].contains(&session.token) && !asked[0].contains(&driver.placeholder), "{asked:?}");
    assert!(!keys.exists(), "session keys were written");
    let log = Log::of(&house);
    assert_eq!(log.incomplete(&session.id), Vec::<String>::new());
    house.assert_audit();
}

/// What an origin that takes early data and tickets saw of one connection.
#[derive(Clone, Debug)]
struct Shaken {
    kind: HandshakeKind,
    early: usize,
    head: String,
}

/// An origin that would take 16 KiB of early data, resumes whoever comes back, and closes after each answer.
fn eager_origin(ca: &Arc<Ca>) -> (SocketAddr, Arc<Mutex<Vec<Shaken>>>) {
    let mut config = rustls::ServerConfig::clone(&ca.server(Leaf::Good, &["http/1.1"]));
    config.max_early_data_size = 16 * 1024;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let journal = Arc::clone(&seen);
    thread::spawn(move || {
        while let Ok((mut tcp, _)) = listener.accept() {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut early = Vec::new();
            while tls.is_handshaking() && tls.complete_io(&mut tcp).is_ok() {
                if let Some(mut data) = tls.early_data() {
                    let _ = data.read_to_end(&mut early);
                }
            }
            let Some(kind) = tls.handshake_kind() else { continue };
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let (mut head, mut octet) = (Vec::new(), [0u8; 1]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|size| size == 1) {
                head.push(octet[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            journal.lock().unwrap().push(Shaken { kind, early: early.len(), head });
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            let _ = stream.flush();
        }
    });
    (address, seen)
}

/// Rows F78 and F79 towards the upstream: a session is resumed by its own agent alone, and never with early data, although
/// the origin would take it.
#[test]
fn towards_the_upstream_no_early_data_and_no_session_of_another() {
    let ca = Ca::new("eager");
    let (address, seen) = eager_origin(&ca);
    let stand_in = Upstream::start();
    let (house, canary) = echo_house(&stand_in, &(agent("one", "") + &agent("two", "")));
    std::fs::write(house.path("eager.pem"), ca.pem()).unwrap();
    let config = std::fs::read_to_string(house.config()).unwrap();
    let config = config.replace(&stand_in.addr().to_string(), &address.to_string());
    std::fs::write(house.config(), config.replace(&stand_in.ca_file().display().to_string(), "./eager.pem")).unwrap();
    let gateway = house.serve();
    let [one, two] = ["one", "two"].map(|name| Agent::of(&gateway, &house.session(name)));
    for (driver, path) in [(&one, "/1"), (&one, "/2"), (&one, "/3"), (&two, "/4"), (&two, "/5")] {
        let mut wire = driver.open().unwrap();
        assert_eq!(driver.ask(&mut wire, "POST", path, "").unwrap().status, 200, "{path}");
    }
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().all(|one| one.head.contains(&canary.value())), "{seen:?}");
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    let kinds: Vec<_> = seen.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [full, resumed, resumed, full, resumed], "{seen:?}");
    assert_eq!(seen.iter().map(|one| one.early).sum::<usize>(), 0, "{seen:?}");
    house.assert_audit();
}

/// `openssl s_client` through the proxy, as a given session.
fn s_client(house: &House, gateway: &Gateway, session: &Session, more: &str, input: &str) -> Finished {
    std::fs::write(house.path("session-ca.pem"), &session.ca).unwrap();
    let script = format!(
        "({input}) | openssl s_client -proxy {} -proxy_user agent -proxy_pass pass:{} -connect {HOST}:443 -servername {HOST} \
         -CAfile session-ca.pem -verify_return_error {more}",
        gateway.proxy, session.token
    );
    let mut command = house.clean(Path::new("/bin/sh"));
    finish(command.args(["-c", &script]), PATIENCE)
}

/// Rows F78 and F79 towards the agent: old versions, weak ciphers and renegotiation are refused, tickets allow no early data.
#[test]
fn towards_the_agent_nothing_old_and_no_early_data() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let gateway = house.serve();
    let session = house.session("tester");
    let try_with = |more: &str| s_client(&house, &gateway, &session, more, "sleep 0.3");
    for (more, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = try_with(more).expect_success(more);
        assert!(told.stdout.contains(&format!("New, {version}")), "{}", told.stdout);
        // A ticket of TLS 1.3 says how much early data it is good for (RFC 8446 4.6.1).
        assert_eq!(told.stdout.contains("Max Early Data: 0"), version == "TLSv1.3", "{}", told.stdout);
    }
    for more in [
        "-tls1 -cipher ALL:@SECLEVEL=0",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0",
        "-tls1_2 -cipher AES128-GCM-SHA256:@SECLEVEL=0",
        "-tls1_2 -cipher ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0",
    ] {
        let told = try_with(more);
        assert_ne!(told.code(), Some(0), "{more}");
        assert!(told.stdout.contains("Cipher is (NONE)"), "{more}: {}", told.stdout);
    }
    let told = s_client(&house, &gateway, &session, "-tls1_2", "sleep 0.3; echo R; sleep 0.5");
    assert_ne!(told.code(), Some(0), "{}", told.stdout);
    assert!(told.stderr.contains("RENEGOTIATING") && told.stderr.contains("no renegotiation"), "{}", told.stderr);
    assert!(upstream.journal().is_empty());
    house.assert_audit();
}

/// Row F79: who somebody is comes from the token of the tunnel. A ticket that another agent got says nothing about it.
#[test]
fn a_ticket_of_another_agent_makes_nobody_that_agent() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &(agent("one", "") + &agent("two", "")));
    let gateway = house.serve();
    let sessions = ["one", "two"].map(|name| house.session(name));
    let [one, two] = [0, 1].map(|at| Agent::of(&gateway, &sessions[at]));
    // Both agents are the same client with the same tickets, as if one had stolen the other's.
    let mut config = ClientConfig::clone(&client_trusting(roots_of(&sessions[0].ca), &["http/1.1"]));
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut kinds = Vec::new();
    let mut answers = Vec::new();
    for (driver, placeholder) in [(&one, &one), (&one, &one), (&two, &one), (&two, &two)] {
        let mut wire = driver.tunnel(HOST).unwrap().tls(HOST, &config).unwrap();
        if let Wire::Tls(tls) = &wire {
            kinds.push(tls.conn.handshake_kind());
            assert!(!tls.conn.is_early_data_accepted());
        }
        let answer = get(&mut wire, HOST, &placeholder.placeholder).unwrap();
        canary.assert_absent("the answer", &answer.wire);
        answers.push((answer.status, answer.code().unwrap_or_default()));
    }
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    assert_eq!(kinds[..3], [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full], "{kinds:?}");
    let good = (200, String::new());
    assert_eq!(answers, [good.clone(), good.clone(), (403, "placeholder_foreign".to_owned()), good]);
    let log = Log::of(&house);
    for (session, name, attempts, refusals) in [(&sessions[0], "one", 2, 0), (&sessions[1], "two", 1, 1)] {
        assert_eq!(log.count(&session.id, "attempt"), attempts, "{name}");
        assert_eq!(log.count(&session.id, "refusal"), refusals, "{name}");
        assert!(log.events(&session.id, "attempt").all(|event| event["agent"] == name), "{name}");
    }
    assert_eq!(upstream.journal().len(), 3);
    house.assert_audit();
}

/// Row F80: a client that does not trust our certificate gets no tunnel past us: it fails, the record says why, and `doctor`
/// is named.
#[test]
fn a_client_that_does_not_trust_us_is_never_tunnelled() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let gateway = house.serve();
    let session = house.session("tester");
    let driver = Agent::of(&gateway, &session);
    // It knows the upstream's own authority alone: were it tunnelled, the handshake would be good.
    let pinned = client_trusting(upstream.ca().roots(), &["http/1.1"]);
    assert!(Wire::open(upstream.addr()).unwrap().tls(HOST, &pinned).is_ok());
    let before = upstream.journal().connections();
    let error = driver.tunnel(HOST).unwrap().tls(HOST, &pinned).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // Neither is what is no TLS.
    let mut ssh = driver.tunnel(HOST).unwrap();
    ssh.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").unwrap();
    let answer = ssh.answer("GET").unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (400, Some("malformed")), "{}", answer.text());
    thread::sleep(Duration::from_millis(200));
    assert_eq!(upstream.journal().connections(), before);
    let log = Log::of(&house);
    let refusals: Vec<_> = log.events(&session.id, "refusal").collect();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    let codes =
        refusals.iter().map(|event| (event["request"]["method"].as_str().unwrap(), event["code"].as_str().unwrap()));
    assert_eq!(codes.collect::<BTreeSet<_>>(), BTreeSet::from([("CONNECT", "misdirected"), ("", "malformed")]));
    let distrust = refusals.iter().find(|event| event["code"] == "misdirected").unwrap();
    assert!(distrust["reason"].as_str().unwrap().contains("`valetkey doctor`"), "{distrust}");
    // With curl alone: what all runtimes do is another test's.
    let path = crate::doctor::programs(&house, &[]).display().to_string();
    let told = crate::doctor::doctor(&house, &path, &["--json"]);
    let findings: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let curl = findings.as_array().unwrap().iter().find(|finding| finding["subject"] == "curl").unwrap();
    assert_eq!(curl["state"], "ok", "{curl}");
    house.assert_audit();
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// Row F81: the authority is this process's alone. Its key is in no file, its certificate ends, signs leaves alone, and says
/// nothing to whoever trusts another gateway or the system's roots.
#[test]
fn the_authority_is_of_one_process_and_leaves_no_key() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let (other_house, _) = echo_house(&upstream, &agent("tester", ""));
    let (gateway, other) = (house.serve(), other_house.serve());
    let (session, other_session) = (house.session("tester"), other_house.session("tester"));
    assert_ne!(session.ca, other_session.ca);
    let driver = Agent::of(&gateway, &session);
    assert_eq!(driver.get("/anything"), 200);
    let stranger = client_trusting(roots_of(&other_session.ca), &["http/1.1"]);
    assert!(driver.tunnel(HOST).unwrap().tls(HOST, &stranger).is_err());
    drop(other);
    std::fs::write(house.path("our-ca.pem"), &session.ca).unwrap();
    let mut show = Command::new("openssl");
    show.args(["x509", "-noout", "-text", "-in"]).arg(house.path("our-ca.pem"));
    let text = finish(&mut show, PATIENCE).expect_success("openssl x509").stdout;
    assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign, CRL Sign"), "{text}");
    // Good today, over in 90 days and an hour.
    for (seconds, good) in [("3600", true), ("7779600", false)] {
        let mut check = Command::new("openssl");
        check.args(["x509", "-noout", "-checkend", seconds, "-in"]).arg(house.path("our-ca.pem"));
        assert_eq!(finish(&mut check, PATIENCE).code() == Some(0), good, "{seconds}");
    }
    let mut verify = Command::new("openssl");
    let told = finish(verify.arg("verify").arg(house.path("our-ca.pem")), PATIENCE);
    assert_ne!(told.code(), Some(0), "the system trusts it: {}", told.stdout);
    for file in files(&house.path(".")) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("PRIVATE KEY"), "{}", file.display());
    }
    // A gateway that comes back has another one.
    drop(gateway);
    let again = house.serve();
    assert_ne!(house.session("tester").ca, session.ca);
    drop(again);
}

/// RFC 9849: a list with one configuration, whose public name stands in the clear.
fn ech_list(public_name: &str, key: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let suites = [0, 1, 0, 1];
    let name = [&[u8::try_from(public_name.len()).unwrap()], public_name.as_bytes()].concat();
    let contents = [&[7, 0, 0x20][..], &sized(key), &sized(&suites), &[0], &name, &[0, 0]].concat();
    sized(&[&[0xfe, 0x0d][..], &sized(&contents)].concat())
}

/// Row F82: the name comes from CONNECT. A hello that hides another one is answered for what stands in the clear, which the
/// client does not take; one that greases is like any other.
#[test]
fn a_hidden_name_is_never_followed() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let gateway = house.serve();
    let session = house.session("tester");
    let driver = Agent::of(&gateway, &session);
    let (key, _) = HPKE.generate_key_pair().unwrap();
    let with = |mode: EchMode| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_ech(mode).unwrap();
        Arc::new(config.with_root_certificates(roots_of(&session.ca)).with_no_client_auth())
    };
    let hiding = |public_name: &str| {
        let list = ech_list(public_name, &key.0).into();
        with(EchMode::Enable(EchConfig::new(list, &[HPKE]).unwrap()))
    };
    // In the clear stands the host of the tunnel, hidden is another; then the other way round.
    for (what, inner, outer) in
        [("evil inside", "evil.test", HOST), ("evil outside", HOST, "evil.test"), ("both good", HOST, HOST)]
    {
        let outcome = driver.tunnel(HOST).unwrap().tls(inner, &hiding(outer));
        let outcome =
            outcome.and_then(|mut wire| get(&mut wire, HOST, &driver.placeholder).map(|answer| answer.status));
        assert!(outcome.is_err(), "{what}: {outcome:?}");
    }
    assert!(upstream.journal().is_empty() && upstream.journal().connections() == 0);
    let grease = with(EchMode::Grease(EchGreaseConfig::new(HPKE, key.clone())));
    let mut wire = driver.tunnel(HOST).unwrap().tls(HOST, &grease).unwrap();
    assert_eq!(get(&mut wire, HOST, &driver.placeholder).unwrap().status, 200);
    let arrived = upstream.journal().take();
    assert_eq!((arrived.len(), arrived[0].count(&canary.value()), arrived[0].sni.as_deref()), (1, 1, Some(HOST)));
    let log = Log::of(&house);
    assert_eq!((log.count(&session.id, "attempt"), log.count(&session.id, "refusal")), (1, 3));
    house.assert_audit();
}
