//! AWS Signature Version 4 (AWS IAM User Guide, "Create a signed API request"): the agent's SDK has signed with placeholder keys,
//! and the request is signed anew with the real ones. The key itself never travels; its id and the session token do.
//!
//! Start reading at [`Sigv4::apply`]; [`canonical`] makes the text that is signed, [`payload`] says what stands there for the body,
//! [`key`] has the arithmetic, [`chunks`] signs bodies that carry signatures of their own.

mod canonical;
pub(crate) mod chunks;
mod key;
mod payload;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use model::aws::{Algorithm, Endpoint, Scope, Signed, algorithm, is_names};
use model::canonical::{CanonicalRequest, pairs};
use model::time::MICROS;
use model::{CredentialName, Timestamp, hex};
use secret::{Credential, Field, Secret};
use zeroize::Zeroizing;

use self::canonical::names;
use self::chunks::ChunkSigner;
use self::key::SigningKey;
use self::payload::Payload;
use super::{Draft, Scheme, Slot, SlotValue, check, query, values};
use crate::InjectError;

const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const HASH: &str = "x-amz-content-sha256";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Parameters of a signature in the query.
const Q_ALGORITHM: &str = "X-Amz-Algorithm";
const Q_CREDENTIAL: &str = "X-Amz-Credential";
const Q_DATE: &str = "X-Amz-Date";
const Q_EXPIRES: &str = "X-Amz-Expires";
const Q_HEADERS: &str = "X-Amz-SignedHeaders";
const Q_SIGNATURE: &str = "X-Amz-Signature";
const Q_TOKEN: &str = "X-Amz-Security-Token";

/// How far the agent's clock may be off: what AWS itself bears. A signature for another day would be good on another day.
const SKEW_SECONDS_MAX: u64 = 15 * 60;
/// How long a signature in a query may be good for; an upstream that repeats it (a redirect, an error) gives no more away.
const QUERY_SECONDS_MAX: u64 = SKEW_SECONDS_MAX;
/// Where a name has no region and nothing else says one (IAM, STS and S3 take it so).
const REGION_DEFAULT: &str = "us-east-1";

/// Signs anew.
pub(crate) struct Sigv4;

/// What the agent's own signature said.
struct Claim {
    region: String,
    service: String,
    date: String,
    headers: String,
    /// Seconds that it is good for, where it stands in the query.
    query: Option<u64>,
}

/// Whether a query carries a signature.
fn in_query(text: &str) -> bool {
    let mine = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        [Q_SIGNATURE, Q_CREDENTIAL, Q_ALGORITHM].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    text.split('&').any(mine)
        || text.contains('%') && pairs(text).is_ok_and(|all| all.iter().any(|(name, _)| mine(name)))
}

impl Scheme for Sigv4 {
    fn slot(&self) -> Slot<'_> {
        Slot::Header("authorization")
    }

    /// The session token has a slot of its own beside the signature, and in the query both have one.
    fn beside(&self, slot: Slot<'_>) -> bool {
        match slot {
            Slot::Header(name) => name.eq_ignore_ascii_case(TOKEN),
            Slot::Query(name) => name == Q_CREDENTIAL || name == Q_TOKEN,
            Slot::Cookie(_) | Slot::Body(_) | Slot::Connection => false,
        }
    }

    /// The key's id, of the header and of the query.
    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        for value in values(request.headers(), "authorization") {
            match value.map(|text| (text, Signed::parse(text))) {
                Ok((_, Some(signed))) => found.whole.push(Cow::Borrowed(signed.scope.key_id)),
                Ok((text, None)) => found.part.push(Cow::Borrowed(text.as_bytes())),
                Err(bytes) => found.part.push(Cow::Borrowed(bytes)),
            }
        }
        let how = request.query().values(Q_ALGORITHM).find_map(algorithm).unwrap_or(Algorithm::Hmac);
        for value in request.query().values(Q_CREDENTIAL) {
            match Scope::parse(value, how) {
                Some(scope) => found.whole.push(Cow::Borrowed(scope.key_id)),
                None => found.part.push(Cow::Borrowed(value.as_bytes())),
            }
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let name = credential.name();
        let mut claim = claim(draft)?;
        let endpoint =
            Endpoint::of(draft.host()).ok_or_else(|| wrong("its host is no endpoint of AWS that is known"))?;
        if claim.service != endpoint.service {
            return Err(wrong("it was signed for another service than its host's"));
        }
        if endpoint.region.is_some_and(|region| region != claim.region) {
            return Err(wrong("it was signed for another region than its host's"));
        }
        check_date(&mut claim, draft.now)?;
        let payload = payload::of(draft, endpoint.service, claim.query.is_some())?;
        let key_id = part(credential, Field::KeyId)?;
        let secret = part(credential, Field::Value)?;
        let token = credential.material().field(Field::SessionToken).map(Secret::expose);
        if let Some(token) = token {
            check(token, credential)?;
        }
        let scope = Scope { key_id: "", date: day(&claim.date), region: &claim.region, service: &claim.service };
        let key = SigningKey::derive(secret, &scope);
        let unsigned = Unsigned { claim: &claim, scope: &scope, key: &key, payload: &payload };
        let signature = match claim.query {
            None => unsigned.in_header(draft, (key_id, token), name)?,
            Some(_) => unsigned.in_query(draft, (key_id, token)),
        };
        if let Payload::Chunks { trailer } = payload {
            let signer = ChunkSigner::new(key, (&claim.date, &scope.to_string()), signature, trailer);
            draft.resign(signer)?;
        }
        Ok(())
    }

    fn redacted(&self, name: &str) -> String {
        format!("authorization: {ALGORITHM} Credential=<{name}>")
    }
}

/// Why it cannot be signed.
const fn wrong(why: &'static str) -> InjectError {
    InjectError::Sign { why }
}

fn part(credential: &Credential, field: Field) -> Result<&[u8], InjectError> {
    let value = credential.material().field(field).map(Secret::expose).unwrap_or_default();
    if value.is_empty() {
        return Err(InjectError::Empty { name: credential.name().clone() });
    }
    check(value, credential)?;
    Ok(value)
}

/// The day of a moment: `20130524T000000Z`.
fn day(date: &str) -> &str {
    date.get(..8).unwrap_or_default()
}

/// What the agent signed, or would have: where it says nothing, the endpoint and the clock do.
fn claim(draft: &Draft) -> Result<Claim, InjectError> {
    let text = draft.query.as_deref().unwrap_or_default();
    let mut headers = draft.headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (headers.next(), headers.next());
    match (first, second, in_query(text)) {
        (None, None, false) => fresh(draft),
        (Some(value), None, false) => {
            let text = value.to_str().unwrap_or_default();
            let signed = Signed::parse(text).ok_or_else(|| wrong("its signature is none of Signature Version 4"))?;
            symmetric(signed.algorithm)?;
            let date = one(draft, DATE).ok_or_else(|| wrong("it has no X-Amz-Date, or several"))?;
            own(signed.scope, date, signed.headers, None)
        }
        (None, None, true) => of_query(text),
        _ => Err(wrong("it is signed twice, in the header and in the query")),
    }
}

/// SigV4A signs for several regions with keys that would have to be derived by the agent's SDK.
fn symmetric(algorithm: Algorithm) -> Result<(), InjectError> {
    match algorithm {
        Algorithm::Hmac => Ok(()),
        Algorithm::Ecdsa => {
            Err(wrong("it is signed with SigV4A (for several regions), which is not in this version; name one region"))
        }
    }
}

fn own(scope: Scope<'_>, date: &str, headers: &str, query: Option<u64>) -> Result<Claim, InjectError> {
    if scope.date != day(date) {
        return Err(wrong("its date is not the one of its credential scope"));
    }
    Ok(Claim {
        region: scope.region.to_owned(),
        service: scope.service.to_owned(),
        date: date.to_owned(),
        headers: headers.to_owned(),
        query,
    })
}

fn of_query(text: &str) -> Result<Claim, InjectError> {
    let pairs = pairs(text).map_err(|_| wrong("its query cannot be read"))?;
    let one = |wanted: &str| {
        let mut own = pairs.iter().filter(|(name, _)| **name == *wanted).map(|(_, value)| &**value);
        own.next().filter(|_| own.next().is_none())
    };
    let missing = || wrong("its query lacks a part of the signature, or has one twice");
    symmetric(one(Q_ALGORITHM).and_then(algorithm).ok_or_else(missing)?)?;
    let scope = one(Q_CREDENTIAL).and_then(|text| Scope::parse(text, Algorithm::Hmac)).ok_or_else(missing)?;
    let expires = one(Q_EXPIRES).and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let headers = one(Q_HEADERS).filter(|names| is_names(names)).ok_or_else(missing)?;
    own(scope, one(Q_DATE).ok_or_else(missing)?, headers, Some(expires))
}

/// The signature of a client that sends none (`inject: always`).
fn fresh(draft: &Draft) -> Result<Claim, InjectError> {
    let endpoint = Endpoint::of(draft.host()).ok_or_else(|| wrong("its host is no endpoint of AWS that is known"))?;
    Ok(Claim {
        region: endpoint.region.unwrap_or(REGION_DEFAULT).to_owned(),
        service: endpoint.service.to_owned(),
        date: basic(draft.now),
        headers: "host".to_owned(),
        query: None,
    })
}

/// The one value of a field.
fn one<'d>(draft: &'d Draft, name: &str) -> Option<&'d str> {
    let mut all = draft.headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// ISO 8601 in its basic form, as SigV4 has it: `20130524T000000Z`.
fn basic(now: Timestamp) -> String {
    let mut text = now.to_string();
    text.truncate(19);
    text.retain(|letter| letter.is_ascii_digit() || letter == 'T');
    text + "Z"
}

/// The moment that a basic form says.
fn moment(date: &str) -> Option<Timestamp> {
    let at = |range: std::ops::Range<usize>| date.get(range);
    if date.len() != 16 || !date.is_ascii() {
        return None;
    }
    let (day, time) = date.split_once('T')?;
    let full = [
        at(0..4)?,
        "-",
        at(4..6)?,
        "-",
        day.get(6..8)?,
        "T",
        time.get(0..2)?,
        ":",
        time.get(2..4)?,
        ":",
        time.get(4..)?,
    ];
    Timestamp::parse(&full.concat())
}

/// Refuses a date that is far from now. A signature in the query may be older, as long as it is good for, and is then given a little while.
fn check_date(claim: &mut Claim, now: Timestamp) -> Result<(), InjectError> {
    let signed = moment(&claim.date).ok_or_else(|| wrong("its date is not of the form 20130524T000000Z"))?;
    let skew = SKEW_SECONDS_MAX * MICROS.unsigned_abs();
    let off = || wrong("its date is more than 15 minutes away from now; set the clock, or sign again");
    if signed.micros_since(now) > skew {
        return Err(off());
    }
    let age = now.micros_since(signed);
    match &mut claim.query {
        None if age > skew => Err(off()),
        None => Ok(()),
        Some(expires) => {
            let seconds = age / MICROS.unsigned_abs();
            if seconds > *expires || *expires > 7 * 86_400 {
                return Err(wrong("the time of its signature is over; sign again"));
            }
            *expires = (*expires).min(seconds + QUERY_SECONDS_MAX);
            Ok(())
        }
    }
}

/// Everything that a signature is made of.
struct Unsigned<'a> {
    claim: &'a Claim,
    scope: &'a Scope<'a>,
    key: &'a SigningKey,
    payload: &'a Payload,
}

type Keys<'a> = (&'a [u8], Option<&'a [u8]>);

impl Unsigned<'_> {
    fn in_header(
        &self,
        draft: &mut Draft,
        (key_id, token): Keys<'_>,
        name: &CredentialName,
    ) -> Result<String, InjectError> {
        draft.headers.remove(AUTHORIZATION);
        put(draft, TOKEN, token, name)?;
        put(draft, DATE, Some(self.claim.date.as_bytes()), name)?;
        let hash = self.payload.text();
        if self.scope.service == "s3" || draft.headers.contains_key(HASH) {
            put(draft, HASH, Some(hash.as_bytes()), name)?;
        }
        let names = names(draft, &self.claim.headers);
        let signature = self.sign(draft, &names, draft.query.as_deref().unwrap_or_default());
        let scope = self.scope.to_string();
        let parts: [&[u8]; 8] = [
            ALGORITHM.as_bytes(),
            b" Credential=",
            key_id,
            b"/",
            scope.as_bytes(),
            b", SignedHeaders=",
            names.as_bytes(),
            b", Signature=",
        ];
        let text = Zeroizing::new([&parts.concat(), signature.as_bytes()].concat());
        put(draft, AUTHORIZATION.as_str(), Some(&text), name)?;
        Ok(signature)
    }

    fn in_query(&self, draft: &mut Draft, (key_id, token): Keys<'_>) -> String {
        draft.headers.remove(TOKEN);
        let mut text =
            Zeroizing::new(query::without(draft.query.as_deref().unwrap_or_default(), &[Q_SIGNATURE, Q_TOKEN]));
        let scope = self.scope.to_string();
        let credential = Zeroizing::new([key_id, b"/", scope.as_bytes()].concat());
        *text = query::put(&text, Q_CREDENTIAL, &credential).to_string();
        let expires = self.claim.query.unwrap_or_default().to_string();
        *text = query::put(&text, Q_EXPIRES, expires.as_bytes()).to_string();
        if let Some(token) = token {
            *text = query::put(&text, Q_TOKEN, token).to_string();
        }
        let names = names(draft, &self.claim.headers);
        *text = query::put(&text, Q_HEADERS, names.as_bytes()).to_string();
        let signature = self.sign(draft, &names, &text);
        draft.query = Some(query::put(&text, Q_SIGNATURE, signature.as_bytes()).to_string());
        signature
    }

    /// Step 4 of the guide: what is signed has the date, the scope, and the hash of the canonical request.
    fn sign(&self, draft: &Draft, names: &str, query: &str) -> String {
        let request = canonical::request(draft, (self.scope.service, names), query, &self.payload.text());
        let hash = hex(digest(&SHA256, request.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{}\n{}\n{hash}", self.claim.date, self.scope);
        hex(&self.key.sign(text.as_bytes()))
    }
}

/// Sets a field to a value, or takes it away.
fn put(draft: &mut Draft, name: &'static str, value: Option<&[u8]>, of: &CredentialName) -> Result<(), InjectError> {
    let header = HeaderName::from_static(name);
    let Some(value) = value else {
        draft.headers.remove(header);
        return Ok(());
    };
    let mut value = HeaderValue::from_bytes(value).map_err(|_| InjectError::Unprintable { name: of.clone() })?;
    value.set_sensitive(name == TOKEN || header == AUTHORIZATION);
    draft.headers.insert(header, value);
    Ok(())
}

/// The query of a record: neither the key's id nor the session token nor the signature.
pub(super) fn redact(text: &str, credential: &str) -> String {
    let mut text = text.to_owned();
    for name in [Q_CREDENTIAL, Q_TOKEN, Q_SIGNATURE] {
        if pairs(&text).is_ok_and(|all| all.iter().any(|(known, _)| **known == *name)) {
            text = query::put(&text, name, credential.as_bytes()).to_string();
        }
    }
    text
}
