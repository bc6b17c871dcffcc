//! Back ends over the network. There is no Vault, no Connect server and no Kubernetes here: their documented answers are replayed on the wire,
//! over real TLS.

use std::sync::Arc;

use model::canonical::parse_base;
use model::{Code, Tenant};
use policy::Upkeep;
use secret::Field;
use serde_json::json;
use testkit::{Answer, Hashicorp, Upstream};
use vault::{BackendError, LogIn, Reference, Site, Vault, VaultError};

use crate::world::{World, declaration, gives, name, permit, permit_for, refusal};

type Is = fn(&BackendError) -> bool;

/// What checks certificates in these tests: as the wiring does, by the authority that is named.
pub fn tls(ca: Option<&[u8]>) -> Result<Arc<rustls::ClientConfig>, String> {
    let pem = String::from_utf8(ca.unwrap_or_default().to_vec()).map_err(|error| error.to_string())?;
    Ok(testkit::ca::client_trusting(testkit::ca::roots_of(&pem), &["http/1.1"]))
}

/// A Vault that is replayed, and how it is described.
struct Scene {
    server: Hashicorp,
    upstream: Upstream,
    world: World,
}

impl Scene {
    fn begin() -> Self {
        let server = Hashicorp::new(71);
        let upstream = Upstream::builder().http1().handler(server.handler()).start();
        let world = World::new();
        server.allow("approle", "role-1", "secret-id-1");
        std::fs::write(world.path().join("secret-id"), "secret-id-1\n").expect("written");
        Self { server, upstream, world }
    }

    fn site(&self, login: LogIn) -> Site {
        Site {
            word: "hashicorp".to_owned(),
            origins: vec![parse_base(&format!("https://{}", self.upstream.addr())).expect("an address")],
            ca: Some(self.upstream.ca().pem().as_bytes().to_vec()),
            namespace: None,
            kv: None,
            login,
        }
    }

    fn approle(&self) -> Site {
        self.site(LogIn::AppRole {
            mount: "approle".to_owned(),
            role: "role-1".to_owned(),
            secret: reference("file:secret-id"),
        })
    }

    async fn vault(&self, site: Site) -> Vault {
        let vault = self.world.vault().await;
        vault.take_sites(vec![site], &tls).expect("taken");
        vault
    }
}

pub fn reference(text: &str) -> Reference {
    Reference::parse(text).expect(text)
}

pub async fn declare(vault: &Vault, credential: &str, from: &str) {
    vault.declare(declaration(credential, from)).await.expect(from);
}

#[tokio::test]
async fn engines_versions_and_fields() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "first value", "other": "x"}));
    scene.server.put("secret/app", json!({"token": "second value", "other": "x"}));
    scene.server.put("secret/one field", json!({"only": "only value"}));
    scene.server.put("team/kv/deep/er", json!({"value": "deep value"}));
    scene.server.put("kv1/app", json!({"token": "old engine"}));
    let vault = scene.vault(scene.approle()).await;
    for (from, value) in [
        ("hashicorp:secret/app#token", "second value"),
        ("hashicorp:secret/app?version=1#token", "first value"),
        ("hashicorp:secret/one field", "only value"),
        ("hashicorp:team/kv/deep/er", "deep value"),
        ("hashicorp:kv1/app#token", "old engine"),
    ] {
        declare(&vault, "x", from).await;
        assert!(gives(&vault, "x", value).await, "{from}");
    }
    declare(&vault, "x", "hashicorp:secret/app#token").await;
    assert_eq!(vault.resolve(&permit("x")).await.expect("resolved").version(), 2);
    // One log-in for all of them, and the secret id in no target.
    assert_eq!(scene.server.logins(), 1);
    for seen in scene.upstream.journal().all() {
        assert!(!seen.target.contains("secret-id-1") && !seen.target.contains("hvs."), "{}", seen.target);
    }
    for (from, says) in [
        ("hashicorp:secret/absent#x", "nothing at `secret/absent`"),
        ("hashicorp:secret/app#absent", "no field `absent` (it has token, other)"),
        ("hashicorp:secret/app", "several fields"),
        ("hashicorp:kv1/app?version=1#token", "only version 2"),
        ("hashicorp:nowhere/app", "preflight capability check"),
    ] {
        declare(&vault, "x", from).await;
        let error = refusal(&vault, "x").await.to_string();
        assert!(error.contains(says) && !error.contains("value"), "{from}: {error}");
    }
    scene.server.delete("secret/app");
    declare(&vault, "x", "hashicorp:secret/app#token").await;
    assert!(refusal(&vault, "x").await.to_string().contains("was deleted"));
}

#[tokio::test]
async fn declared_engines_and_namespaces() {
    let scene = Scene::begin();
    scene.server.set_namespace("team/a");
    scene.server.put("secret/app", json!({"token": "value two"}));
    let site = Site { kv: Some(2), namespace: Some("team/a".to_owned()), ..scene.approle() };
    let vault = scene.vault(site).await;
    declare(&vault, "x", "hashicorp:secret/app#token").await;
    assert!(gives(&vault, "x", "value two").await);
    assert!(!scene.upstream.journal().all().iter().any(|seen| seen.target.contains("internal")));
    let elsewhere = scene.vault(Site { namespace: None, ..scene.approle() }).await;
    declare(&elsewhere, "x", "hashicorp:secret/app#token").await;
    assert!(refusal(&elsewhere, "x").await.to_string().contains("Vault has nothing"));
}

#[tokio::test]
async fn log_ins() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    scene.server.allow("kubernetes", "pod", "jwt.of.pod");
    scene.server.allow("jwt", "ci", "jwt.of.ci");
    let file = |name: &str, text: &str| std::fs::write(scene.world.path().join(name), text).expect("written");
    file("pod", "jwt.of.pod");
    file("ci", "jwt.of.ci\n");
    file("token", &format!("{}\n", scene.server.token()));
    file("bad", "hvs.wrong");
    let jwt = |mount: &str, role: &str, file: &str| LogIn::Jwt {
        mount: mount.to_owned(),
        role: role.to_owned(),
        jwt: reference(file),
    };
    let approle = |secret: &str| LogIn::AppRole {
        mount: "approle".to_owned(),
        role: "role-1".to_owned(),
        secret: reference(secret),
    };
    for login in [
        LogIn::Token(reference("file:token")),
        approle("file:secret-id"),
        jwt("kubernetes", "pod", "file:pod"),
        jwt("jwt", "ci", "file:ci"),
    ] {
        let shown = format!("{login:?}");
        let vault = scene.vault(scene.site(login)).await;
        declare(&vault, "x", "hashicorp:secret/app").await;
        assert!(gives(&vault, "x", "the value").await, "{shown}");
        assert!(vault.check_sites().await.iter().all(|(_, outcome)| outcome.is_ok()), "{shown}");
    }
    for (login, says) in [
        (LogIn::Token(reference("file:bad")), "permission denied"),
        (LogIn::Token(reference("file:absent")), "is not there"),
        (approle("file:bad"), "invalid role or secret ID"),
        (jwt("jwt", "pod", "file:ci"), "permission denied"),
    ] {
        let vault = scene.vault(scene.site(login)).await;
        declare(&vault, "x", "hashicorp:secret/app").await;
        let error = refusal(&vault, "x").await;
        assert!(error.to_string().contains(says) && !error.to_string().contains("hvs."), "{error}");
        assert_eq!(error.code(), Code::CredentialUnavailable);
    }
}

#[tokio::test]
async fn our_token_is_renewed_and_got_anew() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    scene.server.set_seconds(300, 600);
    let vault = scene.vault(scene.approle()).await;
    declare(&vault, "x", "hashicorp:secret/app").await;
    assert!(gives(&vault, "x", "the value").await);
    let counts = || (scene.server.logins(), scene.server.renewals());
    assert_eq!(counts(), (1, 0));
    // Before two thirds of its life nothing is done about it; then it is renewed; at its end we log in anew.
    for (pass, want) in [(100, (1, 0)), (100, (1, 1)), (61, (1, 1)), (301, (2, 1))] {
        scene.world.clock.pass(pass);
        assert!(gives(&vault, "x", "the value").await);
        assert_eq!(counts(), want, "{pass}");
    }
    // Revoked there: asked once more with a new one.
    scene.server.revoke_tokens();
    scene.world.clock.pass(61);
    assert!(gives(&vault, "x", "the value").await);
    assert_eq!(counts().0, 3);
    // What we logged in as is revoked with the process.
    assert_eq!(scene.server.live_tokens(), 1);
    vault.close().await;
    assert_eq!(scene.server.live_tokens(), 0);
}

#[tokio::test]
async fn dynamic_credentials_are_leased_renewed_and_ended() {
    let scene = Scene::begin();
    let token = scene.server.token();
    std::fs::write(scene.world.path().join("token"), &token).expect("written");
    let vault = scene.vault(scene.site(LogIn::Token(reference("file:token")))).await;
    let database = vault::Declaration { kind: "basic".into(), ..declaration("db", "hashicorp:database/creds/ro") };
    vault.declare(database).await.expect("declared");
    let first = vault.resolve(&permit("db")).await.expect("resolved");
    assert!(first.material().field(Field::Username).is_some_and(|user| user.len() > 10));
    assert_eq!(first.lease().id.as_deref(), scene.server.leases().first().map(String::as_str));
    // A minute later nobody asks: it would make another user. A session that begins gets the same one.
    scene.world.clock.pass(120);
    let upkeep = Upkeep::of(Tenant::local(), "test");
    vault.check(&upkeep, &name("db")).await.expect("checked");
    vault.credentials_changed();
    let same = vault.resolve(&permit("db")).await.expect("resolved");
    assert_eq!(same.material().mark(), first.material().mark());
    assert_eq!((scene.server.leases().len(), scene.server.renewals()), (1, 0));
    // Past two thirds it is made longer, past its end it is another one.
    scene.world.clock.pass(300);
    let longer = vault.resolve(&permit("db")).await.expect("resolved");
    assert_eq!(longer.material().mark(), first.material().mark());
    assert!(longer.lease().expires > first.lease().expires);
    assert_eq!((scene.server.leases().len(), scene.server.renewals()), (1, 1));
    scene.world.clock.pass(601);
    let next = vault.resolve(&permit("db")).await.expect("resolved");
    assert_ne!(next.material().mark(), first.material().mark());
    // Away: it is good until its own end, and no longer.
    scene.server.seal(true);
    scene.world.clock.pass(599);
    assert!(vault.resolve(&permit("db")).await.is_ok());
    scene.world.clock.pass(2);
    assert!(vault.resolve(&permit("db")).await.is_err());
    scene.server.seal(false);
    scene.world.clock.pass(60);
    assert!(vault.resolve(&permit("db")).await.is_ok());
    // Ended with the process; the token is the user's own and stays.
    vault.close().await;
    assert!(scene.server.leases().len() < 3, "{:?}", scene.server.leases());
    assert_eq!(scene.server.live_tokens(), 1);
    // A credential that an operator revokes ends its lease at once.
    let other = scene.vault(scene.site(LogIn::Token(reference("file:token")))).await;
    declare(&other, "aws", "hashicorp:aws/creds/deploy").await;
    assert!(gives_document(&other, "aws").await);
    let before = scene.server.leases().len();
    other.revoke(&Tenant::local(), &name("aws"), None, "ada").await.expect("revoked");
    assert_eq!(scene.server.leases().len(), before - 1);
}

async fn gives_document(vault: &Vault, credential: &str) -> bool {
    vault.resolve(&permit(credential)).await.is_ok()
}

#[tokio::test]
async fn away_means_the_last_good_value_within_its_bound_and_a_breaker() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    let vault = scene.vault(scene.approle()).await;
    let short = vault::Declaration { held_seconds: Some(120), ..declaration("short", "hashicorp:secret/app") };
    vault.declare(short).await.expect("declared");
    declare(&vault, "usual", "hashicorp:secret/app").await;
    for credential in ["short", "usual"] {
        assert!(gives(&vault, credential, "the value").await);
    }
    scene.server.seal(true);
    let asked = || scene.upstream.journal().len();
    let before = asked();
    // Ten seconds a step for ten minutes, two credentials.
    let mut good = [0, 0];
    for _ in 0..60 {
        scene.world.clock.pass(10);
        // Something else in the store changes: no reason to lose what is held.
        vault.credentials_changed();
        for (credential, count) in ["short", "usual"].iter().zip(&mut good) {
            match vault.resolve(&permit(credential)).await {
                Ok(it) => {
                    assert!(it.material().field(Field::Value).is_some_and(|part| part.equals(b"the value")));
                    *count += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::CredentialUnavailable);
                    assert!(error.to_string().contains("sealed"), "{error}");
                }
            }
        }
    }
    assert_eq!(good, [11, 29]);
    // 118 times somebody wanted it; five tries opened the breaker, and then one went out a minute.
    let tries = asked() - before;
    assert!((10..=20).contains(&tries), "{tries}");
    assert!(vault.health()[0].failures >= 5);
    scene.server.seal(false);
    scene.world.clock.pass(60);
    assert!(gives(&vault, "short", "the value").await && gives(&vault, "usual", "the value").await);
    assert_eq!(vault.health()[0].failures, 0);
}

#[tokio::test]
async fn what_they_answer_is_told_apart() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    let vault = scene.vault(scene.approle()).await;
    declare(&vault, "x", "hashicorp:secret/app").await;
    let json = |status: u16, body: serde_json::Value| Answer::json(&body).with_status(status);
    let away: Is = |it| matches!(it, BackendError::Away { .. });
    let busy: Is = |it| matches!(it, BackendError::Busy { .. });
    let missing: Is = |it| matches!(it, BackendError::Missing { .. });
    let forbidden: Is = |it| matches!(it, BackendError::Forbidden { .. });
    let malformed: Is = |it| matches!(it, BackendError::Malformed { .. });
    let wrapped = json!({"wrap_info": {"token": "hvs.wrapping", "ttl": 60}, "data": null});
    let long = json!({"data": {"x": "a".repeat(600_000)}});
    for (answer, is, says) in [
        (json(404, json!({"errors": []})), missing, "nothing at"),
        (json(403, json!({"errors": ["permission denied"]})), forbidden, "permission denied"),
        (json(503, json!({"errors": ["Vault is sealed"]})), away, "sealed"),
        (json(429, json!({"errors": ["rate limit"]})).header("retry-after", "7"), busy, "for 7 s"),
        (json(200, wrapped), malformed, "wrapped"),
        (json(200, json!("no frame")), malformed, "does not answer as Vault does"),
        (Answer::body("text/html", "<html>a captive portal</html>"), malformed, "does not answer as Vault does"),
        (json(200, long), malformed, "more than"),
        (
            Answer::status(307).header("location", "https://10.0.0.7:8200/v1/secret/data/app"),
            malformed,
            "`https://10.0.0.7:8200",
        ),
        (Answer::status(302).header("location", "/v1/other"), malformed, "sends on"),
        (json(200, json!({"data": {}})).cut(), away, "broke off"),
        (Answer::reset(), away, "broke off"),
    ] {
        scene.server.answer_instead(Some(answer));
        scene.world.clock.pass(3_000);
        let error = refusal(&vault, "x").await;
        let VaultError::Unavailable { error: inner, .. } = &error else { panic!("{error}") };
        assert!(is(inner), "{says}: {inner:?}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(!error.to_string().contains("the value") && !error.to_string().contains("hvs."), "{error}");
        scene.server.answer_instead(None);
        scene.world.clock.pass(3_000);
        assert!(gives(&vault, "x", "the value").await, "{says}");
    }
}

#[tokio::test]
async fn nodes_of_a_cluster() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    let to = scene.upstream.addr();
    // A standby, with the same authority, that sends on to the active node; and an address where nobody listens.
    let standby = Upstream::builder()
        .ca(scene.upstream.ca())
        .http1()
        .handler(move |seen| Some(Answer::status(307).header("location", format!("https://{to}{}", seen.target))))
        .start();
    let base = |text: String| parse_base(&text).expect("an address");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address");
    let origins = vec![
        base(format!("https://{nobody}")),
        base(format!("https://{}", standby.addr())),
        base(format!("https://{to}")),
    ];
    let vault = scene.vault(Site { origins, ..scene.approle() }).await;
    declare(&vault, "x", "hashicorp:secret/app").await;
    assert!(gives(&vault, "x", "the value").await);
    // Once found, the active one is asked first.
    assert_eq!(standby.journal().len(), 1);
    // Somebody else's certificate: nothing is said to him.
    let other = Upstream::builder().http1().start();
    let origins = vec![base(format!("https://{}", other.addr()))];
    let vault = scene.vault(Site { origins, ..scene.approle() }).await;
    declare(&vault, "x", "hashicorp:secret/app").await;
    let error = refusal(&vault, "x").await.to_string();
    assert!(error.contains("verified TLS") && error.contains("as `ca`"), "{error}");
    assert!(other.journal().is_empty());
}

#[tokio::test]
async fn each_users_own() {
    let scene = Scene::begin();
    for user in ["ada", "grace"] {
        scene.server.put(&format!("secret/{user}/github"), json!({"token": format!("token of {user}")}));
    }
    let vault = scene.vault(scene.approle()).await;
    declare(&vault, "own", "hashicorp:secret/{user}/github#token").await;
    let local = Tenant::local();
    for user in ["ada", "grace", "ada"] {
        let theirs = vault.resolve(&permit_for(&local, Some("own"), Some(user))).await.expect(user);
        let value = format!("token of {user}");
        assert!(theirs.material().field(Field::Value).is_some_and(|part| part.equals(value.as_bytes())), "{user}");
    }
    let nobody = vault.resolve(&permit_for(&local, Some("own"), None)).await.err().expect("refused");
    assert_eq!(nobody.code(), Code::Denied);
    assert!(nobody.to_string().contains("no user is known here"), "{nobody}");
    let unknown = vault.resolve(&permit_for(&local, Some("own"), Some("joan"))).await.err().expect("refused");
    assert!(unknown.to_string().contains("nothing at `secret/joan/github`"), "{unknown}");
    for bad in [".", ".."] {
        assert!(vault.resolve(&permit_for(&local, Some("own"), Some(bad))).await.is_err(), "{bad}");
    }
    // A process that has not read this configuration does not guess whose it is.
    let other = scene.vault(scene.approle()).await;
    assert!(other.resolve(&permit_for(&local, Some("own"), Some("ada"))).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_of_a_thousand_users() {
    // Whoever asks is answered with what he asked for.
    let upstream = Upstream::builder()
        .http1()
        .handler(|seen| Some(Answer::json(&json!({"data": {"value": seen.path()}, "lease_id": ""}))))
        .start();
    let world = World::new();
    std::fs::write(world.path().join("token"), "t").expect("written");
    let site = Site {
        word: "hashicorp".to_owned(),
        origins: vec![parse_base(&format!("https://{}", upstream.addr())).expect("an address")],
        ca: Some(upstream.ca().pem().as_bytes().to_vec()),
        namespace: None,
        kv: Some(1),
        login: LogIn::Token(reference("file:token")),
    };
    let vault = world.vault().await;
    vault.take_sites(vec![site], &tls).expect("taken");
    declare(&vault, "own", "hashicorp:kv/{user}/key").await;
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..16u64 {
        let vault = vault.clone();
        tasks.spawn(async move {
            let mut wrong = 0;
            for step in 0..625u64 {
                let number = (lane * 625 + step).wrapping_mul(2_654_435_761) % 1_000;
                let user = format!("user-{number}@example.com");
                let permit = permit_for(&Tenant::local(), Some("own"), Some(&user));
                let theirs = vault.resolve(&permit).await.expect("resolved");
                let value = format!("/v1/kv/{}/key", user.replace('@', "%40"));
                if !theirs.material().field(Field::Value).is_some_and(|part| part.equals(value.as_bytes())) {
                    wrong += 1;
                }
            }
            wrong
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<i32>(), 0);
    // Single flight: about one question for each user, and the log-in's.
    let asked = upstream.journal().len();
    assert!(asked <= 1_002, "{asked}");
}

#[tokio::test]
async fn a_policy_that_says_no_costs_no_log_ins() {
    let scene = Scene::begin();
    scene.server.put("secret/app", json!({"token": "the value"}));
    let vault = scene.vault(scene.approle()).await;
    declare(&vault, "good", "hashicorp:secret/app").await;
    declare(&vault, "bad", "hashicorp:nowhere/app").await;
    // The mount is not shown to us (403), again and again; our token lives.
    for _ in 0..20 {
        scene.world.clock.pass(10);
        assert!(gives(&vault, "good", "the value").await);
        assert!(refusal(&vault, "bad").await.to_string().contains("preflight"));
    }
    assert_eq!(scene.server.logins(), 1);
}

#[tokio::test]
async fn what_a_log_in_made_ends_with_it() {
    let scene = Scene::begin();
    scene.server.set_seconds(300, 3_600);
    let vault = scene.vault(scene.approle()).await;
    declare(&vault, "aws", "hashicorp:aws/creds/deploy").await;
    let first = vault.resolve(&permit("aws")).await.expect("resolved");
    // The lease says an hour; the token that made it, five minutes.
    let end = first.lease().expires.expect("an end");
    assert_eq!(end, model::Timestamp::from_secs(1_000 + 300));
    // Renewed together.
    scene.world.clock.pass(201);
    let longer = vault.resolve(&permit("aws")).await.expect("resolved");
    assert_eq!(longer.material().mark(), first.material().mark());
    assert_eq!(longer.lease().expires, Some(model::Timestamp::from_secs(1_201 + 300)));
    assert_eq!((scene.server.logins(), scene.server.renewals()), (1, 2));
    // Revoked there, and everything with it: at the next look another one is made.
    scene.server.revoke_tokens();
    scene.world.clock.pass(201);
    let next = vault.resolve(&permit("aws")).await.expect("resolved");
    assert_ne!(next.material().mark(), first.material().mark());
    assert_eq!((scene.server.logins(), scene.server.leases().len()), (2, 1));
}

#[tokio::test]
async fn a_server_that_quotes_us_does_not_get_into_words() {
    let scene = Scene::begin();
    let quoting = Upstream::builder()
        .ca(scene.upstream.ca())
        .http1()
        .handler(|seen| {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            Some(Answer::json(&json!({"errors": [format!("cannot read {body}")]})).with_status(400))
        })
        .start();
    let long = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
    std::fs::write(scene.world.path().join("secret-id"), long).expect("written");
    let origins = vec![parse_base(&format!("https://{}", quoting.addr())).expect("an address")];
    let vault = scene.vault(Site { origins, ..scene.approle() }).await;
    declare(&vault, "x", "hashicorp:secret/app").await;
    let error = refusal(&vault, "x").await.to_string();
    assert!(error.contains("cannot read") && !error.contains(long), "{error}");
}
