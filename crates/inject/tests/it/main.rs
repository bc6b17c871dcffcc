//! The promises of this crate, on its public surface.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::format_push_string,
    clippy::too_many_arguments,
    clippy::type_complexity,
    reason = "helpers of tests fail like tests; tables are long"
)]

mod answers;
mod echo;
mod echo_oracle;
mod hmac;
mod known;
mod minting;
mod placements;
mod sigv4;
mod tripwires;

use std::sync::Arc;

use http::HeaderMap;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{CredentialName, SchemeSpec};
use secret::{Credential, Lease, Material, Secret};

/// A bearer scheme in `Authorization`.
pub fn bearer() -> SchemeSpec {
    SchemeSpec::Bearer { header: "authorization".into(), words: vec!["Bearer".into(), "token".into()] }
}

/// A credential with one value.
pub fn credential(name: &str, value: &[u8]) -> Credential {
    let material = Arc::new(Material::token(Secret::new(value.to_vec())));
    Credential::new(CredentialName::new(name).expect("name"), 1, material, Lease::default())
}

/// A canonical request to `scheme://host`.
pub fn request(scheme: Scheme, host: &str, target: &str, headers: &[(&str, &str)]) -> CanonicalRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<http::HeaderName>().expect("name"), value.parse().expect("value"));
    }
    let origin = Origin { scheme, host: Host::parse(host).expect("host"), port: scheme.default_port() };
    let cleaned = clean(map).expect("clean");
    CanonicalRequest::new(http::Method::POST, origin, target, cleaned, Length::Streamed).expect("canonical")
}

/// A source of octets that is always the same for one seed (splitmix64).
pub fn noise(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |out| {
        for byte in out {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ mixed >> 31) as u8;
        }
    }
}
