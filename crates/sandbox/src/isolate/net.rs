//! The network of an isolated agent: a loopback interface to which everything is local, and one rule that brings every
//! connection to the gateway's listener with its address kept.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::net::netlink;

use super::netlink::{ACK, CREATE, Message, Netlink, REQUEST};

/// The agent's own address besides loopback. Programs that ask for "an address" (glibc's `AI_ADDRCONFIG` counts only those
/// that are not 127.0.0.1) find one, and connecting to it reaches the agent itself. Of the range for benchmarks (RFC 2544),
/// which is nobody's.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same for IPv6: a unique local address (RFC 4193).
pub const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd76, 0x616c, 0x6574, 0, 0, 0, 0, 1);

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;
const INET: u8 = 2;
const INET6: u8 = 10;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;

/// Brings loopback up, gives it our addresses and makes every address local (`ip route add local default dev lo`).
pub(super) fn make_everything_local() -> io::Result<()> {
    let mut socket = Netlink::open(None)?;
    // struct ifinfomsg: IFF_UP set, and changed.
    let mut link = vec![0; 4];
    link.extend_from_slice(&LOOPBACK.to_ne_bytes());
    link.extend_from_slice(&1u32.to_ne_bytes());
    link.extend_from_slice(&1u32.to_ne_bytes());
    let up = Message::new(NEW_LINK, REQUEST | ACK, socket.next(), &link).finish();
    socket.send(&up, 1)?;
    let families = [(INET, OWN_V4.octets().to_vec()), (INET6, OWN_V6.octets().to_vec())];
    for (family, address) in families {
        let result = local(&mut socket, family, &address);
        // A kernel without IPv6 has no way out by IPv6 either.
        if family == INET || result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            result?;
        }
    }
    Ok(())
}

fn local(socket: &mut Netlink, family: u8, address: &[u8]) -> io::Result<()> {
    // struct ifaddrmsg: family, length of the prefix, IFA_F_NODAD, scope, interface.
    let bits = u8::try_from(address.len() * 8).unwrap_or(128);
    let mut fixed = vec![family, bits, 2, 0];
    fixed.extend_from_slice(&LOOPBACK.to_ne_bytes());
    let mut message = Message::new(NEW_ADDRESS, REQUEST | ACK | CREATE, socket.next(), &fixed);
    message.attribute(2, address).attribute(1, address);
    socket.send(&message.finish(), 1)?;
    // struct rtmsg: prefix of length 0, table local (255), protocol boot (3), scope host (254), type local (2).
    let fixed = [family, 0, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0];
    let mut message = Message::new(NEW_ROUTE, REQUEST | ACK | CREATE, socket.next(), &fixed);
    message.attribute(4, &LOOPBACK.to_ne_bytes());
    socket.send(&message.finish(), 1)
}

/// Where diverted connections are accepted. The ports are privileged, so that they are none that an agent could bind.
pub(super) const DIVERSION_PORT: u16 = 1;

const NFT: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = NFT;
const NEW_CHAIN: u16 = NFT | 3;
const NEW_RULE: u16 = NFT | 6;
/// `NFPROTO_INET`: one table for both families.
const BOTH: u8 = 1;
const TABLE: &str = "valetkey";
const CHAIN: &str = "divert";
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;

/// Adds the rule (`nft` would print it as below), and so says whether the kernel has what it needs.
///
/// ```text
/// table inet valetkey {
///   chain divert {
///     type filter hook prerouting priority mangle; policy accept;
///     meta nfproto ipv4 meta l4proto tcp ip daddr & 255.0.0.0 != 127.0.0.0 ip daddr != 198.18.0.1 tproxy ip to 127.0.0.1:1
///     meta nfproto ipv6 meta l4proto tcp ip6 daddr != ::1 ip6 daddr != fd76:616c:6574::1 tproxy ip6 to [::1]:1
///   }
/// }
/// ```
pub(super) fn divert_every_port() -> io::Result<()> {
    let mut socket = Netlink::open(Some(netlink::NETFILTER))?;
    // struct nfgenmsg: family, version, and for batches the subsystem in network order.
    let batch = [0, 0, 0, 10];
    let fixed = [BOTH, 0, 0, 0];
    let mut octets = Message::new(BATCH_BEGIN, REQUEST, socket.next(), &batch).finish();
    let mut table = Message::new(NEW_TABLE, REQUEST | ACK | CREATE, socket.next(), &fixed);
    table.text(1, TABLE);
    octets.extend(table.finish());
    let mut chain = Message::new(NEW_CHAIN, REQUEST | ACK | CREATE, socket.next(), &fixed);
    chain.text(1, TABLE).text(3, CHAIN).nest(4, |hook| {
        hook.number(1, 0).number(2, (-150i32).cast_unsigned());
    });
    chain.number(5, 1).text(7, "filter");
    octets.extend(chain.finish());
    for rule in [rule_v4 as fn(&mut Message), rule_v6] {
        let mut message = Message::new(NEW_RULE, REQUEST | ACK | CREATE | 0x800, socket.next(), &fixed);
        message.text(1, TABLE).text(2, CHAIN).nest(4, rule);
        octets.extend(message.finish());
    }
    octets.extend(Message::new(BATCH_END, REQUEST, socket.next(), &batch).finish());
    socket.send(&octets, 4)
}

fn expression(rule: &mut Message, name: &str, data: impl FnOnce(&mut Message)) {
    rule.nest(1, |element| {
        element.text(1, name).nest(2, data);
    });
}

fn value(message: &mut Message, kind: u16, octets: &[u8]) {
    message.nest(kind, |data| {
        data.attribute(1, octets);
    });
}

/// `meta KEY == VALUE`.
fn meta(rule: &mut Message, key: u32, wanted: u8) {
    expression(rule, "meta", |data| {
        data.number(1, REGISTER_1).number(2, key);
    });
    compare(rule, 0, &[wanted]);
}

/// Compares register 1: 0 for equal, 1 for not.
fn compare(rule: &mut Message, how: u32, octets: &[u8]) {
    expression(rule, "cmp", |data| {
        data.number(1, REGISTER_1).number(2, how);
        value(data, 3, octets);
    });
}

/// Loads octets of the network header into register 1.
fn load(rule: &mut Message, offset: u32, length: usize) {
    expression(rule, "payload", |data| {
        let length = u32::try_from(length).unwrap_or(0);
        data.number(1, REGISTER_1).number(2, 1).number(3, offset).number(4, length);
    });
}

/// `tproxy to ADDRESS:1`.
fn tproxy(rule: &mut Message, family: u8, address: &[u8]) {
    for (register, octets) in [(REGISTER_1, address), (REGISTER_2, &DIVERSION_PORT.to_be_bytes()[..])] {
        expression(rule, "immediate", |data| {
            data.number(1, register);
            value(data, 2, octets);
        });
    }
    expression(rule, "tproxy", |data| {
        data.number(1, u32::from(family)).number(2, REGISTER_1).number(3, REGISTER_2);
    });
}

const KEY_FAMILY: u32 = 15;
const KEY_PROTOCOL: u32 = 16;
const TCP: u8 = 6;

fn rule_v4(rule: &mut Message) {
    meta(rule, KEY_FAMILY, INET);
    meta(rule, KEY_PROTOCOL, TCP);
    load(rule, 16, 4);
    expression(rule, "bitwise", |data| {
        data.number(1, REGISTER_1).number(2, REGISTER_1).number(3, 4);
        value(data, 4, &[255, 0, 0, 0]);
        value(data, 5, &[0; 4]);
    });
    compare(rule, 1, &[127, 0, 0, 0]);
    load(rule, 16, 4);
    compare(rule, 1, &OWN_V4.octets());
    tproxy(rule, INET, &Ipv4Addr::LOCALHOST.octets());
}

fn rule_v6(rule: &mut Message) {
    meta(rule, KEY_FAMILY, INET6);
    meta(rule, KEY_PROTOCOL, TCP);
    for spared in [Ipv6Addr::LOCALHOST, OWN_V6] {
        load(rule, 24, 16);
        compare(rule, 1, &spared.octets());
    }
    tproxy(rule, INET6, &Ipv6Addr::LOCALHOST.octets());
}
