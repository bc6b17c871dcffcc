//! `hashicorp`: a secret id of an AppRole of HashiCorp Vault or OpenBao for each value (developer.hashicorp.com/vault/api-docs/auth/approle). An entry
//! of `backends:` makes and destroys them; a new one is tried by logging in with it.
//!
//! The ticket is in the metadata of what is made for it, so what an interrupted `make` left behind is found and destroyed.

use std::any::Any;
use std::sync::Arc;

use http::{HeaderName, Method};
use policy::document::ByHashicorp;
use secret::Secret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Around, Looked, RotateError, Rotator, Turn};
use crate::Pending;
use crate::backend::{Hashicorp, Tree, body};
use crate::far::{Ask, Reply, encoded, secret_field};
use crate::instance::Instance;

/// Secret ids of one role that are looked through.
const IDS_MAX: usize = 64;
/// The member of the metadata that holds the ticket.
const TICKET: &str = "valetkey_ticket";

pub(super) struct AppRole {
    word: String,
    /// Path of the role.
    role: String,
    mount: String,
    around: Around,
}

impl AppRole {
    pub fn new(by: &ByHashicorp, around: Around) -> Self {
        let mount = by.mount.as_ref().map_or("approle", |mount| mount.value.as_str());
        let mount = mount.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let role = format!("/v1/auth/{mount}/role/{}", encoded(&by.role.value));
        let word = by.backend.as_ref().map_or("hashicorp", |word| word.value.as_str()).to_owned();
        Self { word, role, mount, around }
    }

    fn instance(&self) -> Result<Arc<Instance>, RotateError> {
        self.around.instance(&self.word).ok_or_else(|| refused(format!("back end `{}` is not described", self.word)))
    }

    async fn ask(&self, make: &(dyn Fn() -> Ask + Sync)) -> Result<Reply, RotateError> {
        let instance = self.instance()?;
        Ok(vault(&instance)?.ask_known(make, self.around.now()).await?)
    }

    /// Asks, and takes an answer of 200 or 204.
    async fn told(&self, path: &str, members: &[(&str, &[u8])]) -> Result<Tree, RotateError> {
        let target = format!("{}{path}", self.role);
        let body = body(members).map_err(|why| refused(why.to_owned()))?;
        let reply = self.ask(&|| Ask::post(target.clone(), body.clone())).await?;
        match reply.status {
            200 => tree(&reply),
            204 => Ok(Tree::default()),
            status => Err(failed(&target, status)),
        }
    }

    /// Destroys what was made for this ticket and got lost.
    async fn tidy(&self, ticket: &str) -> Result<(), RotateError> {
        let target = format!("{}/secret-id?list=true", self.role);
        let reply = self.ask(&|| Ask::get(target.clone())).await?;
        let listed = match reply.status {
            200 => tree(&reply)?,
            404 => return Ok(()),
            status => return Err(failed(&target, status)),
        };
        let keys = listed.0.pointer("/data/keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if keys.len() > IDS_MAX {
            return Err(refused(format!(
                "the role has more than {IDS_MAX} secret ids; destroy those that nobody needs"
            )));
        }
        for accessor in keys.iter().filter_map(Value::as_str) {
            let named = [("secret_id_accessor", accessor.as_bytes())];
            let Ok(known) = self.told("/secret-id-accessor/lookup", &named).await else { continue };
            let made_for = known.0.pointer("/data/metadata").and_then(|metadata| metadata.get(TICKET));
            if made_for.and_then(Value::as_str) == Some(ticket) {
                self.told("/secret-id-accessor/destroy", &named).await?;
            }
        }
        Ok(())
    }

    async fn make_one(&self, ticket: &str) -> Result<Secret, RotateError> {
        self.tidy(ticket).await?;
        let metadata = json!({ TICKET: ticket }).to_string();
        let made = self.told("/secret-id", &[("metadata", metadata.as_bytes())]).await?;
        let id = made.0.pointer("/data/secret_id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| RotateError::Away("Vault gives no secret id".to_owned()))?;
        Ok(Secret::new(id.as_bytes().to_vec()))
    }

    /// Logs in, and out again.
    async fn log_in(&self, made: &Secret) -> Result<Looked, RotateError> {
        let target = format!("{}/role-id", self.role);
        let reply = self.ask(&|| Ask::get(target.clone())).await?;
        if reply.status != 200 {
            return Err(failed(&target, reply.status));
        }
        let role = tree(&reply)?;
        let role = role.0.pointer("/data/role_id").and_then(Value::as_str).unwrap_or_default();
        let known = body(&[("role_id", role.as_bytes()), ("secret_id", made.expose())]);
        let known = known.map_err(|why| refused(why.to_owned()))?;
        let instance = self.instance()?;
        let vault = vault(&instance)?;
        let reply = vault.ask_bare(Ask::post(format!("/v1/auth/{}/login", self.mount), known)).await?;
        match reply.status {
            200 => {}
            400 | 403 => {
                return Err(refused(format!("Vault does not take the new secret id (status {})", reply.status)));
            }
            status => return Err(RotateError::Away(format!("the log-in is answered with status {status}"))),
        }
        let token = tree(&reply)?;
        if let Some(token) = token.0.pointer("/auth/client_token").and_then(Value::as_str) {
            let token = secret_field(Zeroizing::new(token.as_bytes().to_vec()))?;
            let leave = Ask { method: Method::POST, ..Ask::get("/v1/auth/token/revoke-self") };
            if vault.ask_bare(leave.with(HeaderName::from_static("x-vault-token"), token)).await.is_err() {
                tracing::warn!("the token of a log-in that was tried could not be revoked; it ends by itself");
            }
        }
        Ok(Looked::Works)
    }
}

fn vault(instance: &Instance) -> Result<&Hashicorp, RotateError> {
    let any: &dyn Any = &*instance.backend;
    any.downcast_ref().ok_or_else(|| refused("the back end is no Vault".to_owned()))
}

fn refused(why: String) -> RotateError {
    RotateError::Refused(why)
}

fn tree(reply: &Reply) -> Result<Tree, RotateError> {
    serde_json::from_slice(&reply.body).map_err(|_| refused("it does not answer as Vault does".to_owned()))
}

fn failed(target: &str, status: u16) -> RotateError {
    let path = target.split('?').next().unwrap_or(target);
    match status {
        403 => refused(format!("Vault does not let us use `{path}`; allow it in the policy of our log-in")),
        404 => refused(format!("Vault has nothing at `{path}`; check `role` and `mount`")),
        429 | 500.. => RotateError::Away(format!("Vault answers {status} at `{path}`")),
        _ => refused(format!("Vault answers {status} at `{path}`")),
    }
}

impl Rotator for AppRole {
    fn name(&self) -> &'static str {
        "hashicorp"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        Box::pin(self.make_one(turn.ticket()))
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            match turn.made() {
                Some((_, made)) => self.log_in(made).await,
                None => Ok(Looked::Unable),
            }
        })
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        // One that is not known (any more) is answered as one that was destroyed.
        Box::pin(
            async move { self.told("/secret-id/destroy", &[("secret_id", turn.old().1.expose())]).await.map(drop) },
        )
    }
}
