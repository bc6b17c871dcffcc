//! Gemini CLI: the Gemini API, Code Assist and the Google log-in.

use super::{Profile, Reach, folder};

pub(super) const PROFILE: Profile = Profile {
    name: "gemini-cli",
    hosts: &[
        "generativelanguage.googleapis.com",
        "cloudcode-pa.googleapis.com",
        "oauth2.googleapis.com",
        "accounts.google.com",
    ],
    services: &[],
    state: &[folder(".gemini", "gemini")],
    reach: Reach::Use,
};
