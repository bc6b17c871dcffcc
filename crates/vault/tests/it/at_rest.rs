//! What lies on the disk: no plaintext, and every change to it is found.

use model::{Sealed, Tenant};
use vault::{BackendError, VaultError, VersionState};

use crate::world::{World, gives, name, new, refusal, secret};

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
