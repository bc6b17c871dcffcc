//! Upstreams that are not what they should be, and limits that are what they say.

use e2e::House;
use testkit::ca::Leaf;
use testkit::process::Finished;
use testkit::{Ca, Canary, Upstream};

fn house(upstream: &Upstream, more: &str) -> (House, Canary) {
    let canary = Canary::new(301, "tok_", 40);
    let config = format!(
        "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, from: env:ECHO_TOKEN }}\n\
         agents:\n  tester:\n    permissions:\n      - service: echo\n        credential: echo-token\n        \
         methods: [GET, POST]\n        endpoints: [/]\n{more}upstreams:\n{}",
        upstream.entry("kit.echo.test")
    );
    let house = House::new(&config, &[("ECHO_TOKEN", &canary.value())]);
    std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
    (house, canary)
}

fn get(house: &House, path: &str) -> (Finished, e2e::Receipt) {
    let script =
        format!("curl -sS -w ' %{{http_code}}' -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test{path}");
    house.run("tester", &["sh", "-c", &script])
}

#[test]
fn faulty_upstreams() {
    let faults = [
        Leaf::WrongName("other.test".to_owned()),
        Leaf::Expired,
        Leaf::NotYet,
        Leaf::SelfSigned,
        Leaf::ClientOnly,
        Leaf::OtherCa,
    ];
    for leaf in faults {
        let upstream = Upstream::builder().leaf(leaf.clone()).start();
        let (house, canary) = house(&upstream, "");
        let (output, receipt) = get(&house, "/anything");
        assert!(
            output.stdout.contains("upstream_untrusted") && output.stdout.ends_with(" 502"),
            "{leaf:?}: {output:?}"
        );
        canary.assert_absent("the answer", output.stdout.as_bytes());
        assert!(upstream.journal().is_empty(), "{leaf:?}");
        assert_eq!(receipt.count("requests"), 1);
        house.assert_audit();
    }
}

#[test]
fn nobody_answers_there() {
    let upstream = Upstream::start();
    let (house, _) = house(&upstream, "");
    // Its authority is still named in the configuration; only nobody listens any more.
    let (ca, pem) = (upstream.ca_file(), std::fs::read(upstream.ca_file()).unwrap());
    drop(upstream);
    std::fs::create_dir_all(ca.parent().unwrap()).unwrap();
    std::fs::write(&ca, pem).unwrap();
    let (output, _) = get(&house, "/anything");
    assert!(output.stdout.contains("upstream_unreachable") && output.stdout.ends_with(" 502"), "{output:?}");
}

#[test]
fn limits_admit_exactly_what_they_say() {
    let upstream = Upstream::start();
    let (house, _) = house(&upstream, "        conditions: { limit: 10/hour }\n");
    let script = "for i in $(seq 25); do curl -s -o /dev/null -w '%{http_code}\\n' \
                  -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/anything & done; wait";
    let (output, receipt) = house.run("tester", &["sh", "-c", script]);
    let count = |status: &str| output.stdout.lines().filter(|line| *line == status).count();
    assert_eq!((count("200"), count("429")), (10, 15), "{}", output.stdout);
    assert_eq!(upstream.journal().len(), 10);
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (10, 15));
    // The limit outlives the run.
    let (output, _) = get(&house, "/anything");
    assert!(output.stdout.contains("limit_reached") && output.stdout.ends_with(" 429"), "{output:?}");
}

#[test]
fn interim_answers_and_odd_octets_are_scrubbed() {
    use testkit::{RawServer, Step};
    let ca = Ca::new("raw");
    let canary = Canary::new(301, "tok_", 40);
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: <https://x.test/?t={}>\r\n\r\n", canary.value());
    let head = format!("HTTP/1.1 200 Fine {}\r\nContent-Length: 2\r\n\r\nok", canary.value());
    let steps = vec![Step::ReadHead, Step::Write(hints.into_bytes()), Step::Dribble(head.into_bytes())];
    let server = RawServer::start(Some(ca.server(Leaf::Good, &["http/1.1"])), steps);
    let placeholder = Upstream::start();
    let (house, _) = house(&placeholder, "");
    let ca_file = house.path("raw.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let config = std::fs::read_to_string(house.config()).unwrap();
    let config = config.replace(&placeholder.addr().to_string(), &server.addr().to_string());
    let config = config.replace(&placeholder.ca_file().display().to_string(), &ca_file.display().to_string());
    std::fs::write(house.config(), config).unwrap();
    let (output, _) = house
        .run("tester", &["sh", "-c", "curl -sS -i -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/x"]);
    let output = output.expect_success("curl");
    canary.assert_absent("the answer", output.stdout.as_bytes());
    assert!(output.stdout.contains("ok"), "{}", output.stdout);
    assert!(String::from_utf8_lossy(&server.seen().concat()).contains(&canary.value()));
}
