//! What stands after the colon of a reference to a secret manager: segments, a version, a field, and what is filled in for somebody.
//!
//! A segment becomes part of a path on a server, so nothing may stand in it that could lead elsewhere: no dots alone, no `%` (it is encoded
//! by us), no backslash. What is filled in is narrower still. A segment holds one hole at most: with two, agent `a-b` of user `c` and
//! agent `a` of user `b-c` could meet in `{agent}-{user}`.

use super::Scheme;

/// What may be filled in.
const HOLES: [&str; 3] = ["{user}", "{agent}", "{env}"];
/// Octets of what is filled in; names have no more.
const FILLED_BYTES_MAX: usize = 128;
/// Segments of one path.
const SEGMENTS_MAX: usize = 32;

/// Where a value is, in the words of its back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    /// Never empty.
    pub segments: Vec<&'a str>,
    /// As written.
    pub version: Option<&'a str>,
    pub field: Option<&'a str>,
}

impl<'a> Spot<'a> {
    /// Reads what stands after the colon, and says what is wrong with it for this back end.
    pub fn read(scheme: Scheme, rest: &'a str) -> Result<Self, &'static str> {
        let rest = match (scheme, rest.strip_prefix("//")) {
            (Scheme::OnePassword, Some(rest)) => rest,
            (Scheme::OnePassword, None) => return Err("it is written `op://VAULT/ITEM/FIELD`"),
            _ => rest,
        };
        let (front, field) = rest.split_once('#').map_or((rest, None), |(front, field)| (front, Some(field)));
        let (path, query) = front.split_once('?').map_or((front, None), |(path, query)| (path, Some(query)));
        let version = match query {
            Some(query) => Some(query.strip_prefix("version=").ok_or("only `?version=` may follow a path")?),
            None => None,
        };
        let path = if scheme == Scheme::AwsPs { path.strip_prefix('/').unwrap_or(path) } else { path };
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() > SEGMENTS_MAX {
            return Err("its path is too long");
        }
        segments.iter().copied().chain(field).try_for_each(check)?;
        let spot = Self { segments, version, field };
        spot.fits(scheme).map(|()| spot)
    }

    fn fits(&self, scheme: Scheme) -> Result<(), &'static str> {
        let count = self.segments.len();
        let numbered = |version: &str| version.parse::<u64>().is_ok_and(|number| number > 0);
        let labelled = |version: &str| {
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
            !version.is_empty() && version.len() <= 64 && version.bytes().all(plain)
        };
        let bare = self.version.is_none() && self.field.is_none();
        let named = |text: &&str| {
            let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-.".contains(&octet);
            has_hole(text) || text.bytes().all(plain)
        };
        let wrong = match scheme {
            Scheme::Hashicorp if count < 2 => "it is written `hashicorp:MOUNT/PATH#FIELD`",
            Scheme::Hashicorp if self.segments.first().is_some_and(|mount| has_hole(mount)) => {
                "its mount is nobody's own; put the braces further behind"
            }
            Scheme::Hashicorp if self.version.is_some_and(|version| !numbered(version)) => {
                "a version is a number from 1"
            }
            Scheme::OnePassword if !(3..=4).contains(&count) || !bare => {
                "it is written `op://VAULT/ITEM/FIELD` or `op://VAULT/ITEM/SECTION/FIELD`"
            }
            Scheme::GcpSm if count != 2 => "it is written `gcp-sm:PROJECT/NAME`",
            Scheme::AzureKv if count != 1 => {
                "it is written `azure-kv:NAME`; the vault is the `address` under `backends:`"
            }
            Scheme::AwsSm | Scheme::AwsPs | Scheme::GcpSm | Scheme::AzureKv
                if self.version.is_some_and(|version| !labelled(version)) =>
            {
                "a version is a number or a label of letters, digits, `-` and `_`"
            }
            Scheme::K8s if count != 2 || self.field.is_none() || self.version.is_some() => {
                "it is written `k8s:NAMESPACE/NAME#KEY`"
            }
            Scheme::K8s if !self.segments.iter().all(named) => {
                "names of Kubernetes have lower-case letters, digits, `-` and `.`"
            }
            _ => return Ok(()),
        };
        Err(wrong)
    }
}

fn check(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("a part of its path is empty");
    }
    if segment.bytes().all(|octet| octet == b'.') {
        return Err("a part of its path is dots alone");
    }
    if segment.bytes().any(|octet| octet.is_ascii_control() || b"%\\?#".contains(&octet)) {
        return Err("a part of its path holds `%`, `\\`, `?`, `#` or a control character");
    }
    let holes: usize = HOLES.iter().map(|hole| segment.matches(hole).count()).sum();
    if holes > 1 {
        return Err("a part of its path holds two of `{user}`, `{agent}`, `{env}`; put a `/` between them");
    }
    if segment.matches(['{', '}']).count() > 2 * holes {
        return Err("what stands in braces is `{user}`, `{agent}` or `{env}`");
    }
    Ok(())
}

/// Whether each part between two slashes may stand there.
pub(crate) fn check_segments(path: &str) -> Result<(), &'static str> {
    path.split('/').try_for_each(check)
}

/// Whether something is to be filled in.
pub(super) fn has_hole(text: &str) -> bool {
    HOLES.iter().any(|hole| text.contains(hole))
}

/// Fills one in. The value is a name: what else could stand in a segment, it may not hold.
pub(super) fn fill(text: &str, hole: &str, value: &str) -> Result<String, &'static str> {
    if value.is_empty() || value.len() > FILLED_BYTES_MAX {
        return Err("it is empty or too long");
    }
    if !value.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._@+-".contains(&octet)) {
        return Err("only letters, digits and `.`, `_`, `@`, `+`, `-` may be filled in");
    }
    if value.bytes().all(|octet| octet == b'.') {
        return Err("dots alone lead elsewhere");
    }
    Ok(text.replace(hole, value))
}
