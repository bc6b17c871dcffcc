//! Makes a service file of what a vendor publishes: an OpenAPI or Swagger description, or the list of tools of an MCP server.
//!
//! What is published says names, paths and types. It does not say what an action does to whom, so classes and effects are guessed from
//! names ([`guess`]), upwards where in doubt, and marked for review: the file is a draft for a person, who is told what to look at. The
//! draft is read by the same code as any service file before it is given. Pure: text in, text out.

mod guess;
mod openapi;
mod tools;
mod write;

use serde_json::Value;

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::file::ServiceFile;
use guess::Guess;

/// Octets of a description; GitHub's has 12 MiB.
pub const DESCRIPTION_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Facts of one operation: a body's reader looks for up to 32 places.
const FACTS_MAX: usize = 16;
/// Operations of one file.
const OPERATIONS_MAX: usize = 10_000;

/// What the description does not say, or says otherwise than it should.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The service's name in policies; made of the title where it is not given.
    pub name: Option<&'a str>,
    /// Its host; the first server of the description where it is not given.
    pub host: Option<&'a str>,
    /// Where MCP is spoken; `/mcp` where it is not given.
    pub at: Option<&'a str>,
}

/// A draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The service's name.
    pub name: String,
    /// The file.
    pub yaml: String,
    /// How many operations or tools it has.
    pub operations: usize,
    /// How many of them were guessed to be more than their method says.
    pub guessed: usize,
    /// What of the description is not in it, and why.
    pub left_out: Vec<String>,
}

/// Why no draft can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is longer than is read.
    #[error("the description is longer than {} MiB", DESCRIPTION_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    /// It is neither JSON nor YAML.
    #[error("the description is neither JSON nor YAML: {0}")]
    Unreadable(String),
    /// It is something else.
    #[error(
        "this is neither an OpenAPI description (`openapi` or `swagger`, with `paths`) nor the tools of an MCP server (`tools`, each with a `name`)"
    )]
    Unknown,
    /// It has nothing to import.
    #[error("the description has no operations")]
    Empty,
    /// It has more than is taken.
    #[error("the description has more than {OPERATIONS_MAX} operations")]
    TooMany,
    /// It does not say where it lives.
    #[error("the description does not say where the service lives; give its host with `--host`")]
    NoHost,
    /// It has no title, or none that a name could be made of.
    #[error("the description has no title to make a name of; give one with `--name`")]
    NoName,
    /// What was made does not read as a service file.
    #[error("the description cannot be made into a service file: {0}")]
    Made(CatalogError),
}

/// What both kinds of description come down to.
#[derive(Debug, Default)]
struct Found {
    title: String,
    docs: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    base: String,
    schemes: Vec<String>,
    accepts: Vec<&'static str>,
    operations: Vec<Operation>,
    left_out: Vec<String>,
    is_mcp: bool,
}

/// One operation or tool.
#[derive(Debug, Default)]
struct Operation {
    id: String,
    /// Upper case; empty for a tool.
    method: String,
    /// A pattern's path, or the tool's name.
    path: String,
    guess: Guess,
    /// Names (after `body.` or `arguments.`) and types.
    facts: Vec<(String, &'static str)>,
    summary: Option<String>,
}

/// Makes a draft.
///
/// # Errors
/// As [`ImportError`] says.
pub fn import(text: &str, wish: Wish<'_>) -> Result<Draft, ImportError> {
    if text.len() > DESCRIPTION_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let document = read(text)?;
    let mut found = match openapi::find(&document)? {
        Some(found) => found,
        None => tools::find(&document)?.ok_or(ImportError::Unknown)?,
    };
    if found.operations.is_empty() {
        return Err(ImportError::Empty);
    }
    if found.operations.len() > OPERATIONS_MAX {
        return Err(ImportError::TooMany);
    }
    if let Some(host) = wish.host {
        (found.host, found.port) = (Some(host.to_owned()), None);
    }
    let host = found.host.clone().ok_or(ImportError::NoHost)?;
    let name = wish.name.map_or_else(|| slug(&found.title), str::to_owned);
    if name.is_empty() {
        return Err(ImportError::NoName);
    }
    if found.title.is_empty() {
        found.title.clone_from(&name);
    }
    let at = wish.at.unwrap_or("/mcp");
    let yaml = write::yaml(&found, (&name, &host, at), &[]);
    let catalog = reads(&yaml)?;
    let cases: Vec<_> = found.operations.iter().filter_map(|operation| case(&catalog, &name, operation, at)).collect();
    let yaml = write::yaml(&found, (&name, &host, at), &cases);
    reads(&yaml)?;
    Ok(Draft {
        name,
        yaml,
        operations: found.operations.len(),
        guessed: found.operations.iter().filter(|operation| operation.guess.is_more()).count(),
        left_out: found.left_out,
    })
}

fn read(text: &str) -> Result<Value, ImportError> {
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.starts_with(['{', '[']) {
        return serde_json::from_str(trimmed).map_err(|error| ImportError::Unreadable(error.to_string()));
    }
    serde_saphyr::from_str(trimmed).map_err(|error| {
        let message = error.without_snippet().to_string();
        ImportError::Unreadable(message.lines().next().unwrap_or_default().to_owned())
    })
}

fn reads(yaml: &str) -> Result<Catalog, ImportError> {
    let file = ServiceFile::parse(yaml, "draft").map_err(ImportError::Made)?;
    Catalog::with(vec![file]).map_err(ImportError::Made)
}

/// A case: the request of an operation, and what the draft takes it for.
fn case(catalog: &Catalog, name: &str, operation: &Operation, at: &str) -> Option<(String, Option<String>, String)> {
    if operation.method.is_empty() {
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": operation.path },
        });
        let (request, body) = (format!("POST {at}"), body.to_string());
        let expect = catalog.expectation(name, &request, Some(&body))?;
        return Some((request, Some(body), expect));
    }
    let fill = |segment: &str| if segment.starts_with('{') { "x1".to_owned() } else { segment.to_owned() };
    let path = operation.path.split('/').map(fill).collect::<Vec<_>>().join("/");
    let request = format!("{} {path}", operation.method);
    let expect = catalog.expectation(name, &request, None)?;
    Some((request, None, expect))
}

/// Small letters, digits and dashes.
fn slug(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').chars().take(60).collect()
}

/// The first line of a summary, without what a template would read.
fn summary(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let plain: String = line
        .chars()
        .filter(|character| !character.is_control() && !matches!(character, '{' | '}' | '[' | ']' | '|'))
        .take(120)
        .collect();
    Some(plain.trim_end_matches(['.', ' ', ':']).to_owned()).filter(|plain| !plain.is_empty())
}
