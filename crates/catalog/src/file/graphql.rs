//! The part of a service file about GraphQL.

use serde::Deserialize;

/// GraphQL: what a document asks for, in the words of the other roads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphQlEntry {
    /// The action whose patterns are where it is spoken. A document is this action until it is read.
    pub action: String,
    /// The argument in which the places of the table stand: `input`; none: the arguments of the field themselves.
    #[serde(default)]
    pub under: Option<String>,
    /// Fields, wherever they stand, that hand out a secret.
    #[serde(default)]
    pub secret_fields: Vec<String>,
    /// One mutation a line: `name[condition] actions resource.. fact=place..`; services/README.md explains it.
    #[serde(default)]
    pub mutations: String,
}
