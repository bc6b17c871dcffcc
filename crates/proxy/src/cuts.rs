//! What cuts an exchange beside the end of its session: its credential is revoked, or a grant that it stands on ends.

use model::{Code, Refusal};
use policy::Permit;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use crate::join::any;
use crate::session::LiveSession;

/// Handles of what an exchange stands on.
pub(crate) struct Cuts {
    credential: Option<CancellationToken>,
    grants: SmallVec<[CancellationToken; 1]>,
}

impl Cuts {
    /// Those of a permit, and of the credential that was opened by it.
    pub(crate) fn of(permit: &Permit, live: &LiveSession, credential: Option<CancellationToken>) -> Self {
        Self { credential, grants: permit.grants().iter().map(|id| live.standing_on(*id)).collect() }
    }

    /// Why the exchange may not go on, where one of them has ended.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if self.credential.as_ref().is_some_and(CancellationToken::is_cancelled) {
            return Some(revoked());
        }
        self.grants.iter().any(CancellationToken::is_cancelled).then(ended)
    }

    /// Ready with the reason when one of them ends.
    pub(crate) async fn cut(&self) -> Refusal {
        let credential = async {
            match &self.credential {
                Some(credential) => credential.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = credential => revoked(),
            () = any(self.grants.to_vec()) => ended(),
        }
    }
}

impl IntoIterator for Cuts {
    type Item = CancellationToken;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Self::Item>, smallvec::IntoIter<[Self::Item; 1]>>;
    fn into_iter(self) -> Self::IntoIter {
        self.credential.into_iter().chain(self.grants)
    }
}

fn revoked() -> Refusal {
    Refusal::new(Code::CredentialRevoked, "The credential was revoked")
}

fn ended() -> Refusal {
    Refusal::new(Code::Denied, "The grant for this request has ended").hint("ask for another with POST /v1/grants")
}
