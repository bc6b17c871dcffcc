//! Messages to a receiver: what they say, when they are sent again, and when nobody can be asked through it.

use std::collections::VecDeque;

use approval::{Courier, Inbox, Keys, Letter, Stamp, Used, Webhook};

use super::*;

/// A receiver that answers as it is told, and takes everything when there is nothing to tell.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<Result<u16, String>>>,
    letters: Mutex<Vec<Letter>>,
}

impl Courier for Receiver {
    fn carry(&self, letter: Letter) -> Wait<'_, Result<u16, String>> {
        self.letters.lock().push(letter);
        let answer = self.answers.lock().pop_front().unwrap_or(Ok(204));
        Box::pin(async move { answer })
    }
}

impl Receiver {
    fn says(&self, answers: impl IntoIterator<Item = Result<u16, String>>) {
        self.answers.lock().extend(answers);
    }

    /// Waits for so many letters, and gives their types with their data.
    async fn heard(&self, count: usize) -> Vec<(String, serde_json::Value)> {
        for _ in 0..400 {
            if self.letters.lock().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let letters = self.letters.lock().clone();
        assert_eq!(letters.len(), count, "{letters:#?}");
        let read = |letter: &Letter| {
            let keys = keys();
            let stamp = Stamp { id: &letter.id, seconds: letter.seconds, signatures: &letter.signature };
            assert!(keys.verify(&stamp, &letter.body), "{letter:?}");
            let body: serde_json::Value = serde_json::from_slice(&letter.body).unwrap();
            let part = |name: &str| body.get(name).cloned().unwrap();
            (part("type").as_str().unwrap().to_owned(), part("data"))
        };
        letters.iter().map(read).collect()
    }
}

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.add(&secret::Secret::new(format!("whsec_{}", "QUJD".repeat(8)).into_bytes())).unwrap();
    keys
}

async fn room(house: &House, receiver: &Arc<Receiver>) -> WaitingRoom {
    let (keys, clock) = (Arc::new(keys()), Arc::clone(&house.clock) as Arc<dyn Clock>);
    let inbox = Inbox::new("ops", Arc::clone(&keys), Arc::new(Used::default()), Arc::clone(&clock));
    let random = Arc::new(Counting(AtomicU64::new(77)));
    let courier = Arc::clone(receiver) as Arc<dyn Courier>;
    let webhook = Webhook::new(("ops", keys), courier, inbox, clock, random);
    house.room(1, vec![Arc::new(webhook)]).await
}

#[tokio::test]
async fn a_question_and_its_end_are_told() {
    let (house, receiver) = (House::new(), Arc::new(Receiver::default()));
    let room = room(&house, &receiver).await;
    let mut question = ask(1);
    question.sentences = (0..40).map(|at| format!("delete \u{202e}{at} {}", "x".repeat(5_000))).collect();
    question.url = format!("https://a.test/\u{430}?{}", "y".repeat(9_000));
    question.task = Some("tidy\n\u{1b}[2J up".into());
    question.content_type = Some("text/\u{430}".into());
    question.preview = Bytes::from_static(b"the body itself");
    let waits = spawn(&room, question);
    let heard = receiver.heard(1).await;
    let (kind, data) = &heard[0];
    assert_eq!(kind, "approval.requested");
    let id: model::ApprovalId = data["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(data["sentences"].as_array().unwrap().len(), 16);
    assert_eq!((data["calls"].as_u64(), data["task"].as_str()), (Some(40), Some(r"tidy\n\u{1b}[2J up")));
    assert!(data["sentences"][0].as_str().unwrap().starts_with(r"delete \u{202e}0 xxx"), "{data}");
    assert!(data["url"].as_str().unwrap().starts_with(r"https://a.test/\u{430}?yyy"), "{data}");
    assert_eq!(data["body"]["content_type"], r"text/\u{430}");
    assert_eq!((data["agent"].as_str(), data["rule"].as_str()), (Some("refactoring-bot"), Some("guarded/3")));
    assert_eq!(data["body"]["sha256"], Digest([1; 32]).to_string());
    let body = receiver.letters.lock()[0].body.clone();
    assert!(body.len() < 24 * 1024 && body.is_ascii(), "{} octets", body.len());
    assert!(!String::from_utf8_lossy(&body).contains("the body itself"));
    room.answer(&Tenant::local(), id, "ops:ada", Reply::Deny("no\u{202e}".into())).await.unwrap();
    assert!(matches!(waits.await.unwrap(), Err(NotApproved::Denied { by, .. }) if by == "ops:ada"));
    let heard = receiver.heard(2).await;
    let (kind, data) = &heard[1];
    assert_eq!(kind, "approval.settled");
    assert_eq!((data["id"].as_str(), data["state"].as_str()), (Some(&*id.to_string()), Some("denied")));
    assert_eq!((data["by"][0].as_str(), data["reason"].as_str()), (Some("ops:ada"), Some(r"no\u{202e}")));
}

#[tokio::test]
async fn who_approved_is_told_and_nobody_is_told_of_what_it_cannot_answer() {
    let (house, receiver) = (House::new(), Arc::new(Receiver::default()));
    let room = room(&house, &receiver).await;
    for of in [vec!["ada".to_owned()], vec!["opsy".to_owned(), "opsy:ada".to_owned()]] {
        let mut question = ask(2);
        question.need.of = of;
        assert!(matches!(room.ask(question).await, Err(NotApproved::NoChannel { .. })));
    }
    let mut question = ask(3);
    question.need.of = vec!["ops:ada".to_owned(), "joan".to_owned()];
    let waits = spawn(&room, question);
    let id = waiting(&room, 1).await.first().unwrap().id;
    receiver.heard(1).await;
    let stranger = room.answer(&Tenant::local(), id, "ops:eve", Reply::Once).await;
    assert!(matches!(stranger, Err(ApprovalError::NotAnApprover { .. })), "{stranger:?}");
    room.answer(&Tenant::local(), id, "ops:ada", Reply::Once).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().approver, "ops:ada");
    let heard = receiver.heard(2).await;
    assert_eq!((heard[1].1["state"].as_str(), heard[1].1["by"][0].as_str()), (Some("approved"), Some("ops:ada")));
}

#[tokio::test]
async fn a_message_is_sent_again_as_the_same_message() {
    let (house, receiver) = (House::new(), Arc::new(Receiver::default()));
    receiver.says([Err("connection refused".into()), Ok(500), Ok(302)]);
    let room = room(&house, &receiver).await;
    let waits = spawn(&room, ask(1));
    // 1 + 2 + 4 s at most, half of it at least.
    let begun = tokio::time::Instant::now();
    let heard = receiver.heard(4).await;
    assert!(begun.elapsed() >= Duration::from_millis(3_500), "{:?}", begun.elapsed());
    assert!(heard.windows(2).all(|two| two[0] == two[1]), "{heard:?}");
    let ids: std::collections::HashSet<String> =
        receiver.letters.lock().iter().map(|letter| letter.id.clone()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    waits.abort();
}

#[tokio::test]
async fn where_deliveries_fail_nobody_can_be_asked() {
    let (house, receiver) = (House::new(), Arc::new(Receiver::default()));
    receiver.says((0..100).map(|_| Ok(503)));
    let room = room(&house, &receiver).await;
    let hasty = |octet| Ask { patience_seconds: Some(0), ..ask(octet) };
    assert!(matches!(room.ask(hasty(1)).await, Err(NotApproved::Pending { .. })));
    receiver.heard(3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(room.ask(hasty(2)).await, Err(NotApproved::NoChannel { .. })), "three failures are known");
    house.clock.0.fetch_add(61_000_000, Ordering::Relaxed);
    receiver.answers.lock().clear();
    assert!(matches!(room.ask(hasty(3)).await, Err(NotApproved::Pending { .. })), "after a while it is tried again");
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_gets_no_more() {
    let (house, receiver) = (House::new(), Arc::new(Receiver::default()));
    receiver.says([Ok(410)]);
    let room = room(&house, &receiver).await;
    let hasty = |octet| Ask { patience_seconds: Some(0), ..ask(octet) };
    let Err(NotApproved::Pending { id }) = room.ask(hasty(1)).await else { panic!("not pending") };
    receiver.heard(1).await;
    assert!(matches!(room.ask(hasty(2)).await, Err(NotApproved::NoChannel { .. })));
    house.clock.0.fetch_add(3_600_000_000, Ordering::Relaxed);
    assert!(matches!(room.ask(hasty(3)).await, Err(NotApproved::NoChannel { .. })));
    // Neither of the end of the question.
    let late = room.answer(&Tenant::local(), id, "ops:ada", Reply::Once).await;
    assert!(matches!(late, Err(ApprovalError::Late { .. })), "{late:?}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    receiver.heard(1).await;
}
