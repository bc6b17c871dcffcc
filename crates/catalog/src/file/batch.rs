//! The part of a service file about batches: several requests in the body of one.

use serde::{Deserialize, Serialize};

/// A place where batches are sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEntry {
    /// The action whose patterns are the place. A batch is this action until it is read.
    pub action: String,
    /// How its requests are written.
    pub form: BatchForm,
}

/// How the requests of a batch are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchForm {
    /// `{"requests": [{"id", "method", "url", "headers", "body"}]}`, as Microsoft Graph and OData 4.01 have it. A URL begins with `/` and
    /// is meant from where the batch stands: `/me` in `/v1.0/$batch` is `/v1.0/me`.
    Json,
    /// `multipart/mixed`, each part an `application/http` with a path of its own, as Google and OData 4.0 have it; one level of
    /// `multipart/mixed` within (a change set).
    Multipart,
}
