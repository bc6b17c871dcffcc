//! `demo`: the main job end to end. The play is in `wiring`.

use crate::config::Ambient;

/// The main job end to end on this machine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play the agent (how the demo starts its second half)
    #[arg(long, hide = true)]
    agent: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        if self.agent {
            return crate::wiring::demo_agent(ambient).await.map(|()| true);
        }
        crate::wiring::demo(ambient).await
    }
}
