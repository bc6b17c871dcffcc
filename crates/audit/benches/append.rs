//! What recording costs: one append, an append made durable for 64 who wait, and checking a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audit::{Lane, Log, Signer, verify};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::event::{Kind, RequestRecord};
use model::time::{Clock, Random};
use model::{ActionId, AgentName, Call, Class, Effects, Event, EventId, Facts, Resource, Tenant, Timestamp};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_199_927)
    }
}

struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

fn log(dir: &std::path::Path) -> Option<Log> {
    let signer = Signer::from_seed(&[7; 32]).ok()?;
    Log::open(dir, "bench", signer, Arc::new(Fixed), Arc::new(Counting(AtomicU64::new(0)))).ok()
}

fn event() -> Option<Event> {
    let mut event = Event::new(EventId::from_bits(1), Timestamp::from_secs(1), Kind::Outcome, Tenant::local());
    event.agent = AgentName::new("refactoring-bot").ok();
    event.calls = vec![Call {
        action: ActionId::new("pulls/create").ok()?,
        class: Class::Write,
        effects: Effects::NONE,
        resource: Resource::new("repo:myorg/myrepo"),
        facts: Facts::default(),
    }];
    let path = "/repos/myorg/myrepo/pulls".into();
    event.request =
        Some(RequestRecord { method: "POST".into(), host: "api.github.com".into(), path, ..Default::default() });
    Some(event)
}

async fn sixty_four(lane: &Lane, event: &Event) {
    let waits: Vec<_> = (0..64).filter_map(|_| lane.append(event).ok()).map(|at| lane.synced(at)).collect();
    for wait in waits {
        let _ = wait.await;
    }
}

fn run(criterion: &mut Criterion) {
    let Ok(home) = tempfile::tempdir() else { return };
    let (Some(log), Some(event)) = (log(home.path()), event()) else { return };
    let Ok(lane) = log.lane() else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    criterion.bench_function("append", |it| it.iter(|| lane.append(&event)));
    criterion.bench_function("append and sync, one waits", |it| {
        it.iter(|| lane.append(&event).map(|at| runtime.block_on(lane.synced(at))));
    });
    let mut group = criterion.benchmark_group("group commit");
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 wait", |it| it.iter(|| runtime.block_on(sixty_four(&lane, &event))));
    group.finish();
    let Ok(checked) = tempfile::tempdir() else { return };
    let Some(small) = self::log(checked.path()) else { return };
    let Ok(lane) = small.lane() else { return };
    for _ in 0..200_000 {
        let _ = lane.append(&event);
    }
    let _ = small.close();
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(200_000)).sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("one lane", |it| it.iter(|| verify(checked.path(), &small.public_key(), None)));
    group.finish();
}

criterion_group!(benches, run);
criterion_main!(benches);
