//! `env:NAME`: a variable of the environment that the wiring handed in. Its value is taken as it stands.

use std::os::unix::ffi::OsStringExt;

use secret::Secret;

use super::{Backend, BackendError, Fetched, Ground, Wanted};
use crate::{Ambient, Pending, Scheme};

pub(super) struct Env {
    ambient: Ambient,
}

impl Env {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }
}

impl Backend for Env {
    fn scheme(&self) -> Scheme {
        Scheme::Env
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        let name = wanted.reference.rest();
        let found = self.ambient.var(name).filter(|value| !value.is_empty());
        Box::pin(std::future::ready(found.map(|value| Fetched::plain(Secret::new(value.into_vec()))).ok_or_else(
            || BackendError::Missing {
                what: format!("the variable `{name}` is not set or empty; set it before starting valetkey"),
            },
        )))
    }
}
