//! What can go wrong with an answer, and what to do about it.

use model::ApprovalId;

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// There is no such question.
    #[error("no question `{0}` is known; `valetkey approvals list` shows the open ones")]
    Unknown(ApprovalId),
    /// It was settled before.
    #[error("question `{id}` is already {state}; if the agent still needs it, it will ask again")]
    Late {
        /// The question.
        id: ApprovalId,
        /// What became of it: `approved`, `denied`, `expired`, `used`.
        state: String,
    },
    /// The rule names who may say yes, and this is not one of them.
    #[error("`{by}` may not approve question `{id}`; its rule names {of}")]
    NotAnApprover {
        /// The question.
        id: ApprovalId,
        /// Who answered.
        by: String,
        /// Who may.
        of: String,
    },
    /// The rows cannot be reached.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}
