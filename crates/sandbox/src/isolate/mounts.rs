//! The files of an isolated agent. Everything is mounted on the host's own tree, in a namespace of its own: read-only first,
//! then what may be written on top, then what is not there and what is there otherwise.
//!
//! The order is the safety, and each step consumes the one before: [`Copies`] (trees that stay writable are copied before the whole
//! becomes read-only), [`Closed`], [`Opened`], [`Hidden`], [`Laid`] (masks come last, so that nothing lies over them). An agent that makes namespaces of its own gets copies whose mounts are locked to each other
//! (mount_namespaces(7)), and cannot lift a mask to look beneath.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, move_mount,
    open_tree, unmount,
};

use super::aliases::Mounts;
use super::wire::Failure;
use crate::kernel;
use crate::plan::{Access, Mask, Surroundings};

type Outcome<T = ()> = Result<T, Failure>;

/// Says what was done, for a failure.
trait During<T> {
    fn during(self, what: &str, path: &Path) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: &str, path: &Path) -> Outcome<T> {
        self.map_err(|cause| Failure::of(format!("{what} `{}`", path.display()), &cause.into()))
    }
}

/// Nodes of `/dev` that an agent has.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Folders that are the agent's own and empty.
const FRESH: [(&str, &str); 4] =
    [("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/run", "mode=755"), ("/dev/shm", "mode=1777")];
/// Parts of `/proc` that a process with the machine's own root as its user could write whatever its capabilities.
const PROC_OF_ROOT: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];
/// Where masks wait until they are bound; covered by the agent's own `/tmp` afterwards.
const STAGE: &str = "/tmp";

/// Makes the files, in the mount namespace and the process namespace of the caller.
pub(super) fn make(plan: &Surroundings, sockets: &[PathBuf]) -> Outcome<Laid> {
    Copies::take(plan)?.close(plan)?.open(plan)?.hide(plan, sockets)?.mask(plan)
}

/// Copies of what stays as it is, in a tree that no longer belongs to the host's.
struct Copies {
    writable: Vec<Kept>,
    nodes: Vec<Kept>,
}

impl Copies {
    fn take(plan: &Surroundings) -> Outcome<Self> {
        let root = Path::new("/");
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(root, flags).during("detach mounts of", root)?;
        let writable = clones(plan.writable.iter().chain(&plan.sockets));
        let nodes = clones(NODES.iter().map(|name| Path::new("/dev").join(name)).collect::<Vec<_>>().iter());
        Ok(Self { writable, nodes })
    }

    /// Makes everything read-only.
    fn close(self, plan: &Surroundings) -> Outcome<Closed<'_>> {
        let root = Path::new("/");
        kernel::make_read_only(CWD, root, true).during("make read-only", root)?;
        Ok(Closed { copies: self, masks: stage(&plan.masks)? })
    }
}

/// Nothing can be written.
struct Closed<'a> {
    copies: Copies,
    masks: Vec<Staged<'a>>,
}

impl<'a> Closed<'a> {
    /// Makes what is the agent's own, and lays on top what it may write.
    fn open(self, plan: &Surroundings) -> Outcome<Opened<'a>> {
        dev(self.copies.nodes)?;
        proc()?;
        let mounts = Mounts::read().during("read what is mounted at", Path::new("/"))?;
        for (path, options) in FRESH {
            fresh(Path::new(path), options)?;
        }
        if let Some(folder) = &plan.runtime_folder {
            runtime(folder)?;
        }
        place(self.copies.writable)?;
        pin(plan)?;
        Ok(Opened { masks: self.masks, mounts })
    }
}

/// The agent's files, with everything in them.
struct Opened<'a> {
    masks: Vec<Staged<'a>>,
    mounts: Mounts,
}

impl<'a> Opened<'a> {
    fn hide(self, plan: &Surroundings, sockets: &[PathBuf]) -> Outcome<Hidden<'a>> {
        hide_sockets(sockets, plan, &self.mounts)?;
        let emptied = hide(plan, &self.mounts)?;
        Ok(Hidden { masks: self.masks, mounts: self.mounts, emptied })
    }
}

/// What is not to be there is not there.
struct Hidden<'a> {
    masks: Vec<Staged<'a>>,
    mounts: Mounts,
    emptied: Vec<PathBuf>,
}

impl Hidden<'_> {
    fn mask(self, plan: &Surroundings) -> Outcome<Laid> {
        let mut paths = put_masks(self.masks, plan, &self.mounts)?;
        for path in plan.kept.iter().filter_map(|path| fs::canonicalize(path).ok()) {
            let tree = clone(&path).during("keep", &path)?;
            kernel::make_read_only(&tree, Path::new(""), true).during("make read-only", &path)?;
            attach(&tree, &path).during("keep", &path)?;
            paths.push(path);
        }
        for path in self.emptied {
            kernel::make_read_only(CWD, &path, false).during("make read-only", &path)?;
        }
        // A file may be masked and kept: what lies on top now is what is to lie there again.
        let spare = |path: &PathBuf| clone(path).map(|tree| (path.clone(), tree)).during("copy", path);
        Ok(Laid(paths.iter().map(spare).collect::<Outcome<_>>()?))
    }
}

/// Masks and files that are kept, as they lie: a mount falls off when the host puts another file in its place, so that each has
/// a spare copy.
pub(super) struct Laid(BTreeMap<PathBuf, OwnedFd>);

impl Laid {
    /// Where they lie.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Lays one on again where it has fallen off.
    pub(super) fn lay_again(&mut self, path: &Path) {
        if let Some(spare) = self.0.get_mut(path) {
            lay(path, spare);
        }
    }

    /// All of them, where it is not known which.
    pub(super) fn lay_all_again(&mut self) {
        for (path, spare) in &mut self.0 {
            lay(path, spare);
        }
    }
}

/// What cannot be laid again has no name any more.
fn lay(path: &Path, spare: &mut OwnedFd) {
    let identity = |found: rustix::fs::Stat| (found.st_dev, found.st_ino);
    let lies = rustix::fs::fstat(&*spare).map(identity).ok();
    if rustix::fs::lstat(path).map(identity).ok() == lies || attach(spare, path).is_err() {
        return;
    }
    if let Ok(next) = clone(path) {
        *spare = next;
    }
}

/// Hides sockets that were bound since. Those in folders that the agent has for itself are its own.
pub(super) fn hide_late_sockets(sockets: &[PathBuf], plan: &Surroundings) -> Outcome {
    let is_own =
        |path: &Path| is_fresh(path) || plan.runtime_folder.as_deref().is_some_and(|own| path.starts_with(own));
    let late: Vec<PathBuf> = sockets.iter().filter(|path| !is_own(path) && path.exists()).cloned().collect();
    if late.is_empty() {
        return Ok(());
    }
    hide_sockets(&late, plan, &Mounts::read().during("read what is mounted at", Path::new("/"))?)
}

/// `$XDG_RUNTIME_DIR` is empty wherever it is.
fn runtime(folder: &Path) -> Outcome {
    if is_fresh(folder) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).during("make", folder)
    } else if folder.is_dir() && folder.parent().is_some() {
        fresh(folder, "mode=700")
    } else {
        Ok(())
    }
}

/// Makes mounts of the folders between a masked, hidden or kept file and the writable folder it lies in. A mount cannot be renamed: so
/// nothing else comes to stand in a kept file's place, and no masked one is moved to where the next run does not look for it.
fn pin(plan: &Surroundings) -> Outcome {
    let real = |path: &PathBuf| fs::canonicalize(path).ok();
    let writable: Vec<PathBuf> = plan.writable.iter().filter_map(real).collect();
    let is_inside = |folder: &Path| writable.iter().any(|top| folder.starts_with(top) && folder != top.as_path());
    let mut folders = BTreeSet::new();
    for path in plan.masks.iter().map(|mask| &mask.path).chain(&plan.kept).chain(&plan.hidden).filter_map(real) {
        folders.extend(path.ancestors().skip(1).filter(|folder| is_inside(folder)).map(Path::to_owned));
    }
    // In this order a folder comes before what is in it.
    for folder in folders {
        let tree = clone(&folder).during("pin", &folder)?;
        attach(&tree, &folder).during("pin", &folder)?;
    }
    Ok(())
}

/// A detached copy of what is mounted at a path and below.
fn clone(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn attach(tree: &OwnedFd, path: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

struct Kept {
    path: PathBuf,
    is_folder: bool,
    tree: OwnedFd,
}

/// Copies of what exists; shorter paths first, so that what is inside another comes to lie on it.
fn clones<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<Kept> {
    let real = paths.filter_map(|path| fs::canonicalize(path).ok());
    let mut kept: Vec<Kept> = real
        .filter_map(|path| {
            let is_folder = fs::metadata(&path).ok()?.is_dir();
            let tree = clone(&path).ok()?;
            Some(Kept { path, is_folder, tree })
        })
        .collect();
    kept.sort_by_key(|one| one.path.as_os_str().len());
    kept.dedup_by(|one, other| one.path == other.path);
    kept
}

/// Lays the copies on their places; what a fresh folder has covered is made again for them to lie on.
fn place(kept: Vec<Kept>) -> Outcome {
    for one in kept {
        if !one.path.exists() {
            let parent = one.path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).during("make", parent)?;
            if one.is_folder {
                fs::create_dir(&one.path).during("make", &one.path)?;
            } else {
                fs::File::create(&one.path).during("make", &one.path)?;
            }
        }
        attach(&one.tree, &one.path).during("mount", &one.path)?;
    }
    Ok(())
}

fn fresh(path: &Path, options: &str) -> Outcome {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(_) if path.starts_with("/dev") => {
            fs::create_dir(path).during("make", path)?;
            path.to_owned()
        }
        Err(_) => return Ok(()),
    };
    let options = std::ffi::CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", &target, "tmpfs", flags, options.as_c_str()).during("make a fresh", &target)
}

fn dev(nodes: Vec<Kept>) -> Outcome {
    let folder = Path::new("/dev");
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID, c"mode=755").during("make", folder)?;
    for node in nodes {
        fs::File::create(&node.path).during("make", &node.path)?;
        attach(&node.tree, &node.path).during("mount", &node.path)?;
    }
    let pts = folder.join("pts");
    fs::create_dir(&pts).during("make", &pts)?;
    let options = c"newinstance,ptmxmode=0666,mode=620";
    mount("devpts", &pts, "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options).during("make", &pts)?;
    for (name, target) in LINKS {
        let link = folder.join(name);
        std::os::unix::fs::symlink(target, &link).during("make", &link)?;
    }
    Ok(())
}

/// A process table of this namespace alone.
fn proc() -> Outcome {
    let folder = Path::new("/proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", folder, "proc", flags, None::<&std::ffi::CStr>).during("mount", folder)?;
    // In a namespace of its own an agent could mount control groups afresh, writable: with them it could freeze or end the
    // gateway, which is in the same group. A kernel without the limit has no such namespaces either.
    let _ = fs::write("/proc/sys/user/max_cgroup_namespaces", "0");
    if rustix::process::getuid().is_root() {
        for part in PROC_OF_ROOT.map(Path::new).into_iter().filter(|part| part.exists()) {
            let tree = clone(part).during("copy", part)?;
            kernel::make_read_only(&tree, Path::new(""), true).during("make read-only", part)?;
            attach(&tree, part).during("mount", part)?;
        }
    }
    Ok(())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Covers every bound socket that is still visible and not listed with a file that nothing can be connected to.
fn hide_sockets(sockets: &[PathBuf], plan: &Surroundings, mounts: &Mounts) -> Outcome {
    let listed: Vec<PathBuf> = plan.sockets.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for path in sockets {
        let Ok(path) = fs::canonicalize(path) else { continue };
        if is_socket(&path) && !listed.contains(&path) {
            for name in mounts.everywhere(&path) {
                cover(&name)?;
            }
        }
    }
    Ok(())
}

/// Lays `/dev/null` over a file: it reads as empty, and nothing can be connected to it.
fn cover(path: &Path) -> Outcome {
    let null = clone(Path::new("/dev/null")).during("copy", Path::new("/dev/null"))?;
    attach(&null, path).during("hide", path)
}

/// Hides files and folders; the folders are given back, to be made read-only when masks are in.
fn hide(plan: &Surroundings, mounts: &Mounts) -> Outcome<Vec<PathBuf>> {
    let mut emptied = Vec::new();
    let real = plan.hidden.iter().filter_map(|path| fs::canonicalize(path).ok());
    let names: Vec<PathBuf> = real.flat_map(|path| mounts.everywhere(&path)).collect();
    // What lies in a folder that has just been hidden is gone already.
    for path in names.into_iter().filter(|path| path.exists()) {
        if path.is_dir() {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("tmpfs", &path, "tmpfs", flags, c"mode=755").during("hide", &path)?;
            emptied.push(path);
        } else {
            cover(&path)?;
        }
    }
    Ok(emptied)
}

struct Staged<'a> {
    mask: &'a Mask,
    tree: OwnedFd,
}

/// Writes the masks into a file system of their own in memory and copies each off it.
fn stage(masks: &[Mask]) -> Outcome<Vec<Staged<'_>>> {
    let folder = Path::new(STAGE);
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=700").during("use", folder)?;
    let mut staged = Vec::with_capacity(masks.len());
    for (number, mask) in masks.iter().enumerate() {
        let file = folder.join(number.to_string());
        let mode = match mask.access {
            Access::Read => 0o444,
            Access::Write => 0o600,
            Access::Closed => 0,
        };
        write(&file, &mask.bytes, mode).during("write", &mask.path)?;
        let tree = clone(&file).during("copy", &mask.path)?;
        if mask.access != Access::Write {
            kernel::make_read_only(&tree, Path::new(""), false).during("make read-only", &mask.path)?;
        }
        staged.push(Staged { mask, tree });
    }
    unmount(folder, UnmountFlags::DETACH).during("leave", folder)?;
    Ok(staged)
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut open = fs::OpenOptions::new();
    io::Write::write_all(&mut open.write(true).create_new(true).mode(mode).open(file)?, bytes)?;
    fs::set_permissions(file, fs::Permissions::from_mode(mode))
}

/// Lays the masks over what is there, and says where they lie. In a folder that is hidden or fresh they are made; elsewhere nothing is added.
fn put_masks(masks: Vec<Staged<'_>>, plan: &Surroundings, mounts: &Mounts) -> Outcome<Vec<PathBuf>> {
    let real = |paths: &[PathBuf]| paths.iter().filter_map(|path| fs::canonicalize(path).ok()).collect::<Vec<_>>();
    let own = Own { hidden: real(&plan.hidden), writable: real(&plan.writable) };
    let mut laid = Vec::with_capacity(masks.len());
    for Staged { mask, tree } in masks {
        // The link's own target is what must not be read.
        let path = if let Ok(path) = fs::canonicalize(&mask.path) {
            path
        } else {
            let Some(path) = own.new_place(&mask.path) else { continue };
            let parent = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).during("make", parent)?;
            fs::File::create(&path).during("make", &path)?;
            path
        };
        let names = mounts.everywhere(&path);
        attach(&tree, &path).during("mask", &path)?;
        for name in names.iter().skip(1) {
            let copy = clone(&path).during("copy", &path)?;
            attach(&copy, name).during("mask", name)?;
        }
        laid.extend(names);
    }
    Ok(laid)
}

/// Folders as they are inside.
struct Own {
    hidden: Vec<PathBuf>,
    writable: Vec<PathBuf>,
}

impl Own {
    /// Where a mask may appear although nothing is there: below a hidden or fresh folder, which is the agent's own and in memory.
    /// A dangling link into one (as `/etc/resolv.conf` is) counts. What may be written is the host's, wherever it lies.
    fn new_place(&self, path: &Path) -> Option<PathBuf> {
        let path = match fs::read_link(path) {
            Ok(target) => path.parent()?.join(target),
            Err(_) => path.to_owned(),
        };
        let path = lexical(&path);
        let below = |folders: &[PathBuf]| folders.iter().any(|folder| path.starts_with(folder));
        (below(&self.hidden) || is_fresh(&path) && !below(&self.writable)).then_some(path)
    }
}

fn is_fresh(path: &Path) -> bool {
    FRESH.iter().any(|(folder, _)| path.starts_with(folder))
}

/// A path without `.` and `..`, by its letters alone: what it names does not exist yet.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_made_in_fresh_and_hidden_folders_only() {
        let folders = |all: &[&str]| all.iter().map(PathBuf::from).collect();
        let own = Own { hidden: folders(&["/home/u/.ssh", "/tmp/project/.ssh"]), writable: folders(&["/tmp/project"]) };
        let place = |path: &str| own.new_place(Path::new(path));
        assert_eq!(place("/home/u/.ssh/none/../config"), Some("/home/u/.ssh/config".into()));
        assert_eq!(place("/run/none/resolv.conf"), Some("/run/none/resolv.conf".into()));
        assert_eq!(place("/home/u/.none"), None);
        assert_eq!(place("/home/u/.ssh/../.none"), None);
        assert_eq!(place("/tmp/other/none"), Some("/tmp/other/none".into()));
        assert_eq!(place("/tmp/project/none"), None);
        assert_eq!(place("/tmp/project/.ssh/none"), Some("/tmp/project/.ssh/none".into()));
    }
}
