//! Keys of RSA for tests, and who looks at what they signed: JSON web tokens (RFC 7515) by RS256 and PS256.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// Octets of PKCS#8 before PKCS#1, for a key of 2048 bits (RFC 5958, RFC 8017 A.1.2).
const BEFORE_PKCS1: usize = 26;

/// A key of RSA with 2048 bits, and who knows its public half.
#[derive(Clone, Debug)]
pub struct RsaKey {
    der: Vec<u8>,
    public: Vec<u8>,
}

impl RsaKey {
    /// A fresh one.
    #[must_use]
    pub fn fresh() -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        Self { der: der.as_ref().to_vec(), public: key.public_key().as_ref().to_vec() }
    }

    /// `BEGIN PRIVATE KEY`, as Google writes it.
    #[must_use]
    pub fn pkcs8(&self) -> String {
        pem("PRIVATE KEY", &self.der)
    }

    /// `BEGIN RSA PRIVATE KEY`, as GitHub writes it.
    #[must_use]
    pub fn pkcs1(&self) -> String {
        pem("RSA PRIVATE KEY", &self.der[BEFORE_PKCS1..])
    }

    /// A line from its middle, which stands nowhere else.
    #[must_use]
    pub fn line(&self) -> String {
        self.pkcs8().lines().nth(10).unwrap().to_owned()
    }

    /// The key with a certificate of its own below it, and the certificate's DER.
    #[must_use]
    pub fn certified(&self) -> (String, Vec<u8>) {
        let pair = rcgen::KeyPair::from_pem_and_sign_algo(&self.pkcs8(), &rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&pair).unwrap();
        (format!("{}{}", self.pkcs8(), certificate.pem()), certificate.der().to_vec())
    }

    /// Header and claims of a token that this key signed by this algorithm; why not, where it did not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn claims(&self, token: &str, algorithm: &str) -> Result<(Value, Value), String> {
        let [head, claims, signature] =
            token.split('.').collect::<Vec<_>>().try_into().map_err(|_| "not three parts")?;
        let octets = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
        let json = |part: &str| serde_json::from_slice::<Value>(&octets(part)?).map_err(|error| error.to_string());
        let (header, body) = (json(head)?, json(claims)?);
        if header["alg"] != algorithm {
            return Err(format!("signed by {}", header["alg"]));
        }
        let by: &'static dyn VerificationAlgorithm =
            if algorithm == "PS256" { &RSA_PSS_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA256 };
        UnparsedPublicKey::new(by, &self.public)
            .verify(format!("{head}.{claims}").as_bytes(), &octets(signature)?)
            .map_err(|_| "the signature is not this key's".to_owned())?;
        Ok((header, body))
    }
}

/// Seconds since 1970, as the machine has it: what a real program signs is good by that clock. Read from the time of a file.
pub(crate) fn machine_seconds() -> i64 {
    let file = tempfile::tempfile().unwrap();
    let since = file.metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// SHA-256.
#[must_use]
pub fn sha256(octets: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    // Apart, so that nothing takes this for a key.
    format!("-----{} {label}-----\n{}\n-----{} {label}-----\n", "BEGIN", lines.join("\n"), "END")
}

/// Whether a token is good at a time, seconds since 1970, and for at most this long.
///
/// # Errors
/// It is not.
pub fn good_at(claims: &Value, now: i64, seconds_max: i64) -> Result<(), String> {
    let number = |name: &str| claims[name].as_i64().ok_or(format!("no {name}"));
    let (begins, ends) = (number("iat")?, number("exp")?);
    match () {
        () if begins > now => Err(format!("issued in {} s", begins - now)),
        () if ends <= now => Err(format!("over since {} s", now - ends)),
        () if ends > now + seconds_max => Err(format!("good for {} s, more than {seconds_max}", ends - now)),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_held_to() {
        for (begins, ends, good) in
            [(-60, 540, true), (0, 600, true), (1, 60, false), (-700, 0, false), (-60, 601, false), (-9_000, 1, true)]
        {
            let claims = json!({ "iat": 1_000_000 + begins, "exp": 1_000_000 + ends });
            assert_eq!(good_at(&claims, 1_000_000, 600).is_ok(), good, "{claims}");
        }
        assert!(good_at(&json!({ "iat": 0 }), 0, 600).is_err());
    }
}
