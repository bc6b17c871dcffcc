//! Passwords in addresses: `scheme://user:password@host` (RFC 3986 3.2.1).

use super::Read;
use crate::finding::Certainty;
use crate::plausible;
use crate::window::Window;

const AUTHORITY_BYTES_MAX: usize = 512;

/// Schemes of databases, queues and directories.
const DATABASES: &[&[u8]] = &[
    b"postgres",
    b"postgresql",
    b"mysql",
    b"mariadb",
    b"mongodb",
    b"mongodb+srv",
    b"redis",
    b"rediss",
    b"valkey",
    b"amqp",
    b"amqps",
    b"mssql",
    b"sqlserver",
    b"clickhouse",
    b"cassandra",
    b"neo4j",
    b"neo4j+s",
    b"bolt",
    b"ldap",
    b"ldaps",
    b"nats",
    b"mqtt",
    b"mqtts",
    b"kafka",
    b"couchbase",
    b"couchbases",
    b"influxdb",
    b"cockroachdb",
    b"cloudinary",
    b"oracle",
    b"db2",
    b"snowflake",
];

/// Passwords of examples.
const WORDS: &[&[u8]] = &[
    b"password",
    b"pass",
    b"passwd",
    b"pw",
    b"pwd",
    b"secret",
    b"user",
    b"username",
    b"root",
    b"admin",
    b"postgres",
    b"mysql",
    b"guest",
    b"test",
    b"foo",
    b"bar",
    b"foobar",
    b"baz",
    b"token",
    b"pass123",
    b"password123",
    b"x-oauth-basic",
    b"p",
    b"key",
    b"apikey",
    b"api_key",
    b"api_secret",
    b"mypassword",
    b"pass@word",
    b"123456",
    b"1234",
    b"abc123",
    b"hunter2",
    b"default",
    b"dev",
];

pub(super) fn read(window: Window<'_>, (start, after): (usize, usize), database: bool) -> Option<Read> {
    let letter = |octet: u8| octet.is_ascii_alphanumeric() || b"+.-".contains(&octet);
    let begin = window.back(start, 20, letter);
    let scheme = window.slice(begin, start).to_ascii_lowercase();
    // An escaped end of a line before it is no part of it.
    let known = |scheme: &[u8]| {
        DATABASES.contains(&scheme)
            || DATABASES.iter().any(|known| {
                scheme.strip_prefix(b"n") == Some(known)
                    || scheme.rsplit(|octet| *octet == b'+').next_back() == Some(known)
            })
    };
    if scheme.is_empty() || known(&scheme) != database {
        return None;
    }
    let stop = |octet: u8| octet.is_ascii_graphic() && !b"/?#\"'`<>\\ ".contains(&octet);
    let end = window.skip(after, AUTHORITY_BYTES_MAX, stop);
    let authority = window.slice(after, end);
    let at = memchr::memrchr(b'@', authority)?;
    let user = memchr::memchr(b':', authority.get(..at)?)?;
    let password = authority.get(user + 1..at)?;
    let host = authority.get(at + 1..)?;
    let same = authority.get(..user) == Some(password);
    let template = password.iter().any(|octet| b"${}<>*[]()%".contains(octet)) && !is_percent(password);
    let weak = WORDS.contains(&password.to_ascii_lowercase().as_slice()) || password.len() < 5;
    if same || template || weak || host.is_empty() || plausible::is_example(password) || is_documentation(host) {
        return None;
    }
    // Two words joined are a user's example, not a password: `user:my-password@`.
    let lower = password.to_ascii_lowercase();
    if memchr::memmem::find(&lower, b"password").is_some()
        || !password.iter().any(|octet| !octet.is_ascii_lowercase()) && password.len() < 12
    {
        return None;
    }
    let first = after + user + 1;
    Some(Read { assigned: begin, ..Read::new(first, after + at, Certainty::Shaped) })
}

/// Only percent signs that encode something.
fn is_percent(password: &[u8]) -> bool {
    let plain = !password.iter().any(|octet| b"${}<>*[]()".contains(octet));
    plain
        && password
            .split(|octet| *octet == b'%')
            .skip(1)
            .all(|part| part.get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)))
}

/// Names that stand in documentation (RFC 2606).
fn is_documentation(host: &[u8]) -> bool {
    let host = host.to_ascii_lowercase();
    let name = host.split(|octet| *octet == b':').next().unwrap_or_default();
    [&b"example.com"[..], b"example.org", b"example.net"].iter().any(|end| name.ends_with(end))
        || name == b"host"
        || name == b"hostname"
}
