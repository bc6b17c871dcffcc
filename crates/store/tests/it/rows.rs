//! Sessions, placeholders, credentials, keys, stops, agents, holds, changes.

use model::{CredentialId, Digest, Sealed, Tenant};
use store::{
    AgentRow, CredentialRow, DataKeyRow, Hold, KeyslotRow, PlaceholderRow, StopKind, StopRow, StoreError, VersionRow,
    VersionState,
};

use crate::on_both;
use crate::world::{World, agent_name, at, credential, service};

on_both!(sessions, async |world: World| {
    let (rows, home) = (world.store.sessions(), Tenant::local());
    let (one, token) = world.session("a", 10);
    let (two, other) = world.session("b", 20);
    rows.insert(&one, &token).await.expect("insert");
    rows.insert(&two, &other).await.expect("insert");
    assert!(matches!(rows.insert(&one, &token).await, Err(StoreError::Conflict { .. })));
    assert_eq!(rows.by_token(&token).await.expect("by token"), Some(one.clone()));
    assert_eq!(rows.by_token(&Digest::ZERO).await.expect("by token"), None);
    assert_eq!(rows.get(&home, two.id).await.expect("get"), Some(two.clone()));
    let elsewhere = Tenant::new("other").expect("tenant");
    assert_eq!(rows.get(&elsewhere, two.id).await.expect("get"), None);
    assert_eq!(rows.list(&home, None).await.expect("list"), [two.clone(), one.clone()]);
    assert_eq!(rows.list(&home, Some(at(115))).await.expect("list"), std::slice::from_ref(&two));
    let tokens = async |now| rows.tokens(&home, now).await.expect("tokens").expect("few");
    assert_eq!(tokens(at(30)).await, [token, other].into());
    assert_eq!(tokens(at(115)).await, [other].into());
    assert!(rows.tokens(&elsewhere, at(30)).await.expect("tokens").is_some_and(|tokens| tokens.is_empty()));
    assert!(rows.end(&home, one.id, at(30)).await.expect("end"));
    assert_eq!(tokens(at(30)).await, [other].into());
    assert!(!rows.end(&home, one.id, at(31)).await.expect("end"));
    assert_eq!(rows.get(&home, one.id).await.expect("get").expect("row").ended, Some(at(30)));
    assert_eq!(rows.end_all(&home, Some(&agent_name("nobody")), at(40)).await.expect("end"), 0);
    assert_eq!(rows.end_all(&home, None, at(40)).await.expect("end"), 1);
    assert!(rows.list(&home, Some(at(50))).await.expect("list").is_empty());
    assert_eq!(rows.prune(&home, at(115)).await.expect("prune"), 1);
    assert_eq!(rows.list(&home, None).await.expect("list").len(), 1);
});

on_both!(placeholders, async |world: World| {
    let home = Tenant::local();
    let (session, _) = world.session("a", 1);
    let row = |number: u8| PlaceholderRow {
        tenant: home.clone(),
        digest: Digest([number; 32]),
        session: session.id,
        agent: agent_name("a"),
        credential: credential("github-token"),
        service: (number == 1).then(|| service("github")),
        issued: at(1),
    };
    let rows = world.store.placeholders();
    rows.insert(&[row(1), row(2)]).await.expect("insert");
    assert_eq!(rows.find(&home, &Digest([2; 32])).await.expect("find"), Some(row(2)));
    assert_eq!(rows.find(&home, &Digest([3; 32])).await.expect("find"), None);
    // Another process of the home makes the same ones for the same session: what is known stays as it was.
    let later = PlaceholderRow { issued: at(9), ..row(1) };
    rows.insert(&[row(3), later]).await.expect("insert again");
    assert_eq!(rows.find(&home, &Digest([1; 32])).await.expect("find"), Some(row(1)));
    assert_eq!(rows.find(&home, &Digest([3; 32])).await.expect("find"), Some(row(3)));
});

fn version(number: u64) -> VersionRow {
    VersionRow {
        version: number,
        state: VersionState::Current,
        sealed: Some(Sealed(vec![1, 0, 255, 7])),
        created: at(5),
        used: None,
    }
}

fn row(world: &World, name: &str, source: Option<&str>) -> CredentialRow {
    CredentialRow {
        tenant: Tenant::local(),
        name: credential(name),
        id: CredentialId::fresh(at(1), &world.random),
        service: Some(service("github")),
        kind: "token".into(),
        source: source.map(str::to_owned),
        inject: "placeholder".into(),
        created: at(5),
    }
}

on_both!(credentials, async |world: World| {
    let (rows, home, name) = (world.store.credentials(), Tenant::local(), credential("token"));
    let built_in = row(&world, "token", None);
    rows.add(&built_in, Some(&version(1))).await.expect("add");
    assert!(matches!(rows.add(&built_in, None).await, Err(StoreError::Conflict { .. })));
    rows.add_version(&home, &name, &version(2), VersionState::Grace).await.expect("add version");
    let twice = rows.add_version(&home, &name, &version(2), VersionState::Grace).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })));
    let states = async || {
        let versions = rows.versions(&home, &name).await.expect("versions");
        versions.iter().map(|row| (row.version, row.state, row.used)).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [(2, VersionState::Current, None), (1, VersionState::Grace, None)]);
    rows.used(&home, &name, 2, at(70)).await.expect("used");
    rows.used(&home, &name, 2, at(60)).await.expect("used");
    assert_eq!(rows.set_state(&home, &name, Some(1), VersionState::Revoked).await.expect("state"), 1);
    assert_eq!(rows.set_state(&home, &name, None, VersionState::Revoked).await.expect("state"), 1);
    assert_eq!(states().await, [(2, VersionState::Revoked, Some(at(70))), (1, VersionState::Revoked, None)]);

    // What the configuration names never takes the place of what the vault holds.
    rows.declare(&row(&world, "token", Some("env:TOKEN"))).await.expect("declare");
    assert_eq!(rows.get(&home, &name).await.expect("get"), Some(built_in));
    let first = row(&world, "elsewhere", Some("env:A"));
    rows.declare(&first).await.expect("declare");
    rows.declare(&row(&world, "elsewhere", Some("file:b"))).await.expect("declare");
    let known = rows.get(&home, &first.name).await.expect("get").expect("row");
    assert_eq!((known.id, known.source.as_deref()), (first.id, Some("file:b")));
    assert_eq!(rows.versions(&home, &first.name).await.expect("versions").len(), 1);
    let names: Vec<_> = rows.list(&home).await.expect("list").into_iter().map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["elsewhere", "token"]);
    assert!(rows.delete(&home, &name).await.expect("delete"));
    assert!(!rows.delete(&home, &name).await.expect("delete"));
    assert!(rows.versions(&home, &name).await.expect("versions").is_empty());
});

on_both!(keyslots, async |world: World| {
    let (rows, home) = (world.store.keyslots(), Tenant::local());
    let slot = |name: &str, root: &str| KeyslotRow {
        slot: name.into(),
        root: root.into(),
        params: "{}".into(),
        sealed: Sealed(vec![9]),
        created: at(1),
    };
    let key = |id: &str, root: &str| DataKeyRow {
        tenant: home.clone(),
        id: id.into(),
        root: root.into(),
        sealed: Sealed(vec![8]),
        created: at(1),
    };
    assert!(rows.create(&home, &slot("key-file", "r1")).await.expect("create"));
    assert!(!rows.create(&home, &slot("key-file", "r2")).await.expect("create"));
    rows.put(&home, &slot("passphrase", "r1")).await.expect("put");
    rows.add_data_key(&home, &key("k1", "r1")).await.expect("key");
    assert_eq!(rows.list(&home).await.expect("list"), [slot("key-file", "r1"), slot("passphrase", "r1")]);
    // A data key that a re-key did not see stops it.
    assert!(matches!(rows.rekey(&home, &slot("key-file", "r2"), &[]).await, Err(StoreError::Conflict { .. })));
    rows.rekey(&home, &slot("key-file", "r2"), &[key("k1", "r2")]).await.expect("rekey");
    assert_eq!(rows.list(&home).await.expect("list"), [slot("key-file", "r2")]);
    assert_eq!(rows.data_keys_of(&home).await.expect("keys"), [key("k1", "r2")]);
    // A process that still holds the old root key adds nothing.
    assert!(matches!(rows.add_data_key(&home, &key("k2", "r1")).await, Err(StoreError::Conflict { .. })));
    assert!(matches!(rows.put(&home, &slot("passphrase", "r1")).await, Err(StoreError::Conflict { .. })));
    assert_eq!(rows.data_keys().await.expect("keys").len(), 1);
});

on_both!(stops, async |world: World| {
    let (rows, home) = (world.store.stops(), Tenant::local());
    let stop = |kind, name: &str, version| StopRow { kind, name: name.into(), version, at: at(1), by: "ada".into() };
    let all = [
        stop(StopKind::All, "", None),
        stop(StopKind::Credential, "token", None),
        stop(StopKind::Credential, "token", Some(3)),
    ];
    for row in all.iter().chain(&all) {
        rows.insert(&home, row).await.expect("insert");
    }
    assert_eq!(rows.list(&home).await.expect("list").len(), 3);
    assert!(rows.lift(&home, StopKind::Credential, "token", None).await.expect("lift"));
    assert!(!rows.lift(&home, StopKind::Credential, "token", None).await.expect("lift"));
    let left = rows.list(&home).await.expect("list");
    assert!(left.contains(&all[0]) && left.contains(&all[2]), "{left:?}");
});

on_both!(agents_and_meta, async |world: World| {
    let (rows, home, name) = (world.store.agents(), Tenant::local(), agent_name("bot"));
    assert_eq!(rows.get(&home, &name).await.expect("get"), None);
    rows.seen(&home, &name, at(5)).await.expect("seen");
    assert!(rows.get(&home, &name).await.expect("get").expect("row").enabled);
    let off = AgentRow { name: name.clone(), enabled: false, changed: at(6), by: "ada".into(), seen: None };
    rows.switch(&home, &off).await.expect("switch");
    rows.seen(&home, &name, at(7)).await.expect("seen");
    assert_eq!(rows.list(&home).await.expect("list"), [AgentRow { seen: Some(at(7)), ..off }]);

    let meta = world.store.meta();
    assert_eq!(meta.get(&home, "k").await.expect("get"), None);
    assert_eq!(meta.set_once(&home, "k", "1").await.expect("set"), "1");
    assert_eq!(meta.set_once(&home, "k", "2").await.expect("set"), "1");
    meta.set(&home, "k", "3").await.expect("set");
    assert_eq!(meta.get(&home, "k").await.expect("get").as_deref(), Some("3"));
});

on_both!(holds, async |world: World| {
    let (rows, home) = (world.store.nodes(), Tenant::local());
    let hold = |node, now| Hold { node, now: at(now), until: at(now + 10) };
    assert_eq!(rows.claim_lane(&home, hold("a", 0)).await.expect("lane"), 0);
    assert_eq!(rows.claim_lane(&home, hold("b", 0)).await.expect("lane"), 1);
    assert!(rows.renew_lane(&home, 0, hold("a", 5)).await.expect("renew"));
    // `b` died; its lane is free again, and a latecomer of that name hears so.
    assert_eq!(rows.claim_lane(&home, hold("c", 12)).await.expect("lane"), 1);
    assert!(!rows.renew_lane(&home, 1, hold("b", 13)).await.expect("renew"));
    assert!(rows.claim(&home, "api", hold("a", 1)).await.expect("claim"));
    assert!(!rows.claim(&home, "api", hold("b", 2)).await.expect("claim"));
    assert_eq!(rows.holder(&home, "api", at(3)).await.expect("holder").as_deref(), Some("a"));
    rows.release(&home, "a").await.expect("release");
    assert_eq!(rows.holder(&home, "api", at(3)).await.expect("holder"), None);
});

on_both!(what_several_carry, async |world: World| {
    let (rows, home) = (world.store.nodes(), Tenant::local());
    let hold = |node, now| Hold { node, now: at(now), until: at(now + 10) };
    let carried =
        async |what: &str, node: &str, now| rows.is_carried(&home, what, (node, at(now))).await.expect("looked");
    assert!(!carried("carried/k/1", "a", 0).await);
    for node in ["a", "b"] {
        rows.carry(&home, "carried/k/1", hold(node, 0)).await.expect("noted");
    }
    rows.carry(&home, "carried/k/12", hold("c", 0)).await.expect("noted");
    // Each hears of the others, of this version and for as long as they say so.
    assert!(carried("carried/k/1", "a", 5).await && carried("carried/k/1", "c", 5).await);
    rows.carry(&home, "carried/k/1", hold("a", 8)).await.expect("noted");
    assert!(!carried("carried/k/1", "a", 11).await && carried("carried/k/1", "b", 11).await);
    rows.put_down(&home, "carried/k/1").await.expect("forgotten");
    assert!(!carried("carried/k/1", "b", 11).await && carried("carried/k/12", "a", 5).await);
});

on_both!(changes, async |world: World| {
    let home = Tenant::local();
    let other = world.other().await;
    let mut changes = other.changes(&home);
    assert!(!changes.poll().await.expect("poll").any());
    let (session, token) = world.session("a", 1);
    world.store.sessions().insert(&session, &token).await.expect("insert");
    let seen = changes.poll().await.expect("poll");
    assert!(seen.sessions && !seen.stops);
    assert!(!changes.poll().await.expect("poll").any());
    let stop = StopRow { kind: StopKind::All, name: String::new(), version: None, at: at(1), by: "ada".into() };
    world.store.stops().insert(&home, &stop).await.expect("stop");
    world.store.credentials().declare(&row(&world, "x", Some("env:A"))).await.expect("declare");
    let seen = changes.poll().await.expect("poll");
    assert!(seen.stops && seen.credentials && !seen.sessions, "{seen:?}");
    // What nobody holds a copy of makes no noise; nor does another organisation.
    world.store.meta().set(&home, "k", "v").await.expect("set");
    world.store.stops().insert(&Tenant::new("other").expect("tenant"), &stop).await.expect("stop");
    assert!(!changes.poll().await.expect("poll").any());
    // Its own changes count as well.
    other.stops().lift(&home, StopKind::All, "", None).await.expect("lift");
    assert!(changes.poll().await.expect("poll").stops);
});

on_both!(many_open_at_once, async |world: World| {
    let opened = futures_join((0..8).map(|_| world.other())).await;
    for store in opened {
        store.meta().set(&Tenant::local(), "k", "v").await.expect("set");
    }
});

async fn futures_join<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut out = Vec::new();
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => {
                out.push(done);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    out
}
