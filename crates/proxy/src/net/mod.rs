//! Transport: what the stages stand on. Strict reading of clients, certificates for them, names, addresses, and pooled
//! connections to upstreams.
//!
//! Nothing here decides, injects or records. It must never dial an address that was not checked, accept a certificate
//! that does not verify, or hand hyper an octet that did not pass. Start reading at [`guard`] for the way in and at
//! [`pool`] for the way out.

pub mod address;
mod breaker;
pub mod dial;
pub mod first;
pub mod frame;
pub mod guard;
pub mod leaf;
pub mod message;
pub mod name;
pub mod names;
pub mod pool;
pub mod proxyout;
pub mod tls;

#[cfg(test)]
mod fixture;
