//! Client certificates: a server that lets nobody in without one (nginx), and agents that never hold one.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use e2e::House;
use e2e::house::Session;
use serde_json::Value;
use testkit::Ca;
use testkit::process::{Running, finish};

const HOST: &str = "vault.bank.test";
const SERVICE: &str = "name: bank\ntitle: Bank\nhosts: [vault.bank.test]\nschemes: [{ mtls: {} }]\ncredentials: [mtls]\n\
                       actions: [{ id: things/list, class: read, match: GET /things }, { id: things/add, class: write, match: POST /things }]\n";

/// nginx that asks for a certificate of `clients`: it needs one, or answers what it saw.
struct Bank {
    process: Running,
    folder: tempfile::TempDir,
    address: SocketAddr,
    ca: std::sync::Arc<Ca>,
    clients: std::sync::Arc<Ca>,
}

impl Drop for Bank {
    fn drop(&mut self) {
        // Its worker goes with its master where that is asked; a killed master leaves it.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait(Duration::from_secs(10));
    }
}

impl Bank {
    fn start(verify: &str) -> Self {
        let (ca, clients, folder) = (Ca::new("bank"), Ca::new("clients of the bank"), tempfile::tempdir().unwrap());
        let (cert, key) = ca.leaf_pem(&[HOST]);
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        file("cert.pem", &cert);
        file("key.pem", &key);
        file("ca.pem", ca.pem());
        file("clients.pem", clients.pem());
        file(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\nevents {{ }}\nhttp {{ access_log access.log; \
                 log_format main '$ssl_client_verify'; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; \
                 scgi_temp_path s;\nserver {{ listen {address} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem; \
                 ssl_client_certificate clients.pem; ssl_verify_client {verify}; ssl_session_tickets on; ssl_session_cache shared:all:1m;\n\
                 location / {{ return 200 '{{\"verified\":\"$ssl_client_verify\",\"serial\":\"$ssl_client_serial\",\"connection\":\"$connection\",\"reused\":\"$ssl_session_reused\",\"leak\":\"$ssl_client_s_dn\"}}'; }} }} }}\n"
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        command.stderr(Stdio::null());
        let process = Running::start(command);
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, folder, address, ca, clients }
    }

    /// A certificate that it takes, and its key, as they are stored.
    fn pair(&self) -> String {
        let (cert, key) = self.clients.leaf_pem(&["agent.bank.test"]);
        format!("{cert}{key}")
    }

    fn house(&self, pair: &str) -> House {
        let config = format!(
            "version: 1\negress: closed\nservices: [./bank.yaml]\ncredentials:\n  bank-cert: {{ service: bank }}\n  other-cert: {{ service: bank, from: 'file:./other.pem' }}\n\
             agents:\n{}upstreams:\n  {HOST}: {{ address: \"{}\", ca: {} }}\n",
            ["one", "two", "three"].iter().fold(String::new(), |mut text, name| {
                let credential = if *name == "two" { "other-cert" } else { "bank-cert" };
                let action = if *name == "three" { "things/add" } else { "things/list" };
                let _ = writeln!(
                    text,
                    "  {name}:\n    permissions: [{{ service: bank, credential: {credential}, actions: [{action}], resources: [\"*\"] }}]"
                );
                text
            }),
            self.address,
            self.folder.path().join("ca.pem").display()
        );
        let house = House::new(&config, &[]);
        std::fs::write(house.path("bank.yaml"), SERVICE).unwrap();
        std::fs::write(house.path("other.pem"), self.pair()).unwrap();
        let (code, said) = add(&house, "bank-cert", pair);
        assert_eq!(code, Some(0), "{said}");
        house
    }

    /// Requests that reached it, each with what it said of the certificate.
    fn served(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default().lines().count()
    }
}

/// `credential add NAME` with this on standard input: the code, and what was said.
fn add(house: &House, name: &str, value: &str) -> (Option<i32>, String) {
    std::fs::write(house.path("value.pem"), value).unwrap();
    let mut add = house.clean(e2e::house::binary());
    add.args(["credential", "add", name, "--service", "bank"]);
    let done = add.stdin(std::fs::File::open(house.path("value.pem")).unwrap()).output().unwrap();
    std::fs::remove_file(house.path("value.pem")).unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

/// curl of one agent: the status, and the answer where it is JSON.
fn curl(house: &House, proxy: SocketAddr, session: &Session, path: &str) -> (u16, Value) {
    std::fs::write(house.path("gateway.pem"), &session.ca).unwrap();
    let mut curl = house.clean("curl".as_ref());
    curl.args(["-sS", "-m", "30", "-w", "\n%{http_code}", "--cacert"]).arg(house.path("gateway.pem"));
    curl.args(["-x", &format!("http://valetkey:{}@{proxy}", session.token)]).arg(format!("https://{HOST}{path}"));
    let done = finish(&mut curl, Duration::from_mins(1));
    let (body, code) = done.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{}", done.stderr));
    (code.trim().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn a_certificate_is_presented_for_who_may_and_for_no_other() {
    let bank = Bank::start("on");
    let pair = bank.pair();
    let house = bank.house(&pair);
    let gateway = house.serve();
    let (one, two, three) = (house.session("one"), house.session("two"), house.session("three"));
    assert!(one.env.values().all(|value| !value.contains("CERTIFICATE") && !value.contains("PRIVATE")));
    let (code, first) = curl(&house, gateway.proxy, &one, "/things");
    assert_eq!((code, &first["verified"]), (200, &Value::from("SUCCESS")), "{first}");
    let (_, again) = curl(&house, gateway.proxy, &one, "/things");
    assert_eq!(again["serial"], first["serial"]);
    // Another agent has another credential: another certificate, so another connection.
    let (code, other) = curl(&house, gateway.proxy, &two, "/things");
    assert_eq!(code, 200);
    assert_ne!(other["serial"], first["serial"]);
    assert_ne!(other["connection"], first["connection"]);
    // One that may not gets no handshake, though its credential is the same.
    let before = bank.served();
    let (code, refusal) = curl(&house, gateway.proxy, &three, "/things");
    assert_eq!((code, &refusal["code"]), (403, &Value::from("denied")), "{refusal}");
    assert_eq!(bank.served(), before);
    // What is revoked is gone at once, the connection with it.
    let _ = house.valetkey(&["credential", "revoke", "bank-cert"]).expect_success("revoke");
    let mut refused = (0, Value::Null);
    for _ in 0..100 {
        refused = curl(&house, gateway.proxy, &one, "/things");
        if refused.0 != 200 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_ne!(refused.0, 200, "{refused:?}");
    assert!(refused.1["code"].as_str().unwrap().starts_with("credential_"), "{refused:?}");
    let after = bank.served();
    assert_ne!(curl(&house, gateway.proxy, &one, "/things").0, 200);
    assert_eq!(bank.served(), after, "nothing reaches the server any more");
    assert_eq!(curl(&house, gateway.proxy, &two, "/things").0, 200, "the other's is not revoked");
    drop(gateway);
    house.assert_audit();
    let log = house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
    let said = std::fs::read_to_string(house.path("serve.log")).unwrap();
    let line = pair.lines().rev().nth(1).unwrap();
    assert!(!log.contains(line) && !said.contains(line) && !said.contains("PRIVATE KEY"));
}

#[test]
fn who_has_no_certificate_shows_none() {
    // It asks everybody, and answers those who show nothing.
    let bank = Bank::start("optional");
    let house = bank.house(&bank.pair());
    let gateway = house.serve();
    let (code, seen) = curl(&house, gateway.proxy, &house.session("one"), "/things");
    assert_eq!((code, &seen["verified"]), (200, &Value::from("SUCCESS")), "{seen}");
    let config = format!(
        "version: 1\nservices: [./bank.yaml]\nagents:\n  plain:\n    permissions: [{{ service: bank, actions: [things/list], resources: [\"*\"] }}]\n\
         upstreams:\n  {HOST}: {{ address: \"{}\", ca: {} }}\n",
        bank.address,
        bank.folder.path().join("ca.pem").display()
    );
    let house = House::new(&config, &[]);
    std::fs::write(house.path("bank.yaml"), SERVICE).unwrap();
    let gateway = house.serve();
    let plain = house.session("plain");
    for _ in 0..2 {
        let (code, seen) = curl(&house, gateway.proxy, &plain, "/things");
        assert_eq!((code, &seen["verified"], &seen["serial"]), (200, &Value::from("NONE"), &Value::from("")), "{seen}");
    }
}

#[test]
fn between_walls_a_file_shows_its_certificate_and_no_key() {
    let bank = Bank::start("on");
    let house = bank.house(&bank.pair());
    let pair = std::fs::read_to_string(house.path("other.pem")).unwrap();
    let asks = format!("cat other.pem; curl -sS https://{HOST}/things");
    let (finished, _) = house.run_with("two", &["--isolate=on"], &["sh", "-c", &asks]);
    assert!(finished.stdout.contains("\"verified\":\"SUCCESS\""), "{} {}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains("-----BEGIN CERTIFICATE-----"), "{}", finished.stdout);
    let key = pair.split_once("PRIVATE KEY-----\n").unwrap().1;
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!finished.stdout.contains(line), "a line of the key: {}", finished.stdout);
    }
}

#[test]
fn what_is_no_pair_is_not_stored() {
    let bank = Bank::start("on");
    let house = bank.house(&bank.pair());
    let (_, stranger) = bank.ca.leaf_pem(&["x.test"]);
    let (cert, _) = bank.clients.leaf_pem(&["y.test"]);
    for (bad, words) in
        [(format!("{cert}{stranger}"), "the one of the first certificate"), (cert, "PEM of the certificates")]
    {
        let (code, said) = add(&house, "bad", &bad);
        assert!(code != Some(0) && said.contains(words), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}
