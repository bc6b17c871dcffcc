//! `protocol: tcp`: connections that are no HTTP, judged and recorded like requests, with a server that speaks first, as those of
//! mail and of databases do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use e2e::house::tool;
use e2e::{Gateway, House, Session};
use testkit::Canary;
use testkit::client::proxy_authorization;

const SERVICE: &str = "name: mail\ntitle: Mail\nhosts: [{ host: mail.test, ports: [2525], protocol: tcp }]\n";
/// Long enough for a slow machine; what is waited for comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Greets, and says every line again.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = peer.write_all(b"220 ready\r\n");
                let lines = BufReader::new(peer.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    let _ = peer.write_all(format!("250 {line}\r\n").as_bytes());
                }
            });
        }
    });
    address
}

fn house() -> (House, Canary) {
    let canary = Canary::new(820, "tok_", 40);
    let config = format!(
        "version: 1\nservices: [./mail.yaml, ./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, from: env:ECHO_TOKEN }}\n\
         agents:\n  sender:\n    permissions: [{{ service: mail, actions: [tcp/connect], resources: [\"host:mail.test/*\"] }}]\n  \
         both:\n    permissions:\n      - {{ service: mail, actions: [tcp/connect], resources: [\"*\"] }}\n      \
         - {{ service: echo, credential: echo-token, actions: [read], resources: [\"*\"] }}\n  \
         reader:\n    permissions: [{{ service: echo, credential: echo-token, actions: [read], resources: [\"*\"] }}]\n\
         upstreams:\n  mail.test:2525: {{ address: \"{}\" }}\n",
        server()
    );
    let house = House::new(&config, &[("ECHO_TOKEN", &canary.value())]);
    std::fs::write(house.path("mail.yaml"), SERVICE).unwrap();
    std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
    (house, canary)
}

const TALK: &str = "import socket\nlink = socket.create_connection(('mail.test', 2525), 30)\nlink.settimeout(30)\n\
                    print(link.recv(100).decode().strip() or 'closed')\nlink.sendall(b'HELO me\\r\\n')\n\
                    print(link.recv(100).decode().strip() or 'closed')\n";

#[test]
fn a_program_inside_walls_speaks_another_protocol() {
    let (house, _) = house();
    std::fs::write(house.path("talk.py"), TALK).unwrap();
    let python = tool("venv/bin/python").display().to_string();
    let words = [python.as_str(), "talk.py"];
    let (told, receipt) = house.run_with("sender", &["--isolate=on"], &words);
    assert_eq!(told.expect_success("the agent").stdout, "220 ready\n250 HELO me\n");
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (1, 0), "{}", receipt.0);
    let search = house.valetkey(&["audit", "search", "--json", "--agent", "sender"]).expect_success("audit search");
    assert!(
        search.stdout.contains("tcp/connect") && search.stdout.contains("host:mail.test/2525"),
        "{}",
        search.stdout
    );
    // Without a rule there is nothing to be heard, and a record.
    let (told, receipt) = house.run_with("reader", &["--isolate=on"], &words);
    assert!(!told.stdout.contains("220"), "{}", told.stdout);
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (0, 1), "{}", receipt.0);
    house.assert_audit();
}

/// A tunnel to the mail server, as clients that know of the proxy open one.
fn tunnel(gateway: &Gateway, session: &Session) -> BufReader<TcpStream> {
    let mut link = TcpStream::connect(gateway.proxy).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let authorization = proxy_authorization("both", &session.token);
    let head = format!("CONNECT mail.test:2525 HTTP/1.1\r\nHost: mail.test:2525\r\n{authorization}\r\n");
    link.write_all(head.as_bytes()).unwrap();
    let mut link = BufReader::new(link);
    for want in ["HTTP/1.1 200 OK", ""] {
        assert_eq!(line(&mut link), want);
    }
    link
}

fn line(link: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    link.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Nothing but the end; a reset is one too.
fn ends(link: &mut BufReader<TcpStream>) -> bool {
    matches!(link.read_to_end(&mut Vec::new()), Ok(0) | Err(_))
}

#[test]
fn through_the_proxy_it_is_watched_as_long_as_it_lasts() {
    let (house, canary) = house();
    let gateway = house.serve();
    let session = house.session("both");
    let mut link = tunnel(&gateway, &session);
    assert_eq!(line(&mut link), "220 ready");
    link.get_mut().write_all(b"HELO me\r\n").unwrap();
    assert_eq!(line(&mut link), "250 HELO me");
    // A real secret does not pass: what holds its last octet never leaves.
    let mut other = tunnel(&gateway, &session);
    assert_eq!(line(&mut other), "220 ready");
    other.get_mut().write_all(format!("AUTH {}\r\n", canary.value()).as_bytes()).unwrap();
    assert!(ends(&mut other));
    // The end of the session is the end of its connections.
    let asked = Instant::now();
    let _ = house.valetkey(&["session", "end", &session.id]).expect_success("session end");
    assert!(ends(&mut link));
    assert!(asked.elapsed() < PATIENCE, "it was cut, and did not time out");
    let search = house.valetkey(&["audit", "search", "--json", "--agent", "both"]).expect_success("audit search");
    assert!(search.stdout.contains("secret_in_request"), "{}", search.stdout);
    drop(gateway);
    house.assert_audit();
}

#[test]
fn what_explain_says_of_it() {
    let (house, _) = house();
    let words = ["explain", "CONNECT", "tcp://mail.test:2525", "--agent", "sender"];
    let told = house.valetkey(&words).expect_success("explain");
    assert!(told.stdout.contains("tcp/connect") && told.stdout.contains("host:mail.test/2525"), "{}", told.stdout);
    // No HTTP goes there as to a service, whatever the agent may do elsewhere.
    let told = house.valetkey(&["explain", "GET", "https://mail.test:2525/", "--agent", "sender"]);
    assert_eq!(told.code(), Some(1), "{}", told.stdout);
}
