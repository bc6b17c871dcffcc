//! Kinds with a structure: code that reads it where one of the rule's words stands.
//!
//! To add one: a file here, a line in [`Reader`] and one in [`read`], and an entry with `reader:` in `rules/`.

mod address;
mod aws;
mod basic;
mod jwt;
mod named;
mod pem;

use serde::Deserialize;

use crate::finding::Certainty;
use crate::format::Format;
use crate::window::Window;

pub(crate) use named::names_a_secret;

/// Which code reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reader {
    /// A private key in its armour.
    Pem,
    /// A signed JSON web token.
    Jwt,
    /// The password of a database's address.
    DatabaseAddress,
    /// The password of any other address.
    WebAddress,
    /// A secret key of AWS near its id.
    AwsPair,
    /// An id of a key of AWS alone.
    AwsId,
    /// User and password in base64.
    Basic,
    /// User and password as an option of curl.
    CurlUser,
    /// What a name says is a token.
    NamedToken,
    /// What a name says is a password.
    NamedPassword,
}

/// What a reader found: places in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Octets at the beginning that are no secret.
    pub(crate) public: usize,
    /// Where what is assigned begins.
    pub(crate) assigned: usize,
    pub(crate) certainty: Certainty,
}

impl Read {
    fn new(start: usize, end: usize, certainty: Certainty) -> Self {
        Self { start, end, public: 0, assigned: start, certainty }
    }
}

/// Reads at a word.
pub(crate) fn read(reader: Reader, window: Window<'_>, hit: (usize, usize), format: Format) -> Option<Read> {
    match reader {
        Reader::Pem => pem::read(window, hit),
        Reader::Jwt => jwt::read(window, hit),
        Reader::DatabaseAddress => address::read(window, hit, true),
        Reader::WebAddress => address::read(window, hit, false),
        Reader::AwsPair => aws::pair(window, hit),
        Reader::AwsId => aws::id(window, hit),
        Reader::Basic => basic::read(window, hit),
        Reader::CurlUser => basic::curl(window, hit),
        Reader::NamedToken => named::token(window, hit, format),
        Reader::NamedPassword => named::password(window, hit, format),
    }
}
