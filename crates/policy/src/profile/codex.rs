//! Codex: the OpenAI API, and ChatGPT for subscriptions.

use super::{Profile, Reach};

pub(super) const PROFILE: Profile = Profile {
    name: "codex",
    hosts: &["api.openai.com", "auth.openai.com", "chatgpt.com"],
    services: &["openai"],
    state_folders: &[".codex"],
    reach: Reach::Use,
};
