//! A token that a log-in gives, kept until shortly before its end; one log-in for all who wait, and one more where a token is taken no longer.

use http::{HeaderValue, header};
use model::Timestamp;
use secret::Secret;

use super::BackendError;
use super::pick::field;
use crate::Pending;
use crate::far::{Ask, Client, Reply, secret_field};
use crate::issue::until;

/// What a log-in gave, and until when it is good.
pub(crate) struct Token {
    pub value: Secret,
    pub expires: Timestamp,
}

/// Who logs in.
pub(super) trait LogsIn: Send + Sync {
    /// Logs in.
    fn log_in(&self, now: Timestamp) -> Pending<'_, Result<Token, BackendError>>;
}

#[derive(Default)]
pub(super) struct Bearer(tokio::sync::Mutex<Option<Kept>>);

struct Kept {
    value: HeaderValue,
    fresh: Timestamp,
    from: Timestamp,
}

impl Bearer {
    /// Asks; where the answer is 401 and the token was not got just now, once more with a new one.
    pub async fn ask(
        &self,
        (client, target): (&Client, &str),
        who: &dyn LogsIn,
        now: Timestamp,
    ) -> Result<Reply, BackendError> {
        let (value, from) = self.value(who, (now, None)).await?;
        let reply = client.ask(&Ask::get(target).with(header::AUTHORIZATION, value)).await?;
        if reply.status != 401 || from == now {
            return Ok(reply);
        }
        let (value, _) = self.value(who, (now, Some(from))).await?;
        client.ask(&Ask::get(target).with(header::AUTHORIZATION, value)).await
    }

    /// The field of a question, and when its token was got; another one than that of `refused`.
    async fn value(
        &self,
        who: &dyn LogsIn,
        (now, refused): (Timestamp, Option<Timestamp>),
    ) -> Result<(HeaderValue, Timestamp), BackendError> {
        let mut kept = self.0.lock().await;
        if let Some(known) = kept.as_ref().filter(|known| now < known.fresh && refused != Some(known.from)) {
            return Ok((known.value.clone(), known.from));
        }
        let token = who.log_in(now).await?;
        let value = secret_field(field("Bearer ", &token.value))?;
        *kept = Some(Kept { value: value.clone(), fresh: until(token.expires, now), from: now });
        Ok((value, now))
    }
}
