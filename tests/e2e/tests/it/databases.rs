//! PostgreSQL through the gateway: a real server with SCRAM and TLS, real clients, unchanged. The agent logs in with its session's token.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::house::tool;
use e2e::postgres::Postgres;
use e2e::{House, Session};
use testkit::Canary;
use testkit::ca::Ca;
use testkit::process::{Finished, finish};

/// Nothing here takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server whose users log in by SCRAM, over TLS alone.
struct Server {
    postgres: Postgres,
    ca: Arc<Ca>,
}

impl Server {
    /// With a user `crm_app` of this password, and tables of customers and orders.
    fn start(password: &str) -> Self {
        let ca = Ca::new("the CRM's own");
        let (certificate, key) = ca.leaf_pem(&["db.crm.test"]);
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        let files = [("server.crt", certificate.as_str()), ("server.key", &key), ("pg_hba.conf", rules)];
        let server = Self { postgres: Postgres::start(&files, &["ssl=on"]), ca };
        let made = format!(
            "create role crm_app login password '{password}'; create database crm owner crm_app; create database other owner crm_app"
        );
        for statement in made.split("; ") {
            let _ = server.postgres.ask("postgres", statement).expect_success(statement);
        }
        let tables = "set role crm_app; create table customers (id int primary key, name text); \
                      insert into customers select i, 'name ' || i from generate_series(1, 100) i; \
                      create table orders (id serial primary key, customer int, amount int); create table secrets (word text); \
                      create function total() returns bigint language sql as 'select count(*) from customers'";
        let _ = server.postgres.ask("crm", tables).expect_success("tables");
        server
    }

    fn answer(&self, sql: &str) -> String {
        self.postgres.ask("crm", sql).expect_success(sql).stdout.trim().to_owned()
    }
}

const SERVICE: &str = "name: crm-db\ntitle: The CRM's database\nhosts: [{ host: db.crm.test, protocol: postgres }]\n";

/// A server and a home whose configuration names it.
struct Office {
    house: House,
    server: Server,
    canary: Canary,
}

impl Office {
    fn new() -> Self {
        let canary = Canary::new(930, "", 32);
        let server = Server::start(&canary.value());
        let config = format!(
            "version: 1\nservices: [./crm-db.yaml]\ncredentials:\n  crm: {{ service: crm-db, from: env:CRM_LOGIN }}\n\
             databases:\n  crm: {{ service: crm-db, listen: \"127.0.0.1:0\" }}\n\
             agents:\n  reader:\n    permissions: [{{ service: crm-db, credential: crm, actions: [read], resources: [\"table:crm@public.customers\"] }}]\n  \
             clerk:\n    permissions:\n      - {{ service: crm-db, credential: crm, actions: [read, write], resources: [\"database:crm\"] }}\n      \
             - {{ service: crm-db, credential: crm, actions: [sql/delete], resources: [\"table:crm@public.orders\"], conditions: {{ limit: 2/hour }} }}\n\
             upstreams:\n  db.crm.test:5432: {{ address: \"127.0.0.1:{}\", ca: ./db-ca.pem }}\n",
            server.postgres.port
        );
        let house = House::new(&config, &[("CRM_LOGIN", &format!("crm_app:{}", canary.value()))]);
        std::fs::write(house.path("crm-db.yaml"), SERVICE).unwrap();
        std::fs::write(house.path("db-ca.pem"), server.ca.pem()).unwrap();
        Self { house, server, canary }
    }

    /// A client's environment: where the database is, and the token.
    fn client(&self, program: &Path, port: u16, session: &Session) -> Command {
        let mut command = self.house.clean(program);
        command.env("PGHOST", "localhost").env("PGPORT", port.to_string()).env("PGUSER", "agent");
        command.env("PGDATABASE", "crm").env("PGPASSWORD", &session.token).env("PGCONNECT_TIMEOUT", "30");
        command.env_remove("CRM_LOGIN");
        command
    }

    fn psql(&self, port: u16, session: &Session, sql: &[&str]) -> Finished {
        let mut psql = self.client(&self.server.postgres.bin.join("psql"), port, session);
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=0"]);
        for one in sql {
            psql.args(["-c", one]);
        }
        let told = finish(&mut psql, PATIENCE);
        self.canary.assert_absent("psql's output", told.stdout.as_bytes());
        self.canary.assert_absent("psql's errors", told.stderr.as_bytes());
        told
    }

    fn audited(&self) {
        self.house.assert_audit();
        let export = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        self.canary.assert_absent("the audit log", export.stdout.as_bytes());
    }
}

/// Where the gateway listens for the database.
fn port(gateway: &e2e::Gateway) -> u16 {
    gateway.databases.iter().find(|(name, _)| name == "crm").unwrap().1.port()
}

#[test]
fn an_agent_reads_what_it_may_and_nothing_else() {
    let office = Office::new();
    let gateway = office.house.serve();
    let (reader, port) = (office.house.session("reader"), port(&gateway));
    let told =
        office.psql(port, &reader, &["select count(*) from customers", "select name from customers where id = 7"]);
    assert_eq!(told.expect_success("reads").stdout, "100\nname 7\n");
    for (sql, says) in [
        ("select * from secrets", "Action sql/select is denied"),
        ("delete from customers", "Action sql/delete is denied"),
        ("with x as (delete from customers returning *) select * from x", "Action sql/delete is denied"),
        ("select * from customers where total() > 1", "Action sql/function is denied"),
        ("select pg_read_file('/etc/passwd')", "Action sql/reach is denied"),
        ("copy customers to program 'cat'", "Action sql/file is denied"),
        ("set default_transaction_read_only = off", "Action sql/read-write is denied"),
        ("begin read write", "Action sql/read-write is denied"),
        ("set role postgres", "Action sql/admin is denied"),
        ("selec 1", "the statement is not understood"),
    ] {
        let told = office.psql(port, &reader, &[sql, "select 'still here'"]);
        assert!(told.stderr.contains(says), "{sql}: {}{}", told.stdout, told.stderr);
        assert!(told.stdout.contains("still here"), "{sql}: {}{}", told.stdout, told.stderr);
        assert!(!told.stderr.contains("vk") || told.stderr.contains("valetkey"), "{}", told.stderr);
    }
    // The code that drivers go by, and that the transaction is aborted as by any error.
    let told = office.psql(
        port,
        &reader,
        &["\\set VERBOSITY verbose", "begin", "delete from customers", "select 1", "rollback", "select 'after'"],
    );
    assert!(told.stderr.contains("42501") || told.stderr.contains("ERROR"), "{}", told.stderr);
    assert!(told.stderr.contains("current transaction is aborted"), "{}", told.stderr);
    assert!(told.stdout.contains("after"), "{}", told.stdout);
    // Read-only twice: the server is held to it too.
    assert_eq!(office.psql(port, &reader, &["show default_transaction_read_only"]).stdout.trim(), "on");
    assert_eq!(office.server.answer("select count(*) from customers"), "100");
    // Nobody else's word counts.
    let nobody = Session { token: format!("vkt_{}", "x".repeat(43)), ..reader.clone() };
    let told = office.psql(port, &nobody, &["select 1"]);
    assert!(told.stderr.contains("no valid session token"), "{}", told.stderr);
    let mut other = office.client(&office.server.postgres.bin.join("psql"), port, &reader);
    let told = finish(other.env("PGDATABASE", "other").args(["-c", "select 1"]), PATIENCE);
    assert!(told.stderr.contains("denied"), "{}", told.stderr);
    drop(gateway);
    let search = office.house.valetkey(&["audit", "search", "--json", "--agent", "reader"]).expect_success("search");
    for part in ["sql/connect", "sql/select", "table:crm@public.customers", "sql.digest", "\"call\""] {
        assert!(search.stdout.contains(part), "{part}: {}", search.stdout);
    }
    assert!(!search.stdout.contains("/etc/passwd"), "literals are not on record");
    office.audited();
}

#[test]
fn drivers_work_as_without_a_gateway() {
    let office = Office::new();
    let gateway = office.house.serve();
    let (clerk, port) = (office.house.session("clerk"), port(&gateway));
    let scripts = e2e::house::root().join("tests/e2e/clients");
    let run = |program: &str, script: &str| {
        let mut command = office.client(&tool(program), port, &clerk);
        command.env("NODE_TOOLS", tool("node")).arg(scripts.join(script));
        let told = finish(&mut command, PATIENCE);
        office.canary.assert_absent(script, told.stdout.as_bytes());
        office.canary.assert_absent(script, told.stderr.as_bytes());
        told.expect_success(script).stdout
    };
    assert_eq!(
        run("venv/bin/python", "pg_psycopg.py"),
        "copied 1000\nrefused 42501 Action sql/drop is denied\nkept 1001\npipeline 42501\nbefore (1,)\nafter (4,)\ncursor 12502500\n\
         cancelled True\ndeleted\ndeleted\nlimit 53400\nseveral 42501\n"
    );
    assert_eq!(office.server.answer("select count(*) from orders"), "999", "two were deleted, and no more");
    assert_eq!(
        run("venv/bin/python", "pg_asyncpg.py"),
        "row name 7\narray [1, 2, 3]\nrefused 42501 valetkey: denied\ncursor 100\ncopied [b'1', b'2', b'3']\ncancelled\nagain 5\n"
    );
    assert_eq!(office.server.answer("select count(*) from orders"), "1002");
    assert_eq!(
        run("node/node_modules/.bin/node", "pg_node.mjs"),
        "count 100\nnamed name 3\nnamed name 4\nrefused 42501 Action sql/drop is denied\norders 1002\n"
    );
    // Another agent's token is another agent.
    let reader = office.house.session("reader");
    let told = office.psql(port, &reader, &["insert into orders (customer, amount) values (1, 1)"]);
    assert!(told.stderr.contains("denied"), "{}", told.stderr);
    drop(gateway);
    let export = office.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    assert!(!export.contains("a literal that is secret"), "no literal is on record");
    office.audited();
}

/// psql that waits in a statement, and how long it lives after `end`.
fn cut_within(office: &Office, port: u16, session: &Session, end: &dyn Fn()) -> (Duration, Finished) {
    let mut psql = office.client(&office.server.postgres.bin.join("psql"), port, session);
    psql.args(["-qAtX", "-c", "select count(*) from generate_series(1, 1000000000000)"]);
    let waiting = std::thread::spawn(move || finish(&mut psql, PATIENCE));
    let busy = "select count(*) from pg_stat_activity where state = 'active' and usename = 'crm_app'";
    let begun = Instant::now();
    while office.server.answer(busy) != "1" {
        assert!(begun.elapsed() < PATIENCE, "the statement does not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    end();
    let ended = Instant::now();
    let told = waiting.join().unwrap();
    let lasted = ended.elapsed();
    let begun = Instant::now();
    while office.server.answer(busy) != "0" {
        assert!(begun.elapsed() < Duration::from_secs(5), "the server still works for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    (lasted, told)
}

#[test]
fn an_open_connection_ends_with_what_it_stands_on() {
    let office = Office::new();
    let gateway = office.house.serve();
    let port = port(&gateway);
    let ends: [(&str, &[&str]); 3] = [
        ("session end", &["session", "end"]),
        ("stop", &["stop", "--agent", "clerk"]),
        ("revoke", &["stop", "--credential", "crm"]),
    ];
    for (what, words) in ends {
        let session = office.house.session(if what == "revoke" { "reader" } else { "clerk" });
        let (lasted, told) = cut_within(&office, port, &session, &|| {
            let mut words = words.to_vec();
            words.extend((what == "session end").then_some(session.id.as_str()));
            let _ = office.house.valetkey(&words).expect_success(what);
        });
        assert!(lasted < Duration::from_secs(1), "{what}: {lasted:?}");
        assert_ne!(told.code(), Some(0), "{what}: {}", told.stdout);
        println!("{what}: cut {lasted:?} after it was said: {}", told.stderr.trim());
    }
    drop(gateway);
    office.audited();
}

#[test]
fn between_walls_the_host_has_its_own_name() {
    let office = Office::new();
    let psql = office.server.postgres.bin.join("psql").display().to_string();
    let ask = "sh";
    let script = format!(
        "{psql} -qAtX 'host=db.crm.test user=me dbname=crm' -c 'select count(*) from customers' -c 'delete from customers'; \
         {psql} -qAtX 'host=db.crm.test user=me dbname=crm sslmode=verify-full sslrootcert='$SSL_CERT_FILE -c 'select 2'; \
         env | grep -c {} || true",
        office.canary.value()
    );
    let (told, receipt) = office.house.run_with("reader", &["--isolate=on"], &[ask, "-c", &script]);
    assert_eq!(told.stdout, "100\n2\n0\n", "{}", told.stderr);
    assert!(told.stderr.contains("Action sql/delete is denied"), "{}", told.stderr);
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (2, 1), "{}", receipt.0);
    office.audited();
}

/// Rows that clients commit, in blocks and without; each text is another by its values, so each has a digest of its own.
const ROWS: &str = "\\set a random(1, 2000000000)\n\\set b random(1, 2000000000)\n\\set c random(1, 2000000000)\nbegin;\n\
     insert into orders (customer, amount) values (1, :a);\nselect count(*) from customers;\n\
     insert into orders (customer, amount) values (1, :b);\ncommit;\n\
     insert into orders (customer, amount) values (2, :c);\n";

/// Inside of a block records of changes are not waited for; what the server kept is on record all the same, whenever the gateway died.
#[test]
fn killed_at_any_moment_the_log_holds_what_the_server_kept() {
    let office = Office::new();
    let mut gateway = office.house.serve();
    let (clerk, mut exact) = (office.house.session("clerk"), Vec::new());
    std::fs::write(office.house.path("rows.sql"), ROWS).unwrap();
    for protocol in ["simple", "extended", "prepared"] {
        let mut pgbench = office.client(&office.server.postgres.bin.join("pgbench"), port(&gateway), &clerk);
        pgbench.args(["-n", "-c", "6", "-T", "60", "-M", protocol, "-f"]).arg(office.house.path("rows.sql"));
        let clients = std::thread::spawn(move || finish(&mut pgbench, PATIENCE));
        let before: u64 = office.server.answer("select count(*) from orders").parse().unwrap();
        let begun = Instant::now();
        while office.server.answer("select count(*) from orders").parse::<u64>().unwrap() < before + 90 {
            assert!(begun.elapsed() < PATIENCE, "nothing is committed");
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway.process.kill();
        let told = clients.join().unwrap();
        assert_ne!(told.code(), Some(0), "{protocol}: {}", told.stdout);
        // What was not committed by now is rolled back.
        let begun = Instant::now();
        while office.server.answer("select count(*) from pg_stat_activity where usename = 'crm_app'") != "0" {
            assert!(begun.elapsed() < PATIENCE, "sessions of nobody stay open");
            std::thread::sleep(Duration::from_millis(20));
        }
        if protocol == "simple" {
            // With values in its text each row has a digest of its own; where they travel as parameters all have one.
            let text = "'insert into orders (customer, amount) values (' || customer || ', ' || amount || ');'";
            let digests = format!("select encode(sha256(convert_to({text}, 'UTF8')), 'hex') from orders");
            exact.extend(office.server.answer(&digests).lines().map(str::to_owned));
        }
        gateway = office.house.serve();
    }
    drop(gateway);
    assert_eq!(office.server.answer("select count(*) % 2 from orders where customer = 1"), "0", "blocks are whole");
    let export = office.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let missing = exact.iter().filter(|digest| !export.contains(digest.as_str())).count();
    assert!(exact.len() >= 90 && missing == 0, "{missing} of {} rows are not on record", exact.len());
    let kept: usize = office.server.answer("select count(*) from orders").parse().unwrap();
    let inserts = export.matches("\"sql/insert\"").count();
    assert!(inserts >= kept, "{inserts} attempts of {kept} rows");
    office.audited();
}

/// psql that is told one line after the other, and what it says.
struct Talk {
    child: std::process::Child,
    says: std::sync::mpsc::Receiver<String>,
}

impl Talk {
    fn begin(office: &Office, port: u16, session: &Session) -> Self {
        let mut psql = office.client(&office.server.postgres.bin.join("psql"), port, session);
        let psql = psql.args(["-qAtX"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = psql.spawn().unwrap();
        let (to, says) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, says }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hears(&self, word: &str) {
        assert_eq!(self.says.recv_timeout(PATIENCE).as_deref(), Ok(word));
    }

    /// Nothing for a moment in which anything that could be said would be.
    fn hears_nothing(&self) {
        assert_eq!(self.says.recv_timeout(Duration::from_millis(400)).ok(), None);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway whose log is on a disk that can be held.
fn on_a_slow_disk(office: &Office) -> (e2e::Gateway, PathBuf) {
    let (library, hold) = (office.house.path("held.so"), office.house.path("hold"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(e2e::house::root().join("tests/e2e/src/held.c"));
    let _ = finish(&mut cc, PATIENCE).expect_success("cc");
    let variables = [("LD_PRELOAD", library.to_str().unwrap()), ("HOLD_SYNC", hold.to_str().unwrap())];
    (office.house.serve_with(&variables), hold)
}

/// While the disk does not answer: changes inside of a block pass, and nothing that could make them last, or takes effect at once, does.
#[test]
fn inside_of_a_block_only_its_end_waits_for_the_disk() {
    let office = Office::new();
    let (mut gateway, hold) = on_a_slow_disk(&office);
    let (clerk, port) = (office.house.session("clerk"), port(&gateway));
    let insert = "insert into orders (customer, amount) values (1, 1);";
    let ends = [
        "commit;",
        "end;",
        "insert into orders values (9999, 9, 9)\\; commit;",
        "select nextval('orders_id_seq');",
        "create table t (a int);",
    ];
    let rows = || office.server.answer("select count(*) from orders");
    for (kept, end) in ends.into_iter().enumerate() {
        let mut talk = Talk::begin(&office, port, &clerk);
        talk.say("select 'here';");
        talk.hears("here");
        std::fs::write(&hold, "").unwrap();
        talk.say(&format!("begin; {insert} {insert} update orders set amount = 2 where false; select 'inserted' from customers where id = 1;"));
        talk.hears("inserted");
        let before = rows();
        talk.say(&format!("\\o /dev/null\n{end}\n\\o\nselect 'ended';"));
        talk.hears_nothing();
        assert_eq!(rows(), before, "{end}: nothing is committed before it is on the disk");
        std::fs::remove_file(&hold).unwrap();
        talk.hears("ended");
        talk.say("commit; select 'over';");
        talk.hears("over");
        assert!(rows().parse::<usize>().unwrap() >= 2 * (kept + 1), "{end}");
    }
    // Outside of a block each waits.
    let mut talk = Talk::begin(&office, port, &clerk);
    std::fs::write(&hold, "").unwrap();
    let before = rows();
    talk.say(&format!("{insert} select 'passed';"));
    talk.hears_nothing();
    assert_eq!(rows(), before);
    std::fs::remove_file(&hold).unwrap();
    talk.hears("passed");
    // The machine that stops before the disk has answered.
    std::fs::write(&hold, "").unwrap();
    let before = rows();
    talk.say(&format!("begin; {insert} select 'inserted' from customers where id = 1; commit;"));
    talk.hears("inserted");
    talk.hears_nothing();
    gateway.process.kill();
    let begun = Instant::now();
    while office.server.answer("select count(*) from pg_stat_activity where usename = 'crm_app'") != "0" {
        assert!(begun.elapsed() < PATIENCE, "the session stays open");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(rows(), before, "what was not on the disk was rolled back");
}
