//! Prints the JSON Schema of the configuration; `cargo xtask codegen` keeps it in `docs/reference`.

fn main() {
    println!("{:#}", policy::document::json_schema());
}
