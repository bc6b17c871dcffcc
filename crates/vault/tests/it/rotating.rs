//! Rotation: whatever happens in the middle, there is a current version that works, and what was begun ends.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

use model::Tenant;
use parking_lot::Mutex;
use policy::Upkeep;
use policy::document::With;
use store::RotationStep;
use tokio::sync::Notify;
use vault::rotate::{Check, Given, Looked, Means, RotateError, Rotated, Rotator, Turn, rotator};
use vault::{Vault, VaultError, VersionState};

use crate::world::{World, gives, name, new, secret};

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a rotation is interrupted: before or after a step has its effect at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Point {
    Make(bool),
    Verify(bool),
    Retire(bool),
}

const POINTS: [Point; 6] = [
    Point::Make(false),
    Point::Make(true),
    Point::Verify(false),
    Point::Verify(true),
    Point::Retire(false),
    Point::Retire(true),
];
/// Interruptions at each point.
const TIMES: usize = 200;

/// A provider where any number of values is good at once.
#[derive(Default)]
struct Provider {
    good: Mutex<Vec<String>>,
    by_ticket: Mutex<HashMap<String, String>>,
    made: AtomicU32,
    halt: Mutex<Option<Point>>,
    halted: Notify,
    /// What it says of new values.
    answer: Mutex<Option<RotateError>>,
}

impl Provider {
    fn with(value: &str) -> Self {
        Self { good: Mutex::new(vec![value.to_owned()]), ..Self::default() }
    }

    /// Never comes back where the test wants it so.
    async fn at(&self, point: Point) {
        if *self.halt.lock() == Some(point) {
            self.halted.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn works(&self, vault: &Vault, credential: &str) -> bool {
        let good = self.good.lock().clone();
        for value in good {
            if gives(vault, credential, &value).await {
                return true;
            }
        }
        false
    }
}

impl Rotator for Provider {
    fn name(&self) -> &'static str {
        "provider"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<secret::Secret, RotateError>> {
        Box::pin(async move {
            self.at(Point::Make(false)).await;
            let fresh = || format!("value {}", self.made.fetch_add(1, Ordering::Relaxed));
            let value = self.by_ticket.lock().entry(turn.ticket().to_owned()).or_insert_with(fresh).clone();
            if !self.good.lock().contains(&value) {
                self.good.lock().push(value.clone());
            }
            self.at(Point::Make(true)).await;
            Ok(secret(&value))
        })
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            self.at(Point::Verify(false)).await;
            let (_, new) = turn.made().expect("it is made");
            assert!(self.good.lock().iter().any(|value| new.equals(value.as_bytes())), "what is verified was made");
            self.at(Point::Verify(true)).await;
            self.answer.lock().clone().map_or(Ok(Looked::Works), Err)
        })
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(async move {
            self.at(Point::Retire(false)).await;
            self.good.lock().retain(|value| !turn.old().1.equals(value.as_bytes()));
            self.at(Point::Retire(true)).await;
            Ok(())
        })
    }
}

/// A service without a harmless request.
pub struct Blind;

impl Check for Blind {
    fn check<'a>(&'a self, _: &'a model::CredentialName) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(std::future::ready(Ok(Looked::Unable)))
    }
}

/// A service that takes one value alone, seen through the name under which the new version is lent.
struct Takes<'a>(&'a Vault, &'a str);

impl Check for Takes<'_> {
    fn check<'a>(&'a self, staged: &'a model::CredentialName) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            let works = gives(self.0, staged.as_str(), self.1).await;
            if works { Ok(Looked::Works) } else { Err(RotateError::Refused("401".to_owned())) }
        })
    }
}

pub fn upkeep() -> Upkeep {
    Upkeep::of(Tenant::local(), "rotation")
}

/// Who rotates here.
pub const NODE: &str = "test";

pub fn means<'a>(by: &'a dyn Rotator, check: &'a dyn Check) -> Means<'a> {
    Means { by, check, grace_seconds: 60, node: NODE }
}

async fn states(vault: &Vault) -> Vec<(u64, VersionState)> {
    let summary = vault.show(&Tenant::local(), &name("t")).await.expect("shown");
    summary.versions.iter().rev().map(|version| (version.version, version.state)).collect()
}

/// Rotates and retires in `vault`, is interrupted at `point` and goes on in another one, which is given back.
async fn interrupted(world: &World, provider: &Provider, (point, vault): (Point, Vault)) -> Vault {
    let upkeep = upkeep();
    let work = async |vault: &Vault| {
        let rotated = vault.rotate(&upkeep, &name("t"), "schedule", means(provider, &Blind)).await.expect("rotates");
        let Rotated::Switched(row) = rotated else { panic!("{rotated:?}") };
        world.clock.pass(61);
        vault.retire(&upkeep, &row, (provider, NODE)).await.expect("retired");
    };
    *provider.halt.lock() = Some(point);
    tokio::select! {
        () = work(&vault) => panic!("{point:?}: it is interrupted first"),
        () = provider.halted.notified() => {}
    }
    *provider.halt.lock() = None;
    drop(vault);
    // As any other process finds it.
    let vault = world.vault().await;
    assert!(provider.works(&vault, "t").await, "{point:?}: no version works");
    work(&vault).await;
    assert!(provider.works(&vault, "t").await, "{point:?}: no version works at the end");
    vault
}

#[tokio::test]
async fn interrupted_anywhere_it_goes_on() {
    for point in POINTS {
        let world = World::new();
        let (mut vault, provider) = (world.vault().await, Provider::with("first"));
        vault.add(&new("t"), secret("first")).await.expect("added");
        for round in 0..TIMES {
            vault = interrupted(&world, &provider, (point, vault)).await;
            let good = provider.good.lock().clone();
            assert_eq!(good.len(), 1, "{round} {point:?}: something is left over at the provider");
        }
        let states = states(&vault).await;
        assert_eq!(states.len(), 1 + TIMES, "{point:?}: a value was made twice or lost");
        assert_eq!(states.last().map(|(_, state)| *state), Some(VersionState::Current));
        assert!(states.iter().rev().skip(1).all(|(_, state)| *state == VersionState::Revoked));
        assert!(vault.rotations(&Tenant::local()).await.expect("listed").is_empty());
    }
}

#[tokio::test]
async fn what_does_not_work_is_taken_back() {
    let world = World::new();
    let (vault, provider, token) = (world.vault().await, Provider::with("first"), name("t"));
    vault.add(&new("t"), secret("first")).await.expect("added");
    *provider.answer.lock() = Some(RotateError::Refused("it says no".to_owned()));
    let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&provider, &Blind)).await;
    assert_eq!(rotated, Ok(Rotated::GaveUp { why: "it says no".to_owned() }));
    assert_eq!(states(&vault).await, [(1, VersionState::Current), (2, VersionState::Revoked)]);
    assert!(gives(&vault, "t", "first").await);
    assert_eq!(*provider.good.lock(), ["first"], "the new value is of no use to anybody");
    // Somebody who is away is no answer: the rotation stays where it is, and goes on.
    *provider.answer.lock() = Some(RotateError::Away("it is away".to_owned()));
    let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&provider, &Blind)).await;
    assert!(matches!(&rotated, Err(VaultError::Undone { error: RotateError::Away(why), .. }) if why == "it is away"));
    let row = vault.rotations(&Tenant::local()).await.expect("listed").remove(0);
    assert_eq!((row.step, row.old, row.new), (RotationStep::Made, 1, 3));
    assert!(gives(&vault, "t", "first").await);
    *provider.answer.lock() = None;
    let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&provider, &Blind)).await.expect("rotates");
    assert!(matches!(rotated, Rotated::Switched(row) if row.new == 3));
    assert!(provider.works(&vault, "t").await);
}

#[tokio::test]
async fn a_value_by_hand_is_checked_by_its_service() {
    let world = World::new();
    let (vault, token) = (world.vault().await, name("t"));
    vault.add(&new("t"), secret("first")).await.expect("added");
    for (value, works) in [("wrong", false), ("second", true)] {
        let (given, takes) = (Given::new(secret(value)), Takes(&vault, "second"));
        let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&given, &takes)).await.expect("rotates");
        assert_eq!(matches!(rotated, Rotated::Switched(_)), works, "{value}: {rotated:?}");
        assert!(gives(&vault, "t", if works { "second" } else { "first" }).await);
    }
    let lent = format!("t.{}", vault.rotations(&Tenant::local()).await.expect("listed").remove(0).ticket);
    let gone = vault.resolve(&crate::world::permit(&lent)).await;
    assert!(matches!(gone, Err(VaultError::NotFound { .. })), "a version is lent for the check alone");
    // Back, and not twice.
    assert_eq!(vault.roll_back(&Tenant::local(), &token).await, Ok((1, 3)));
    assert!(gives(&vault, "t", "first").await);
    assert_eq!(
        states(&vault).await,
        [(1, VersionState::Current), (2, VersionState::Revoked), (3, VersionState::Revoked)]
    );
    let nothing = vault.roll_back(&Tenant::local(), &token).await;
    assert!(matches!(nothing, Err(VaultError::NothingBefore { .. })), "{nothing:?}");
}

#[tokio::test]
async fn two_processes_do_not_rotate_at_once() {
    let world = World::new();
    let (vault, provider, token) = (world.vault().await, Provider::with("first"), name("t"));
    vault.add(&new("t"), secret("first")).await.expect("added");
    *provider.halt.lock() = Some(Point::Make(true));
    let (upkeep, other) = (upkeep(), Means { node: "other", ..means(&provider, &Blind) });
    let first = vault.rotate(&upkeep, &token, "one", means(&provider, &Blind));
    tokio::select! {
        rotated = first => panic!("{rotated:?}"),
        () = provider.halted.notified() => {}
    }
    *provider.halt.lock() = None;
    let second = world.vault().await.rotate(&upkeep, &token, "two", other).await;
    assert!(matches!(second, Err(VaultError::Rotates { .. })), "{second:?}");
    // Whoever holds it and is gone holds it no longer than a minute and a half.
    world.clock.pass(91);
    let second = world.vault().await.rotate(&upkeep, &token, "two", other).await.expect("rotates");
    assert!(matches!(&second, Rotated::Switched(row) if row.reason == "one" && row.new == 2), "{second:?}");
    assert_eq!(provider.made.load(Ordering::Relaxed), 1);
}

/// What a program may print and how it may end.
#[tokio::test]
async fn programs_rotate() {
    let world = World::new();
    let (vault, token) = (world.vault().await, name("t"));
    vault.add(&new("t"), secret("first")).await.expect("added");
    let around = crate::rotators::around(&world, &vault, "token", crate::rotators::Nowhere);
    let rotator = |text: &str| rotator(&With::Program(text.to_owned()), around.clone());
    let script = |text: &str| {
        std::fs::write(world.path().join("rotate.sh"), text).expect("written");
        rotator("exec:sh rotate.sh 'with words'").expect("reads")
    };
    for (text, says) in [
        ("exit 3", "ended with status 3"),
        ("[ $2 = retire ] && exit 0; [ $2 = make ] && printf second || exit 1", "does not work"),
        ("[ $2 = make ] && printf second || exit 1", "does not work, and the new value could not be retired"),
        ("[ $2 = make ] && printf second || exit 7", "ended with status 7"),
        ("echo '{\"token\": 1}'", "without a text `value`"),
        ("[ $2 = make ] && exit 0; exit 0", "the value is empty"),
    ] {
        let by = script(text);
        let said = match vault.rotate(&upkeep(), &token, "test", means(&*by, &Blind)).await {
            Ok(Rotated::GaveUp { why }) => why,
            Ok(Rotated::Switched(row)) => panic!("{text}: {row:?}"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(says), "{text}: {said}");
        assert!(gives(&vault, "t", "first").await);
        let by = script("[ $2 = make ] && exit 3; exit 0");
        for row in vault.rotations(&Tenant::local()).await.expect("listed") {
            vault.abandon(&upkeep(), &row, (&*by, NODE)).await.expect("taken back");
        }
    }
    let by =
        script("cat > told.$2; [ $2 = make ] && echo '{\"value\": \"second\"}'; [ $2 = verify ] && exit 2; exit 0");
    let rotated =
        vault.rotate(&upkeep(), &token, "test", means(&*by, &Takes(&vault, "second"))).await.expect("rotates");
    let Rotated::Switched(row) = rotated else { panic!("{rotated:?}") };
    vault.retire(&upkeep(), &row, (&*by, NODE)).await.expect("retired");
    assert!(gives(&vault, "t", "second").await);
    let told = |step: &str| std::fs::read_to_string(world.path().join(format!("told.{step}"))).expect("told");
    let (ticket, new) = (&row.ticket, row.new);
    let one = r#""old":{"version":1,"value":"first"}"#;
    assert_eq!(told("make"), format!(r#"{{"credential":"t","ticket":"{ticket}",{one},"new":null}}"#));
    let whole = format!(r#"{{"credential":"t","ticket":"{ticket}",{one},"new":{{"version":{new},"value":"second"}}}}"#);
    assert_eq!((told("verify"), told("retire")), (whole.clone(), whole));
    assert!(rotator("https://x").is_err() && rotator("exec:").is_err());
}

/// Whoever read a rotation before somebody went back to the old version must not retire that.
#[tokio::test]
async fn what_was_gone_back_to_is_not_retired() {
    let world = World::new();
    let (vault, provider, token) = (world.vault().await, Provider::with("first"), name("t"));
    vault.add(&new("t"), secret("first")).await.expect("added");
    let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&provider, &Blind)).await.expect("rotates");
    let Rotated::Switched(row) = rotated else { panic!("{rotated:?}") };
    assert_eq!(vault.roll_back(&Tenant::local(), &token).await, Ok((1, 2)));
    assert!(vault.retire(&upkeep(), &row, (&provider, NODE)).await.is_err());
    assert!(provider.good.lock().contains(&"first".to_owned()) && gives(&vault, "t", "first").await);
    // And nobody goes back to what may be dead already.
    let rotated = vault.rotate(&upkeep(), &token, "by ada", means(&provider, &Blind)).await.expect("rotates");
    let Rotated::Switched(row) = rotated else { panic!("{rotated:?}") };
    *provider.halt.lock() = Some(Point::Retire(true));
    let own = upkeep();
    tokio::select! {
        retired = vault.retire(&own, &row, (&provider, NODE)) => panic!("{retired:?}"),
        () = provider.halted.notified() => {}
    }
    assert!(vault.roll_back(&Tenant::local(), &token).await.is_err());
    assert!(provider.works(&vault, "t").await);
}

/// A value that was revoked or replaced while its rotation waits is not replaced any more, and the new one does not stay behind.
#[tokio::test]
async fn what_changed_meanwhile_ends_a_rotation() {
    for revoked in [true, false] {
        let world = World::new();
        let (vault, provider, token) = (world.vault().await, Provider::with("first"), name("t"));
        vault.add(&new("t"), secret("first")).await.expect("added");
        *provider.answer.lock() = Some(RotateError::Away("it is away".to_owned()));
        assert!(vault.rotate(&upkeep(), &token, "test", means(&provider, &Blind)).await.is_err());
        *provider.answer.lock() = None;
        if revoked {
            vault.revoke(&Tenant::local(), &token, None, "ada").await.expect("revoked");
        } else {
            vault.add_version(&Tenant::local(), &token, secret("by hand")).await.expect("added");
        }
        let rotated = vault.rotate(&upkeep(), &token, "test", means(&provider, &Blind)).await.expect("ends");
        assert!(matches!(&rotated, Rotated::GaveUp { why } if why.contains("revoked or replaced")), "{rotated:?}");
        assert_eq!(*provider.good.lock(), ["first"], "the new value is of no use to anybody");
        assert_eq!(states(&vault).await.iter().any(|(_, state)| *state == VersionState::Current), !revoked);
        assert!(vault.rotations(&Tenant::local()).await.expect("listed").is_empty());
        if !revoked {
            assert!(gives(&vault, "t", "by hand").await);
        }
    }
}
