//! What an agent's process gets: proxy and CA variables, placeholders, and none of the real credentials.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use model::Timestamp;
use proxy::net::leaf::Authority;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::databases::{Reached, lead};
use super::sessions::Begun;
use crate::config::{Ambient, Bundle, Home};

/// The files by which clients trust this session's certificates; removed when dropped.
pub struct Trust {
    bundle: Bundle,
}

impl Trust {
    /// Writes them.
    ///
    /// # Errors
    /// The home cannot be written.
    pub fn write(home: &Home, ambient: &Ambient, authority: &Authority, now: Timestamp) -> anyhow::Result<Self> {
        Ok(Self { bundle: Bundle::write(&home.sessions(), ambient, authority.ca_pem(), &der(authority)?, now)? })
    }

    /// Writes them where every user of this machine may read them.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_for_all(
        folder: &std::path::Path,
        ambient: &Ambient,
        authority: &Authority,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let bundle = Bundle::write(folder, ambient, authority.ca_pem(), &der(authority)?, now)?;
        bundle.publish()?;
        Ok(Self { bundle })
    }

    /// All of them.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The gateway's own certificate, PEM.
    pub fn certificate(&self) -> &std::path::Path {
        self.bundle.ours()
    }
}

/// The certificate as DER, for trust stores that hold no PEM.
fn der(authority: &Authority) -> anyhow::Result<Vec<u8>> {
    Ok(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes())?.to_vec())
}

/// The proxy's URL with the session's token as password.
pub fn proxy_url(address: SocketAddr, token: &str) -> String {
    format!("http://valetkey:{token}@{address}")
}

/// The whole environment of an agent.
///
/// Between walls `databases` are none: their hosts are reached by their own names.
pub fn of_agent(
    ambient: &Ambient,
    begun: &Begun,
    (address, databases): (SocketAddr, &[Reached]),
    trust: &Trust,
) -> Vec<(OsString, OsString)> {
    let mut set = begun.placeholders.clone();
    set.extend(led(ambient, databases, begun));
    crate::config::child_environment(ambient, &set, &proxy_url(address, &begun.token), &trust.bundle)
}

fn led(ambient: &Ambient, databases: &[Reached], begun: &Begun) -> BTreeMap<String, String> {
    let text = |(name, value): (&OsStr, &OsStr)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
    lead(databases, &begun.token, &ambient.vars().filter_map(text).collect())
}

/// Only what Valetkey adds, for `session start`.
pub fn variables(
    ambient: &Ambient,
    begun: &Begun,
    (address, databases): (SocketAddr, &[Reached]),
    trust: &Trust,
) -> BTreeMap<String, String> {
    let mut set = begun.placeholders.clone();
    set.extend(led(ambient, databases, begun));
    let plain = ambient.without_variables();
    let all = crate::config::child_environment(&plain, &set, &proxy_url(address, &begun.token), &trust.bundle);
    let text = |value: OsString| value.into_string().ok();
    all.into_iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}
