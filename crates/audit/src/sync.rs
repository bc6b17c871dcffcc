//! When a record must be durable, and the thread that makes it so for everybody who waits.
//!
//! One fdatasync serves all who asked before it began (group commit); they are woken by its end, nobody polls. A lane
//! whose sync failed is shut: the kernel forgets a failed write-back, so what was written since the last good sync is
//! read back, checked, written again and synced before anything goes on ("fsyncgate", 2018).

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Class;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::error::AuditError;
use crate::frame::Link;
use crate::lane::Shared;
use crate::layout;

/// How often a lane in trouble tries again. Promise 3: writing goes on within 2 s after space returns.
const HEAL_EVERY: Duration = Duration::from_millis(250);

/// `audit.sync`: which attempts must survive a loss of power before the request leaves. All survive a killed process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Those that change something: write, delete, spend, admin.
    #[default]
    Changes,
    /// All.
    Always,
    /// None.
    Never,
}

impl SyncPolicy {
    /// Whether a record of this class must be durable before anything leaves.
    #[must_use]
    pub fn needs_sync(self, class: Class) -> bool {
        match self {
            Self::Changes => class != Class::Read,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl FromStr for SyncPolicy {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "changes" => Ok(Self::Changes),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Every record up to this one is durable.
    pub done: u64,
    /// The last sync failed and nothing has healed it.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Wanted {
    seq: u64,
    trouble: bool,
    stop: bool,
    running: bool,
}

/// A lane's sync: who wants what, how far it is.
pub(crate) struct Syncer {
    wanted: Mutex<Wanted>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
    /// One sync at a time: a second one would not know what the first has not finished.
    one: Mutex<()>,
    shut: AtomicBool,
}

impl Syncer {
    pub(crate) fn at(done: u64) -> Self {
        Self {
            wanted: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress { done, failed: false }),
            one: Mutex::new(()),
            shut: AtomicBool::new(false),
        }
    }

    /// Whether nothing may be appended until a heal.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.wanted.lock().stop = true;
        self.wake.notify_all();
    }
}

impl Shared {
    /// Asks for a sync up to `seq`.
    pub(crate) fn want(self: &Arc<Self>, seq: u64) {
        let mut wanted = self.syncer.wanted.lock();
        if wanted.seq < seq {
            wanted.seq = seq;
            self.rouse(&mut wanted);
        }
    }

    /// Something could not be written: try again by ourselves.
    pub(crate) fn trouble(self: &Arc<Self>) {
        let mut wanted = self.syncer.wanted.lock();
        if !wanted.trouble {
            wanted.trouble = true;
            self.rouse(&mut wanted);
        }
    }

    fn rouse(self: &Arc<Self>, wanted: &mut Wanted) {
        if wanted.stop {
            return;
        }
        if !wanted.running {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new().name("audit-sync".into());
            // Without a thread the lane is shut: nobody waits for a sync that nobody does.
            wanted.running = thread.stack_size(256 * 1024).spawn(move || shared.serve()).is_ok();
            if !wanted.running {
                self.syncer.shut.store(true, Ordering::Release);
                self.syncer.progress.send_modify(|progress| progress.failed = true);
            }
        }
        self.syncer.wake.notify_one();
    }

    fn serve(self: Arc<Self>) {
        loop {
            let heal = {
                let mut wanted = self.syncer.wanted.lock();
                loop {
                    if wanted.stop {
                        return;
                    }
                    if wanted.trouble {
                        self.syncer.wake.wait_for(&mut wanted, HEAL_EVERY);
                        break true;
                    }
                    if wanted.seq > self.syncer.progress.borrow().done {
                        break false;
                    }
                    self.syncer.wake.wait(&mut wanted);
                }
            };
            if !heal {
                // A failure has told the waiters and asked for a heal.
                let _ = self.sync_now();
            } else if let Err(why) = self.heal() {
                tracing::debug!(lane = %self.name, %why, "audit lane still in trouble");
            }
        }
    }

    /// Makes everything written so far durable, in this thread; gives where the chain stands durably.
    pub(crate) fn sync_now(self: &Arc<Self>) -> io::Result<Link> {
        let _one = self.syncer.one.lock();
        let job = {
            let mut writer = self.writer.lock();
            if writer.mend().and_then(|()| writer.flush()).is_err() {
                // What is written can be made durable all the same.
                self.trouble();
            }
            writer.unsynced()
        };
        if self.syncer.is_shut() {
            return Err(io::Error::other("an earlier sync failed and has not been made good"));
        }
        if job.link.seq <= self.syncer.progress.borrow().done {
            return Ok(job.link);
        }
        let done = self.sync_files(job.folders, job.ranges.iter().map(|range| &range.file));
        match done {
            Ok(()) => {
                self.writer.lock().settle(&job);
                self.syncer.progress.send_modify(|progress| progress.done = job.link.seq);
                Ok(job.link)
            }
            Err(why) => {
                tracing::error!(lane = %self.name, %why, "audit lane shut: sync failed");
                self.syncer.shut.store(true, Ordering::Release);
                self.syncer.progress.send_modify(|progress| progress.failed = true);
                self.trouble();
                Err(why)
            }
        }
    }

    fn sync_files<'a>(
        &self,
        folders: bool,
        files: impl Iterator<Item = &'a Arc<dyn crate::disk::Segment>>,
    ) -> io::Result<()> {
        if folders {
            // The lock's name first: a lane that is durable while its lock is not would look closed.
            for folder in [&layout::open_folder(&self.root), &self.root, &self.folder] {
                self.disk.sync_folder(folder)?;
            }
        }
        for file in files {
            file.sync()?;
        }
        Ok(())
    }

    /// Makes good what failed: cuts a partial line, writes unsynced records again, then those that are owed.
    fn heal(self: &Arc<Self>) -> Result<(), AuditError> {
        let _one = self.syncer.one.lock();
        let mut writer = self.writer.lock();
        let unavailable = |why: io::Error| self.unavailable(&why);
        writer.mend().map_err(unavailable)?;
        if self.syncer.is_shut() {
            writer.write_again(self.name.as_bytes()).map_err(unavailable)?;
            let job = writer.unsynced();
            self.sync_files(true, job.ranges.iter().map(|range| &range.file)).map_err(unavailable)?;
            writer.settle(&job);
            self.syncer.progress.send_modify(|progress| *progress = Progress { done: job.link.seq, failed: false });
            self.syncer.shut.store(false, Ordering::Release);
        }
        writer.flush().map_err(unavailable)?;
        if !writer.is_closed() {
            self.pay_owed(&mut writer)?;
        }
        drop(writer);
        self.syncer.wanted.lock().trouble = false;
        tracing::info!(lane = %self.name, "audit lane healed");
        Ok(())
    }
}
