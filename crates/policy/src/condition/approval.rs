//! `approval`: a person is asked, because the rule says so or because the action always asks.

use model::{Call, Class, Effects, Refusal, bounds};

use super::{Ask, Condition, Covered, Reader, Required};
use crate::document::{Approval as Written, Conditions};

/// What a permission says of approvals. Every permission has one, or actions that always ask would not.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    pub(crate) said: Option<Written>,
    pub(crate) timeout_seconds: u64,
    pub(crate) of: Vec<String>,
    /// How many different people must agree.
    pub(crate) count: u32,
    /// Why it asks, where the rule knows better than "every time".
    pub(crate) reason: Option<&'static str>,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let said = [written.approval, written.require_approval];
    if let [Some(ours), Some(theirs)] = said
        && ours.value != theirs.value
    {
        reader.say(
            &theirs.with("require_approval".into()),
            "`approval` and `require_approval` disagree; keep one",
            None,
        );
    }
    let said = said.into_iter().flatten().next().map(|approval| approval.value);
    let timeout_seconds = written.approval_timeout.map_or(bounds::APPROVAL_SECONDS_DEFAULT, |timeout| timeout.value.0);
    let of = written.approvers.iter().flat_map(|approvers| approvers.value.of.iter());
    let of = of.map(|name| name.value.clone()).collect();
    let count = written.approvers.as_ref().and_then(|approvers| approvers.value.count.as_ref());
    let count = count.map_or(1, |count| count.value);
    vec![Box::new(Approval { said, timeout_seconds, of, count, reason: None })]
}

/// Why an action asks by itself.
pub(crate) fn guard(call: &Call) -> Option<String> {
    if call.class == Class::Admin {
        return Some(format!("{} is of class admin, which always asks", call.action));
    }
    let effect = call.effects.iter().find(|effect| Effects::GUARDED.contains(*effect))?;
    Some(format!("{} has the effect {effect}, which always asks", call.action))
}

impl Approval {
    fn reason(&self, calls: &[&Call]) -> Option<String> {
        match self.said {
            Some(Written::None) => None,
            Some(Written::Required) => {
                let plain = || self.reason.unwrap_or("the rule asks every time").to_owned();
                Some(calls.iter().find_map(|call| guard(call)).unwrap_or_else(plain))
            }
            Some(Written::OncePerSession) => Some("the rule asks once in a session".to_owned()),
            Some(Written::Unsaid) | None => calls.iter().find_map(|call| guard(call)),
        }
    }
}

impl Condition for Approval {
    fn require(&self, covered: &Covered<'_>, required: &mut Required) -> Result<(), Box<Refusal>> {
        if let Some(reason) = self.reason(covered.calls) {
            required.asks.push(Ask {
                rule: covered.rule.clone(),
                once: self.said == Some(Written::OncePerSession),
                timeout_seconds: self.timeout_seconds,
                of: self.of.clone(),
                count: self.count,
                reason,
            });
        }
        Ok(())
    }

    fn explain(&self) -> Option<serde_json::Value> {
        let word = match self.said? {
            Written::Required => "required",
            Written::OncePerSession => "once-per-session",
            Written::None => "none",
            Written::Unsaid => return None,
        };
        let mut shown = serde_json::json!({ "kind": "approval", "approval": word });
        if let (true, Some(object)) = (self.count > 1, shown.as_object_mut()) {
            object.insert("approvers".to_owned(), self.count.into());
        }
        Some(shown)
    }

    fn reads_body(&self, calls: &[&Call]) -> bool {
        self.reason(calls).is_some()
    }
}
