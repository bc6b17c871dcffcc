//! Messages of WebSockets, judged one by one, with the clients `ws` of Node and `websockets` of Python as they are.

use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{binary, root, tool};
use testkit::upstream::{Content, Upstream};
use testkit::{Answer, Canary};

use crate::mcp::beside;

const SAY: &str = r#"text:{"op":"say","room":"7","text":"hi"}"#;
const KICK: &str = r#"text:{"op":"kick","room":"7","who":"ada"}"#;

struct Scene {
    house: House,
    canary: Canary,
    upstream: Upstream,
}

impl Scene {
    /// `answer` is how the upstream opens a WebSocket.
    fn new(seed: u64, answer: Answer) -> Self {
        let upstream = Upstream::builder().route("GET", "/talk", answer).start();
        let canary = Canary::new(seed, "tok_", 40);
        let permission = |more: &str| {
            format!(
                "permissions: [{{ service: chat, credential: chat-token, actions: [messages/post, talk/leave]{more} }}]"
            )
        };
        let config = format!(
            "version: 1\negress: closed\nservices: [./chat.yaml]\ncredentials:\n  chat-token: {{ service: chat, from: env:CHAT_TOKEN }}\n\
             agents:\n  talker: {{ {} }}\n  limited: {{ {} }}\n  asker: {{ {} }}\nupstreams:\n{}",
            permission(", resources: [\"*\"]"),
            permission(", resources: [\"*\"], conditions: { limit: 2/hour }"),
            permission(", resources: [\"*\"], conditions: { approval: required }"),
            upstream.entry("chat.test")
        );
        let house = House::new(&config, &[("CHAT_TOKEN", &canary.value())]);
        std::fs::copy(root().join("crates/catalog/tests/sockets/chat.yaml"), house.path("chat.yaml")).unwrap();
        Self { house, canary, upstream }
    }

    fn echo(seed: u64) -> Self {
        Self::new(seed, Answer::status(426).content(Content::WebSocket(Some("hello".to_owned()))))
    }

    /// What either client printed, a line each: first `ws`, then `websockets`.
    fn talk(&self, agent: &str, words: &[&str]) -> [Vec<String>; 2] {
        let script =
            beside("clients", "socket_talk.mjs", &format!("socket-talk-{agent}-{}.mjs", self.canary.value().len()));
        let node = vec!["node".to_owned(), script.display().to_string()];
        let python = root().join("tests/e2e/clients/socket_talk.py").display().to_string();
        let python = vec![tool("venv/bin/python").display().to_string(), python];
        [node, python].map(|client| {
            let client: Vec<&str> = client.iter().map(String::as_str).chain(["wss://chat.test/talk"]).collect();
            let all: Vec<&str> = client.into_iter().chain(words.iter().copied()).collect();
            let (finished, _) = self.house.run_with(agent, &["--isolate=on"], &all);
            let finished = finished.expect_success("the client");
            self.canary.assert_absent("what the client saw", finished.stdout.as_bytes());
            finished.stdout.lines().map(str::to_owned).collect()
        })
    }

    /// Texts and binary messages that the upstream has seen.
    fn heard(&self) -> Vec<String> {
        let all = self.upstream.journal().messages().into_iter();
        all.filter(|message| message.opcode < 8)
            .map(|message| String::from_utf8_lossy(&message.payload).into())
            .collect()
    }

    /// Calls on record: decision, action, code.
    fn calls(&self) -> Vec<String> {
        let export = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        let events = export.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let calls = events.filter(|event| event["kind"] == "call");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        calls
            .map(|event| {
                format!("{} {} {}", text(&event["decision"]), text(&event["calls"][0]["action"]), text(&event["code"]))
            })
            .collect()
    }
}

#[test]
fn what_is_allowed_passes_whole_and_in_fragments() {
    let scene = Scene::echo(931);
    let said = SAY.trim_start_matches("text:");
    for printed in scene.talk("talker", &[SAY, r#"parts:{"op":"say",|"room":"8"}"#]) {
        // Both clients offer to compress, and are not taken up on it.
        assert!(matches!(printed[0].as_str(), "open \"\"" | "open []"), "{printed:?}");
        let want = ["text hello", &format!("text {said}"), r#"text {"op":"say","room":"8"}"#];
        assert_eq!(printed[1..4], want, "{printed:?}");
    }
    assert_eq!(scene.heard().len(), 4);
    let all = scene.upstream.journal().all();
    assert!(all.iter().all(|seen| seen.values("sec-websocket-extensions").is_empty()));
    assert_eq!(all[0].value("authorization"), format!("Bearer {}", scene.canary.value()));
    assert_eq!(scene.calls(), vec!["allow messages/post -"; 4]);
    scene.house.assert_audit();
}

#[test]
fn what_is_not_allowed_closes_it_and_is_not_seen() {
    let scene = Scene::echo(932);
    let invited = r#"text:{"op":"say","room":"7","text":"x","loud":true}"#;
    for (word, code, action) in [
        (KICK, "denied", "talk/kick"),
        (r#"parts:{"op":"kick",|"room":"7"}"#, "denied", "talk/kick"),
        (invited, "denied", "messages/post"),
        (r#"text:{"op":"burn"}"#, "denied", "socket/unlisted-message"),
        (r#"text:{"op":"say","op":"kick"}"#, "denied", "socket/unlisted-message"),
        (r#"binary:{"op":"say","room":"7"}"#, "denied", "socket/unlisted-message"),
        (r#"text:{"op":"SAY"}"#, "malformed", "talk/open"),
    ] {
        let (before, on_record) = (scene.heard().len(), scene.calls().len());
        for printed in scene.talk("talker", &[word, SAY]) {
            let last = printed.last().unwrap();
            assert!(last.starts_with(&format!("closed 1008 {code}: ")), "{word}: {printed:?}");
            assert_eq!(printed.len(), 3, "{word}: {printed:?}");
        }
        assert_eq!(scene.heard().len(), before, "{word} arrived");
        assert_eq!(scene.calls()[on_record..], vec![format!("deny {action} {code}"); 2], "{word}");
    }
    // The upstream is told too, by the same code.
    let closes = scene.upstream.journal().messages().into_iter().filter(|message| message.opcode == 8);
    assert!(closes.map(|message| message.payload[..2].to_vec()).all(|status| status == 1008u16.to_be_bytes()));
    scene.house.assert_audit();
}

#[test]
fn limits_count_messages_and_nobody_is_asked_about_one() {
    let scene = Scene::echo(933);
    let [first, second] = scene.talk("limited", &[SAY, SAY, SAY]);
    assert!(first.last().unwrap().starts_with("closed 1008 limit_reached: "), "{first:?}");
    assert_eq!(first.len(), 5, "{first:?}");
    // The limit is the agent's, not the connection's.
    assert_eq!(second.len(), 3, "{second:?}");
    assert_eq!(scene.heard().len(), 2);
    for printed in scene.talk("asker", &[SAY]) {
        assert!(printed.last().unwrap().starts_with("closed 1008 denied: This needs a person"), "{printed:?}");
    }
    assert_eq!(scene.heard().len(), 2);
    scene.house.assert_audit();
}

#[test]
fn an_extension_that_was_not_offered_is_refused() {
    let answer = Answer::status(426).content(Content::WebSocket(None));
    let scene = Scene::new(934, answer.header("sec-websocket-extensions", "permessage-deflate"));
    let script = beside("clients", "socket_talk.mjs", "socket-talk-extended.mjs");
    let words = ["node", script.to_str().unwrap(), "wss://chat.test/talk", SAY];
    let (finished, _) = scene.house.run_with("talker", &["--isolate=on"], &words);
    assert!(finished.stdout.contains("error Unexpected server response: 502"), "{}", finished.stdout);
    assert_eq!(scene.heard(), Vec::<String>::new());
}

#[test]
fn a_stop_cuts_an_open_one() {
    let scene = Scene::echo(935);
    // Where it has to be built first, that takes longer than anybody waits below.
    let _ = binary();
    let gone = std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while scene.heard().is_empty() && start.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = scene.house.valetkey(&["stop", "--agent", "talker"]).expect_success("stop");
        });
        let python = root().join("tests/e2e/clients/socket_talk.py").display().to_string();
        let program = tool("venv/bin/python").display().to_string();
        let words = [program.as_str(), &python, "wss://chat.test/talk", SAY, "wait"];
        scene.house.run_with("talker", &["--isolate=on"], &words).0
    });
    assert!(gone.stdout.lines().last().is_some_and(|line| line.starts_with("closed 1006")), "{}", gone.stdout);
    scene.house.assert_audit();
}
