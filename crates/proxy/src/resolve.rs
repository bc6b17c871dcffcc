//! Stage 5: the permit opens the vault.

use std::sync::Arc;

use model::{Code, CredentialName, Refusal, SchemeSpec};
use secret::Credential;
use tokio_util::sync::CancellationToken;

use crate::accepted::Leg;
use crate::classify::schemes;
use crate::decide::Permitted;
use crate::exchange::Refused;
use crate::gateway::Worker;

/// A permitted request with its credential, and where that goes; none for a request that leaves bare.
pub(crate) struct Resolved {
    pub(crate) permitted: Permitted,
    pub(crate) credential: Option<(SchemeSpec, Credential)>,
    /// Cut when that credential is revoked. Taken before the vault is asked, so that no revocation falls between.
    pub(crate) cut: Option<CancellationToken>,
}

/// Fetches the credential that the permit names, where one is to be put on.
pub(crate) async fn resolve(worker: &Arc<Worker>, mut permitted: Permitted) -> Result<Resolved, Box<Refused>> {
    let Some((name, scheme)) = wanted(&permitted) else {
        return Ok(Resolved { permitted, credential: None, cut: None });
    };
    let cut = Some(worker.gateway.in_use.handle(&name));
    match open(worker, &permitted, &name).await {
        Ok(credential) => {
            permitted.classified.trip.recorder.credential(credential.name(), credential.version());
            Ok(Resolved { permitted, credential: Some((scheme, credential)), cut })
        }
        Err(refusal) => Err(permitted.classified.trip.refuse(refusal)),
    }
}

/// Which credential goes where: the slot that held the placeholder; the service's first where the configuration says
/// `inject: always`, and on the reverse leg, whose own slot carried the session token.
fn wanted(permitted: &Permitted) -> Option<(CredentialName, SchemeSpec)> {
    let name = permitted.permit.credential()?;
    let classified = &permitted.classified;
    let schemes = schemes(&classified.snapshot, classified.request.origin());
    let index = match &classified.presented {
        Some((index, _)) => *index,
        None if classified.trip.leg == Leg::Reverse || classified.who.live.always.contains(name) => 0,
        None => return None,
    };
    schemes.get(index).map(|scheme| (name.clone(), scheme.clone()))
}

async fn open(worker: &Worker, permitted: &Permitted, name: &CredentialName) -> Result<Credential, Refusal> {
    if worker.gateway.stopped.load().credentials.contains(name) {
        return Err(Refusal::new(Code::CredentialRevoked, format!("The credential `{name}` was revoked or stopped"))
            .hint("ask the operator for another, or to lift the stop; the record says whose doing it was"));
    }
    worker.gateway.vault.resolve(&permitted.permit).await.map_err(|error| {
        let code = error.code();
        let refusal = Refusal::new(code, format!("The credential `{name}` cannot be used now"));
        let refusal = refusal.internal(error.to_string());
        if code.retryable() { refusal.retry_after(5) } else { refusal }
    })
}
