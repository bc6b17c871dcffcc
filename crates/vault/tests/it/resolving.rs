//! From permit to credential: versions, revocation, stops, what operators see.

use model::{Code, Tenant};
use policy::Upkeep;
use secret::Field;
use store::{StopKind, StopRow};
use vault::{NewCredential, VaultError, VersionState};

use crate::world::{World, gives, name, new, permit, permit_of, refusal, secret, session};

#[tokio::test]
async fn a_permit_opens_its_credential_alone() {
    let world = World::new();
    let vault = world.vault().await;
    let added = vault.add(&new("github-token"), secret("ghp_0123456789")).await.expect("add");
    assert_eq!((added.version, added.warning), (1, None));
    let basic = NewCredential { kind: "basic".into(), ..new("registry") };
    vault.add(&basic, secret("ada:correct horse")).await.expect("add");

    assert!(gives(&vault, "github-token", "ghp_0123456789").await);
    let pair = vault.resolve(&permit("registry")).await.expect("resolve");
    assert_eq!((pair.name(), pair.version()), (&name("registry"), 1));
    assert!(pair.material().field(Field::Username).is_some_and(|user| user.equals(b"ada")));
    assert!(pair.material().field(Field::Value).is_some_and(|word| word.equals(b"correct horse")));

    let bare = vault.resolve(&permit_of(&Tenant::local(), None)).await.err();
    assert_eq!(bare, Some(VaultError::NoCredential));
    assert_eq!(refusal(&vault, "other").await, VaultError::NotFound { name: name("other") });
    assert_eq!(refusal(&vault, "other").await.code(), Code::CredentialUnavailable);
    let stranger = permit_of(&Tenant::new("other").expect("tenant"), Some("github-token"));
    assert!(matches!(vault.resolve(&stranger).await.err(), Some(VaultError::NotFound { .. })));
    // Another process with the same key.
    assert!(gives(&world.vault().await, "github-token", "ghp_0123456789").await);
}

#[tokio::test]
async fn values_are_checked_when_they_are_saved() {
    let vault = World::new().vault().await;
    let long = "x".repeat(model::bounds::SECRET_BYTES_MAX + 1);
    for bad in ["", "a\r\nX-Evil: y", "a\0b", "trailing\n", &long] {
        assert!(matches!(vault.add(&new("x"), secret(bad)).await, Err(VaultError::Kind(_))));
    }
    let unknown = NewCredential { kind: "ssh".into(), ..new("x") };
    assert!(
        vault.add(&unknown, secret("value")).await.expect_err("refused").to_string().contains("not in this version")
    );
    assert!(vault.list(&Tenant::local()).await.expect("list").is_empty());
    let short = vault.add(&new("x"), secret("short")).await.expect("add");
    assert!(short.warning.expect("warning").contains("8 bytes"));
    assert!(matches!(vault.add(&new("x"), secret("again")).await, Err(VaultError::Exists { .. })));
}

#[tokio::test]
async fn versions_follow_one_another_and_are_shown_without_values() {
    let world = World::new();
    let (vault, other, home) = (world.vault().await, world.vault().await, Tenant::local());
    vault.add(&new("t"), secret("first value")).await.expect("add");
    assert!(gives(&other, "t", "first value").await);
    world.clock.pass(10);
    assert_eq!(vault.add_version(&home, &name("t"), secret("second value")).await.expect("version").version, 2);
    assert!(gives(&vault, "t", "second value").await);
    // Another process hears of it through `store::Changes`, or within a minute by itself.
    other.credentials_changed();
    assert!(gives(&other, "t", "second value").await);
    for _ in 0..200 {
        if vault.show(&home, &name("t")).await.expect("show").versions[0].used.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let shown = vault.show(&home, &name("t")).await.expect("show");
    assert_eq!((shown.source.as_str(), shown.revoked, shown.kind.as_str()), ("built-in", false, "token"));
    let states: Vec<_> = shown.versions.iter().map(|it| (it.version, it.state, it.used.is_some())).collect();
    assert_eq!(states, [(2, VersionState::Current, true), (1, VersionState::Grace, true)]);
    assert!(!format!("{shown:?}").contains("value"));
}

#[tokio::test]
async fn what_is_revoked_never_resolves() {
    let world = World::new();
    let (vault, other, home) = (world.vault().await, world.vault().await, Tenant::local());
    vault.add(&new("t"), secret("first value")).await.expect("add");
    assert!(gives(&vault, "t", "first value").await && gives(&other, "t", "first value").await);
    vault.revoke(&home, &name("t"), None, "ada").await.expect("revoke");
    assert_eq!(refusal(&vault, "t").await.code(), Code::CredentialRevoked);
    // The other process has it in memory and hears of the stop.
    other.reload_stops(&home).await.expect("stops");
    assert_eq!(refusal(&other, "t").await.code(), Code::CredentialRevoked);
    assert!(vault.show(&home, &name("t")).await.expect("show").revoked);
    // One that starts later finds it in the store.
    assert_eq!(refusal(&world.vault().await, "t").await.code(), Code::CredentialRevoked);
    let upkeep = Upkeep::of(home.clone(), "test");
    assert!(matches!(vault.check(&upkeep, &name("t")).await, Err(VaultError::Revoked { .. })));
    // A new version is another matter.
    vault.add_version(&home, &name("t"), secret("second value")).await.expect("version");
    assert!(gives(&vault, "t", "second value").await);
    assert!(vault.remove(&home, &name("t")).await.expect("remove"));
    assert!(matches!(refusal(&vault, "t").await, VaultError::NotFound { .. }));
}

#[tokio::test]
async fn stops_reach_agents_sessions_and_everything() {
    let world = World::new();
    let (vault, home) = (world.vault().await, Tenant::local());
    vault.add(&new("t"), secret("first value")).await.expect("add");
    let stop = |kind, name: &str| StopRow {
        kind,
        name: name.into(),
        version: None,
        at: model::Timestamp(0),
        by: "ada".into(),
    };
    for stop in [stop(StopKind::Agent, "bot"), stop(StopKind::Session, &session().to_string()), stop(StopKind::All, "")]
    {
        assert!(gives(&vault, "t", "first value").await);
        vault.revoke_seen(&home, std::slice::from_ref(&stop));
        assert_eq!(refusal(&vault, "t").await.code(), Code::Denied, "{stop:?}");
        vault.revoke_seen(&home, &[]);
    }
    for other in [stop(StopKind::Agent, "another"), stop(StopKind::Credential, "another")] {
        vault.revoke_seen(&home, &[other]);
        assert!(gives(&vault, "t", "first value").await);
    }
    vault.revoke_seen(&Tenant::new("other").expect("tenant"), &[stop(StopKind::All, "")]);
    assert!(gives(&vault, "t", "first value").await);
}

#[tokio::test]
async fn a_chore_sees_the_parts_and_gets_no_credential() {
    let world = World::new();
    let vault = world.vault().await;
    vault.add(&new("t"), secret("first value")).await.expect("add");
    let upkeep = Upkeep::of(Tenant::local(), "credential test");
    let mut seen = None;
    vault
        .with_material(&upkeep, &name("t"), &mut |name, version, material| {
            let right = material.field(Field::Value).is_some_and(|part| part.equals(b"first value"));
            seen = Some((name.clone(), version, right));
        })
        .await
        .expect("material");
    assert_eq!(seen, Some((name("t"), 1, true)));
}

#[tokio::test]
async fn organisations_have_their_own() {
    let world = World::new();
    let vault = world.vault().await;
    let other = Tenant::new("other").expect("tenant");
    vault.add(&new("t"), secret("local value")).await.expect("add");
    vault.add(&NewCredential { tenant: other.clone(), ..new("t") }, secret("other value")).await.expect("add");
    let theirs = vault.resolve(&permit_of(&other, Some("t"))).await.expect("resolve");
    assert!(theirs.material().field(Field::Value).is_some_and(|part| part.equals(b"other value")));
    assert!(gives(&vault, "t", "local value").await);
}
