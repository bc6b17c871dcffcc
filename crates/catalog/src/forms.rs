//! What calls of one action can be: its body may make one stronger than the other.

use std::collections::BTreeMap;

use model::vocabulary::ActionWords;
use model::{Class, Effects};

use crate::compiled::{
    AWS_UNLISTED, CARRIES, Compiled, LineCall, MCP_UNLISTED_TOOL, RPC_UNLISTED, SOCKET_UNLISTED, sql,
};

type Forms = Vec<(Class, Effects)>;

/// Adds the forms of every action that has more than one.
pub(crate) fn fill(tables: &Compiled, actions: &mut BTreeMap<String, ActionWords>) {
    let mut all: Vec<Forms> = tables.actions.iter().map(|action| vec![(action.class, action.effects)]).collect();
    for route in &tables.routes {
        let whens: Vec<_> = route.when.iter().map(|when| (when.class, when.effects)).collect();
        add(&mut all, route.action, &whens);
    }
    let by_rpc = tables.rpc.iter().flat_map(|rpc| calls(&rpc.names));
    let by_message = tables.sockets.iter().flat_map(|socket| calls(&socket.names));
    for call in tables.graphql.iter().flat_map(|graphql| calls(&graphql.mutations)).chain(by_rpc).chain(by_message) {
        let whens: Vec<_> = call.when.iter().map(|when| (when.class, when.effects)).collect();
        add(&mut all, call.action, &whens);
    }
    for (index, action) in tables.actions.iter().enumerate() {
        // A push has no pattern that would say it.
        if CARRIES.contains(&action.id.as_str()) {
            let whens: Vec<_> = tables.touches.iter().map(|set| (None, set.effects)).collect();
            add(&mut all, index as u16, &whens);
        }
    }
    if let Some(forms) = tables.graphql.as_ref().and_then(|graphql| all.get_mut(graphql.unlisted as usize)) {
        // A mutation that no table has is this action too, with no effect that an effect could permit.
        push(forms, (Class::Admin, Effects::NONE));
    }
    for (action, forms) in tables.actions.iter().zip(&mut all) {
        // What no table has is two calls, so that no effect permits it.
        if [MCP_UNLISTED_TOOL, RPC_UNLISTED, SOCKET_UNLISTED, AWS_UNLISTED, sql::UNLISTED].contains(&action.id.as_str())
        {
            push(forms, (Class::Admin, Effects::NONE));
        }
    }
    for (action, forms) in tables.actions.iter().zip(all) {
        if let Some(words) = actions.get_mut(action.id.as_str()).filter(|_| forms.len() > 1) {
            words.forms = forms;
        }
    }
}

fn calls<N>(mutations: &[(N, Vec<crate::compiled::Line>)]) -> impl Iterator<Item = &LineCall> {
    mutations.iter().flat_map(|(_, lines)| lines).flat_map(|line| &line.calls)
}

/// Adds the forms of one action's calls by one pattern or line.
fn add(all: &mut [Forms], action: u16, whens: &[(Option<Class>, Effects)]) {
    let Some(forms) = all.get_mut(action as usize) else { return };
    let Some(plain) = forms.first().copied() else { return };
    for form in of(plain, whens.iter().copied()) {
        push(forms, form);
    }
}

/// What something is by itself, and every way in which some of these circumstances hold.
pub(crate) fn of(plain: (Class, Effects), whens: impl Iterator<Item = (Option<Class>, Effects)>) -> Forms {
    let mut mine = vec![plain];
    for (class, effects) in whens {
        for (known, with) in mine.clone() {
            push(&mut mine, (known.max(class.unwrap_or(known)), with.iter().chain(effects.iter()).collect()));
        }
    }
    mine
}

fn push(forms: &mut Forms, form: (Class, Effects)) {
    if !forms.contains(&form) {
        forms.push(form);
    }
}
