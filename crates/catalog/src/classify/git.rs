//! Git over HTTP: the smart protocol (git-scm.com/docs/http-protocol) and LFS (git-lfs/docs/api). Dumb HTTP is not
//! spoken: its paths stay unknown.
//!
//! Which refs a push moves stands in its body, which is not read in this version: a push acts on the repository.

use http::Method;
use model::{Class, Effect, Effects, Facts, Refusal, Resource};

use super::body::{Body, Slot};
use super::fact::single;
use super::{Found, View, refuse};
use model::Call;

/// The actions that a service with this protocol declares.
const FETCH: &str = "git/fetch";
const PUSH: &str = "git/push";
const LFS_UPLOAD: &str = "git/lfs-upload";
const LFS_LOCK: &str = "git/lfs-lock";

pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let Some((action, segments, needs_body)) = action(view)? else { return Ok(None) };
    let Some(resource) = repository(view, segments)? else { return Ok(None) };
    // A service that speaks git but does not declare the action: the strictest reading.
    let (id, class, effects) = match view.at.service.action(action) {
        Some(known) => (known.id.clone(), known.class, known.effects),
        None => match model::ActionId::new(action) {
            Ok(id) => (id, Class::Admin, Effects::NONE.with(Effect::BranchWrite)),
            Err(_) => return Ok(None),
        },
    };
    let call = Call { action: id, class, effects, resource, facts: Facts::default() };
    Ok(Some(Found { call, needs_body, hands_out: false }))
}

/// The action, how many segments name the repository, and whether the body must say more.
fn action(view: View<'_>) -> Result<Option<(&'static str, usize, bool)>, Refusal> {
    let len = view.len();
    let from_end = |back: usize| len.checked_sub(back).and_then(|index| view.segment(index)).unwrap_or_default();
    let is = |back: usize, word: &str| from_end(back).eq_ignore_ascii_case(word);
    let method = view.request.method();
    let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
    if get && is(1, "refs") && is(2, "info") {
        let service = single(view.request, "service")?;
        return Ok(match service {
            Some("git-upload-pack") => Some((FETCH, len - 2, false)),
            Some("git-receive-pack") => Some((PUSH, len - 2, false)),
            _ => None,
        });
    }
    if post && (is(1, "git-upload-pack") || is(1, "git-upload-archive")) {
        return Ok(Some((FETCH, len - 1, false)));
    }
    if post && is(1, "git-receive-pack") {
        return Ok(Some((PUSH, len - 1, false)));
    }
    let Some(lfs) = (2..len).find(|back| is(*back, "lfs") && is(*back + 1, "info")) else { return Ok(None) };
    let repository = len - lfs - 1;
    if is(lfs - 1, "locks") {
        return Ok(Some((if get { FETCH } else { LFS_LOCK }, repository, false)));
    }
    if !is(lfs - 1, "objects") {
        return Ok(None);
    }
    if post && lfs == 3 && is(1, "batch") {
        let (action, needs_body) = batch(view)?;
        return Ok(Some((action, repository, needs_body)));
    }
    Ok(Some((if get { FETCH } else { LFS_UPLOAD }, repository, false)))
}

/// The batch API says in its body which way objects go.
fn batch(view: View<'_>) -> Result<(&'static str, bool), Refusal> {
    let wants = [vec!["operation".into()]];
    let values = Body::new(view).read(&wants)?;
    if values.not_read() {
        return Ok((LFS_UPLOAD, true));
    }
    match values.slot(0) {
        Slot::Text(word) if word == "download" => Ok((FETCH, false)),
        Slot::Text(word) if word == "upload" => Ok((LFS_UPLOAD, false)),
        Slot::Unknown(_) => Err(values.refusal("its action depends on")),
        _ => Err(refuse("Request is malformed: an LFS batch says `download` or `upload`")),
    }
}

/// `repo:owner/name`, without `.git`.
fn repository(view: View<'_>, segments: usize) -> Result<Option<Resource>, Refusal> {
    if segments == 0 {
        return Ok(None);
    }
    let mut text = String::from("repo:");
    for index in 0..segments {
        let segment = view.segment(index).unwrap_or_default();
        let last = index + 1 == segments;
        let segment = if last { segment.strip_suffix(".git").unwrap_or(segment) } else { segment };
        if segment.is_empty() || segment.contains(['/', '@']) {
            return Err(refuse("Request is malformed: the name of the repository holds `/` or `@`, or is empty"));
        }
        if index > 0 {
            text.push('/');
        }
        text.push_str(segment);
    }
    Ok(Some(Resource::new(&text)))
}
