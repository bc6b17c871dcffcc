//! `source`: the permission applies only to clients at these addresses or in these networks.

use std::net::IpAddr;

use model::Timestamp;

use super::{Condition, Needs, Reader};
use crate::Subject;
use crate::compile::text::quote;
use crate::document::Conditions;

#[derive(Clone, Copy, Debug)]
struct Network {
    address: u128,
    bits: u32,
    four: bool,
}

#[derive(Debug)]
struct From {
    networks: Vec<Network>,
    label: String,
    written: Vec<String>,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    if written.source.is_empty() {
        return Vec::new();
    }
    let mut networks = Vec::new();
    for text in &written.source {
        match Network::parse(&text.value) {
            Some(network) => networks.push(network),
            None => reader.say(text, "expected an address or a network such as `10.0.0.0/8`", None),
        }
    }
    let written: Vec<String> = written.source.iter().map(|text| text.value.clone()).collect();
    vec![Box::new(From { networks, label: format!("source {}", written.join(", ")), written })]
}

/// The address as bits; an IPv4 address inside an IPv6 one is the IPv4 address.
fn plain(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(four) => (u128::from(u32::from(four)), true),
        IpAddr::V6(six) => (u128::from(six), false),
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let (address, four) = plain(address.parse().ok()?);
        let width = if four { 32 } else { 128 };
        let bits = length.map_or(Some(width), |length| length.parse().ok()).filter(|bits| *bits <= width)?;
        Some(Self { address, bits: width - bits, four })
    }

    fn contains(self, address: IpAddr) -> bool {
        let (address, four) = plain(address);
        let front = |value: u128| value.checked_shr(self.bits).unwrap_or(0);
        four == self.four && front(address) == front(self.address)
    }
}

impl Condition for From {
    fn cedar(&self) -> Option<String> {
        Some(format!("context.holds.contains({})", quote(&self.label)))
    }

    fn needs(&self) -> Needs {
        Needs::HOLDS
    }

    fn holds(&self, subject: &Subject, _: Timestamp) -> Option<&str> {
        self.networks.iter().any(|network| network.contains(subject.source)).then_some(&self.label)
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "source", "source": self.written }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe12::1", false),
        ] {
            let parsed = Network::parse(network).expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), expected, "{address} in {network}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "x/8", "::1/129", "10.0.0.0/"] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
