//! Bare connections: what is known of them is where they go.

use model::canonical::Scheme;
use model::{ActionId, Call, Class, Effects, Facts, Refusal, Resource};

use super::{Found, View, refuse};
use crate::compiled::CONNECT;

pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let origin = view.request.origin();
    if origin.scheme != Scheme::Tcp {
        return Ok(None);
    }
    let (id, class, effects) = match view.at.service.action(CONNECT) {
        Some(known) => (known.id.clone(), known.class, known.effects),
        // Compilation declares it for every service with such a host: without it the strictest reading.
        None => (ActionId::new(CONNECT).map_err(|error| refuse(error.to_string()))?, Class::Admin, Effects::NONE),
    };
    let resource = Resource::new(&format!("host:{}/{}", origin.host, origin.port));
    let call = Call { action: id, class, effects, resource, facts: Facts::default() };
    Ok(Some(Found::one(call)))
}
