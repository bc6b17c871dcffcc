//! Rotators at real parts: roles of a PostgreSQL server, keys of a service that makes them by HTTP; and signals of an operator.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{Gateway, Session, binary};
use e2e::postgres::Postgres;
use serde_json::{Value, json};
use testkit::ca::Ca;
use testkit::process::{Finished, finish};
use testkit::{Answer, Upstream};

use crate::talk::{Agent, HOST};

const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "the operator's own";

fn add(house: &House, words: &[&str], value: &str) {
    let mut command = house.clean(binary());
    let mut child = command.args(["credential", "add"]).args(words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn rotate(house: &House, name: &str) -> Finished {
    let config = house.config();
    house.valetkey(&["credential", "rotate", name, "--config", config.to_str().unwrap(), "--json"])
}

/// Waits for something that another process does.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Passes octets on in both directions until so many pieces went to the server; then it lets nobody through until it is told to.
struct Relay {
    address: SocketAddr,
    left: Arc<AtomicI64>,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, left) = (listener.local_addr().unwrap(), Arc::new(AtomicI64::new(i64::MAX)));
        let count = Arc::clone(&left);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                for (mut from, mut to, counts) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), true),
                    (server.try_clone().unwrap(), client.try_clone().unwrap(), false),
                ] {
                    let count = Arc::clone(&count);
                    thread::spawn(move || {
                        let mut piece = vec![0; 64 * 1024];
                        while let Ok(bytes @ 1..) = from.read(&mut piece) {
                            // What was sent arrives; its answer does not.
                            let is_last = counts && count.fetch_sub(1, Ordering::Relaxed) <= 0;
                            if to.write_all(&piece[..bytes]).is_err() {
                                break;
                            }
                            if is_last {
                                thread::sleep(Duration::from_millis(50));
                                break;
                            }
                        }
                        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
                    });
                }
            }
        });
        Self { address, left }
    }

    fn cut_after(&self, pieces: i64) {
        self.left.store(pieces, Ordering::Relaxed);
    }

    fn mend(&self) {
        self.cut_after(i64::MAX);
    }
}

/// A server whose owner cannot log in, an administrator who is no superuser, and a first role of somebody's own.
struct Database {
    postgres: Postgres,
    relay: Relay,
    house: House,
}

impl Database {
    fn start(grace: &str) -> Self {
        let ca = Ca::new("the CRM's own");
        let (certificate, key) = ca.leaf_pem(&["db.crm.test"]);
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        let files = [("server.crt", certificate.as_str()), ("server.key", &key), ("pg_hba.conf", rules)];
        let settings = ["ssl=on", "log_statement=all", "logging_collector=on", "log_directory=log"];
        let postgres = Postgres::start(&files, &settings);
        for statement in [
            "create role crm_owner nologin",
            "create database crm owner crm_owner",
            "create role first login password 'first word' in role crm_owner",
            "create role keeper login createrole password 'keepers word'",
            "grant crm_owner to keeper with admin option",
            "grant pg_signal_backend to keeper",
        ] {
            let _ = postgres.ask("postgres", statement).expect_success(statement);
        }
        let tables = "set role crm_owner; create table customers (id int primary key); insert into customers select generate_series(1, 100)";
        let _ = postgres.ask("crm", tables).expect_success("tables");
        let relay = Relay::to(postgres.port);
        let config = format!(
            "version: 1\nservices: [./crm-db.yaml]\ncredentials:\n  keeper: {{ kind: database, from: \"env:KEEPER\" }}\n  \
             crm: {{ service: crm-db, rotate: {{ with: {{ postgres: {{ admin: keeper, role: crm_owner, database: crm }} }}, grace: {grace} }} }}\n\
             databases:\n  crm: {{ service: crm-db, listen: \"127.0.0.1:0\" }}\nagents:\n  clerk:\n    permissions:\n      \
             - {{ service: crm-db, credential: crm, actions: [read, write], resources: [\"database:crm\"] }}\n\
             upstreams:\n  db.crm.test:5432: {{ address: \"{}\", ca: ./db-ca.pem }}\n",
            relay.address
        );
        let house = House::new(&config, &[("KEEPER", "keeper:keepers word")]);
        let service = "name: crm-db\ntitle: The CRM's database\nhosts: [{ host: db.crm.test, protocol: postgres }]\n";
        std::fs::write(house.path("crm-db.yaml"), service).unwrap();
        std::fs::write(house.path("db-ca.pem"), ca.pem()).unwrap();
        add(&house, &["crm", "--service", "crm-db", "--kind", "database"], "first:first word");
        Self { postgres, relay, house }
    }

    fn answer(&self, sql: &str) -> String {
        self.postgres.ask("crm", sql).expect_success(sql).stdout.trim().to_owned()
    }

    /// Roles that can log in, but for the superuser and the administrator.
    fn roles(&self) -> Vec<String> {
        let roles = self.answer(
            "select rolname from pg_roles where rolcanlogin and rolname not in ('postgres', 'keeper') order by 1",
        );
        roles.lines().map(str::to_owned).collect()
    }

    fn client(&self, gateway: &Gateway, session: &Session) -> Command {
        let port = gateway.databases.iter().find(|(name, _)| name == "crm").unwrap().1.port();
        let mut psql = self.house.clean(&self.postgres.bin.join("psql"));
        psql.env("PGHOST", "localhost").env("PGPORT", port.to_string()).env("PGUSER", "agent").env("PGDATABASE", "crm");
        psql.env("PGPASSWORD", &session.token).env("PGCONNECT_TIMEOUT", "30").env_remove("KEEPER").arg("-qAtX");
        psql
    }

    /// What is current works.
    fn works(&self, gateway: &Gateway, session: &Session, when: &str) {
        let mut psql = self.client(gateway, session);
        let told = finish(psql.args(["-c", "select count(*) from customers"]), PATIENCE);
        assert_eq!(told.stdout.trim(), "100", "{when}: {}", told.stderr);
    }
}

/// Pieces that go to the server before the connection breaks, for each interruption. All steps of one rotation are some forty.
const CUTS: std::ops::Range<i64> = 4..40;

#[test]
fn roles_of_postgresql_are_rotated_whatever_breaks_off() {
    let database = Database::start("1s");
    let gateway = database.house.serve();
    let clerk = database.house.session("clerk");
    database.works(&gateway, &clerk, "at first");
    let mut met = 0;
    for cut in CUTS.step_by(4) {
        database.relay.cut_after(cut);
        let told = rotate(&database.house, "crm");
        met += usize::from(told.code() != Some(0));
        database.relay.mend();
        database.works(&gateway, &clerk, &format!("cut after {cut}: {}", told.stderr));
        let told = rotate(&database.house, "crm");
        assert_eq!(told.code(), Some(0), "{cut}: {}{}", told.stdout, told.stderr);
        database.works(&gateway, &clerk, &format!("after {cut}"));
    }
    assert!(met >= 3, "the cuts interrupt rotations: {met}");
    until("one role is left", || database.roles().len() == 1);
    database.works(&gateway, &clerk, "in the end");
    // The role of the beginning was not ours to drop, and nothing else is left over.
    let left =
        database.answer("select count(*) from pg_roles where rolname like 'crm\\_owner\\_%' or rolname = 'first'");
    assert_eq!(left, "2", "the role in use, and the first without a log-in");
    let dead = database.answer("select rolcanlogin, rolpassword is null from pg_authid where rolname = 'first'");
    assert_eq!(dead, "f|t");
    // The server heard verifiers and no password.
    let log = database.answer("select pg_read_file(pg_current_logfile())");
    let told: Vec<&str> = log.split(" LOGIN PASSWORD '").skip(1).collect();
    assert!(told.len() >= CUTS.step_by(4).count() && told.iter().all(|told| told.starts_with("SCRAM-SHA-256$4096:")));
    database.house.assert_audit();
}

#[test]
fn a_role_stays_as_long_as_a_session_is_open() {
    let database = Database::start("1s");
    let gateway = database.house.serve();
    let clerk = database.house.session("clerk");
    let mut open = database.client(&gateway, &clerk).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = open.stdin.take().unwrap();
    writeln!(input, "select 'open';").unwrap();
    let mut seen = [0; 5];
    open.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    let _ = rotate(&database.house, "crm").expect_success("rotate");
    database.works(&gateway, &clerk, "with the new role");
    // Its grace is over for long, some looks at what is due included.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(database.roles().len(), 2, "the old role has a session");
    writeln!(input, "insert into customers values (101); select 'still';").unwrap();
    drop(input);
    let rest = open.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&rest.stdout).contains("still"), "{rest:?}");
    until("it is retired once that is closed", || database.roles().len() == 1);
    assert_eq!(database.answer("select tableowner from pg_tables where tablename = 'customers'"), "crm_owner");
}

/// A service that makes keys; those that are good, by id.
fn keys(good: &Arc<Mutex<BTreeMap<String, String>>>) -> Upstream {
    let good = Arc::clone(good);
    let handler = move |seen: &testkit::Seen| {
        let mut good = good.lock().unwrap();
        let bearer = seen.value("authorization");
        if !good.values().any(|key| bearer == format!("Bearer {key}")) {
            return Some(Answer::status(401));
        }
        Some(match (seen.method.as_str(), seen.path()) {
            ("POST", "/keys") => {
                let ticket = seen.value("idempotency-key");
                let key = ["kt_", &ticket].concat();
                good.insert(ticket.clone(), key.clone());
                Answer::json(&json!({ "id": ticket, "key": key }))
            }
            ("DELETE", path) => {
                good.remove(path.trim_start_matches("/keys/"));
                Answer::status(204)
            }
            _ => Answer::json(&json!({ "ok": true })),
        })
    };
    Upstream::builder().handler(handler).start()
}

/// What the API answers to a signal.
fn signal(gateway: &Gateway, token: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(gateway.api).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /v1/signals HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
        gateway.api
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[test]
fn an_operator_signals_and_keys_by_http_are_rotated() {
    let first = ["kt_", "first"].concat();
    let good = Arc::new(Mutex::new(BTreeMap::from([("id-0".to_owned(), first.clone())])));
    let upstream = keys(&good);
    let mut hash = Command::new("sh");
    let hash = finish(hash.args(["-c", "printf %s \"$0\" | sha256sum", TOKEN]), PATIENCE).expect_success("a hash");
    let config = format!(
        "version: 1\nservices: [./keyed.yaml]\noperators: [{{ name: ada, token_hash: {} }}]\ncredentials:\n  keyed-token:\n    service: keyed\n    \
         sensitivity: high\n    rotate:\n      grace: 1s\n      with:\n        http:\n          make: {{ url: \"https://{HOST}/keys\", headers: {{ Idempotency-Key: \"{{ticket}}\" }} }}\n          \
         value: /key\n          id: /id\n          retire: {{ url: \"https://{HOST}/keys/{{id}}\" }}\n  by-hand: {{ service: keyed }}\n\
         agents:\n  tester:\n    permissions: [{{ service: keyed, credential: keyed-token, actions: [things/list], resources: [\"*\"] }}]\n  \
         other:\n    permissions: [{{ service: keyed, credential: keyed-token, actions: [things/list], resources: [\"*\"] }}]\nupstreams:\n{}",
        &hash.stdout[..64],
        upstream.entry(HOST)
    );
    let house = House::new(&config, &[]);
    let service = format!(
        "name: keyed\ntitle: Keyed\nhosts: [{HOST}]\nschemes: [{{ bearer: {{}} }}]\nenvironment: [ECHO_TOKEN]\ncheck: GET /me\nactions: [{{ id: things/list, class: read, match: GET /things }}, {{ id: me/get, class: read, match: GET /me }}]\n"
    );
    std::fs::write(house.path("keyed.yaml"), service).unwrap();
    add(&house, &["keyed-token", "--service", "keyed"], &format!(r#"{{"key_id":"id-0","secret":"{first}"}}"#));
    let gateway = house.serve();
    let (agent, other) = (Agent::of(&gateway, &house.session("tester")), Agent::of(&gateway, &house.session("other")));
    assert_eq!((agent.get("/things"), other.get("/things")), (200, 200));
    let wanted = json!({ "kind": "rotate", "credential": "keyed-token", "reason": "it was pasted" }).to_string();
    assert_eq!(signal(&gateway, "somebody else's", &wanted).0 / 100, 4);
    let (status, told) = signal(&gateway, TOKEN, &wanted.replace("keyed-token", "by-hand"));
    assert!(status == 409 && told.contains("nothing here makes a new value of `by-hand`"), "{told}");
    let (status, told) = signal(&gateway, TOKEN, &wanted);
    assert!(status == 202 && told.contains("\"rotates\":true"), "{told}");
    until("the old key is retired", || {
        let good = good.lock().unwrap();
        good.len() == 1 && !good.contains_key("id-0")
    });
    assert_eq!(agent.get("/things"), 200);
    // An agent that somebody speaks through loses its sessions; others go on.
    let (status, told) =
        signal(&gateway, TOKEN, r#"{"kind":"injection_detected","agent":"tester","reason":"odd page"}"#);
    assert!(status == 202 && told.contains("\"sessions\":1"), "{told}");
    assert_ne!(agent.get("/things"), 200);
    assert_eq!(other.get("/things"), 200);
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    for said in [
        "signal rotate: it was pasted: credential keyed-token is rotated",
        "version 2 took over from 1 (http, signal by ada: it was pasted)",
        "version 1 was retired (http)",
        "signal injection_detected: odd page: agent tester 1 sessions ended",
    ] {
        assert!(export.stdout.contains(said), "{said}: {}", export.stdout);
    }
    for value in good.lock().unwrap().values().chain([&first]) {
        assert!(!export.stdout.contains(value), "a value is on record");
    }
    house.assert_audit();
    let shown: Value =
        serde_json::from_str(&house.valetkey(&["credential", "show", "keyed-token", "--json"]).stdout).unwrap();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2, "{shown}");
}
