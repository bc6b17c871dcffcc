//! Limits: exact between tasks and between connections; all or nothing.

use model::Tenant;
use policy::limit::{LimitNeed, Over};

use crate::on_both;
use crate::world::{World, at};

pub fn need(key: &str, amount: u64, max: u64) -> LimitNeed {
    LimitNeed {
        key: key.into(),
        amount,
        max,
        period_micros: 3_600_000_000,
        label: format!("{max}/hour"),
        rule: "bot/1".into(),
        over: Over::Refuse,
    }
}

on_both!(slides_and_says_when, async |world: World| {
    let (rows, home) = (world.store.limits(), Tenant::local());
    for second in 0..5 {
        let taken = rows.reserve(&home, &[need("k", 1, 5)], at(100 + second)).await.expect("store");
        assert!(taken.is_ok_and(|it| it.covers(&[need("k", 1, 5)]) && it.id().is_some()));
    }
    let reached = rows.reserve(&home, &[need("k", 1, 5)], at(200)).await.expect("store").expect_err("used up");
    assert_eq!(reached.retry_after_seconds, Some(3_500));
    assert_eq!(rows.taken(&home, "k", at(0)).await.expect("taken"), 5);
    assert!(
        rows.reserve(&Tenant::new("other").expect("tenant"), &[need("k", 1, 5)], at(200)).await.expect("store").is_ok()
    );
    assert!(rows.reserve(&home, &[need("k", 1, 5)], at(3_700)).await.expect("store").is_ok());
    assert!(rows.reserve(&home, &[need("k", 1, 5)], at(3_700)).await.expect("store").is_err());
    assert!(rows.reserve(&home, &[], at(1)).await.expect("store").is_ok_and(|it| it.id().is_none()));
    // Long after, old rows are gone.
    assert!(rows.reserve(&home, &[need("k", 1, 5)], at(100_000)).await.expect("store").is_ok());
    assert_eq!(rows.taken(&home, "k", at(0)).await.expect("taken"), 1);
});

on_both!(what_was_taken_ahead_of_the_time_counts_for_one_period, async |world: World| {
    let (rows, home) = (world.store.limits(), Tenant::local());
    let ahead = 31_536_000;
    for second in 0..3 {
        rows.reserve(&home, &[need("k", 1, 5)], at(ahead + second)).await.expect("store").expect("room");
    }
    rows.reserve(&home, &[need("k", 1, 5)], at(100)).await.expect("store").expect("room");
    // Set back by a year, they would count for all of it.
    assert_eq!(rows.pull_back(&home, at(200)).await.expect("pull back"), 3);
    assert_eq!(rows.taken(&home, "k", at(0)).await.expect("taken"), 4);
    assert!(rows.reserve(&home, &[need("k", 2, 5)], at(201)).await.expect("store").is_err());
    assert!(rows.reserve(&home, &[need("k", 5, 5)], at(200 + 3_600)).await.expect("store").is_ok());
});

on_both!(all_or_nothing_given_back_and_settled, async |world: World| {
    let (rows, home) = (world.store.limits(), Tenant::local());
    let both = [need("count", 1, 2), need("sum", 60, 100)];
    let first = rows.reserve(&home, &both, at(1)).await.expect("store").expect("room");
    assert!(rows.reserve(&home, &both, at(2)).await.expect("store").is_err());
    assert_eq!(rows.taken(&home, "count", at(0)).await.expect("taken"), 1);
    let id = first.id().expect("id");
    rows.settle(&home, id, &[("sum".into(), 10)]).await.expect("settle");
    let second = rows.reserve(&home, &both, at(3)).await.expect("store").expect("room");
    rows.give_back(&home, second.id().expect("id")).await.expect("give back");
    assert_eq!(rows.taken(&home, "sum", at(0)).await.expect("taken"), 10);
    assert_eq!(rows.taken(&home, "count", at(0)).await.expect("taken"), 1);
    // One key twice in one exchange counts twice.
    let twice = [need("twice", 1, 1), need("twice", 1, 1)];
    assert!(rows.reserve(&home, &twice, at(4)).await.expect("store").is_err());
    assert_eq!(rows.taken(&home, "twice", at(0)).await.expect("taken"), 0);
});

on_both!(an_approval_lifts_only_what_asks, async |world: World| {
    let (rows, home) = (world.store.limits(), Tenant::local());
    let asks = LimitNeed { over: Over::Ask, ..need("asks", 1, 1) };
    let one = std::slice::from_ref(&asks);
    assert!(rows.reserve(&home, one, at(1)).await.expect("store").is_ok());
    assert!(rows.reserve(&home, one, at(1)).await.expect("store").is_err());
    assert!(rows.reserve_approved(&home, one, at(1)).await.expect("store").is_ok());
    assert_eq!(rows.taken(&home, "asks", at(0)).await.expect("taken"), 2);
    let mixed = [asks.clone(), need("refuses", 2, 1)];
    assert!(rows.reserve_approved(&home, &mixed, at(1)).await.expect("store").is_err());
    assert_eq!(rows.taken(&home, "asks", at(0)).await.expect("taken"), 2);
});

on_both!(a_thousand_at_the_edge, async |world: World| {
    const MAX: u64 = 137;
    // Two stores: two processes' worth of connections; two keys in opposite orders, to provoke a deadlock.
    let stores = [world.store.clone(), world.other().await];
    let tasks: Vec<_> = (0..1_000usize)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move {
                let mut needs = [need("a", 1, MAX), need("b", 1, 10_000)];
                if number % 3 == 0 {
                    needs.reverse();
                }
                loop {
                    match store.limits().reserve(&Tenant::local(), &needs, at(1)).await {
                        Ok(done) => return done.is_ok(),
                        Err(error) => assert!(error.is_passing(), "{error}"),
                    }
                }
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += u64::from(task.await.expect("task"));
    }
    assert_eq!(admitted, MAX);
    for key in ["a", "b"] {
        assert_eq!(world.store.limits().taken(&Tenant::local(), key, at(0)).await.expect("taken"), MAX);
    }
});
