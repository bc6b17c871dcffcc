//! `aws-iam`: a key of an IAM user for each value (docs.aws.amazon.com/IAM/latest/APIReference), asked by the Query protocol and signed by the
//! key itself or another credential's.
//!
//! A user has two keys at most, and both are ours from `make` until the old one is retired. So that a key whose answer got lost is not taken
//! for somebody's own, the user is tagged with the ticket before a key is made: a second key under our tag is deleted and made again; any other
//! second key ends the rotation, and an operator is told.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use model::canonical::{Host, Origin, Scheme};
use policy::document::ByAwsIam;
use secret::{Field, Material, Secret};
use zeroize::Zeroizing;

use super::{Around, Looked, RotateError, Rotator, Turn};
use crate::Pending;
use crate::aws::sigv4::{Signed, amz_date};
use crate::far::{Ask, encoded, secret_field};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const TAG: &str = "valetkey-rotation";
/// A new key is known everywhere after seconds ("changes are eventually consistent"); so long it is tried.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_secs(2);

pub(super) struct AwsIam {
    admin: Option<String>,
    region: String,
    around: Around,
}

/// Which API is asked, with the version of its words.
#[derive(Clone, Copy)]
enum Service {
    Iam,
    Sts,
}

/// What AWS says.
enum Said {
    Yes(Zeroizing<String>),
    No { status: u16, code: String },
}

impl AwsIam {
    pub fn new(by: &ByAwsIam, around: Around) -> Self {
        let region = by.region.as_ref().map_or("us-east-1", |region| region.value.as_str()).to_owned();
        Self { admin: by.admin.as_ref().map(|admin| admin.value.clone()), region, around }
    }

    /// Where an API is, and the region that signs for it: IAM has one place in each partition.
    fn place(&self, service: Service) -> (String, String) {
        let region = self.region.as_str();
        let (iam, home, end) = match region.split('-').take(2).collect::<Vec<_>>().as_slice() {
            ["cn", _] => ("iam.cn-north-1", "cn-north-1", "amazonaws.com.cn"),
            ["us", "gov"] => ("iam.us-gov", "us-gov-west-1", "amazonaws.com"),
            _ => ("iam", "us-east-1", "amazonaws.com"),
        };
        match service {
            Service::Iam => (format!("{iam}.{end}"), home.to_owned()),
            Service::Sts => (format!("sts.{region}.{end}"), region.to_owned()),
        }
    }

    async fn ask(&self, service: Service, words: &[(&str, &str)], keys: &Material) -> Result<Said, RotateError> {
        let (host, region) = self.place(service);
        let host = Host::parse(&host).map_err(|error| RotateError::Refused(error.to_string()))?;
        let origin = Origin { scheme: Scheme::Https, host, port: 443 };
        let (name, version) = match service {
            Service::Iam => ("iam", "2010-05-08"),
            Service::Sts => ("sts", "2011-06-15"),
        };
        let words = words.iter().copied().chain([("Version", version)]);
        let body = words.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
        let (date, host) = (amz_date(self.around.now()), origin.to_string());
        let field = |field| keys.field(field).map(Secret::expose);
        let missing = || RotateError::Refused("the credential holds no key of AWS; its kind is `aws`".to_owned());
        let (id, key) = (text(field(Field::KeyId).ok_or_else(missing)?)?, field(Field::Value).ok_or_else(missing)?);
        let mut fields: Vec<(&str, &[u8])> =
            vec![("content-type", FORM.as_bytes()), ("host", host.as_bytes()), ("x-amz-date", date.as_bytes())];
        let token = field(Field::SessionToken);
        fields.extend(token.map(|token| ("x-amz-security-token", token)));
        let signed = Signed {
            method: "POST",
            query: "",
            fields: &fields,
            body: body.as_bytes(),
            date: &date,
            region: &region,
            service: name,
        };
        let plain = |value: &str| {
            HeaderValue::from_str(value).map_err(|_| RotateError::Refused("the key's id is no plain text".to_owned()))
        };
        let authorization = signed.authorization(id, key);
        let mut ask = Ask::post("/", Zeroizing::new(body.into_bytes()));
        ask.fields.clear();
        let mut ask = ask
            .with(header::CONTENT_TYPE, HeaderValue::from_static(FORM))
            .with(header::ACCEPT, HeaderValue::from_static("text/xml"))
            .with(HeaderName::from_static("x-amz-date"), plain(&date)?)
            .with(header::AUTHORIZATION, plain(&authorization)?);
        if let Some(token) = token {
            let token = secret_field(Zeroizing::new(token.to_vec()))?;
            ask = ask.with(HeaderName::from_static("x-amz-security-token"), token);
        }
        let reply = self.around.ask(&origin, &ask).await?;
        let body = text(&reply.body)?;
        if reply.status == 200 {
            return Ok(Said::Yes(Zeroizing::new(body.to_owned())));
        }
        let code = one(body, "Code").unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        Ok(Said::No { status: reply.status, code })
    }

    /// Who signs; the key that stays where nobody else is named.
    async fn signer<'a>(&self, stays: &'a Material) -> Result<Signer<'a>, RotateError> {
        match &self.admin {
            Some(admin) => Ok(Signer::Other(self.around.other(admin).await?)),
            None => Ok(Signer::Own(stays)),
        }
    }

    /// The name of the user whose key this is.
    async fn user(&self, keys: &Material) -> Result<String, RotateError> {
        let said = self.ask(Service::Sts, &[("Action", "GetCallerIdentity")], keys).await?;
        let told = said.yes("sts:GetCallerIdentity")?;
        let arn = one(&told, "Arn").unwrap_or_default();
        let user =
            arn.split_once(":user/").and_then(|(_, path)| path.rsplit('/').next()).filter(|user| !user.is_empty());
        user.map(str::to_owned).ok_or_else(|| {
            RotateError::Refused(
                "the key is no IAM user's; those of roles end by themselves, and root's are made by hand".to_owned(),
            )
        })
    }

    async fn iam(&self, action: &str, words: &[(&str, &str)], keys: &Material) -> Result<Said, RotateError> {
        let words: Vec<_> = [("Action", action)].into_iter().chain(words.iter().copied()).collect();
        self.ask(Service::Iam, &words, keys).await
    }

    /// Deletes a key; one that is gone is deleted.
    async fn delete(&self, (user, id): (&str, &str), keys: &Material) -> Result<(), RotateError> {
        let named = [("UserName", user), ("AccessKeyId", id)];
        let off: Vec<_> = named.iter().copied().chain([("Status", "Inactive")]).collect();
        self.iam("UpdateAccessKey", &off, keys).await?.gone("iam:UpdateAccessKey")?;
        self.iam("DeleteAccessKey", &named, keys).await?.gone("iam:DeleteAccessKey")
    }

    async fn make_one(&self, turn: &Turn<'_>) -> Result<Secret, RotateError> {
        let old = self.around.parts(turn.old().1)?;
        let (user, signer) = (self.user(&old).await?, self.signer(&old).await?);
        let (keys, user) = (signer.keys(), user.as_str());
        let listed = self.iam("ListAccessKeys", &[("UserName", user)], keys).await?.yes("iam:ListAccessKeys")?;
        let own = old.field(Field::KeyId).map(Secret::expose).unwrap_or_default();
        let others: Vec<&str> = all(&listed, "AccessKeyId").filter(|id| id.as_bytes() != own).collect();
        if let [other, ..] = others.as_slice() {
            let tags = self.iam("ListUserTags", &[("UserName", user)], keys).await?.yes("iam:ListUserTags")?;
            if !all(&tags, "member").any(|tag| one(tag, "Key") == Some(TAG) && one(tag, "Value") == Some(turn.ticket()))
            {
                let other: String = other.chars().filter(char::is_ascii_alphanumeric).take(128).collect();
                return Err(RotateError::Refused(format!(
                    "the user {} has a second key, {other}, and AWS allows two; delete it if nobody uses it, then rotate again",
                    printable(user)
                )));
            }
            self.delete((user, other), keys).await?;
        }
        let tag = [("UserName", user), ("Tags.member.1.Key", TAG), ("Tags.member.1.Value", turn.ticket())];
        self.iam("TagUser", &tag, keys).await?.yes("iam:TagUser")?;
        let made = self.iam("CreateAccessKey", &[("UserName", user)], keys).await?.yes("iam:CreateAccessKey")?;
        let (Some(id), Some(key)) = (one(&made, "AccessKeyId"), one(&made, "SecretAccessKey")) else {
            return Err(RotateError::Away("AWS made a key and does not show it".to_owned()));
        };
        let value = crate::backend::body(&[("access_key_id", id.as_bytes()), ("secret_access_key", key.as_bytes())]);
        let value = value.map_err(|why| RotateError::Refused(why.to_owned()))?;
        Ok(Secret::new(value.to_vec()))
    }

    async fn look(&self, made: &Secret) -> Result<Looked, RotateError> {
        let keys = self.around.parts(made)?;
        let mut tries = TRIES;
        loop {
            let said = self.ask(Service::Sts, &[("Action", "GetCallerIdentity")], &keys).await?;
            tries -= 1;
            match said.yes("sts:GetCallerIdentity") {
                Ok(_) => return Ok(Looked::Works),
                Err(RotateError::Refused(_)) if tries > 0 => tokio::time::sleep(BETWEEN).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn retire_one(&self, turn: &Turn<'_>) -> Result<(), RotateError> {
        let Some((_, stays)) = turn.made() else { return Ok(()) };
        let (old, stays) = (self.around.parts(turn.old().1)?, self.around.parts(stays)?);
        let (user, signer) = (self.user(&stays).await?, self.signer(&stays).await?);
        let id = text(old.field(Field::KeyId).map(Secret::expose).unwrap_or_default())?;
        self.delete((&user, id), signer.keys()).await
    }
}

/// Whose key signs.
enum Signer<'a> {
    Own(&'a Material),
    Other(std::sync::Arc<Material>),
}

impl Signer<'_> {
    fn keys(&self) -> &Material {
        match self {
            Self::Own(keys) => keys,
            Self::Other(keys) => keys,
        }
    }
}

impl Said {
    fn yes(self, action: &str) -> Result<Zeroizing<String>, RotateError> {
        let (status, code) = match self {
            Self::Yes(told) => return Ok(told),
            Self::No { status, code } => (status, code),
        };
        Err(match code.as_str() {
            "AccessDenied" | "AccessDeniedException" => {
                RotateError::Refused(format!("AWS does not let us use `{action}`; allow it for the user's own name"))
            }
            "LimitExceeded" => {
                RotateError::Refused("the user has as many keys as AWS allows; delete one of them".to_owned())
            }
            "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException" => {
                RotateError::Refused(format!("AWS does not take the key ({code})"))
            }
            "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
                RotateError::Away("AWS is asked too often".to_owned())
            }
            // The user is being changed elsewhere.
            "EntityTemporarilyUnmodifiable" | "ConcurrentModification" => {
                RotateError::Away(format!("AWS answers {code} to `{action}`"))
            }
            _ if status == 429 || status >= 500 => RotateError::Away(format!("AWS answers {status} to `{action}`")),
            _ => RotateError::Refused(format!("AWS answers {status} {code} to `{action}`")),
        })
    }

    /// The same for what is to be gone.
    fn gone(self, action: &str) -> Result<(), RotateError> {
        match self {
            Self::No { code, .. } if code == "NoSuchEntity" => Ok(()),
            said => said.yes(action).map(drop),
        }
    }
}

fn text(octets: &[u8]) -> Result<&str, RotateError> {
    std::str::from_utf8(octets).map_err(|_| RotateError::Away("AWS answers no text".to_owned()))
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// The texts of all elements of this name, in their order. Answers of the Query protocol have no attributes and no prefixes, and what we read of
/// them (ids, keys, tags of ours) nothing that is escaped; what is escaped is no text of ours.
pub(crate) fn all<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(open.as_str())?;
        let (inside, behind) = behind.split_once(close.as_str())?;
        rest = behind;
        Some(inside)
    })
}

/// The text of the first element of this name, if it is a plain one.
pub(crate) fn one<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    all(xml, name).next().filter(|text| !text.is_empty() && !text.contains(['<', '>', '&']))
}

impl Rotator for AwsIam {
    fn name(&self) -> &'static str {
        "aws-iam"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        Box::pin(self.make_one(turn))
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            match turn.made() {
                Some((_, made)) => self.look(made).await,
                None => Ok(Looked::Unable),
            }
        })
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(self.retire_one(turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let listed = "<R><AccessKeyMetadata><member><AccessKeyId>A1</AccessKeyId></member><member><AccessKeyId>A2</AccessKeyId></member></AccessKeyMetadata></R>";
        assert_eq!(all(listed, "AccessKeyId").collect::<Vec<_>>(), ["A1", "A2"]);
        assert_eq!(
            all(listed, "member").filter_map(|member| one(member, "AccessKeyId")).collect::<Vec<_>>(),
            ["A1", "A2"]
        );
        for (xml, found) in [
            ("<Code>X</Code>", Some("X")),
            ("<Code></Code>", None),
            ("<Code>X", None),
            ("</Code><Code>", None),
            ("<Code>a&amp;b</Code>", None),
            ("<Code><b>x</b></Code>", None),
            ("<Codes>X</Codes>", None),
        ] {
            assert_eq!(one(xml, "Code"), found, "{xml}");
        }
    }
}
