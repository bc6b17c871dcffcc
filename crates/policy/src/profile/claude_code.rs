//! Claude Code: the Anthropic API and the log-in of subscriptions.

use super::{Profile, Reach, file, folder};

pub(super) const PROFILE: Profile = Profile {
    name: "claude-code",
    hosts: &["api.anthropic.com", "console.anthropic.com", "platform.claude.com", "claude.ai"],
    services: &["anthropic"],
    state: &[folder(".claude", "claude"), file(".claude.json")],
    reach: Reach::Use,
};
