//! What lies on the disk: no plaintext, and every change to it is found.

use model::{Sealed, Tenant};
use vault::{BackendError, VaultError, VersionState};

use crate::world::{World, gives, name, new, permit, refusal, secret};

const VALUE: &str = "ghp_ThisStandsNowhereInTheClear00";

#[tokio::test]
async fn no_file_holds_a_value() {
    let world = World::new();
    let vault = world.vault().await;
    vault.add(&new("t"), secret(VALUE)).await.expect("add");
    vault.add_version(&Tenant::local(), &name("t"), secret(&VALUE.to_lowercase())).await.expect("version");
    let mut files = 0;
    for entry in std::fs::read_dir(world.path()).expect("folder") {
        let bytes = std::fs::read(entry.expect("entry").path()).expect("read");
        files += 1;
        for needle in [VALUE.to_owned(), VALUE.to_lowercase(), VALUE.chars().rev().collect()] {
            for part in needle.as_bytes().windows(12) {
                assert!(!bytes.windows(part.len()).any(|window| window == part));
            }
        }
    }
    assert!(files >= 3, "store, its log and the key file");
}

#[tokio::test]
async fn damage_in_the_file_is_found() {
    let world = World::new();
    let vault = world.vault().await;
    vault.add(&new("t"), secret(VALUE)).await.expect("add");
    let sealed = world.store().await.credentials().versions(&Tenant::local(), &name("t")).await.expect("versions");
    let sealed = sealed[0].sealed.clone().expect("sealed").0;
    drop(vault);
    let path = world.path().join("store.db");
    let whole = std::fs::read(&path).expect("read");
    let at = whole.windows(sealed.len()).position(|window| window == sealed).expect("the sealed value is in the file");
    for offset in (0..sealed.len()).step_by(7).chain([sealed.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at + offset] ^= 0x10;
        std::fs::write(&path, damaged).expect("write");
        let error = refusal(&world.vault().await, "t").await;
        let told = matches!(&error, VaultError::Unavailable { error: BackendError::Malformed { .. }, .. });
        assert!(told, "at {offset}: {error}");
    }
    std::fs::write(&path, whole).expect("write");
    assert!(gives(&world.vault().await, "t", VALUE).await);
}

#[tokio::test]
async fn a_value_moved_to_another_place_does_not_open() {
    let world = World::new();
    let (vault, home) = (world.vault().await, Tenant::local());
    vault.add(&new("strong"), secret(VALUE)).await.expect("add");
    vault.add(&new("weak"), secret("a weak value")).await.expect("add");
    let store = world.store().await;
    let mut row = store.credentials().versions(&home, &name("strong")).await.expect("versions")[0].clone();
    row.version = 2;
    store.credentials().add_version(&home, &name("weak"), &row, VersionState::Grace).await.expect("moved");
    vault.credentials_changed();
    assert!(refusal(&vault, "weak").await.to_string().contains("stands in a place where it was not written"));
    row.version = 3;
    row.sealed = Some(Sealed(vec![2, 1, 1]));
    store.credentials().add_version(&home, &name("weak"), &row, VersionState::Grace).await.expect("moved");
    vault.credentials_changed();
    assert!(refusal(&vault, "weak").await.to_string().contains("newer program (format 2)"));
}

/// Row J140: whatever bit of the file is turned, what opens is what was written, or nothing opens.
#[tokio::test]
async fn no_turned_bit_makes_another_value() {
    let world = World::new();
    let values = [("one", VALUE), ("two", "a value of another"), ("three", "and of a third")];
    let vault = world.vault().await;
    for (credential, value) in values {
        vault.add(&new(credential), secret(value)).await.expect("add");
    }
    vault.add_version(&Tenant::local(), &name("two"), secret("a newer value")).await.expect("version");
    drop(vault);
    let path = world.path().join("store.db");
    let whole = std::fs::read(&path).expect("read");
    let mut random = 7u64;
    let mut below = |bound: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let (mut told, mut same) = (0, 0);
    for _ in 0..400 {
        let (at, bit) = (below(whole.len()), below(8));
        let mut bad = whole.clone();
        bad[at] ^= 1 << bit;
        std::fs::write(&path, &bad).expect("write");
        for left in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(world.path().join(left));
        }
        let Ok(vault) = world.try_vault().await else {
            told += 1;
            continue;
        };
        for (credential, value) in values {
            match vault.resolve(&permit(credential)).await {
                Ok(it) => {
                    let is = |value: &str| {
                        it.material().field(secret::Field::Value).is_some_and(|part| part.equals(value.as_bytes()))
                    };
                    // Which of two versions is current is no secret's matter: a version that was there may come back.
                    assert!(
                        is(value) || credential == "two" && is("a newer value"),
                        "{credential}, octet {at}, bit {bit}"
                    );
                    same += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().contains(value), "{error}");
                    told += 1;
                }
            }
        }
    }
    println!("{told} told, {same} unharmed");
    assert!(told > 0 && same > 0, "{told} told, {same} unharmed");
}
