//! Cursor's agent.

use super::{Profile, Reach};

pub(super) const PROFILE: Profile = Profile {
    name: "cursor",
    hosts: &["cursor.com", "www.cursor.com", "*.cursor.sh"],
    services: &[],
    state_folders: &[".cursor", ".config/cursor"],
    reach: Reach::Use,
};
