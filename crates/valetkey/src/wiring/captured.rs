//! What an answer handed out: into the vault, and placeholders for it into the session's hands.
//!
//! A log-in renews the credential that was declared for it (`kind: oauth2`). Everything else becomes a credential of its
//! own under the one by which the request was let through: whoever may use that one may use what it minted, and whoever
//! revokes it revokes both.

use std::sync::Arc;

use inject::{Entry, KnownBuilder, NeedlesBuilder};
use model::event::CredentialUse;
use model::{Code, CredentialName, Part, Refusal, ServiceName};
use policy::Upkeep;
use proxy::LiveSession;
use proxy::session::{Guarded, Handed, HandedSet, Holdings, Kept};
use vault::{NewCredential, VaultError};

use super::plan::{Held, LOGIN};
use super::sessions::{Gathering, Maker, Whose, services_of, token_digest};

/// Where one set of tokens belongs.
struct Target {
    /// The credential that policy knows.
    credential: CredentialName,
    /// The one it goes into, where that is another.
    minted: Option<CredentialName>,
}

/// Keeps everything, or nothing more from the first failure on; then the answer is withheld.
pub async fn keep(maker: &Maker, live: &Arc<LiveSession>, handed: Handed) -> Result<Kept, Refusal> {
    let upkeep = Upkeep::of(live.session.tenant.clone(), "capture");
    let _keeping = maker.keeping.lock().await;
    let (mut captured, mut placeholders) = (Vec::new(), Vec::new());
    let mut gathering = gathering(live);
    let Handed { service, credential, minted, renews, sets } = handed;
    let asked = Asked { service, credential, minted, renews };
    for (number, HandedSet { login, tokens }) in sets.into_iter().enumerate() {
        let target = asked.target(maker, live, (login, number == 0), &upkeep).await?;
        let name = target.minted.as_ref().unwrap_or(&target.credential).clone();
        let new = NewCredential {
            tenant: live.session.tenant.clone(),
            name: name.clone(),
            service: Some(asked.service.clone()),
            kind: LOGIN.to_owned(),
            inject: "placeholder".to_owned(),
        };
        let added = maker.opened.vault.capture(&upkeep, &new, tokens).await.map_err(|error| lost(&name, &error))?;
        let whose = Whose {
            session: &live.session,
            key: &live.key,
            credential: &target.credential,
            minted: target.minted.as_ref(),
        };
        let made = maker.gather(&whose, Some(&asked.service), &mut gathering).await;
        placeholders.push(made.map_err(|error| lost(&name, &error))?);
        captured.push(CredentialUse { name, version: added.version });
    }
    hold(maker, live, gathering).await?;
    Ok(Kept { placeholders, captured })
}

/// Takes in a placeholder of an earlier session; see [`SessionSource::adopt`](proxy::SessionSource::adopt).
pub async fn adopt(maker: &Maker, live: &Arc<LiveSession>, part: Part, text: &str) {
    let found = maker.opened.store.placeholders().find(&live.session.tenant, &token_digest(text)).await;
    let Ok(Some(row)) = found else { return };
    if row.agent != live.session.agent {
        return;
    }
    let (own, minted) = {
        let rest = maker.rest.read();
        let held = rest.held_by(&live.session.agent);
        let under = |held: &&&Held| row.credential == held.name || vault::is_under(&row.credential, &held.name);
        // A log-in goes on in later sessions; what was minted belongs to the session that minted it, whose process may
        // have been another.
        let own = held.iter().find(under).filter(|held| held.is_login() || row.session == live.session.id);
        let Some(own) = own else { return };
        (own.name.clone(), (row.credential != own.name).then(|| row.credential.clone()))
    };
    let _keeping = maker.keeping.lock().await;
    let mut gathering = gathering(live);
    let whose = Whose { session: &live.session, key: &live.key, credential: &own, minted: minted.as_ref() };
    // What is gone cannot be used by any name.
    if maker.gather(&whose, row.service.as_ref(), &mut gathering).await.is_err() {
        return;
    }
    gathering.entries.push(Entry {
        text: text.into(),
        credential: own,
        service: row.service,
        session: live.session.id,
        agent: row.agent,
        part,
        minted,
    });
    if let Err(refusal) = hold(maker, live, gathering).await {
        tracing::warn!(why = refusal.internal, "a placeholder of an earlier session could not be taken in");
    }
}

/// What is held already, to be added to.
fn gathering(live: &LiveSession) -> Gathering {
    let before = live.holdings();
    Gathering {
        entries: Vec::new(),
        known: before.known.as_deref().map_or_else(KnownBuilder::default, KnownBuilder::of),
        needles: before.guarded.needles.as_deref().map_or_else(NeedlesBuilder::default, NeedlesBuilder::of),
    }
}

/// By what the answer came.
struct Asked {
    service: ServiceName,
    credential: Option<CredentialName>,
    minted: Option<CredentialName>,
    renews: bool,
}

impl Asked {
    async fn target(
        &self,
        maker: &Maker,
        live: &LiveSession,
        (login, first): (bool, bool),
        upkeep: &Upkeep,
    ) -> Result<Target, Refusal> {
        if let (true, true, Some(credential)) = (self.renews, first, &self.credential) {
            return Ok(Target { credential: credential.clone(), minted: self.minted.clone() });
        }
        let own = self.login_of(maker, live);
        if let Some((credential, true)) = own.clone().filter(|_| login && first) {
            return Ok(Target { credential, minted: None });
        }
        // A new log-in is none of the file's business whose log-in is another: the program that logs in writes that file
        // itself, with placeholders in it.
        let own = own.map(|(name, _)| name);
        let parent = if login { own.or_else(|| self.credential.clone()) } else { self.credential.clone().or(own) };
        let Some(parent) = parent else { return Err(nobodys(&self.service)) };
        let name = maker.opened.vault.under(upkeep, &parent).await.map_err(|error| lost(&parent, &error))?;
        Ok(Target { credential: parent, minted: Some(name) })
    }

    /// The log-in that the session holds for this service (the one in force, or the only one), and whether it lies in
    /// the built-in vault.
    fn login_of(&self, maker: &Maker, live: &LiveSession) -> Option<(CredentialName, bool)> {
        let rest = maker.rest.read();
        let held = rest.held_by(&live.session.agent);
        let own = |held: &&&Held| held.is_login() && held.service.as_ref() == Some(&self.service);
        let logins: Vec<&Held> = held.iter().filter(own).copied().collect();
        let named = logins.iter().find(|held| Some(&held.name) == self.credential.as_ref());
        let only = if let [only] = logins.as_slice() { Some(only) } else { None };
        named.or(only).map(|held| (held.name.clone(), held.from.is_none()))
    }
}

/// The session holds the new placeholders from now on, beside those it had.
async fn hold(maker: &Maker, live: &LiveSession, gathering: Gathering) -> Result<(), Refusal> {
    let Gathering { entries, known, needles } = gathering;
    maker.remember(&live.session, &entries).await.map_err(|error| unavailable(&error.to_string()))?;
    let Some(gateway) = maker.gateway.read().upgrade() else { return Err(unavailable("the gateway has stopped")) };
    let before = live.holdings();
    let services = services_of(&entries, before.guarded.services.clone());
    let placeholders = gateway.index.extend(&before.placeholders, entries);
    let placeholders = placeholders.map_err(|error| unavailable(&error.to_string()))?;
    let guarded = Guarded { services, needles: needles.build() };
    live.hold(Holdings { placeholders, known: known.build().map(Arc::new), guarded, logins: true });
    Ok(())
}

fn unavailable(why: &str) -> Refusal {
    Refusal::new(Code::Unavailable, "What the answer handed out could not be kept, so the answer is withheld")
        .internal(why.to_owned())
}

fn lost(name: &CredentialName, error: &VaultError) -> Refusal {
    Refusal::new(
        Code::CredentialUnavailable,
        format!("What the answer handed out could not be kept in `{name}`, so the answer is withheld"),
    )
    .internal(error.to_string())
    .hint("log in again once the operator has mended it; the record says what is wrong")
}

fn nobodys(service: &ServiceName) -> Refusal {
    Refusal::new(
        Code::CredentialUnavailable,
        format!("The answer hands out a credential of {service}, and no credential of this agent can take it"),
    )
    .hint(format!("declare one: `credentials: {{ {service}-login: {{ service: {service}, kind: oauth2 }} }}`"))
}
