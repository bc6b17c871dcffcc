//! Tokens of Microsoft Entra for an application itself (learn.microsoft.com/entra/identity-platform: client credentials, certificate
//! credentials): plain OAuth 2.0 by a secret, or by a token that the key of a certificate signs (PS256, `x5t#S256`).

use model::Random;
use secret::Material;
use serde_json::{Map, json};

use super::answer::Answer;
use super::http::{self, Form};
use super::jwt::{self, Signer};
use super::oauth2::OAuth2;
use super::{Asked, Issued, Issuer};
use crate::Pending;
use crate::backend::BackendError;
use crate::kind::private_key;

/// How long a client's assertion is good, seconds; Entra recommends five to ten minutes at most.
const ASSERTION_SECONDS: i64 = 300;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    /// The tenant's token endpoint, the client and the scope.
    pub oauth2: OAuth2,
    /// Whether a private key and its certificate are stored, rather than a secret.
    pub certificate: bool,
}

impl Azure {
    async fn run(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        if !self.certificate {
            return self.oauth2.issue(asked).await;
        }
        let (at, client) = (&self.oauth2.token, &self.oauth2.client_id);
        let now = jwt::seconds(asked.now);
        let claims = json!({
            "aud": at.to_string(), "iss": client, "sub": client, "jti": jwt::id(asked.random), "nbf": now, "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let head = Map::from_iter([("x5t#S256".to_owned(), json!(jwt::thumbprint(&asked.root)?))]);
        let assertion = Signer::of(&asked.root)?.with_pss()?.sign(head, &claims)?;
        let mut form = Form::new();
        form.add("grant_type", b"client_credentials");
        form.add("client_id", client.as_bytes());
        form.add("scope", self.oauth2.scope.as_deref().unwrap_or_default().as_bytes());
        form.add("client_assertion_type", b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        form.add("client_assertion", &assertion);
        let reply = http::ask(asked.way, at, &form.post(&at.target)).await?;
        http::read::<Answer>(at, &reply)?.issued(at, false, asked.now)
    }
}

impl Issuer for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn stores(&self) -> &'static str {
        if self.certificate { private_key::NAME } else { "token" }
    }

    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>> {
        Box::pin(self.run(asked))
    }

    /// Entra's tokens are web tokens, and some libraries look inside.
    fn sample(&self, random: &dyn Random) -> Material {
        jwt::sample(random, &json!({ "appid": self.oauth2.client_id, "ver": "1.0" }))
    }
}
