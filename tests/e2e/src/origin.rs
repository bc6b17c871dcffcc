//! ORIGIN in three makes: the kit's own server (hyper), Python's asyncio, and Node's http. The attack corpus runs against
//! each, since a request that two of them read alike may be read otherwise by the third.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use serde_json::Value;
use testkit::process::Running;
use testkit::upstream::Upstream;

use crate::house::{root, tool};

/// A request as an origin saw it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its target as it stood in the request line.
    pub target: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Sent {
    /// Every value of a header field.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// How often a text stands in it.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let headers: usize = self.headers.iter().map(|(_, value)| value.matches(text).count()).sum();
        headers + self.target.matches(text).count() + String::from_utf8_lossy(&self.body).matches(text).count()
    }
}

/// A running origin.
pub enum Origin {
    /// testkit's.
    Kit(Box<Upstream>),
    /// A script that keeps its journal in a file.
    Script {
        /// Kept to be killed at the end.
        process: Running,
        /// Where it listens.
        addr: SocketAddr,
        /// Where it writes.
        journal: PathBuf,
        /// What was read of it.
        read: std::cell::Cell<usize>,
    },
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Origin({})", self.addr())
    }
}

impl Origin {
    /// One of each make with its name; all show certificates of the first one's authority.
    #[must_use]
    pub fn all() -> Vec<(&'static str, Self)> {
        let kit = Upstream::start();
        let python = Self::script("python", &kit);
        let node = Self::script("node", &kit);
        vec![("kit", Self::Kit(Box::new(kit))), ("python", python), ("node", node)]
    }

    fn script(make: &str, kit: &Upstream) -> Self {
        let (cert, key) = kit.ca().leaf_pem(&[&format!("{make}.echo.test"), "localhost"]);
        let file = |name: &str| kit.folder().join(format!("{make}.{name}"));
        std::fs::write(file("pem"), cert).unwrap();
        std::fs::write(file("key"), key).unwrap();
        let journal = file("jsonl");
        std::fs::write(&journal, "").unwrap();
        let mut command = match make {
            "python" => Command::new(tool("venv/bin/python")),
            _ => Command::new("node"),
        };
        let extension = if make == "python" { "py" } else { "js" };
        command.arg(root().join(format!("tests/e2e/origins/origin.{extension}")));
        command.args([file("pem"), file("key"), journal.clone()]);
        let (process, line) = Running::ready(command);
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the {make} origin did not start: {line}"));
        Self::Script { process, addr: ([127, 0, 0, 1], port).into(), journal, read: std::cell::Cell::new(0) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        match self {
            Self::Kit(kit) => kit.addr(),
            Self::Script { addr, .. } => *addr,
        }
    }

    /// What arrived since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Sent> {
        match self {
            Self::Kit(kit) => kit.journal().take().into_iter().map(from_kit).collect(),
            Self::Script { journal, read, .. } => {
                let text = std::fs::read_to_string(journal).unwrap();
                let lines: Vec<&str> = text.lines().collect();
                let new = lines[read.get()..].iter().map(|line| from_json(line)).collect();
                read.set(lines.len());
                new
            }
        }
    }
}

fn from_kit(seen: testkit::Seen) -> Sent {
    let fields = seen.headers.iter().chain(&seen.trailers);
    let headers = fields
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Sent { method: seen.method, target: seen.target, headers, body: seen.body.to_vec() }
}

fn from_json(line: &str) -> Sent {
    let json: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = json["headers"].as_array().unwrap();
    let headers = headers.iter().map(|pair| (text(&pair[0]).to_lowercase(), text(&pair[1]))).collect();
    let body = base64::engine::general_purpose::STANDARD.decode(text(&json["body"])).unwrap();
    Sent { method: text(&json["method"]), target: text(&json["target"]), headers, body }
}

#[cfg(test)]
mod tests {
    use testkit::client::Wire;

    use super::*;

    #[test]
    fn origins_keep_their_journals() {
        let origins = Origin::all();
        let Origin::Kit(kit) = &origins[0].1 else { panic!("the first is the kit's") };
        let config = kit.ca().client(&["http/1.1"]);
        for (make, origin) in &origins {
            let name = format!("{make}.echo.test");
            let mut wire = Wire::open(origin.addr()).unwrap().tls(&name, &config).unwrap();
            let head = "POST /a/%41?x=1 HTTP/1.1\r\nHost: h\r\nX-Two: a\r\nX-Two: b\r\n";
            for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
            {
                wire.send(format!("{head}{body}").as_bytes()).unwrap();
                assert_eq!(wire.answer("POST").unwrap().status, 200, "{make}");
            }
            let sent = origin.take();
            assert_eq!(sent.len(), 2, "{make}");
            for one in sent {
                assert_eq!((one.method.as_str(), one.target.as_str()), ("POST", "/a/%41?x=1"), "{make}");
                assert_eq!((one.values("x-two"), one.body.as_slice()), (vec!["a", "b"], b"hello".as_slice()), "{make}");
            }
        }
    }
}
