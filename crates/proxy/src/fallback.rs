//! What stands in for a credential that fails, where the configuration names something: another credential, about which is decided anew,
//! or a fixed answer. A denial of the action itself denies it with any credential.

use std::sync::Arc;

use model::{Code, CredentialName, Refusal};
use policy::Fallback;

use crate::classify::Classified;
use crate::decide::{self, Permitted};
use crate::exchange::Refused;
use crate::gateway::Worker;

/// One after the other, for one exchange; the configuration has no circles, but it may change meanwhile.
const STAND_INS_MAX: u8 = 4;

/// The credential whose place was to be filled when policy said no: the one whose placeholder was sent, or the one that is put on always.
pub(crate) fn meant(classified: &Classified) -> Option<CredentialName> {
    if let Some((_, name)) = &classified.presented {
        return Some(name.clone());
    }
    let rules = &classified.snapshot.rules;
    let service = classified.classification.service.as_ref()?;
    let fits = |name: &&CredentialName| rules.service_of(name) == Some(service) && rules.fallback(name).is_some();
    classified.who.live.always.iter().find(fits).cloned()
}

/// Ends the road with a refusal, unless something stands in for the credential that failed: then there is a permit for that.
pub(crate) async fn stand_in(
    worker: &Arc<Worker>,
    mut classified: Classified,
    failed: Option<&CredentialName>,
    refusal: Refusal,
) -> Result<Permitted, Box<Refused>> {
    let found = failed.and_then(|name| Some((name, classified.snapshot.rules.fallback(name)?.clone())));
    match found {
        Some((name, Fallback::Credential(other))) if classified.trip.tries.stand_ins < STAND_INS_MAX => {
            let trip = &mut classified.trip;
            trip.tries.stand_ins += 1;
            trip.recorder.give_back().await;
            trip.recorder.stands_in(format!("`{other}` stands in for `{name}`: {}", refusal.code));
            let slot = classified.presented.map_or(0, |(slot, _)| slot);
            (classified.presented, classified.minted) = (Some((slot, other)), None);
            // On the heap: deciding may come here again.
            match Box::pin(decide::permit(worker, &mut classified)).await {
                Ok(permit) => Ok(Permitted { classified, permit }),
                Err(second) => {
                    let internal = format!("{}; its fallback: {}", told(&refusal), told(&second));
                    Err(classified.trip.refuse(refusal.internal(internal)))
                }
            }
        }
        Some((name, Fallback::Respond(answer))) => {
            let internal = format!("{}; answered by the fallback of `{name}`", told(&refusal));
            let mut refused = classified.trip.refuse(refusal.internal(internal));
            refused.instead = Some(answer);
            Err(refused)
        }
        Some(_) | None => Err(classified.trip.refuse(refusal)),
    }
}

fn told(refusal: &Refusal) -> &str {
    if refusal.internal.is_empty() { &refusal.public } else { &refusal.internal }
}

/// Whether something may stand in for a credential after such a refusal: not after what an agent can bring about to get another one, such
/// as a limit that is used up.
pub(crate) const fn follows(code: Code) -> bool {
    matches!(code, Code::Denied | Code::CredentialRevoked | Code::CredentialExpired | Code::CredentialUnavailable)
}
