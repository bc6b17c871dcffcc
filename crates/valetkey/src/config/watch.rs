//! Sees that configuration files have changed, and reads them again as one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Sources;

/// Between two looks. Polling sees every way in which editors and configuration managers replace files, on every file
/// system; watching inodes does not.
const EVERY: Duration = Duration::from_millis(250);

/// What tells one state of a file from another: inode, size, time of change in nanoseconds.
type Stamp = (u64, u64, i64, i64);

fn look(path: &Path) -> BTreeMap<PathBuf, Stamp> {
    let stamp = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(path.to_owned()).chain(inside).filter_map(|path| Some((path.clone(), stamp(&path)?))).collect()
}

/// Sends the files of `sources` again whenever they have changed and stand still: a half-written file is not read. What
/// cannot be read is an error and changes nothing. Ends when the receiver is dropped. Service and certificate files that the
/// configuration names are looked at too.
pub fn watch(sources: &Sources) -> mpsc::Receiver<anyhow::Result<Sources>> {
    let (changed, receiver) = mpsc::channel(1);
    let Some(origin) = sources.origin().map(Path::to_owned) else { return receiver };
    let sources = sources.clone();
    let beside = named_files(&sources);
    let all = move || {
        let mut stamps = look(&origin);
        for path in &beside {
            stamps.extend(look(path));
        }
        stamps
    };
    let mut known = all();
    // What changed after it was read and before it was watched must not be missed.
    if !sources.again().is_ok_and(|again| again.texts().eq(sources.texts())) {
        known.clear();
    }
    tokio::spawn(async move {
        let mut settling: Option<BTreeMap<PathBuf, Stamp>> = None;
        loop {
            tokio::select! {
                () = changed.closed() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            // A few `stat` calls on files that were read before: not worth a thread.
            let now = all();
            if now == known {
                settling = None;
            } else if settling.as_ref() == Some(&now) {
                known = now;
                settling = None;
                if changed.send(sources.again()).await.is_err() {
                    return;
                }
            } else {
                settling = Some(now);
            }
        }
    });
    receiver
}

/// Each once: a thousand hosts may share one authority.
fn named_files(sources: &Sources) -> BTreeSet<PathBuf> {
    let Ok((document, _)) = sources.document() else { return BTreeSet::new() };
    let services = document.services.iter().map(|entry| sources.folder().join(&entry.value));
    let certificates =
        document.upstreams.iter().filter_map(|(_, entry)| Some(sources.folder().join(&entry.ca.as_ref()?.value)));
    services.chain(certificates).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("valetkey.yaml");
        std::fs::write(&path, "version: 1\n").expect("written");
        let mut changes = watch(&Sources::read(&path).expect("read"));
        std::fs::write(&path, "version: 1\negress: open\n").expect("written");
        let seen = changes.recv().await.expect("seen").expect("read");
        assert_eq!(seen.texts().next().map(|(_, text)| text.len()), Some(24));
        assert!(tokio::time::timeout(EVERY * 3, changes.recv()).await.is_err(), "once");
        std::fs::remove_file(&path).expect("removed");
        assert!(changes.recv().await.expect("seen").is_err(), "a file that is gone is an error");
    }
}
