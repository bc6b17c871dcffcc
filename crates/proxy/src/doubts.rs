//! Credentials whose services answered 401 and that no newer value mended. Whoever looks after credentials takes them from here and asks
//! the service about each, at its own pace: an agent can provoke a 401, so nothing follows from one.

use std::collections::HashMap;

use model::CredentialName;
use parking_lot::Mutex;

/// Credentials that are noted at once; more than one configuration has in doubt.
const DOUBTS_MAX: usize = 256;

/// How often each was refused since somebody looked.
#[derive(Debug, Default)]
pub struct Doubts(Mutex<HashMap<CredentialName, u64>>);

impl Doubts {
    /// Notes a refusal.
    pub(crate) fn note(&self, name: &CredentialName) {
        let mut all = self.0.lock();
        if let Some(times) = all.get_mut(name) {
            *times = times.saturating_add(1);
        } else if all.len() < DOUBTS_MAX {
            all.insert(name.clone(), 1);
        }
    }

    /// Takes what was noted of those that `due` names.
    pub fn take(&self, due: impl Fn(&CredentialName) -> bool) -> Vec<(CredentialName, u64)> {
        self.0.lock().extract_if(|name, _| due(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_within_a_bound() {
        let doubts = Doubts::default();
        let name = |number: usize| CredentialName::new(&format!("c{number}")).expect("a name");
        for number in (0..2 * DOUBTS_MAX).chain([0, 0]) {
            doubts.note(&name(number));
        }
        assert_eq!(doubts.take(|of| *of == name(0)), [(name(0), 3)]);
        assert_eq!(doubts.take(|_| true).len(), DOUBTS_MAX - 1);
        assert!(doubts.take(|_| true).is_empty());
    }
}
