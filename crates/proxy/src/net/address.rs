//! Which addresses are never dialled (rows F68-F71): a table, read after every disguise has been taken off.
//!
//! Unconditional: `upstreams:` names single socket addresses that are dialled instead of asking the resolver; nothing
//! widens this table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is never dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Answers with credentials of the machine to whoever asks.
    Metadata,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, site-local).
    Private,
    /// Carrier-grade NAT (RFC 6598).
    Shared,
    /// This link.
    LinkLocal,
    /// Many receivers.
    Multicast,
    /// `0.0.0.0/8`, `::`: "this host" to most kernels.
    Unspecified,
    /// Reserved, documentation, benchmarking, translation: nothing public lives there.
    Reserved,
}

impl Blocked {
    /// A word for messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        }
    }
}

use Blocked as B;

/// The IANA special-purpose registry for IPv4 (RFC 6890 and its updates) and metadata addresses of clouds that lie in
/// public space. Prefix, length, why.
const FOUR: [([u8; 4], u32, Blocked); 19] = [
    ([169, 254, 169, 254], 32, B::Metadata),
    ([169, 254, 170, 2], 32, B::Metadata),
    ([100, 100, 100, 200], 32, B::Metadata),
    ([192, 0, 0, 192], 32, B::Metadata),
    ([168, 63, 129, 16], 32, B::Metadata),
    ([0, 0, 0, 0], 8, B::Unspecified),
    ([10, 0, 0, 0], 8, B::Private),
    ([100, 64, 0, 0], 10, B::Shared),
    ([127, 0, 0, 0], 8, B::Loopback),
    ([169, 254, 0, 0], 16, B::LinkLocal),
    ([172, 16, 0, 0], 12, B::Private),
    ([192, 0, 0, 0], 24, B::Reserved),
    ([192, 0, 2, 0], 24, B::Reserved),
    ([192, 88, 99, 0], 24, B::Reserved),
    ([192, 168, 0, 0], 16, B::Private),
    ([198, 18, 0, 0], 15, B::Reserved),
    ([198, 51, 100, 0], 24, B::Reserved),
    ([203, 0, 113, 0], 24, B::Reserved),
    ([224, 0, 0, 0], 4, B::Multicast),
];

/// The same for IPv6. What embeds an IPv4 address has been unwrapped before; what is left of those ranges is refused.
const SIX: [([u16; 8], u32, Blocked); 15] = [
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, B::Metadata),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, B::Metadata),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, B::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, B::Loopback),
    ([0, 0, 0, 0, 0, 0, 0, 0], 8, B::Reserved),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, B::Reserved),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, B::Reserved),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, B::Reserved),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, B::Reserved),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, B::Reserved),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, B::Reserved),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, B::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, B::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, B::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, B::Multicast),
];

/// Whether an address is never dialled, and why.
///
/// An IPv6 address that embeds an IPv4 one is blocked when either is. Translation prefixes (NAT64) that embed a public
/// address pass: networks without IPv4 reach the world through them.
#[must_use]
pub fn blocked(address: IpAddr) -> Option<Blocked> {
    match address {
        IpAddr::V4(four) => blocked_four(four),
        IpAddr::V6(six) => blocked_six(six),
    }
}

fn blocked_four(address: Ipv4Addr) -> Option<Blocked> {
    let bits = address.to_bits();
    if bits >> 28 == 0xf {
        return Some(Blocked::Reserved);
    }
    let inside = |prefix: [u8; 4], length: u32| (bits ^ u32::from_be_bytes(prefix)) >> (32 - length) == 0;
    FOUR.iter().find(|(prefix, length, _)| inside(*prefix, *length)).map(|(_, _, why)| *why)
}

fn blocked_six(address: Ipv6Addr) -> Option<Blocked> {
    let bits = address.to_bits();
    let table = || {
        let inside = |prefix: [u16; 8], length: u32| (bits ^ Ipv6Addr::from(prefix).to_bits()) >> (128 - length) == 0;
        SIX.iter().find(|(prefix, length, _)| inside(*prefix, *length)).map(|(_, _, why)| *why)
    };
    match embedded(address) {
        Some((four, translated)) => {
            let why = blocked_four(four);
            if why.is_some() || translated { why } else { table() }
        }
        None => table(),
    }
}

/// The IPv4 address inside, and whether the outer address is only a way to write or reach it.
fn embedded(address: Ipv6Addr) -> Option<(Ipv4Addr, bool)> {
    let parts = address.segments();
    let low = Ipv4Addr::from_bits(address.to_bits() as u32);
    let middle = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped (RFC 4291 2.5.5.2), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some((low, true)),
        // Local NAT64 (RFC 8215), compatible (2.5.5.1), translated (RFC 2765), ISATAP (RFC 5214).
        [0x64, 0xff9b, 1, ..] | [0, 0, 0, 0, 0 | 0xffff, 0, ..] | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => {
            Some((low, false))
        }
        // 6to4 (RFC 3056); Teredo (RFC 4380 4), whose client address is inverted.
        [0x2002, high, low, ..] => Some((middle(high, low), false)),
        [0x2001, 0, _, _, _, _, high, low] => Some((middle(!high, !low), false)),
        _ => None,
    }
}

/// The addresses of this machine: a request to one of them is a loop, or an agent that reaches for our own ports (row
/// A12). Listed `upstreams:` pass.
#[derive(Clone, Debug, Default)]
pub struct Own(Vec<IpAddr>);

impl Own {
    /// Those that the wiring knows: what it listens on, the public name's addresses.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Self(addresses)
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Blocked> {
        blocked(text.parse().unwrap_or_else(|_| panic!("{text} is an address")))
    }

    #[test]
    fn never_dialled() {
        for (text, why) in [
            // F68
            ("169.254.169.254", B::Metadata),
            ("169.254.170.2", B::Metadata),
            ("100.100.100.200", B::Metadata),
            ("192.0.0.192", B::Metadata),
            ("168.63.129.16", B::Metadata),
            ("fd00:ec2::254", B::Metadata),
            ("fd20:ce::254", B::Metadata),
            ("::ffff:169.254.169.254", B::Metadata),
            ("64:ff9b::a9fe:a9fe", B::Metadata),
            // F69
            ("127.0.0.1", B::Loopback),
            ("127.255.255.255", B::Loopback),
            ("::1", B::Loopback),
            ("10.0.0.1", B::Private),
            ("10.255.255.255", B::Private),
            ("172.16.0.1", B::Private),
            ("172.31.255.255", B::Private),
            ("192.168.1.1", B::Private),
            ("100.64.0.1", B::Shared),
            ("100.127.255.255", B::Shared),
            ("169.254.1.1", B::LinkLocal),
            ("fe80::1", B::LinkLocal),
            ("febf::1", B::LinkLocal),
            ("fc00::1", B::Private),
            ("fdff::1", B::Private),
            ("fec0::1", B::Private),
            ("224.0.0.1", B::Multicast),
            ("239.255.255.255", B::Multicast),
            ("ff02::1", B::Multicast),
            ("0.0.0.0", B::Unspecified),
            ("0.1.2.3", B::Unspecified),
            ("::", B::Unspecified),
            ("198.18.0.1", B::Reserved),
            ("198.19.255.255", B::Reserved),
            ("240.0.0.1", B::Reserved),
            ("255.255.255.255", B::Reserved),
            ("192.0.0.1", B::Reserved),
            ("192.0.2.1", B::Reserved),
            ("198.51.100.1", B::Reserved),
            ("203.0.113.1", B::Reserved),
            ("192.88.99.1", B::Reserved),
            ("2001:db8::1", B::Reserved),
            ("3fff::1", B::Reserved),
            ("100::1", B::Reserved),
            // F70
            ("::ffff:127.0.0.1", B::Loopback),
            ("::ffff:10.0.0.1", B::Private),
            ("64:ff9b::7f00:1", B::Loopback),
            ("64:ff9b:1::7f00:1", B::Loopback),
            ("64:ff9b:1::808:808", B::Reserved),
            ("2002:7f00:1::", B::Loopback),
            ("2002:0808:0808::1", B::Reserved),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", B::Loopback),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", B::Reserved),
            ("2606:4700::5efe:7f00:1", B::Loopback),
            ("2606:4700::200:5efe:7f00:1", B::Loopback),
            ("::127.0.0.1", B::Loopback),
            ("::8.8.8.8", B::Reserved),
            ("::ffff:0:127.0.0.1", B::Loopback),
        ] {
            assert_eq!(of(text), Some(why), "{text}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for text in [
            "8.8.8.8",
            "140.82.112.3",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "11.0.0.1",
            "169.253.0.1",
            "2606:4700::1111",
            "2a00:1450:4001::200e",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
            "2606:4700::200:5efe:808:808",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
