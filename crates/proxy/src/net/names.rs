//! Names inside an isolated agent's namespace. Every name gets an address of its own from a range that is nobody's, so that a
//! connection to it tells which name was meant. No question leaves the machine: DNS carries nothing out, and whether a name
//! exists is found out when it is dialled, after policy.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use model::canonical::Host;
use parking_lot::RwLock;
use tokio::net::UdpSocket;

/// The first address that is given: 198.18.1.0 of 198.18.0.0/15 (RFC 2544), past the agent's own.
const FIRST: u32 = u32::from_be_bytes([198, 18, 1, 0]);
/// Names that one namespace may ask for; later ones are not answered.
const NAMES_MAX: u32 = 65_536;
/// A question over UDP is at most 512 octets (RFC 1035 4.2.1), with EDNS a little more.
const QUESTION_BYTES_MAX: usize = 1_232;
/// Seconds that an answer may be kept. Addresses never change their name.
const TTL_SECONDS: u32 = 300;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const NO_SUCH_NAME: u8 = 3;
const SERVER_FAILURE: u8 = 2;
const NOT_IMPLEMENTED: u8 = 4;

/// Names and the addresses that stand for them.
#[derive(Default)]
pub struct Names {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Host, u32>,
    names: Vec<Host>,
}

/// What a connection's address stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A name that was asked for, or an address that was dialled as such.
    Host(Host),
    /// An address of our range that stands for nothing.
    Nothing,
}

impl Names {
    /// The address that stands for a name; none when there are too many.
    fn address_of(&self, name: &Host) -> Option<Ipv4Addr> {
        if let Some(number) = self.table.read().by_name.get(name) {
            return Some(Ipv4Addr::from_bits(FIRST + number));
        }
        let mut table = self.table.write();
        let fresh = u32::try_from(table.names.len()).ok().filter(|number| *number < NAMES_MAX)?;
        let number = *table.by_name.entry(name.clone()).or_insert(fresh);
        if number == fresh {
            table.names.push(name.clone());
        }
        Some(Ipv4Addr::from_bits(FIRST + number))
    }

    /// What a dialled address stands for.
    #[must_use]
    pub fn meant(&self, address: IpAddr) -> Meant {
        let address = address.to_canonical();
        if let IpAddr::V4(v4) = address
            && let Some(number) = v4.to_bits().checked_sub(FIRST).filter(|number| *number < NAMES_MAX)
        {
            let table = self.table.read();
            let name = usize::try_from(number).ok().and_then(|number| table.names.get(number));
            return name.map_or(Meant::Nothing, |name| Meant::Host(name.clone()));
        }
        let text = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        Host::parse(&text).map_or(Meant::Nothing, Meant::Host)
    }

    /// The answer to a question (RFC 1035 4.1); none to what is none.
    #[must_use]
    pub fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let asked = Asked::read(question)?;
        let (code, address) = match asked.name.as_deref().map(|name| self.look_up(name)) {
            _ if asked.opcode != 0 => (NOT_IMPLEMENTED, None),
            None | Some(Found::NoName) => (NO_SUCH_NAME, None),
            Some(Found::Full) => (SERVER_FAILURE, None),
            Some(Found::Address(address)) => (0, Some(address)),
        };
        let wanted = asked.class == CLASS_IN && matches!(asked.kind, TYPE_A | TYPE_ANY);
        let address = address.filter(|_| wanted);
        let mut out = Vec::with_capacity(question.len() + 16);
        out.extend_from_slice(&asked.id);
        // Answer, authoritative, recursion as asked and available.
        out.extend_from_slice(&[0x84 | asked.opcode << 3 | asked.recursion, 0x80 | code, 0, 1, 0]);
        out.extend_from_slice(&[u8::from(address.is_some()), 0, 0, 0, 0]);
        out.extend_from_slice(asked.octets);
        if let Some(address) = address {
            // The name by reference to the question's.
            out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            out.extend_from_slice(&TTL_SECONDS.to_be_bytes());
            out.extend_from_slice(&[0, 4]);
            out.extend_from_slice(&address.octets());
        }
        Some(out)
    }

    fn look_up(&self, name: &str) -> Found {
        if name == "localhost" || name.ends_with(".localhost") {
            return Found::Address(Ipv4Addr::LOCALHOST);
        }
        match Host::parse(name) {
            // An address is no name.
            Ok(host) if host.address().is_none() => self.address_of(&host).map_or(Found::Full, Found::Address),
            _ => Found::NoName,
        }
    }
}

enum Found {
    Address(Ipv4Addr),
    NoName,
    Full,
}

/// One question.
struct Asked<'a> {
    id: [u8; 2],
    opcode: u8,
    recursion: u8,
    /// Lower case, without the final dot; none where it is no host's name.
    name: Option<String>,
    kind: u16,
    class: u16,
    /// Name, type and class as they were asked.
    octets: &'a [u8],
}

impl<'a> Asked<'a> {
    fn read(question: &'a [u8]) -> Option<Self> {
        let header = question.get(..HEADER_BYTES)?;
        let [id1, id2, flags, _, count1, count2, ..] = *header else { return None };
        // An answer is never answered; more questions than one never are (RFC 9619).
        if flags & 0x80 != 0 || [count1, count2] != [0, 1] || question.len() > QUESTION_BYTES_MAX {
            return None;
        }
        let body = question.get(HEADER_BYTES..)?;
        let mut at = 0;
        let mut name = String::new();
        let mut plain = true;
        loop {
            let length = usize::from(*body.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // 63 octets at most; a question refers to nothing before it.
            if length > 63 || name.len() + length > 253 {
                return None;
            }
            let label = body.get(at..at + length)?;
            plain &= label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            at += length;
        }
        let number = |at: usize| body.get(at..at + 2).and_then(|two| two.try_into().ok()).map(u16::from_be_bytes);
        Some(Self {
            id: [id1, id2],
            opcode: flags >> 3 & 0xf,
            recursion: flags & 1,
            name: (plain && !name.is_empty()).then_some(name),
            kind: number(at)?,
            class: number(at + 2)?,
            octets: body.get(..at + 4)?,
        })
    }
}

/// Answers questions until the socket fails.
pub async fn answer_names(socket: UdpSocket, names: Arc<Names>) {
    let mut question = [0u8; QUESTION_BYTES_MAX + 1];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut question).await else { return };
        if let Some(answer) = names.answer(question.get(..count).unwrap_or_default()) {
            // Whoever asked may be gone; it asks again if not.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            out.push(u8::try_from(label.len()).expect("short"));
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out
    }

    fn address(answer: &[u8]) -> Option<Ipv4Addr> {
        (answer[7] == 1).then(|| <[u8; 4]>::try_from(&answer[answer.len() - 4..]).expect("four").into())
    }

    #[test]
    fn each_name_has_an_address_and_back() {
        let names = Names::default();
        let first = address(&names.answer(&question("api.github.com", 1)).expect("answered")).expect("an address");
        let second = address(&names.answer(&question("API.openai.com", 1)).expect("answered")).expect("an address");
        assert_ne!(first, second);
        let again = address(&names.answer(&question("Api.GitHub.com", 1)).expect("answered"));
        assert_eq!(again, Some(first));
        let host = |name: &str| Meant::Host(Host::parse(name).expect("a host"));
        assert_eq!(names.meant(first.into()), host("api.github.com"));
        assert_eq!(names.meant(second.into()), host("api.openai.com"));
        assert_eq!(names.meant(second.to_ipv6_mapped().into()), host("api.openai.com"));
        assert_eq!(names.meant(Ipv4Addr::new(198, 18, 1, 2).into()), Meant::Nothing);
        assert_eq!(names.meant(Ipv4Addr::new(192, 0, 2, 7).into()), host("192.0.2.7"));
    }

    #[test]
    fn other_questions_have_no_address() {
        let names = Names::default();
        // AAAA: the name exists, and has none.
        let answer = names.answer(&question("api.github.com", 28)).expect("answered");
        assert_eq!((answer[3] & 0xf, address(&answer)), (0, None));
        for bad in ["1.2.3.4", "exa mple.com", ""] {
            let answer = names.answer(&question(bad, 1)).expect("answered");
            assert_eq!((answer[3] & 0xf, address(&answer)), (NO_SUCH_NAME, None), "{bad}");
        }
        let localhost = names.answer(&question("app.localhost", 1)).expect("answered");
        assert_eq!(address(&localhost), Some(Ipv4Addr::LOCALHOST));
        // An answer, two questions, a pointer, a cut one.
        let mut answer = question("a.test", 1);
        answer[2] |= 0x80;
        let mut two = question("a.test", 1);
        two[5] = 2;
        let mut pointer = question("a.test", 1);
        pointer[12] = 0xc0;
        let whole = question("a.test", 1);
        for bad in [&answer[..], &two, &pointer, &whole[..whole.len() - 1], &[]] {
            assert!(names.answer(bad).is_none());
        }
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for number in 0..NAMES_MAX {
            assert!(names.address_of(&Host::parse(&format!("n{number}.test")).expect("a host")).is_some());
        }
        let answer = names.answer(&question("one-more.test", 1)).expect("answered");
        assert_eq!((answer[3] & 0xf, address(&answer)), (SERVER_FAILURE, None));
        assert!(address(&names.answer(&question("n7.test", 1)).expect("answered")).is_some());
    }

    proptest! {
        #[test]
        fn any_octets(question in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(answer) = Names::default().answer(&question) {
                prop_assert!(answer.len() <= question.len() + 16);
                prop_assert_eq!(&answer[..2], &question[..2]);
            }
        }
    }
}
