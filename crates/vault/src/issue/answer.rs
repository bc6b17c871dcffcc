//! A token endpoint's good answer, as Google and Microsoft give it (RFC 6749 5.1).

use model::Timestamp;
use secret::{Material, Secret};
use serde::Deserialize;
use zeroize::Zeroize;

use super::{Endpoint, Issued};
use crate::backend::BackendError;

/// The longest life that is believed, seconds.
const SECONDS_MAX: u64 = 24 * 60 * 60;
/// How long a token is good whose answer does not say so, seconds.
const SECONDS_UNSAID: u64 = 600;

#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.id_token.zeroize();
    }
}

impl Answer {
    /// The access token, or the ID token where that is wanted.
    pub fn issued(mut self, at: &Endpoint, identity: bool, now: Timestamp) -> Result<Issued, BackendError> {
        let text = if identity { self.id_token.take() } else { self.access_token.take() };
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            let what = format!("{} gives no {} token", at.origin, if identity { "ID" } else { "access" });
            return Err(BackendError::Malformed { what });
        };
        let seconds = self.expires_in.unwrap_or(SECONDS_UNSAID).min(SECONDS_MAX);
        let material = Material::token(Secret::new(text.into_bytes()));
        Ok(Issued { material, expires: Some(now.plus_secs(seconds)), root: None })
    }
}
