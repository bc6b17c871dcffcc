//! Opening the vault: each keyring, the wrong one, a missing one, another one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use vault::{KeyringChoice, KeyringError, VaultError};

use crate::world::{World, gives, new, secret};

async fn filled(world: &World, keyring: KeyringChoice) {
    let vault = world.open(keyring).await.expect("opens");
    vault.add(&new("t"), secret("stored value")).await.expect("add");
}

async fn refused(world: &World, keyring: KeyringChoice) -> KeyringError {
    match world.open(keyring).await.err().expect("refused") {
        VaultError::Keyring(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_key_file_is_guarded() {
    let world = World::new();
    filled(&world, world.key_file()).await;
    let path = world.path().join("vault.key");
    assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
        assert_eq!(refused(&world, world.key_file()).await, KeyringError::FileExposed { path: path.clone(), mode });
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    let right = std::fs::read(&path).expect("read");
    for wrong in [&b""[..], b"hello", &right[..40], &[&right[..], b"00"].concat()] {
        std::fs::write(&path, wrong).expect("write");
        assert_eq!(refused(&world, world.key_file()).await, KeyringError::FileMalformed { path: path.clone() });
    }
    std::fs::remove_file(&path).expect("remove");
    assert_eq!(refused(&world, world.key_file()).await, KeyringError::FileMissing { path: path.clone() });
    // No new key was made over it; another vault's key says that it is the wrong one.
    assert!(!path.exists());
    let other = World::seeded(99);
    filled(&other, other.key_file()).await;
    std::fs::copy(other.path().join("vault.key"), &path).expect("copy");
    assert_eq!(refused(&world, world.key_file()).await, KeyringError::Wrong { slot: "key-file".into() });
    std::fs::write(&path, right).expect("write");
    assert!(gives(&world.vault().await, "t", "stored value").await);
}

#[tokio::test]
async fn a_passphrase_opens_and_another_does_not() {
    let world = World::new();
    let with = |text: &str| KeyringChoice::Passphrase(secret(text));
    assert_eq!(refused(&world, with("short")).await, KeyringError::PassphraseShort);
    filled(&world, with("correct horse")).await;
    assert!(gives(&world.open(with("correct horse")).await.expect("opens"), "t", "stored value").await);
    assert_eq!(refused(&world, with("incorrect horse")).await, KeyringError::Wrong { slot: "passphrase".into() });
    let slots = "passphrase".to_owned();
    assert_eq!(refused(&world, world.key_file()).await, KeyringError::OtherSlots { slots });
    assert!(!world.path().join("vault.key").exists());
}

#[tokio::test]
async fn slots_are_added_and_root_keys_replaced() {
    let world = World::new();
    let with = |text: &str| KeyringChoice::Passphrase(secret(text));
    filled(&world, world.key_file()).await;
    let vault = world.vault().await;
    let stale = world.vault().await;
    vault.add_keyring(with("first phrase")).await.expect("slot");
    assert!(gives(&world.open(with("first phrase")).await.expect("opens"), "t", "stored value").await);
    vault.add_keyring(with("second phrase")).await.expect("slot");
    assert_eq!(refused(&world, with("first phrase")).await, KeyringError::Wrong { slot: "passphrase".into() });
    vault.rekey(with("third phrase")).await.expect("rekey");
    assert!(matches!(refused(&world, world.key_file()).await, KeyringError::OtherSlots { .. }));
    assert!(gives(&vault, "t", "stored value").await);
    let fresh = world.open(with("third phrase")).await.expect("opens");
    assert!(gives(&fresh, "t", "stored value").await);
    // A process from before cannot seal what nobody could open.
    let elsewhere = vault::NewCredential { tenant: model::Tenant::new("other").expect("tenant"), ..new("u") };
    assert!(stale.add(&elsewhere, secret("late value")).await.is_err());
    fresh.add(&elsewhere, secret("late value")).await.expect("add");
}

#[tokio::test]
async fn two_that_make_the_vault_at_once_share_it() {
    for seed in 0..10 {
        let world = World::seeded(seed);
        let (one, two) = tokio::join!(world.vault(), world.vault());
        one.add(&new("t"), secret("stored value")).await.expect("add");
        assert!(gives(&two, "t", "stored value").await);
    }
}

/// What `secret-tool` does, with a folder as its service.
const SECRET_TOOL: &str = r#"#!/bin/sh
test -e "$0.locked" && exit 1
case "$1" in
  store) shift 2; cat > "$0.$4" ;;
  lookup) shift; cat "$0.$4" ;;
esac
"#;

fn with_keychain(world: &mut World) {
    let program = world.path().join("secret-tool");
    std::fs::write(&program, SECRET_TOOL).expect("write");
    std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("chmod");
    let path = format!("{}:/usr/bin:/bin", world.path().display());
    world.vars.insert("PATH".into(), path.into());
    world.vars.insert("DBUS_SESSION_BUS_ADDRESS".into(), "unix:path=/run/bus".into());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_keychain_is_used_where_there_is_one() {
    let mut world = World::new();
    let auto = |world: &World| KeyringChoice::Auto { key_file: world.path().join("vault.key") };
    with_keychain(&mut world);
    filled(&world, auto(&world)).await;
    assert!(!world.path().join("vault.key").exists());
    assert!(gives(&world.open(auto(&world)).await.expect("opens"), "t", "stored value").await);
    assert!(gives(&world.open(KeyringChoice::Keychain).await.expect("opens"), "t", "stored value").await);
    std::fs::write(world.path().join("secret-tool.locked"), "").expect("write");
    assert!(matches!(refused(&world, auto(&world)).await, KeyringError::Keychain { .. }));

    // Without a session bus, or with a service that does not answer, the key file serves.
    let world = World::new();
    filled(&world, auto(&world)).await;
    assert!(world.path().join("vault.key").exists());
    assert!(matches!(refused(&world, KeyringChoice::Keychain).await, KeyringError::OtherSlots { .. }));
    let mut world = World::new();
    with_keychain(&mut world);
    std::fs::write(world.path().join("secret-tool.locked"), "").expect("write");
    filled(&world, auto(&world)).await;
    assert!(world.path().join("vault.key").exists());
}
