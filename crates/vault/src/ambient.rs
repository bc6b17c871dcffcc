//! What surrounds the process, handed in by the wiring: nothing here reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Vars = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Variables and the folder that relative paths start from.
#[derive(Clone)]
pub struct Ambient {
    vars: Arc<Vars>,
    base: PathBuf,
}

impl Ambient {
    /// `base` is the folder of the configuration file; `vars` looks a variable up.
    pub fn new(base: PathBuf, vars: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self { vars: Arc::new(vars), base }
    }

    /// No variables.
    #[must_use]
    pub fn empty(base: PathBuf) -> Self {
        Self::new(base, |_| None)
    }

    pub(crate) fn var(&self, name: &str) -> Option<OsString> {
        (self.vars)(name)
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The program of this name on `PATH`; looked up without running it.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let path = self.var("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
    }
}
