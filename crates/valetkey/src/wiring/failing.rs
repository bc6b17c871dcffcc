//! Credentials that their services refuse. A 401 alone changes nothing, because an agent can bring one about: the service is asked with its
//! own harmless request, seldom, and only what fails there is replaced.

use std::collections::HashMap;

use model::{CredentialName, Rank, Timestamp};
use vault::VersionState;

use super::credential_test::{Subject, Tested, ask_service};
use super::plan::Held;
use super::schedule::Schedule;

/// Between two looks at one credential, seconds; twice as long each time that nothing could be mended, up to an hour.
const REST_SECONDS: u64 = 60;
const REST_SECONDS_MAX: u64 = 3_600;

/// What 401 says: this value, and not what was asked with it.
const REFUSED: u16 = 401;

/// When each may be looked at again, and how often it could not be mended.
#[derive(Default)]
pub(super) struct Rests(HashMap<CredentialName, (Timestamp, u32)>);

impl Rests {
    fn is_due(&self, name: &CredentialName, now: Timestamp) -> bool {
        self.0.get(name).is_none_or(|(until, _)| now >= *until)
    }

    fn looked(&mut self, name: &CredentialName, now: Timestamp, mended: bool) {
        let failed = if mended { 0 } else { self.0.get(name).map_or(0, |(_, failed)| failed + 1) };
        let rest = (REST_SECONDS << failed.min(16)).min(REST_SECONDS_MAX);
        self.0.insert(name.clone(), (now.plus_secs(rest), failed));
    }
}

/// What came of a look.
enum Found {
    /// It works, or nobody can tell.
    Good(String),
    /// Another version is in use now.
    Mended(u64, String),
    /// Nothing that is known works.
    Bad(String),
}

impl Schedule {
    /// Looks into what was refused since the last time.
    pub(super) async fn look_into(&self, all: &[Held], rests: &mut Rests) {
        let now = self.opened.clock.now();
        rests.0.retain(|name, _| all.iter().any(|held| held.name == *name));
        for (name, times) in self.gateway.doubts.take(|name| rests.is_due(name, now)) {
            let Some(held) = all.iter().find(|held| held.name == name) else { continue };
            let found =
                self.mend(held).await.unwrap_or_else(|error| Found::Bad(format!("it cannot be mended: {error:#}")));
            rests.looked(&name, now, !matches!(found, Found::Bad(_)));
            match found {
                Found::Good(why) => (self.record)(&name, 0, &format!("refused {times} times: {why}")),
                Found::Mended(version, what) => (self.alert)(&name, version, Rank::High, &what),
                Found::Bad(why) => (self.alert)(&name, 0, Rank::Critical, &format!("refused {times} times: {why}")),
            }
        }
    }

    /// What its service says of a credential, or of a version that is lent; none where it cannot tell.
    async fn ask(&self, held: &Held, name: &CredentialName) -> anyhow::Result<Option<Tested>> {
        let Some(service) = &held.service else { return Ok(None) };
        let snapshot = self.gateway.snapshot.load_full();
        let place = (&self.opened, &self.sources, &snapshot.catalog);
        let check = held.issuing.as_deref().and_then(super::issuing::check_of);
        ask_service(&self.ambient, place, Subject { name, service, kind: &held.kind, user: None, check }).await
    }

    async fn mend(&self, held: &Held) -> anyhow::Result<Found> {
        let (vault, tenant, name) = (&self.opened.vault, &self.opened.tenant, &held.name);
        let Some(tested) = self.ask(held, name).await? else {
            return Ok(Found::Good("its service offers no harmless request to ask with".to_owned()));
        };
        if tested.status != REFUSED {
            return Ok(Found::Good(format!(
                "its service answers {} to the harmless request, so it stays",
                tested.status
            )));
        }
        let versions = vault.show(tenant, name).await?.versions;
        let in_state = |state| versions.iter().find(|version| version.state == state).map(|version| version.version);
        let Some(current) = in_state(VersionState::Current) else {
            return Ok(Found::Bad("its service refuses it; give it a new value where it comes from".to_owned()));
        };
        if let Some(before) = in_state(VersionState::Grace) {
            let lent = vault.lend(tenant, name, before)?;
            let tested = self.ask(held, lent.name()).await?;
            if tested.is_some_and(|tested| tested.failure.is_none()) {
                let (old, new) = vault.roll_back(tenant, name).await?;
                return Ok(Found::Mended(
                    old,
                    format!("its service refuses version {new} and takes version {old}, which is in use again"),
                ));
            }
        }
        if held.rotation.as_ref().is_some_and(|rotation| rotation.with.is_some()) {
            return self.replace(held, current).await;
        }
        Ok(Found::Bad(format!(
            "its service refuses version {current}, and there is no other; `valetkey credential rotate {name}` takes a new value"
        )))
    }

    /// Has whoever the configuration names make another.
    async fn replace(&self, held: &Held, current: u64) -> anyhow::Result<Found> {
        let under_way = self.opened.vault.rotations(&self.opened.tenant).await?;
        let row = under_way.iter().find(|row| row.credential == held.name);
        let (version, words) = self.turn(held, row, Some("refused by its service")).await?;
        let words = format!("its service refuses version {current}; {words}");
        Ok(version.map_or_else(|| Found::Bad(words.clone()), |version| Found::Mended(version, words.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_seldom() {
        let (mut rests, name) = (Rests::default(), CredentialName::new("c").expect("a name"));
        let at = Timestamp::from_secs;
        assert!(rests.is_due(&name, at(0)));
        rests.looked(&name, at(0), true);
        assert!(!rests.is_due(&name, at(59)) && rests.is_due(&name, at(60)));
        for (failed, rest) in [(1, 120), (2, 240), (3, 480)] {
            rests.looked(&name, at(1_000), false);
            assert!(!rests.is_due(&name, at(1_000 + rest - 1)) && rests.is_due(&name, at(1_000 + rest)), "{failed}");
        }
        for _ in 0..100 {
            rests.looked(&name, at(0), false);
        }
        assert!(rests.is_due(&name, at(3_600)));
        rests.looked(&name, at(0), true);
        assert!(rests.is_due(&name, at(60)));
    }
}
