//! `file:PATH`: the content of a file without its last newline; relative paths start at the configuration's folder.
//! The file is read again when it is a minute old, so a mounted secret that is renewed is followed.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use model::bounds;
use rustix::fs::OFlags;
use secret::Secret;
use zeroize::Zeroizing;

use super::{Backend, BackendError, Fetched, Ground, Wanted, without_newline};
use crate::{Ambient, Pending, Scheme};

pub(super) struct File {
    ambient: Ambient,
}

impl File {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }
}

impl Backend for File {
    fn scheme(&self) -> Scheme {
        Scheme::File
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        let path = self.ambient.base().join(wanted.reference.rest());
        Box::pin(std::future::ready(read(&path).map(Fetched::plain)))
    }
}

fn read(path: &Path) -> Result<Secret, BackendError> {
    let shown = path.display();
    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => BackendError::Missing { what: format!("the file `{shown}` is not there; create it") },
        ErrorKind::PermissionDenied => {
            BackendError::Missing { what: format!("the file `{shown}` may not be read; check its owner and mode") }
        }
        _ => BackendError::Away { what: format!("the file `{shown}` could not be read: {error}") },
    };
    // Not to wait for the other end of a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(BackendError::Malformed { what: format!("`{shown}` is not a regular file; name one") });
    }
    // A newline more than the largest value, and one octet more to see that it is too long.
    let room = bounds::SECRET_BYTES_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(room as u64).read_to_end(&mut bytes).map_err(fail)?;
    Ok(Secret::new(without_newline(&bytes).to_vec()))
}
