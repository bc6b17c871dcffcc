//! By hand: an operator brings the new value and retires the old one at its source himself.

use parking_lot::Mutex;
use secret::Secret;

use super::{Looked, RotateError, Rotator, Turn};
use crate::Pending;

/// A value that an operator brought.
pub struct Given(Mutex<Option<Secret>>);

impl Given {
    /// This one.
    #[must_use]
    pub fn new(value: Secret) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// None: for the steps after the value is stored.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Mutex::new(None))
    }
}

impl Rotator for Given {
    fn name(&self) -> &'static str {
        "hand"
    }

    fn make<'a>(&'a self, _: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        let gone = || RotateError::Refused("the value that was brought is gone; bring it again".to_owned());
        Box::pin(std::future::ready(self.0.lock().take().ok_or_else(gone)))
    }

    fn verify<'a>(&'a self, _: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(std::future::ready(Ok(Looked::Unable)))
    }

    fn retire<'a>(&'a self, _: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
