//! Stage 5: the permit opens the vault.

use std::borrow::Cow;
use std::sync::Arc;

use model::{Code, CredentialName, Part, Rank, Refusal, SchemeSpec};
use secret::{Credential, Field};
use tokio_util::sync::CancellationToken;

use crate::accepted::Leg;
use crate::classify::{schemes, slots};
use crate::cuts::Cuts;
use crate::decide::Permitted;
use crate::exchange::Refused;
use crate::fallback;
use crate::gateway::{Turn, Watch, Worker};

/// A permitted request with its credential, and where that goes; none for a request that leaves bare.
pub(crate) struct Resolved {
    pub(crate) permitted: Permitted,
    pub(crate) credential: Option<(SchemeSpec, Credential)>,
    /// What cuts it when that credential is revoked, or a grant that it stands on ends.
    pub(crate) cut: Cuts,
    /// Held while a refresh token is away.
    pub(crate) turn: Option<Turn>,
}

/// Fetches the credential that the permit names, where one is to be put on, or what stands in for it.
pub(crate) async fn resolve(worker: &Arc<Worker>, mut permitted: Permitted) -> Result<Resolved, Box<Refused>> {
    loop {
        let Some((name, scheme)) = wanted(&permitted) else {
            let cut = cuts(&permitted, None);
            return Ok(Resolved { permitted, credential: None, cut, turn: None });
        };
        let watch = worker.gateway.in_use.watch(name.clone());
        let turn = match scheme.part() {
            Part::Refresh => Some(turn(worker, &permitted, watch.name()).await),
            Part::Value | Part::Identity | Part::KeyId | Part::Session => None,
        };
        match open(worker, &permitted, watch).await {
            Ok((credential, cut)) => {
                permitted.classified.trip.recorder.credential(credential.name(), credential.version());
                let credential = if turn.is_some() { credential.showing(Field::Refresh) } else { credential };
                let scheme = match fitting(&permitted, scheme, &credential) {
                    Ok(scheme) => scheme,
                    Err(refusal) => return Err(permitted.classified.trip.refuse(refusal)),
                };
                let cut = cuts(&permitted, Some(cut));
                return Ok(Resolved { permitted, credential: Some((scheme, credential)), cut, turn });
            }
            Err(refusal) => permitted = failed(worker, permitted, &name, refusal).await?,
        }
    }
}

/// A credential that cannot be put on: what may be done about it is told, and what stands in for it is decided about.
async fn failed(
    worker: &Arc<Worker>,
    Permitted { mut classified, permit: _ }: Permitted,
    name: &CredentialName,
    refusal: Refusal,
) -> Result<Permitted, Box<Refused>> {
    let recorder = &mut classified.trip.recorder;
    match refusal.code {
        Code::CredentialRevoked => {
            recorder.credential_alert(
                Rank::Critical,
                name,
                format!("`{name}` was revoked, and an agent goes on using it"),
            );
        }
        Code::CredentialExpired => {
            recorder.credential_alert(Rank::High, name, format!("`{name}` has expired and could not be renewed"));
        }
        _ => {}
    }
    if fallback::follows(refusal.code) {
        return fallback::stand_in(worker, classified, Some(name), refusal).await;
    }
    Err(classified.trip.refuse(refusal))
}

/// A client certificate goes into the handshake and nothing else does: where the host takes several schemes, the credential's kind says which.
fn fitting(permitted: &Permitted, scheme: SchemeSpec, credential: &Credential) -> Result<SchemeSpec, Refusal> {
    let presented = credential.material().field(Field::PrivateKey).is_some();
    if presented == scheme.is_presented() {
        return Ok(scheme);
    }
    let classified = &permitted.classified;
    let all = schemes(&classified.snapshot, classified.request.origin());
    let fits = all.iter().find(|known| known.is_presented() == presented).cloned();
    fits.ok_or_else(|| {
        let what = if presented { "no client certificate" } else { "a client certificate alone" };
        let public = format!("The service takes {what}, and `{}` is another kind of credential", credential.name());
        Refusal::new(Code::CredentialUnavailable, public)
            .hint("name a credential of the service's kind in the permission, or write `mtls: {}` among the service's `schemes`")
    })
}

/// The credential that a log-in to a database is made with.
pub(crate) async fn log_in(worker: &Arc<Worker>, permitted: Permitted) -> Result<(Resolved, Credential), Box<Refused>> {
    let Some(name) = permitted.permit.credential().cloned() else {
        let none = Refusal::new(Code::CredentialUnavailable, "No credential of this agent is for this database")
            .hint("name one of kind `database` in the permission: `credential: NAME`");
        return Err(permitted.classified.trip.refuse(none));
    };
    let watch = worker.gateway.in_use.watch(name);
    let (permitted, credential, cut) = opened(worker, permitted, watch).await?;
    let cut = cuts(&permitted, Some(cut));
    Ok((Resolved { permitted, credential: None, cut, turn: None }, credential))
}

fn cuts(permitted: &Permitted, credential: Option<CancellationToken>) -> Cuts {
    Cuts::of(&permitted.permit, &permitted.classified.who.live, credential)
}

/// Which credential goes where: the slot that held the placeholder; the service's first where the configuration says
/// `inject: always`, and on the reverse leg, whose own slot carried the session token.
fn wanted(permitted: &Permitted) -> Option<(CredentialName, SchemeSpec)> {
    let name = permitted.permit.credential()?;
    let classified = &permitted.classified;
    let (snapshot, origin) = (&classified.snapshot, classified.request.origin());
    let (all, index) = match &classified.presented {
        Some((index, _)) => (slots(snapshot, origin, &classified.classification), *index),
        None if classified.trip.leg == Leg::Reverse || classified.who.live.always.contains(name) => {
            (Cow::Borrowed(schemes(snapshot, origin)), 0)
        }
        None => return None,
    };
    all.get(index).map(|scheme| (name.clone(), scheme.clone()))
}

/// A refresh token that is used twice looks stolen, and its server takes everything back (RFC 9700 4.14.2). So there is one
/// at a time, and it is read anew: the one before may have renewed it.
async fn turn(worker: &Worker, permitted: &Permitted, name: &CredentialName) -> Turn {
    let name = permitted.classified.minted.as_ref().unwrap_or(name);
    let turn = worker.gateway.turns.take(name).await;
    worker.gateway.vault.reread(&permitted.classified.subject.tenant, name);
    turn
}

/// The credential, which is on record from here on, and what cuts the exchange that carries it.
async fn opened(
    worker: &Worker,
    mut permitted: Permitted,
    watch: Watch<'_>,
) -> Result<(Permitted, Credential, CancellationToken), Box<Refused>> {
    match open(worker, &permitted, watch).await {
        Ok((credential, cut)) => {
            permitted.classified.trip.recorder.credential(credential.name(), credential.version());
            Ok((permitted, credential, cut))
        }
        Err(refusal) => Err(permitted.classified.trip.refuse(refusal)),
    }
}

async fn open(
    worker: &Worker,
    permitted: &Permitted,
    watch: Watch<'_>,
) -> Result<(Credential, CancellationToken), Refusal> {
    let name = watch.name();
    if worker.gateway.stopped.load().credentials.contains(name) {
        return Err(Refusal::new(Code::CredentialRevoked, format!("The credential `{name}` was revoked or stopped"))
            .hint("ask the operator for another, or to lift the stop; the record says whose doing it was"));
    }
    let vault = &worker.gateway.vault;
    let opened = match &permitted.classified.minted {
        Some(minted) => vault.resolve_minted(&permitted.permit, minted).await,
        None => vault.resolve(&permitted.permit).await,
    };
    let credential = opened.map_err(|error| {
        let code = error.code();
        let refusal = Refusal::new(code, format!("The credential `{name}` cannot be used now"));
        let refusal = refusal.internal(error.to_string());
        if code.retryable() { refusal.retry_after(5) } else { refusal }
    })?;
    let cut = watch.carried(vault, &permitted.classified.subject.tenant, &credential);
    let cut = cut.map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    Ok((credential, cut))
}
