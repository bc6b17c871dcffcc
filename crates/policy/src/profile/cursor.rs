//! Cursor's agent.

use super::{Profile, Reach, folder};

pub(super) const PROFILE: Profile = Profile {
    name: "cursor",
    hosts: &["cursor.com", "www.cursor.com", "*.cursor.sh"],
    services: &[],
    state: &[folder(".cursor", "cursor-agent"), folder(".config/cursor", "cursor-agent")],
    reach: Reach::Use,
};
