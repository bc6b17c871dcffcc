//! Sightings: where placeholders stand in a request, and which one, if any, will be substituted.
//!
//! | where | own | dead session's or another's |
//! |---|---|---|
//! | whole value of the declared slot, own service, TLS | presented | `placeholder_foreign` |
//! | the same in clear text | `placeholder_misplaced` | `placeholder_foreign` |
//! | whole value of the slot of another part (a refresh token in `Authorization`) | `placeholder_misplaced` | `placeholder_foreign` |
//! | part of the value of the declared slot | `placeholder_misplaced` | `placeholder_foreign` |
//! | any authentication slot, another service | `placeholder_foreign` | `placeholder_foreign` |
//! | anywhere else | inert, recorded | inert, recorded |
//!
//! A refresh token that is no placeholder at all is refused as foreign too: what comes back for it would be kept as the
//! tokens of this session's log-in, and they would be somebody else's.
//!
//! What is recorded has a [`Rank`](model::Rank). Others' are found in the same encodings as a session's own.

use std::sync::Arc;

use http::header::HeaderName;
use model::canonical::Scheme as OriginScheme;
use model::scheme::SchemeSpec;
use model::sighting::{Holder, Place};
use model::{CanonicalRequest, Code, CredentialName, Part, Refusal, ServiceName, Sighting};

use super::index::{Entry, Held, Index, SessionPlaceholders};
use super::watch::{Watch, holder, sighting};
use crate::scheme::{self, Slot, crumbs};
use crate::scrub::finder::Hits;

/// Schemes of references; a reference is resolved by the session's identity.
const REFERENCES: [&str; 3] = ["valetkey://", "vault://", "onecli://"];
/// Sightings kept of one request; a body may quote a placeholder a thousand times.
const SIGHTINGS_MAX: usize = 64;

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The request.
    pub request: &'a CanonicalRequest,
    /// The service it goes to.
    pub service: Option<&'a ServiceName>,
    /// How that service takes credentials.
    pub schemes: &'a [SchemeSpec],
    /// The session that sent it.
    pub session: &'a SessionPlaceholders,
    /// Its body, where it is held whole.
    pub body: Option<&'a [u8]>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Sightings {
    /// Everything, for the record.
    pub list: Vec<Sighting>,
    /// Which of the service's schemes carries a placeholder that will be substituted, and for which credential.
    pub presented: Option<(usize, CredentialName)>,
    /// What is opened in that credential's place; see [`Entry::minted`].
    pub minted: Option<CredentialName>,
    /// Why the request must not leave.
    pub refusal: Option<Refusal>,
}

impl Index {
    /// Looks for placeholders in a request. Pure; about half a microsecond for a request with twenty headers.
    #[must_use]
    pub fn sight(&self, look: Look<'_>) -> Sightings {
        let watch = self.watch();
        let mut sight = Sight { index: self, watch, look, out: Sightings::default(), hits: Hits::new() };
        for (number, spec) in look.schemes.iter().enumerate() {
            sight.slot(number, spec);
        }
        sight.headers();
        sight.target();
        sight.body();
        if sight.out.refusal.is_some() {
            sight.out.presented = None;
        }
        sight.out
    }

    /// Whole values of declared slots that stand for nothing now, with the part that each slot takes: they may be
    /// placeholders of an earlier session, which a program has kept with its log-in.
    #[must_use]
    pub fn strangers(&self, look: Look<'_>) -> Vec<(Part, String)> {
        let mut all = Vec::new();
        for spec in look.schemes {
            let value = scheme::of(spec).as_dyn().slot_value(look.request, look.body);
            for whole in value.whole {
                let strange = whole.len() >= model::bounds::NEEDLE_BYTES_MIN
                    && reference(&whole).is_none()
                    && self.held(whole.as_bytes()).is_none_or(|held| !held.is_live());
                if strange {
                    all.push((spec.part(), whole.into_owned()));
                }
            }
        }
        all
    }
}

struct Sight<'a> {
    index: &'a Index,
    watch: Arc<Watch>,
    look: Look<'a>,
    out: Sightings,
    hits: Hits,
}

impl<'a> Sight<'a> {
    /// One declared slot: the only place where a placeholder has a meaning.
    fn slot(&mut self, number: usize, spec: &'a SchemeSpec) {
        let listed = scheme::of(spec);
        let value = listed.as_dyn().slot_value(self.look.request, self.look.body);
        if value.is_absent() {
            return;
        }
        let mut rest: Vec<&[u8]> = value.part.iter().map(|part| &**part).collect();
        for whole in &value.whole {
            if self.whole(number, whole) {
                continue;
            }
            rest.push(whole.as_bytes());
            if spec.part() == Part::Refresh && !whole.is_empty() {
                self.refuse(
                    Code::PlaceholderForeign,
                    "The refresh token is none that this session was given".to_owned(),
                    "log in again through Valetkey, and refresh with what that gives",
                );
            }
        }
        // Another scheme may read the same header whole; then this one's view of it says nothing.
        let shared = value.whole.is_empty() && self.read_elsewhere(number);
        for text in rest {
            self.part(text, shared);
        }
    }

    /// Whether another declared scheme finds a whole value in the same header.
    fn read_elsewhere(&self, number: usize) -> bool {
        let Some(Slot::Header(name)) = self.look.schemes.get(number).map(|spec| slot_of(spec)) else { return false };
        self.look.schemes.iter().enumerate().any(|(other, spec)| {
            other != number
                && matches!(slot_of(spec), Slot::Header(known) if known.eq_ignore_ascii_case(name))
                && !scheme::of(spec).as_dyn().slot_value(self.look.request, self.look.body).whole.is_empty()
        })
    }

    /// A whole value of a declared slot; whether it is a placeholder or a reference.
    fn whole(&mut self, number: usize, text: &str) -> bool {
        if let Some(credential) = reference(text) {
            let part = self.look.schemes.get(number).map_or(Part::Value, SchemeSpec::part);
            let known = self.look.session.part_of(&credential, part).cloned();
            match known {
                Some(entry) => self.own_in_slot(number, &entry),
                None => self.refuse(
                    Code::PlaceholderForeign,
                    format!("This session holds no credential `{credential}`"),
                    "name a credential that the session was given",
                ),
            }
            return true;
        }
        let Some(held) = self.index.held(text.as_bytes()) else { return false };
        if held.entry.session == self.look.session.session() && held.is_live() {
            self.own_in_slot(number, &held.entry);
        } else {
            self.others(&held, Place::ForeignSlot);
        }
        true
    }

    fn own_in_slot(&mut self, number: usize, entry: &Entry) {
        if entry.service.as_ref() != self.look.service {
            self.note(entry, Holder::Own, Place::ForeignSlot);
            return self.foreign(entry);
        }
        if self.look.schemes.get(number).is_none_or(|spec| spec.part() != entry.part) {
            self.note(entry, Holder::Own, Place::ForeignSlot);
            return self.refuse(
                Code::PlaceholderMisplaced,
                format!("This placeholder of `{}` stands for another part of it than the slot takes", entry.credential),
                "an access token authorises requests; a refresh token goes to the token endpoint alone",
            );
        }
        self.note(entry, Holder::Own, Place::Slot);
        if self.look.request.origin().scheme != OriginScheme::Https {
            return self.refuse(
                Code::PlaceholderMisplaced,
                "A placeholder was sent in clear text".to_owned(),
                "use the https address of the service",
            );
        }
        if self.out.presented.is_none() {
            self.out.presented = Some((number, entry.credential.clone()));
            self.out.minted.clone_from(&entry.minted);
        }
    }

    /// What stands in a declared slot without being a placeholder as a whole.
    fn part(&mut self, text: &[u8], shared: bool) {
        let session = self.look.session;
        let mut hits = std::mem::take(&mut self.hits);
        let mut seen = Vec::new();
        session.search(text, &mut hits, |entry| seen.push(entry.clone()));
        self.hits = hits;
        for entry in seen {
            if shared {
                continue;
            }
            if entry.service.as_ref() != self.look.service {
                self.note(&entry, Holder::Own, Place::ForeignSlot);
                self.foreign(&entry);
                continue;
            }
            self.note(&entry, Holder::Own, Place::SlotPart);
            self.refuse(
                Code::PlaceholderMisplaced,
                format!("The placeholder of `{}` is only a part of the value it was sent in", entry.credential),
                "send the placeholder alone, as the whole value of the slot",
            );
        }
        if !shared {
            self.tokens(text);
            self.others_in(text, &Place::SlotPart);
        }
    }

    fn headers(&mut self) {
        let request = self.look.request;
        for (name, value) in request.headers() {
            if self
                .look
                .schemes
                .iter()
                .any(|spec| matches!(slot_of(spec), Slot::Header(own) if own.eq_ignore_ascii_case(name.as_str())))
            {
                continue;
            }
            let bytes = value.as_bytes();
            if self.beside(Slot::Header(name.as_str())) {
                self.others_in(bytes, &Place::ForeignSlot);
            } else if is_authentication(name) {
                self.authentication(name, bytes);
            } else {
                let place = Place::Header(name.as_str().to_owned());
                self.inert(bytes, |_| place.clone());
                self.others_in(bytes, &place);
            }
        }
    }

    /// Whether a place belongs to a declared slot without being one: what stands there goes, or is replaced with the slot.
    fn beside(&self, slot: Slot<'_>) -> bool {
        self.look.schemes.iter().any(|spec| scheme::of(spec).as_dyn().beside(slot))
    }

    /// A header that carries authentication somewhere, though not as the service declares it.
    fn authentication(&mut self, name: &HeaderName, bytes: &[u8]) {
        let declared = |cookie: &str| {
            self.look.schemes.iter().any(|spec| matches!(slot_of(spec), Slot::Cookie(own) if own == cookie))
        };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if name == http::header::COOKIE && crumbs(text).any(|(cookie, _)| declared(cookie)) {
            // The declared cookie was judged as a slot; the others are looked at one by one.
            for (cookie, value) in crumbs(text) {
                if !declared(cookie) {
                    self.foreign_slot(name, value.as_bytes());
                }
            }
            return;
        }
        self.foreign_slot(name, bytes);
    }

    fn foreign_slot(&mut self, name: &HeaderName, bytes: &[u8]) {
        let service = self.look.service;
        let foreign = self.inert(bytes, |entry| {
            if entry.service.as_ref() == service { Place::Header(name.as_str().to_owned()) } else { Place::ForeignSlot }
        });
        for entry in foreign.iter().filter(|entry| entry.service.as_ref() != service) {
            self.foreign(entry);
        }
        if foreign.is_empty() {
            self.tokens(bytes);
        }
        self.others_in(bytes, &Place::ForeignSlot);
    }

    /// Placeholders of others, whole among the words of an authentication header (a Basic pair is undone).
    fn tokens(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for word in
            text.split([' ', ',', ';', '=', '"', '\t']).filter(|word| word.len() >= model::bounds::NEEDLE_BYTES_MIN)
        {
            if let Some(held) = self.index.held(word.as_bytes()) {
                if held.entry.session != self.look.session.session() {
                    self.others(&held, Place::ForeignSlot);
                }
                continue;
            }
            let Some((user, password)) = scheme::basic_pair(word) else { continue };
            for half in [user, password] {
                if let Some(held) = self.index.held(half.as_bytes())
                    && held.entry.session != self.look.session.session()
                {
                    self.others(&held, Place::ForeignSlot);
                }
            }
        }
    }

    /// Placeholders of other sessions in any form: noted, and refused where the place is one of authentication.
    fn others_in(&mut self, text: &[u8], place: &Place) {
        let mut hits = std::mem::take(&mut self.hits);
        let mut seen = Vec::new();
        let session = self.look.session;
        self.watch.search(session.session(), text, &mut hits, |held| {
            // A placeholder that a later session has taken over is that one's own.
            if seen.len() < SIGHTINGS_MAX && !session.holds(&held.entry.text) {
                seen.push(Arc::clone(held));
            }
        });
        self.hits = hits;
        for held in seen {
            if matches!(place, Place::SlotPart | Place::ForeignSlot) {
                self.others(&held, place.clone());
            } else {
                self.note_held(&held, place.clone());
            }
        }
    }

    fn target(&mut self) {
        let request = self.look.request;
        self.inert(request.path().raw().as_bytes(), |_| Place::Path);
        self.others_in(request.path().raw().as_bytes(), &Place::Path);
        let declared = |name: &str| {
            self.beside(Slot::Query(name))
                || self.look.schemes.iter().any(|spec| matches!(slot_of(spec), Slot::Query(own) if own == name))
        };
        let texts: Vec<&str> =
            request.query().pairs().flat_map(|(name, value)| [name, if declared(name) { "" } else { value }]).collect();
        for text in texts {
            self.inert(text.as_bytes(), |_| Place::Query);
            self.others_in(text.as_bytes(), &Place::Query);
        }
    }

    fn body(&mut self) {
        let Some(body) = self.look.body else { return };
        self.others_in(body, &Place::Body);
        let before = self.out.list.len();
        self.inert(body, |_| Place::Body);
        // What stands in a declared field was noted as a slot already.
        let in_slot = |seen: &Sighting| matches!(seen.place, Place::Slot | Place::SlotPart | Place::ForeignSlot);
        if self.look.schemes.iter().any(|spec| matches!(spec, SchemeSpec::Body { .. }))
            && let Some(slot) =
                self.out.list.get(..before).and_then(|list| list.iter().find(|seen| in_slot(seen))).cloned()
            && let Some(at) = self.out.list.iter().skip(before).position(|seen| seen.credential == slot.credential)
        {
            self.out.list.remove(before + at);
        }
    }

    /// Notes own placeholders where they are worthless text, and gives them.
    fn inert(&mut self, text: &[u8], place: impl Fn(&Entry) -> Place) -> Vec<Entry> {
        let session = self.look.session;
        let mut hits = std::mem::take(&mut self.hits);
        let mut seen = Vec::new();
        session.search(text, &mut hits, |entry| {
            if seen.len() < SIGHTINGS_MAX {
                seen.push(entry.clone());
            }
        });
        self.hits = hits;
        for entry in &seen {
            self.note(entry, Holder::Own, place(entry));
        }
        seen
    }

    fn others(&mut self, held: &Held, place: Place) {
        let whose = self.note_held(held, place);
        let public = match whose {
            Holder::DeadSession => {
                format!("The placeholder of `{}` belongs to a session that has ended", held.entry.credential)
            }
            _ => "The placeholder belongs to another session".to_owned(),
        };
        let hint = "use the placeholder of this session; it stands in the environment";
        self.refuse(Code::PlaceholderForeign, public, hint);
    }

    /// Notes a placeholder of another session, once for each kind of place; whose it is.
    fn note_held(&mut self, held: &Held, place: Place) -> Holder {
        let session = self.look.session;
        let whose = holder(held, session.session(), session.agent());
        let door = |place: &Place| matches!(place, Place::Slot | Place::SlotPart | Place::ForeignSlot);
        let told = self.out.list.iter().any(|seen| {
            let same = seen.place == place || door(&seen.place) && door(&place);
            same && seen.session == held.entry.session && seen.credential == held.entry.credential
        });
        if !told {
            self.note(&held.entry, whose, place);
        }
        whose
    }

    fn foreign(&mut self, entry: &Entry) {
        let own = entry.service.as_ref().map_or("no service", ServiceName::as_str);
        self.refuse(
            Code::PlaceholderForeign,
            format!("The placeholder of `{}` was sent to another service than its own", entry.credential),
            &format!("`{}` is bound to {own}", entry.credential),
        );
    }

    fn note(&mut self, entry: &Entry, whose: Holder, place: Place) {
        if self.out.list.len() < SIGHTINGS_MAX {
            self.out.list.push(sighting(entry, whose, place));
        }
    }

    /// The first reason stands; what is refused presents nothing.
    fn refuse(&mut self, code: Code, public: String, hint: &str) {
        if self.out.refusal.is_none() {
            self.out.refusal = Some(Refusal::new(code, public).hint(hint));
        }
    }
}

/// The credential that a reference names: `vault://NAME`.
#[must_use]
pub fn reference(text: &str) -> Option<CredentialName> {
    let name = REFERENCES.iter().find_map(|scheme| text.strip_prefix(scheme))?;
    CredentialName::new(name).ok()
}

fn slot_of(spec: &SchemeSpec) -> Slot<'_> {
    match spec {
        SchemeSpec::Bearer { header, .. } => Slot::Header(header),
        SchemeSpec::Header { name, .. } => Slot::Header(name),
        SchemeSpec::Basic { .. } | SchemeSpec::Sigv4 {} => Slot::Header("authorization"),
        SchemeSpec::Query { name } => Slot::Query(name),
        SchemeSpec::Cookie { name } => Slot::Cookie(name),
        SchemeSpec::Body { field, .. } => Slot::Body(field),
        SchemeSpec::Hmac(spec) => Slot::of_spot(spec),
        SchemeSpec::Mtls {} => Slot::Connection,
    }
}

/// Whether a header carries authentication somewhere: the standard ones, and what vendors call theirs.
fn is_authentication(name: &HeaderName) -> bool {
    if name == http::header::AUTHORIZATION || name == http::header::COOKIE {
        return true;
    }
    let text = name.as_str();
    [
        "token",
        "api-key",
        "apikey",
        "auth",
        "authorization",
        "secret",
        "access-key",
        "app-key",
        "application-key",
        "subscription-key",
    ]
    .iter()
    .any(|word| text.ends_with(word))
}
