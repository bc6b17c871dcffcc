//! Tests of the catalogue as a whole.

mod batch;
mod contents;
mod examples;
mod files;
mod git;
mod graphql;
mod hosts;
mod import;
#[path = "../packs/mod.rs"]
mod packs;
mod proofs;
mod requests;
mod rpc;
mod sockets;
mod sql;

use catalog::Catalog;

#[test]
fn every_case_of_every_service_holds() {
    let catalog = Catalog::builtin();
    let mut failures = Vec::new();
    let mut count = 0;
    for service in catalog.services() {
        let outcomes = catalog.test(service.name().as_str());
        assert!(!outcomes.is_empty(), "{} has no cases", service.name());
        count += outcomes.len();
        for outcome in outcomes {
            if let Some(failure) = outcome.failure {
                failures.push(format!("{}: {}: {failure}", service.name(), outcome.request));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_file_of_the_folder_is_a_service() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("services");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    files.sort();
    let mut services: Vec<String> = Catalog::builtin().services().map(|service| service.name().to_string()).collect();
    services.sort();
    assert_eq!(services, files);
    // Decoding of each must succeed, and no host may be claimed twice.
    assert!(Catalog::with(Vec::new()).is_ok());
}

#[test]
fn the_words_tell_every_form_of_an_action() {
    use model::{Class, Effect, Effects};
    let words = Catalog::builtin().vocabulary();
    let forms = |id: &str| words.services["github"].actions[id].forms.clone();
    let publishes = Effects::NONE.with(Effect::Publishes);
    assert!(forms("repos/get").is_empty(), "one form alone is that of its class and effects");
    assert_eq!(
        forms("repos/create-in-org"),
        [(Class::Write, Effects::NONE), (Class::Write, publishes)],
        "private or public, as the body says"
    );
    let unlisted = &words.services["github"].actions["graphql/unlisted-mutation"];
    assert!(unlisted.effects == Effects::NONE || unlisted.forms.contains(&(Class::Admin, Effects::NONE)));
}
