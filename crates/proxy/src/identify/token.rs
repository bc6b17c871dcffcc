//! Session tokens: 256 bits, kept only as a digest. In `Proxy-Authorization` on the proxy legs, as Bearer or in
//! `X-Valetkey-Session` on the reverse leg.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest as sha};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use model::{Digest, Refusal};

use super::unidentified;
use crate::accepted::Leg;
use crate::gateway::Worker;
use crate::session::LiveSession;

/// Every session token begins so; scanners and people can tell it from a credential.
pub const PREFIX: &str = "vkt_";

/// SHA-256 of a token, under which stores and maps keep it.
#[must_use]
pub fn digest(token: &str) -> Digest {
    let mut out = [0u8; 32];
    out.copy_from_slice(sha(&SHA256, token.as_bytes()).as_ref());
    Digest(out)
}

/// Takes the token out of the headers of this leg.
pub(super) fn take(leg: Leg, headers: &mut HeaderMap) -> Option<String> {
    match leg {
        Leg::Tunnel => None,
        Leg::Plain => headers.remove(PROXY_AUTHORIZATION).as_ref().and_then(of_value),
        Leg::Reverse => match headers.remove("x-valetkey-session") {
            Some(value) => value.to_str().ok().map(str::to_owned),
            None => headers.get(AUTHORIZATION).and_then(of_value).inspect(|_| {
                // It was ours, so it is not the slot's: the credential is put on in its place.
                headers.remove(AUTHORIZATION);
            }),
        },
    }
}

/// The token in a Basic or Bearer value.
pub(crate) fn of_value(value: &HeaderValue) -> Option<String> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("basic") {
        let plain = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        plain.split_once(':')?.1.to_owned()
    } else if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else {
        return None;
    };
    token.starts_with(PREFIX).then_some(token)
}

/// The live session of a token, here or, where another process began it, through the source.
pub(crate) async fn find(worker: &Arc<Worker>, token: &str) -> Result<Arc<LiveSession>, Refusal> {
    let digest = digest(token);
    let gateway = &worker.gateway;
    if let Some(live) = gateway.sessions.by_token(&digest) {
        return Ok(live);
    }
    if gateway.guesses.rules_out(&digest, || gateway.source.tokens()).await {
        return Err(unidentified());
    }
    let Some(live) = gateway.source.load(token).await else {
        gateway.guesses.wrong();
        return Err(unidentified());
    };
    Ok(gateway.sessions.insert(digest, live))
}
