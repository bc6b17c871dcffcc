//! Compiles `services/*.yaml` once, so that the program starts with tables instead of text.
#![expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write through the environment")]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "modules are shared with the library, which uses the rest"
)]

#[path = "src/compile/mod.rs"]
mod compile;
#[path = "src/compiled.rs"]
mod compiled;
#[path = "src/error.rs"]
mod error;
#[path = "src/file/mod.rs"]
mod file;

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("services");
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let out = Path::new(&out);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut table = String::from("&[\n");
    for entry in files {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        let written = file::ServiceFile::parse(&text, &format!("services/{name}"))?;
        let compiled = compile::compile(&written)?;
        if format!("{}.yaml", compiled.name) != name {
            return Err(format!("services/{name}: the file of service `{}` must bear its name", compiled.name).into());
        }
        std::fs::write(out.join(format!("{name}.tables")), postcard::to_stdvec(&compiled)?)?;
        std::fs::write(out.join(format!("{name}.hosts")), postcard::to_stdvec(&compiled.hosts)?)?;
        std::fs::write(out.join(format!("{name}.cases")), postcard::to_stdvec(&written.cases)?)?;
        let part = |kind: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.{kind}\"))");
        writeln!(
            table,
            "    Embedded {{ name: \"{}\", tables: {}, hosts: {}, cases: {} }},",
            compiled.name,
            part("tables"),
            part("hosts"),
            part("cases"),
        )?;
    }
    table.push_str("]\n");
    std::fs::write(out.join("embedded.rs"), table)?;
    Ok(())
}
