//! What kind of file it is, as far as that says how a value is written.

/// How values are written in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `name=value` or `name: value` to the end of the line, often without quotes.
    Settings,
    /// A programming language: what stands without quotes is an expression, not a value.
    Code,
    /// A list of packages with their digests: only kinds with a prefix of their own are looked for.
    Lock,
    /// Anything else: text, logs, transcripts, histories of shells.
    #[default]
    Text,
}

const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "deno.lock",
    "cargo.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pipfile.lock",
    "composer.lock",
    "gemfile.lock",
    "mix.lock",
    "pubspec.lock",
    "podfile.lock",
    "packages.lock.json",
    "flake.lock",
    "go.sum",
    "gradle.lockfile",
    ".terraform.lock.hcl",
];

const SETTINGS: &[&str] = &[
    "env",
    "ini",
    "cfg",
    "conf",
    "config",
    "cnf",
    "properties",
    "yaml",
    "yml",
    "toml",
    "tfvars",
    "sh",
    "bash",
    "zsh",
    "fish",
    "ps1",
    "envrc",
    "npmrc",
    "yarnrc",
    "pypirc",
    "netrc",
    "curlrc",
    "wgetrc",
    "dockerfile",
    "credentials",
    "envs",
    "service",
    "plist",
    "reg",
];

const CODE: &[&str] = &[
    "rs", "py", "pyi", "js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts", "go", "java", "kt", "kts", "scala", "c",
    "h", "cc", "cpp", "hpp", "cs", "fs", "vb", "rb", "erb", "php", "swift", "m", "mm", "dart", "lua", "pl", "pm", "r",
    "jl", "ex", "exs", "erl", "hs", "ml", "clj", "groovy", "gradle", "tf", "hcl", "sql", "vue", "svelte", "html",
    "htm", "css", "scss", "less", "proto", "graphql", "zig", "nim", "sol", "ipynb",
];

impl Format {
    /// By the name of a file, with or without its folders.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
        let end = name.rsplit('.').next().unwrap_or_default();
        if LOCKS.contains(&name.as_str()) || end == "sum" {
            return Self::Lock;
        }
        if name.starts_with(".env") || name.starts_with("dockerfile") || SETTINGS.contains(&end) {
            return Self::Settings;
        }
        if CODE.contains(&end) && name.contains('.') { Self::Code } else { Self::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        for (path, format) in [
            ("a/b/.env", Format::Settings),
            (".env.production", Format::Settings),
            ("c/.npmrc", Format::Settings),
            ("Dockerfile", Format::Settings),
            ("credentials", Format::Settings),
            ("src/Main.JAVA", Format::Code),
            ("go.sum", Format::Lock),
            ("x/package-lock.json", Format::Lock),
            ("README", Format::Text),
            ("session.jsonl", Format::Text),
            ("c", Format::Text),
        ] {
            assert_eq!(Format::of_path(path), format, "{path}");
        }
    }
}
