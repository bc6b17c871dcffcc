//! From a permit to a credential.

use std::sync::Arc;

use model::{AgentName, CredentialName, Tenant, Timestamp, UserName, bounds};
use policy::{Permit, Upkeep};
use secret::{Credential, Lease, Material};

use crate::backend::{BackendError, Fetched, Wanted};
use crate::cache::{Key, Live, Spans};
use crate::capture::is_under;
use crate::issue::{Issuing, Order};
use crate::vault::Inner;
use crate::{Reference, ReferenceError, Scheme, Vault, VaultError, kind};

/// For whom a credential is opened: what its reference asks for is filled from this.
#[derive(Clone, Copy, Default)]
pub(crate) struct Whose<'a> {
    pub agent: Option<&'a AgentName>,
    pub user: Option<&'a UserName>,
}

impl<'a> Whose<'a> {
    fn of(upkeep: &'a Upkeep) -> Self {
        let whose = upkeep.whose();
        Self { agent: whose.map(|(agent, _)| agent), user: whose.and_then(|(_, user)| user.as_ref()) }
    }
}

/// Where a credential is read, for somebody.
enum Found {
    /// It is a version of another, lent while somebody looks whether it works.
    Lent { of: CredentialName, version: u64, order: Option<Order> },
    /// It lies where its reference says.
    Lies { reference: Reference, kind: String, spans: Spans, order: Option<Order> },
}

impl Found {
    fn is_far(&self) -> bool {
        matches!(self, Self::Lies { reference, .. } if reference.scheme().is_far())
    }

    fn is_issued(&self) -> bool {
        matches!(self, Self::Lies { order: Some(_), .. } | Self::Lent { order: Some(_), .. })
    }
}

impl Vault {
    /// The credential that a permit opens. Waits for nothing when it was opened within the last minute.
    ///
    /// # Errors
    /// [`VaultError::code`] says what the agent is told.
    pub async fn resolve(&self, permit: &Permit) -> Result<Credential, VaultError> {
        let name = permit.credential().ok_or(VaultError::NoCredential)?;
        self.open_for(permit, name).await
    }

    /// The credential that was captured under the one that a permit opens; it is stored as [`Vault::under`] names it.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`VaultError::NoCredential`] for one that lies elsewhere.
    pub async fn resolve_minted(&self, permit: &Permit, minted: &CredentialName) -> Result<Credential, VaultError> {
        let name = permit.credential().filter(|name| is_under(minted, name)).ok_or(VaultError::NoCredential)?;
        let bearer = permit.bearer();
        // Revoking what minted it ends it too.
        self.inner.revoked.load().check(&bearer.tenant, name, None)?;
        self.open_for(permit, minted).await
    }

    async fn open_for(&self, permit: &Permit, name: &CredentialName) -> Result<Credential, VaultError> {
        let inner = &self.inner;
        let bearer = permit.bearer();
        let now = inner.clock.now();
        let revoked = inner.revoked.load();
        revoked.check_bearer(bearer)?;
        revoked.check(&bearer.tenant, name, None)?;
        drop(revoked);
        let whose = Whose { agent: Some(&bearer.agent), user: bearer.user.as_ref() };
        let live = inner.usable_for((&bearer.tenant, name), whose, now).await?;
        // Again: a stop may have come while the back end was asked.
        let revoked = inner.revoked.load();
        revoked.check_bearer(bearer)?;
        revoked.check(&bearer.tenant, name, Some(live.version))?;
        if live.is_expired(now) {
            return Err(VaultError::Expired { name: name.clone() });
        }
        if live.is_worth_noting(now) {
            // A version of another's counting has no row here.
            let version = if live.far && !live.issued { 1 } else { live.version };
            self.note_use((bearer.tenant.clone(), name.clone()), version, now);
        }
        let credential = Credential::new(name.clone(), live.version, Arc::clone(&live.material), live.lease.clone());
        Ok(credential.renewable(live.anew))
    }

    /// Whether a version may still be used, as this process last heard.
    ///
    /// # Errors
    /// It was revoked.
    pub fn usable(&self, tenant: &Tenant, name: &CredentialName, version: u64) -> Result<(), VaultError> {
        self.inner.revoked.load().check(tenant, name, Some(version))
    }

    /// Shows a credential's parts to a chore: its name, version and material. Freshly read, but for what lies behind a network: there a question
    /// may make another user on a server, and what we hold is as good. Of what is issued, something of its form.
    pub async fn with_material(
        &self,
        upkeep: &Upkeep,
        name: &CredentialName,
        look: &mut (dyn FnMut(&CredentialName, u64, &Material) + Send),
    ) -> Result<(), VaultError> {
        let found = self.inner.found((upkeep.tenant(), name), Whose::of(upkeep)).await?;
        if let Found::Lies { order: Some(order), .. } | Found::Lent { order: Some(order), .. } = &found {
            self.inner.revoked.load().check(upkeep.tenant(), name, None)?;
            look(name, 0, &self.inner.sample(order));
            return Ok(());
        }
        let live = self.looked_after(upkeep, name, found).await?;
        look(name, live.version, &live.material);
        Ok(())
    }

    /// The parts of another credential, with which a rotator asks whoever makes values.
    pub(crate) async fn helper(&self, upkeep: &Upkeep, name: &CredentialName) -> Result<Arc<Material>, VaultError> {
        let found = self.inner.found((upkeep.tenant(), name), Whose::of(upkeep)).await?;
        Ok(Arc::clone(&self.looked_after(upkeep, name, found).await?.material))
    }

    async fn looked_after(
        &self,
        upkeep: &Upkeep,
        name: &CredentialName,
        found: Found,
    ) -> Result<Arc<Live>, VaultError> {
        let now = self.inner.clock.now();
        let (inner, whose, place) = (&self.inner, Whose::of(upkeep), (upkeep.tenant(), name));
        let live = if found.is_far() || found.is_issued() {
            inner.cached(place, whose, now).await?
        } else {
            Arc::new(inner.read(place, found, now).await?)
        };
        self.inner.revoked.load().check(upkeep.tenant(), name, Some(live.version))?;
        if live.is_expired(now) {
            return Err(VaultError::Expired { name: name.clone() });
        }
        Ok(live)
    }

    /// Whether the back end gives a usable value now; nothing comes out.
    pub async fn check(&self, upkeep: &Upkeep, name: &CredentialName) -> Result<(), VaultError> {
        let found = self.inner.found((upkeep.tenant(), name), Whose::of(upkeep)).await?;
        self.looked_after(upkeep, name, found).await.map(drop)
    }

    /// Off the request's road: the store may be busy. Losing a note loses a minute of precision.
    fn note_use(&self, place: (Tenant, CredentialName), version: u64, now: Timestamp) {
        let store = self.inner.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.credentials().used(&place.0, &place.1, version, now).await {
                tracing::debug!(credential = %place.1, %error, "last use was not noted");
            }
        });
    }
}

impl Inner {
    /// A version that a rotation lends.
    async fn lent(
        &self,
        tenant: &Tenant,
        (of, version): (&CredentialName, u64),
        now: Timestamp,
    ) -> Result<Live, VaultError> {
        let (_, kind) = self.whereabouts(tenant, of).await?;
        let value = self.version(tenant, of, version).await?;
        let lease = Lease { id: None, expires: kind::expires(&kind, &value) };
        Ok(Live::new(
            version,
            kind::material(&kind, value)?,
            (lease, false),
            (now, Spans { fresh: bounds::MATERIAL_FRESH_SECONDS, held: 0 }),
        ))
    }

    /// A credential that may be used: what was issued for a version that was revoked since is asked for anew.
    async fn usable_for(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        whose: Whose<'_>,
        now: Timestamp,
    ) -> Result<Arc<Live>, VaultError> {
        let live = self.cached((tenant, name), whose, now).await?;
        if !live.issued || self.revoked.load().check(tenant, name, Some(live.version)).is_ok() {
            return Ok(live);
        }
        self.materials.forget(&(tenant.clone(), name.clone()));
        self.cached((tenant, name), whose, now).await
    }

    /// A credential that was opened within the last minute, or is opened now.
    async fn cached(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        whose: Whose<'_>,
        now: Timestamp,
    ) -> Result<Arc<Live>, VaultError> {
        let own = self.own(tenant, name, whose)?;
        let key: Key = (tenant.clone(), name.clone(), own);
        let again = async |last: Option<&Live>| match self.lengthened((tenant, name), whose, (last, now)).await? {
            Some(live) => Ok(live),
            None => self.fetch((tenant, name), whose, now).await,
        };
        self.materials.get(&key, now, again).await
    }

    /// Whose a credential is where it is somebody's own: what its reference is filled to, and what may be issued to its agent.
    pub fn own(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        whose: Whose<'_>,
    ) -> Result<Option<Arc<str>>, VaultError> {
        let known = self.declared.read().get(&(tenant.clone(), name.clone())).cloned();
        let Some(known) = known else { return Ok(None) };
        let filled = known.reference.is_template().then(|| known.reference.of(whose.agent, whose.user)).transpose()?;
        let order = self.order((tenant, name), known.issuing.as_ref(), whose)?;
        let agent = order.as_ref().and_then(|order| order.agent.as_ref());
        let narrowed = order.as_ref().and_then(|order| order.narrowed.as_deref());
        let filled = filled.as_ref().map(Reference::as_str);
        if filled.is_none() && agent.is_none() && narrowed.is_none() {
            return Ok(None);
        }
        // Neither a reference nor a name holds a line break.
        let agent = agent.map_or("", AgentName::as_str);
        Ok(Some(Arc::from(format!("{}\n{agent}\n{}", filled.unwrap_or_default(), narrowed.unwrap_or_default()))))
    }

    /// The same value with a longer lease; none where it has none, or where a new one must be fetched.
    async fn lengthened(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        whose: Whose<'_>,
        (last, now): (Option<&Live>, Timestamp),
    ) -> Result<Option<Live>, VaultError> {
        // A longer lease does not mend what failed.
        let good = |last: &&Live| last.renewable && !last.is_expired(now) && !last.is_failed();
        let Some(last) = last.filter(good) else { return Ok(None) };
        let Some(id) = &last.lease.id else { return Ok(None) };
        let Found::Lies { reference, .. } = self.found((tenant, name), whose).await? else { return Ok(None) };
        let Some(instance) = self.instance(&reference) else { return Ok(None) };
        let longer = match instance.renew(id, now).await {
            Ok(longer) => longer,
            Err(error) if error.is_passing() => return Err(unavailable(name, error)),
            Err(_) => None,
        };
        // At its longest life a renewal gives what is left: then it is time for a new one.
        let longer = longer.filter(|end| last.lease.expires.is_none_or(|before| *end > before));
        if let Some(end) = longer {
            self.leases.hold((tenant, name), &reference, (Arc::clone(id), end), now);
        }
        Ok(longer.map(|end| last.lengthened(end, now)))
    }

    /// Reads a credential from its back end.
    pub async fn fetch(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        whose: Whose<'_>,
        now: Timestamp,
    ) -> Result<Live, VaultError> {
        let found = self.found((tenant, name), whose).await?;
        self.read((tenant, name), found, now).await
    }

    async fn read(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        found: Found,
        now: Timestamp,
    ) -> Result<Live, VaultError> {
        let (reference, kind, spans, order) = match found {
            Found::Lent { of, version, order: None } => return self.lent(tenant, (&of, version), now).await,
            Found::Lent { of, version, order: Some(order) } => {
                return self.lent_to_issuer(tenant, (&of, version), &order, now).await;
            }
            Found::Lies { reference, kind, spans, order } => (reference, kind, spans, order),
        };
        let wanted = Wanted { tenant, name, reference: &reference, now };
        let fetched = self.ask(wanted).await?;
        if let Some(order) = order {
            return self.issued((wanted, fetched), &order, spans).await;
        }
        let Fetched { version, value, lease, renewable } = fetched;
        if let (Some(id), Some(end)) = (&lease.id, lease.expires) {
            self.leases.hold((tenant, name), &reference, (Arc::clone(id), end), now);
        }
        let expires = lease.expires.or_else(|| kind::expires(&kind, &value));
        let (material, lease) = (kind::material(&kind, value)?, Lease { expires, ..lease });
        let live = Live::new(version, material, (lease, renewable), (now, spans));
        let far = self.instance(&reference).is_some();
        Ok(live.being_far(far).asked_anew(far || reference.scheme().may_change()))
    }

    /// Asks the back end of a reference that is filled.
    pub async fn ask(&self, wanted: Wanted<'_>) -> Result<Fetched, VaultError> {
        let (name, reference) = (wanted.name, wanted.reference);
        let fetched = if let Some(instance) = self.instance(reference) {
            instance.fetch(wanted).await
        } else {
            self.described(reference)?;
            let undescribed = || ReferenceError::Undescribed { word: reference.word().to_owned() };
            self.backend(reference.scheme()).ok_or_else(undescribed)?.fetch(wanted).await
        };
        fetched.map_err(|error| unavailable(name, error))
    }

    /// Where a credential is read for somebody.
    async fn found(&self, (tenant, name): (&Tenant, &CredentialName), whose: Whose<'_>) -> Result<Found, VaultError> {
        let staged = self.staged.read().get(&(tenant.clone(), name.clone())).cloned();
        if let Some((of, version)) = staged {
            let issuing = self.issuing(tenant, &of);
            let order = self.order((tenant, &of), issuing.as_ref(), whose)?;
            return Ok(Found::Lent { of, version, order });
        }
        let declared = self.declared.read().get(&(tenant.clone(), name.clone())).cloned();
        if let Some(declared) = declared {
            let reference = declared.reference.of(whose.agent, whose.user)?;
            let spans = spans(&reference, declared.fresh_seconds, declared.held_seconds);
            let order = self.order((tenant, name), declared.issuing.as_ref(), whose)?;
            return Ok(Found::Lies { reference, kind: declared.kind.clone(), spans, order });
        }
        let (reference, kind) = self.whereabouts(tenant, name).await?;
        // What is somebody's own is kept apart by its declaration alone.
        let reference = reference.of(None, None)?;
        Ok(Found::Lies { spans: spans(&reference, None, None), reference, kind, order: None })
    }

    /// What is to be issued for somebody; none where what is stored is used itself.
    fn order(
        &self,
        place: (&Tenant, &CredentialName),
        issuing: Option<&Arc<Issuing>>,
        whose: Whose<'_>,
    ) -> Result<Option<Order>, VaultError> {
        let Some(issuing) = issuing else { return Ok(None) };
        let narrowed = self.narrowed(place, issuing, whose.agent)?;
        let agent = whose.agent.filter(|_| issuing.by.narrows()).cloned();
        Ok(Some(Order { issuing: Arc::clone(issuing), narrowed, agent }))
    }

    /// Where a credential lies, whosever it is, and of what kind it is.
    pub async fn whereabouts(&self, tenant: &Tenant, name: &CredentialName) -> Result<(Reference, String), VaultError> {
        let declared = self.declared.read().get(&(tenant.clone(), name.clone())).cloned();
        if let Some(declared) = declared {
            return Ok((declared.reference.clone(), declared.kind.clone()));
        }
        let row = self.store.credentials().get(tenant, name).await?;
        let row = row.ok_or_else(|| VaultError::NotFound { name: name.clone() })?;
        let reference = match &row.source {
            Some(source) => Reference::parse(source)?,
            None => Reference::built_in(),
        };
        Ok((reference, row.kind))
    }
}

fn spans(reference: &Reference, fresh: Option<u64>, held: Option<u64>) -> Spans {
    let usual = match reference.scheme() {
        Scheme::File => bounds::FILE_FRESH_SECONDS,
        _ => bounds::MATERIAL_FRESH_SECONDS,
    };
    let (least, most) = bounds::MATERIAL_FRESH_SECONDS_RANGE;
    let fresh = fresh.unwrap_or(usual).clamp(least, most);
    // Whoever asks seldom is not cut off sooner for it.
    let held = held.unwrap_or(bounds::MATERIAL_HELD_SECONDS.max(fresh)).min(bounds::MATERIAL_HELD_SECONDS_MAX);
    Spans { fresh, held }
}

pub(crate) fn unavailable(name: &CredentialName, error: BackendError) -> VaultError {
    match error {
        BackendError::Revoked => VaultError::Revoked { name: name.clone() },
        error => VaultError::Unavailable { name: name.clone(), error },
    }
}
