//! The parsers of sealed octets and of what back ends and issuers answer, as the fuzz targets and their replay reach them. Compiled for them alone (feature `fuzzing`).

use model::{AgentName, Sealed, Tenant, UserName};

use crate::Reference;
use crate::seal::{Key, Label};

/// Opens hostile octets with a known key; true where they opened.
#[must_use]
pub fn opens(octets: &[u8]) -> bool {
    let tenant = Tenant::local();
    Key::from_octets(&[7; 32])
        .is_some_and(|key| key.open(&Sealed(octets.to_vec()), &Label::Data { tenant: &tenant }).is_ok())
}

/// Octets as an answer of STS, of a container's endpoint or of an instance's metadata, and as a shared file of AWS.
///
/// # Panics
/// A parser breaks its word: keys without a half.
pub fn sts(octets: &[u8]) {
    use crate::aws::{chain, profile, sts};
    let now = model::Timestamp::from_secs(0);
    let whole = |keys: &crate::aws::Keys| !keys.id.is_empty() && !keys.secret.is_empty();
    let token = secret::Secret::new(vec![b't']);
    for status in [200, 400] {
        let given = sts::read(&sts::Proof::Token(&token), "sts", &sts::reply(status, octets), now);
        assert!(status == 200 || given.is_err());
    }
    for keys in
        [sts::keys(octets, "AssumeRole"), sts::keys(octets, "AssumeRoleWithWebIdentity"), chain::read_given(octets)]
    {
        assert!(keys.is_none_or(|keys| whole(&keys) && keys.token.is_some() && keys.expires.is_some()));
    }
    for section in ["default", "profile dev"] {
        assert!(
            profile::keys(octets, section).is_ok_and(|keys| keys.is_none_or(|keys| whole(&keys)))
                || profile::keys(octets, section).is_err()
        );
    }
}

/// A reference on the first line, and behind it what a back end might answer: what is read is written as it was read, and what somebody's own
/// reference is filled to has the same shape.
///
/// # Panics
/// A parser breaks its word.
pub fn backend(octets: &[u8]) {
    let at = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let (line, body) = octets.split_at_checked(at).unwrap_or((octets, &[]));
    crate::backend::read_all(body.get(1..).unwrap_or_default());
    crate::issue::read_all(line, body.get(1..).unwrap_or_default());
    let Ok(text) = std::str::from_utf8(line) else { return };
    if let Ok(xml) = std::str::from_utf8(body) {
        let read: usize = crate::rotate::aws_iam::all(xml, "member").map(str::len).sum();
        assert!(read <= xml.len(), "no octet is read twice");
        let _ = crate::rotate::aws_iam::one(xml, "AccessKeyId");
    }
    let Ok(reference) = Reference::parse(text) else { return };
    assert_eq!(reference.as_str(), text);
    let (agent, user) = (AgentName::new("bot").ok(), UserName::new("ada@example.com").ok());
    let Ok(filled) = reference.in_environment(Some("staging")).and_then(|it| it.of(agent.as_ref(), user.as_ref()))
    else {
        return;
    };
    assert!(!filled.is_template(), "{filled} is still somebody's own");
    assert_eq!(filled.word(), reference.word());
    let parts = |it: &Reference| it.rest().matches(['/', '#', '?']).count();
    assert_eq!(parts(&filled), parts(&reference), "{filled} leads elsewhere");
}
