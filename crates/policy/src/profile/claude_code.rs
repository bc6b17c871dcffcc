//! Claude Code: the Anthropic API and the log-in of subscriptions.

use super::{Profile, Reach};

pub(super) const PROFILE: Profile = Profile {
    name: "claude-code",
    hosts: &["api.anthropic.com", "console.anthropic.com", "platform.claude.com", "claude.ai"],
    services: &["anthropic"],
    state_folders: &[".claude", ".claude.json"],
    reach: Reach::Use,
};
