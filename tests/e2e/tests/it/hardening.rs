//! Group J of the attack catalogue: identity, limits and availability under attack. After each attack the gateway answers
//! others as before, its memory has a bound, and its log is whole.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::audit::Log;
use e2e::frames::{block, frame, preface};
use e2e::{Gateway, House};
use serde_json::Value;
use testkit::client::{Wire, proxy_authorization};
use testkit::{Answer, Upstream};

use crate::talk::{Agent, HOST, agent, echo_house};

/// What an attack may leave behind in memory.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

pub struct Stage {
    pub upstream: Upstream,
    pub house: House,
    pub gateway: Gateway,
    pub bystander: Agent,
    memory: u64,
}

impl Stage {
    /// A gateway with a bystander, warmed up.
    pub fn set() -> Self {
        let upstream = Upstream::builder().handler(|_| Some(Answer::body("text/plain", "ok"))).start();
        let (house, _) = echo_house(&upstream, &(agent("a", "") + &agent("b", "")));
        let gateway = house.serve();
        let bystander = Agent::of(&gateway, &house.session("b"));
        for _ in 0..20 {
            assert_eq!(bystander.get("/warm"), 200);
        }
        let memory = resident(&gateway);
        Self { upstream, house, gateway, bystander, memory }
    }

    fn attacker(&self) -> Agent {
        Agent::of(&self.gateway, &self.house.session("a"))
    }

    /// What must hold after every attack.
    pub fn assert_sound(&mut self, what: &str) {
        let start = Instant::now();
        while self.bystander.get("/after") != 200 {
            assert!(start.elapsed() < Duration::from_secs(5), "{what}: others are not served any more");
            std::thread::sleep(Duration::from_millis(20));
        }
        let grown = resident(&self.gateway).saturating_sub(self.memory);
        println!("{what}: others served {:?} later, memory grew by {grown} KiB", start.elapsed());
        assert!(grown <= GROWTH_KIB_MAX, "{what}: memory grew by {grown} KiB");
        let told = std::fs::read_to_string(self.house.path("serve.log")).unwrap_or_default();
        assert!(!told.contains("panicked"), "{what}: {told}");
        self.house.assert_audit();
    }
}

/// Resident memory of the gateway, KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Asks the proxy port for something with this line; status and `code`.
pub fn plain(wire: &mut Wire, line: &str) -> (u16, Option<String>) {
    let head = format!("GET http://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n");
    let answer = wire.send(head.as_bytes()).and_then(|()| wire.answer("GET"));
    answer.map_or((0, None), |answer| (answer.status, answer.code()))
}

/// Row J116: a token that is unknown, malformed, of nobody or of a revoked session opens nothing; unknown ones are all told
/// the same in the same words.
#[test]
fn tokens_that_are_none_are_told_the_same() {
    let mut stage = Stage::set();
    let session = stage.house.session("a");
    let (good, ended) = (session.token.clone(), stage.house.session("a"));
    let _ = stage.house.valetkey(&["session", "end", &ended.id]).expect_success("session end");
    let mut near = good.clone().into_bytes();
    let last = near.len() - 1;
    near[last] = if near[last] == b'A' { b'B' } else { b'A' };
    let guesses = [
        String::from_utf8(near).unwrap(),
        good[..last].to_owned(),
        format!("{good}A"),
        good.to_uppercase(),
        "vkt_".to_owned(),
        "vkt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        stage.bystander.placeholder.clone(),
        String::new(),
    ];
    let tell = |token: &str| {
        let mut wire = Wire::open(stage.gateway.proxy).unwrap();
        let answer = wire.connect(&format!("{HOST}:443"), &proxy_authorization("a", token)).unwrap();
        let fields: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        (answer.status, fields, answer.text())
    };
    let first = tell(&guesses[0]);
    assert_eq!(first.0, 407, "{first:?}");
    for guess in &guesses {
        assert_eq!(tell(guess), first, "{guess}");
    }
    assert_eq!(tell(&good).0, 200);
    let start = Instant::now();
    while tell(&ended.token).0 != 407 {
        assert!(start.elapsed() < Duration::from_secs(5), "a session that was ended goes on");
    }
    stage.assert_sound("guessed tokens");
}

/// Row J117: no token in arguments, in what is logged, in the audit log, or in any file but the one the owner alone reads.
#[test]
fn a_token_is_in_no_argument_and_no_log() {
    let mut stage = Stage::set();
    let session = stage.house.session("a");
    let driver = Agent::of(&stage.gateway, &session);
    assert_eq!(driver.get("/one"), 200);
    let mut wire = Wire::open(stage.gateway.proxy).unwrap();
    let _ = plain(&mut wire, &format!("Proxy-Authorization: Bearer {}x\r\n", session.token));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
        assert!(!String::from_utf8_lossy(&line).contains(&session.token), "{}", process.path().display());
    }
    let log = std::fs::read_to_string(stage.house.path("serve.log")).unwrap();
    let audit = stage.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    for (what, text) in [("the log", &log), ("the audit log", &audit)] {
        assert!(!text.contains(&session.token), "the token stands in {what}");
    }
    let found = Command::new("grep").args(["-rlaF", &session.token]).arg(stage.house.path("state")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "only a digest is kept");
    stage.assert_sound("a token's traces");
}

/// Row J121: whatever an agent writes, one exchange is one line, and no line moves a cursor or turns a text around.
#[test]
fn thirty_payloads_are_one_line_each() {
    let mut stage = Stage::set();
    let session = stage.house.session("a");
    let driver = Agent::of(&stage.gateway, &session);
    let texts = [
        "\r\n{\"kind\":\"attempt\"}",
        "\n\n",
        "\r",
        "\0",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "\u{8}\u{8}\u{8}",
        "\",\"decision\":\"allow\",\"x\":\"",
        "\\\",\\\"decision\\\":\\\"allow",
        "\\u000a",
        "%0d%0aSet-Cookie: x",
        "</script><script>",
        "=cmd|'/c calc'!A1",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "\u{202e}txt.exe",
        "\u{2066}a\u{2069}",
        "\u{200b}\u{feff}",
        "\u{2028}",
        "\u{e0041}",
        "\u{fff9}",
        "\u{ad}",
        "\u{115f}",
        "\u{7f}",
        "'; DROP TABLE events; --",
        "%s%s%n",
        "\t\t",
        "a\u{308}\u{308}\u{308}",
        "\u{1f469}\u{200d}\u{1f52c}",
    ];
    assert_eq!(texts.len(), 30);
    for text in texts {
        let body = serde_json::json!({"amount": 1, "name": text}).to_string();
        let mut wire = driver.open().unwrap();
        let _ = driver.ask(&mut wire, "POST", "/items", &body).unwrap();
        let mut path = String::from("/log?x=");
        text.bytes().for_each(|octet| write!(path, "%{octet:02X}").unwrap());
        let mut wire = driver.open().unwrap();
        let _ = driver.ask(&mut wire, "GET", &path, "").unwrap();
    }
    let long = "A".repeat(9_000);
    let _ = driver.ask(&mut driver.open().unwrap(), "GET", &format!("/{long}"), "").unwrap();
    let raw = stage.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let hidden = |letter: char| {
        letter.is_control() && letter != '\n'
            || matches!(letter, '\u{202e}' | '\u{2066}' | '\u{200b}' | '\u{2028}' | '\u{e0041}')
    };
    assert!(!raw.contains(hidden), "a line holds what cannot be seen");
    let of_session = |line: &str| -> Option<Value> {
        let event: Value = serde_json::from_str(line).expect("one line is one record");
        (event["session"] == session.id.as_str() && event["request"].is_object()).then_some(event)
    };
    let events: Vec<Value> = raw.lines().filter_map(of_session).collect();
    let exchanges: std::collections::BTreeSet<&str> =
        events.iter().map(|event| event["exchange"].as_str().unwrap()).collect();
    assert_eq!(exchanges.len(), 61);
    let people =
        stage.house.valetkey(&["audit", "search", "--session", &session.id]).expect_success("audit search").stdout;
    assert!(!people.contains(hidden), "{people:?}");
    stage.assert_sound("payloads for the log");
}

/// Row J123: a secret in a query, a field or a body is in no record, nor in any file of the home.
#[test]
fn secrets_that_agents_send_are_in_no_record() {
    let mut stage = Stage::set();
    let secret = stage.house.secrets().next().unwrap().to_owned();
    let session = stage.house.session("a");
    let driver = Agent::of(&stage.gateway, &session);
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    for text in [&secret, &hex] {
        for (method, path, body) in [
            ("GET", format!("/x?key={text}"), String::new()),
            ("GET", format!("/a/{text}/b"), String::new()),
            ("POST", "/notes".to_owned(), format!("{{\"a\":\"{text}\"}}")),
            ("POST", "/items".to_owned(), format!("{{\"amount\":1,\"name\":\"{text}\"}}")),
        ] {
            let answer = driver.ask(&mut driver.open().unwrap(), method, &path, &body).unwrap();
            assert_eq!((answer.status, answer.code().as_deref()), (403, Some("secret_in_request")), "{method} {path}");
        }
    }
    for text in [&secret, &hex] {
        let found = Command::new("grep").args(["-rlaF", text]).arg(stage.house.path("state")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
    let log = Log::of(&stage.house);
    let alerts: Vec<&Value> = log.events(&session.id, "alert").collect();
    assert!(alerts.iter().all(|alert| alert["context"]["rank"] == "critical") && !alerts.is_empty(), "{alerts:?}");
    stage.assert_sound("secrets sent");
}

/// Row J127: what has no measure is refused before it costs anything.
#[test]
fn heads_and_bodies_without_measure_are_refused() {
    let mut stage = Stage::set();
    let driver = stage.attacker();
    let auth = format!("Authorization: Bearer {}\r\n", driver.placeholder);
    let head = |target: &str, more: &str| format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{auth}{more}");
    let many = (0..1_000).map(|at| format!("X-{at}: 1\r\n")).collect::<Vec<_>>().concat();
    let pairs = (0..20_000).map(|at| format!("a{at}=1")).collect::<Vec<_>>().join("&");
    let empty = "Content-Length: 0\r\n\r\n";
    let rows: Vec<(&str, String)> = vec![
        ("1,000 fields", head("/x", &(many + empty))),
        ("a field of 1 MiB", head("/x", &format!("X-Long: {}\r\n{empty}", "a".repeat(1 << 20)))),
        ("a target of 1 MiB", head(&format!("/{}", "a".repeat(1 << 20)), empty)),
        ("20,000 keys", head(&format!("/x?{}", &pairs[..15_000]), empty)),
        ("10,000 segments", head(&"/a".repeat(7_000), empty)),
    ];
    for (name, octets) in rows {
        let mut wire = driver.open().unwrap();
        let answered = wire.send(octets.as_bytes()).and_then(|()| wire.answer("POST"));
        let status = answered.map_or(0, |answer| answer.status);
        assert!([0, 400, 403, 413, 414, 431].contains(&status), "{name}: {status}");
        assert!(stage.upstream.journal().take().iter().all(|seen| seen.path() == "/warm"), "{name} was sent");
    }
    stage.assert_sound("bombs");
}

/// Row J128: with 128 descriptors in all and 300 who want one, the process lives on and serves again at once.
#[test]
fn few_descriptors_are_survived() {
    let mut stage = Stage::set();
    let id = stage.gateway.process.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &id, "--nofile=128:128"]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit is missing; install util-linux");
    let held: Vec<_> = (0..300).filter_map(|_| Wire::open(stage.gateway.proxy).ok()).collect();
    let mut busy = held;
    for wire in &mut busy {
        let _ = wire.send(b"GET http://");
    }
    std::thread::sleep(Duration::from_millis(200));
    drop(busy);
    let start = Instant::now();
    while stage.bystander.get("/again") != 200 {
        assert!(start.elapsed() < Duration::from_secs(5), "it does not recover");
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("served again after {:?}", start.elapsed());
    stage.assert_sound("few descriptors");
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Row J129: floods of HTTP/2 frames end their connection, or cost nothing; nobody else notices.
#[test]
fn floods_of_http2_are_survived() {
    let mut stage = Stage::set();
    let session = stage.house.session("a");
    let tls = testkit::ca::client_trusting(testkit::ca::roots_of(&session.ca), &["h2"]);
    let driver = Agent::of(&stage.gateway, &session);
    let get = block(&fields(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/flood")]));
    let open_head = frame(1, 1, 1, &get);
    let bomb = block(&fields(&[("x", &"a".repeat(4_000))]));
    let floods: Vec<(&str, Vec<u8>)> = vec![
        (
            "rapid reset",
            (0..20_000u32)
                .flat_map(|at| {
                    let stream = at * 2 + 1;
                    [frame(1, 5, stream, &get), frame(3, 0, stream, &8u32.to_be_bytes())].concat()
                })
                .collect(),
        ),
        ("CONTINUATION", [frame(1, 1, 1, &get[..1]), frame(9, 0, 1, &bomb).repeat(2_000)].concat()),
        ("empty CONTINUATION", [open_head.clone(), frame(9, 0, 1, &[]).repeat(50_000)].concat()),
        ("SETTINGS", frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(50_000)),
        ("PING", frame(6, 0, 0, &[7; 8]).repeat(50_000)),
        ("empty DATA", [frame(1, 4, 1, &get), frame(0, 0, 1, &[]).repeat(50_000)].concat()),
        ("WINDOW_UPDATE of 0", frame(8, 0, 0, &[0; 4]).repeat(10_000)),
        ("PRIORITY", (0..50_000u32).flat_map(|at| frame(2, 0, at * 2 + 1, &[0, 0, 0, 0, 16])).collect()),
        ("HPACK table size", [frame(1, 4, 1, &[&[0x3f, 0xff, 0xff, 0xff, 0x7f], &*get].concat())].concat()),
        ("RST of idle streams", (0..20_000u32).flat_map(|at| frame(3, 0, at * 2 + 1, &[0; 4])).collect()),
    ];
    for (name, octets) in floods {
        let mut wire = driver.tunnel(HOST).unwrap().tls(HOST, &tls).unwrap();
        wire.silence(Duration::from_millis(300)).unwrap();
        let _ = wire.write_all(&preface());
        for piece in octets.chunks(16 * 1024) {
            if wire.send(piece).is_err() {
                break;
            }
        }
        let start = Instant::now();
        assert_eq!(stage.bystander.get("/meanwhile"), 200, "{name}");
        println!("{name}: a bystander was served in {:?}", start.elapsed());
        let _ = wire.drain(Duration::from_millis(50));
    }
    stage.assert_sound("floods of HTTP/2");
}

/// Rows J130 and J131: ten thousand names that nobody knows leave memory flat, and the leaves they want do not stop others.
#[test]
fn ten_thousand_names_leave_memory_flat() {
    let mut stage = Stage::set();
    let session = stage.house.session("a");
    let (proxy, token) = (stage.gateway.proxy, session.token.clone());
    let tls = testkit::ca::client_trusting(testkit::ca::roots_of(&session.ca), &["http/1.1"]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (token, tls) = (&token, &tls);
            scope.spawn(move || {
                for at in 0..2_500 {
                    let name = format!("n{thread}-{at}.stranger.test");
                    let Ok(mut wire) = Wire::open(proxy) else { continue };
                    let Ok(answer) = wire.connect(&format!("{name}:443"), &proxy_authorization("a", token)) else {
                        continue;
                    };
                    // A handshake for some of them, so that leaves are asked for.
                    if answer.status == 200 && at % 10 == 0 {
                        let _ = wire.tls(&name, tls);
                    }
                }
            });
        }
        for _ in 0..10 {
            assert_eq!(stage.bystander.get("/meanwhile"), 200);
        }
    });
    stage.assert_sound("10,000 names");
}

/// Row J142: octets of all kinds, in the clear, in a tunnel and in the place of HTTP/2, end no process.
#[test]
fn hostile_octets_end_no_process() {
    let mut stage = Stage::set();
    let driver = stage.attacker();
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut noise = |count: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..count).map(|_| next()).collect()
    };
    let seeds: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: kit.echo.test\r\n\r\n",
        b"CONNECT kit.echo.test:443 HTTP/1.1\r\nHost: kit.echo.test:443\r\n\r\n",
        b"POST /items HTTP/1.1\r\nHost: kit.echo.test\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"amount\":1}",
        b"POST /x HTTP/1.1\r\nHost: kit.echo.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    for turn in 0..600usize {
        let mut octets = seeds[turn % seeds.len()].to_vec();
        for change in noise(1 + turn % 8).chunks(2) {
            let at = usize::from(change[0]) * octets.len() / 256;
            octets[at] = change.last().copied().unwrap();
        }
        octets.extend(noise(turn % 64));
        let opened = if turn % 3 == 0 { driver.open() } else { Wire::open(stage.gateway.proxy) };
        let Ok(mut wire) = opened else { continue };
        let _ = wire.send(&octets);
        let _ = wire.finish();
        if turn % 20 == 0 {
            let _ = wire.drain(Duration::from_millis(5));
        }
    }
    assert!(std::path::Path::new(&format!("/proc/{}", stage.gateway.process.id())).exists());
    stage.assert_sound("hostile octets");
}
