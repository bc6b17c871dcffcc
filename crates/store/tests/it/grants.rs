//! Grants: each state once, on both engines, and none outlives its session.

use model::{ApprovalId, GrantId, SessionId, Tenant};
use store::{GrantRow, GrantState};

use crate::on_both;
use crate::world::{World, agent_name, at};

fn grant(number: u128, session: SessionId, state: GrantState) -> GrantRow {
    GrantRow {
        id: GrantId::from_bits(number),
        tenant: Tenant::local(),
        session,
        agent: agent_name("bot"),
        author: "bot".into(),
        scopes: r#"[{"service":"github"}]"#.into(),
        cut: "[]".into(),
        rules: r#"["bot/1"]"#.into(),
        justification: "it's \"needed\"; \u{1f512}".into(),
        task: Some("TASK-1".into()),
        ttl_seconds: 10,
        approval: (state == GrantState::Pending).then(|| ApprovalId::from_bits(3)),
        consent: None,
        state,
        asked: at(1),
        expires: (state == GrantState::Live).then(|| at(11)),
        ended: None,
        reason: String::new(),
    }
}

async fn session(world: &World, started: i64) -> SessionId {
    let (session, token) = world.session("bot", started);
    world.store.sessions().insert(&session, &token).await.expect("insert");
    session.id
}

on_both!(grants, async |world: World| {
    let (rows, home) = (world.store.grants(), Tenant::local());
    let (first, second) = (session(&world, 0).await, session(&world, 0).await);
    let live = grant(1, first, GrantState::Live);
    let waits = grant(2, first, GrantState::Pending);
    assert!(rows.insert(&live, 2).await.expect("insert") && rows.insert(&waits, 2).await.expect("insert"));
    assert!(!rows.insert(&grant(3, first, GrantState::Live), 2).await.expect("insert"), "at the bound");
    assert!(rows.insert(&grant(3, second, GrantState::Live), 2).await.expect("insert"), "each session for itself");
    let nobody = SessionId::from_bits(77);
    assert!(!rows.insert(&grant(9, nobody, GrantState::Live), 2).await.expect("insert"), "of no session");
    assert_eq!(rows.get(&home, live.id).await.expect("get"), Some(live.clone()));
    assert_eq!(rows.get(&home, GrantId::from_bits(99)).await.expect("get"), None);
    let ids = |rows: Vec<GrantRow>| rows.iter().map(|row| row.id.bits()).collect::<Vec<_>>();
    assert_eq!(ids(rows.list(&home, None).await.expect("list")), [3, 2, 1]);
    assert_eq!(ids(rows.list(&home, Some(first)).await.expect("list")), [2, 1]);
    assert_eq!(ids(rows.live(&home, at(10)).await.expect("live")), [1, 3]);
    assert_eq!(ids(rows.live(&home, at(11)).await.expect("live")), [0; 0]);
    assert_eq!(ids(rows.pending(&home).await.expect("pending")), [2]);
    // Another organisation sees none of it.
    let other = Tenant::new("other").expect("a name");
    assert!(rows.list(&other, None).await.expect("list").is_empty());
    assert!(!rows.end(&other, live.id, "no", at(2)).await.expect("end"));

    // Given once.
    assert!(rows.give(&home, waits.id, "{}", (at(5), at(15))).await.expect("give"));
    assert!(!rows.give(&home, waits.id, "{}", (at(6), at(99))).await.expect("give"));
    assert!(!rows.deny(&home, waits.id, "too late", at(6)).await.expect("deny"));
    let given = rows.get(&home, waits.id).await.expect("get").expect("row");
    assert_eq!((given.state, given.expires, given.consent.as_deref()), (GrantState::Live, Some(at(15)), Some("{}")));
    assert!(given.is_live(at(14)) && !given.is_live(at(15)));
    // Ended once.
    assert!(rows.end(&home, waits.id, "by ada", at(7)).await.expect("end"));
    assert!(!rows.end(&home, waits.id, "by bob", at(8)).await.expect("end"));
    let ended = rows.get(&home, waits.id).await.expect("get").expect("row");
    assert_eq!((ended.state, ended.ended, ended.reason.as_str()), (GrantState::Ended, Some(at(7)), "by ada"));
    // Denied once.
    assert!(rows.insert(&grant(4, first, GrantState::Pending), 2).await.expect("insert"), "there is room again");
    assert!(rows.deny(&home, GrantId::from_bits(4), "ada: no", at(8)).await.expect("deny"));
    assert!(!rows.give(&home, GrantId::from_bits(4), "{}", (at(9), at(19))).await.expect("give"));
});

on_both!(grants_lapse, async |world: World| {
    let (rows, home) = (world.store.grants(), Tenant::local());
    let (first, second) = (session(&world, 0).await, session(&world, 0).await);
    for row in [
        grant(1, first, GrantState::Live),
        grant(2, second, GrantState::Live),
        grant(3, second, GrantState::Pending),
        GrantRow { expires: Some(at(90)), ..grant(4, first, GrantState::Live) },
    ] {
        assert!(rows.insert(&row, 9).await.expect("insert"));
    }
    assert!(rows.lapse(&home, at(10)).await.expect("lapse").is_empty());
    // The second session ends, and what it held with it; what waits too.
    world.store.sessions().end(&home, second, at(10)).await.expect("end");
    assert!(!rows.give(&home, GrantId::from_bits(3), "{}", (at(10), at(20))).await.expect("give"), "of a dead session");
    let mut ended: Vec<_> = rows.lapse(&home, at(10)).await.expect("lapse");
    ended.sort_by_key(|row| row.id);
    let ended: Vec<_> = ended.iter().map(|row| (row.id.bits(), row.reason.as_str())).collect();
    assert_eq!(ended, [(2, "its session is over"), (3, "its session is over")]);
    // By its time, told once, whoever asks.
    let (here, there) = (world.store.clone(), world.other().await);
    let (here, there) = tokio::join!(async { here.grants().lapse(&home, at(11)).await.expect("lapse") }, async {
        there.grants().lapse(&home, at(11)).await.expect("lapse")
    });
    let told: Vec<_> = here.iter().chain(&there).map(|row| (row.id.bits(), row.reason.as_str())).collect();
    assert_eq!(told, [(1, "its time is over")]);
    // A session that died by its time takes the rest with it.
    assert_eq!(rows.lapse(&home, at(100)).await.expect("lapse").len(), 1);
});

on_both!(grants_are_seen_by_others, async |world: World| {
    let (rows, home) = (world.store.grants(), Tenant::local());
    let id = session(&world, 0).await;
    let mut changes = world.other().await.changes(&home);
    changes.poll().await.expect("poll");
    assert!(!changes.poll().await.expect("poll").grants);
    assert!(rows.insert(&grant(1, id, GrantState::Live), 9).await.expect("insert"));
    assert!(changes.poll().await.expect("poll").grants);
    assert!(rows.end(&home, GrantId::from_bits(1), "by ada", at(2)).await.expect("end"));
    assert!(changes.poll().await.expect("poll").grants);
    assert!(!changes.poll().await.expect("poll").any());
});

// A yes and an end at once: exactly one of them wins.
on_both!(grants_race, async |world: World| {
    let home = Tenant::local();
    let id = session(&world, 0).await;
    for number in 0..20 {
        let row = grant(number, id, GrantState::Pending);
        assert!(world.store.grants().insert(&row, 99).await.expect("insert"));
        let (here, there) = (world.store.clone(), world.other().await);
        let (given, denied) = tokio::join!(
            async { here.grants().give(&home, row.id, "{}", (at(2), at(12))).await.expect("give") },
            async { there.grants().deny(&home, row.id, "no", at(2)).await.expect("deny") }
        );
        assert!(given != denied, "{number}: {given} {denied}");
    }
});
