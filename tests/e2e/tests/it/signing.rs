//! Requests signed with shared keys: an agent signs with placeholders as its SDK does, an exchange verifies with Python's own hmac.

use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::House;
use e2e::house::root;
use serde_json::{Value, json};
use testkit::Ca;
use testkit::process::{Running, finish};

const HOST: &str = "api.exchange.test";

/// Both forms of one exchange are two services, as two vendors are.
const SERVICE: &str = r#"name: exchange
title: Exchange
hosts: [api.exchange.test]
credentials: [hmac]
environment: [EXCHANGE_KEY, EXCHANGE_SECRET, EXCHANGE_PASSPHRASE]
schemes:
  - hmac:
      sign: "{timestamp}{method}{target}{body}"
      encoding: base64
      headers: { CB-ACCESS-KEY: "{key_id}", CB-ACCESS-SIGN: "{signature}", CB-ACCESS-TIMESTAMP: "{timestamp}", CB-ACCESS-PASSPHRASE: "{passphrase}" }
  - hmac:
      sign: "{query}{body}"
      timestamp: milliseconds
      headers: { X-MBX-APIKEY: "{key_id}" }
      query: { timestamp: "{timestamp}", signature: "{signature}" }
actions:
  - { id: accounts/list, class: read, match: [GET /headers/accounts, GET /query/account] }
  - { id: orders/create, class: write, match: POST /headers/orders }
  - { id: orders/cancel, class: delete, match: DELETE /headers/orders }
"#;

struct Exchange {
    _process: Running,
    folder: tempfile::TempDir,
    port: u16,
    keys: Value,
}

impl Exchange {
    fn start() -> Self {
        let (ca, folder) = (Ca::new("exchange"), tempfile::tempdir().unwrap());
        let (cert, key) = ca.leaf_pem(&[HOST]);
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("cert.pem"), cert).unwrap();
        std::fs::write(file("key.pem"), key).unwrap();
        std::fs::write(file("ca.pem"), ca.pem()).unwrap();
        let secret = ["Zk3vQ9xT", "m2LrW8pA", "h6NcY1sD", "u5GeJ0bK"].concat();
        let passphrase = ["open", "sesame", "4417"].join("-");
        let keys = json!({
            "key_id": "5f2c9e7ab1d04c6688e3f0a9d7b1c452",
            "secret": secret,
            "passphrase": passphrase,
        });
        let mut command = Command::new("python3");
        command.arg(root().join("tests/e2e/origins/exchange.py")).args([
            file("cert.pem"),
            file("key.pem"),
            file("journal"),
        ]);
        command.env("EXCHANGE_KEYS", keys.to_string()).stderr(Stdio::null());
        let (process, line) = Running::ready(command);
        Self { _process: process, folder, port: line.trim().parse().unwrap(), keys }
    }

    fn house(&self, inject: &str) -> House {
        let config = format!(
            "version: 1\nservices: [./exchange.yaml]\ncredentials:\n  exchange-keys: {{ service: exchange, from: \"env:KEYS\"{inject} }}\nagents:\n  trader:\n    \
             permissions:\n      - {{ service: exchange, credential: exchange-keys, actions: [accounts/list, orders/create], resources: [\"*\"] }}\n\
             upstreams:\n  {HOST}: {{ address: \"127.0.0.1:{}\", ca: {} }}\n",
            self.port,
            self.folder.path().join("ca.pem").display()
        );
        let house = House::new(&config, &[("KEYS", &self.keys.to_string())]);
        std::fs::write(house.path("exchange.yaml"), SERVICE).unwrap();
        house
    }

    fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("journal")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn assert_clean(&self, what: &str, text: &str) {
        for (name, value) in self.keys.as_object().unwrap() {
            assert!(!text.contains(value.as_str().unwrap()), "the real {name} stands in {what}:\n{text}");
        }
    }
}

#[test]
fn what_an_agent_signed_with_placeholders_is_signed_anew() {
    let exchange = Exchange::start();
    let house = exchange.house("");
    let client = root().join("tests/e2e/clients/signed.py").display().to_string();
    let (finished, receipt) = house.run_with("trader", &["--isolate=off"], &["python3", &client]);
    let outcome: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{}\n{}", finished.stdout, finished.stderr));
    let statuses: Vec<_> = outcome["seen"].as_array().unwrap().iter().map(|seen| seen[0].as_u64().unwrap()).collect();
    // A clock that is a day off is no matter: the time is the gateway's.
    assert_eq!(statuses, [200, 200, 200, 200, 403], "{outcome}");
    assert_eq!(receipt.count("denied"), 1);
    assert!(outcome["key_id"].as_str().unwrap().len() == 32 && outcome["secret"].as_str().unwrap().len() == 32);
    let journal = exchange.journal();
    assert_eq!(journal.len(), 4, "what is denied does not leave");
    assert_eq!(journal[1]["body"], r#"{"side": "buy", "size": "1.0"}"#, "not an octet changes");
    assert!(
        journal[3]["target"].as_str().unwrap().starts_with("/query/account?symbol=LTC+BTC&recvWindow=5000&timestamp=")
    );
    for sent in &journal {
        let text = sent.to_string();
        assert!(!text.contains(outcome["key_id"].as_str().unwrap()), "a placeholder left: {text}");
        assert!(!text.contains(exchange.keys["secret"].as_str().unwrap()), "the key travelled: {text}");
    }
    exchange.assert_clean("the answers", &finished.stdout);
    let log = house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
    exchange.assert_clean("the audit log", &log);
    house.assert_audit();
}

#[test]
fn a_client_that_signs_nothing_is_signed_for() {
    let exchange = Exchange::start();
    let house = exchange.house(", inject: always");
    let curl = "curl -sS -o first -w '%{http_code} ' https://api.exchange.test/headers/accounts && \
                curl -sS -o second -w '%{http_code}' --data '{\"side\":\"sell\"}' https://api.exchange.test/headers/orders";
    let (finished, _) = house.run_with("trader", &["--isolate=off"], &["sh", "-c", curl]);
    assert_eq!(finished.stdout, "200 200", "{}", finished.stderr);
    exchange.assert_clean("an answer", &std::fs::read_to_string(house.path("second")).unwrap());
}

#[test]
fn a_wrong_scheme_is_found_by_the_check() {
    let exchange = Exchange::start();
    let house = exchange.house("");
    for (right, wrong, words) in [
        ("{timestamp}{method}", "{timestamp}{methd}", "`{methd}` is no part of a request"),
        ("CB-ACCESS-TIMESTAMP: \"{timestamp}\", ", "", "`{timestamp}` is signed and not sent"),
    ] {
        std::fs::write(house.path("exchange.yaml"), SERVICE.replace(right, wrong)).unwrap();
        let mut check = house.clean(e2e::house::binary());
        let done = finish(check.args(["policy", "check", "valetkey.yaml"]), Duration::from_secs(30));
        assert!(
            done.code() != Some(0) && format!("{}{}", done.stdout, done.stderr).contains(words),
            "{}{}",
            done.stdout,
            done.stderr
        );
    }
}
