//! Prints the reference of services: those that are built in, and every key of a service file, from the comments of the types
//! that read it. `cargo xtask codegen` keeps it in `docs/reference`.

use catalog::Catalog;

const HEAD: &str = "# Services

Generated from the code by `cargo xtask codegen`; do not edit by hand. How to write a service file, by example:
[crates/catalog/services/README.md](../../crates/catalog/services/README.md).

## Built in

| name | service | hosts | credential is found in | actions |
|---|---|---|---|---|
";

/// Where the types of a service file stand.
const SOURCES: [&str; 11] = [
    include_str!("../src/file/mod.rs"),
    include_str!("../src/file/holds.rs"),
    include_str!("../src/file/touch.rs"),
    include_str!("../src/file/graphql.rs"),
    include_str!("../src/file/batch.rs"),
    include_str!("../src/file/rpc.rs"),
    include_str!("../src/file/sockets.rs"),
    include_str!("../../model/src/scheme.rs"),
    include_str!("../../model/src/scheme/hmac.rs"),
    include_str!("../../model/src/class.rs"),
    include_str!("../../model/src/call.rs"),
];

/// Types of these sources that are not part of the form.
const APART: [&str; 6] = ["HostEntry", "Shape", "Matches", "Call", "TouchPath", "Stand"];
/// Types of which no key is needed.
const OPEN: [&str; 2] = ["PathRules", "ServiceBounds"];

fn main() {
    print!("{HEAD}");
    for service in Catalog::builtin().services() {
        let hosts =
            service.hosts().iter().map(|host| format!("`{}{}`", if host.wildcard { "*." } else { "" }, host.name));
        let variables = service.environment().map(|name| format!("`{name}`"));
        println!(
            "| `{}` | {} | {} | {} | {} |",
            service.name(),
            service.title(),
            hosts.collect::<Vec<_>>().join(", "),
            variables.collect::<Vec<_>>().join(", "),
            service.actions().count()
        );
    }
    println!("\n## Form of a file\n\nUnknown keys are errors. A key that is not needed may be left out.");
    for source in SOURCES {
        Reader::default().read(source);
    }
}

/// Goes through a source line by line and prints each type that is part of the form.
#[derive(Default)]
struct Reader {
    comment: Vec<String>,
    attributes: String,
    /// How variants are written, inside of an enum; nothing in a struct.
    words: Option<String>,
    within: bool,
    open: bool,
}

impl Reader {
    fn read(&mut self, source: &str) {
        for line in source.lines() {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        if let Some(comment) = text.strip_prefix("///") {
            self.comment.push(comment.trim().to_owned());
            return;
        }
        if text.starts_with("#[") {
            self.attributes += text;
            return;
        }
        if depth == 0 {
            self.opening(text);
        } else if self.within {
            self.member(text, depth);
        }
        self.comment.clear();
        self.attributes.clear();
    }

    fn opening(&mut self, text: &str) {
        let named = |word: &str| text.strip_prefix(word).and_then(|rest| rest.strip_suffix(" {"));
        let (of_struct, of_enum) = (named("pub struct "), named("pub enum "));
        self.within = false;
        let form = |name: &&str| {
            self.attributes.contains("Deserialize") && !name.contains(['(', '<']) && !APART.contains(name)
        };
        let Some(name) = of_struct.or(of_enum).filter(form) else { return };
        self.within = true;
        self.words = of_enum.map(|_| self.attributes.clone());
        self.open = OPEN.contains(&name);
        let head = if of_enum.is_some() {
            "| word | meaning |\n|---|---|"
        } else {
            "| key | value | meaning |\n|---|---|---|"
        };
        println!("\n### {name}\n\n{}\n\n{head}", self.said());
    }

    fn member(&self, text: &str, depth: usize) {
        if let Some(attributes) = &self.words {
            let word = text.trim_end_matches([',', '{', ' ']);
            if depth == 4 && word.starts_with(char::is_uppercase) {
                let name = word.split('(').next().unwrap_or_default();
                println!("| `{}` | {} |", written(name, attributes), self.said());
            } else if let Some((key, kind)) = word.split_once(": ").filter(|_| depth == 8) {
                println!("| &nbsp;&nbsp;`{key}`, {} | {} |", kind_of(kind), self.said());
            }
            return;
        }
        let Some((key, kind)) = text.strip_prefix("pub ").and_then(|rest| rest.trim_end_matches(',').split_once(": "))
        else {
            return;
        };
        let renamed = self.attributes.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
        let needed = !self.open && !self.attributes.contains("default");
        let mark = if needed { " (needed)" } else { "" };
        println!("| `{}`{mark} | {} | {} |", renamed.unwrap_or(key), kind_of(kind), self.said());
    }

    fn said(&self) -> String {
        self.comment.join(" ").replace('|', "\\|")
    }
}

/// A variant as serde reads it.
fn written(name: &str, attributes: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && at > 0 && attributes.contains("kebab-case") {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// A type in words; one of the form is a link.
fn kind_of(kind: &str) -> String {
    let inside = |outer: &str| kind.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inside("Option<") {
        return kind_of(inner);
    }
    if let Some(inner) = inside("Vec<") {
        return format!("list of {}", kind_of(inner));
    }
    if let Some((_, inner)) = inside("BTreeMap<").and_then(|inner| inner.split_once(", ")) {
        return format!("map of names to {}", kind_of(inner));
    }
    match kind {
        "String" => "text".to_owned(),
        "bool" => "`true` or `false`".to_owned(),
        "u16" | "u64" | "usize" => "whole number".to_owned(),
        "OneOrMany" => "text or list of text".to_owned(),
        "(String, String)" => "list of two texts".to_owned(),
        "HostEntry" => "text or [HostMap](#hostmap)".to_owned(),
        "Shape" => "text or [ShapeMap](#shapemap)".to_owned(),
        "Matches" => "text, [MatchMap](#matchmap), or a list of these".to_owned(),
        "Effects" => "list of [Effect](#effect)".to_owned(),
        "FactType" => "`text`, `int`, `bool` or `list`".to_owned(),
        other => format!("[{other}](#{})", other.to_lowercase()),
    }
}
