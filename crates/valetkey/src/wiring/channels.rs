//! The channels of `serve`: operators who look, and the webhooks of the configuration with their secrets.

use std::sync::Arc;

use anyhow::Context;
use approval::{Channel, Desk, Inbox, Keys, Used, Webhook};
use model::CredentialName;
use parking_lot::Mutex;
use policy::Upkeep;
use policy::document::Receiver;
use proxy::Gateway;
use vault::Reference;

use super::courier::{Post, Serves};
use super::open::Opened;

/// One webhook of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The channel's name.
    pub name: String,
    /// Where messages go.
    pub receiver: Receiver,
    /// Where its secrets live.
    pub secrets: Vec<Reference>,
}

/// Makes channels, at the start and whenever the configuration changes.
pub struct Channels {
    opened: Arc<Opened>,
    gateway: Serves,
    /// Ids of answers, over changes of the configuration too.
    used: Arc<Used>,
    /// Whether an operator may approve.
    answerable: bool,
    made: Mutex<Vec<Made>>,
}

/// A webhook that was made.
#[derive(Clone)]
struct Made {
    hook: Hook,
    keys: Arc<Keys>,
    channel: Arc<dyn Channel>,
}

impl Channels {
    /// None yet. `answerable`: an operator of the configuration may say yes.
    pub fn new(opened: &Arc<Opened>, answerable: bool) -> Self {
        let (gateway, used, made) = (Serves::default(), Arc::default(), Mutex::default());
        Self { opened: Arc::clone(opened), gateway, used, answerable, made }
    }

    /// Messages leave by this gateway.
    pub fn serve(&self, gateway: &Arc<Gateway>) {
        // Set once, by the one gateway of the process.
        let _ = self.gateway.set(Arc::downgrade(gateway));
    }

    /// The channels of a configuration. A webhook that stands there as before goes on, with what it knows of its receiver.
    ///
    /// # Errors
    /// A secret is not there, or none; two webhooks have the same one, so that an answer to one would count at the other.
    pub async fn of(&self, hooks: &[Hook]) -> anyhow::Result<Vec<Arc<dyn Channel>>> {
        let mut all: Vec<Made> = Vec::with_capacity(hooks.len());
        for hook in hooks {
            let known = self.made.lock().iter().find(|known| known.hook == *hook).cloned();
            let made = match known {
                Some(made) => made,
                None => self.webhook(hook).await.with_context(|| format!("webhook `{}`", hook.name))?,
            };
            if let Some(other) = all.iter().find(|other| other.keys.share(&made.keys)) {
                let (one, two) = (&other.hook.name, &hook.name);
                anyhow::bail!(
                    "webhooks `{one}` and `{two}` have the same secret; give each its own, or an answer to one counts at the other"
                );
            }
            all.push(made);
        }
        let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
        // An operator's own token answers, by whichever door; the home's socket alone is no channel: the agent may be its peer.
        if self.answerable {
            channels.push(Arc::new(Desk));
        }
        channels.extend(all.iter().map(|made| Arc::clone(&made.channel)));
        *self.made.lock() = all;
        Ok(channels)
    }

    async fn webhook(&self, hook: &Hook) -> anyhow::Result<Made> {
        let Opened { vault, clock, random, tenant, .. } = &*self.opened;
        let upkeep = Upkeep::of(tenant.clone(), "messages to webhooks");
        let name = CredentialName::new(&hook.name)?;
        let mut keys = Keys::default();
        for reference in &hook.secrets {
            let mut added = Ok(());
            vault.with_own(&upkeep, (&name, reference), &mut |secret| added = keys.add(secret)).await?;
            added.with_context(|| format!("`{reference}`"))?;
        }
        let keys = Arc::new(keys);
        let inbox = Inbox::new(&hook.name, Arc::clone(&keys), Arc::clone(&self.used), Arc::clone(clock));
        let courier = Arc::new(Post::new(hook.receiver.clone(), &self.gateway)?);
        let signing = (hook.name.as_str(), Arc::clone(&keys));
        let channel = Webhook::new(signing, courier, inbox, Arc::clone(clock), Arc::clone(random));
        Ok(Made { hook: hook.clone(), keys, channel: Arc::new(channel) })
    }
}
