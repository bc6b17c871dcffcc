//! Git over HTTP: the smart protocol (git-scm.com/docs/http-protocol) and LFS (git-lfs/docs/api). Dumb HTTP is not
//! spoken: its paths stay unknown.
//!
//! A push is read: every ref that it changes is a call of its own. Start reading at [`pushed`]; then [`command`] (what is asked),
//! [`pack`] (which commits come along), [`ancestry`] (whether they build on what was there) and [`contents`] (which paths they bring).

mod ancestry;
mod command;
mod contents;
mod delta;
mod pack;
mod packet;

use std::cell::OnceCell;
use std::sync::Arc;

use http::Method;
use model::bounds::{BODY_FACT_BYTES_MAX, CALLS_MAX, FACT_TEXT_BYTES_MAX};
use model::call::BodyView;
use model::{Call, Class, Code, Effect, Effects, Fact, Facts, Refusal, Resource, Unknown};
use smallvec::SmallVec;

use self::ancestry::{Ancestry, ancestry};
use self::command::{Command, Push, Stop};
use self::contents::Contents;
use super::body::{Body, Slot, is_coded};
use super::fact::single;
use super::{Found, View, refuse, touch};
use crate::compiled::{LIST_REFS, Touch};

/// The actions that a service with this protocol declares.
const FETCH: &str = "git/fetch";
const PUSH: &str = "git/push";
const FORCE_PUSH: &str = "git/force-push";
const DELETE_REF: &str = "git/delete-ref";
const PUSH_OPTION: &str = "git/push-option";
const LFS_UPLOAD: &str = "git/lfs-upload";
const LFS_LOCK: &str = "git/lfs-lock";

/// Push options that change nothing but what runs because of the push, and that less. Others open and merge requests, set
/// variables of pipelines, or turn protection off.
const HARMLESS_OPTIONS: [&str; 1] = ["ci.skip"];

/// What a set of paths is where nothing stands there in what is pushed.
const NONE: &str = "none";

/// What is asked for.
enum Asked {
    /// An action, and whether the body must say more.
    Action(&'static str, bool),
    /// Whatever the body says.
    Push,
}

pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let Some((asked, segments)) = asked(view)? else { return Ok(None) };
    let Some(repository) = repository(view, segments)? else { return Ok(None) };
    match asked {
        Asked::Action(action, needs_body) => {
            let call = call(view, action, &format!("repo:{repository}"), Facts::default())?;
            Ok(Some(Found { needs_body, ..Found::one(call) }))
        }
        Asked::Push => pushed(view, &repository).map(Some),
    }
}

fn call(view: View<'_>, action: &str, resource: &str, facts: Facts) -> Result<Call, Refusal> {
    // A service that speaks git but does not declare the action: the strictest reading.
    let (action, class, effects) = if let Some(known) = view.at.service.action(action) {
        (known.id.clone(), known.class, known.effects)
    } else {
        let id = model::ActionId::new(action).map_err(|error| refuse(error.to_string()))?;
        (id, Class::Admin, Effects::NONE.with(Effect::BranchWrite))
    };
    Ok(Call { action, class, effects, resource: Resource::new(resource), facts })
}

/// What is asked for, and how many segments name the repository.
fn asked(view: View<'_>) -> Result<Option<(Asked, usize)>, Refusal> {
    let len = view.len();
    let from_end = |back: usize| len.checked_sub(back).and_then(|index| view.segment(index)).unwrap_or_default();
    let is = |back: usize, word: &str| from_end(back).eq_ignore_ascii_case(word);
    let method = view.request.method();
    let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
    let plain = |action| Asked::Action(action, false);
    if get && is(1, "refs") && is(2, "info") {
        let service = single(view.request, "service")?;
        return Ok(match service {
            Some("git-upload-pack") => Some((plain(FETCH), len - 2)),
            Some("git-receive-pack") => Some((plain(LIST_REFS), len - 2)),
            _ => None,
        });
    }
    if post && (is(1, "git-upload-pack") || is(1, "git-upload-archive")) {
        return Ok(Some((plain(FETCH), len - 1)));
    }
    if post && is(1, "git-receive-pack") {
        return Ok(Some((Asked::Push, len - 1)));
    }
    let Some(lfs) = (2..len).find(|back| is(*back, "lfs") && is(*back + 1, "info")) else { return Ok(None) };
    let repository = len - lfs - 1;
    if is(lfs - 1, "locks") {
        return Ok(Some((plain(if get { FETCH } else { LFS_LOCK }), repository)));
    }
    if !is(lfs - 1, "objects") {
        return Ok(None);
    }
    if post && lfs == 3 && is(1, "batch") {
        let (action, needs_body) = batch(view)?;
        return Ok(Some((Asked::Action(action, needs_body), repository)));
    }
    Ok(Some((plain(if get { FETCH } else { LFS_UPLOAD }), repository)))
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

/// `owner/name`, without `.git`.
fn repository(view: View<'_>, segments: usize) -> Result<Option<String>, Refusal> {
    if segments == 0 {
        return Ok(None);
    }
    let mut text = String::new();
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
    Ok(Some(text))
}

/// The calls of a push: one or two for each ref, one for options that do something, one where nothing is changed.
fn pushed(view: View<'_>, repository: &str) -> Result<Found, Refusal> {
    let (text, whole) = match view.body {
        BodyView::NotRead => return unread(view, repository),
        BodyView::Empty => (&[][..], true),
        BodyView::TooLarge(front) => (front, false),
        BodyView::Whole(text) => match text.get(..BODY_FACT_BYTES_MAX) {
            Some(front) if text.len() > BODY_FACT_BYTES_MAX => (front, false),
            _ => (text, true),
        },
    };
    if is_coded(view.request.headers()) {
        return Err(refuse("The push is encoded").hint("send it without Content-Encoding"));
    }
    let push = command::read(text).map_err(|stop| refusal(stop, whole))?;
    if !whole && push.commands.iter().all(|command| command.new.is_zero()) {
        return Err(refusal(Stop::Odd("something follows where no pack may"), whole));
    }
    let mut calls = SmallVec::new();
    if push.commands.is_empty() {
        calls.push(call(view, LIST_REFS, &format!("repo:{repository}"), Facts::default())?);
    }
    let sets = &view.at.service.tables.touches;
    let mut proofs = Proofs::of(&push, sets, whole);
    for command in &push.commands {
        let change = Change::of(command, &mut proofs);
        let resource = match command.name.strip_prefix("refs/").and_then(|rest| rest.split_once('/')) {
            Some(("heads", name)) => format!("branch:{repository}@{name}"),
            Some(("tags", name)) => format!("tag:{repository}@{name}"),
            _ => format!("repo:{repository}"),
        };
        let touched = proofs.touched(command);
        let effects = sets.iter().zip(&touched).filter(|(_, known)| **known == Some(Contents::Brought));
        let effects: Effects = effects.flat_map(|(set, _)| set.effects.iter()).collect();
        for action in change.actions {
            let mut facts = facts(command, &change, &push.options);
            sets.iter().zip(&touched).for_each(|(set, known)| facts.add(Arc::clone(&set.fact), told(*known)));
            let plain = call(view, action, &resource, facts)?;
            calls.push(Call { effects: plain.effects.iter().chain(effects.iter()).collect(), ..plain });
        }
    }
    if push.options.iter().any(|option| !HARMLESS_OPTIONS.contains(option)) {
        let mut facts = Facts::default();
        facts.add("git.options".into(), texts(&push.options));
        calls.push(call(view, PUSH_OPTION, &format!("repo:{repository}"), facts)?);
    }
    if calls.len() > CALLS_MAX {
        return Err(refusal(Stop::TooMany, whole));
    }
    Ok(Found { calls, needs_body: false, reads_front: true, hands_out: false })
}

/// A push that has not been read is the most that it could be.
fn unread(view: View<'_>, repository: &str) -> Result<Found, Refusal> {
    let repository = format!("repo:{repository}");
    let calls =
        [PUSH, FORCE_PUSH, DELETE_REF, PUSH_OPTION].map(|action| call(view, action, &repository, Facts::default()));
    let calls = calls.into_iter().collect::<Result<_, _>>()?;
    Ok(Found { calls, needs_body: true, reads_front: true, hands_out: false })
}

fn refusal(stop: Stop, whole: bool) -> Refusal {
    match stop {
        Stop::Ends if whole => refuse("The push cannot be judged: it ends in the middle"),
        Stop::Ends => Refusal::new(Code::TooLarge, "The refs of the push are more than is read of one"),
        Stop::TooMany => Refusal::new(Code::TooLarge, format!("The push has more than {CALLS_MAX} calls"))
            .hint("push fewer refs at once"),
        Stop::Signed => {
            refuse("The push is signed, and what a certificate says is not read").hint("send it without --signed")
        }
        Stop::Odd(why) => refuse(format!("The push cannot be judged: {why}")),
    }
}

/// What becomes of a ref.
struct Change {
    word: &'static str,
    /// All that it is, or may be.
    actions: &'static [&'static str],
    /// Whether something that was there may be lost; nothing where that cannot be told.
    force: Option<bool>,
}

impl Change {
    fn of(command: &Command<'_>, proofs: &mut Proofs<'_>) -> Self {
        if command.old.is_zero() {
            return Self { word: "create", actions: &[PUSH], force: Some(false) };
        }
        if command.new.is_zero() {
            return Self { word: "delete", actions: &[DELETE_REF], force: Some(false) };
        }
        let ancestry = match command.name.split('/').nth(1) {
            // Git moves a tag by force alone.
            Some("tags") => Ancestry::Forced,
            Some("heads") => proofs.ancestry(command),
            _ => Ancestry::Unknown,
        };
        // What is forced, or may be, is a push besides: whoever may not push there may not force his way in either.
        let (actions, force): (&[_], _) = match ancestry {
            Ancestry::Forward => (&[PUSH], Some(false)),
            Ancestry::Forced => (&[PUSH, FORCE_PUSH], Some(true)),
            Ancestry::Unknown => (&[PUSH, FORCE_PUSH], None),
        };
        Self { word: "update", actions, force }
    }
}

/// What the pack proves, read when it is first asked for.
struct Proofs<'a> {
    push: &'a Push<'a>,
    sets: &'a [Touch],
    whole: bool,
    /// Read when it is first asked for: nothing of an odd pack, of one that is cut, or of none.
    pack: OnceCell<Option<pack::Pack>>,
    /// What is known of each set by the pack as a whole.
    contents: Option<Vec<Contents>>,
    steps: usize,
}

impl<'a> Proofs<'a> {
    const fn of(push: &'a Push<'a>, sets: &'a [Touch], whole: bool) -> Self {
        Self { push, sets, whole, pack: OnceCell::new(), contents: None, steps: ancestry::STEPS_MAX }
    }

    fn pack(&self) -> Option<&pack::Pack> {
        let (push, whole) = (self.push, self.whole);
        let bounds = if self.sets.is_empty() { pack::Bounds::COMMITS } else { pack::Bounds::HOUSE };
        let read = || whole.then(|| pack::read(push.pack, push.format, bounds)).flatten();
        self.pack.get_or_init(read).as_ref()
    }

    fn ancestry(&mut self, command: &Command<'_>) -> Ancestry {
        if command.old == command.new {
            return Ancestry::Forward;
        }
        let (push, mut steps) = (self.push, self.steps);
        let Some(pack) = self.pack() else { return Ancestry::Unknown };
        let found = ancestry(&pack.commits, &push.shallow, (command.old, command.new), &mut steps);
        self.steps = steps;
        found
    }

    /// What is known of each set where this ref is pushed: nothing where a ref goes. All commits of the pack count for every ref.
    fn touched(&mut self, command: &Command<'_>) -> Vec<Option<Contents>> {
        let (push, sets) = (self.push, self.sets);
        if sets.is_empty() || command.new.is_zero() {
            return vec![None; sets.len()];
        }
        let known = self.contents.take();
        let Some(pack) = self.pack() else { return vec![Some(Contents::Unknown); sets.len()] };
        let files = |wanted: &_| pack::files(push.pack, push.format, pack, wanted);
        let known = known.unwrap_or_else(|| contents::contents(pack, push.format, sets, &files));
        // A tip that is not in the pack: the server has it, with whatever stands there.
        let least = if pack.commits.contains_key(&command.new) { Contents::None } else { Contents::Kept };
        let touched = known.iter().map(|known| Some(least.max(*known))).collect();
        self.contents = Some(known);
        touched
    }
}

fn facts(command: &Command<'_>, change: &Change, options: &[&str]) -> Facts {
    let mut facts = Facts::default();
    facts.add("git.ref".into(), Fact::Text(command.name.into()));
    facts.add("git.change".into(), Fact::Text(change.word.into()));
    facts.add("git.force".into(), change.force.map_or(Fact::Unknown(Unknown::NotProven), Fact::Bool));
    facts.add("git.old".into(), Fact::Text(command.old_text.into()));
    facts.add("git.new".into(), Fact::Text(command.new_text.into()));
    if !options.is_empty() {
        facts.add("git.options".into(), texts(options));
    }
    facts
}

fn told(known: Option<Contents>) -> Fact {
    match known {
        None => Fact::Text(touch::NO.into()),
        Some(Contents::None) => Fact::Text(NONE.into()),
        Some(Contents::Kept) => Fact::Text(touch::KEPT.into()),
        Some(Contents::Unknown) => Fact::Unknown(Unknown::NotProven),
        Some(Contents::Brought) => Fact::Text(touch::YES.into()),
    }
}

fn texts(list: &[&str]) -> Fact {
    if list.iter().map(|text| text.len()).sum::<usize>() > FACT_TEXT_BYTES_MAX {
        return Fact::Unknown(Unknown::TooLarge);
    }
    Fact::List(list.iter().map(|text| Arc::from(*text)).collect())
}
