//! Issuers: what is stored (a client's secret, a private key, a refresh token) stays here, and something short-lived that was had for it is
//! put on requests.
//!
//! An issuer is asked once for everybody who waits, shortly before the end of what was issued, behind a breaker, on the gateway's own road
//! ([`Road`]). Where it can issue less than the whole (an installation token of one repository, a session of AWS with a policy), it is told what the agent
//! may do, and each agent has its own.
//!
//! To add one: a file here that implements [`Issuer`], its settings in `policy/document/issue.rs`, and a line in the wiring.
#![expect(clippy::disallowed_methods, reason = "what is stored goes to its issuer and nowhere else")]

mod answer;
mod aws;
mod azure;
mod github_app;
mod google;
mod held;
pub(crate) mod http;
pub(crate) mod jwt;
mod login;
mod oauth2;
mod run;

use std::collections::VecDeque;
use std::sync::Arc;

use model::canonical::Origin;
use model::{AgentName, CredentialName, Random, Tenant, Timestamp};
use parking_lot::Mutex;
use secret::{Material, Secret};

use crate::backend::{BackendError, Local};
use crate::instance::Breaker;
use crate::road::Road;
use crate::{Pending, Reference};

pub use aws::{AwsRole, AwsSource};
pub use azure::Azure;
pub use github_app::{GithubApp, Installed};
pub use google::Google;
pub(crate) use held::AllHeld;
pub use held::Ender;
pub use login::{CodeLogin, DeviceLogin, read_redirect};
pub use oauth2::{Authentication, OAuth2, OAuth2Grant};
pub(crate) use run::{Order, until};

/// Where something is asked for: `https://HOST[:PORT]/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host, whose certificate must say so.
    pub origin: Origin,
    /// Path and query, encoded.
    pub target: String,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}://{}{}", self.origin.scheme.as_str(), self.origin, self.target)
    }
}

/// What an agent may do, as its issuer reads it; or why it cannot be said, and then nothing is issued.
pub type Narrowing = Result<Arc<str>, Arc<str>>;

/// The narrowings of a configuration.
pub type Narrowings = std::collections::HashMap<(Tenant, AgentName, CredentialName), Narrowing>;

/// One question.
pub struct Asked<'a> {
    /// What is stored.
    pub(crate) root: Secret,
    /// What the agent may do; the whole where nothing is said.
    pub(crate) narrowed: Option<&'a str>,
    /// Whose it will be, where an issuer gives each agent its own; nobody's where somebody only looks.
    pub(crate) agent: Option<&'a AgentName>,
    /// What was issued before and did not work.
    pub(crate) refused: &'a Refused,
    pub(crate) way: &'a dyn Road,
    pub(crate) local: &'a Local,
    pub(crate) random: &'a dyn Random,
    pub(crate) now: Timestamp,
}

/// What was issued.
pub struct Issued {
    pub(crate) material: Material,
    /// When it ends.
    pub(crate) expires: Option<Timestamp>,
    /// What is stored from now on instead of what was.
    pub(crate) root: Option<NewRoot>,
}

/// What is stored from now on.
pub struct NewRoot {
    pub(crate) value: Secret,
    /// What was stored before is used up.
    pub(crate) must_be_kept: bool,
}

/// Whoever issues something for what is stored.
pub trait Issuer: Send + Sync {
    /// A word for messages: `oauth2`.
    fn name(&self) -> &'static str;

    /// The kind of what is stored: `token`, `oauth2`, `private-key`.
    fn stores(&self) -> &'static str;

    /// Asks. A stored value of the wrong form is [`BackendError::Malformed`], a no [`BackendError::Forbidden`], silence and overload
    /// [`BackendError::Away`].
    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>>;

    /// Something of the form of what it issues, drawn anew: placeholders are made of it, so that beginning a session asks nobody.
    fn sample(&self, random: &dyn Random) -> Material;

    /// Whether it can issue less than the whole.
    fn narrows(&self) -> bool {
        false
    }

    /// Whether asking uses up what is stored: then one process at a time asks, and what it stored is read anew.
    fn renews_root(&self) -> bool {
        false
    }
}

/// Values that were put on a request and taken by nobody, by their marks; the last few.
#[derive(Default)]
pub(crate) struct Refused(Mutex<VecDeque<u64>>);

/// How many of them.
const REFUSED_MAX: usize = 64;

impl Refused {
    pub fn note(&self, mark: u64) {
        let mut all = self.0.lock();
        if all.len() >= REFUSED_MAX {
            all.pop_front();
        }
        all.push_back(mark);
    }

    pub fn has(&self, mark: u64) -> bool {
        self.0.lock().contains(&mark)
    }
}

/// An issuer, as the configuration describes it.
pub struct Issuing {
    /// Its settings: two that read alike are alike.
    settings: String,
    pub(crate) refused: Refused,
    pub(crate) by: Box<dyn Issuer>,
    /// Who can end what it issued, if that can be done.
    pub(crate) ender: Option<Box<dyn Ender>>,
    pub(crate) breaker: Breaker,
}

impl Issuing {
    /// One with these settings.
    #[must_use]
    pub fn new(settings: impl std::fmt::Debug, by: Box<dyn Issuer>) -> Arc<Self> {
        Self::with_ender(settings, by, None)
    }

    /// One with these settings, and who can end what it issues.
    #[must_use]
    pub fn with_ender(settings: impl std::fmt::Debug, by: Box<dyn Issuer>, ender: Option<Box<dyn Ender>>) -> Arc<Self> {
        Arc::new(Self {
            settings: format!("{settings:?}"),
            by,
            ender,
            breaker: Breaker::default(),
            refused: Refused::default(),
        })
    }
}

impl Issuing {
    /// A word for it: `oauth2`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.by.name()
    }

    /// The kind of what is stored.
    #[must_use]
    pub fn stores(&self) -> &'static str {
        self.by.stores()
    }
}

impl PartialEq for Issuing {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.by.name() == other.by.name()
    }
}

impl Eq for Issuing {}

impl std::fmt::Debug for Issuing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct(self.by.name()).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Every answer that is read here, of these octets.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(line: &[u8], octets: &[u8]) {
    if let Ok(target) = std::str::from_utf8(line) {
        login::read_all(target);
    }
    oauth2::read_all(octets);
    let scheme = model::canonical::Scheme::Https;
    let Ok((host, _)) = model::canonical::parse_authority("issuer.test") else { return };
    let at = Endpoint { origin: Origin { scheme, host, port: 443 }, target: "/".to_owned() };
    for status in [200, 400, 503] {
        let reply = crate::far::Reply { status, retry_after: None, body: zeroize::Zeroizing::new(octets.to_vec()) };
        github_app::read_all(&at, &reply);
        if let Ok(answer) = http::read::<answer::Answer>(&at, &reply) {
            drop(answer.issued(&at, false, Timestamp::from_secs(0)));
        }
    }
    let value = Secret::new(octets.to_vec());
    drop(crate::kind::gcp::KeyFile::of(&value));
    drop(jwt::der(&value));
    drop(jwt::thumbprint(&value));
}

/// Texts of the alphabets in which issuers write, drawn anew.
fn drawn(random: &dyn Random, prefix: &str, chars: usize) -> Secret {
    drawn_from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", random, prefix, chars)
}

/// The same of these letters.
fn drawn_from(letters: &[u8], random: &dyn Random, prefix: &str, chars: usize) -> Secret {
    let mut text = prefix.as_bytes().to_vec();
    let mut octets = [0u8; 64];
    while text.len() < prefix.len() + chars {
        random.fill(&mut octets);
        let left = prefix.len() + chars - text.len();
        text.extend(
            octets.iter().take(left).filter_map(|octet| letters.get(usize::from(*octet) % letters.len().max(1))),
        );
    }
    Secret::new(text)
}

/// A secret beside what is stored, from this machine.
async fn beside(local: &Local, reference: &Reference, now: Timestamp) -> Result<Secret, BackendError> {
    let secret = local.secret(reference, now).await?;
    Ok(Secret::new(crate::backend::without_newline(secret.expose()).to_vec()))
}
