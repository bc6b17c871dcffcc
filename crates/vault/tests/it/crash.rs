//! Killed and full: whatever happens in the middle, the vault opens and holds whole values.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Clock, Random, Tenant, Timestamp};
use policy::Upkeep;
use secret::Field;
use store::{Location, Store, StoreError};
use vault::{Ambient, KeyringChoice, Vault, VaultError, VersionState};

use crate::world::{World, name, new, secret};

/// A child has no hand to set its clock, and must not repeat another child's numbers.
struct Child1(AtomicU64);

impl Clock for Child1 {
    fn now(&self) -> Timestamp {
        Timestamp(1)
    }
}

impl Random for Child1 {
    fn fill(&self, out: &mut [u8]) {
        let mut noise = std::fs::File::open("/dev/urandom").expect("urandom");
        std::io::Read::read_exact(&mut noise, out).expect("urandom");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn open(folder: &Path) -> Result<Vault, VaultError> {
    let own = Arc::new(Child1(0.into()));
    let store = Store::open(Location::Sqlite(folder.join("store.db")), own.clone()).await?;
    let ambient = Ambient::empty(folder.to_owned());
    Vault::open(store, KeyringChoice::KeyFile(folder.join("vault.key")), ambient, own.clone(), own).await
}

fn spawn(mut command: Command, folder: &Path, first: usize) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("child");
    let order = format!("{}\n{first}", folder.display());
    child.stdin.take().expect("stdin").write_all(order.as_bytes()).expect("write");
    child
}

fn this_test(child: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("exe"));
    command.args(["--ignored", "--exact", child, "--nocapture"]);
    command
}

/// What a child does, in the folder and from the number that its parent gave; nothing where the test runs by itself.
fn as_child(work: impl AsyncFnOnce(&Path, usize)) {
    let order = std::io::read_to_string(std::io::stdin()).expect("stdin");
    let [folder, first] = order.lines().collect::<Vec<_>>()[..] else { return };
    let first: usize = first.parse().expect("number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(work(Path::new(folder), first));
}

fn value(number: usize) -> String {
    format!("value {number} {}", "x".repeat(number % 3_000))
}

/// Adds credentials until it is killed or the disk is full, and says after each that it is kept.
#[test]
#[ignore = "a child of the tests below"]
fn child_adds() {
    as_child(async |folder, first| {
        let vault = open(folder).await.expect("opens");
        for number in first.. {
            match vault.add(&new(&format!("c{number}")), secret(&value(number))).await {
                Ok(_) => println!("\nkept {number}"),
                Err(VaultError::Store(StoreError::Full)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        drop(vault);
        holds(folder, first).await;
        println!("\nFULL AND SOUND");
    });
}

/// Opens the vault and every value in it; how many there are.
async fn holds(folder: &Path, acknowledged: usize) -> usize {
    let vault = open(folder).await.expect("opens");
    let listed = vault.list(&Tenant::local()).await.expect("list");
    assert!(listed.len() >= acknowledged, "{} < {acknowledged}", listed.len());
    let upkeep = Upkeep::of(Tenant::local(), "test");
    for number in 0..listed.len() {
        let mut right = false;
        vault
            .with_material(&upkeep, &name(&format!("c{number}")), &mut |_, _, material| {
                right = material.field(Field::Value).is_some_and(|part| part.equals(value(number).as_bytes()));
            })
            .await
            .expect("opens");
        assert!(right, "{number}");
    }
    listed.len()
}

#[tokio::test]
async fn killed_while_adding_nothing_acknowledged_is_lost() {
    let world = World::new();
    let mut there = 0;
    for round in 0..15usize {
        let mut child = spawn(this_test("crash::child_adds"), world.path(), there);
        let mut out = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        // The first rounds die while the vault itself is being made.
        let wanted = round.saturating_sub(3) * 3;
        let seen = out.by_ref().filter(|line| line.starts_with("kept")).take(wanted).count();
        if round < 3 {
            std::thread::sleep(std::time::Duration::from_millis(5 * round as u64));
        }
        child.kill().expect("kill -9");
        let rest = out.filter(|line| line.starts_with("kept")).count();
        child.wait().expect("child");
        let now = holds(world.path(), there + seen + rest).await;
        assert!(now <= there + seen + rest + 1);
        there = now;
    }
    assert!(there > 50);
}

/// Gives one credential version after version until it is killed, and says after each that it is kept.
#[test]
#[ignore = "a child of the test below"]
fn child_renews() {
    as_child(async |folder, first| {
        let vault = open(folder).await.expect("opens");
        for number in first.. {
            let done = match number {
                0 => vault.add(&new("key"), secret(&value(0))).await,
                _ => vault.add_version(&Tenant::local(), &name("key"), secret(&value(number))).await,
            };
            assert_eq!(done.expect("kept").version, number as u64 + 1);
            println!("\nkept {number}");
        }
    });
}

/// Row J133, as far as it is the store's part: between the old version and the new one there is no moment without a
/// current one, and none that was acknowledged is lost or half there.
#[tokio::test]
async fn killed_between_two_versions_one_of_them_is_current() {
    let world = World::new();
    let mut kept = 0;
    for round in 0..20usize {
        let mut child = spawn(this_test("crash::child_renews"), world.path(), kept);
        let mut out = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        let seen = out.by_ref().filter(|line| line.starts_with("kept")).take(1 + round * 2).count();
        std::thread::sleep(std::time::Duration::from_micros(137 * round as u64));
        child.kill().expect("kill -9");
        let seen = seen + out.filter(|line| line.starts_with("kept")).count();
        child.wait().expect("child");
        let acknowledged = kept + seen;
        let vault = open(world.path()).await.expect("opens");
        let shown = vault.show(&Tenant::local(), &name("key")).await.expect("show");
        // One more may be there than was told.
        kept = shown.versions.len();
        assert!(kept == acknowledged || kept == acknowledged + 1, "{kept} of {acknowledged}");
        for (version, number) in shown.versions.iter().zip((1..=kept as u64).rev()) {
            let state = if number == kept as u64 { VersionState::Current } else { VersionState::Grace };
            assert_eq!((version.version, version.state), (number, state));
        }
        let mut right = false;
        let upkeep = Upkeep::of(Tenant::local(), "test");
        let mut look = |_: &_, version, material: &secret::Material| {
            let expected = value(kept - 1);
            right = version == kept as u64
                && material.field(Field::Value).is_some_and(|part| part.equals(expected.as_bytes()));
        };
        vault.with_material(&upkeep, &name("key"), &mut look).await.expect("opens");
        assert!(right, "the current version is {kept} and whole");
    }
    assert!(kept > 200, "{kept}");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let world = World::new();
    let script = format!(
        "mount -t tmpfs -o size=1m,mode=700 none {0} && exec {1} --ignored --exact crash::child_adds --nocapture",
        world.path().display(),
        std::env::current_exe().expect("exe").display()
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let out = spawn(command, world.path(), 0).wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("FULL AND SOUND"), "{said}");
}
