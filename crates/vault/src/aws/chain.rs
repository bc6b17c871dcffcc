//! The keys that surround the gateway, found as the SDKs of AWS find them (AWS SDKs and Tools Reference Guide, "Standardized credential providers"): variables,
//! an identity token, a profile of the shared files, the endpoint of a container, the instance's metadata (version 2 alone). Asked for by nobody but
//! whom the configuration says so of; kept, and renewed before their end.
#![expect(clippy::disallowed_methods, reason = "a token that is found goes to who asks for it")]

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue, Method, header};
use model::Timestamp;
use model::canonical::{Origin, Scheme, parse_authority};
use secret::Secret;
use zeroize::Zeroizing;

use super::sts::{self, Assume, Proof};
use super::{Keys, malformed, profile};
use crate::Ambient;
use crate::backend::{BackendError, without_newline};
use crate::far::{self, Ask, Reply};
use crate::issue::{Endpoint, http as asking, until};
use crate::road::Road;

/// Where ECS and EKS answer, and an instance: these and the loopback are all that is asked in clear text (the guide, "Container credential provider", "IMDS
/// credential provider").
const CONTAINERS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];
const INSTANCES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];
const NOTHING: &str = "no keys of AWS are found in variables, the shared files, a container's endpoint or an instance's metadata; name some";
/// A file of tokens or profiles that is larger is none.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Characters of a role's name that the metadata tell.
const ROLE_CHARS_MAX: usize = 64;
const METADATA: &str = "/latest/meta-data/iam/security-credentials/";

/// How issuers are reached, once the wiring said so.
pub(crate) type SharedWay = Arc<ArcSwapOption<Arc<dyn Road>>>;

pub(crate) struct Chain {
    ambient: Ambient,
    way: SharedWay,
    /// What was found last, and until when nobody looks again.
    kept: tokio::sync::Mutex<Option<(Arc<Keys>, Timestamp)>>,
}

/// How long keys are used that name no end, seconds: somebody may change the file.
const KEPT_SECONDS: u64 = 60;

impl Chain {
    pub fn new(ambient: Ambient, way: SharedWay) -> Self {
        Self { ambient, way, kept: tokio::sync::Mutex::default() }
    }

    /// The keys; one question for all who wait. What is good yet is used on while whoever gave it is away.
    pub async fn keys(&self, now: Timestamp) -> Result<Arc<Keys>, BackendError> {
        let mut kept = self.kept.lock().await;
        if let Some((keys, fresh)) = &*kept
            && now < *fresh
        {
            return Ok(Arc::clone(keys));
        }
        match self.find(now).await {
            Ok(keys) => {
                let fresh = keys.expires.map_or_else(|| now.plus_secs(KEPT_SECONDS), |end| until(end, now));
                let keys = Arc::new(keys);
                *kept = Some((Arc::clone(&keys), fresh));
                Ok(keys)
            }
            Err(error) => {
                let good = |keys: &Keys| keys.expires.is_some_and(|end| now < end);
                let last = kept.as_ref().map(|(keys, _)| keys).filter(|keys| error.is_passing() && good(keys));
                last.map(Arc::clone).ok_or(error)
            }
        }
    }

    async fn find(&self, now: Timestamp) -> Result<Keys, BackendError> {
        if let Some(keys) = self.variables()? {
            return Ok(keys);
        }
        if let Some(keys) = self.identity(now).await? {
            return Ok(keys);
        }
        if let Some(keys) = self.profile()? {
            return Ok(keys);
        }
        if let Some(keys) = self.container().await? {
            return Ok(keys);
        }
        self.instance().await
    }

    fn text(&self, name: &str) -> Option<String> {
        self.ambient.var(name)?.into_string().ok().filter(|text| !text.is_empty())
    }

    fn variables(&self) -> Result<Option<Keys>, BackendError> {
        let secret = |name: &str| self.text(name).map(|text| Secret::new(text.into_bytes()));
        match (secret("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret_half)) => {
                Ok(Some(Keys { id, secret: secret_half, token: secret("AWS_SESSION_TOKEN"), expires: None }))
            }
            (None, None) => Ok(None),
            _ => Err(malformed(
                "one of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` is set without the other; set both or none",
            )),
        }
    }

    /// A role for the identity token of a pod (IRSA) or of another provider.
    async fn identity(&self, now: Timestamp) -> Result<Option<Keys>, BackendError> {
        let (Some(file), Some(role)) = (self.text("AWS_WEB_IDENTITY_TOKEN_FILE"), self.text("AWS_ROLE_ARN")) else {
            return Ok(None);
        };
        let token = Secret::new(without_newline(&read(Path::new(&file))?.unwrap_or_default()).to_vec());
        if token.is_empty() {
            return Err(BackendError::Missing { what: format!("`{file}` holds no identity token") });
        }
        let region = self.text("AWS_REGION").or_else(|| self.text("AWS_DEFAULT_REGION"));
        let region =
            region.ok_or_else(|| malformed("a role is to be taken on, and `AWS_REGION` is not set; set it"))?;
        let session = self.text("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "valetkey-gateway".to_owned());
        let assume = Assume {
            role: &role,
            session: &session,
            seconds: None,
            policy: None,
            external_id: None,
            source_identity: None,
        };
        let at = endpoint(&format!("https://{}/", sts::host(&region)))?;
        let (proof, host) = (Proof::Token(&token), at.origin.to_string());
        let reply = self.by_way(&at, &sts::ask(assume, &proof, (&host, &region), now)?).await?;
        sts::read(&proof, &host, &reply, now).map(Some)
    }

    /// Asks on the gateway's own road.
    pub async fn by_way(&self, at: &Endpoint, ask: &Ask) -> Result<Reply, BackendError> {
        let way = self.way.load_full();
        let nowhere = || BackendError::Away { what: format!("nothing leads to {} yet", at.origin) };
        asking::ask(&***way.as_ref().ok_or_else(nowhere)?, at, ask).await
    }

    fn profile(&self) -> Result<Option<Keys>, BackendError> {
        let named = self.text("AWS_PROFILE").or_else(|| self.text("AWS_DEFAULT_PROFILE"));
        let name = named.as_deref().unwrap_or("default");
        let home = self.text("HOME").map(PathBuf::from);
        let file = |variable: &str, usual: &str| {
            self.text(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(usual)))
        };
        let files = [
            (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name.to_owned()),
            (
                file("AWS_CONFIG_FILE", "config"),
                if name == "default" { name.to_owned() } else { format!("profile {name}") },
            ),
        ];
        for (path, section) in files {
            let Some(text) = path.as_deref().map(read).transpose()?.flatten() else { continue };
            if let Some(keys) = profile::keys(&text, &section)? {
                return Ok(Some(keys));
            }
        }
        match named {
            Some(name) => Err(BackendError::Missing {
                what: format!("the shared files of AWS hold no keys for profile `{name}`"),
            }),
            None => Ok(None),
        }
    }

    /// What an agent of ECS or EKS gives.
    async fn container(&self) -> Result<Option<Keys>, BackendError> {
        let relative = self.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = match (&relative, self.text("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) if path.starts_with('/') => format!("http://169.254.170.2{path}"),
            (Some(_), _) => return Err(malformed("`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` does not begin with `/`")),
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        let at = endpoint(&url)?;
        let token = match self.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(without_newline(&read(Path::new(&file))?.unwrap_or_default()).to_vec()),
            None => self.text("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(String::into_bytes),
        };
        let mut ask = Ask::get(at.target.clone());
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            ask = ask.with(header::AUTHORIZATION, far::secret_field(Zeroizing::new(token))?);
        }
        let reply = match at.origin.scheme {
            Scheme::Https => self.by_way(&at, &ask).await?,
            _ => far::ask_near(&at.origin, &CONTAINERS, &ask).await?,
        };
        given(&at.origin, &reply).map(Some)
    }

    /// What an instance's metadata tell; version 1, which asks for no token, is not asked.
    async fn instance(&self) -> Result<Keys, BackendError> {
        if self.text("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(BackendError::Missing { what: NOTHING.to_owned() });
        }
        let named = self.text("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let at = endpoint(named.as_deref().unwrap_or("http://169.254.169.254"))?.origin;
        let mut ask = Ask::get("/latest/api/token");
        ask.method = Method::PUT;
        let ttl = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        let reply = far::ask_near(&at, &INSTANCES, &ask.with(ttl, HeaderValue::from_static("21600"))).await;
        let mut reply = match reply {
            Ok(reply) if reply.status == 200 => reply,
            Ok(reply) => {
                let what = format!("{at} answers {} to who asks for a token", reply.status);
                let passing = reply.status == 429 || reply.status >= 500;
                return Err(if passing { BackendError::Away { what } } else { BackendError::Forbidden { what } });
            }
            // Who is no instance hears nothing; nor does a container behind one hop.
            Err(BackendError::Away { what }) => {
                let what = format!("{NOTHING} ({what}; in a container on an instance, its hop limit must be 2)");
                return Err(BackendError::Away { what });
            }
            Err(error) => return Err(error),
        };
        let token = far::secret_field(std::mem::take(&mut reply.body))?;
        let get = async |target: String| {
            let name = HeaderName::from_static("x-aws-ec2-metadata-token");
            far::ask_near(&at, &INSTANCES, &Ask::get(target).with(name, token.clone())).await
        };
        let reply = get(METADATA.to_owned()).await?;
        let role =
            std::str::from_utf8(&reply.body).ok().and_then(|text| text.lines().next()).unwrap_or_default().trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
        if reply.status != 200 || role.is_empty() || role.len() > ROLE_CHARS_MAX || !role.chars().all(plain) {
            return Err(BackendError::Missing {
                what: format!("{at} tells of no role of this instance; attach one to it"),
            });
        }
        given(&at, &get(format!("{METADATA}{role}")).await?)
    }
}

/// The keys in an answer of a container's endpoint or of an instance.
fn given(at: &Origin, reply: &Reply) -> Result<Keys, BackendError> {
    match reply.status {
        200 => read_given(&reply.body).ok_or_else(|| malformed(&format!("{at} does not answer with keys that end"))),
        429 | 500..=599 => Err(BackendError::Away { what: format!("{at} answers {}", reply.status) }),
        status => Err(BackendError::Forbidden { what: format!("{at} gives us no keys (status {status})") }),
    }
}

pub(crate) fn read_given(body: &[u8]) -> Option<Keys> {
    let keys = Keys::stored(Secret::new(body.to_vec())).ok()?;
    (keys.expires.is_some() && keys.token.is_some()).then_some(keys)
}

/// A URL of the surroundings.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, BackendError> {
    let wrong = || {
        malformed(
            "where keys or tokens are asked for is no URL; check `AWS_CONTAINER_CREDENTIALS_FULL_URI`, or the `token_uri` of the key",
        )
    };
    let (scheme, rest) = match url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(wrong()),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(at).ok_or_else(wrong)?;
    let plain = |octet: u8| octet.is_ascii_graphic() && octet != b'#';
    let (host, port) = parse_authority(authority).map_err(|_| wrong())?;
    if !target.bytes().all(plain) {
        return Err(wrong());
    }
    let origin = Origin { port: port.unwrap_or_else(|| scheme.default_port()), scheme, host };
    Ok(Endpoint { origin, target: if target.is_empty() { "/".to_owned() } else { target.to_owned() } })
}

/// A file whole; none where there is none.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BackendError> {
    let shown = path.display();
    let away = |error: std::io::Error| BackendError::Away { what: format!("`{shown}` cannot be read: {error}") };
    let file = match crate::backend::open_plain(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(away(error)),
    };
    if !file.metadata().map_err(away)?.is_file() {
        return Err(malformed(&format!("`{shown}` is not a regular file")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(away)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(malformed(&format!("`{shown}` is too large")));
    }
    Ok(Some(bytes))
}

/// Whether a reference means these keys.
pub(crate) fn check(rest: &str) -> Result<(), &'static str> {
    if rest == "ambient" { Ok(()) } else { Err("write `aws:ambient`: the keys that surround the gateway") }
}

/// What a credential that is these keys stores.
pub(crate) fn document(keys: &Keys) -> Result<Secret, BackendError> {
    let text =
        |secret: &Secret| std::str::from_utf8(without_newline(secret.expose())).map(str::to_owned).map(Zeroizing::new);
    let wrong = |_| malformed("the keys that surround the gateway are no text");
    let (id, secret) = (text(&keys.id).map_err(wrong)?, text(&keys.secret).map_err(wrong)?);
    let token = keys.token.as_ref().map(text).transpose().map_err(wrong)?;
    let mut members = vec![("access_key_id", id.as_bytes()), ("secret_access_key", secret.as_bytes())];
    members.extend(token.as_ref().map(|token| ("session_token", token.as_bytes())));
    let mut body = crate::backend::body(&members).map_err(malformed)?;
    Ok(Secret::new(std::mem::take(&mut *body)))
}
