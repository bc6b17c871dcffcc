//! The files by which clients trust the certificates of one gateway: the system's roots and ours, as PEM and as a Java store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use sandbox::{SessionDir, SessionFile};

use super::private::read_bounded;
use super::{Ambient, keystore, nss};

/// Where systems keep their roots as one file: Debian, Fedora, openSUSE, Alpine and macOS, older Red Hat.
pub(super) const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
/// Variables by which a user names roots of his own (a company's); they stay trusted.
const NAMED: [&str; 5] =
    ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"];
/// All of the Mozilla roots are about 220 KiB.
const ROOTS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A `wgetrc` with all its comments is 5 KiB.
const SETTINGS_BYTES_MAX: usize = 256 * 1024;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The files of one session, in a folder of its own (0700) that is removed when this is dropped.
#[derive(Debug)]
pub struct Bundle {
    dir: SessionDir,
    pem: PathBuf,
    ours: PathBuf,
    java: PathBuf,
    wget: PathBuf,
    nss: Option<[Vec<u8>; 2]>,
}

impl Bundle {
    /// Writes them into a new folder of `parent`: `ca_pem` and `ca_der` are our own authority, `now` goes into the Java store.
    ///
    /// # Errors
    /// `parent` cannot be written.
    pub fn write(
        parent: &Path,
        ambient: &Ambient,
        ca_pem: &str,
        ca_der: &[u8],
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let mut roots = system_roots(ambient);
        let count = roots.len();
        roots.push(ca_der.to_vec());
        let mut pem = String::with_capacity(count * 2_000);
        for der in roots.iter().take(count) {
            pem.push_str(&encode(der));
        }
        pem.push_str(ca_pem);
        let dir = SessionDir::create(&parent.join(format!("{}-{}", std::process::id(), now.0)))?;
        let write = |name: &str, bytes: Vec<u8>| dir.write(&SessionFile { path: name.into(), bytes });
        let bundle = write("ca-bundle.pem", pem.into_bytes())?;
        let ours = write("ca.pem", ca_pem.as_bytes().to_vec())?;
        let java = write("ca.jks", keystore::write(roots.iter().map(Vec::as_slice), now))?;
        // wget reads no variable for certificates, but one for the system's settings, which stay in force.
        let mut settings = read_bounded(&wget_settings(ambient), SETTINGS_BYTES_MAX).ok().flatten().unwrap_or_default();
        settings.extend_from_slice(b"\nca_certificate = ");
        settings.extend_from_slice(bundle.as_os_str().as_encoded_bytes());
        settings.push(b'\n');
        let wget = write("wgetrc", settings)?;
        Ok(Self { dir, pem: bundle, ours, java, wget, nss: nss::write(ca_der) })
    }

    /// Lets every user of this machine read them: certificates are public, and the home of a service is closed to others.
    ///
    /// # Errors
    /// The system refuses.
    pub fn publish(&self) -> anyhow::Result<()> {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let files = [&self.pem, &self.ours, &self.java, &self.wget].into_iter().try_for_each(|file| open(file, 0o644));
        files.and_then(|()| open(self.dir.path(), 0o755)).with_context(|| {
            format!("`{}` cannot be opened to the users who need its certificates", self.dir.path().display())
        })
    }

    /// System roots and ours, PEM.
    pub fn pem(&self) -> &Path {
        &self.pem
    }

    /// Ours alone, PEM, for clients that add to their own roots.
    pub fn ours(&self) -> &Path {
        &self.ours
    }

    /// The system's settings of wget, with the roots added.
    pub fn wget(&self) -> &Path {
        &self.wget
    }

    /// Ours alone, as the files of Chromium's store; it has the system's roots itself.
    pub fn nss(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.nss.iter().flat_map(|files| nss::NAMES.into_iter().zip(files.iter().map(Vec::as_slice)))
    }

    /// System roots and ours, as a Java store.
    pub fn java(&self) -> &Path {
        &self.java
    }
}

fn encode(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 64);
    out.push_str(BEGIN);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        out.push('\n');
        out.push_str(line);
        rest = after;
    }
    out.push('\n');
    out.push_str(END);
    out.push('\n');
    out
}

/// Certificates of a PEM file; what is none is left out.
fn decode(pem: &str) -> Vec<Vec<u8>> {
    let body = |part: &str| {
        let mut text = part.split_once(END)?.0.as_bytes().to_vec();
        text.retain(|letter| !letter.is_ascii_whitespace());
        STANDARD.decode(text).ok().filter(|der| !der.is_empty())
    };
    pem.split(BEGIN).skip(1).filter_map(body).collect()
}

fn wget_settings(ambient: &Ambient) -> PathBuf {
    ambient.var_os("SYSTEM_WGETRC").map_or_else(|| PathBuf::from("/etc/wgetrc"), PathBuf::from)
}

fn system_roots(ambient: &Ambient) -> Vec<Vec<u8>> {
    let named = NAMED.iter().filter_map(|name| ambient.var_os(name)).map(PathBuf::from);
    let system = SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file());
    let mut seen = std::collections::HashSet::new();
    let mut roots = Vec::new();
    for path in system.into_iter().chain(named) {
        let Ok(Some(bytes)) = read_bounded(&path, ROOTS_BYTES_MAX) else { continue };
        let fresh = decode(&String::from_utf8_lossy(&bytes)).into_iter().filter(|der| seen.insert(der.clone()));
        roots.extend(fresh.collect::<Vec<_>>());
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;

    #[test]
    fn system_roots_and_ours_together() {
        let folder = tempfile::tempdir().expect("folder");
        let company = folder.path().join("company.pem");
        std::fs::write(&company, format!("# a company\n{}", encode(b"company"))).expect("written");
        let vars = [
            ("VALETKEY_HOME".into(), folder.path().join("home").into()),
            ("SSL_CERT_FILE".into(), company.into_os_string()),
        ];
        let ambient = Ambient::of(vars, folder.path().to_owned());
        let home = Home::open(&ambient).expect("home");
        let now = Timestamp::from_secs(1);
        let bundle = Bundle::write(&home.sessions(), &ambient, &encode(b"ours"), b"ours", now).expect("written");
        let all = decode(&std::fs::read_to_string(bundle.pem()).expect("there"));
        assert_eq!(all.last().map(Vec::as_slice), Some(&b"ours"[..]));
        assert!(all.iter().any(|der| der == b"company"));
        assert_eq!(all.iter().filter(|der| *der == b"ours").count(), 1);
        assert_eq!(decode(&std::fs::read_to_string(bundle.ours()).expect("there")), [b"ours"]);
        let settings = std::fs::read_to_string(bundle.wget()).expect("there");
        assert!(settings.ends_with(&format!("\nca_certificate = {}\n", bundle.pem().display())), "{settings}");
        for path in [bundle.pem(), bundle.ours(), bundle.java(), bundle.wget()] {
            assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        bundle.publish().expect("opened");
        for path in [bundle.pem(), bundle.ours(), bundle.java(), bundle.wget()] {
            assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o644);
        }
        let java = bundle.java().to_owned();
        drop(bundle);
        assert!(!java.exists());
    }
}
