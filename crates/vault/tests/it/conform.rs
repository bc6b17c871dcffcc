//! Every back end over the network through the same questions. None of them is here: their documented answers are replayed on the wire.

use std::sync::Arc;

use model::canonical::parse_base;
use parking_lot::Mutex;
use serde_json::json;
use testkit::{Answer, Hashicorp, Seen, Upstream};
use vault::issue::Narrowings;
use vault::{BackendError, LogIn, Site, Vault, VaultError};

use crate::cloud::{Plain, way};
use crate::sites::{declare, reference, tls};
use crate::world::{World, declaration, gives, refusal};

type Is = fn(&BackendError) -> bool;

/// Kubernetes (core/v1, `readNamespacedSecret`) and 1Password Connect (1.7: `/v1/vaults`, `/items`), by their documented answers.
fn cluster(seen: &Seen) -> Answer {
    let status = |code: u16, message: &str| {
        Answer::json(&json!({"kind": "Status", "status": "Failure", "message": message, "code": code}))
            .with_status(code)
    };
    if seen.values("authorization") != ["Bearer site token"] {
        return status(401, "Unauthorized");
    }
    match seen.path() {
        "/version" => Answer::json(&json!({"major": "1", "minor": "34"})),
        "/api/v1/namespaces/team/secrets/github" => Answer::json(
            &json!({"kind": "Secret", "apiVersion": "v1", "data": {"token": "dGhlIHZhbHVlCg==", "bad": "%"}}),
        ),
        "/api/v1/namespaces/other/secrets/github" => status(403, "secrets \"github\" is forbidden"),
        _ => status(404, "secrets \"absent\" not found"),
    }
}

/// AWS Secrets Manager (`GetSecretValue`), by its documented answers. The signature's form is looked at; that it is right is held by the example of the
/// documentation (`signatures_are_those_of_the_documentation`).
fn aws(seen: &Seen) -> Answer {
    let refused = |kind: &str| Answer::json(&json!({"__type": kind, "Message": "s3cr"})).with_status(400);
    let signed = seen.values("authorization").pop().unwrap_or_default();
    let scope = "/eu-central-1/secretsmanager/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=";
    let is_signed = signed.starts_with("AWS4-HMAC-SHA256 Credential=site token/") && signed.contains(scope);
    if !is_signed || seen.values("x-amz-target") != ["secretsmanager.GetSecretValue"] {
        return refused("UnrecognizedClientException");
    }
    let body: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
    match body["SecretId"].as_str() {
        Some("team/github") => Answer::json(&json!({
            "ARN": "arn", "Name": "team/github", "VersionId": "x", "SecretString": r#"{"token":"the value","other":"y"}"#,
        })),
        _ => refused("com.amazonaws.secretsmanager#ResourceNotFoundException"),
    }
}

fn connect(seen: &Seen) -> Answer {
    let refused =
        |code: u16, message: &str| Answer::json(&json!({"status": code, "message": message})).with_status(code);
    if seen.values("authorization") != ["Bearer site token"] {
        return refused(401, "Invalid token signature");
    }
    let vault = "ftz4pm2xxwmwrsd7rjqn7grzfz";
    let item = "2fcbqwe9ndg175zg2dzwftvkpa";
    match (seen.path(), seen.query("filter").unwrap_or_default()) {
        ("/v1/vaults", "") => Answer::json(&json!([{"id": vault, "name": "team vault"}])),
        ("/v1/vaults", "name%20eq%20%22team%20vault%22") => {
            // A filter that compares more loosely than we do.
            Answer::json(&json!([{"id": "x", "name": "Team Vault"}, {"id": vault, "name": "team vault"}]))
        }
        ("/v1/vaults", "name%20eq%20%22twice%22") => {
            Answer::json(&json!([{"id": "x", "name": "twice"}, {"id": "y", "name": "twice"}]))
        }
        ("/v1/vaults", _) => Answer::json(&json!([])),
        (path, filter) if path == format!("/v1/vaults/{vault}/items") => {
            let found = if filter.contains("github") { json!([{"id": item, "title": "github"}]) } else { json!([]) };
            Answer::json(&found)
        }
        (path, _) if path == format!("/v1/vaults/{vault}/items/{item}") => Answer::json(&json!({
            "id": item, "title": "github", "version": 4, "vault": {"id": vault},
            "sections": [{"id": "s-1", "label": "old"}, {"id": "s-2", "label": "new"}],
            "fields": [
                {"id": "f-1", "label": "token", "value": "the old value", "section": {"id": "s-1"}},
                {"id": "f-2", "label": "token", "value": "the value", "section": {"id": "s-2"}},
                {"id": "password", "label": "password", "purpose": "PASSWORD", "value": "the value"},
                {"id": "empty", "label": "empty"},
            ],
        })),
        _ => refused(404, "Not found"),
    }
}

/// One of them behind a switch, and what it has and has not.
struct Case {
    word: &'static str,
    upstream: Upstream,
    instead: Arc<Mutex<Option<Answer>>>,
    token: &'static str,
    good: Vec<&'static str>,
    absent: Vec<(&'static str, &'static str)>,
}

fn case(word: &'static str, token: &'static str, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Case {
    let instead: Arc<Mutex<Option<Answer>>> = Arc::default();
    let switch = Arc::clone(&instead);
    let handler = move |seen: &Seen| Some(switch.lock().clone().unwrap_or_else(|| answer(seen)));
    let upstream = Upstream::builder().http1().handler(handler).start();
    Case { word, upstream, instead, token, good: Vec::new(), absent: Vec::new() }
}

/// Google Secret Manager (`projects.secrets.versions.access`) and Azure Key Vault (`GET /secrets`), by their documented answers.
fn google(seen: &Seen) -> Answer {
    let refused = |code: u16, message: &str| {
        Answer::json(&json!({"error": {"code": code, "message": message, "status": "X"}})).with_status(code)
    };
    if seen.values("authorization") != ["Bearer token of google"] {
        return refused(401, "Request had invalid authentication credentials.");
    }
    match seen.path() {
        "/v1/projects/team/secrets/github/versions/latest:access"
        | "/v1/projects/team/secrets/github/versions/3:access" => {
            // {"token":"the value"}, and its checksum.
            Answer::json(&json!({"name": "projects/7/secrets/github/versions/3",
                "payload": {"data": "eyJ0b2tlbiI6InRoZSB2YWx1ZSJ9", "dataCrc32c": "4040949586"}}))
        }
        _ => refused(404, "Secret [projects/7/secrets/absent] not found or has no versions."),
    }
}

fn azure(seen: &Seen) -> Answer {
    let refused =
        |code: u16, message: &str| Answer::json(&json!({"error": {"code": "X", "message": message}})).with_status(code);
    if seen.values("authorization") != ["Bearer token of azure"] {
        return refused(401, "AKV10000: Request is missing a Bearer or PoP token.");
    }
    match (seen.path(), seen.query("api-version")) {
        ("/secrets/github/" | "/secrets/github/a1", Some("7.4")) => Answer::json(
            &json!({"value": "the value", "id": "https://x.vault.azure.net/secrets/github/a1", "attributes": {"enabled": true}}),
        ),
        _ => refused(404, "A secret with (name/id) absent was not found in this key vault."),
    }
}

/// Who gives tokens to both: to those that it knows.
async fn tokens() -> Plain {
    use base64::Engine;
    Plain::start(|asked| {
        let assertion =
            asked.body.split("assertion=").nth(1).and_then(|token| token.split('.').nth(1)).unwrap_or_default();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(assertion).unwrap_or_default();
        let claims = String::from_utf8_lossy(&claims).into_owned();
        let known = claims.contains("\"iss\":\"agents@team.iam\"")
            && claims.contains("\"aud\":\"https://oauth2.googleapis.com/token\"");
        let whose = match asked.line.as_str() {
            "POST /token"
                if known
                    && asked.body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&") =>
            {
                "google"
            }
            "POST /team.test/oauth2/v2.0/token" if asked.body.ends_with("&client_secret=site%20token") => "azure",
            _ => return (400, json!({"error": "invalid_grant"}).to_string()),
        };
        (
            200,
            json!({"access_token": format!("token of {whose}"), "expires_in": 3_599, "token_type": "Bearer"})
                .to_string(),
        )
    })
    .await
}

fn cases(world: &World) -> [Case; 6] {
    let server = Hashicorp::new(72);
    server.put("secret/github", json!({"token": "the value"}));
    std::fs::write(world.path().join("site-token"), "site token\n").expect("written");
    std::fs::write(world.path().join("vault-token"), server.token()).expect("written");
    std::fs::write(world.path().join("wrong"), "wrong").expect("written");
    let (_, key) = testkit::Ca::new("google").leaf_pem(&["key"]);
    for (file, email) in [("google-key", "agents@team.iam"), ("google-wrong", "others@team.iam")] {
        let text = json!({"type": "service_account", "client_email": email, "private_key": key, "private_key_id": "k",
            "token_uri": "https://oauth2.googleapis.com/token"});
        std::fs::write(world.path().join(file), text.to_string()).expect("written");
    }
    let answer = server.handler();
    let hashicorp = case("hashicorp", "file:vault-token", move |seen| answer(seen).expect("answered"));
    [
        Case {
            good: vec!["hashicorp:secret/github#token"],
            absent: vec![("hashicorp:secret/absent", "nothing at")],
            ..hashicorp
        },
        Case {
            good: vec!["aws-sm:team/github#token"],
            absent: vec![("aws-sm:team/absent", "AWS has no `team/absent`"), ("aws-sm:team/github#absent", "no field")],
            ..case("aws-sm", "file:site-token", aws)
        },
        Case {
            good: vec!["gcp-sm:team/github#token", "gcp-sm:team/github?version=3"],
            absent: vec![("gcp-sm:team/absent", "Google has no `absent`"), ("gcp-sm:team/github#absent", "no field")],
            ..case("gcp-sm", "file:google-key", google)
        },
        Case {
            good: vec!["azure-kv:github", "azure-kv:github?version=a1"],
            absent: vec![("azure-kv:absent", "Azure has no `absent`"), ("azure-kv:github#absent", "without fields")],
            ..case("azure-kv", "file:site-token", azure)
        },
        Case {
            good: vec!["k8s:team/github#token"],
            absent: vec![("k8s:team/absent#token", "not found"), ("k8s:team/github#absent", "no key `absent`")],
            ..case("k8s", "file:site-token", cluster)
        },
        Case {
            good: vec![
                "op://team vault/github/password",
                "op://team vault/github/new/token",
                "op://team vault/github/f-2",
            ],
            absent: vec![
                ("op://absent/github/password", "no `absent` that we may see"),
                ("op://team vault/absent/password", "no `absent` that we may see"),
                ("op://team vault/github/absent", "no field `absent`"),
                ("op://team vault/github/empty", "is empty"),
            ],
            ..case("op", "file:site-token", connect)
        },
    ]
}

impl Case {
    fn site(&self, word: &str, token: &str) -> Site {
        Site {
            word: word.to_owned(),
            origins: vec![parse_base(&format!("https://{}", self.upstream.addr())).expect("an address")],
            ca: Some(self.upstream.ca().pem().as_bytes().to_vec()),
            namespace: None,
            kv: None,
            login: match word {
                "aws-sm" => {
                    let (key_id, secret) = (reference(token), reference("file:site-token"));
                    LogIn::AwsKey { region: "eu-central-1".to_owned(), key_id, secret, session_token: None }
                }
                "gcp-sm" => LogIn::GoogleKey(reference(&token.replace("file:wrong", "file:google-wrong"))),
                "azure-kv" => {
                    let (tenant, client_id) = ("team.test".to_owned(), "app".to_owned());
                    LogIn::AzureClient { tenant, client_id, secret: reference(token) }
                }
                _ => LogIn::Token(reference(token)),
            },
        }
    }

    async fn vault(&self, world: &World, tokens: &Plain) -> Vault {
        let vault = world.vault().await;
        vault.take_way(way(tokens.addr), Narrowings::new());
        vault.take_sites(vec![self.site(self.word, self.token)], &tls).expect("taken");
        vault
    }
}

#[tokio::test]
async fn what_is_there_is_given_and_what_is_not_is_missing() {
    let (world, tokens) = (World::new(), tokens().await);
    for case in cases(&world) {
        let vault = case.vault(&world, &tokens).await;
        for from in &case.good {
            declare(&vault, "x", from).await;
            assert!(gives(&vault, "x", "the value").await, "{from}");
        }
        for (from, says) in &case.absent {
            declare(&vault, "x", from).await;
            let error = refusal(&vault, "x").await;
            assert!(error.is_absent() && error.to_string().contains(says), "{from}: {error}");
        }
        assert!(vault.check_sites().await.iter().all(|(_, outcome)| outcome.is_ok()), "{}", case.word);
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_nothing() {
    let (world, tokens) = (World::new(), tokens().await);
    let (away, forbidden): (Is, Is) =
        (|it| matches!(it, BackendError::Away { .. }), |it| matches!(it, BackendError::Forbidden { .. }));
    let busy: Is = |it| matches!(it, BackendError::Busy { .. });
    let odd: Is = |it| matches!(it, BackendError::Malformed { .. } | BackendError::Missing { .. });
    for case in cases(&world) {
        let vault = case.vault(&world, &tokens).await;
        declare(&vault, "x", case.good[0]).await;
        assert!(gives(&vault, "x", "the value").await);
        let long = Answer::json(&json!({"kind": "Secret", "data": {"token": "QUFB".repeat(200_000)}}));
        let leak = json!({"kind": "s3cr", "data": "s3cr", "fields": "s3cr"});
        for (answer, is) in [
            (Answer::status(403), forbidden),
            (Answer::status(500), busy),
            (Answer::status(503), away),
            (Answer::status(429), busy),
            (Answer::reset(), away),
            (Answer::json(&leak).cut(), away),
            (Answer::json(&leak), odd),
            (Answer::body("text/html", "<html>s3cr"), odd),
            (long, odd),
            (Answer::status(301).header("location", "https://elsewhere.test/"), odd),
        ] {
            let shown = format!("{}: {answer:?}", case.word).chars().take(200).collect::<String>();
            *case.instead.lock() = Some(answer);
            world.clock.pass(3_000);
            let error = refusal(&vault, "x").await;
            let VaultError::Unavailable { error: inner, .. } = &error else { panic!("{shown}: {error}") };
            assert!(is(inner), "{shown}: {inner:?}");
            assert!(!error.to_string().contains("s3cr"), "{error}");
            *case.instead.lock() = None;
            world.clock.pass(3_000);
            assert!(gives(&vault, "x", "the value").await, "{shown}");
        }
    }
}

#[tokio::test]
async fn whoever_is_not_known_is_refused() {
    let (world, tokens) = (World::new(), tokens().await);
    for case in cases(&world) {
        let vault = world.vault().await;
        vault.take_way(way(tokens.addr), Narrowings::new());
        vault.take_sites(vec![case.site(case.word, "file:wrong")], &tls).expect("taken");
        vault.declare(declaration("x", case.good[0])).await.expect("declared");
        let error = refusal(&vault, "x").await;
        let is = matches!(&error, VaultError::Unavailable { error: BackendError::Forbidden { .. }, .. });
        assert!(is, "{}: {error}", case.word);
        assert!(vault.check_sites().await.iter().all(|(_, outcome)| outcome.is_err()), "{}", case.word);
    }
}

#[tokio::test]
async fn of_two_of_one_name_none_is_guessed() {
    let world = World::new();
    let [.., case] = cases(&world);
    let vault = world.vault().await;
    vault.take_sites(vec![case.site("op@team", case.token)], &tls).expect("taken");
    for (from, says) in [
        ("op@team://twice/github/password", "several `twice`"),
        ("op@team://team vault/github/token", "several fields `token`"),
    ] {
        declare(&vault, "x", from).await;
        assert!(refusal(&vault, "x").await.to_string().contains(says), "{from}");
    }
}
