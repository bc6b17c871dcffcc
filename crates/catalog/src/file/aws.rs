//! The part of a service file about AWS.

use serde::Deserialize;

/// What is asked at endpoints of AWS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsEntry {
    /// One operation a line: `service:Operation[>service:Action] class[+effect..] [METHOD place] resource..`; services/README.md explains it.
    pub operations: String,
}
