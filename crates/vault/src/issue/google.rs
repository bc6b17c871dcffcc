//! Access tokens and ID tokens for a service account of Google (developers.google.com/identity/protocols/oauth2/service-account), by a token that
//! its key signs (RFC 7523 2.1).

use model::Random;
use secret::Material;
use serde_json::{Map, json};

use super::answer::Answer;
use super::http::{self, Form};
use super::jwt::{self, Signer};
use super::{Asked, Endpoint, Issued, Issuer, drawn};
use crate::Pending;
use crate::backend::BackendError;
use crate::kind::gcp::{self, KeyFile};

/// What key files call Google's endpoint, and have called it.
const OWN: [&str; 4] = [
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://www.googleapis.com/oauth2/v3/token",
    "https://accounts.google.com/o/oauth2/token",
];
/// A token may be this much ahead of Google's clock, seconds.
const EARLY_SECONDS: i64 = 30;
/// And is good for this long; Google takes an hour at most.
const GOOD_SECONDS: i64 = 3_600;
/// Characters of what a sample stands for.
const SAMPLE_CHARS: usize = 200;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Google {
    /// The token endpoint.
    pub token: Endpoint,
    /// Whether somebody wrote that down: else the key file must say that it is Google's.
    pub named: bool,
    /// Scopes, with blanks between.
    pub scope: Option<String>,
    /// The person for whom the account acts (domain-wide delegation).
    pub subject: Option<String>,
    /// For whom an ID token is; an access token without.
    pub audience: Option<String>,
}

impl Google {
    async fn run(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        let file = KeyFile::of(&asked.root).map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        self.check(&file.token_uri)?;
        let begins = jwt::seconds(asked.now) - EARLY_SECONDS;
        let mut claims = json!({
            "iss": file.email, "aud": self.token.to_string(), "iat": begins, "exp": begins + GOOD_SECONDS,
        });
        let more = [("scope", &self.scope), ("sub", &self.subject), ("target_audience", &self.audience)];
        if let Some(members) = claims.as_object_mut() {
            members
                .extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))));
        }
        let head = file.key_id.iter().map(|id| ("kid".to_owned(), json!(id))).collect::<Map<_, _>>();
        let assertion = Signer::of(&file.key)?.sign(head, &claims)?;
        let mut form = Form::new();
        form.add("grant_type", b"urn:ietf:params:oauth:grant-type:jwt-bearer");
        form.add("assertion", &assertion);
        let reply = http::ask(asked.way, &self.token, &form.post(&self.token.target)).await?;
        http::read::<Answer>(&self.token, &reply)?.issued(&self.token, self.audience.is_some(), asked.now)
    }

    /// Whoever wrote the file does not choose where its key is used: that is what the configuration is for.
    fn check(&self, said: &str) -> Result<(), BackendError> {
        let known = if self.named { said == self.token.to_string() } else { OWN.contains(&said) };
        if known {
            return Ok(());
        }
        let said: String = said.chars().filter(|letter| !letter.is_control()).take(200).collect();
        Err(BackendError::Forbidden {
            what: format!(
                "the key file names the token endpoint `{said}`, and {} is asked; if the file is right, write `token_uri`",
                self.token
            ),
        })
    }
}

impl Issuer for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn stores(&self) -> &'static str {
        gcp::NAME
    }

    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>> {
        Box::pin(self.run(asked))
    }

    fn sample(&self, random: &dyn Random) -> Material {
        match &self.audience {
            Some(audience) => jwt::sample(random, &json!({ "iss": "https://accounts.google.com", "aud": audience })),
            None => Material::token(drawn(random, "ya29.", SAMPLE_CHARS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::canonical::{Origin, Scheme, parse_authority};

    use super::*;

    #[test]
    fn a_key_file_does_not_choose_where_its_key_goes() {
        let google = |host: &str, target: &str, named| Google {
            token: Endpoint {
                origin: Origin { scheme: Scheme::Https, host: parse_authority(host).expect("a host").0, port: 443 },
                target: target.to_owned(),
            },
            named,
            scope: None,
            subject: None,
            audience: None,
        };
        let (usual, other) = (google("oauth2.googleapis.com", "/token", false), google("idp.corp", "/t", true));
        for (settings, said, good) in [
            (&usual, "https://oauth2.googleapis.com/token", true),
            (&usual, "https://accounts.google.com/o/oauth2/token", true),
            (&usual, "https://oauth2.googleapis.com.evil.test/token", false),
            (&usual, "http://oauth2.googleapis.com/token", false),
            (&usual, "", false),
            (&other, "https://idp.corp/t", true),
            (&other, "https://oauth2.googleapis.com/token", false),
        ] {
            assert_eq!(settings.check(said).is_ok(), good, "{said}");
        }
    }
}
