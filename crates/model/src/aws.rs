//! Words of AWS that two engines need: which service an endpoint's name means, and the credential scope of a signature.
//! The catalogue judges by the first, the signer signs for it, and both must read the same.

use std::fmt;

/// What the name of an AWS endpoint says.
///
/// Forms read (AWS General Reference, "Service endpoints"; S3 User Guide, "Virtual hosting of buckets"): `SERVICE.REGION.amazonaws.com`,
/// `SERVICE-fips.REGION`, `SERVICE.REGION.api.aws`, global ones without a region, the older `REGION.queue.amazonaws.com`, an account's own
/// `ACCOUNT.ddb.REGION`, and of S3 path and virtual-hosted style, dual-stack, FIPS, accelerated, and the older `s3-REGION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// As signatures and ARNs spell it: `s3`, `dynamodb`.
    pub service: &'static str,
    /// None where the name has none: then the scope's own counts.
    pub region: Option<&'a str>,
    /// The bucket of a virtual-hosted name.
    pub bucket: Option<&'a str>,
}

/// Services whose actions are known, by the first label of their endpoints.
pub const SERVICES: [&str; 10] =
    ["dynamodb", "ec2", "iam", "lambda", "logs", "s3", "secretsmanager", "sns", "sqs", "sts"];

/// Domains under which endpoints stand.
const DOMAINS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];

impl<'a> Endpoint<'a> {
    /// Reads the name of a host, in small letters; none where it is no endpoint of a known service.
    #[must_use]
    pub fn of(host: &'a str) -> Option<Self> {
        let rest = DOMAINS.iter().find_map(|domain| host.strip_suffix(domain))?;
        Self::plain(rest).or_else(|| Self::of_s3(rest))
    }

    fn plain(rest: &'a str) -> Option<Self> {
        let (first, region) = match rest.split_once('.') {
            Some((first, region)) => (first, Some(region)),
            None => (rest, None),
        };
        let known = |label: &str| {
            let label = if label == "queue" { "sqs" } else { label.strip_suffix("-fips").unwrap_or(label) };
            SERVICES.into_iter().find(|known| *known == label && *known != "s3")
        };
        let plain = |service, region| Some(Self { service, region, bucket: None });
        match (known(first), region) {
            (Some(service), None) => plain(service, None),
            (Some(service), Some(region)) if is_region(region) => plain(service, Some(region)),
            // An account's own endpoint of DynamoDB, and the older ones of SQS.
            (None, Some(after)) => match after.strip_prefix("ddb.") {
                Some(region) if first.bytes().all(|byte| byte.is_ascii_digit()) && is_region(region) => {
                    plain("dynamodb", Some(region))
                }
                None if after == "queue" && is_region(first) => plain("sqs", Some(first)),
                _ => None,
            },
            _ => None,
        }
    }

    /// From the right: perhaps a region, perhaps `dualstack`, the word of S3; what is left is the bucket.
    fn of_s3(rest: &'a str) -> Option<Self> {
        let (mut left, mut last) = cut(rest);
        let mut region = None;
        if is_region(last) {
            region = Some(last);
            (left, last) = cut(left?);
        }
        if last == "dualstack" {
            (left, last) = cut(left?);
        }
        let fits = match (last, region) {
            ("s3" | "s3-fips", _) => true,
            ("s3-accelerate", None) => left.is_some(),
            (label, None) => {
                region = label.strip_prefix("s3-").filter(|region| is_region(region));
                region.is_some()
            }
            _ => false,
        };
        (fits && left != Some("")).then_some(Self { service: "s3", region, bucket: left })
    }

    /// The partition of ARNs there, for a region.
    #[must_use]
    pub fn partition(region: &str) -> &'static str {
        match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// What is before the last label, and it.
fn cut(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('.').map_or((None, text), |(left, last)| (Some(left), last))
}

/// `us-east-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let words = text.matches('-').count();
    (2..=3).contains(&words)
        && text.len() <= 32
        && text.as_bytes().get(2) == Some(&b'-')
        && parts.by_ref().take(words).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
        && parts.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A signature's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `AWS4-HMAC-SHA256`.
    Hmac,
    /// `AWS4-ECDSA-P256-SHA256`, of several regions (SigV4A).
    Ecdsa,
}

/// `KEY/20130524/us-east-1/s3/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The id of the access key.
    pub key_id: &'a str,
    /// Eight digits.
    pub date: &'a str,
    /// Empty with [`Algorithm::Ecdsa`], which has none in its scope.
    pub region: &'a str,
    /// As it is spelled in signatures.
    pub service: &'a str,
}

impl<'a> Scope<'a> {
    /// Reads a credential scope.
    #[must_use]
    pub fn parse(text: &'a str, algorithm: Algorithm) -> Option<Self> {
        let mut parts = text.split('/');
        let (key_id, date) = (parts.next()?, parts.next()?);
        let region = if algorithm == Algorithm::Hmac { parts.next()? } else { "" };
        let (service, end) = (parts.next()?, parts.next()?);
        let word = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let digits = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        let key = (1..=256).contains(&key_id.len()) && key_id.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = key && digits && (algorithm == Algorithm::Ecdsa || word(region)) && word(service);
        (fits && end == "aws4_request" && parts.next().is_none()).then_some(Self { key_id, date, region, service })
    }
}

impl fmt::Display for Scope<'_> {
    /// Without the key's id, as it stands in what is signed.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// An `Authorization` header of Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// How.
    pub algorithm: Algorithm,
    /// By whom, and for what.
    pub scope: Scope<'a>,
    /// Names of fields, as they are written: `host;x-amz-date`.
    pub headers: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads `AWS4-HMAC-SHA256 Credential=.., SignedHeaders=.., Signature=..`, each once, in any order.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (word, rest) = text.trim().split_once(' ')?;
        let algorithm = algorithm(word)?;
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for pair in rest.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        signature.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let headers = headers.filter(|names| is_names(names))?;
        Some(Self { algorithm, scope: Scope::parse(credential?, algorithm)?, headers })
    }
}

/// The algorithm of this word.
#[must_use]
pub fn algorithm(word: &str) -> Option<Algorithm> {
    match word {
        "AWS4-HMAC-SHA256" => Some(Algorithm::Hmac),
        "AWS4-ECDSA-P256-SHA256" => Some(Algorithm::Ecdsa),
        _ => None,
    }
}

/// Names of fields with `;` between them.
#[must_use]
pub fn is_names(text: &str) -> bool {
    text.len() <= 4_096
        && text.split(';').all(|name| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (host, expected) in [
            ("sts.amazonaws.com", Some(("sts", None, None))),
            ("sts.eu-west-1.amazonaws.com", Some(("sts", Some("eu-west-1"), None))),
            ("sts-fips.us-gov-west-1.amazonaws.com", Some(("sts", Some("us-gov-west-1"), None))),
            ("dynamodb.cn-north-1.amazonaws.com.cn", Some(("dynamodb", Some("cn-north-1"), None))),
            ("123456789012.ddb.us-east-1.amazonaws.com", Some(("dynamodb", Some("us-east-1"), None))),
            ("lambda.us-east-1.api.aws", Some(("lambda", Some("us-east-1"), None))),
            ("us-east-1.queue.amazonaws.com", Some(("sqs", Some("us-east-1"), None))),
            ("queue.amazonaws.com", Some(("sqs", None, None))),
            ("s3.amazonaws.com", Some(("s3", None, None))),
            ("s3-us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), None))),
            ("s3.us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), None))),
            ("s3.dualstack.us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), None))),
            ("s3-fips.dualstack.us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), None))),
            ("b.s3.amazonaws.com", Some(("s3", None, Some("b")))),
            ("b.s3-us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), Some("b")))),
            ("my.dotted.b.s3.us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), Some("my.dotted.b")))),
            ("b.s3.dualstack.us-west-2.amazonaws.com", Some(("s3", Some("us-west-2"), Some("b")))),
            ("b.s3-accelerate.amazonaws.com", Some(("s3", None, Some("b")))),
            ("b.s3-accelerate.dualstack.amazonaws.com", Some(("s3", None, Some("b")))),
            ("us-east-1.s3.amazonaws.com", Some(("s3", None, Some("us-east-1")))),
            ("sts.s3.amazonaws.com", Some(("s3", None, Some("sts")))),
            ("s3-accelerate.amazonaws.com", None),
            ("kms.us-east-1.amazonaws.com", None),
            ("streams.dynamodb.us-east-1.amazonaws.com", None),
            ("b--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", None),
            ("x.sts.us-east-1.amazonaws.com", None),
            ("abc.ddb.us-east-1.amazonaws.com", None),
            ("b.s3-website-us-east-1.amazonaws.com", None),
            ("123456789012.s3-control.us-east-1.amazonaws.com", None),
            (".s3.us-east-1.amazonaws.com", None),
            ("ap-1-2.s3-accesspoint.us-east-1.amazonaws.com", None),
            ("sts.us-east-1.evil.com", None),
            ("amazonaws.com", None),
        ] {
            let found = Endpoint::of(host).map(|found| (found.service, found.region, found.bucket));
            assert_eq!(found, expected, "{host}");
        }
        assert_eq!(Endpoint::partition("cn-north-1"), "aws-cn");
    }

    #[test]
    fn headers() {
        let good =
            "AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range, Signature=f0";
        let read = Signed::parse(good).expect("read");
        assert_eq!((read.scope.key_id, read.headers), ("AK", "host;range"));
        assert_eq!(read.scope.to_string(), "20130524/us-east-1/s3/aws4_request");
        let many = "AWS4-ECDSA-P256-SHA256 Credential=AK/20130524/s3/aws4_request, SignedHeaders=host, Signature=f0";
        assert_eq!(Signed::parse(many).map(|read| read.algorithm), Some(Algorithm::Ecdsa));
        for (from, to) in [
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
            ("AWS4-HMAC-SHA256", "AWS"),
            ("20130524", "2013052"),
            ("us-east-1/", ""),
            ("aws4_request", "aws4_request/x"),
            ("aws4_request", "aws4"),
            ("Signature=f0", "Signature="),
            ("Signature=f0", "Signature=f0, Signature=f1"),
            ("Signature=f0", "Signature=f0, More=f1"),
            ("host;range", "host;;range"),
            ("host;range", "Host"),
            ("Credential=AK", "Credential=A K"),
        ] {
            assert_eq!(Signed::parse(&good.replacen(from, to, 1)), None, "{from} {to}");
        }
    }
}
