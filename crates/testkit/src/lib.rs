//! Parts that tests share: upstreams on loopback with a journal of what really arrived, a throw-away certificate
//! authority, a client that sends exactly the bytes it is given, a clock that stands still, a seeded source of
//! randomness, and the oracle that says whether a secret leaked in any encoding.
//!
//! For tests and measurements alone: no crate may depend on it outside `[dev-dependencies]`, and nothing in it touches the
//! internet or waits for the wall clock longer than a test asked. A helper that fails panics, so that the test fails where
//! the reason stands. Start reading at [`upstream`], then [`leak`], then [`client`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests call this crate; a helper that fails must fail its test loudly"
)]

pub mod ca;
pub mod client;
pub mod clock;
pub mod coding;
pub mod github_app;
pub mod grants;
pub mod hashicorp;
pub mod leak;
pub mod oauth;
pub mod process;
pub mod raw;
pub mod signed;
pub mod upstream;
pub mod ws;

pub use ca::Ca;
pub use clock::{FakeClock, SeededRandom};
pub use github_app::GithubApp;
pub use grants::{Client, Grants};
pub use hashicorp::Hashicorp;
pub use leak::Canary;
pub use oauth::OAuth;
pub use raw::{RawServer, Step};
pub use signed::RsaKey;
pub use upstream::{Answer, Protocol, Seen, Upstream};
