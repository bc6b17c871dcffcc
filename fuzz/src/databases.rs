//! What database clients and servers say.

use std::sync::OnceLock;

use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host};

/// What a client of a database begins with, and what a server of one answers: in pieces it reads as it does whole.
pub fn postgres(octets: &[u8]) {
    let whole = proxy::postgres::answers_of(octets, octets.len().max(1));
    for size in [1, 7] {
        assert_eq!(proxy::postgres::answers_of(octets, size), whole, "in pieces of {size}");
    }
    proxy::postgres::begins_with(octets);
}

/// Statements: always judged, in calls of known kinds, and never as nothing where there is a statement.
pub fn sql(octets: &[u8]) {
    static CATALOG: OnceLock<catalog::Catalog> = OnceLock::new();
    let catalog = CATALOG.get_or_init(|| {
        let text = "name: crm-db\ntitle: CRM\nhosts: [{ host: db.crm.test, protocol: postgres }]\n";
        let file = catalog::ServiceFile::parse(text, "crm-db.yaml").expect("a service");
        catalog::Catalog::with(vec![file]).expect("a catalogue")
    });
    let host = Host::parse("db.crm.test").expect("a host");
    let request = CanonicalRequest::database(host, 5432, "crm").expect("a database");
    let found = catalog.classify(&request, BodyView::Whole(octets)).expect("always judged");
    assert!(found.calls.iter().all(|call| catalog::sql::ACTIONS.iter().any(|(id, ..)| *id == call.action.as_str())));
    let again = catalog.classify(&request, BodyView::Whole(octets)).expect("always judged");
    assert_eq!(again.calls, found.calls, "the same text is the same");
    if found.calls.is_empty() {
        let text = std::str::from_utf8(octets).expect("what is no text is not understood");
        assert!(text.trim_start().is_empty() || text.contains(['-', '/', ';']), "nothing but blanks, comments and `;`");
    }
}
