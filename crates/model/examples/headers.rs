//! Prints the page of the header fields that never travel on; `cargo xtask codegen` keeps it in `docs/reference`.

use model::canonical::{DROPPED, DROPPED_FAMILIES, KEPT};

const HEAD: &str = "# Header fields that never travel on

What an agent may send and no upstream gets, whatever the policy says: it would tell of the agent's network, country or
person, or make an origin trust somebody who is none. Generated from the code by `cargo xtask codegen`; do not edit by hand.

What `Connection` names goes too, but for fields that carry a credential. A trailer with one of these names is refused.

| why | fields |
|---|---|
";

fn main() {
    print!("{HEAD}");
    let list =
        |names: &[&str], end: &str| names.iter().map(|name| format!("`{name}{end}`")).collect::<Vec<_>>().join(", ");
    for dropped in DROPPED {
        println!("| {} | {} |", dropped.what, list(dropped.names, ""));
    }
    println!("| families of the above | {} |", list(DROPPED_FAMILIES, "*"));
    println!("\nOf these families, what clients of their own send travels: {}.", list(KEPT, ""));
}
