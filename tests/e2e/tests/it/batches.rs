//! Batches through the gateway: each request in one is judged, and the credential goes on the batch.

use std::fmt::Write as _;

use e2e::House;
use testkit::{Answer, Canary, Upstream};

/// A part of a batch, written for `printf`.
fn part(request: &str) -> String {
    format!("--b\\r\\nContent-Type: application/http\\r\\n\\r\\n{request}\\r\\n")
}

#[test]
fn a_batch_may_do_what_each_of_its_requests_may() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::body("multipart/mixed; boundary=a", "--a--"))).start();
    let token = Canary::new(861, "ya29.", 60);
    let config = format!(
        "version: 1\negress: closed\ncredentials:\n  mail: {{ service: google, from: env:GOOGLE_WORKSPACE_CLI_TOKEN }}\nagents:\n  \
         reader:\n    permissions:\n      - {{ service: google, credential: mail, actions: [gmail.users.messages.get], \
         resources: [\"mailbox:me\"] }}\nupstreams:\n{}",
        upstream.entry("gmail.googleapis.com")
    );
    let house = House::new(&config, &[("GOOGLE_WORKSPACE_CLI_TOKEN", &token.value())]);
    let read = |id: u8| part(&format!("GET /gmail/v1/users/me/messages/m{id} HTTP/1.1\\r\\n\\r\\n"));
    let send = part(
        "POST /gmail/v1/users/me/messages/send HTTP/1.1\\r\\nContent-Type: application/json\\r\\nContent-Length: 11\\r\\n\\r\\n\
         {\"raw\":\"x\"}",
    );
    let own = part(
        "GET /gmail/v1/users/me/messages/m1 HTTP/1.1\\r\\nAuthorization: Bearer '$GOOGLE_WORKSPACE_CLI_TOKEN'\\r\\n\\r\\n",
    );
    let elsewhere = part("GET /gmail/v1/users/me/messages/m1 HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n");
    let mut script = String::new();
    for body in [
        read(1) + &read(2),
        read(1) + &send,
        read(1) + &own,
        read(1) + &elsewhere,
        read(1) + &part("POST /batch/gmail/v1 HTTP/1.1\\r\\n\\r\\n"),
    ] {
        let _ = writeln!(
            script,
            "printf '%b' '{body}--b--' | curl -sS -o /dev/null -w '%{{http_code}}\\n' -H \"Authorization: Bearer $GOOGLE_WORKSPACE_CLI_TOKEN\" \
             -H 'Content-Type: multipart/mixed; boundary=b' --data-binary @- https://gmail.googleapis.com/batch/gmail/v1"
        );
    }
    let (finished, _) = house.run("reader", &["sh", "-c", &script]);
    let finished = finished.expect_success("the agent");
    token.assert_absent("what the agent saw", finished.stdout.as_bytes());
    let codes: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(codes[..2], ["200", "403"], "{codes:?}");
    assert!(codes.len() == 5 && codes[2..].iter().all(|code| code.starts_with('4')), "{codes:?}");
    let all = upstream.journal().all();
    assert_eq!(all.len(), 1, "what is refused is not sent");
    assert_eq!(all[0].value("authorization"), format!("Bearer {}", token.value()));
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    for word in ["\"gmail.users.messages.get\"", "\"gmail.users.messages.send\"", "\"mailbox:me\""] {
        assert!(export.contains(word), "{word} is not in the log");
    }
    house.assert_audit();
}
