//! Answers that come through webhooks. No token stands before this route: a message counts by its signature alone, which
//! no agent can make, whatever it holds.

use std::time::Duration;

use approval::inbox::ANSWER_BYTES_MAX;
use approval::{ApprovalError, Given, InboxError, Stamp};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};

use crate::approvals::answered;
use crate::{Api, Problem};

/// How long a sender has for its message.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Whether this is the route of signed answers.
pub(crate) fn is_signed(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    method == Method::POST && matches!(parts.as_slice(), ["", "v1", "channels", name, "answers"] if !name.is_empty())
}

/// A signed answer to a question.
pub(crate) async fn answer(
    State(api): State<Api>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let reading = axum::body::to_bytes(body, ANSWER_BYTES_MAX);
    let read = tokio::time::timeout(BODY_TIME_MAX, reading).await;
    let body = read.ok().and_then(Result::ok).ok_or_else(|| {
        let (bytes, seconds) = (ANSWER_BYTES_MAX, BODY_TIME_MAX.as_secs());
        Problem::wrong(format!("an answer has at most {bytes} octets and comes within {seconds} s"))
    })?;
    // A field that stands there twice could be read in two ways.
    let field = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
        if values.next().is_some() { "" } else { value }
    };
    let stamp = Stamp::read(field("webhook-id"), field("webhook-timestamp"), field("webhook-signature"))
        .map_err(|error| Problem::new(StatusCode::UNAUTHORIZED, "unidentified", error.to_string()))?;
    // Whether there is such a channel is not told to who cannot sign for it.
    let inbox = api.room.inbox(&channel).ok_or(InboxError::Forged)?;
    let given = inbox.open(&stamp, &body)?;
    let Given { id, by, reply } = given;
    answered(&api, (id, &by), reply).await.inspect_err(|error| {
        if matches!(error, ApprovalError::Store(_)) {
            inbox.give_back(&stamp);
        }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<InboxError> for Problem {
    fn from(error: InboxError) -> Self {
        let (status, code) = match &error {
            InboxError::Forged | InboxError::Old => (StatusCode::UNAUTHORIZED, "unidentified"),
            InboxError::Replayed => (StatusCode::CONFLICT, "conflict"),
            InboxError::Full => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            InboxError::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
        };
        Self::new(status, code, error.to_string())
    }
}
