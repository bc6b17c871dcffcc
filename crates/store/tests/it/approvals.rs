//! Approvals: one outcome whoever answers when, used once.

use model::{ApprovalId, Digest, SessionId, Tenant};
use store::{Answer, Answered, ApprovalRow, ApprovalState, Asked, Scope, Verdict};

use crate::on_both;
use crate::world::{World, agent_name, at};

fn question(world: &World, wanted: u32) -> ApprovalRow {
    ApprovalRow {
        id: ApprovalId::fresh(at(1), &world.random),
        tenant: Tenant::local(),
        session: SessionId::from_bits(5),
        agent: agent_name("bot"),
        sentence: "bot wants to delete `myorg/x`".into(),
        calls: "[]".into(),
        key: "ses/rule/delete".into(),
        head: Digest([1; 32]),
        body: Some(Digest([2; 32])),
        rule: "bot/1".into(),
        wanted,
        approvers: vec!["ada".into(), "bob".into()],
        asked: at(1),
        expires: at(100),
        state: ApprovalState::Open,
        scope: None,
        settled: None,
    }
}

fn answer(approver: &str, verdict: Verdict, scope: Scope) -> Answer {
    Answer { approver: approver.into(), verdict, scope, until: at(50), reason: String::new() }
}

on_both!(asked_answered_used_once, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let asked = question(&world, 1);
    assert_eq!(rows.insert(&asked, 5).await.expect("insert"), Asked::Open);
    assert_eq!(rows.open(&home, at(2)).await.expect("open"), std::slice::from_ref(&asked));
    let same = (&asked.head, asked.body.as_ref());
    let about = async |octets| rows.about(&home, asked.session, &asked.key, octets).await.expect("about");
    assert_eq!(about(same).await.map(|row| row.id), Some(asked.id));
    assert_eq!(about((&asked.head, None)).await, None);
    assert_eq!(about((&Digest::ZERO, asked.body.as_ref())).await, None);
    let yes = answer("ada", Verdict::Approve, Scope::Once);
    assert_eq!(rows.answer(&home, ApprovalId::from_bits(1), &yes, at(3)).await.expect("answer"), Answered::Unknown);
    let settled = rows.answer(&home, asked.id, &yes, at(3)).await.expect("answer");
    assert_eq!(settled, Answered::Settled(ApprovalState::Approved));
    let late = rows.answer(&home, asked.id, &answer("bob", Verdict::Deny, Scope::Once), at(4)).await.expect("answer");
    assert_eq!(late, Answered::Late(ApprovalState::Approved));
    assert_eq!(rows.approvers(&home, asked.id).await.expect("approvers"), ["ada"]);
    assert_eq!(rows.remembered(&home, asked.session, &asked.key, at(5)).await.expect("remembered"), None);
    assert!(rows.consume(&home, asked.id, at(5)).await.expect("consume"));
    assert!(!rows.consume(&home, asked.id, at(5)).await.expect("consume"));
    let row = rows.get(&home, asked.id).await.expect("get").expect("row");
    assert_eq!((row.state, row.scope, row.settled), (ApprovalState::Used, Some(Scope::Once), Some(at(5))));
});

on_both!(a_webhook_is_one_voice_unless_the_rule_names_its_people, async |world: World| {
    type Said = (&'static str, Option<u32>);
    let (rows, home) = (world.store.approvals(), Tenant::local());
    // Whom the rule names, how many it wants; who says yes; how many voices that makes, none for a yes that does not count.
    let table: &[(&[&str], u32, &[Said])] = &[
        (&[], 2, &[("ops:ada", Some(1)), ("ops:grace", Some(1)), ("sec:ada", Some(2))]),
        (&[], 2, &[("ops:ada", Some(1)), ("ada", Some(2))]),
        (&["ops:ada", "ops:grace"], 2, &[("ops:eve", None), ("ops:ada", Some(1)), ("ops:grace", Some(2))]),
        (&["ops", "ops:ada", "ada"], 2, &[("ops:ada", Some(1)), ("ops:eve", Some(1)), ("ada", Some(2))]),
        (&["ops"], 1, &[("sec:ada", None), ("opsy:ada", None), ("ops:ada", Some(1))]),
        (&["ada"], 1, &[("ops:ada", None), ("ada", Some(1))]),
        (&["ops:ada"], 1, &[("ops", None), ("ada", None), ("ops:ada:x", None), ("ops:ada", Some(1))]),
    ];
    for (named, wanted, said) in table {
        let mut asked = question(&world, *wanted);
        asked.approvers = named.iter().map(|name| (*name).to_owned()).collect();
        rows.insert(&asked, 100).await.expect("insert");
        for (who, voices) in *said {
            let yes = answer(who, Verdict::Approve, Scope::Once);
            let expected = match voices {
                None => Answered::NotAllowed,
                Some(have) if have >= wanted => Answered::Settled(ApprovalState::Approved),
                Some(have) => Answered::Counted { have: *have, wanted: *wanted },
            };
            assert_eq!(rows.answer(&home, asked.id, &yes, at(3)).await.expect("answer"), expected, "{named:?} {who}");
        }
    }
});

on_both!(late_answers_change_nothing, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let (one, two) = (question(&world, 1), question(&world, 1));
    rows.insert(&one, 5).await.expect("insert");
    rows.insert(&two, 5).await.expect("insert");
    let yes = answer("ada", Verdict::Approve, Scope::Session);
    let late = rows.answer(&home, one.id, &yes, at(100)).await.expect("answer");
    assert_eq!(late, Answered::Late(ApprovalState::Expired));
    assert_eq!(rows.expire(&home, at(100)).await.expect("expire"), 1);
    assert_eq!(rows.expire(&home, at(100)).await.expect("expire"), 0);
    for id in [one.id, two.id] {
        assert_eq!(rows.get(&home, id).await.expect("get").expect("row").state, ApprovalState::Expired);
        assert!(!rows.consume(&home, id, at(101)).await.expect("consume"));
    }
    assert_eq!(rows.remembered(&home, one.session, &one.key, at(5)).await.expect("remembered"), None);
});

on_both!(nothing_that_was_said_outlives_a_clock_that_was_set_back, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let asked = [question(&world, 1), question(&world, 1), question(&world, 1)];
    for one in &asked {
        rows.insert(one, 5).await.expect("insert");
    }
    for (one, scope) in asked.iter().zip([Scope::Once, Scope::Session]) {
        rows.answer(&home, one.id, &answer("ada", Verdict::Approve, scope), at(3)).await.expect("answer");
    }
    assert!(rows.remembered(&home, asked[0].session, &asked[0].key, at(4)).await.expect("remembered").is_some());
    assert_eq!(rows.lapse(&home, at(5)).await.expect("lapse"), 4);
    for one in &asked {
        assert!(!rows.consume(&home, one.id, at(6)).await.expect("consume"));
        let late = rows.answer(&home, one.id, &answer("ada", Verdict::Approve, Scope::Once), at(6)).await;
        assert_eq!(late.expect("answer"), Answered::Late(ApprovalState::Expired));
    }
    assert_eq!(rows.remembered(&home, asked[0].session, &asked[0].key, at(4)).await.expect("remembered"), None);
    assert_eq!(rows.lapse(&home, at(5)).await.expect("lapse"), 0);
});

on_both!(two_must_agree_and_the_narrower_counts, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let asked = question(&world, 2);
    rows.insert(&asked, 5).await.expect("insert");
    let session = Answer { until: at(90), ..answer("ada", Verdict::Approve, Scope::Session) };
    for _ in 0..2 {
        let counted = rows.answer(&home, asked.id, &session, at(2)).await.expect("answer");
        assert_eq!(counted, Answered::Counted { have: 1, wanted: 2 });
    }
    assert_eq!(rows.remembered(&home, asked.session, &asked.key, at(3)).await.expect("remembered"), None);
    let time = answer("bob", Verdict::Approve, Scope::Time);
    let settled = rows.answer(&home, asked.id, &time, at(3)).await.expect("answer");
    assert_eq!(settled, Answered::Settled(ApprovalState::Approved));
    let kept = rows.remembered(&home, asked.session, &asked.key, at(4)).await.expect("remembered").expect("kept");
    assert_eq!((kept.expires, kept.approval), (at(50), asked.id));
    assert_eq!(rows.get(&home, asked.id).await.expect("get").expect("row").scope, Some(Scope::Time));
    assert_eq!(rows.remembered(&home, asked.session, &asked.key, at(50)).await.expect("remembered"), None);
    rows.forget(&home, asked.session, at(60)).await.expect("forget");
    assert_eq!(rows.remembered(&home, asked.session, &asked.key, at(4)).await.expect("remembered"), None);
});

on_both!(only_who_is_named_says_yes_and_anybody_no, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let asked = question(&world, 1);
    rows.insert(&asked, 5).await.expect("insert");
    let mallory = answer("mallory", Verdict::Approve, Scope::Session);
    assert_eq!(rows.answer(&home, asked.id, &mallory, at(2)).await.expect("answer"), Answered::NotAllowed);
    assert_eq!(rows.get(&home, asked.id).await.expect("get").expect("row").state, ApprovalState::Open);
    assert!(rows.approvers(&home, asked.id).await.expect("approvers").is_empty());
    assert_eq!(rows.remembered(&home, asked.session, &asked.key, at(3)).await.expect("remembered"), None);
    let no = answer("mallory", Verdict::Deny, Scope::Once);
    let settled = rows.answer(&home, asked.id, &no, at(3)).await.expect("answer");
    assert_eq!(settled, Answered::Settled(ApprovalState::Denied));
});

on_both!(only_so_many_at_once, async |world: World| {
    let (rows, home) = (world.store.approvals(), Tenant::local());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, asked) = (world.store.clone(), question(&world, 1));
            tokio::spawn(async move { store.approvals().insert(&asked, 5).await.expect("insert") })
        })
        .collect();
    let mut open = 0;
    for task in tasks {
        open += u32::from(task.await.expect("task") == Asked::Open);
    }
    assert_eq!(open, 5);
    assert_eq!(rows.open(&home, at(2)).await.expect("open").len(), 5);
});

on_both!(racing_answers_have_one_outcome, async |world: World| {
    let other = world.other().await;
    for round in 0..20 {
        let asked = ApprovalRow { approvers: vec![], ..question(&world, 1) };
        world.store.approvals().insert(&asked, 100).await.expect("insert");
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let store = if number % 2 == 0 { world.store.clone() } else { other.clone() };
                let verdict = if (number + round) % 3 == 0 { Verdict::Deny } else { Verdict::Approve };
                let given = answer(&format!("p{number}"), verdict, Scope::Once);
                tokio::spawn(async move {
                    store.approvals().answer(&Tenant::local(), asked.id, &given, at(2)).await.expect("answer")
                })
            })
            .collect();
        let mut settled = Vec::new();
        for task in tasks {
            if let Answered::Settled(state) = task.await.expect("task") {
                settled.push(state);
            }
        }
        let row = world.store.approvals().get(&Tenant::local(), asked.id).await.expect("get").expect("row");
        assert_eq!(settled, [row.state]);
    }
});
