//! What surrounds the process, taken once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use model::Random;

use super::private::TemporaryFolder;

/// A snapshot of the environment and of the current folder.
///
/// The whole environment is in it because the agent's is made from it; what we read of it for ourselves is HOME, XDG_*,
/// VALETKEY_*, NO_COLOR, TERM, PATH, proxy variables, what `env:` references name and the hints of service files. It has no
/// `Debug`: it holds values.
#[derive(Clone)]
pub struct Ambient {
    vars: Arc<BTreeMap<OsString, OsString>>,
    /// Values that the discovery read from files, under names that no variable can have (`found/1`).
    extra: Arc<BTreeMap<String, OsString>>,
    folder: PathBuf,
    program: Option<PathBuf>,
    home: Option<PathBuf>,
    withheld: Arc<BTreeSet<OsString>>,
}

impl Ambient {
    /// Of this process.
    ///
    /// # Errors
    /// The current folder is gone.
    pub fn of_process() -> anyhow::Result<Self> {
        let folder = std::env::current_dir().context("the current folder cannot be used; change to one that exists")?;
        let ambient = Self::of(std::env::vars_os(), folder);
        Ok(Self { program: std::env::current_exe().ok().or_else(|| ambient.program_as_called()), ..ambient })
    }

    /// Of these variables, in this folder.
    pub fn of(vars: impl IntoIterator<Item = (OsString, OsString)>, folder: PathBuf) -> Self {
        Self {
            vars: Arc::new(vars.into_iter().collect()),
            extra: Arc::default(),
            folder,
            program: None,
            home: None,
            withheld: Arc::default(),
        }
    }

    /// This program's file by the name that it was called by, where the system does not say (some give `/proc/self/exe` to
    /// root alone): a path, or a name that is searched as a shell does.
    fn program_as_called(&self) -> Option<PathBuf> {
        let name = PathBuf::from(std::env::args_os().next()?);
        let called = if name.components().count() > 1 {
            self.folder.join(name)
        } else {
            let path = self.var_os("PATH")?;
            std::env::split_paths(path).map(|folder| folder.join(&name)).find(|file| file.is_file())?
        };
        called.is_file().then_some(called)
    }

    /// The same with another home of ours: state of a demonstration is thrown away.
    #[must_use]
    pub fn at_home(&self, home: &Path) -> Self {
        Self { home: Some(home.to_owned()), ..self.clone() }
    }

    /// The same without any variable but where our state lies: what stands in an environment made from it is ours alone.
    #[must_use]
    pub fn without_variables(&self) -> Self {
        Self { home: self.home.clone().or_else(|| self.state_folder().ok()), vars: Arc::default(), ..self.clone() }
    }

    /// The same with one variable set otherwise.
    #[must_use]
    pub fn with_var(&self, name: &str, value: &OsStr) -> Self {
        let mut vars = BTreeMap::clone(&self.vars);
        vars.insert(name.into(), value.to_owned());
        Self { vars: Arc::new(vars), ..self.clone() }
    }

    /// The same with what a discovery found: the vault can read its values, the agent gets none of its variables.
    #[must_use]
    pub(super) fn having(&self, extra: BTreeMap<String, OsString>, withheld: BTreeSet<OsString>) -> Self {
        Self { extra: Arc::new(extra), withheld: Arc::new(withheld), ..self.clone() }
    }

    /// The same without these variables for the agent.
    #[must_use]
    pub fn withholding(&self, more: impl Iterator<Item = OsString>) -> Self {
        let withheld = self.withheld.iter().cloned().chain(more).collect();
        Self { withheld: Arc::new(withheld), ..self.clone() }
    }

    /// A variable that is set, not empty, and text.
    pub fn var(&self, name: &str) -> Option<String> {
        self.var_os(name)?.to_str().map(str::to_owned)
    }

    /// A variable that is set and not empty.
    pub fn var_os(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// All variables.
    pub fn vars(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Whether the agent must not get this variable as it is.
    pub(super) fn is_withheld(&self, name: &OsStr) -> bool {
        self.withheld.contains(name)
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a program lies on the PATH.
    pub fn on_path(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let runs = |file: &PathBuf| {
            std::fs::metadata(file).is_ok_and(|state| state.is_file() && state.permissions().mode() & 0o111 != 0)
        };
        let folders = std::env::split_paths(self.var_os("PATH")?);
        folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(runs)
    }

    /// This machine's name.
    pub fn host_name() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// The user's home folder.
    pub fn user_home(&self) -> Option<PathBuf> {
        self.var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Where our state lives: `$VALETKEY_HOME`, else the platform's data folder.
    ///
    /// # Errors
    /// Neither that nor HOME is set.
    pub fn state_folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        if let Some(home) = self.var_os("VALETKEY_HOME") {
            return Ok(self.folder.join(home));
        }
        if let Some(data) = self.var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
            return Ok(data.join("valetkey"));
        }
        let user = self
            .user_home()
            .context("neither VALETKEY_HOME nor HOME is set; set VALETKEY_HOME to a folder of yours")?;
        let data = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
        Ok(user.join(data).join("valetkey"))
    }

    /// What the vault's back ends may look up, relative paths starting from `base`.
    pub fn for_vault_at(&self, base: &Path) -> vault::Ambient {
        let (vars, extra) = (Arc::clone(&self.vars), Arc::clone(&self.extra));
        vault::Ambient::new(base.to_owned(), move |name| {
            extra.get(name).or_else(|| vars.get(OsStr::new(name)).filter(|value| !value.is_empty())).cloned()
        })
    }

    /// What the vault's back ends may look up, relative paths starting from the current folder.
    pub fn for_vault(&self) -> vault::Ambient {
        self.for_vault_at(&self.folder)
    }

    /// This program's file, to start it again.
    ///
    /// # Errors
    /// The system does not say.
    pub fn own_program(&self) -> anyhow::Result<PathBuf> {
        self.program.clone().context("the system does not say where this program is; start it by its path")
    }

    /// A private folder that is removed when dropped.
    ///
    /// # Errors
    /// No folder for temporary files can be written.
    pub fn temporary_folder(&self, prefix: &str, random: &dyn Random) -> anyhow::Result<TemporaryFolder> {
        let parent = self.var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        TemporaryFolder::make(&parent, prefix, random)
    }

    /// Whether colour is welcome on a terminal (<https://no-color.org>; `TERM=dumb` has none).
    pub fn wants_colour(&self) -> bool {
        self.var_os("NO_COLOR").is_none() && self.var("TERM").is_some_and(|term| term != "dumb")
    }
}
