//! The waiting room with a real store: who gets a grant, how often, and who does not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use approval::channel::Wait;
use approval::{
    ApprovalError, Ask, Channel, Desk, Key, NotApproved, Reply, Screen, Scripted, Terminal, TerminalChannel,
    WaitingRoom,
};
use bytes::Bytes;
use model::time::{Clock, Random};
use model::{AgentName, Digest, SessionId, Tenant, Timestamp};
use parking_lot::Mutex;
use policy::ApprovalNeed;
use store::{Answered, ApprovalState, Location, Store};

struct Moving(AtomicI64);

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(number.to_le_bytes().get(..chunk.len()).unwrap());
        }
    }
}

struct House {
    folder: tempfile::TempDir,
    clock: Arc<Moving>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(Moving(AtomicI64::new(1_795_199_927_000_000)));
        Self { folder: tempfile::tempdir().unwrap(), clock }
    }

    /// A process of its own on the same home.
    async fn room(&self, seed: u64, channels: Vec<Arc<dyn Channel>>) -> WaitingRoom {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let place = Location::Sqlite(self.folder.path().join("store.db"));
        let store = Store::open(place, Arc::clone(&clock)).await.unwrap();
        WaitingRoom::new(store, clock, Arc::new(Counting(AtomicU64::new(seed << 32))), channels)
    }
}

fn ask(octet: u8) -> Ask {
    Ask {
        tenant: Tenant::local(),
        session: SessionId::from_bits(7),
        agent: AgentName::new("refactoring-bot").unwrap(),
        need: ApprovalNeed {
            key: "ses/rule/merge/repo".into(),
            once_per_session: false,
            timeout_seconds: 30,
            count: 1,
            of: vec![],
            rule: "guarded/3".into(),
            reason: "merging asks".into(),
        },
        sentences: vec!["merge pull request 42".into()],
        method: "PUT".into(),
        url: "https://api.github.com/repos/o/r/pulls/42/merge".into(),
        content_type: None,
        head: Digest([octet; 32]),
        body: Some(Digest([octet; 32])),
        preview: Bytes::from_static(b"{}"),
        bytes: 2,
        task: None,
        patience_seconds: None,
    }
}

async fn waiting(room: &WaitingRoom, count: usize) -> Vec<store::ApprovalRow> {
    for _ in 0..400 {
        let open = room.open(&Tenant::local()).await.unwrap();
        if open.len() == count {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never were {count} questions open");
}

fn spawn(room: &WaitingRoom, ask: Ask) -> tokio::task::JoinHandle<Result<policy::Grant, NotApproved>> {
    let room = room.clone();
    tokio::spawn(async move { room.ask(ask).await })
}

#[tokio::test]
async fn without_a_channel_the_answer_is_at_once() {
    let house = House::new();
    for channels in [vec![], vec![Arc::new(TerminalChannel::new(Arc::new(Absent), "ada")) as Arc<dyn Channel>]] {
        let refused = house.room(1, channels).await.ask(ask(1)).await;
        let Err(NotApproved::NoChannel { hint }) = refused else { panic!("{refused:?}") };
        assert!(hint.contains("guarded/3") && hint.contains("approval: none"), "{hint}");
    }
}

#[tokio::test]
async fn once_is_for_these_octets_once() {
    let house = House::new();
    let script = Scripted::new([Reply::Once, Reply::Once, Reply::Deny("not today".into())]);
    let room = house.room(1, vec![Arc::new(script.clone())]).await;
    let grant = room.ask(ask(1)).await.unwrap();
    assert_eq!(grant.bound, Some((Digest([1; 32]), Some(Digest([1; 32])))));
    assert_eq!((grant.approver.as_str(), grant.key.as_str()), ("scripted", "ses/rule/merge/repo"));
    assert!(grant.expires > house.clock.now());
    let again = room.ask(ask(1)).await.unwrap();
    assert_ne!(again.approval, grant.approval, "a new question");
    let denied = NotApproved::Denied { by: "scripted".into(), reason: "not today".into() };
    assert_eq!(room.ask(ask(1)).await, Err(denied.clone()));
    assert_eq!(room.ask(ask(1)).await, Err(denied.clone()), "the same octets are not asked again at once");
    assert_eq!(room.ask(ask(2)).await, Err(denied), "nor are others of the same question");
    assert_eq!(script.asked().len(), 3);
    let mut others = [ask(2), ask(2)];
    others[0].need.key = "ses/rule/merge/other".into();
    others[1].session = SessionId::from_bits(8);
    for (number, other) in others.into_iter().enumerate() {
        assert!(room.ask(other).await.is_err(), "the script is over");
        assert_eq!(script.asked().len(), 4 + number, "another key or session is another question");
    }
    house.clock.0.fetch_add(31_000_000, Ordering::Relaxed);
    assert!(room.ask(ask(1)).await.is_err(), "the no is kept for these octets");
    assert_eq!(script.asked().len(), 5);
    assert!(room.ask(ask(3)).await.is_err(), "the script is over");
    assert_eq!(script.asked().len(), 6, "after a while others may be asked about again");
    house.clock.0.fetch_add(901_000_000, Ordering::Relaxed);
    assert!(room.ask(ask(1)).await.is_err(), "the script is over");
    assert_eq!(script.asked().len(), 7, "and after longer these");
}

#[tokio::test]
async fn for_the_session_is_remembered_by_key() {
    let house = House::new();
    let script = Scripted::new([Reply::Session]);
    let room = house.room(1, vec![Arc::new(script.clone())]).await;
    let first = room.ask(ask(1)).await.unwrap();
    let second = room.ask(ask(2)).await.unwrap();
    assert_eq!((first.bound, second.bound, second.approval), (None, None, first.approval));
    // Another process, without a channel, knows it too; another session does not.
    let other = house.room(2, vec![]).await;
    assert!(other.ask(ask(3)).await.is_ok());
    let mut stranger = ask(1);
    stranger.session = SessionId::from_bits(8);
    assert!(other.ask(stranger).await.is_err());
    room.forget(&Tenant::local(), SessionId::from_bits(7)).await.unwrap();
    assert!(other.ask(ask(3)).await.is_err());
}

#[tokio::test]
async fn a_question_put_once_per_session_needs_one_yes() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Scripted::new([Reply::Once]))]).await;
    let mut question = ask(1);
    question.need.once_per_session = true;
    let grant = room.ask(question.clone()).await.unwrap();
    question.head = Digest([9; 32]);
    assert_eq!(room.ask(question.clone()).await.unwrap().approval, grant.approval);
    question.need.key = "another".into();
    assert!(room.ask(question).await.is_err());
}

#[tokio::test]
async fn nobody_answers() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let mut question = ask(1);
    question.need.timeout_seconds = 1;
    assert_eq!(room.ask(question).await, Err(NotApproved::Expired));
    waiting(&room, 0).await;
}

#[tokio::test]
async fn who_goes_away_finds_the_answer_later() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let waits = spawn(&room, ask(1));
    let id = waiting(&room, 1).await.first().unwrap().id;
    waits.abort();
    assert!(waits.await.is_err_and(|error| error.is_cancelled()));
    assert!(room.question(id).is_some(), "it is still asked");
    room.answer(&Tenant::local(), id, "ada", Reply::Once).await.unwrap();
    waiting(&room, 0).await;
    // Others than these octets, and other sessions, are other questions.
    for (octet, session) in [(2, 7), (1, 8)] {
        let mut other = Ask { patience_seconds: Some(0), ..ask(octet) };
        other.session = SessionId::from_bits(session);
        assert!(matches!(room.ask(other).await, Err(NotApproved::Pending { .. })));
    }
    let grant = room.ask(ask(1)).await.unwrap();
    assert_eq!((grant.approval, grant.approver.as_str()), (id, "ada"));
    let again = room.ask(Ask { patience_seconds: Some(0), ..ask(1) }).await;
    assert!(matches!(again, Err(NotApproved::Pending { id: other }) if other != id), "a yes is used once: {again:?}");
}

#[tokio::test]
async fn pending_is_told_and_the_same_question_goes_on() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let hasty = || Ask { patience_seconds: Some(0), ..ask(1) };
    let Err(NotApproved::Pending { id }) = room.ask(hasty()).await else { panic!("not pending") };
    assert_eq!(room.ask(hasty()).await, Err(NotApproved::Pending { id }), "the same question");
    // Another process, or this one started anew, goes on with it; nobody there needs a channel.
    let other = house.room(2, vec![]).await;
    assert_eq!(other.ask(hasty()).await, Err(NotApproved::Pending { id }));
    let waits = spawn(&other, ask(1));
    room.answer(&Tenant::local(), id, "ada", Reply::Deny("too early".into())).await.unwrap();
    let no = NotApproved::Denied { by: "ada".into(), reason: "too early".into() };
    assert_eq!(waits.await.unwrap(), Err(no.clone()), "the other process knows who and why");
    assert_eq!(room.ask(hasty()).await, Err(no));
}

/// Whoever does not wait asks again with one octet changed: a no holds for that too, and no longer for his asking.
#[tokio::test]
async fn a_no_that_nobody_waits_for_holds_for_its_kind() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let hasty = |octets| Ask { patience_seconds: Some(0), ..ask(octets) };
    let Err(NotApproved::Pending { id }) = room.ask(hasty(1)).await else { panic!("not pending") };
    room.answer(&Tenant::local(), id, "ada", Reply::Deny("no".into())).await.unwrap();
    let no = NotApproved::Denied { by: "ada".into(), reason: "no".into() };
    assert_eq!(room.ask(hasty(2)).await, Err(no.clone()));
    house.clock.0.fetch_add(29_000_000, Ordering::Relaxed);
    assert_eq!(room.ask(hasty(3)).await, Err(no));
    house.clock.0.fetch_add(2_000_000, Ordering::Relaxed);
    assert!(matches!(room.ask(hasty(4)).await, Err(NotApproved::Pending { .. })));
}

#[tokio::test]
async fn a_kept_answer_has_an_end() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let mut hasty = Ask { patience_seconds: Some(0), ..ask(1) };
    hasty.need.timeout_seconds = 3_600;
    let Err(NotApproved::Pending { id }) = room.ask(hasty.clone()).await else { panic!("not pending") };
    room.answer(&Tenant::local(), id, "ada", Reply::Once).await.unwrap();
    house.clock.0.fetch_add(901_000_000, Ordering::Relaxed);
    let later = room.ask(hasty).await;
    assert!(matches!(later, Err(NotApproved::Pending { id: other }) if other != id), "{later:?}");
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_questions() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let hasty = || Ask { patience_seconds: Some(0), ..ask(1) };
    let Err(NotApproved::Pending { id }) = room.ask(hasty()).await else { panic!("not pending") };
    let other = Ask { patience_seconds: Some(0), ..ask(2) };
    let Err(NotApproved::Pending { id: yes }) = room.ask(other.clone()).await else { panic!("not pending") };
    room.answer(&Tenant::local(), yes, "ada", Reply::Once).await.unwrap();
    room.forget(&Tenant::local(), SessionId::from_bits(7)).await.unwrap();
    let late = room.answer(&Tenant::local(), id, "ada", Reply::Once).await;
    assert!(matches!(late, Err(ApprovalError::Late { .. })), "{late:?}");
    assert!(matches!(room.ask(other).await, Err(NotApproved::Pending { .. })), "the yes is gone");
}

#[tokio::test]
async fn identical_questions_are_one_and_a_yes_lets_one_pass() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let mut waits: Vec<_> = (0..3).map(|_| spawn(&room, ask(1))).collect();
    let mut passed = 0;
    while !waits.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let open = waiting(&room, 1).await;
        room.answer(&Tenant::local(), open.first().unwrap().id, "ada", Reply::Once).await.unwrap();
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if waits.iter().any(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        let before = waits.len();
        waits.retain(|wait| !wait.is_finished());
        assert_eq!(before - waits.len(), 1, "one yes, one request");
        passed += 1;
    }
    assert_eq!(passed, 3);
    // A no is for all who wait.
    let waits: Vec<_> = (0..3).map(|_| spawn(&room, ask(2))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let open = waiting(&room, 1).await;
    room.answer(&Tenant::local(), open.first().unwrap().id, "ada", Reply::Deny("no".into())).await.unwrap();
    for wait in waits {
        assert!(matches!(wait.await.unwrap(), Err(NotApproved::Denied { by, .. }) if by == "ada"));
    }
}

#[tokio::test]
async fn another_process_answers() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let desk = house.room(2, vec![]).await;
    let waits = spawn(&room, ask(1));
    let id = waiting(&desk, 1).await.first().unwrap().id;
    let settled = desk.answer(&Tenant::local(), id, "grace", Reply::Once).await.unwrap();
    assert_eq!(settled, Answered::Settled(ApprovalState::Approved));
    assert_eq!(waits.await.unwrap().unwrap().approver, "grace");
    let unknown = desk.answer(&Tenant::local(), model::ApprovalId::from_bits(1), "grace", Reply::Once).await;
    assert!(matches!(unknown, Err(ApprovalError::Unknown(_))));
}

#[tokio::test]
async fn only_whom_the_rule_names_and_as_many_as_it_wants() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let mut question = ask(1);
    question.need.of = vec!["ada".into(), "grace".into()];
    question.need.count = 2;
    let waits = spawn(&room, question);
    let id = waiting(&room, 1).await.first().unwrap().id;
    let answer = |by: &'static str| {
        let room = room.clone();
        async move { room.answer(&Tenant::local(), id, by, Reply::Session).await }
    };
    assert!(matches!(answer("refactoring-bot").await, Err(ApprovalError::NotAnApprover { .. })));
    assert_eq!(answer("ada").await.unwrap(), Answered::Counted { have: 1, wanted: 2 });
    assert_eq!(answer("ada").await.unwrap(), Answered::Counted { have: 1, wanted: 2 });
    assert_eq!(answer("grace").await.unwrap(), Answered::Settled(ApprovalState::Approved));
    assert_eq!(waits.await.unwrap().unwrap().bound, None);
}

#[tokio::test]
async fn an_agent_has_few_open_questions() {
    let house = House::new();
    let room = house.room(1, vec![Arc::new(Desk)]).await;
    let waits: Vec<_> = (0..5).map(|octet| spawn(&room, ask(octet))).collect();
    waiting(&room, 5).await;
    assert_eq!(room.ask(ask(99)).await, Err(NotApproved::TooMany));
    for wait in waits {
        wait.abort();
    }
    waiting(&room, 5).await;
    assert_eq!(room.ask(ask(99)).await, Err(NotApproved::TooMany), "going away makes no room");
}

struct Absent;

impl Terminal for Absent {
    fn is_present(&self) -> bool {
        false
    }

    fn open(&self) -> Wait<'_, Option<Box<dyn Screen>>> {
        Box::pin(async { None })
    }
}

#[derive(Clone, Default)]
struct Typist {
    keys: Arc<Mutex<Vec<Key>>>,
    drawn: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Terminal for Typist {
    fn is_present(&self) -> bool {
        true
    }

    fn open(&self) -> Wait<'_, Option<Box<dyn Screen>>> {
        Box::pin(async { Some(Box::new(self.clone()) as Box<dyn Screen>) })
    }
}

impl Screen for Typist {
    fn size(&self) -> (u16, u16) {
        (80, 24)
    }

    fn draw(&mut self, lines: Vec<String>) -> Wait<'_, bool> {
        self.drawn.lock().push(lines);
        Box::pin(async { true })
    }

    fn key(&mut self) -> Wait<'_, Option<Key>> {
        Box::pin(async {
            // The first key comes too early to count.
            if self.keys.lock().len() < 3 {
                tokio::time::sleep(Duration::from_millis(350)).await;
            }
            let mut keys = self.keys.lock();
            if keys.is_empty() { None } else { Some(keys.remove(0)) }
        })
    }
}

#[tokio::test]
async fn on_a_terminal() {
    let house = House::new();
    let typist = Typist::default();
    *typist.keys.lock() = vec![Key::Char('o'), Key::Char('v'), Key::Char('d')];
    let channel = TerminalChannel::new(Arc::new(typist.clone()), "ada");
    let room = house.room(1, vec![Arc::new(channel)]).await;
    assert_eq!(room.ask(ask(1)).await, Err(NotApproved::Denied { by: "ada".into(), reason: String::new() }));
    let drawn = typist.drawn.lock().clone();
    assert_eq!(drawn.len(), 2);
    assert!(drawn.iter().flatten().any(|line| line.contains("merge pull request 42")));
}

/// 10,000 requests of an agent that tries to use a yes for something else, twice, in another session, later, or from two processes at
/// once. Whatever the order: a grant comes of one yes, for these octets and this session, and each yes is used once at most.
#[tokio::test]
async fn ten_thousand_requests_use_no_yes_twice_and_none_for_another() {
    use std::collections::{HashMap, HashSet};

    const REQUESTS: usize = 10_000;
    let house = House::new();
    let rooms = [house.room(1, vec![Arc::new(Desk)]).await, house.room(2, vec![Arc::new(Desk)]).await];
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % bound
    };
    let variant = |[session, key, head, body]: [usize; 4]| {
        let mut ask = Ask { patience_seconds: Some(0), ..ask(u8::try_from(head).unwrap()) };
        ask.session = SessionId::from_bits(session as u128 + 7);
        ask.need.key = format!("ses/rule/merge/{key}");
        ask.need.timeout_seconds = 3_600;
        ask.body = body.checked_sub(1).map(|octet| Digest([u8::try_from(octet).unwrap(); 32]));
        ask
    };
    let (mut asked, mut yes, mut used) = (HashMap::new(), HashSet::new(), HashSet::new());
    let (mut grants, mut answers) = (0, 0);
    let mut requests = 0;
    while requests < REQUESTS {
        match below(100) {
            // A person answers one of the open questions, mostly with yes.
            0..=19 => {
                let room = &rooms[below(2)];
                let open = room.open(&Tenant::local()).await.unwrap();
                let Some(row) = open.get(below(open.len().max(1))) else { continue };
                let kind = below(8);
                let reply = if kind == 0 { Reply::Deny("no".into()) } else { Reply::Once };
                if room.answer(&Tenant::local(), row.id, "ada", reply).await.is_ok() && kind != 0 {
                    yes.insert(row.id);
                    answers += 1;
                }
            }
            20..=22 => drop(house.clock.0.fetch_add(below(1_200_000_000) as i64, Ordering::Relaxed)),
            // One request, or the same three times at once, by both processes.
            dice => {
                let which = [below(2), below(2), below(3), below(3)];
                let count = if dice > 90 { 3 } else { 1 };
                let waits: Vec<_> = (0..count).map(|at| spawn(&rooms[at % 2], variant(which))).collect();
                for waits in waits {
                    requests += 1;
                    match waits.await.unwrap() {
                        Err(NotApproved::Pending { id }) => assert_eq!(*asked.entry(id).or_insert(which), which),
                        Ok(grant) => {
                            let wanted = variant(which);
                            assert_eq!(grant.bound, Some((wanted.head, wanted.body)), "bound to other octets");
                            assert_eq!(asked.get(&grant.approval), Some(&which), "a yes for another question");
                            assert!(yes.contains(&grant.approval), "nobody said yes");
                            assert!(used.insert(grant.approval), "a yes was used twice");
                            grants += 1;
                        }
                        Err(NotApproved::Denied { .. } | NotApproved::TooMany) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        }
    }
    assert!(grants > 200 && grants <= answers, "{grants} grants of {answers} answers");
}
