//! Folders in which isolated agents were at work, and which configurations there were kept from them.
//!
//! `valetkey.yaml` is found by its name alone. In a folder that an agent may write it could be the agent's: rules that it would
//! like to be under, for the next run. So each run writes down its folders and what it kept read-only in them, and a
//! configuration below such a folder that was not kept in every run is used only once a person has named it (`--config`).
//! (Rejected: to take it away at the end of a run, since it may be the user's own, and a run that is killed has no end.)

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use aws_lc_rs::digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Ambient;
use super::private::{create_private, read_bounded, write_private};
use super::sources::DEFAULT;

/// A configuration was found by its name alone where an agent could have written it.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` is not used by its name alone: agents were at work in `{}`, and one of them may have written it; read it, then name it in \
     one run: `valetkey run --config {} ...`",
    path.display(),
    folder.display(),
    path.display()
)]
pub struct Planted {
    path: PathBuf,
    folder: PathBuf,
}

/// Where records lie in our state.
const FOLDER: &str = "grounds";
/// One folder and the few configurations in it.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Files that are remembered of one folder, and octets of their paths, of which JSON may make six times as many: no agent
/// can make so many files that the record cannot be read any more.
const MASKED_MAX: usize = 1_000;
const MASKED_BYTES_MAX: usize = RECORD_BYTES_MAX / 8;

/// What is written down of a folder.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// For whoever looks.
    folder: PathBuf,
    /// Configurations that no agent could write.
    kept: BTreeSet<PathBuf>,
    /// Files that were masked: an agent could hide them from a search by what it puts around them.
    #[serde(default)]
    masked: BTreeSet<PathBuf>,
}

/// An agent is at work in these folders for as long as this lives.
#[derive(Debug)]
pub struct Grounds {
    state: PathBuf,
    _at_work: Vec<File>,
}

/// The records, while nobody else changes any.
struct Ledger<'a> {
    state: &'a Path,
    _turn: File,
}

/// The configurations that are found by their name in these folders, as they exist.
pub fn found_by_name(folders: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    folders.iter().map(|folder| folder.join(DEFAULT)).filter(|path| path.exists())
}

/// Refuses a configuration that was found by its name alone where an agent could have written it.
///
/// # Errors
/// It could.
pub(super) fn refuse_planted(ambient: &Ambient, path: &Path) -> anyhow::Result<()> {
    // Where our state has no place nothing was ever written down.
    let Ok(state) = ambient.state_folder() else { return Ok(()) };
    let path = real(path)?;
    for folder in path.ancestors().skip(1) {
        let Some(record) = read(&state, folder)? else { continue };
        if !record.kept.contains(&path) {
            return Err(Planted { folder: folder.to_owned(), path }.into());
        }
    }
    Ok(())
}

/// Writes down that an agent goes to work in these folders, that these configurations are kept from it, and which of them a
/// person has named.
///
/// # Errors
/// A configuration was named that another agent which is at work can write; our own state cannot be written.
pub fn enter(
    ambient: &Ambient,
    folders: &[PathBuf],
    kept: &[PathBuf],
    named: Option<&Path>,
) -> anyhow::Result<Grounds> {
    let state = ambient.state_folder()?;
    let named = named.map(|path| real(&ambient.folder().join(path))).transpose()?;
    // A link is the agent's to change, whatever it leads to: what is found by it is never taken for kept.
    let is_link = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let kept: BTreeSet<PathBuf> =
        kept.iter().filter_map(|path| real(path).ok()).filter(|path| !is_link(path)).collect();
    let folders: BTreeSet<PathBuf> = folders.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let ledger = Ledger::open(&state)?;
    let mut at_work = Vec::new();
    for folder in &folders {
        let before = read(&state, folder)?;
        let (lock, alone) = ledger.lock(folder)?;
        at_work.push(lock);
        let was_kept = |path: &PathBuf| before.as_ref().is_none_or(|record| record.kept.contains(path));
        let own = named.as_ref().filter(|path| kept.contains(*path) && !was_kept(path));
        refuse_shared(own, folder, alone)?;
        let in_it = kept.iter().filter(|path| path.starts_with(folder));
        let still = in_it.filter(|path| was_kept(path) || own == Some(*path)).cloned().collect();
        let masked = before.as_ref().map(|record| record.masked.clone()).unwrap_or_default();
        ledger.write(&Record { folder: folder.clone(), kept: still, masked })?;
    }
    // What is named here is looked at for the folders around it, too, in which agents were at work before.
    if let Some(path) = named.filter(|path| kept.contains(path)) {
        for folder in path.ancestors().skip(1).filter(|folder| !folders.contains(*folder)) {
            let Some(mut record) = read(&state, folder)?.filter(|record| !record.kept.contains(&path)) else {
                continue;
            };
            let (_lock, alone) = ledger.lock(folder)?;
            refuse_shared(Some(&path), folder, alone)?;
            record.kept.insert(path.clone());
            ledger.write(&record)?;
        }
    }
    drop(ledger);
    Ok(Grounds { state, _at_work: at_work })
}

/// What is on record of these folders: configurations that were kept in every run, and files that were masked.
///
/// # Errors
/// A record is broken.
pub fn before(ambient: &Ambient, folders: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let state = ambient.state_folder()?;
    let (mut kept, mut masked) = (Vec::new(), Vec::new());
    for folder in folders.iter().filter_map(|path| path.canonicalize().ok()) {
        if let Some(record) = read(&state, &folder)? {
            kept.extend(record.kept);
            masked.extend(record.masked);
        }
    }
    Ok((kept, masked))
}

impl Grounds {
    /// Remembers which files were masked in these of its folders.
    ///
    /// # Errors
    /// Our own state cannot be written.
    pub fn remember(&self, folders: &[PathBuf], masked: &[&Path]) -> anyhow::Result<()> {
        let ledger = Ledger::open(&self.state)?;
        for folder in folders.iter().filter_map(|path| path.canonicalize().ok()).collect::<BTreeSet<_>>() {
            let Some(mut record) = read(&self.state, &folder)? else { continue };
            // git's own files are found by their places, and may be asked for another time.
            let is_of_git = |path: &Path| path.components().any(|part| part.as_os_str() == ".git");
            let here = masked.iter().filter(|path| path.starts_with(&folder) && !is_of_git(path));
            // What was remembered before comes first, or an agent could push it out.
            let still = record.masked.iter().map(PathBuf::as_path).filter(|path| path.exists());
            let mut bytes = 0;
            let mut after = BTreeSet::new();
            for path in still.chain(here.copied()) {
                if after.contains(path) {
                    continue;
                }
                bytes += path.as_os_str().len();
                if bytes > MASKED_BYTES_MAX || after.len() == MASKED_MAX {
                    break;
                }
                after.insert(path.to_owned());
            }
            if record.masked != after {
                record.masked = after;
                ledger.write(&record)?;
            }
        }
        Ok(())
    }
}

impl<'a> Ledger<'a> {
    /// Waits for whoever changes a record.
    fn open(state: &'a Path) -> anyhow::Result<Self> {
        let place = state.join(FOLDER);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
        made.with_context(|| format!("`{}` cannot be made; check space and permissions", place.display()))?;
        let turn = create_private(&place.join("turn.lock"))?;
        flock(&turn, FlockOperation::LockExclusive)?;
        Ok(Self { state, _turn: turn })
    }

    /// Takes part in a folder's lock; whether nobody else does.
    fn lock(&self, folder: &Path) -> anyhow::Result<(File, bool)> {
        let lock = create_private(&file(self.state, folder, "lock"))?;
        let alone = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        flock(&lock, FlockOperation::LockShared)?;
        Ok((lock, alone))
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        write_private(&file(self.state, &record.folder, "json"), &serde_json::to_vec_pretty(record)?)
    }
}

fn refuse_shared(newly_named: Option<&PathBuf>, folder: &Path, alone: bool) -> anyhow::Result<()> {
    if let Some(path) = newly_named.filter(|_| !alone) {
        bail!(
            "`{}` can be written by an agent that is at work in `{}` and was started without it; end that one first",
            path.display(),
            folder.display()
        );
    }
    Ok(())
}

fn read(state: &Path, folder: &Path) -> anyhow::Result<Option<Record>> {
    let path = file(state, folder, "json");
    let Some(bytes) = read_bounded(&path, RECORD_BYTES_MAX)? else { return Ok(None) };
    let record = serde_json::from_slice(&bytes);
    record
        .map(Some)
        .with_context(|| format!("`{}` is broken; remove it, and look at valetkey.yaml first", path.display()))
}

fn file(state: &Path, folder: &Path, extension: &str) -> PathBuf {
    let hash = digest::digest(&digest::SHA256, folder.as_os_str().as_bytes());
    let half = hash.as_ref().first_chunk().map_or(0, |octets| u128::from_be_bytes(*octets));
    state.join(FOLDER).join(format!("{half:032x}.{extension}"))
}

/// The folder without links; the name in it as it is, since a link there is the agent's to make.
fn real(path: &Path) -> io::Result<PathBuf> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let (parent, name) = (path.parent().ok_or_else(missing)?, path.file_name().ok_or_else(missing)?);
    Ok(parent.canonicalize()?.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Project {
        _root: tempfile::TempDir,
        ambient: Ambient,
        folder: PathBuf,
        file: PathBuf,
    }

    fn project() -> Project {
        let root = tempfile::tempdir().expect("folder");
        let folder = root.path().canonicalize().expect("real").join("project");
        std::fs::create_dir_all(folder.join("sub")).expect("made");
        let ambient = Ambient::of([], folder.clone()).at_home(&root.path().join("state"));
        Project { _root: root, ambient, file: folder.join(DEFAULT), folder }
    }

    fn run(project: &Project, kept: &[PathBuf], named: Option<&str>) -> anyhow::Result<Grounds> {
        enter(&project.ambient, std::slice::from_ref(&project.folder), kept, named.map(Path::new))
    }

    #[test]
    fn what_an_agent_could_write_must_be_named_once() {
        let project = project();
        refuse_planted(&project.ambient, &project.file).expect("nobody was here");
        run(&project, &[], None).expect("a run");
        std::fs::write(&project.file, "version: 1\n").expect("written");
        let kept = [project.file.clone()];
        let error = refuse_planted(&project.ambient, &project.file).expect_err("planted").to_string();
        assert!(error.contains("name it in one run"), "{error}");
        run(&project, &kept, None).expect("another configuration was named");
        refuse_planted(&project.ambient, &project.file).expect_err("still nobody has looked at it");
        run(&project, &kept, Some(DEFAULT)).expect("named");
        refuse_planted(&project.ambient, &project.file).expect("it was looked at");
        std::fs::write(&project.file, "version: 1\negress: closed\n").expect("the user's own editor");
        refuse_planted(&project.ambient, &project.file).expect("it is kept in every run");
        run(&project, &[], None).expect("one that does not keep it");
        refuse_planted(&project.ambient, &project.file).expect_err("it could be written again");
    }

    #[test]
    fn what_was_there_before_the_first_agent_is_trusted() {
        let project = project();
        let kept = [project.file.clone()];
        std::fs::write(&project.file, "version: 1\n").expect("written");
        run(&project, &kept, None).expect("a run");
        refuse_planted(&project.ambient, &project.file).expect("kept from the first");
        refuse_planted(&project.ambient, &project.folder.join("sub").join(DEFAULT)).expect_err("not this one");
    }

    #[test]
    fn what_was_named_once_is_looked_at_for_the_folders_around_it() {
        let project = project();
        let around = project.folder.parent().expect("a parent").to_owned();
        enter(&project.ambient, std::slice::from_ref(&around), &[], None).expect("a run above it");
        std::fs::write(&project.file, "version: 1\n").expect("written");
        refuse_planted(&project.ambient, &project.file).expect_err("it could be written from above");
        let kept = [project.file.clone(), project.file.clone()];
        run(&project, &kept, Some(DEFAULT)).expect("named");
        refuse_planted(&project.ambient, &project.file).expect("it was looked at");
        let above = enter(&project.ambient, &[around], &[], None).expect("a run above it, which keeps nothing");
        refuse_planted(&project.ambient, &project.file).expect_err("it could be written again");
        run(&project, &kept, Some(DEFAULT)).expect_err("that one is at work");
        drop(above);
    }

    #[test]
    fn a_link_is_never_kept() {
        let project = project();
        let elsewhere = project.folder.join("sub").join(DEFAULT);
        std::fs::write(&elsewhere, "version: 1\n").expect("written");
        std::os::unix::fs::symlink(&elsewhere, &project.file).expect("a link");
        run(&project, std::slice::from_ref(&project.file), Some(DEFAULT)).expect("named");
        refuse_planted(&project.ambient, &project.file).expect_err("it can lead elsewhere by now");
    }

    #[test]
    fn what_was_masked_is_remembered() {
        let project = project();
        let (own, other) = (project.folder.join("sub/.env"), project.folder.parent().expect("a parent").join(".env"));
        std::fs::write(&own, "A=1\n").expect("written");
        let folders = std::slice::from_ref(&project.folder);
        let at_work = run(&project, &[], None).expect("a run");
        at_work.remember(folders, &[&own, &other]).expect("remembered");
        run(&project, &[], None).expect("another");
        let remembered = || before(&project.ambient, folders).expect("read").1;
        assert_eq!(remembered(), std::slice::from_ref(&own));
        // One that is gone makes way for another.
        let later = project.folder.join(".env");
        std::fs::rename(&own, &later).expect("moved");
        at_work.remember(folders, &[&later]).expect("remembered");
        assert_eq!(remembered(), [later]);
    }

    #[test]
    fn no_number_of_files_makes_the_record_unreadable_or_pushes_one_out() {
        let project = project();
        let folders = std::slice::from_ref(&project.folder);
        let first = project.folder.join("sub/.env");
        std::fs::write(&first, "A=1\n").expect("written");
        let at_work = run(&project, &[], None).expect("a run");
        at_work.remember(folders, &[&first]).expect("remembered");
        // What JSON makes most of.
        let long = |number: usize| project.folder.join(format!("{number}{}", "\u{1}".repeat(200)));
        let many: Vec<PathBuf> = (0..3 * MASKED_MAX).map(long).collect();
        for path in &many {
            std::fs::write(path, "").expect("written");
        }
        for part in many.chunks(MASKED_MAX) {
            let part: Vec<&Path> = part.iter().map(PathBuf::as_path).collect();
            at_work.remember(folders, &part).expect("remembered");
        }
        run(&project, &[], None).expect("the record can be read");
        let (_, masked) = before(&project.ambient, folders).expect("read");
        assert!(masked.contains(&first) && masked.len() > 400 && masked.len() <= MASKED_MAX, "{}", masked.len());
    }

    #[test]
    fn runs_that_begin_at_once_forget_nothing_of_each_other() {
        let project = project();
        let kept = [project.file.clone()];
        std::fs::write(&project.file, "version: 1\n").expect("written");
        run(&project, &kept, None).expect("the first");
        std::thread::scope(|threads| {
            for number in 0..16 {
                let (project, kept) = (&project, if number == 7 { &[][..] } else { &kept[..] });
                threads.spawn(move || run(project, kept, None).expect("one of many"));
            }
        });
        refuse_planted(&project.ambient, &project.file).expect_err("one of them did not keep it");
    }

    #[test]
    fn nothing_is_named_under_the_hands_of_an_agent() {
        let project = project();
        let at_work = run(&project, &[], None).expect("a run");
        std::fs::write(&project.file, "version: 1\n").expect("written");
        let kept = [project.file.clone()];
        let error = run(&project, &kept, Some(DEFAULT)).expect_err("one is at work").to_string();
        assert!(error.contains("end that one first"), "{error}");
        drop(at_work);
        let first = run(&project, &kept, Some(DEFAULT)).expect("named");
        run(&project, &kept, Some(DEFAULT)).expect("kept by both");
        drop(first);
    }
}
