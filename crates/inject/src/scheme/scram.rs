//! The handshake of PostgreSQL as a client: SCRAM-SHA-256 (RFC 5802, RFC 7677), with the server's certificate bound in where there is
//! TLS (RFC 5929 4), and the password in clear text where a server asks for it over TLS. The password stays here.
//!
//! Rejected: a crate of the protocol. It draws its own randomness and leaves a copy of the password in memory.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secret::{Credential, Field, Secret};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Rounds that a server may ask for: fewer than RFC 7677 4 wants make a password cheap to guess, more are a second of work.
const ROUNDS_MIN: u32 = 4_096;
const ROUNDS_MAX: u32 = 1_000_000;
/// Octets of one message of the server.
const MESSAGE_BYTES_MAX: usize = 2_048;
/// Octets of a salt.
const SALT_BYTES_MAX: usize = 256;
const KEY_BYTES: usize = 32;

/// Why a handshake cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The credential is not of kind `database`.
    #[error("the credential has no user and password; add it as `user:password` of kind `database`")]
    NoUser,
    /// A NUL would end the user's name or the password early.
    #[error("the user or the password holds a NUL")]
    Nul,
    /// What the server says is not SCRAM-SHA-256.
    #[error("the server breaks SCRAM-SHA-256 (RFC 5802)")]
    Broken,
    /// The server asks for too few or too many rounds.
    #[error("the server asks for {0} rounds, which is out of bounds; set `scram_iterations` to 4096 or more")]
    Rounds(u32),
    /// The server does not know the password.
    #[error("the server does not prove that it knows the password; something else answers in its place")]
    Unproven,
}

/// What the exchange is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// No TLS.
    None,
    /// TLS, to a server that offers no binding.
    NotOffered,
    /// The hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static [u8] {
        match self {
            Self::None => b"n,,",
            Self::NotOffered => b"y,,",
            Self::EndPoint(_) => b"p=tls-server-end-point,,",
        }
    }
}

/// A user who logs in.
pub struct Login<'a> {
    user: &'a str,
    password: &'a Secret,
}

impl<'a> Login<'a> {
    /// With this credential.
    ///
    /// # Errors
    /// It has no user, or a part that the protocol cannot carry.
    pub fn new(credential: &'a Credential) -> Result<Self, LoginError> {
        let material = credential.material();
        let user = material.field(Field::Username).ok_or(LoginError::NoUser)?;
        let user = std::str::from_utf8(user.expose()).map_err(|_| LoginError::NoUser)?;
        let password = material.field(Field::Value).ok_or(LoginError::NoUser)?;
        if user.is_empty() {
            return Err(LoginError::NoUser);
        }
        if user.contains('\0') || password.expose().contains(&0) {
            return Err(LoginError::Nul);
        }
        Ok(Self { user, password })
    }

    /// The user's name, which is no secret.
    #[must_use]
    pub fn user(&self) -> &'a str {
        self.user
    }

    /// The password as it is, for servers that want it so. Over verified TLS alone.
    #[must_use]
    pub fn clear(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.password.expose().to_vec())
    }

    /// Begins; `noise` is 18 octets that nobody can foresee.
    #[must_use]
    pub fn scram(&self, noise: [u8; 18], binding: Binding) -> Scram {
        let bare = format!("n=,r={}", STANDARD.encode(noise));
        Scram { bare, password: prepared(self.password.expose()), binding }
    }
}

/// SASLprep (RFC 4013); what it refuses is taken as it is, as the server does (`pg_saslprep`).
fn prepared(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(text.map_or_else(|| password.to_vec(), |text| text.as_bytes().to_vec()))
}

/// An exchange that has begun.
pub struct Scram {
    bare: String,
    password: Zeroizing<Vec<u8>>,
    binding: Binding,
}

/// The proof was sent; what the server must say to prove itself.
pub struct Proved {
    expected: [u8; KEY_BYTES],
}

impl Scram {
    /// The client's first message.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        [self.binding.header(), self.bare.as_bytes()].concat()
    }

    /// The client's final message, for the server's first.
    ///
    /// # Errors
    /// [`LoginError`]: the server is not to be trusted with a proof.
    pub fn answer(self, server: &[u8]) -> Result<(Vec<u8>, Proved), LoginError> {
        let text = std::str::from_utf8(server).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX);
        let text = text.ok_or(LoginError::Broken)?;
        let mut fields = text.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name)).ok_or(LoginError::Broken);
        let (nonce, salt, rounds) = (field("r=")?, field("s=")?, field("i=")?);
        let own = self.bare.strip_prefix("n=,r=").unwrap_or_default();
        if nonce.len() <= own.len() || !nonce.starts_with(own) {
            return Err(LoginError::Broken);
        }
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty() && salt.len() <= SALT_BYTES_MAX);
        let salt = salt.ok_or(LoginError::Broken)?;
        let rounds: u32 = rounds.parse().map_err(|_| LoginError::Broken)?;
        let count = NonZeroU32::new(rounds).filter(|_| (ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds));
        let count = count.ok_or(LoginError::Rounds(rounds))?;
        let mut salted = Zeroizing::new([0u8; KEY_BYTES]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &salt, &self.password, &mut *salted);
        let mut bound = self.binding.header().to_vec();
        if let Binding::EndPoint(hash) = &self.binding {
            bound.extend_from_slice(hash);
        }
        let unproven = format!("c={},r={nonce}", STANDARD.encode(bound));
        let spoken = format!("{},{text},{unproven}", self.bare);
        let client = Zeroizing::new(sign(&*salted, b"Client Key"));
        let stored = digest::digest(&digest::SHA256, &*client);
        let mut proof = Zeroizing::new(sign(stored.as_ref(), spoken.as_bytes()));
        for (octet, key) in proof.iter_mut().zip(client.iter()) {
            *octet ^= key;
        }
        let server = Zeroizing::new(sign(&*salted, b"Server Key"));
        let expected = sign(&*server, spoken.as_bytes());
        Ok((format!("{unproven},p={}", STANDARD.encode(*proof)).into_bytes(), Proved { expected }))
    }
}

impl Proved {
    /// Whether the server's final message proves that it knows the password.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, server: &[u8]) -> Result<(), LoginError> {
        let text = std::str::from_utf8(server).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX);
        let signature = text.and_then(|text| text.split(',').next()?.strip_prefix("v=")).ok_or(LoginError::Unproven)?;
        let signature = STANDARD.decode(signature).map_err(|_| LoginError::Unproven)?;
        if bool::from(signature.as_slice().ct_eq(&self.expected)) { Ok(()) } else { Err(LoginError::Unproven) }
    }
}

fn sign(key: &[u8], text: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut out = [0u8; KEY_BYTES];
    out.iter_mut().zip(tag.as_ref()).for_each(|(octet, of)| *octet = *of);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(nonce: &str) -> Scram {
        Scram { bare: format!("n=user,r={nonce}"), password: prepared(b"pencil"), binding: Binding::None }
    }

    /// RFC 7677 3.
    #[test]
    fn the_example_of_the_rfc() {
        let scram = begun("rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        // Ours never name the user; the rest of the exchange does not depend on it.
        let own = Scram { bare: "n=,r=rOprNGfwEbeRWgbNEkqO".to_owned(), ..begun("x") };
        let server = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, _) = own.answer(server).expect("answered");
        assert!(last.starts_with(b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="));
        let (last, proved) = answer_of_the_rfc(scram, server);
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proved.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        for wrong in [&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], b"v=", b"e=other-error", b""] {
            assert_eq!(proved.check(wrong), Err(LoginError::Unproven));
        }
    }

    /// The RFC's client names its user in the part that is signed.
    fn answer_of_the_rfc(mut scram: Scram, server: &[u8]) -> (String, Proved) {
        let bare = std::mem::take(&mut scram.bare);
        let nonce = bare.rsplit("r=").next().unwrap_or_default().to_owned();
        let text = String::from_utf8(server.to_vec()).expect("text");
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("salt");
        let mut salted = [0u8; KEY_BYTES];
        let rounds = NonZeroU32::new(4_096).expect("not zero");
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, b"pencil", &mut salted);
        let whole = text.split(',').next().and_then(|field| field.strip_prefix("r=")).expect("nonce");
        assert!(whole.starts_with(&nonce));
        let unproven = format!("c=biws,r={whole}");
        let spoken = format!("{bare},{text},{unproven}");
        let client = sign(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client);
        let mut proof = sign(stored.as_ref(), spoken.as_bytes());
        proof.iter_mut().zip(client).for_each(|(octet, key)| *octet ^= key);
        let expected = sign(&sign(&salted, b"Server Key"), spoken.as_bytes());
        (format!("{unproven},p={}", STANDARD.encode(proof)), Proved { expected })
    }

    #[test]
    fn servers_that_break_the_exchange() {
        let own = || Scram { bare: "n=,r=abc".to_owned(), password: prepared(b"pencil"), binding: Binding::None };
        for (server, error) in [
            ("", LoginError::Broken),
            ("r=abc,s=AAAA,i=4096", LoginError::Broken),
            ("r=xyz123,s=AAAA,i=4096", LoginError::Broken),
            ("r=abcd,s=,i=4096", LoginError::Broken),
            ("r=abcd,s=!!,i=4096", LoginError::Broken),
            ("r=abcd,s=AAAA,i=x", LoginError::Broken),
            ("r=abcd,s=AAAA,i=1", LoginError::Rounds(1)),
            ("r=abcd,s=AAAA,i=2000000000", LoginError::Rounds(2_000_000_000)),
            ("m=x,r=abcd,s=AAAA,i=4096", LoginError::Broken),
        ] {
            assert_eq!(own().answer(server.as_bytes()).err(), Some(error), "{server}");
        }
        assert!(own().answer(b"r=abcd,s=AAAA,i=4096").is_ok());
    }
}
