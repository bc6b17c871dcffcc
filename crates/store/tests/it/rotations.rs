//! Rotations: each step once, versions and journal together, on both engines.

use model::{CredentialId, Sealed, Tenant};
use store::{CredentialRow, RotationRow, RotationStep, StoreError, VersionRow, VersionState};

use crate::on_both;
use crate::world::{World, at, credential};

fn version(number: u64, state: VersionState) -> VersionRow {
    VersionRow { version: number, state, sealed: Some(Sealed(vec![7])), created: at(5), used: None }
}

fn rotation(old: u64) -> RotationRow {
    RotationRow {
        tenant: Tenant::local(),
        credential: credential("token"),
        ticket: format!("rot_{old}"),
        old,
        new: old + 1,
        step: RotationStep::Begun,
        reason: "by ada".into(),
        began: at(6),
        retire: None,
    }
}

/// The states of all versions, oldest first.
async fn states(world: &World) -> Vec<VersionState> {
    let versions = world.store.credentials().versions(&Tenant::local(), &credential("token")).await.expect("versions");
    versions.iter().rev().map(|row| row.state).collect()
}

const fn is_conflict(done: &Result<(), StoreError>) -> bool {
    matches!(done, Err(StoreError::Conflict { .. }))
}

on_both!(rotations, async |world: World| {
    use VersionState::{Current, Grace, Next, Revoked};
    let (rows, home, name) = (world.store.rotations(), Tenant::local(), credential("token"));
    let row = CredentialRow {
        tenant: home.clone(),
        name: name.clone(),
        id: CredentialId::fresh(at(1), &world.random),
        service: None,
        kind: "token".into(),
        source: None,
        inject: "placeholder".into(),
        created: at(5),
    };
    world.store.credentials().add(&row, Some(&version(1, Current))).await.expect("add");
    let first = rotation(1);
    rows.begin(&first).await.expect("begins");
    assert!(is_conflict(&rows.begin(&rotation(1)).await), "one at a time");
    assert_eq!(rows.list(&home).await.expect("listed"), std::slice::from_ref(&first));
    // No step before the one before it, none twice.
    assert!(is_conflict(&rows.verified(&first).await) && is_conflict(&rows.switch(&first, at(99)).await));
    rows.made(&first, &version(2, Current)).await.expect("made");
    assert!(is_conflict(&rows.made(&first, &version(2, Current)).await));
    assert_eq!(states(&world).await, [Current, Next]);
    rows.verified(&first).await.expect("verified");
    rows.switch(&first, at(99)).await.expect("switched");
    assert_eq!(states(&world).await, [Grace, Current]);
    let known = rows.get(&home, &name).await.expect("get").expect("row");
    assert_eq!((known.step, known.retire), (RotationStep::Switched, Some(at(99))));
    // What has switched is not taken back by whoever knew it before.
    assert!(is_conflict(&rows.give_up(&first).await));
    assert!(is_conflict(&rows.finish(&known).await), "not before it is said to be retired");
    rows.retiring(&known).await.expect("retiring");
    assert!(is_conflict(&rows.roll_back(&home, &name, 1, 2).await), "no way back to what may be dead");
    rows.finish(&known).await.expect("finished");
    assert!(is_conflict(&rows.finish(&known).await));
    assert_eq!(states(&world).await, [Revoked, Current]);

    let second = rotation(2);
    rows.begin(&second).await.expect("begins");
    rows.made(&second, &version(3, Next)).await.expect("made");
    let made = RotationRow { step: RotationStep::Made, ..second };
    rows.abandoning(&made).await.expect("abandoning");
    assert!(is_conflict(&rows.verified(&made).await) && is_conflict(&rows.give_up(&made).await));
    rows.give_up(&RotationRow { step: RotationStep::Abandoning, ..made }).await.expect("given up");
    assert_eq!(states(&world).await, [Revoked, Current, Revoked]);
    assert_eq!(rows.get(&home, &name).await.expect("get"), None);

    let third = RotationRow { new: 4, ..rotation(2) };
    rows.begin(&third).await.expect("begins");
    rows.made(&third, &version(4, Next)).await.expect("made");
    rows.verified(&third).await.expect("verified");
    rows.switch(&third, at(99)).await.expect("switched");
    rows.roll_back(&home, &name, 2, 4).await.expect("rolled back");
    assert_eq!(states(&world).await, [Revoked, Current, Revoked, Revoked]);
    assert_eq!(rows.get(&home, &name).await.expect("get"), None);
    assert!(is_conflict(&rows.roll_back(&home, &name, 4, 2).await), "what is revoked does not come back");
    assert_eq!(states(&world).await, [Revoked, Current, Revoked, Revoked]);

    // A number that somebody else took in between is not this rotation's to revoke.
    let fourth = RotationRow { new: 5, ..rotation(2) };
    rows.begin(&fourth).await.expect("begins");
    world.store.credentials().add_version(&home, &name, &version(5, Current), Revoked).await.expect("added");
    rows.give_up(&fourth).await.expect("given up");
    assert_eq!(states(&world).await.last(), Some(&Current));

    rows.begin(&RotationRow { new: 6, ..rotation(5) }).await.expect("begins");
    assert!(world.store.credentials().delete(&home, &name).await.expect("deleted"));
    assert!(rows.list(&home).await.expect("listed").is_empty());
});
