//! Conditions made by hand, for the suites of crates that need a [`Permit`](crate::Permit) without a policy. Only with
//! the feature `test-conditions`, which is a dev-dependency's; a build without debug assertions refuses it, so that no
//! released program can hold this door.

use model::{CredentialName, ServiceName};

use crate::limit::LimitNeed;
use crate::{ApprovalNeed, Bearer, Conditions};

#[cfg(not(debug_assertions))]
compile_error!("the feature `test-conditions` of `policy` is for tests; it never goes into a release build");

impl Conditions {
    /// Conditions of nobody's rules.
    #[doc(hidden)]
    #[must_use]
    pub fn for_tests(
        bearer: Bearer,
        service: Option<ServiceName>,
        credential: Option<CredentialName>,
        limits: Vec<LimitNeed>,
        approval: Option<ApprovalNeed>,
    ) -> Self {
        Self {
            bearer,
            service,
            credential,
            rules: vec!["test/1".into()],
            limits,
            approval,
            observed: None,
            grants: crate::decision::GrantIds::new(),
        }
    }
}
