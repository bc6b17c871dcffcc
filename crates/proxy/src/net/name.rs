//! Names to addresses: our own resolver, absolute names, every answer checked, the checked list kept and dialled.
//!
//! Search domains, `/etc/hosts`, `HOSTALIASES` and `LOCALDOMAIN` have no say (row F73): the agent may have written
//! them. A name of which one answer is blocked is refused as a whole (row F72).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use model::bounds::{NAME_SECONDS_MAX, NAME_SECONDS_MIN, NAMES_CACHED_MAX};
use model::canonical::Host;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::address::{Blocked, Own, blocked};
use super::dial::DialError;

/// Addresses of one name that are kept; more are not tried.
const ADDRESSES_MAX: usize = 16;

/// What a resolver says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// How long they may be used, seconds, as the zone says.
    pub ttl_seconds: u64,
}

/// A resolution under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// Where answers come from: DNS in the program, a table in tests.
pub trait Resolve: Send + Sync {
    /// All addresses of an absolute name; the text of an error is for operators.
    fn resolve<'a>(&'a self, name: &'a Host) -> Resolving<'a>;
}

/// DNS through the name servers that the system is configured with, which are read on first use.
#[derive(Default)]
pub struct SystemResolver(OnceLock<Result<TokioResolver, String>>);

impl SystemResolver {
    fn get(&self) -> Result<&TokioResolver, String> {
        let made = self.0.get_or_init(|| {
            let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            let options = builder.options_mut();
            options.use_hosts_file = ResolveHosts::Never;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            // Ours is the cache that is checked; a second one would only hold stale answers.
            options.cache_size = 0;
            builder.build().map_err(|error| error.to_string())
        });
        made.as_ref().map_err(Clone::clone)
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a Host) -> Resolving<'a> {
        Box::pin(async move {
            // The root dot makes it absolute: no search domain is tried.
            let found = self.get()?.lookup_ip(format!("{name}.")).await.map_err(|error| error.to_string())?;
            let left = found.valid_until().saturating_duration_since(std::time::Instant::now());
            Ok(Answer { addresses: found.iter().collect(), ttl_seconds: left.as_secs() })
        })
    }
}

#[derive(Clone)]
struct Kept {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

/// Checked names, kept for their time and bounded.
pub struct Names {
    resolver: Box<dyn Resolve>,
    own: Own,
    kept: Cache<Host, Kept>,
}

impl Names {
    /// Asks `resolver`; refuses blocked addresses and our own.
    #[must_use]
    pub fn new(resolver: Box<dyn Resolve>, own: Own) -> Self {
        Self { resolver, own, kept: Cache::new(NAMES_CACHED_MAX) }
    }

    /// The addresses of `host`, every one of them checked. What is returned is what must be dialled: asking twice could
    /// give two answers.
    ///
    /// # Errors
    /// [`DialError::Blocked`] or [`DialError::Unknown`].
    pub async fn checked(&self, host: &Host) -> Result<Arc<[IpAddr]>, DialError> {
        if let Some(address) = host.address() {
            self.check(host, address)?;
            return Ok(Arc::new([address]));
        }
        if let Some(kept) = self.kept.get(host)
            && Instant::now() < kept.until
        {
            return Ok(kept.addresses);
        }
        let answer = self.ask(host).await?;
        for address in &answer.addresses {
            self.check(host, *address)?;
        }
        let seconds = answer.ttl_seconds.clamp(NAME_SECONDS_MIN, NAME_SECONDS_MAX);
        let addresses: Arc<[IpAddr]> = interleave(answer.addresses).into();
        let until = Instant::now() + Duration::from_secs(seconds);
        self.kept.insert(host.clone(), Kept { addresses: Arc::clone(&addresses), until });
        Ok(addresses)
    }

    /// The addresses of a host that the configuration names itself, unchecked: the corporate proxy.
    ///
    /// # Errors
    /// [`DialError::Unknown`].
    pub async fn listed(&self, host: &Host) -> Result<Vec<IpAddr>, DialError> {
        match host.address() {
            Some(address) => Ok(vec![address]),
            None => self.ask(host).await.map(|answer| interleave(answer.addresses)),
        }
    }

    async fn ask(&self, host: &Host) -> Result<Answer, DialError> {
        let unknown = |reason: String| DialError::Unknown { host: host.clone(), reason };
        let answer = self.resolver.resolve(host).await.map_err(unknown)?;
        if answer.addresses.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        Ok(answer)
    }

    fn check(&self, host: &Host, address: IpAddr) -> Result<(), DialError> {
        let why = if self.own.holds(address) { Some(Blocked::Loopback) } else { blocked(address) };
        match why {
            Some(why) => Err(DialError::Blocked { host: host.clone(), address, why }),
            None => Ok(()),
        }
    }
}

/// One of each family in turn, IPv6 first (RFC 8305 4), bounded.
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut out = Vec::new();
    while out.len() < ADDRESSES_MAX {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            break;
        }
        out.extend(pair.into_iter().flatten());
    }
    out
}
