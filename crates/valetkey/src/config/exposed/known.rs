//! Files of the user in which secrets are left behind: histories of shells, agents' configuration, transcripts, logs.

use std::path::{Path, PathBuf};

use super::walk::Tree;
use crate::config::Ambient;

/// A group of such files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Histories of shells and consoles.
    Histories,
    /// Agents' configuration and log-ins, MCP servers.
    Agents,
    /// What agents and their models said.
    Transcripts,
    /// Logs of tools.
    Logs,
}

const HISTORIES: &[&str] = &[
    ".bash_history",
    ".zsh_history",
    ".zhistory",
    ".histfile",
    ".sh_history",
    ".ash_history",
    ".ksh_history",
    ".local/share/fish/fish_history",
    ".local/share/powershell/PSReadLine/ConsoleHost_history.txt",
    ".local/state/bash/history",
    ".local/state/zsh/history",
    ".python_history",
    ".node_repl_history",
    ".irb_history",
    ".psql_history",
    ".mysql_history",
    ".mariadb_history",
    ".sqlite_history",
    ".rediscli_history",
    ".mongodb/mongosh/mongosh_repl_history",
    ".lesshst",
    ".viminfo",
];

const AGENTS: &[&str] = &[
    ".claude.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".claude/.credentials.json",
    ".codex/config.toml",
    ".codex/auth.json",
    ".cursor/mcp.json",
    ".gemini/settings.json",
    ".gemini/.env",
    ".gemini/oauth_creds.json",
    ".continue/config.json",
    ".continue/config.yaml",
    ".config/opencode/opencode.json",
    ".local/share/opencode/auth.json",
    ".config/goose/config.yaml",
    ".config/zed/settings.json",
    ".config/Claude/claude_desktop_config.json",
    ".config/Code/User/settings.json",
    ".config/Code/User/mcp.json",
    ".aider.conf.yml",
    ".codeium/windsurf/mcp_config.json",
];

/// In the current folder.
const AGENTS_HERE: &[&str] = &[
    ".mcp.json",
    ".cursor/mcp.json",
    ".vscode/mcp.json",
    ".vscode/settings.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".codex/config.toml",
    ".gemini/settings.json",
    "opencode.json",
    ".aider.conf.yml",
];

const TRANSCRIPTS: &[&str] = &[
    ".claude/projects",
    ".claude/history.jsonl",
    ".claude/shell-snapshots",
    ".claude/paste-cache",
    ".claude/file-history",
    ".codex/sessions",
    ".codex/archived_sessions",
    ".codex/history.jsonl",
    ".codex/log",
    ".gemini/tmp",
    ".local/share/opencode/storage",
    ".local/share/goose/sessions",
    ".continue/sessions",
    ".cursor/projects",
    ".aider.chat.history.md",
];

const TRANSCRIPTS_HERE: &[&str] = &[".aider.chat.history.md", ".aider.input.history"];

const LOGS: &[&str] = &[
    ".npm/_logs",
    ".pm2/logs",
    ".cache/claude-cli-nodejs",
    ".cache/yarn/yarn-error.log",
    ".config/Code/logs",
    ".config/Cursor/logs",
    ".local/state/valetkey",
    ".gradle/daemon",
    ".cargo/.global-log",
];

/// Adds the files of a group that are there.
///
/// # Errors
/// HOME is not set.
pub fn known_files(ambient: &Ambient, group: Group, tree: &mut Tree) -> anyhow::Result<()> {
    let home = ambient.user_home().ok_or_else(|| {
        anyhow::anyhow!("HOME is not set, so the files of your home cannot be found; set it, or name the files")
    })?;
    let (own, here): (&[&str], &[&str]) = match group {
        Group::Histories => (HISTORIES, &[]),
        Group::Agents => (AGENTS, AGENTS_HERE),
        Group::Transcripts => (TRANSCRIPTS, TRANSCRIPTS_HERE),
        Group::Logs => (LOGS, &[]),
    };
    let mut paths: Vec<PathBuf> = own.iter().map(|path| home.join(path)).collect();
    paths.extend(here.iter().map(|path| PathBuf::from(*path)));
    if group == Group::Histories {
        paths.extend(ambient.var_os("HISTFILE").map(PathBuf::from));
    }
    if group == Group::Agents {
        paths.extend(super::super::discovery::agent_files().map(|path| match path.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(path),
        }));
    }
    for path in paths {
        if there(ambient.folder(), &path) {
            tree.add(ambient.folder(), &path, false)?;
        }
    }
    Ok(())
}

fn there(base: &Path, path: &Path) -> bool {
    base.join(path).exists()
}
