//! Tokens of Google and of Microsoft Entra, end to end. Neither is here: their documented endpoints are replayed, and look at what is signed
//! (`testkit::grants`).

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use e2e::House;
use e2e::house::binary;
use serde_json::json;
use testkit::process::finish;
use testkit::{Canary, Client, Grants, RsaKey, Upstream};

const GOOGLE: &str = "https://oauth2.googleapis.com/token";
const ENTRA: &str = "https://login.microsoftonline.com/corp.example/oauth2/v2.0/token";
const EMAIL: &str = "bot@project.iam.gserviceaccount.com";

/// A token endpoint, a service that takes its tokens, and a home that has what is asked with in its vault.
struct Scene {
    grants: Grants,
    endpoint: Upstream,
    upstream: Upstream,
    house: House,
    secret: String,
}

impl Scene {
    /// `issue`: what the configuration says; `stored`: kind and value; `secret`: what of it must be seen nowhere.
    fn new((host, client): (&str, Client), issue: &str, (kind, stored): (&str, &str), secret: &str) -> Self {
        let grants = Grants::new(941, client);
        let endpoint = Upstream::builder().http1().handler(grants.handler()).start();
        let upstream = Upstream::start();
        let config = format!(
            "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, issue: {{ {issue} }} }}\nagents:\n  tester:\n    \
             permissions: [{{ service: echo, credential: echo-token, methods: [GET], endpoints: [/] }}]\nupstreams:\n{}{}",
            endpoint.entry(host),
            upstream.entry("kit.echo.test")
        );
        let house = House::new(&config, &[]);
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        let mut command = house.clean(binary());
        command.args(["credential", "add", "echo-token", "--kind", kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stored.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Self { grants, endpoint, upstream, house, secret: secret.to_owned() }
    }

    /// Three requests of one agent; the placeholder that it held, and what it was told.
    fn asks(&self) -> (String, String) {
        let gateway = self.house.serve();
        let session = self.house.session("tester");
        let ca = self.house.path("ca.pem");
        std::fs::write(&ca, &session.ca).unwrap();
        let placeholder = session.env["ECHO_TOKEN"].clone();
        let mut command = self.house.clean(Path::new("curl"));
        command.args(["-sS", "--cacert"]).arg(ca).arg("-H").arg(format!("Authorization: Bearer {placeholder}"));
        command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("agent:{}", session.token)]);
        command.args(["-w", "\n%{http_code}\n"]).args(["https://kit.echo.test/anything"; 3]);
        let done = finish(&mut command, Duration::from_mins(1));
        drop(gateway);
        (placeholder, done.stdout)
    }

    /// It works, the token went out alone, and what is stored is nowhere.
    fn assert_works(&self) -> String {
        let (placeholder, told) = self.asks();
        let log = std::fs::read(self.house.path("serve.log")).unwrap();
        assert_eq!(
            told.matches("\n200\n").count(),
            3,
            "{told}\n{:?}\n{}",
            self.grants.refused(),
            String::from_utf8_lossy(&log)
        );
        let given = self.grants.given();
        assert_eq!(given.len(), 1, "one token for three requests");
        for seen in self.upstream.journal().all() {
            assert_eq!(seen.value("authorization"), format!("Bearer {}", given[0]));
        }
        let export = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
        for (what, octets) in [("an answer", told.as_bytes()), ("the log", &log), ("the audit log", export.as_bytes())]
        {
            for secret in given.iter().chain([&self.secret]) {
                assert!(
                    !octets.windows(secret.len()).any(|window| window == secret.as_bytes()),
                    "a secret stands in {what}"
                );
            }
        }
        self.house.assert_audit();
        placeholder
    }
}

fn key_file(key: &RsaKey, token_uri: &str) -> String {
    let file = json!({
        "type": "service_account", "project_id": "project", "private_key_id": "key-1", "private_key": key.pkcs8(),
        "client_email": EMAIL, "client_id": "1", "token_uri": token_uri,
    });
    serde_json::to_string_pretty(&file).unwrap()
}

fn account(key: &RsaKey, endpoint: &str) -> Client {
    Client::Account { email: EMAIL.to_owned(), key: key.clone(), endpoint: endpoint.to_owned() }
}

#[test]
fn a_service_account_of_google() {
    let key = RsaKey::fresh();
    let file = key_file(&key, GOOGLE);
    let at = || ("oauth2.googleapis.com", account(&key, GOOGLE));
    let scene = Scene::new(at(), "google: { scopes: [s1, s2], subject: ada@corp }", ("gcp", &file), &key.line());
    let placeholder = scene.assert_works();
    assert!(placeholder.starts_with("ya29."), "{placeholder}");
    let asked = &scene.grants.asked()[0];
    assert_eq!((asked["scope"].as_str(), asked["sub"].as_str()), ("s1 s2", "ada@corp"));
    // An ID token, for whom it is.
    let scene = Scene::new(at(), "google: { audience: \"https://x.run.app\" }", ("gcp", &file), &key.line());
    let placeholder = scene.assert_works();
    assert_eq!(placeholder.split('.').count(), 3, "{placeholder}");
    assert_eq!(scene.grants.asked()[0]["target_audience"], "https://x.run.app");
}

#[test]
fn a_key_file_does_not_choose_where_its_key_goes() {
    let key = RsaKey::fresh();
    let other = "https://oauth2.evil.example/token";
    let file = key_file(&key, other);
    let at = ("oauth2.googleapis.com", account(&key, GOOGLE));
    let scene = Scene::new(at, "google: { scopes: [s] }", ("gcp", &file), &key.line());
    let (_, told) = scene.asks();
    assert!(told.contains("credential_unavailable"), "{told}");
    assert!(scene.endpoint.journal().is_empty() && scene.upstream.journal().is_empty(), "it was used");
    // Where the configuration names it, it is right.
    let at = ("oauth2.evil.example", account(&key, other));
    let issue = format!("google: {{ scopes: [s], token_uri: \"{other}\" }}");
    Scene::new(at, &issue, ("gcp", &file), &key.line()).assert_works();
}

#[test]
fn an_application_in_entra_by_secret_and_by_certificate() {
    let (canary, id) = (Canary::new(942, "", 40).value(), "6731de76-14a6-49ae-97bc-6eba6914391e");
    let issue = |more: &str| {
        format!(
            "azure: {{ tenant: corp.example, client_id: {id}, scope: \"https://graph.microsoft.com/.default\"{more} }}"
        )
    };
    let client = Client::Secret { id: id.to_owned(), secret: canary.clone() };
    let scene = Scene::new(("login.microsoftonline.com", client), &issue(""), ("token", &canary), &canary);
    let placeholder = scene.assert_works();
    assert_eq!(placeholder.split('.').count(), 3, "{placeholder}");
    assert_eq!(scene.grants.asked()[0]["scope"], "https://graph.microsoft.com/.default");
    assert!(scene.endpoint.journal().all().iter().all(|seen| seen.path() == "/corp.example/oauth2/v2.0/token"));

    let key = RsaKey::fresh();
    let (pem, certificate) = key.certified();
    let client = Client::Certificate {
        id: id.to_owned(),
        key: key.clone(),
        thumbprint: testkit::signed::sha256(&certificate),
        endpoint: ENTRA.to_owned(),
    };
    let stored = ("private-key", pem.as_str());
    let scene = Scene::new(("login.microsoftonline.com", client), &issue(", certificate: true"), stored, &key.line());
    scene.assert_works();
    assert_eq!(scene.grants.asked()[0]["scope"], "https://graph.microsoft.com/.default");
}
