//! What is issued for what is stored, with an issuer that says what it is told to.

use std::sync::Arc;

use model::Tenant;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vault::issue::{Authentication, Endpoint, Issuing, OAuth2, OAuth2Grant};
use vault::road::{Road, Spoken, Wire};
use vault::{Declaration, Pending, Reference, Vault, VaultError};

use crate::world::{World, declaration, name, permit, secret};

/// Answers of an issuer: what it was asked, and what it says to that.
type Says = dyn Fn(&str) -> (u16, String) + Send + Sync;

struct Issuer {
    asked: Arc<Mutex<Vec<String>>>,
    says: Arc<Mutex<Box<Says>>>,
}

impl Issuer {
    fn new(says: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { asked: Arc::default(), says: Arc::new(Mutex::new(Box::new(says))) })
    }

    fn says(&self, says: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) {
        *self.says.lock() = Box::new(says);
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Road for Issuer {
    fn connect<'a>(
        &'a self,
        origin: &'a model::canonical::Origin,
        spoken: Spoken,
    ) -> Pending<'a, Result<Box<dyn Wire>, String>> {
        assert_eq!(spoken, Spoken::Http);
        assert_eq!(origin.to_string(), "id.corp.test");
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let (asked, says) = (Arc::clone(&self.asked), Arc::clone(&self.says));
        tokio::spawn(async move {
            let mut text = Vec::new();
            loop {
                let whole = String::from_utf8_lossy(&text).into_owned();
                if let Some((head, body)) = whole.split_once("\r\n\r\n") {
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    if body.len() >= length.unwrap_or(0) {
                        break;
                    }
                }
                if theirs.read_buf(&mut text).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let (status, body) = says.lock()(&text);
            asked.lock().push(text);
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = theirs.write_all(answer.as_bytes()).await;
        });
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Wire>)))
    }
}

fn oauth2(grant: OAuth2Grant) -> OAuth2 {
    let origin = model::canonical::parse_base("https://id.corp.test").expect("an origin");
    OAuth2 {
        token: Endpoint { origin, target: "/token".to_owned() },
        client_id: "c 1".to_owned(),
        authentication: if grant == OAuth2Grant::ClientCredentials {
            Authentication::Basic
        } else {
            Authentication::None
        },
        client_secret: None,
        key_id: None,
        grant,
        scope: Some("a b".to_owned()),
        audience: None,
        resource: None,
        subject_token_type: None,
        authorize: None,
        device: None,
    }
}

async fn declared(vault: &Vault, settings: OAuth2, reference: &str, way: &Arc<Issuer>) {
    vault.take_way(Arc::clone(way) as _, std::collections::HashMap::new());
    let kind = Issuing::new(settings.clone(), Box::new(settings.clone())).stores().to_owned();
    let issuing = Some(Issuing::new(settings.clone(), Box::new(settings)));
    let reference =
        if reference.is_empty() { Reference::built_in() } else { Reference::parse(reference).expect("a reference") };
    let declared = Declaration { kind, issuing, reference, ..declaration("c", "env:ANY") };
    vault.declare(declared).await.expect("declared");
}

fn token(value: &str, seconds: u64) -> (u16, String) {
    (200, format!(r#"{{"access_token":"{value}","token_type":"Bearer","expires_in":{seconds}}}"#))
}

async fn value(vault: &Vault, want: &str) {
    let credential = vault.resolve(&permit("c")).await.expect("resolved");
    assert!(credential.shown().is_some_and(|shown| shown.equals(want.as_bytes())), "not {want}");
}

#[tokio::test]
async fn one_asks_for_all_and_again_before_the_end() {
    let mut world = World::new();
    world.vars.insert("S".to_owned(), "s/1".into());
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| token("t-1", 3_600));
    declared(&vault, oauth2(OAuth2Grant::ClientCredentials), "env:S", &issuer).await;
    let all: Vec<_> = (0..100)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move { value(&vault, "t-1").await })
        })
        .collect();
    for one in all {
        one.await.expect("done");
    }
    assert_eq!(issuer.count(), 1);
    let asked = issuer.asked.lock()[0].clone();
    // Both halves are encoded before they are joined (RFC 6749 2.3.1): `c%201:s%2F1`.
    assert!(asked.contains("authorization: Basic YyUyMDE6cyUyRjE=\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a%20b"), "{asked}");
    // What happens in the store is no reason to ask again; the time is.
    vault.credentials_changed();
    world.clock.pass(3_299);
    value(&vault, "t-1").await;
    assert_eq!(issuer.count(), 1);
    issuer.says(|_| token("t-2", 3_600));
    world.clock.pass(2);
    value(&vault, "t-2").await;
    assert_eq!(issuer.count(), 2);
}

#[tokio::test]
async fn what_is_good_is_used_while_the_issuer_is_away_and_no_longer() {
    let mut world = World::new();
    world.vars.insert("S".to_owned(), "s-1".into());
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| token("t-1", 900));
    declared(&vault, oauth2(OAuth2Grant::ClientCredentials), "env:S", &issuer).await;
    value(&vault, "t-1").await;
    for status in [503, 429, 500] {
        issuer.says(move |_| (status, r#"{"error":"temporarily_unavailable"}"#.to_owned()));
        world.clock.pass(200);
        value(&vault, "t-1").await;
    }
    world.clock.pass(400);
    let error = vault.resolve(&permit("c")).await.err().expect("too old");
    assert!(matches!(&error, VaultError::Unavailable { .. } | VaultError::Expired { .. }), "{error}");
    issuer.says(|_| token("t-2", 900));
    world.clock.pass(120);
    value(&vault, "t-2").await;
    // A no is a no at once.
    issuer.says(|_| (400, r#"{"error":"invalid_client"}"#.to_owned()));
    world.clock.pass(800);
    let error = vault.resolve(&permit("c")).await.err().expect("refused").to_string();
    assert!(error.contains("id.corp.test answers 400: invalid_client"), "{error}");
}

#[tokio::test]
async fn a_chain_of_refresh_tokens_is_stored_link_by_link() {
    let world = World::new();
    let vault = world.vault().await;
    let issuer = Issuer::new(|asked| {
        let rest = asked.split("refresh_token=r-").nth(1).expect("a refresh token");
        let last: u32 = rest.split('&').next().and_then(|number| number.parse().ok()).expect("a number");
        (200, format!(r#"{{"access_token":"a-{0}","refresh_token":"r-{0}","expires_in":"600"}}"#, last + 1))
    });
    let new = vault::NewCredential { kind: "oauth2".into(), service: None, ..crate::world::new("c") };
    vault.add(&new, secret(r#"{"access_token":"a-0","refresh_token":"r-0","expires_at":0}"#)).await.expect("added");
    declared(&vault, oauth2(OAuth2Grant::RefreshToken), "", &issuer).await;
    for round in 1..4 {
        value(&vault, &format!("a-{round}")).await;
        // Another process reads what this one was given, and asks nobody.
        let other = world.vault().await;
        declared(&other, oauth2(OAuth2Grant::RefreshToken), "", &issuer).await;
        value(&other, &format!("a-{round}")).await;
        assert_eq!(issuer.count(), round);
        world.clock.pass(590);
    }
    let versions = vault.show(&Tenant::local(), &name("c")).await.expect("shown").versions;
    assert_eq!(versions.len(), 4);
}

/// What is asked with goes to its issuer and nowhere else, also while somebody looks whether a new version works.
#[tokio::test]
async fn a_version_that_is_lent_is_issued_for() {
    let world = World::new();
    let vault = world.vault().await;
    let issuer = Issuer::new(|asked| {
        // `c%201:old`, `c%201:new`.
        if asked.contains("Basic YyUyMDE6bmV3") { token("t-new", 600) } else { token("t-old", 600) }
    });
    vault.add(&crate::world::new("c"), secret("old")).await.expect("added");
    declared(&vault, oauth2(OAuth2Grant::ClientCredentials), "", &issuer).await;
    value(&vault, "t-old").await;
    vault.add_version(&Tenant::local(), &name("c"), secret("new")).await.expect("added");
    for (version, want) in [(2, "t-new"), (1, "t-old")] {
        let lent = vault.lend(&Tenant::local(), &name("c"), version).expect("lent");
        let credential = vault.resolve(&permit(lent.name().as_str())).await.expect("resolved");
        assert!(credential.material().fields().all(|(_, part)| part.equals(want.as_bytes())), "not {want}");
    }
}

/// A client that goes away in the middle costs no link of the chain.
#[tokio::test]
async fn a_renewal_is_done_to_its_end() {
    let world = World::new();
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| (200, r#"{"access_token":"a-1","refresh_token":"r-1","expires_in":600}"#.to_owned()));
    let new = vault::NewCredential { kind: "oauth2".into(), service: None, ..crate::world::new("c") };
    vault.add(&new, secret(r#"{"access_token":"a-0","refresh_token":"r-0","expires_at":0}"#)).await.expect("added");
    declared(&vault, oauth2(OAuth2Grant::RefreshToken), "", &issuer).await;
    let permit = permit("c");
    let mut asking = Box::pin(vault.resolve(&permit));
    while issuer.count() == 0 {
        tokio::select! {
            biased;
            _ = &mut asking => break,
            () = tokio::task::yield_now() => {}
        }
    }
    drop(asking);
    let (tenant, name) = (Tenant::local(), name("c"));
    while vault.show(&tenant, &name).await.expect("shown").versions.len() < 2 {
        tokio::task::yield_now().await;
    }
    value(&vault, "a-1").await;
    assert_eq!(issuer.count(), 1);
    // The link before is worth nothing: there is no way back to it, and nobody tries it.
    let error = vault.roll_back(&tenant, &name).await.expect_err("nothing before");
    assert!(matches!(error, VaultError::NothingBefore { .. }), "{error}");
    assert!(matches!(vault.lend(&tenant, &name, 1), Err(VaultError::IsLogIn { .. })));
}

#[tokio::test]
async fn a_new_link_that_cannot_be_kept_is_told() {
    let mut world = World::new();
    world.vars.insert("R".to_owned(), "r-0".into());
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| token("a-1", 600));
    declared(&vault, oauth2(OAuth2Grant::RefreshToken), "env:R", &issuer).await;
    value(&vault, "a-1").await;
    issuer.says(|_| (200, r#"{"access_token":"a-2","refresh_token":"r-1","expires_in":600}"#.to_owned()));
    world.clock.pass(590);
    let error = vault.resolve(&permit("c")).await.err().expect("lost").to_string();
    assert!(error.contains("cannot be written to `env:R`") && error.contains("credential login c"), "{error}");
}

#[tokio::test]
async fn a_token_is_exchanged() {
    let mut world = World::new();
    world.vars.insert("T".to_owned(), "subject".into());
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| token("t-1", 600));
    declared(&vault, oauth2(OAuth2Grant::TokenExchange), "env:T", &issuer).await;
    value(&vault, "t-1").await;
    let asked = issuer.asked.lock()[0].clone();
    let want = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=subject&subject_token_type=\
                urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&scope=a%20b&client_id=c%201";
    assert!(asked.ends_with(want), "{asked}");
}

#[tokio::test]
async fn answers_that_are_none() {
    let mut world = World::new();
    world.vars.insert("S".to_owned(), "s-1".into());
    let vault = world.vault().await;
    let issuer = Issuer::new(|_| (200, String::new()));
    declared(&vault, oauth2(OAuth2Grant::ClientCredentials), "env:S", &issuer).await;
    for (status, body, says) in [
        (200, "", "something else than the JSON"),
        (200, "{}", "something else than the JSON"),
        (200, r#"{"access_token":""}"#, "no bearer token"),
        (200, r#"{"access_token":"x","token_type":"DPoP"}"#, "no bearer token"),
        (302, "", "sends on elsewhere"),
        (404, "<html>", "answers 404"),
    ] {
        issuer.says(move |_| (status, body.to_owned()));
        let error = vault.resolve(&permit("c")).await.err().expect(body).to_string();
        assert!(error.contains(says), "{body}: {error}");
        world.clock.pass(5);
    }
    // Nothing of the stored secret is said, whatever the issuer repeats.
    issuer.says(|asked| {
        (400, format!(r#"{{"error":"e","error_description":"{}"}}"#, asked.replace(['\r', '\n', '"'], " ")))
    });
    let error = vault.resolve(&permit("c")).await.err().expect("refused").to_string();
    assert!(!error.contains("s-1"), "{error}");
}
