//! Log-ins that an operator begins: the authorization code with PKCE by a redirect to this machine (RFC 6749 4.1, RFC 7636, RFC 8252), and the
//! code of a device that is typed in elsewhere (RFC 8628). What comes of it is a log-in: a credential of kind `oauth2`.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::http::{self, Form};
use super::{Asked, OAuth2, Refused};
use crate::Vault;
use crate::backend::BackendError;
use crate::kind::oauth2::Tokens;

/// Seconds between two looks where the server does not say (RFC 8628 3.2), and what is added when it says `slow_down` (3.5).
const INTERVAL_SECONDS: u64 = 5;
/// How long a person has where the server does not say, and at most, seconds.
const PATIENCE_SECONDS_MAX: u64 = 900;
/// Octets of what tells our question from others.
const NOISE_BYTES: usize = 32;

/// A question that a person's browser carries.
pub struct CodeLogin {
    /// What is opened in the browser.
    pub url: String,
    /// What comes back beside the code, and nothing else.
    pub state: String,
    redirect: String,
    verifier: Zeroizing<String>,
}

/// A question that a person answers on another device.
pub struct DeviceLogin {
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// What is typed in there.
    pub user_code: String,
    /// Seconds until the next look.
    pub interval: u64,
    /// Seconds in which it must be answered.
    pub expires_in: u64,
    device_code: Zeroizing<String>,
}

/// An answer of the device's endpoint (RFC 8628 3.2).
#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    interval: Option<u64>,
}

/// A no of the token endpoint (RFC 6749 5.2).
#[derive(Deserialize)]
struct No {
    error: String,
}

impl OAuth2 {
    /// A question by a browser; none where nobody said where people log in. `redirect` is where this machine listens.
    #[must_use]
    pub fn code_login(&self, redirect: &str, random: &dyn model::Random) -> Option<CodeLogin> {
        let authorize = self.authorize.as_ref()?;
        let noise = || {
            let mut octets = [0; NOISE_BYTES];
            random.fill(&mut octets);
            URL_SAFE_NO_PAD.encode(octets)
        };
        let (verifier, state) = (Zeroizing::new(noise()), noise());
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let mut query = Vec::new();
        let fields = [
            ("response_type", Some("code")),
            ("client_id", Some(self.client_id.as_str())),
            ("redirect_uri", Some(redirect)),
            ("scope", self.scope.as_deref()),
            ("audience", self.audience.as_deref()),
            ("resource", self.resource.as_deref()),
            ("state", Some(state.as_str())),
            ("code_challenge", Some(challenge.as_str())),
            ("code_challenge_method", Some("S256")),
        ];
        for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend_from_slice(name.as_bytes());
            query.push(b'=');
            http::put(&mut query, value.as_bytes());
        }
        let joint = if authorize.target.contains('?') { '&' } else { '?' };
        let url = format!("{authorize}{joint}{}", String::from_utf8_lossy(&query));
        Some(CodeLogin { url, state, redirect: redirect.to_owned(), verifier })
    }
}

impl Vault {
    /// The tokens for the code that a browser brought back.
    ///
    /// # Errors
    /// The token endpoint cannot be asked or says no.
    pub async fn finish_code_login(
        &self,
        settings: &OAuth2,
        login: &CodeLogin,
        code: &Zeroizing<String>,
    ) -> Result<Tokens, BackendError> {
        let mut form = Form::new();
        form.add("grant_type", b"authorization_code");
        form.add("code", code.as_bytes());
        form.add("redirect_uri", login.redirect.as_bytes());
        form.add("code_verifier", login.verifier.as_bytes());
        self.asking(async |asked| {
            let ask = settings.bare_question(form, &asked).await?;
            settings.tokens(ask, &asked).await
        })
        .await
    }

    /// Asks for a code that a person types in elsewhere; none where nobody said where it is asked for.
    ///
    /// # Errors
    /// It cannot be asked for, or the server says no.
    pub async fn device_login(&self, settings: &OAuth2) -> Result<Option<DeviceLogin>, BackendError> {
        let Some(at) = &settings.device else { return Ok(None) };
        let mut form = Form::new();
        form.add("client_id", settings.client_id.as_bytes());
        let fields = [("scope", &settings.scope), ("audience", &settings.audience), ("resource", &settings.resource)];
        for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            form.add(name, value.as_bytes());
        }
        let answer: DeviceAnswer =
            self.asking(async |asked| http::read(at, &http::ask(asked.way, at, &form.post(&at.target)).await?)).await?;
        let said = answer.expires_in.unwrap_or(PATIENCE_SECONDS_MAX);
        Ok(Some(DeviceLogin {
            verification_uri: answer.verification_uri,
            verification_uri_complete: answer.verification_uri_complete,
            user_code: answer.user_code,
            interval: answer.interval.unwrap_or(INTERVAL_SECONDS).clamp(1, 60),
            expires_in: said.min(PATIENCE_SECONDS_MAX),
            device_code: Zeroizing::new(answer.device_code),
        }))
    }

    /// Looks whether the person has answered; none while not.
    ///
    /// # Errors
    /// The token endpoint cannot be asked, or says that it will not be.
    pub async fn look_at_device_login(
        &self,
        settings: &OAuth2,
        login: &mut DeviceLogin,
    ) -> Result<Option<Tokens>, BackendError> {
        let mut form = Form::new();
        form.add("grant_type", b"urn:ietf:params:oauth:grant-type:device_code");
        form.add("device_code", login.device_code.as_bytes());
        let (at, now) = (&settings.token, self.inner.clock.now());
        let reply = self
            .asking(async |asked| {
                let ask = settings.bare_question(form, &asked).await?;
                http::ask(asked.way, at, &ask).await
            })
            .await?;
        let no: Option<No> = serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 400);
        match no.as_ref().map(|no| no.error.as_str()) {
            Some("authorization_pending") => Ok(None),
            Some("slow_down") => {
                login.interval += INTERVAL_SECONDS;
                Ok(None)
            }
            _ => settings.tokens_of(&reply, now).map(Some),
        }
    }

    /// Asks in nobody's name: nothing is stored yet.
    async fn asking<T>(
        &self,
        question: impl AsyncFnOnce(Asked<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let inner = &self.inner;
        let way = inner.way.load_full();
        let way = way.as_deref().ok_or_else(|| BackendError::Away { what: "nothing leads there yet".to_owned() })?;
        let asked = Asked {
            root: secret::Secret::new(Vec::new()),
            agent: None,
            narrowed: None,
            refused: &Refused::default(),
            way: &**way,
            local: &inner.local,
            random: &*inner.random,
            now: inner.clock.now(),
        };
        question(asked).await
    }
}

/// What a browser brought back to the address where we listen: the code, unless it is somebody else's answer.
///
/// # Errors
/// What the server says in words, or that the answer is to another question.
pub fn read_redirect(target: &str, login: &CodeLogin) -> Result<Zeroizing<String>, String> {
    let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let field = |wanted: &str| {
        let mut all = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == wanted);
        let first = all.next().map(|(_, value)| decoded(value));
        first.filter(|_| all.next().is_none())
    };
    if field("state").is_none_or(|state| *state != login.state) {
        return Err("it is an answer to another question".to_owned());
    }
    if let Some(error) = field("error") {
        let plain: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
        return Err(format!("the server says `{plain}`"));
    }
    field("code").filter(|code| !code.is_empty()).ok_or_else(|| "it holds no code".to_owned())
}

fn decoded(value: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut octets = value.bytes();
    while let Some(octet) = octets.next() {
        let digit = |octet: Option<u8>| char::from(octet?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match octet {
            b'+' => out.push(b' '),
            b'%' => match (digit(octets.next()), digit(octets.next())) {
                (Some(high), Some(low)) => out.push(high * 16 + low),
                _ => return Zeroizing::new(String::new()),
            },
            octet => out.push(octet),
        }
    }
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *out)).unwrap_or_default())
}

/// Reads a line as what a browser brings back: a code only where our own state stands beside it.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(target: &str) {
    let login = CodeLogin {
        url: String::new(),
        state: "state".to_owned(),
        redirect: String::new(),
        verifier: Zeroizing::default(),
    };
    if let Ok(code) = read_redirect(target, &login) {
        assert!(!code.is_empty() && target.contains("state="), "a code of nobody's");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> CodeLogin {
        CodeLogin {
            url: String::new(),
            state: "s-1".to_owned(),
            redirect: String::new(),
            verifier: Zeroizing::default(),
        }
    }

    #[test]
    fn answers_of_a_browser() {
        for (target, want) in [
            ("/callback?code=a%2Bb&state=s-1", Ok("a+b")),
            ("/callback?state=s-1&code=c", Ok("c")),
            ("/callback?code=a&state=s-2", Err("another question")),
            ("/callback?code=a", Err("another question")),
            ("/callback?code=a&state=s-1&state=s-1", Err("another question")),
            ("/callback?code=a&code=b&state=s-1", Err("no code")),
            ("/callback?code=&state=s-1", Err("no code")),
            ("/callback?code=%2&state=s-1", Err("no code")),
            ("/callback?error=access_denied%0a&state=s-1", Err("`access_denied`")),
            ("/favicon.ico", Err("another question")),
        ] {
            match (read_redirect(target, &login()), want) {
                (Ok(code), Ok(want)) => assert_eq!(*code, want, "{target}"),
                (Err(why), Err(want)) => assert!(why.contains(want), "{target}: {why}"),
                (found, _) => panic!("{target}: {:?}", found.map(|code| code.to_string())),
            }
        }
    }
}
