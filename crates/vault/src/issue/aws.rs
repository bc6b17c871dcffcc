//! AssumeRole of AWS: a session of a role for a pair of keys that is stored, or for an identity token. Each agent has a session of its own, called after
//! it, and with a session policy that says to AWS what the agent may do: a second wall, of which the agent knows nothing.

use model::{Random, Timestamp};
use secret::{Field, Material};

use super::{Asked, Endpoint, Issued, Issuer, drawn_from, http};
use crate::Pending;
use crate::aws::Keys;
use crate::aws::sts::{self, Assume, Proof};
use crate::backend::BackendError;

/// Letters of a key's id, and of what else AWS draws.
const OF_IDS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const OF_SECRETS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a session token in a sample; real ones differ in length.
const TOKEN_CHARS: usize = 412;
/// What nobody's session may do, for whoever only looks whether one is given. `sts:GetCallerIdentity` needs no leave.
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"]}]}"#;

/// Who takes the role on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsSource {
    /// Whose pair of keys is stored.
    Stored,
    /// Whose identity a stored token says, which some provider gave.
    WebIdentity,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRole {
    /// Where STS is.
    pub sts: Endpoint,
    /// The region that its signatures name.
    pub region: String,
    /// The role's ARN.
    pub role: String,
    /// How long a session is good, seconds; what STS takes for usual where nothing is said.
    pub seconds: Option<u64>,
    /// What the role's trust policy asks for.
    pub external_id: Option<String>,
    /// What stands in CloudTrail for all that is done with it.
    pub source_identity: Option<String>,
    /// Who takes it on.
    pub source: AwsSource,
    /// Whether each session has a session policy.
    pub narrowed: bool,
}

impl AwsRole {
    /// The session policy of whoever only looks.
    pub const NOTHING: &str = NOTHING;

    /// The STS of a region.
    #[must_use]
    pub fn host(region: &str) -> String {
        sts::host(region)
    }

    async fn run(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        let policy = match (self.narrowed, asked.narrowed, asked.agent) {
            (false, ..) => None,
            (true, Some(policy), _) => Some(policy),
            (true, None, None) => Some(NOTHING),
            (true, None, Some(agent)) => {
                let what = format!(
                    "no permissions are written for agent `{agent}`, so there is no session policy; write some, or `session_policy: false`"
                );
                return Err(BackendError::Forbidden { what });
            }
        };
        let session = sts::session_name(asked.agent.map_or("nobody", |agent| agent.as_str()));
        let assume = Assume {
            role: &self.role,
            session: &session,
            seconds: self.seconds,
            policy,
            external_id: self.external_id.as_deref(),
            // A token says itself who it is for.
            source_identity: self.source_identity.as_deref().filter(|_| self.source != AwsSource::WebIdentity),
        };
        match self.source {
            AwsSource::Stored => {
                let keys = Keys::stored(asked.root)?;
                self.assume(assume, &Proof::Keys(&keys), (asked.way, asked.now)).await
            }
            AwsSource::WebIdentity => self.assume(assume, &Proof::Token(&asked.root), (asked.way, asked.now)).await,
        }
    }

    async fn assume(
        &self,
        assume: Assume<'_>,
        proof: &Proof<'_>,
        (way, now): (&dyn crate::road::Road, Timestamp),
    ) -> Result<Issued, BackendError> {
        let host = self.sts.origin.to_string();
        let ask = sts::ask(assume, proof, (&host, &self.region), now)?;
        let reply = http::ask(way, &self.sts, &ask).await?;
        let keys = sts::read(proof, &host, &reply, now)?;
        let expires = keys.expires;
        Ok(Issued { material: keys.into_material(), expires, root: None })
    }
}

impl Issuer for AwsRole {
    fn name(&self) -> &'static str {
        "aws_role"
    }

    fn stores(&self) -> &'static str {
        match self.source {
            AwsSource::Stored => "aws",
            AwsSource::WebIdentity => "token",
        }
    }

    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>> {
        Box::pin(self.run(asked))
    }

    fn sample(&self, random: &dyn Random) -> Material {
        Material::new(vec![
            (Field::Value, drawn_from(OF_SECRETS, random, "", 40)),
            (Field::KeyId, drawn_from(OF_IDS, random, "ASIA", 16)),
            (Field::SessionToken, drawn_from(OF_SECRETS, random, "IQoJb3JpZ2luX2Vj", TOKEN_CHARS)),
        ])
    }

    fn narrows(&self) -> bool {
        true
    }
}
