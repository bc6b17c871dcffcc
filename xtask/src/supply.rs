//! What the program is made of, and that the same source makes the same program (row J141).
//!
//! The lock file names every dependency with its checksum, every step of ours builds by it alone (`--locked`), and
//! `deny.toml` says whence and under which licence it may come. Here: the list of them for others to read, and the proof
//! that a build depends on neither folder nor day.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use clap::Args;
use serde_json::{Value, json};

use crate::shell;

/// Where the list is written.
#[derive(Args)]
pub struct SbomOptions {
    /// Into this file instead of standard output.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Prints what `valetkey` is made of, as CycloneDX 1.5: the same for the same lock file.
pub fn sbom(root: &Path, options: &SbomOptions) -> Result<bool> {
    let text = serde_json::to_string_pretty(&list(root)?)? + "\n";
    match &options.output {
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => print!("{text}"),
    }
    Ok(true)
}

fn list(root: &Path) -> Result<Value> {
    let mut command = MetadataCommand::new();
    command.current_dir(root).other_options(["--locked".to_owned(), "--offline".to_owned()]);
    let metadata = command.exec().context("cannot read the workspace; run `cargo fetch --locked` first")?;
    let main = metadata.packages.iter().find(|package| package.name.as_str() == "valetkey");
    let main = main.context("the workspace has no package `valetkey`")?;
    let linked = linked(&metadata, &main.id, &built(root)?)?;
    let checksums = checksums(root)?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, needs) in &linked {
        let package = package(&metadata, id)?;
        let needs: BTreeSet<String> = needs.iter().map(|id| package_of(&metadata, id)).collect::<Result<_>>()?;
        dependencies.push(json!({ "ref": url(package), "dependsOn": needs }));
        if package.id != main.id {
            components.push(component(package, &checksums)?);
        }
    }
    components.sort_by_key(|one| one["bom-ref"].to_string());
    dependencies.sort_by_key(|one| one["ref"].to_string());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": url(main), "name": "valetkey", "version": main.version.to_string(),
            "licenses": licenses(main),
        } },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Names and versions of all that is built for the program, on any platform, build scripts and procedural macros included: a
/// list that depends on where it was made would hide what others get. `cargo metadata` alone would not do: it also names what
/// features that nobody turned on would want.
fn built(root: &Path) -> Result<BTreeSet<(String, String)>> {
    let line = "cargo tree --locked --offline -p valetkey --target all -e normal,build --prefix none";
    let text = shell::output(&mut shell::command(root, line))?;
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    };
    Ok(text.lines().filter_map(package).collect())
}

/// Each package that is built, and what it needs.
fn linked<'a>(
    metadata: &'a Metadata,
    main: &'a PackageId,
    built: &BTreeSet<(String, String)>,
) -> Result<BTreeMap<&'a PackageId, Vec<&'a PackageId>>> {
    let graph = metadata.resolve.as_ref().context("cargo gave no dependencies")?;
    let mut found: BTreeMap<&PackageId, Vec<&PackageId>> = BTreeMap::new();
    let mut open = VecDeque::from([main]);
    while let Some(id) = open.pop_front() {
        if found.contains_key(id) {
            continue;
        }
        let node = graph.nodes.iter().find(|node| node.id == *id).context("cargo left a dependency out")?;
        let mut needs = Vec::new();
        for dep in &node.deps {
            let one = package(metadata, &dep.pkg)?;
            let is_meant = dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if is_meant && built.contains(&(one.name.to_string(), one.version.to_string())) {
                needs.push(&dep.pkg);
            }
        }
        open.extend(needs.iter().copied());
        found.insert(id, needs);
    }
    Ok(found)
}

fn package<'a>(metadata: &'a Metadata, id: &PackageId) -> Result<&'a Package> {
    metadata.packages.iter().find(|package| package.id == *id).context("cargo left a package out")
}

fn package_of(metadata: &Metadata, id: &PackageId) -> Result<String> {
    package(metadata, id).map(url)
}

fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn licenses(package: &Package) -> Value {
    // The old form of an expression, which some crates still use.
    let expression = package.license.as_ref().map(|text| text.replace('/', " OR "));
    expression.map_or(json!([]), |expression| json!([{ "expression": expression }]))
}

fn component(package: &Package, checksums: &BTreeMap<(String, String), String>) -> Result<Value> {
    let mut out = json!({
        "type": "library", "bom-ref": url(package), "purl": url(package),
        "name": package.name.as_str(), "version": package.version.to_string(), "licenses": licenses(package),
    });
    if package.source.is_some() {
        let key = (package.name.to_string(), package.version.to_string());
        let sum = checksums.get(&key).with_context(|| format!("{} has no checksum in Cargo.lock", url(package)))?;
        if let Some(out) = out.as_object_mut() {
            out.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": sum }]));
        }
    }
    Ok(out)
}

/// Name and version to checksum, as the lock file says. It is written by cargo in this one form.
fn checksums(root: &Path) -> Result<BTreeMap<(String, String), String>> {
    let text = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let field = |entry: &str, name: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let entries = text.split("[[package]]").skip(1);
    Ok(entries
        .filter_map(|entry| Some(((field(entry, "name")?, field(entry, "version")?), field(entry, "checksum")?)))
        .collect())
}

/// What is built twice.
#[derive(Args)]
pub struct ReproduceOptions {
    /// The package, whose program is compared.
    #[arg(long, default_value = "valetkey")]
    package: String,
    /// Without optimisation: sooner, and not what is released.
    #[arg(long)]
    debug: bool,
}

/// Builds what is committed twice, in folders of different names and from nothing, and compares; false where they differ. What
/// asks the compiler for its own folder (xtask does) differs by design.
pub fn reproduce(root: &Path, options: &ReproduceOptions) -> Result<bool> {
    let base = root.join("target/reproduce");
    if base.exists() {
        std::fs::remove_dir_all(&base)?;
    }
    let first = build(root, &base.join("a"), options)?;
    let second = build(root, &base.join("another/folder"), options)?;
    let sums = [sum(&first)?, sum(&second)?];
    println!("{}\n{}", sums[0], sums[1]);
    let same = sums[0] == sums[1];
    println!("{} is {}", options.package, if same { "the same both times" } else { "NOT the same" });
    Ok(same)
}

fn build(root: &Path, folder: &Path, options: &ReproduceOptions) -> Result<PathBuf> {
    let (source, target) = (folder.join("source"), folder.join("target"));
    std::fs::create_dir_all(&source)?;
    let archive = folder.join("source.tar");
    shell::run(shell::command(root, "git archive --format=tar HEAD -o").arg(&archive))?;
    shell::run(shell::command(&source, "tar -xf").arg(&archive))?;
    let maps = [(&source, "/valetkey"), (&target, "/target")];
    let rust: Vec<String> =
        maps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    let c: Vec<String> = maps.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect();
    let mut command = shell::command(&source, "cargo build --locked -p");
    command.arg(&options.package).arg("--target-dir").arg(&target);
    command.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}")).env("CFLAGS", c.join(" "));
    if !options.debug {
        command.arg("--release");
    }
    shell::run(&mut command)?;
    // Libraries are not compared: the compiler gives the members of each archive names of their own.
    let program = target.join(if options.debug { "debug" } else { "release" }).join(&options.package);
    let found = Some(program).filter(|path| path.exists());
    found.with_context(|| format!("{} made no program of its name; choose another with --package", options.package))
}

fn sum(file: &Path) -> Result<String> {
    let out = shell::output(shell::command(Path::new("/"), "sha256sum").arg(file))?;
    out.split_whitespace().next().map(str::to_owned).context("sha256sum said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
    }

    #[test]
    fn the_list_names_what_is_linked_and_nothing_else() {
        let list = list(&root()).unwrap();
        assert_eq!(list, super::list(&root()).unwrap(), "the same each time");
        let components = list["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|one| one["name"] == name);
        for name in ["tokio", "rustls", "aws-lc-rs", "cc", "proxy", "secret"] {
            assert!(find(name).is_some(), "{name} is missing");
        }
        for name in ["testkit", "proptest", "e2e", "xtask", "ring", "openssl"] {
            assert!(find(name).is_none(), "{name} is no part of the program");
        }
        let tokio = find("tokio").unwrap();
        assert_eq!(tokio["licenses"][0]["expression"], "MIT");
        assert_eq!(tokio["hashes"][0]["content"].as_str().map(str::len), Some(64));
        // Whatever comes from elsewhere has a checksum, or the list is not made at all.
        let names: BTreeSet<&str> = components.iter().filter_map(|one| one["bom-ref"].as_str()).collect();
        assert_eq!(names.len(), components.len(), "each once");
        for one in list["dependencies"].as_array().unwrap() {
            for need in one["dependsOn"].as_array().unwrap() {
                assert!(names.contains(need.as_str().unwrap()), "{need} is listed");
            }
        }
    }
}
