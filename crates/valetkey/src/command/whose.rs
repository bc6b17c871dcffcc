//! `whose`: which agent, session and credential a placeholder belongs to. Only digests of placeholders are kept.

use model::Digest;
use serde_json::json;

use super::local::Local;
use super::usage;
use crate::config::Ambient;
use crate::output;

/// Whose a placeholder is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The placeholder, whole
    placeholder: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let text = self.placeholder.trim();
        if text.is_empty() {
            return Err(usage("the placeholder is empty; give it whole, as it was found"));
        }
        let local = Local::open(ambient).await?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let digest = Digest(digest.as_ref().try_into()?);
        let Some(row) = local.store.placeholders().find(&local.tenant, &digest).await? else {
            output::remark(
                "no placeholder of this home; check that it is whole (a real credential is not looked up here)",
            );
            return Ok(false);
        };
        let session = local.store.sessions().get(&local.tenant, row.session).await?;
        let ended = session.as_ref().and_then(|session| session.ended);
        if self.json {
            output::json(&json!({
                "agent": row.agent,
                "session": row.session,
                "credential": row.credential,
                "service": row.service,
                "issued": row.issued,
                "ended": ended,
            }))?;
        } else {
            let ended = ended.map_or_else(|| "not ended".to_owned(), |at| format!("ended {at}"));
            output::line(&format!(
                "{} of {}, session {}, issued {}, {ended}",
                row.credential, row.agent, row.session, row.issued
            ));
        }
        Ok(true)
    }
}
