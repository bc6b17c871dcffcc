//! What can be wrong with a file, each a clear error and nothing lost.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use model::Tenant;
use rusqlite::Connection;
use store::StoreError;

use crate::world::open_file;

async fn refused(path: &Path) -> StoreError {
    open_file(path.to_owned()).await.err().expect("refused")
}

#[tokio::test]
async fn others_may_not_read_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("home/deep/store.db");
    let store = open_file(path.clone()).await.expect("opens");
    store.meta().set(&Tenant::local(), "k", "v").await.expect("set");
    let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().expect("parent")), 0o700);
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
    drop(store);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    open_file(path.clone()).await.expect("opens");
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn damage_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    std::fs::write(&path, "this is no database, it is a letter to my mother, and it is long enough".repeat(20))
        .expect("write");
    assert!(matches!(refused(&path).await, StoreError::Corrupt { .. }));

    let path = folder.path().join("pages.db");
    drop(open_file(path.clone()).await.expect("opens"));
    let mut bytes = std::fs::read(&path).expect("read");
    assert!(bytes.len() > 8_192);
    bytes[4_096..].fill(0xa5);
    std::fs::write(&path, bytes).expect("write");
    let _ = std::fs::remove_file(folder.path().join("pages.db-wal"));
    assert!(matches!(refused(&path).await, StoreError::Corrupt { .. }));
}

#[tokio::test]
async fn other_databases_and_versions_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("photos.db");
    Connection::open(&path).and_then(|conn| conn.execute_batch("CREATE TABLE photos (id)")).expect("sqlite");
    assert!(matches!(refused(&path).await, StoreError::Foreign { .. }));

    let path = folder.path().join("new.db");
    drop(open_file(path.clone()).await.expect("opens"));
    let edit = |sql: &str| Connection::open(&path).and_then(|conn| conn.execute_batch(sql)).expect("sqlite");
    edit("INSERT INTO migrations VALUES ('*', 99, 'x', 0)");
    assert_eq!(refused(&path).await, StoreError::Version { found: 99, known: 4 });
    let told = refused(&path).await.to_string();
    assert!(told.contains("version 99") && told.contains("use a newer program"), "{told}");
    edit("DELETE FROM migrations WHERE number = 99; UPDATE migrations SET checksum = 'x'");
    assert_eq!(refused(&path).await, StoreError::Migration { number: 1 });

    let path = folder.path().join("file");
    std::fs::write(&path, "").expect("write");
    assert!(matches!(refused(&path.join("store.db")).await, StoreError::Unopenable { .. }));
    assert!(matches!(refused(folder.path()).await, StoreError::Unopenable { .. } | StoreError::ReadOnly));
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = open_file(path.clone()).await.expect("opens");
    let other = Connection::open(&path).expect("sqlite");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    assert_eq!(store.meta().set(&Tenant::local(), "k", "v").await, Err(StoreError::Locked));
    // Reading goes on meanwhile.
    assert_eq!(store.meta().get(&Tenant::local(), "k").await, Ok(None));
    other.execute_batch("ROLLBACK").expect("unlocks");
    assert_eq!(store.meta().set(&Tenant::local(), "k", "v").await, Ok(()));
    store.check().expect("sound");
}

#[tokio::test]
async fn database_addresses_are_checked_and_never_shown() {
    for (address, why) in [
        ("postgres://ada:hunter2@db.example.com/v", "is not this machine"),
        ("nonsense hunter2", "it is not of the form"),
    ] {
        let location = store::Location::Postgres(address.to_owned());
        assert!(!format!("{location:?}").contains("hunter2"));
        let error = crate::world::open(location).await.err().expect("refused").to_string();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    let nobody = store::Location::Postgres("host=/nonexistent user=postgres dbname=x".to_owned());
    assert!(matches!(crate::world::open(nobody).await, Err(StoreError::Unreachable { .. })));
}

/// Runs [`child_on_a_full_disk`] with a file system of one megabyte that nobody else sees.
#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=1m,mode=700 none {0} && exec {1} --ignored --exact broken::child_on_a_full_disk --nocapture",
        folder.path().display(),
        std::env::current_exe().expect("exe").display()
    );
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts (util-linux; user namespaces must be allowed)");
    child.stdin.take().expect("stdin").write_all(folder.path().display().to_string().as_bytes()).expect("write");
    let out = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("FULL AND SOUND"), "{said}");
}

#[test]
#[ignore = "a child of the test above"]
fn child_on_a_full_disk() {
    let folder = std::io::read_to_string(std::io::stdin()).expect("stdin");
    if folder.is_empty() {
        return;
    }
    let path = Path::new(&folder).join("store.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open_file(path.clone()).await.expect("opens");
        let (home, text) = (Tenant::local(), "x".repeat(10_000));
        let mut kept = 0;
        let error = loop {
            match store.meta().set(&home, &format!("k{kept}"), &text).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, StoreError::Full, "after {kept}");
        assert!(kept > 10);
        drop(store);
        let store = open_file(path).await.expect("opens");
        store.check().expect("sound");
        for number in 0..kept {
            assert_eq!(store.meta().get(&home, &format!("k{number}")).await.expect("get").as_deref(), Some(&*text));
        }
        println!("FULL AND SOUND");
    });
}
