//! References to the built-in vault, `valetkey://NAME`, that `import` leaves where a secret stood; and which service a name or a
//! value belongs to.

use catalog::{Catalog, Service};
use model::CredentialName;

use super::{Found, Search, kind_of, looks};

/// Before the name of a credential. The gateway takes such a reference for a placeholder of the session that sends it.
pub const REFERENCE: &str = "valetkey://";

/// The credential that a value refers to.
pub(super) fn name_in(value: &str) -> Option<CredentialName> {
    CredentialName::new(value.strip_prefix(REFERENCE)?).ok()
}

/// The service whose file names this variable.
pub(super) fn by_variable<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Service> {
    catalog.services().find(|service| service.environment().any(|known| known == name))
}

/// The service whose secrets look like this; the longest prefix wins (`sk-ant-` over `sk-`).
pub(super) fn by_shape<'c>(catalog: &'c Catalog, value: &str) -> Option<&'c Service> {
    let fits = |service: &Service| {
        let shapes = service.shapes().iter().filter(|shape| looks::fits(value, &shape.prefix));
        shapes.map(|shape| shape.prefix.len()).max()
    };
    let best = catalog.services().filter_map(|service| Some((fits(service)?, service)));
    best.max_by_key(|(length, _)| *length).map(|(_, service)| service)
}

/// The service of a variable and its value.
pub fn service_of<'c>(catalog: &'c Catalog, name: &str, value: &str) -> Option<&'c Service> {
    by_variable(catalog, name).or_else(|| by_shape(catalog, value))
}

/// Names of credentials that say their service: whoever reads a reference need not ask the vault.
pub struct Referable;

impl Referable {
    /// A name for the secret of a variable: `github-token` of `GITHUB_TOKEN`, `github-deploy-key` of `DEPLOY_KEY`.
    pub fn name(service: &str, variable: &str) -> String {
        let plain: String = variable
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
            .take(60)
            .collect();
        let plain = plain.trim_matches('-');
        let own = plain.strip_prefix(service).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        match (own, plain.is_empty()) {
            (true, _) => plain.to_owned(),
            (false, true) => service.to_owned(),
            (false, false) => format!("{service}-{plain}"),
        }
    }

    /// The service that such a name says.
    pub(super) fn service<'c>(catalog: &'c Catalog, name: &CredentialName) -> Option<&'c Service> {
        let own = |service: &&Service| {
            let rest = name.as_str().strip_prefix(service.name().as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        catalog.services().filter(own).max_by_key(|service| service.name().as_str().len())
    }
}

impl Search<'_> {
    /// A reference was found: its credential lies in the built-in vault.
    pub(super) fn refer(&mut self, name: &CredentialName, place: &str, variable: Option<&str>) {
        if let Some(known) = self.found.iter_mut().find(|found| found.name == *name) {
            known.variables.extend(variable.map(str::to_owned));
            if !known.place.split(", ").any(|known| known == place) {
                known.place = format!("{}, {place}", known.place);
            }
            return;
        }
        let Some(service) = Referable::service(self.catalog, name) else {
            self.notes.push(format!(
                "{place} refers to `{name}`, whose name begins with no known service; name its service in a configuration"
            ));
            return;
        };
        let (service, kind) = (service.name().clone(), kind_of(service));
        let variables = variable.map(str::to_owned).into_iter().collect();
        let place = place.to_owned();
        self.found.push(Found {
            name: name.clone(),
            service,
            from: None,
            kind,
            always: false,
            variables,
            place,
            digest: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_service() {
        let catalog = Catalog::builtin();
        for (service, variable, name) in [
            ("github", "GITHUB_TOKEN", "github-token"),
            ("github", "DEPLOY_KEY", "github-deploy-key"),
            ("github", "githubber", "github-githubber"),
            ("npm", "//registry:_authToken", "npm-registry--authtoken"),
            ("stripe", "", "stripe"),
        ] {
            assert_eq!(Referable::name(service, variable), name);
            let name = CredentialName::new(name).expect("a name");
            assert_eq!(Referable::service(&catalog, &name).map(|known| known.name().as_str()), Some(service));
        }
        let name = CredentialName::new("githubber").expect("a name");
        assert!(Referable::service(&catalog, &name).is_none());
        assert_eq!(name_in("valetkey://a-b").as_ref().map(CredentialName::as_str), Some("a-b"));
        assert_eq!(name_in("valetkey://"), None);
    }
}
