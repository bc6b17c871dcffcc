//! `aws:ambient`: the keys of AWS that surround the gateway ([`crate::aws::chain`]), as kind `aws` has them. They are kept there, and renewed before their end.

use std::sync::Arc;

use secret::Lease;

use super::{Backend, BackendError, Fetched, Ground, Wanted};
use crate::aws::chain::{Chain, document};
use crate::{Pending, Scheme};

pub(super) struct OfAws {
    chain: Arc<Chain>,
}

impl OfAws {
    pub fn new(ground: &Ground) -> Self {
        Self { chain: Arc::clone(&ground.chain) }
    }
}

impl Backend for OfAws {
    fn scheme(&self) -> Scheme {
        Scheme::Aws
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(async move {
            let keys = self.chain.keys(wanted.now).await?;
            let lease = Lease { id: None, expires: keys.expires };
            Ok(Fetched { lease, ..Fetched::plain(document(&keys)?) })
        })
    }
}
