//! Tests of the catalogue as a whole.

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
