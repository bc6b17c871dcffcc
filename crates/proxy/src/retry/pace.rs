//! Who is put off by an upstream, and until when: noted for each origin and credential, so that a hundred requests that were put
//! off do not come back at one moment.

use std::collections::HashMap;
use std::time::Duration;

use model::CredentialName;
use model::canonical::Origin;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Between two that come back to one place.
const APART: Duration = Duration::from_millis(50);
/// Places that are remembered; where there are more, a 429 passes on.
const PLACES_MAX: usize = 1_024;

/// Whose requests, and where.
pub(crate) type Place = (Origin, CredentialName);

#[derive(Clone, Copy)]
struct Pace {
    /// The upstream wants none before.
    not_before: Instant,
    /// The next free moment.
    next: Instant,
}

/// The notes of one process.
#[derive(Default)]
pub struct Paces(Mutex<HashMap<Place, Pace>>);

impl Paces {
    /// Takes a moment for a request that the upstream wants back no sooner than `earliest`; none before `deadline`.
    pub(crate) fn put_off(&self, place: &Place, earliest: Instant, deadline: Instant) -> Option<Instant> {
        let mut all = self.0.lock();
        if all.len() >= PLACES_MAX && !all.contains_key(place) {
            let now = Instant::now();
            all.retain(|_, pace| pace.next > now);
            if all.len() >= PLACES_MAX {
                return None;
            }
        }
        let known = all.get(place).copied();
        let not_before = known.map_or(earliest, |known| known.not_before.max(earliest));
        let at = known.map_or(not_before, |known| known.next.max(not_before));
        // That the upstream wants none is noted, whoever waits for it.
        let next = if at > deadline { at } else { at + APART };
        all.insert(place.clone(), Pace { not_before, next });
        (at <= deadline).then_some(at)
    }

    /// Another moment for one whose moment has come, where the upstream has put off somebody else meanwhile; none where it may go.
    pub(crate) fn put_off_again(&self, place: &Place, now: Instant, deadline: Instant) -> Option<Instant> {
        let not_before = self.0.lock().get(place).map(|pace| pace.not_before).filter(|at| *at > now)?;
        self.put_off(place, not_before, deadline)
    }
}

#[cfg(test)]
mod tests {
    use model::canonical::{Host, Scheme};

    use super::*;

    fn place(host: &str) -> Place {
        let host = Host::parse(host).expect("a host");
        (Origin { scheme: Scheme::Https, host, port: 443 }, CredentialName::new("c").expect("a name"))
    }

    #[test]
    fn each_has_a_moment_of_its_own() {
        let (paces, now) = (Paces::default(), Instant::now());
        let (soon, end) = (now + Duration::from_secs(2), now + Duration::from_secs(5));
        let mut taken: Vec<Instant> = (0..100).filter_map(|_| paces.put_off(&place("a.test"), soon, end)).collect();
        assert_eq!(taken.len(), 61, "those for whom there is time");
        assert!(taken.iter().all(|at| (soon..=end).contains(at)));
        taken.dedup();
        assert_eq!(taken.len(), 61);
        assert_eq!(paces.put_off(&place("b.test"), soon, end), Some(soon), "another place is another matter");
    }

    #[test]
    fn who_wakes_up_hears_that_it_is_later_now() {
        let (paces, now) = (Paces::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let here = place("a.test");
        assert_eq!(paces.put_off(&here, at(1), at(60)), Some(at(1)));
        assert_eq!(paces.put_off_again(&here, at(1), at(60)), None);
        assert_eq!(paces.put_off(&here, at(10), at(60)), Some(at(10)));
        assert_eq!(paces.put_off_again(&here, at(1), at(60)), Some(at(10) + APART));
        assert_eq!(paces.put_off_again(&here, at(1), at(9)), None, "no time left: it goes, and hears for itself");
    }

    #[test]
    fn there_is_a_bound() {
        let (paces, now) = (Paces::default(), Instant::now());
        let (soon, end) = (now + Duration::from_mins(1), now + Duration::from_mins(5));
        for number in 0..PLACES_MAX {
            assert!(paces.put_off(&place(&format!("h{number}.test")), soon, end).is_some());
        }
        assert_eq!(paces.put_off(&place("one-more.test"), soon, end), None);
    }
}
