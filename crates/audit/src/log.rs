//! The log of one home: lanes of this process, checkpoints, opening and closing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use model::bounds::SEGMENT_BYTES_MAX;
use model::time::{Clock, Random};
use parking_lot::Mutex;

use crate::checkpoint::{self, Binding, Head, Signer};
use crate::disk::{Disk, RealDisk, private_folder};
use crate::error::AuditError;
use crate::lane::{Ground, Lane, Shared, Start};
use crate::layout::{self, LaneLock};
use crate::recover::{self, Recovery};

/// Lanes of dead processes up to this size together are recovered before [`Log::open`] returns (about 5 ms); larger
/// ones in a thread, because `run` must start within 40 ms whatever lies there.
const RECOVER_AT_ONCE_BYTES_MAX: u64 = 1024 * 1024;

/// What a log is opened with.
pub struct Options {
    /// Name of this machine or gateway, in every record; letters, digits, `-`, `_`, `.`; cut to 64.
    pub node: String,
    /// What signs checkpoints.
    pub signer: Signer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub random: Arc<dyn Random>,
    /// Where segments are.
    pub disk: Arc<dyn Disk>,
    /// A segment is closed at this size, octets.
    pub segment_bytes: u64,
}

/// What opening, closing and recovering need besides the lanes.
pub(crate) struct Core {
    pub ground: Ground,
    pub signer: Signer,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// The audit log of one home, as one process sees it. Closing it (or dropping it) closes its lanes.
pub struct Log {
    core: Arc<Core>,
    lanes: Mutex<Vec<Open>>,
    recovery: Mutex<Option<JoinHandle<Result<Recovery, AuditError>>>>,
    recovered: Mutex<Recovery>,
}

struct Open {
    lane: Lane,
    /// `seq` of the last record that a checkpoint binds.
    bound: u64,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Log({})", self.core.ground.root.display())
    }
}

fn plain_node(node: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name: String = node.chars().filter(|letter| plain(*letter)).take(64).collect();
    if name.is_empty() { "node".into() } else { name }
}

impl Log {
    /// Opens the log in `dir` (`<home>/audit`), makes it where it is missing, and sees to the lanes of dead processes.
    pub fn open(
        dir: &Path,
        node: &str,
        signer: Signer,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, AuditError> {
        let (node, disk) = (node.to_owned(), Arc::new(RealDisk));
        Self::open_with(dir, Options { node, signer, clock, random, disk, segment_bytes: SEGMENT_BYTES_MAX })
    }

    /// [`Log::open`] with everything chosen.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, AuditError> {
        for folder in [dir.to_path_buf(), layout::open_folder(dir)] {
            private_folder(&folder).map_err(AuditError::io("make", &folder))?;
        }
        let ground = Ground {
            root: dir.to_path_buf(),
            node: plain_node(&options.node).into(),
            disk: options.disk,
            segment_bytes: options.segment_bytes,
        };
        let core = Arc::new(Core { ground, signer: options.signer, clock: options.clock, random: options.random });
        let dead = recover::dead(dir)?;
        let (mut recovery, mut recovered) = (None, Recovery::default());
        if recover::octets(dir, &dead) <= RECOVER_AT_ONCE_BYTES_MAX {
            recovered = recover::recover(&core, dead)?;
        } else {
            let core = Arc::clone(&core);
            let thread = std::thread::Builder::new().name("audit-recover".into());
            let started =
                thread.spawn(move || recover::recover(&core, dead)).map_err(AuditError::io("recover", dir))?;
            recovery = Some(started);
        }
        Ok(Self { core, lanes: Mutex::default(), recovery: Mutex::new(recovery), recovered: Mutex::new(recovered) })
    }

    /// Where the log is.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.core.ground.root.clone()
    }

    /// The key that checks its checkpoints.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.core.signer.public()
    }

    /// Waits until the lanes of dead processes are recovered, and says what was found.
    pub fn recovery(&self) -> Result<Recovery, AuditError> {
        if let Some(thread) = self.recovery.lock().take() {
            let done = thread.join().map_err(|_| self.broken("recovery stopped by a panic"))??;
            *self.recovered.lock() = done;
        }
        Ok(self.recovered.lock().clone())
    }

    fn broken(&self, why: &str) -> AuditError {
        AuditError::io("recover", &self.core.ground.root)(std::io::Error::other(why.to_owned()))
    }

    /// A new lane. Make one per worker thread at the start; records of one exchange belong in one lane.
    pub fn lane(&self) -> Result<Lane, AuditError> {
        let root = &self.core.ground.root;
        let name = layout::fresh_lane(self.core.clock.now(), &*self.core.random);
        let lock = LaneLock::create(root, &name).map_err(AuditError::io("lock a lane in", root))?;
        let shared = Shared::begin(&self.core.ground, name, lock, Start::new())
            .map_err(AuditError::io("begin a lane in", root))?;
        let lane = Lane { shared };
        self.lanes.lock().push(Open { lane: lane.clone(), bound: 0 });
        Ok(lane)
    }

    /// Makes everything durable and binds it with a signed checkpoint; nothing where nothing moved. Blocks for one or
    /// two syncs of the disk: call it from a thread that may, every few seconds.
    pub fn checkpoint(&self) -> Result<Head, AuditError> {
        let mut lanes = self.lanes.lock();
        let mut bindings = Vec::new();
        let mut failed = None;
        for open in lanes.iter() {
            match open.lane.shared.sync_now() {
                Ok(link) if link.seq > open.bound => {
                    bindings.push(Binding { lane: open.lane.name().into(), link, closed: false });
                }
                Ok(_) => {}
                // The others are bound all the same.
                Err(why) => failed = Some(open.lane.shared.unavailable(&why)),
            }
        }
        let root = &self.core.ground.root;
        let head = if bindings.is_empty() {
            checkpoint::head(root)?
        } else {
            checkpoint::append(root, &self.core.signer, self.core.clock.now(), &bindings)?
        };
        for binding in &bindings {
            if let Some(open) = lanes.iter_mut().find(|open| open.lane.name() == binding.lane) {
                open.bound = binding.link.seq;
            }
        }
        failed.map_or(Ok(head), Err)
    }

    /// The head of the log: what a receipt names as `audit_head` and `verify --head` takes. Binds what is not bound.
    pub fn head(&self) -> Result<Head, AuditError> {
        self.checkpoint()
    }

    /// Closes all lanes: attempts still open get `abandoned`, everything is made durable, a last checkpoint binds it.
    /// Appending afterwards is refused.
    pub fn close(&self) -> Result<Head, AuditError> {
        let lanes = std::mem::take(&mut *self.lanes.lock());
        let lanes: Vec<Lane> = lanes.into_iter().map(|open| open.lane).collect();
        recover::close(&self.core, &lanes)?;
        checkpoint::head(&self.core.ground.root)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "audit log not closed; the next start recovers it");
        }
    }
}
