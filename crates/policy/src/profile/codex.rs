//! Codex: the OpenAI API, and ChatGPT for subscriptions.

use super::{Profile, Reach, folder};

pub(super) const PROFILE: Profile = Profile {
    name: "codex",
    hosts: &["api.openai.com", "auth.openai.com", "chatgpt.com"],
    services: &["openai"],
    state: &[folder(".codex", "codex")],
    reach: Reach::Use,
};
