//! The hook that looks at what is about to be committed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::git;

const HOOK: &str = "#!/bin/sh
# Made by `valetkey scan --install-hook`: refuses a commit that would expose a secret.
exec valetkey scan --staged
";

/// Writes the hook of the repository; where it is.
///
/// # Errors
/// It is no repository, there is another hook already, or the folder cannot be written.
pub fn install_hook(folder: &Path) -> anyhow::Result<PathBuf> {
    let hooks = folder.join(git::hooks(folder)?);
    let path = hooks.join("pre-commit");
    if let Ok(there) = fs::read_to_string(&path) {
        if there.contains("valetkey scan --staged") {
            return Ok(path);
        }
        bail!("there is a hook `{}` already; add the line `valetkey scan --staged || exit 1` to it", path.display());
    }
    fs::create_dir_all(&hooks)
        .and_then(|()| fs::write(&path, HOOK))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("the hook `{}` cannot be written; check its folder's permissions", path.display()))?;
    Ok(path)
}
