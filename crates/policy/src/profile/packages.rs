//! Package registries and mirrors, read-only.

use super::{Profile, Reach, folder};

pub(super) const PROFILE: Profile = Profile {
    name: "packages",
    hosts: &[
        "registry.npmjs.org",
        "registry.yarnpkg.com",
        "pypi.org",
        "files.pythonhosted.org",
        "crates.io",
        "index.crates.io",
        "static.crates.io",
        "proxy.golang.org",
        "sum.golang.org",
        "rubygems.org",
        "index.rubygems.org",
        "repo.maven.apache.org",
        "repo1.maven.org",
        "deb.debian.org",
        "security.debian.org",
        "deb.nodesource.com",
        "archive.ubuntu.com",
        "security.ubuntu.com",
    ],
    services: &["npm", "pypi", "crates", "debian"],
    state: &[folder(".npm", "npm"), folder(".cache/pip", "pip"), folder(".cargo/registry", "cargo")],
    reach: Reach::Read,
};
