//! AWS Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request").

use aws_lc_rs::{digest, hmac};
use http::HeaderName;
use model::{Timestamp, hex};
use zeroize::Zeroizing;

pub(super) const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// What is signed (octets of fields in the order of their names), for what.
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    pub query: &'a str,
    pub fields: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// `20261120T180000Z`.
pub(crate) fn amz_date(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds: String = text.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
    format!("{seconds}Z")
}

impl Signed<'_> {
    /// The field `Authorization`.
    pub fn authorization(&self, id: &str, key: &[u8]) -> String {
        let day = self.date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let names = self.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = Zeroizing::new(Vec::with_capacity(4 * 1024));
        canonical.extend_from_slice(format!("{}\n/\n{}\n", self.method, self.query).as_bytes());
        for (name, value) in self.fields {
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(b':');
            canonical.extend_from_slice(value);
            canonical.push(b'\n');
        }
        let body = hex(digest::digest(&digest::SHA256, self.body).as_ref());
        canonical.extend_from_slice(format!("\n{names}\n{body}").as_bytes());
        let hashed = hex(digest::digest(&digest::SHA256, &canonical).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", self.date);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let mut first = Zeroizing::new(Vec::with_capacity(4 + key.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(key);
        let of_day = sign(&first, day.as_bytes());
        let of_region = sign(of_day.as_ref(), self.region.as_bytes());
        let of_service = sign(of_region.as_ref(), self.service.as_bytes());
        let signing = sign(of_service.as_ref(), b"aws4_request");
        let signature = hex(sign(signing.as_ref(), text.as_bytes()).as_ref());
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // "Examples of the complete Signature Version 4 signing process", GET ListUsers.
        let signed = Signed {
            method: "GET",
            query: "Action=ListUsers&Version=2010-05-08",
            fields: &[
                ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
                ("host", b"iam.amazonaws.com"),
                ("x-amz-date", b"20150830T123600Z"),
            ],
            body: b"",
            date: "20150830T123600Z",
            region: "us-east-1",
            service: "iam",
        };
        let made =
            signed.authorization("AKIDEXAMPLE", concat!("wJalrXUtnFEMI/K7MDENG", "+bPxRfiCYEXAMPLEKEY").as_bytes());
        let want = concat!("5d672d79c15b13162d9279b0855cfba6", "789a8edb4c82c400e06b5924a6f2b5d7");
        assert!(made.ends_with(&format!("Signature={want}")), "{made}");
        assert!(
            made.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "),
            "{made}"
        );
        assert_eq!(amz_date(Timestamp::from_secs(1_795_197_600)), "20261120T180000Z");
    }
}
