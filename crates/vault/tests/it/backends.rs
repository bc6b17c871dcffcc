//! Every back end through the same questions, and what is special about each.

use std::os::unix::fs::PermissionsExt;

use model::{Code, Tenant};
use policy::Upkeep;
use vault::{BackendError, VaultError};

use crate::world::{World, declaration, gives, name, new, permit, refusal, secret};

const VALUE: &str = "s3cret value with blanks: %41\u{e9}";

/// A home in which each back end has the same value.
fn home() -> World {
    let mut world = World::new();
    world.vars.insert("TOKEN".into(), VALUE.into());
    world.vars.insert("EMPTY".into(), "".into());
    std::fs::write(world.path().join("token"), format!("{VALUE}\n")).expect("write");
    std::fs::write(world.path().join("lines"), "a\nb").expect("write");
    let object = serde_json::json!({ "value": VALUE, "more": [1] }).to_string();
    script(&world, "object", &format!("printf '%s' '{object}'"));
    script(&world, "text", &format!("echo '{VALUE}'"));
    world
}

fn script(world: &World, name: &str, body: &str) {
    let path = world.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("chmod");
}

#[tokio::test]
async fn every_back_end_conforms() {
    let world = home();
    let vault = world.vault().await;
    vault.add(&new("built-in"), secret(VALUE)).await.expect("add");
    let (tenant, upkeep) = (Tenant::local(), Upkeep::of(Tenant::local(), "test"));
    for (credential, reference) in [
        ("built-in", "built-in"),
        ("env", "env:TOKEN"),
        ("file", "file:token"),
        ("object", "exec:./object"),
        ("text", "exec:sh text"),
        ("list", r#"exec:["./text"]"#),
    ] {
        vault.declare(declaration(credential, reference)).await.expect(reference);
        assert!(gives(&vault, credential, VALUE).await, "{reference}");
        vault.check(&upkeep, &name(credential)).await.expect(reference);
        let shown = vault.show(&tenant, &name(credential)).await.expect(reference);
        assert_eq!((shown.source.as_str(), shown.versions.len()), (reference, 1));
        // Another process that has not read this configuration knows where it lies.
        assert!(gives(&world.vault().await, credential, VALUE).await, "{reference}");
        let renewed = vault.add_version(&tenant, &name(credential), secret("another value")).await;
        assert_eq!(renewed.is_ok(), reference == "built-in", "{reference}");
        vault.revoke(&tenant, &name(credential), None, "ada").await.expect("revoke");
        assert_eq!(refusal(&vault, credential).await.code(), Code::CredentialRevoked, "{reference}");
    }
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_told() {
    let world = home();
    let vault = world.vault().await;
    script(&world, "fails", "echo token; exit 7");
    script(&world, "floods", "yes");
    script(&world, "half", "printf '{\"value\": \"s3cr'");
    std::fs::create_dir(world.path().join("folder")).expect("folder");
    for (reference, said) in [
        ("env:UNSET", "the variable `UNSET` is not set"),
        ("env:EMPTY", "the variable `EMPTY` is not set or empty"),
        ("file:absent", "is not there"),
        ("file:folder", "is not a regular file"),
        ("file:lines", "line break"),
        ("exec:./absent", "could not be started"),
        ("exec:./fails", "ended with status 7"),
        ("exec:./floods", "printed more than"),
        ("exec:./half", "without a text `value`"),
        ("exec:true", "the value is empty"),
    ] {
        vault.declare(declaration("x", reference)).await.expect(reference);
        let error = refusal(&vault, "x").await;
        assert!(error.to_string().contains(said), "{reference}: {error}");
        assert_eq!(error.code(), Code::CredentialUnavailable);
        assert!(!error.to_string().contains("s3cr"), "{error}");
    }
    for (reference, says) in [
        ("aws-sm:a", "`aws-sm:` is not described"),
        ("gcp-sm:a/b", "`gcp-sm:` is not described"),
        ("azure-kv:a", "`azure-kv:` is not described"),
        ("hashicorp:a/b", "`hashicorp:` is not described"),
        ("hashicorp@eu:a/b", "`hashicorp@eu:` is not described"),
        ("k8s:a/b#c", "`k8s:` is not described"),
        ("op@team://a/b/c", "`op@team:` is not described"),
    ] {
        let error = vault.declare(declaration("x", reference)).await.expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_changed_file_is_followed_within_a_second() {
    let world = home();
    let vault = world.vault().await;
    vault.declare(declaration("f", "file:token")).await.expect("declare");
    assert!(gives(&vault, "f", VALUE).await);
    std::fs::write(world.path().join("token"), "renewed value\r\n").expect("write");
    assert!(gives(&vault, "f", VALUE).await);
    world.clock.pass(1);
    assert!(gives(&vault, "f", "renewed value").await);
    // What is read again and is the same stays the same: connections are kept by it.
    let mark = async || vault.resolve(&permit("f")).await.expect("resolved").material().mark();
    let before = mark().await;
    world.clock.pass(1);
    assert_eq!(mark().await, before);
    let slow = vault::Declaration { fresh_seconds: Some(60), ..declaration("f", "file:token") };
    vault.declare(slow).await.expect("declare");
    assert!(gives(&vault, "f", "renewed value").await);
    std::fs::write(world.path().join("token"), "third value").expect("write");
    world.clock.pass(59);
    assert!(gives(&vault, "f", "renewed value").await);
    world.clock.pass(1);
    assert!(gives(&vault, "f", "third value").await);
}

#[tokio::test]
async fn keychains_and_programs_of_password_managers() {
    let mut world = home();
    let path = world.path().as_os_str().to_owned();
    world.vars.insert("PATH".into(), path);
    // Stand-ins that answer as secret-tool(1) and `op read` do.
    script(
        &world,
        "secret-tool",
        r#"[ "$*" = "lookup service git hub account ada" ] && printf 'keychain value' || exit 1"#,
    );
    script(
        &world,
        "op",
        r#"[ "$*" = "read --no-newline op://team vault/github/token" ] && printf 'op value' || { echo "secret s3cr" >&2; exit 1; }"#,
    );
    let vault = world.vault().await;
    for (reference, value) in [("keyring:git hub/ada", "keychain value"), ("op://team vault/github/token", "op value")]
    {
        vault.declare(declaration("x", reference)).await.expect(reference);
        assert!(gives(&vault, "x", value).await, "{reference}");
    }
    for (reference, says) in [
        ("keyring:git hub/grace", "no item of service `git hub` and account `grace`"),
        ("op://team vault/github/other", "ended with status 1"),
    ] {
        vault.declare(declaration("x", reference)).await.expect(reference);
        let error = refusal(&vault, "x").await.to_string();
        assert!(error.contains(says) && !error.contains("s3cr"), "{error}");
    }
    let own = home().vault().await;
    for (reference, says) in [("keyring:a/b", "`secret-tool` is not installed"), ("op://a/b/c", "is not installed")] {
        own.declare(declaration("x", reference)).await.expect(reference);
        assert!(refusal(&own, "x").await.to_string().contains(says), "{reference}");
    }
}

#[tokio::test]
async fn the_last_good_value_is_held_while_its_back_end_is_away() {
    let world = home();
    let vault = world.vault().await;
    script(&world, "sometimes", "echo x >> calls; test -e here && cat here");
    std::fs::write(world.path().join("here"), "good value").expect("write");
    vault.declare(declaration("s", "exec:./sometimes")).await.expect("declare");
    assert!(gives(&vault, "s", "good value").await);
    std::fs::remove_file(world.path().join("here")).expect("remove");
    world.clock.pass(100);
    assert!(gives(&vault, "s", "good value").await);
    // Left alone for two seconds, then asked again.
    assert!(gives(&vault, "s", "good value").await);
    let calls = || std::fs::read_to_string(world.path().join("calls")).expect("calls").lines().count();
    assert_eq!(calls(), 2);
    world.clock.pass(199);
    assert!(gives(&vault, "s", "good value").await);
    world.clock.pass(2);
    let error = refusal(&vault, "s").await;
    assert!(matches!(error, VaultError::Unavailable { error: BackendError::Away { .. }, .. }), "{error}");
    std::fs::write(world.path().join("here"), "newer value").expect("write");
    world.clock.pass(2);
    assert!(gives(&vault, "s", "newer value").await);
}

#[tokio::test]
async fn a_value_with_an_end_is_fetched_again_and_never_used_past_it() {
    let world = home();
    let vault = world.vault().await;
    // The clock stands at 1,000 seconds.
    script(
        &world,
        "lease",
        r#"echo x >> calls; printf '{"value":"leased value","expires_at":"1970-01-01T00:17:00Z"}'"#,
    );
    vault.declare(declaration("l", "exec:./lease")).await.expect("declare");
    let leased = vault.resolve(&permit("l")).await.expect("resolve");
    assert_eq!(leased.lease().expires, Some(model::Timestamp::from_secs(1_020)));
    world.clock.pass(20);
    assert_eq!(refusal(&vault, "l").await.code(), Code::CredentialExpired);
    assert_eq!(std::fs::read_to_string(world.path().join("calls")).expect("calls").lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_ask_and_one_fetches() {
    let world = home();
    let vault = world.vault().await;
    script(&world, "slow", "echo x >> calls; sleep 0.2; echo slow value");
    vault.declare(declaration("s", "exec:./slow")).await.expect("declare");
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move { gives(&vault, "s", "slow value").await })
        })
        .collect();
    // One that gives up while it fetches does not take the others with it.
    tasks[0].abort();
    for task in tasks.into_iter().skip(1) {
        assert!(task.await.expect("task"));
    }
    let calls = std::fs::read_to_string(world.path().join("calls")).expect("calls").lines().count();
    assert!((1..=2).contains(&calls), "{calls}");
}

/// Notes that what is in use now was refused at its service.
async fn fails(vault: &vault::Vault, credential: &str) -> bool {
    let permit = permit(credential);
    let mark = vault.resolve(&permit).await.expect("resolve").material().mark();
    vault.renew(&permit, (&name(credential), mark)).expect("renew")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_failed_is_asked_for_anew_once_and_seldom() {
    let world = home();
    let vault = world.vault().await;
    let calls = || std::fs::read_to_string(world.path().join("calls")).map_or(0, |text| text.lines().count());
    script(&world, "give", "echo x >> calls; cat value");
    std::fs::write(world.path().join("value"), "first").expect("write");
    vault.declare(declaration("s", "exec:./give")).await.expect("declare");
    let stale = vault.resolve(&permit("s")).await.expect("resolve").material().mark();
    std::fs::write(world.path().join("value"), "second").expect("write");
    assert!(gives(&vault, "s", "first").await, "nobody said that it fails");
    let tasks = (0..100).map(|_| {
        let vault = vault.clone();
        tokio::spawn(async move {
            assert!(vault.renew(&permit("s"), (&name("s"), stale)).expect("renew"), "there is another");
            gives(&vault, "s", "second").await
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.expect("task"));
    }
    assert_eq!(calls(), 2);
    // The second one fails as well, and a moment ago it was asked for: nobody asks again.
    assert!(!fails(&vault, "s").await);
    assert_eq!(calls(), 2);
    world.clock.pass(i64::try_from(model::bounds::RENEWAL_REST_SECONDS).expect("seconds"));
    assert!(fails(&vault, "s").await);
    assert!(gives(&vault, "s", "second").await);
    assert_eq!(calls(), 3);
    // While its source is away the last good value stays.
    world.clock.pass(10);
    script(&world, "give", "echo x >> calls; exit 1");
    assert!(fails(&vault, "s").await);
    assert!(gives(&vault, "s", "second").await && gives(&vault, "s", "second").await);
    assert_eq!(calls(), 4);
}

#[tokio::test]
async fn whose_source_knows_no_other_is_not_asked() {
    let mut world = home();
    world.vars.insert("TOKEN".to_owned(), "of the environment".into());
    let vault = world.vault().await;
    vault.declare(declaration("e", "env:TOKEN")).await.expect("declare");
    assert!(!fails(&vault, "e").await);
    // Another process may have stored another.
    vault.add(&new("b"), secret("first value")).await.expect("add");
    assert!(gives(&vault, "b", "first value").await);
    world.vault().await.add_version(&model::Tenant::local(), &name("b"), secret("second value")).await.expect("add");
    assert!(gives(&vault, "b", "first value").await, "it has not heard of it yet");
    assert!(fails(&vault, "b").await);
    assert!(gives(&vault, "b", "second value").await);
    // A permit renews its own credential.
    assert_eq!(vault.renew(&permit("b"), (&name("e"), 0)), Err(VaultError::NoCredential));
}
