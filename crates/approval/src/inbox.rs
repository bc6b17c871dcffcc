//! Answers that come back through a webhook: who signed them, when, for the first time, and what they say. Nothing of an answer is
//! read before its signature holds.

use std::collections::HashMap;
use std::sync::Arc;

use model::bounds::SESSION_SECONDS_DEFAULT;
use model::time::Clock;
use model::{ApprovalId, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::ask::Reply;
use crate::signing::{Keys, Stamp};

/// Octets of an answer.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How far the sender's clock may be from ours, seconds; the specification's libraries allow the same.
const APART_SECONDS_MAX: u64 = 300;
/// Ids that are remembered, of all webhooks. Only signed messages leave one, so that nobody else can fill this.
const IDS_MAX: usize = 16_384;
/// Octets of a person's name, and of a reason, which the agent reads.
const BY_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 1_024;

/// Why an answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// The signature is not one of this webhook's.
    #[error("the signature does not hold; sign `id.timestamp.body` with the secret of this webhook")]
    Forged,
    /// The time is too far from ours.
    #[error(
        "`webhook-timestamp` is more than {APART_SECONDS_MAX} s from this clock; sign again now, and set both clocks"
    )]
    Old,
    /// The id was used.
    #[error("this `webhook-id` was used before; a message counts once")]
    Replayed,
    /// Too many ids are remembered.
    #[error("too many answers came within a few minutes; try again later")]
    Full,
    /// It says nothing that can be understood.
    #[error("{0}")]
    Malformed(String),
}

/// Ids of signed messages until they would be too old anyway. One for all webhooks of a process. After a restart it is empty:
/// a message that is sent again then answers a question that is settled, or says once more what the same person said.
#[derive(Default)]
pub struct Used(Mutex<HashMap<(String, String), Timestamp>>);

impl Used {
    /// Takes an id, once.
    fn take(&self, channel: &str, id: &str, until: Timestamp, now: Timestamp) -> Result<(), InboxError> {
        let mut ids = self.0.lock();
        ids.retain(|_, until| now < *until);
        let place = (channel.to_owned(), id.to_owned());
        if ids.contains_key(&place) {
            return Err(InboxError::Replayed);
        }
        if ids.len() >= IDS_MAX {
            return Err(InboxError::Full);
        }
        ids.insert(place, until);
        Ok(())
    }

    fn give_back(&self, channel: &str, id: &str) {
        self.0.lock().remove(&(channel.to_owned(), id.to_owned()));
    }
}

/// What a person said through a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The question.
    pub id: ApprovalId,
    /// Who, as `CHANNEL:PERSON`.
    pub by: String,
    /// What.
    pub reply: Reply,
}

/// The body of an answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: ApprovalId,
    decision: Decision,
    /// How far a yes reaches: `once`, `session`, `10m`.
    #[serde(default, rename = "for")]
    reach: Option<String>,
    #[serde(default)]
    reason: String,
    by: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Approve,
    Deny,
}

/// Reads the body of an answer that came through `channel`.
///
/// # Errors
/// [`InboxError::Malformed`], with what to write.
pub fn read(channel: &str, body: &[u8]) -> Result<Given, InboxError> {
    let wrong = |why: String| InboxError::Malformed(why);
    if body.len() > ANSWER_BYTES_MAX {
        return Err(wrong(format!("an answer has at most {ANSWER_BYTES_MAX} octets")));
    }
    let written: Written = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let Written { id, decision, reach, reason, by } = written;
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._@+-".contains(&octet);
    if by.is_empty() || by.len() > BY_BYTES_MAX || !by.bytes().all(plain) {
        return Err(wrong(format!("`by` is who answers: 1 to {BY_BYTES_MAX} letters, digits and `._@+-`")));
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(wrong(format!("`reason` is longer than {REASON_BYTES_MAX} octets")));
    }
    let reply = match (decision, reach.as_deref()) {
        (Decision::Deny, None) => Reply::Deny(reason),
        (Decision::Deny, Some(_)) => return Err(wrong("a no has no `for`: it is for this question".to_owned())),
        (Decision::Approve, None | Some("once")) => Reply::Once,
        (Decision::Approve, Some("session")) => Reply::Session,
        (Decision::Approve, Some(time)) => {
            let seconds = seconds(time).filter(|seconds| (1..=SESSION_SECONDS_DEFAULT).contains(seconds));
            Reply::For(seconds.ok_or_else(|| {
                wrong("`for` is `once`, `session`, or a time such as `30s`, `10m` or `2h`, 12 hours at most".to_owned())
            })?)
        }
    };
    Ok(Given { id, by: format!("{channel}:{by}"), reply })
}

/// Seconds of `30s`, `10m`, `2h`.
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    let plain = digits.len() <= 6 && digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}

/// Where the answers of one webhook come in.
pub struct Inbox {
    channel: String,
    keys: Arc<Keys>,
    used: Arc<Used>,
    clock: Arc<dyn Clock>,
}

impl Inbox {
    /// Of the webhook `channel`; `used` is shared by all.
    #[must_use]
    pub fn new(channel: &str, keys: Arc<Keys>, used: Arc<Used>, clock: Arc<dyn Clock>) -> Self {
        Self { channel: channel.to_owned(), keys, used, clock }
    }

    /// Opens a signed answer, once.
    ///
    /// # Errors
    /// [`InboxError`]; the id of what is malformed is not used up.
    pub fn open(&self, stamp: &Stamp<'_>, body: &[u8]) -> Result<Given, InboxError> {
        let now = self.clock.now();
        let signed = Timestamp::from_secs(i64::try_from(stamp.seconds).map_err(|_| InboxError::Old)?);
        if signed > now.plus_secs(APART_SECONDS_MAX) || now > signed.plus_secs(APART_SECONDS_MAX) {
            return Err(InboxError::Old);
        }
        if !self.keys.verify(stamp, body) {
            return Err(InboxError::Forged);
        }
        let given = read(&self.channel, body)?;
        // A second longer than it could be sent: the sender counts whole seconds.
        self.used.take(&self.channel, stamp.id, signed.plus_secs(APART_SECONDS_MAX + 1), now)?;
        Ok(given)
    }

    /// The answer could not be taken for a reason of ours: the same message may be sent again.
    pub fn give_back(&self, stamp: &Stamp<'_>) {
        self.used.give_back(&self.channel, stamp.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use secret::Secret;

    use super::*;

    const QUESTION: &str = "apr_01m7xpbdjcqzekvm6s64asys2c";

    #[test]
    fn what_answers_say() {
        let said = |more: &str| read("ops", format!(r#"{{"id":"{QUESTION}","by":"ada"{more}}}"#).as_bytes());
        for (more, reply) in [
            (r#","decision":"approve""#, Reply::Once),
            (r#","decision":"approve","for":"once","reason":"fine""#, Reply::Once),
            (r#","decision":"approve","for":"session""#, Reply::Session),
            (r#","decision":"approve","for":"10m""#, Reply::For(600)),
            (r#","decision":"approve","for":"12h""#, Reply::For(43_200)),
            (r#","decision":"deny","reason":"not today""#, Reply::Deny("not today".into())),
            (r#","decision":"deny""#, Reply::Deny(String::new())),
        ] {
            let given = said(more).expect(more);
            assert_eq!((given.by.as_str(), &given.reply), ("ops:ada", &reply), "{more}");
        }
        for (more, says) in [
            ("", "decision"),
            (r#","decision":"maybe""#, "maybe"),
            (r#","decision":"deny","for":"10m""#, "a no has no"),
            (r#","decision":"approve","for":"0s""#, "`for` is"),
            (r#","decision":"approve","for":"13h""#, "`for` is"),
            (r#","decision":"approve","for":"+5m""#, "`for` is"),
            (r#","decision":"approve","for":"""#, "`for` is"),
            (r#","decision":"approve","scope":"once""#, "unknown field"),
            (r#","decision":"approve","decision":"deny""#, "duplicate field"),
            (r#","decision":"approve"}{"#, "trailing"),
        ] {
            let why = said(more).expect_err(more).to_string();
            assert!(why.contains(says), "{more}: {why}");
        }
        for by in ["", "a b", "a:b", "\u{430}da", "a\\nb", &"x".repeat(65)] {
            let body = format!(r#"{{"id":"{QUESTION}","by":"{by}","decision":"deny"}}"#);
            assert!(read("ops", body.as_bytes()).is_err(), "{by}");
        }
        assert!(read("ops", &vec![b' '; ANSWER_BYTES_MAX + 1]).is_err());
    }

    struct Still(AtomicI64);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    const NOW: i64 = 1_795_199_927;

    struct Post {
        keys: Arc<Keys>,
        clock: Arc<Still>,
        inbox: Inbox,
    }

    impl Post {
        fn new() -> Self {
            let mut keys = Keys::default();
            let secret = format!("whsec_{}", "QUJD".repeat(8));
            keys.add(&Secret::new(secret.into_bytes())).expect("a key");
            let (keys, clock) = (Arc::new(keys), Arc::new(Still(AtomicI64::new(NOW * 1_000_000))));
            let inbox = Inbox::new("ops", Arc::clone(&keys), Arc::default(), Arc::clone(&clock) as Arc<dyn Clock>);
            Self { keys, clock, inbox }
        }

        fn send(&self, id: &str, seconds: i64, body: &str) -> Result<Given, InboxError> {
            let signature = self.keys.sign(id, seconds.unsigned_abs(), body.as_bytes()).expect("a signature");
            let stamp = Stamp { id, seconds: seconds.unsigned_abs(), signatures: &signature };
            self.inbox.open(&stamp, body.as_bytes())
        }
    }

    #[test]
    fn a_message_counts_once_and_soon() {
        let (post, body) = (Post::new(), format!(r#"{{"id":"{QUESTION}","by":"ada","decision":"approve"}}"#));
        for (seconds, fits) in
            [(NOW - 300, true), (NOW - 301, false), (NOW + 300, true), (NOW + 301, false), (1, false)]
        {
            let opened = post.send(&format!("msg_{seconds}"), seconds, &body);
            assert_eq!(opened.err(), (!fits).then_some(InboxError::Old), "{seconds}");
        }
        assert!(post.send("msg_1", NOW, &body).is_ok());
        assert_eq!(post.send("msg_1", NOW, &body), Err(InboxError::Replayed));
        assert_eq!(post.send("msg_1", NOW + 5, &body), Err(InboxError::Replayed), "signed anew, the same id");
        // As long as it would be young enough, whatever its own clock says.
        assert!(post.send("msg_2", NOW + 300, &body).is_ok());
        post.clock.0.store((NOW + 600) * 1_000_000, Ordering::Relaxed);
        assert_eq!(post.send("msg_2", NOW + 300, &body), Err(InboxError::Replayed));
        post.clock.0.store((NOW + 602) * 1_000_000, Ordering::Relaxed);
        assert_eq!(post.send("msg_2", NOW + 300, &body), Err(InboxError::Old));
    }

    #[test]
    fn what_is_not_signed_is_not_read_and_leaves_nothing() {
        let post = Post::new();
        for body in ["{", "{}", r#"{"id":"apr_1"}"#] {
            let stamp = Stamp { id: "msg_1", seconds: NOW.unsigned_abs(), signatures: "v1,AAAA" };
            assert_eq!(post.inbox.open(&stamp, body.as_bytes()), Err(InboxError::Forged));
            assert!(matches!(post.send("msg_1", NOW, body), Err(InboxError::Malformed(_))));
        }
        let body = format!(r#"{{"id":"{QUESTION}","by":"ada","decision":"deny"}}"#);
        assert!(post.send("msg_1", NOW, &body).is_ok());
        post.inbox.give_back(&Stamp { id: "msg_1", seconds: 0, signatures: "" });
        assert!(post.send("msg_1", NOW, &body).is_ok());
        for number in 0..IDS_MAX - 1 {
            let place = ("sec".to_owned(), number.to_string());
            post.inbox.used.0.lock().insert(place, Timestamp::from_secs(NOW + 1));
        }
        assert_eq!(post.send("msg_2", NOW, &body), Err(InboxError::Full));
    }
}
