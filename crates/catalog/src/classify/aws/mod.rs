//! The APIs of AWS: actions as IAM spells them, on ARNs. What is asked stands in a header and a JSON body, in a form, or in method, path
//! and query, by service; the table of the service file has the operations.
//!
//! Start reading at [`classify`]; then [`named`] (JSON and forms), [`placed`] (Lambda), [`s3`], and [`arn`] (how a resource is written).
//! What is no endpoint that is known, and what nobody can tell, is `aws/unlisted-request`: of class admin with every effect, permitted by
//! its own name alone.

mod arn;
mod named;
mod placed;
mod s3;
mod xml;

use model::aws::Endpoint;
use model::bounds::CALLS_MAX;
use model::{ActionId, Call, Class, Effects, Facts, Refusal, Resource, Unknown};

use super::line::{Calls, Fault};
use super::{Found, View, endpoint};
use crate::compiled::{Aws, AwsOperation};

const HINT: &str = "send it as an SDK does: one operation, every name once";
/// Services that grant authority or keep what does: what is new there may do anything.
const AUTHORITIES: [&str; 3] = ["iam", "secretsmanager", "sts"];

/// What is asked, not yet understood.
struct Ask<'a> {
    view: View<'a>,
    aws: &'a Aws,
    at: Endpoint<'a>,
}

/// Its calls, and whether the body must be read to know them all.
struct Said {
    calls: Calls,
    needs_body: bool,
}

/// The classifier of hosts with `protocol: aws`.
pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let Some(aws) = &view.at.service.tables.aws else { return Ok(None) };
    let Some(at) = Endpoint::of(view.request.origin().host.as_str()) else {
        return unlisted(view, aws).map(|calls| Some(found(Said { calls, needs_body: false })));
    };
    let ask = Ask { view, aws, at };
    let said = match at.service {
        "s3" => s3::said(&ask),
        "lambda" => placed::said(&ask),
        _ => named::said(&ask),
    };
    match said {
        Ok(said) => Ok(Some(found(said))),
        // The most that it could be.
        Err(Fault::Unknown(Unknown::NotRead)) => {
            unlisted(view, aws).map(|calls| Some(found(Said { calls, needs_body: true })))
        }
        Err(fault) => Err(fault.refusal("AWS", HINT)),
    }
}

fn found(said: Said) -> Found {
    Found { calls: said.calls, needs_body: said.needs_body, reads_front: false, hands_out: false }
}

/// Two calls, so that a denial of any effect finds the first, and no effect permits the second.
fn unlisted(view: View<'_>, aws: &Aws) -> Result<Calls, Refusal> {
    let action = view.at.service.tables.actions.get(aws.unlisted as usize);
    let action = action.ok_or_else(|| super::refuse("Request is malformed: its service is not whole"))?;
    let path = endpoint(view.request.path(), 0);
    let resource = Resource::new(&format!("resource:{}{path}", view.request.origin().host.as_str()));
    let one = |effects| Call {
        action: action.id.clone(),
        class: Class::Admin,
        effects,
        resource: resource.clone(),
        facts: Facts::default(),
    };
    Ok(Calls::from_iter([one(Effects::EVERY), one(Effects::NONE)]))
}

impl Ask<'_> {
    fn unlisted(&self) -> Result<Said, Fault> {
        let calls = unlisted(self.view, self.aws).map_err(Fault::Refused)?;
        Ok(Said { calls, needs_body: false })
    }

    /// One call of an action of the table.
    fn call(&self, operation: &AwsOperation, resource: &str) -> Result<Call, Fault> {
        let action = self.view.at.service.tables.actions.get(operation.action as usize);
        let action = action.ok_or("its service is not whole")?;
        let (id, class, effects) = (action.id.clone(), action.class, action.effects);
        Ok(Call { action: id, class, effects, resource: Resource::new(resource), facts: Facts::default() })
    }

    /// The same by the action's name.
    fn call_of(&self, action: &str, resource: &str) -> Result<Call, Fault> {
        let action = self.view.at.service.action(action).ok_or("its service is not whole")?;
        let (id, class, effects) = (action.id.clone(), action.class, action.effects);
        Ok(Call { action: id, class, effects, resource: Resource::new(resource), facts: Facts::default() })
    }

    /// A call of an operation that is newer than the table: itself by name, of a class by its verb.
    fn new_call(&self, operation: &str, resource: &str) -> Result<Option<Call>, Fault> {
        if AUTHORITIES.contains(&self.at.service) {
            return Ok(None);
        }
        let begins = |verbs: &[&str]| verbs.iter().any(|verb| operation.starts_with(verb));
        let class = if begins(&["Get", "List", "Describe"]) {
            Class::Read
        } else if begins(&["Delete"]) {
            Class::Delete
        } else {
            Class::Write
        };
        let action = ActionId::new(&format!("{}:{operation}", self.at.service)).map_err(|_| "its operation is none")?;
        let (effects, facts) = (Effects::NONE, Facts::default());
        Ok(Some(Call { action, class, effects, resource: Resource::new(resource), facts }))
    }
}

/// Adds a call where there is room; the same one is not said twice.
fn push(calls: &mut Calls, call: Call) -> Result<(), Fault> {
    if calls.contains(&call) {
        return Ok(());
    }
    if calls.len() >= CALLS_MAX {
        return Err(Fault::TooMany);
    }
    calls.push(call);
    Ok(())
}
