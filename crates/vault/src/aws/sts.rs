//! AssumeRole and AssumeRoleWithWebIdentity of the Security Token Service (its API Reference, version 2011-06-15): a form goes out, XML comes back.
#![expect(clippy::disallowed_methods, reason = "keys and tokens go to STS, and keys come from it")]

use http::{HeaderValue, header};
use model::Timestamp;
use secret::Secret;

use super::xml::Leaves;
use super::{Keys, Question};
use crate::backend::BackendError;
use crate::far::{Ask, Reply};
use crate::issue::http::Form;

/// What stands in front of an error's members: at STS, and at whoever stands in for it and speaks as EC2 does.
const ERRORS: [&str; 2] = ["ErrorResponse/Error", "ErrorResponse/Errors/Error"];
/// Microseconds by which a session that is given has to be good yet.
const LEFT_MICROS_MIN: u64 = 60 * 1_000_000;

/// A role to be taken on.
#[derive(Clone, Copy)]
pub(crate) struct Assume<'a> {
    pub role: &'a str,
    /// What the session is called: it stands in CloudTrail.
    pub session: &'a str,
    pub seconds: Option<u64>,
    pub policy: Option<&'a str>,
    pub external_id: Option<&'a str>,
    pub source_identity: Option<&'a str>,
}

/// Who asks.
pub(crate) enum Proof<'a> {
    /// Whose keys these are.
    Keys(&'a Keys),
    /// Whose identity a provider's token says.
    Token(&'a Secret),
}

impl Proof<'_> {
    const fn action(&self) -> &'static str {
        match self {
            Self::Keys(_) => "AssumeRole",
            Self::Token(_) => "AssumeRoleWithWebIdentity",
        }
    }
}

/// Where STS is in a region.
pub(crate) fn host(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("sts.{region}.{domain}")
}

/// The question.
pub(crate) fn ask(
    assume: Assume<'_>,
    proof: &Proof<'_>,
    (host, region): (&str, &str),
    now: Timestamp,
) -> Result<Ask, BackendError> {
    let mut form = Form::new();
    let seconds = assume.seconds.map(|seconds| seconds.to_string());
    let members = [
        ("Action", Some(proof.action())),
        ("Version", Some("2011-06-15")),
        ("RoleArn", Some(assume.role)),
        ("RoleSessionName", Some(assume.session)),
        ("DurationSeconds", seconds.as_deref()),
        ("Policy", assume.policy),
        ("ExternalId", assume.external_id),
        ("SourceIdentity", assume.source_identity),
    ];
    for (name, value) in members.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        form.add(name, value.as_bytes());
    }
    if let Proof::Token(token) = proof {
        form.add("WebIdentityToken", crate::backend::without_newline(token.expose()));
    }
    let question = Question {
        host,
        region,
        service: "sts",
        target: None,
        content_type: "application/x-www-form-urlencoded",
        body: form.into_body(),
    };
    let ask = match proof {
        Proof::Keys(keys) => question.signed(keys, now)?,
        Proof::Token(_) => question.unsigned(),
    };
    // To who asks for JSON it gives JSON, in a form that no document describes.
    Ok(ask.with(header::ACCEPT, HeaderValue::from_static("text/xml")))
}

/// What it gives.
pub(crate) fn read(proof: &Proof<'_>, host: &str, reply: &Reply, now: Timestamp) -> Result<Keys, BackendError> {
    if reply.status != 200 {
        return Err(refused(host, reply));
    }
    let what =
        || BackendError::Malformed { what: format!("{host} does not answer as STS does; is it the right host?") };
    let keys = keys(&reply.body, proof.action()).ok_or_else(what)?;
    if keys.expires.is_none_or(|end| end.0 <= now.0 || end.micros_since(now) < LEFT_MICROS_MIN) {
        let what = format!("{host} gives a session that is over at once; check this machine's clock");
        return Err(BackendError::Malformed { what });
    }
    Ok(keys)
}

/// The keys in an answer to an action.
pub(crate) fn keys(body: &[u8], action: &str) -> Option<Keys> {
    let leaves = Leaves::read(body)?;
    let text = |name: &str| leaves.text(&format!("{action}Response/{action}Result/Credentials/{name}"));
    let graphic = |text: &&str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
    let secret = |name: &str| Some(Secret::new(text(name).filter(graphic)?.as_bytes().to_vec()));
    Some(Keys {
        id: secret("AccessKeyId")?,
        secret: secret("SecretAccessKey")?,
        token: Some(secret("SessionToken")?),
        expires: Some(Timestamp::parse(text("Expiration")?)?),
    })
}

/// What a no means, by its code (API Reference, "Errors" of both actions, and "Common Errors").
fn refused(host: &str, reply: &Reply) -> BackendError {
    const KNOWN: [(&str, &str); 10] = [
        (
            "AccessDenied",
            "the role's trust policy must name whom our key belongs to, and that one needs `sts:AssumeRole`",
        ),
        ("InvalidClientTokenId", "AWS does not know our key"),
        ("SignatureDoesNotMatch", "the secret half of our key is another's, or this machine's clock is wrong"),
        ("ExpiredToken", "our own key is over"),
        ("ExpiredTokenException", "the identity token is over"),
        ("InvalidIdentityToken", "the identity token is not one that the role's provider gives"),
        (
            "PackedPolicyTooLarge",
            "the session policy is too large when packed; name fewer actions, or write `session_policy: false`",
        ),
        ("MalformedPolicyDocument", "AWS does not read the session policy; write `session_policy: false` and tell us"),
        ("RegionDisabledException", "STS is off in this region; name another `region`"),
        ("ValidationError", "AWS does not take one of `role`, `duration`, `external_id`, `source_identity`"),
    ];
    let leaves = Leaves::read(&reply.body);
    let text = |name: &str| {
        let leaves = leaves.as_ref()?;
        ERRORS.iter().find_map(|front| leaves.text(&format!("{front}/{name}"))).map(str::to_owned)
    };
    let code = text("Code").unwrap_or_default();
    let said = text("Message").map_or_else(String::new, |text| format!(" (it says: {})", crate::backend::said(&text)));
    let status = reply.status;
    if status == 429 || status >= 500 || ["Throttling", "IDPCommunicationError"].contains(&code.as_str()) {
        return BackendError::Away { what: format!("{host} answers {status}; it is tried again") };
    }
    match KNOWN.iter().find(|(known, _)| *known == code) {
        Some((code, why)) => BackendError::Forbidden { what: format!("{host}: {code}: {why}{said}") },
        None => BackendError::Forbidden { what: format!("{host} answers {status}{said}") },
    }
}

/// What a role's session of somebody is called: letters that STS takes, and 64 of them at most.
pub(crate) fn session_name(whose: &str) -> String {
    const CHARS_MAX: usize = 64;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
    let mut name: String =
        "valetkey-".chars().chain(whose.chars().map(|letter| if fits(letter) { letter } else { '-' })).collect();
    if name.len() > CHARS_MAX {
        // Two that begin alike stay two.
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, whose.as_bytes());
        name.truncate(CHARS_MAX - 9);
        name.push('-');
        name.extend(model::hex(digest.as_ref()).chars().take(8));
    }
    name
}

/// A body that was read already.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, retry_after: None, body: zeroize::Zeroizing::new(body.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the API Reference, AssumeRole, with keys of no meaning.
    fn answer(end: &str) -> String {
        format!(
            r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
  <SourceIdentity>Alice</SourceIdentity>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::123456789012:assumed-role/demo/TestAR</Arn>
      <AssumedRoleId>ARO123EXAMPLE123:TestAR</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIDIDIDIDIDIDIDID</AccessKeyId>
      <SecretAccessKey>k/+k</SecretAccessKey>
      <SessionToken>t/+t==</SessionToken>
      <Expiration>{end}</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>"#
        )
    }

    fn pair() -> Keys {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Keys { id: secret("AKIDEXAMPLE"), secret: secret("k"), token: None, expires: None }
    }

    #[test]
    fn answers() {
        let (keys, now) = (pair(), Timestamp::from_secs(1_795_197_600));
        let proof = Proof::Keys(&keys);
        let good = answer("2026-11-20T19:00:00Z");
        let read_it = |status, text: &str| read(&proof, "sts", &reply(status, text.as_bytes()), now);
        let given = read_it(200, &good).unwrap_or_else(|error| panic!("{error}"));
        assert!(given.id.equals(b"ASIAIDIDIDIDIDIDIDID") && given.secret.equals(b"k/+k"));
        assert!(given.token.is_some_and(|token| token.equals(b"t/+t==")));
        assert_eq!(given.expires, Timestamp::parse("2026-11-20T19:00:00Z"));
        for (text, says) in [
            (answer("2026-11-20T18:00:30Z"), "over at once"),
            (answer("2026-11-20T17:00:00Z"), "over at once"),
            (answer("tomorrow"), "not answer as STS"),
            (good.replace("<SecretAccessKey>k/+k</SecretAccessKey>", ""), "not answer as STS"),
            (good.replace("t/+t==", "t t"), "not answer as STS"),
            (good.replace("AssumeRoleR", "GetSessionTokenR"), "not answer as STS"),
            ("{}".to_owned(), "not answer as STS"),
            (String::new(), "not answer as STS"),
        ] {
            let error = read_it(200, &text).err().expect(&text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let no = |code: &str| {
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>User: arn:x is not allowed</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            )
        };
        for (status, text, says, passing) in [
            (403, no("AccessDenied"), "trust policy", false),
            (400, no("PackedPolicyTooLarge"), "session_policy: false", false),
            (400, no("Throttling"), "tried again", true),
            (503, String::new(), "answers 503", true),
            (418, "teapot".to_owned(), "answers 418", false),
            (403, no("Whatever"), "answers 403 (it says: User: arn:x is not allowed)", false),
        ] {
            let error = read_it(status, &text).err().expect("refused");
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.is_passing(), passing, "{error}");
        }
    }

    #[test]
    fn questions_and_names() {
        let keys = pair();
        let assume = Assume {
            role: "arn:aws:iam::1:role/r",
            session: "valetkey-bot",
            seconds: Some(900),
            policy: Some("{\"a\":[\"*\"]}"),
            external_id: None,
            source_identity: None,
        };
        let asked =
            ask(assume, &Proof::Keys(&keys), ("sts.eu-west-1.amazonaws.com", "eu-west-1"), Timestamp::from_secs(0));
        let asked = asked.unwrap_or_else(|error| panic!("{error}"));
        let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=valetkey-bot\
                    &DurationSeconds=900&Policy=%7B%22a%22%3A%5B%22%2A%22%5D%7D";
        assert_eq!(asked.body.as_deref(), Some(form.as_bytes()));
        let field =
            |ask: &Ask, name: &str| ask.fields.iter().find(|(known, _)| known == name).map(|(_, it)| it.clone());
        let signed = field(&asked, "authorization").expect("signed");
        assert!(signed.to_str().expect("text").contains("/19700101/eu-west-1/sts/aws4_request"));
        let token = Secret::new(b"a.b.c\n".to_vec());
        let asked = ask(assume, &Proof::Token(&token), ("sts", "eu-west-1"), Timestamp::from_secs(0));
        let asked = asked.unwrap_or_else(|error| panic!("{error}"));
        assert!(field(&asked, "authorization").is_none());
        assert!(asked.body.is_some_and(|body| body.ends_with(b"&WebIdentityToken=a.b.c")));
        for (whose, name) in [("bot", "valetkey-bot"), ("a b/ü", "valetkey-a-b--")] {
            assert_eq!(session_name(whose), name);
        }
        let long = ["x".repeat(80) + "a", "x".repeat(80) + "b"].map(|whose| session_name(&whose));
        assert!(long.iter().all(|name| name.len() == 64) && long[0] != long[1], "{long:?}");
        assert_eq!(host("cn-north-1"), "sts.cn-north-1.amazonaws.com.cn");
    }
}
