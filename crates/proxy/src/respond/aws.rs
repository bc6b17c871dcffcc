//! Refusals for the SDKs of AWS, which show no other document than their own protocol's. Which that is, the agent's signature says.

use std::fmt::Write as _;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use model::aws::Signed;
use model::{Code, Refusal};

/// Protocols of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON 1.0 and 1.1, and REST with JSON (Lambda): our own document has what they read.
    Json,
    /// S3: `<Error>` alone.
    S3,
    /// EC2: `<Response><Errors><Error>`.
    Ec2,
    /// The others: `<ErrorResponse><Error>`.
    Query,
}

impl Protocol {
    /// Of a request; none that is not signed for AWS.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let signed = Signed::parse(headers.get(AUTHORIZATION)?.to_str().ok()?)?;
        Some(match signed.scope.service {
            "s3" => Self::S3,
            "ec2" => Self::Ec2,
            "iam" | "sns" | "sts" => Self::Query,
            "sqs" if !headers.contains_key("x-amz-target") => Self::Query,
            _ => Self::Json,
        })
    }

    pub(super) const fn kind(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::S3 | Self::Ec2 | Self::Query => "text/xml",
        })
    }

    /// The document; none where ours is read.
    pub(super) fn document(self, refusal: &Refusal) -> Option<String> {
        let error = format!("<Code>{}</Code><Message>{}</Message>", code(refusal.code), escaped(&message(refusal)));
        let inside = match self {
            Self::Json => return None,
            Self::S3 => format!("<Error>{error}</Error>"),
            Self::Ec2 => format!("<Response><Errors><Error>{error}</Error></Errors></Response>"),
            Self::Query => format!("<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"),
        };
        Some(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{inside}"))
    }
}

/// The word of an error, by which SDKs decide whether to try again.
pub(super) const fn code(code: Code) -> &'static str {
    match code.status() {
        401 | 407 => "UnrecognizedClientException",
        403 => "AccessDenied",
        429 => "ThrottlingException",
        500..=599 => "ServiceUnavailable",
        _ => "InvalidRequest",
    }
}

/// The policy's own sentence, and what could be done.
pub(super) fn message(refusal: &Refusal) -> String {
    let mut text = format!("{} [valetkey: {}]", refusal.public, refusal.code);
    if let Some(hint) = &refusal.hint {
        let _ = write!(text, ": {hint}");
    }
    text
}

/// As text of an element. What XML 1.0 cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_in_its_own_protocol() {
        let refusal = Refusal::new(Code::Denied, "Action <x> & y is denied").hint("ask");
        let text =
            "<Code>AccessDenied</Code><Message>Action &lt;x&gt; &amp; y is denied [valetkey: denied]: ask</Message>";
        for (service, target, wanted) in [
            ("s3", false, Some(format!("\n<Error>{text}</Error>"))),
            ("ec2", false, Some(format!("\n<Response><Errors><Error>{text}</Error></Errors></Response>"))),
            ("sts", false, Some(format!("\n<ErrorResponse><Error><Type>Sender</Type>{text}</Error></ErrorResponse>"))),
            ("sqs", false, Some(format!("\n<ErrorResponse><Error><Type>Sender</Type>{text}</Error></ErrorResponse>"))),
            ("sqs", true, None),
            ("dynamodb", true, None),
            ("lambda", false, None),
        ] {
            let mut headers = HeaderMap::new();
            let signed = format!(
                "AWS4-HMAC-SHA256 Credential=K/20261120/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=00"
            );
            headers.insert(AUTHORIZATION, signed.parse().expect("a value"));
            if target {
                headers.insert("x-amz-target", HeaderValue::from_static("X.Y"));
            }
            let made = Protocol::of(&headers).expect("signed").document(&refusal);
            let made = made.map(|made| made.split_at(made.find('\n').expect("a line")).1.to_owned());
            assert_eq!(made, wanted, "{service}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), None);
    }
}
