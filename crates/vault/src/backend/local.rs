//! What logs us in to back ends over the network: secrets that lie on this machine, named by references.
#![expect(clippy::disallowed_methods, reason = "a token goes into the field of a question")]

use std::sync::Arc;

use http::HeaderValue;
use model::{CredentialName, Tenant, Timestamp};
use secret::Secret;

use super::bearer::Token;
use super::pick::field;
use super::{Backend, BackendError, Ground, Wanted, env, exec, file, keyring, without_newline};
use crate::Reference;
use crate::aws::Keys;
use crate::aws::chain::{Chain, endpoint};
use crate::far::secret_field;
use crate::instance::LogIn;
use crate::issue::http::Form;

/// The longest life of a token that is believed, seconds.
const TOKEN_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Reads them. Cheap to copy.
#[derive(Clone)]
pub(crate) struct Local {
    backends: Arc<[Box<dyn Backend>]>,
    chain: Arc<Chain>,
}

impl Local {
    pub fn new(ground: &Ground) -> Self {
        let backends: Vec<Box<dyn Backend>> = vec![
            Box::new(env::Env::new(ground)),
            Box::new(file::File::new(ground)),
            Box::new(exec::Exec::new(ground)),
            Box::new(keyring::Keyring::new(ground)),
        ];
        Self { backends: backends.into(), chain: Arc::clone(&ground.chain) }
    }

    /// The secret, freshly read.
    pub async fn secret(&self, reference: &Reference, now: Timestamp) -> Result<Secret, BackendError> {
        let found = self.backends.iter().find(|backend| backend.scheme() == reference.scheme());
        let backend = found.ok_or_else(|| BackendError::Malformed {
            what: format!("`{reference}` cannot log in to a back end; use `env:`, `file:`, `exec:` or `keyring:`"),
        })?;
        let (tenant, name) = (Tenant::local(), CredentialName::new("log-in"));
        let name = name.map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        let fetched = backend.fetch(Wanted { tenant: &tenant, name: &name, reference, now }).await?;
        if fetched.value.is_empty() {
            return Err(BackendError::Missing { what: format!("`{reference}` is empty; fill it") });
        }
        Ok(fetched.value)
    }

    /// The keys of AWS that surround us.
    pub async fn aws(&self, now: Timestamp) -> Result<Arc<Keys>, BackendError> {
        self.chain.keys(now).await
    }

    /// A token that a log-in by this form gives, asked for on the gateway's own road.
    pub async fn token(&self, url: &str, form: Form, now: Timestamp) -> Result<Token, BackendError> {
        /// RFC 6749 5.1.
        #[derive(serde::Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: u64,
        }
        let at = endpoint(url)?;
        if at.origin.scheme != model::canonical::Scheme::Https {
            return Err(BackendError::Malformed {
                what: format!("{url} is no `https://`; a log-in goes nowhere else"),
            });
        }
        let reply = self.chain.by_way(&at, &form.post(&at.target)).await?;
        let answer: Answer = crate::issue::http::read(&at, &reply)?;
        let expires = now.plus_secs(answer.expires_in.min(TOKEN_SECONDS_MAX));
        Ok(Token { value: Secret::new(answer.access_token.into_bytes()), expires })
    }

    /// The field `Authorization` of a question to `who`, which takes a bearer token and nothing else (RFC 6750 2.1).
    pub async fn bearer(&self, login: &LogIn, who: &str, now: Timestamp) -> Result<HeaderValue, BackendError> {
        let LogIn::Token(reference) = login else {
            return Err(BackendError::Malformed {
                what: format!("nothing says how to log in to {who}; write `token`"),
            });
        };
        let token = self.secret(reference, now).await?;
        let token = Secret::new(without_newline(token.expose()).to_vec());
        secret_field(field("Bearer ", &token))
    }
}
