//! Credentials in agents' MCP configurations: variables for servers that the agent starts, header fields for those that it calls.

use serde_json::Value;

use super::{Search, formats, looks};

/// Where agents keep them, and where the variables and fields stand inside.
const PLACES: [(&str, &str); 12] = [
    (".mcp.json", "mcpServers.*.env"),
    (".cursor/mcp.json", "mcpServers.*.env"),
    (".vscode/mcp.json", "servers.*.env"),
    ("~/.claude.json", "mcpServers.*.env"),
    ("~/.claude.json", "projects.*.mcpServers.*.env"),
    ("~/.cursor/mcp.json", "mcpServers.*.env"),
    (".mcp.json", "mcpServers.*.headers"),
    (".cursor/mcp.json", "mcpServers.*.headers"),
    (".vscode/mcp.json", "servers.*.headers"),
    ("~/.claude.json", "mcpServers.*.headers"),
    ("~/.claude.json", "projects.*.mcpServers.*.headers"),
    ("~/.cursor/mcp.json", "mcpServers.*.headers"),
];

/// The files alone.
pub(in crate::config) fn agent_files() -> impl Iterator<Item = &'static str> {
    PLACES.iter().map(|(path, _)| *path)
}

pub(super) fn look(search: &mut Search<'_>) {
    for (path, key) in PLACES {
        let Some(tree) = search.text(path).and_then(|text| formats::tree(&text)) else { continue };
        for (walked, value) in variables(&tree, key) {
            let name = walked.rsplit('.').next().unwrap_or_default().to_owned();
            // `${GITHUB_TOKEN}` is filled in by the agent from its environment, where a placeholder stands.
            if value.contains("${") || value.is_empty() {
                continue;
            }
            // `Authorization: Bearer VALUE`.
            let value = match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().to_owned(),
                _ => value,
            };
            if let Some(name) = super::refer::name_in(&value) {
                search.refer(&name, path, None);
                continue;
            }
            let known =
                search.by_variable(&name).or_else(|| search.by_shape(&value)).map(|service| service.name().to_string());
            match known {
                Some(service) => search.add_from_file(&service, &value, path),
                None if looks::like_a_secret(&name, &value, search.ambient.folder()).is_some() => {
                    search.notes.push(format!(
                        "{name} in {path} looks like a secret and no service knows it; write ${{{name}}} there and set the variable"
                    ));
                }
                None => {}
            }
        }
    }
}

fn variables(tree: &Value, key: &str) -> Vec<(String, String)> {
    formats::at_path(tree, &format!("{key}.*"))
}
