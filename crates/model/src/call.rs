//! What an exchange asks for, as the catalogue understood it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::class::{Class, Effects};
use crate::fact::Facts;
use crate::name::{ActionId, ServiceName};
use crate::resource::Resource;

/// One action on one resource inside an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The vendor's own operation name where it publishes one; `http/<method>` for an unknown path.
    pub action: ActionId,
    /// What kind of change it makes.
    pub class: Class,
    /// Shared outcomes that it has.
    pub effects: Effects,
    /// What it acts on.
    pub resource: Resource,
    /// What rules may ask about it.
    pub facts: Facts,
}

/// A call that has not been made: what is known of it before its arguments are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// The action.
    pub action: ActionId,
    /// Classes and effects that a call of it may have.
    pub forms: Vec<(Class, Effects)>,
    /// What it acts on; none where only the arguments tell.
    pub resource: Option<Resource>,
}

/// What a request is. Pure outcome of the catalogue; policy judges it, the audit log records it.
#[derive(Clone, Debug)]
pub struct Classification {
    /// The service whose host and port this is; none for a host that nobody knows.
    pub service: Option<ServiceName>,
    /// All calls; empty only where `service` is none.
    pub calls: SmallVec<[Call; 1]>,
    /// The calls depend on the body, and it was not given: classify again with it before deciding.
    pub needs_body: bool,
    /// Some call's answer hands out a secret that is captured, and the body is needed to put a refresh token on.
    pub hands_out: bool,
    /// What decides stands at the front of the body: where the whole is larger than the bound, the front is enough to classify by,
    /// and the rest may pass unread.
    pub reads_front: bool,
    /// The path after the service's base path, for raw rules (`endpoints`); decoded, with its leading slash.
    pub endpoint: Arc<str>,
    /// The whole path, decoded; the same text where the service has no base path.
    pub path: Arc<str>,
    /// What the service bounds differently from the house.
    pub bounds: ServiceBounds,
    /// Of a batch, the requests in it, in the order of their calls; empty for a request that stands alone.
    pub parts: Vec<Part>,
}

/// A request within another (a batch): what raw rules look at is its own, not the outer one's.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its method.
    pub method: http::Method,
    /// Its path after the service's base path, as of [`Classification::endpoint`].
    pub endpoint: Arc<str>,
    /// Its whole path.
    pub path: Arc<str>,
    /// How many of the calls are its own.
    pub calls: usize,
}

impl Classification {
    /// These calls of a request for this path, with nothing that is said of more than them.
    #[must_use]
    pub fn new(service: Option<ServiceName>, calls: SmallVec<[Call; 1]>, path: Arc<str>) -> Self {
        Self {
            service,
            calls,
            needs_body: false,
            hands_out: false,
            reads_front: false,
            endpoint: Arc::clone(&path),
            path,
            bounds: ServiceBounds::default(),
            parts: Vec::new(),
        }
    }

    /// The part that the call of this number belongs to; none where the request stands alone.
    #[must_use]
    pub fn part_of(&self, call: usize) -> Option<&Part> {
        let mut before = 0;
        self.parts.iter().find(|part| {
            before += part.calls;
            call < before
        })
    }

    /// The strongest class of all calls; `Read` for none.
    #[must_use]
    pub fn class(&self) -> Class {
        self.calls.iter().map(|call| call.class).max().unwrap_or(Class::Read)
    }

    /// All effects of all calls.
    #[must_use]
    pub fn effects(&self) -> Effects {
        self.calls.iter().flat_map(|call| call.effects.iter()).collect()
    }
}

/// Bounds of one service, each `None` for the house's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceBounds {
    /// Bytes of a body that are read for facts.
    pub body_fact_bytes: Option<usize>,
    /// Bytes of a request body that pass at all.
    pub body_bytes: Option<u64>,
    /// Seconds to the head of an answer.
    pub answer_head_seconds: Option<u64>,
    /// Seconds without a byte in an answer's body.
    pub answer_idle_seconds: Option<u64>,
}

/// How much of a request's body the classifier may see.
#[derive(Clone, Copy, Debug)]
pub enum BodyView<'a> {
    /// Not read yet; facts of the body are `Unknown::NotRead`.
    NotRead,
    /// There is none, certainly.
    Empty,
    /// All of it.
    Whole(&'a [u8]),
    /// It is larger than the bound: what was read of its front, perhaps nothing.
    TooLarge(&'a [u8]),
}
