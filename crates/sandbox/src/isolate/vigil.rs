//! Keeps masks in place. A mask is a mount on one file, and the kernel takes a mount off when a program of the host removes the
//! file or puts another in its place, as editors and log-in commands do. inotify(7) tells of that here too, since the folder is
//! the same; the mask is laid on the new file then.
//!
//! It is a repair and not a wall: for the moment between the two the new file is bare (docs/threat-model.md).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::mounts::Laid;

/// Room for a dozen names of the longest kind.
const EVENT_BYTES_MAX: usize = 4096;

/// Who watches over the masks of one namespace.
pub(super) struct Vigil {
    laid: Laid,
    events: OwnedFd,
    /// A folder that is mounted in several places is one to the kernel.
    folders: HashMap<i32, BTreeSet<PathBuf>>,
}

impl Vigil {
    /// Begins to watch. A folder that cannot be watched (there is a limit for each user) is left out: its masks lie as before.
    pub(super) fn begin(laid: Laid) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let mut folders: HashMap<i32, BTreeSet<PathBuf>> = HashMap::new();
        for folder in laid.paths().filter_map(Path::parent) {
            if let Ok(number) = inotify::add_watch(&events, folder, flags) {
                folders.entry(number).or_default().insert(folder.to_owned());
            }
        }
        Ok(Self { laid, events, folders })
    }

    /// Readable when something was put somewhere.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Lays on again what has fallen off.
    pub(super) fn look(&mut self) {
        let mut room = [MaybeUninit::uninit(); EVENT_BYTES_MAX];
        let mut reader = inotify::Reader::new(&self.events, &mut room);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.laid.lay_all_again();
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            for folder in self.folders.get(&event.wd()).into_iter().flatten() {
                self.laid.lay_again(&folder.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
            }
        }
    }
}
