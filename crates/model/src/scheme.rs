//! How a credential is put on a request, as service files declare it. `inject` carries it out.

pub mod hmac;

use serde::{Deserialize, Serialize};

use self::hmac::{HmacSpec, Hole};

/// One declared slot. A service lists the schemes it accepts; a request uses the one whose slot holds the placeholder,
/// and the first one where the configuration says `inject: always`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SchemeSpec {
    /// `Authorization: Bearer VALUE` (RFC 6750 2.1). `words` are the scheme words accepted from the agent, without
    /// regard to case; the agent's own word is kept (GitHub takes `token` and `Bearer`).
    Bearer {
        /// The header, `authorization` by default.
        #[serde(default = "authorization")]
        header: String,
        /// Accepted words; the first is used where the agent sent none.
        #[serde(default = "bearer_words")]
        words: Vec<String>,
    },
    /// A header whose value is made from a template with exactly one `{value}`: `x-api-key: {value}`.
    Header {
        /// The header's name.
        name: String,
        /// The template, `{value}` by default.
        #[serde(default = "bare_value")]
        template: String,
    },
    /// `Authorization: Basic base64(user:password)` (RFC 7617). Both halves come from the vault or this file, never
    /// from the agent.
    Basic {
        /// The user part where the credential has none of its own: `x-access-token` for git at GitHub.
        #[serde(default)]
        username: Option<String>,
        /// The value stands in the user part and the password is empty (Stripe's API keys).
        #[serde(default)]
        value_as_username: bool,
    },
    /// A query parameter.
    Query {
        /// Its name.
        name: String,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
    },
    /// A field of the body: a JSON pointer (RFC 6901) for JSON, a field name for forms.
    Body {
        /// `/auth/token` or `client_secret`.
        field: String,
        /// What of the credential stands there.
        #[serde(default)]
        part: Part,
    },
    /// AWS Signature Version 4: the request is signed anew, in the header or the query as the agent's own signature stands. A pair of
    /// keys and perhaps a session token; the placeholder of the key's id chooses it.
    Sigv4 {},
    /// The request is signed with a shared key, as the vendor's templates say; the agent's own signature is replaced. The placeholder of the
    /// key's id chooses the credential.
    Hmac(Box<HmacSpec>),
    /// A client certificate, presented in the TLS handshake (RFC 8446 4.4.2); nothing is written into the request, and the agent holds nothing.
    Mtls {},
}

impl SchemeSpec {
    /// Whether the credential is presented by the connection, and nothing stands in the request.
    #[must_use]
    pub const fn is_presented(&self) -> bool {
        matches!(self, Self::Mtls {})
    }

    /// What of the credential stands in this slot.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::Body { part, .. } => *part,
            Self::Sigv4 {} => Part::KeyId,
            Self::Hmac(spec) if spec.spot_of(Hole::KeyId).is_some() => Part::KeyId,
            _ => Part::Value,
        }
    }
}

/// Parts of a credential that have placeholders of their own. One never stands in the slot of another: a refresh token
/// that were put on an ordinary request would tell a resource server what only the token endpoint may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The token, key or password.
    #[default]
    Value,
    /// A refresh token (RFC 6749 1.5).
    Refresh,
    /// An ID token (OpenID Connect Core 2): read by the agent, put on nothing.
    Identity,
    /// The id of a signing key: what stands in a signature beside it. The key itself is the value, and is never sent.
    KeyId,
    /// A session token that goes with a signing key.
    Session,
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer_words() -> Vec<String> {
    vec!["Bearer".to_owned()]
}

fn bare_value() -> String {
    "{value}".to_owned()
}
