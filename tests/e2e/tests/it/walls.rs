//! `run` with walls: programs that know of no proxy are policed like those that do, credential files are masked, ordinary
//! work goes on, and the agent cannot change the rules that it is under.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use e2e::House;
use e2e::house::{binary, tool};
use testkit::process::{Finished, finish};
use testkit::{Canary, Upstream};

use crate::setting::Vendors;
use crate::talk::{agent, echo_house};

/// Asks through no proxy: the variables are taken away, or never looked at.
const UNPROXIED: [(&str, &str); 5] = [
    ("curl", "curl -sS --noproxy '*' -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/curl"),
    (
        "python",
        "PYTHON - <<'X'\nimport http.client, os\nc = http.client.HTTPSConnection('kit.echo.test')\n\
         c.request('GET', '/python', headers={'Authorization': 'Bearer ' + os.environ['ECHO_TOKEN']})\n\
         print(c.getresponse().status)\nX\n",
    ),
    (
        "node",
        "env -u NODE_USE_ENV_PROXY node -e \"require('https').get('https://kit.echo.test/node', {agent: false, headers: \
         {authorization: 'Bearer ' + process.env.ECHO_TOKEN}}, r => { console.log(r.statusCode); r.resume() })\"",
    ),
    (
        "openssl",
        "printf 'GET /openssl HTTP/1.1\\r\\nHost: kit.echo.test\\r\\nAuthorization: Bearer %s\\r\\nConnection: close\\r\\n\\r\\n' \
         \"$ECHO_TOKEN\" | openssl s_client -quiet -verify_return_error -connect kit.echo.test:443 \
         -servername kit.echo.test 2>/dev/null | head -1",
    ),
    ("wget", "wget -q --no-proxy -O - --header \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/wget"),
];

#[test]
fn programs_that_ignore_proxies_are_policed_the_same() {
    let vendors = Vendors::start();
    let python = tool("venv/bin/python").display().to_string();
    for (name, script) in UNPROXIED {
        let script = script.replace("PYTHON", &python);
        let (finished, receipt) = vendors.house.run("tester", &["sh", "-c", &script]);
        let finished = finished.expect_success(name);
        vendors.assert_quiet(&finished.stdout);
        vendors.assert_quiet(&finished.stderr);
        assert_eq!((receipt.count("allowed"), receipt.count("denied")), (1, 0), "{name}: {}", finished.stderr);
        vendors.arrived(&format!("/{name}"), "authorization", &vendors.secrets.echo);
    }
    // Where they may not go, they do not get either; and what is no HTTP leaves a record.
    let script = "curl -sS --noproxy '*' -o /dev/null -w '%{http_code}' https://elsewhere.test/; \
                  printf 'EHLO x\\r\\n' | timeout 20 openssl s_client -quiet -connect 192.0.2.1:25; \
                  PYTHON -c \"import socket; s = socket.create_connection(('192.0.2.1', 4444)); s.send(b'\\0\\1'); s.recv(1)\"; true";
    let (finished, receipt) = vendors.house.run("tester", &["sh", "-c", &script.replace("PYTHON", &python)]);
    assert!(finished.stdout.starts_with("403"), "{}", finished.stdout);
    assert!(receipt.count("denied") >= 2, "{}", receipt.0);
    let search = vendors.house.valetkey(&["audit", "search", "--json", "192.0.2.1"]).expect_success("audit search");
    assert!(search.stdout.contains("Only HTTP"), "{}", search.stdout);
    vendors.house.assert_audit();
}

/// The guarded policy's home, with credentials in every place where an agent would look.
fn lived_in(upstream: &Upstream) -> (House, Vec<Canary>) {
    let token = Canary::new(801, "ghp_", 36);
    let config = format!("version: 1\nupstreams:\n{}", upstream.entry("api.github.com"));
    let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
    let others: Vec<Canary> = (802..809).map(|seed| Canary::new(seed, "pw", 30)).collect();
    let value = |at: usize| others[at].value();
    let write = |path: &str, text: String| {
        let path = house.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(".env", format!("GH={}\nAPP_SECRET={}\nPORT=80\n", token.value(), value(0)));
    write("home/.netrc", format!("machine a.test login me password {}\n", value(1)));
    write("home/.docker/config.json", format!("{{\"auths\":{{\"r.test\":{{\"auth\":\"{}\"}}}}}}", value(2)));
    write("home/.ssh/id_ed25519", value(3));
    write("home/.ssh/known_hosts", "git.test ssh-ed25519 AAAA\n".to_owned());
    let server = |key: &str, name: &str, value: String| {
        format!("{{\"mcpServers\":{{\"s\":{{\"{key}\":{{\"{name}\":\"{value}\"}}}}}}}}")
    };
    write(".mcp.json", server("headers", "Authorization", format!("Bearer {}", token.value())));
    write(".cursor/mcp.json", server("env", "DB_PASSWORD", value(5)));
    write("home/.claude.json", server("env", "OTHER_SECRET", value(6)));
    write("home/.bash_history", format!("curl -H 'X: {}'\n", value(4)));
    let all = std::iter::once(token).chain(others).collect();
    (house, all)
}

fn in_run(house: &House, options: &[&str], script: &str) -> Finished {
    let mut command = house.clean(binary());
    command.arg("run").arg("--config").arg(house.config()).args(options).args(["--", "sh", "-c", script]);
    finish(&mut command, Duration::from_mins(1))
}

#[test]
fn credential_files_are_masked_and_the_rest_is_not_there() {
    let upstream = Upstream::start();
    let (house, canaries) = lived_in(&upstream);
    let look = "cat .env .mcp.json .cursor/mcp.json ~/.claude.json ~/.netrc ~/.docker/config.json ~/.ssh/known_hosts ~/.bash_history; ls -A ~/.ssh state; \
                grep -rs . /proc/*/environ ~ . | head -c 200000; env; echo marked >> .env; tail -1 .env";
    // Without walls the same look finds them: the test would see a leak.
    let open = in_run(&house, &["--isolate=off"], look);
    assert!(canaries[1..].iter().all(|canary| open.stdout.contains(&canary.value())), "{}", open.stdout);
    let (house, canaries) = lived_in(&upstream);
    let seen = in_run(&house, &["--isolate=on"], look).expect_success("the agent");
    for canary in &canaries {
        canary.assert_absent("what the agent saw", seen.stdout.as_bytes());
        canary.assert_absent("what the agent saw", seen.stderr.as_bytes());
    }
    for shown in [
        "GH=ghp_",
        "APP_SECRET=withheld-by-valetkey",
        "PORT=80",
        "\"Authorization\":\"Bearer ghp_",
        "\"DB_PASSWORD\":\"withheld-by-valetkey",
        "machine a.test login me",
        "git.test ssh-ed25519",
        "marked",
    ] {
        assert!(seen.stdout.contains(shown), "`{shown}` is missing: {}", seen.stdout);
    }
    assert!(seen.stderr.contains("/.env: APP_SECRET;"), "what is withheld is told: {}", seen.stderr);
    assert!(!std::fs::read_to_string(house.path(".env")).unwrap().contains("marked"));
}

#[test]
fn ports_of_the_agent_and_of_the_host_are_where_they_were() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    // The host's service, which the agent may reach, and another that it may not.
    let serve = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"of the host");
            }
        });
        port
    };
    let (open, closed) = (serve(), serve());
    let ours = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        "import socket, threading\n\
         def get(port):\n    try:\n        return socket.create_connection(('127.0.0.1', port), 5).recv(20).decode()\n    except OSError as e: return 'refused'\n\
         print(get({open})); print(get({closed}))\n\
         s = socket.create_server(('127.0.0.1', {ours}))\n\
         print('own', socket.create_connection(('127.0.0.1', {ours})).getsockname()[0])\n\
         s.accept()\n\
         s.settimeout(30)\n\
         c, _ = s.accept(); c.sendall(b'of the agent'); c.close()\n"
    );
    std::fs::write(house.path("ports.py"), script).unwrap();
    let asked = std::thread::spawn(move || {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(50) {
            let mut text = String::new();
            if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", ours)) {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.read_to_string(&mut text);
            }
            if !text.is_empty() {
                return text;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        String::new()
    });
    let python = tool("venv/bin/python").display().to_string();
    let reach = format!("localhost:{open}");
    let told = in_run(&house, &["--agent", "tester", "--isolate=on", "--reach", &reach], &format!("{python} ports.py"));
    let told = told.expect_success("the agent");
    assert_eq!(told.stdout, "of the host\nrefused\nown 127.0.0.1\n", "{}", told.stderr);
    assert_eq!(asked.join().unwrap(), "of the agent");
}

/// Programs that honour proxy variables ask their own loopback, and what of the host was opened there, by themselves.
#[test]
fn the_loopback_is_asked_without_the_proxy() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nthe host");
        }
    });
    let python = tool("venv/bin/python").display().to_string();
    let script = format!(
        "curl -sS http://localhost:{port}/; echo; {python} -m http.server -d home 8765 >/dev/null 2>&1 & server=$!; \
         until curl -sS -o /dev/null http://127.0.0.1:8765/ 2>/dev/null; do sleep 0.05; done; \
         {python} -c \"import requests; print(requests.get('http://localhost:8765/').status_code)\"; kill $server"
    );
    let reach = format!("localhost:{port}");
    let told = in_run(&house, &["--agent", "tester", "--isolate=on", "--reach", &reach], &script);
    assert_eq!(told.expect_success("the agent").stdout, "the host\n200\n");
}

#[test]
fn the_rules_stay_as_they_are() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let before = std::fs::read_to_string(house.config()).unwrap();
    let script = "echo 'egress: open' >> valetkey.yaml; mv valetkey.yaml other; rm -f valetkey.yaml; echo x > echo.yaml; \
                  ls -A state; touch here; echo $?";
    let told = in_run(&house, &["--agent", "tester", "--isolate=on"], script).expect_success("the agent");
    assert_eq!(told.stdout, "sessions\n0\n", "{}", told.stderr);
    assert_eq!(std::fs::read_to_string(house.config()).unwrap(), before);
    assert_ne!(std::fs::read_to_string(house.path("echo.yaml")).unwrap(), "x\n");
    assert!(house.path("here").exists());
}

/// A command in a folder of a project.
fn at(house: &House, folder: &str, words: &[&str]) -> Finished {
    let mut command = house.clean(binary());
    std::fs::create_dir_all(house.path(folder)).unwrap();
    finish(command.current_dir(house.path(folder)).args(words), Duration::from_mins(1))
}

#[test]
fn what_an_agent_plants_is_no_configuration() {
    let house = House::new("version: 1\n", &[]);
    let look = ["explain", "GET", "https://api.github.com/user", "--agent", "planted"];
    let plant = "printf 'version: 1\nagents: { planted: { permissions: [{ service: github, actions: [read], resources: [\"*\"] }] } }\n' > valetkey.yaml";
    let _ = at(&house, "project", &["run", "--isolate=on", "--", "sh", "-c", plant]).expect_success("the agent");
    for words in [&look[..], &["run", "--isolate=on", "--", "true"]] {
        let refused = at(&house, "project", words);
        assert!(refused.stderr.contains("one of them may have written it"), "{words:?}: {}", refused.stderr);
        assert!(matches!(refused.code(), Some(3 | 125)), "{words:?}: {:?}", refused.code());
    }
    // Somebody has looked at it, and names it.
    let named = ["run", "--isolate=on", "--config", "valetkey.yaml", "--agent", "planted", "--", "true"];
    let _ = at(&house, "project", &named).expect_success("the agent");
    let _ = at(&house, "project", &look).expect_success("explain");
}

#[test]
fn git_works_and_its_configuration_stays() {
    let house = House::new("version: 1\n", &[]);
    let git = |script: &str| {
        let mut command = house.clean(std::path::Path::new("/bin/sh"));
        let script = format!("export GIT_CONFIG_GLOBAL=/dev/null; {script}");
        finish(command.args(["-c", &script]), Duration::from_mins(1)).expect_success("git")
    };
    git("git init -qb main project && cd project && git config user.name me && git config user.email me@x.test && \
         git commit -q --allow-empty -m one && git worktree add -q ../linked -b linked");
    let work = "git config core.fsmonitor ./evil 2>/dev/null && echo configured; echo x >> .git/config; \
                git switch -q -c more && echo y > file && git add file && git commit -qm two && git log --format=%s | head -1";
    let done = at(&house, "project", &["run", "--isolate=on", "--", "sh", "-c", work]).expect_success("the agent");
    assert_eq!(done.stdout, "two\n", "{}", done.stderr);
    let config = std::fs::read_to_string(house.path("project/.git/config")).unwrap();
    assert!(!config.contains("evil") && !config.ends_with("x\n"), "{config}");
    // A linked worktree commits into the repository that it belongs to.
    let work = "echo z > file && git add file && git commit -qm three && git log --format=%s | head -1; \
                echo x >> ../project/.git/config; touch ../project/free";
    let done = at(&house, "linked", &["run", "--isolate=on", "--", "sh", "-c", work]).expect_success("the agent");
    assert_eq!(done.stdout, "three\n", "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(house.path("project/.git/config")).unwrap(), config);
    assert!(!house.path("project/free").exists(), "the other worktree is none of its business");
    // Who wants it otherwise says so.
    let work = "git config core.editor true && git config core.editor";
    let words = ["run", "--isolate=on", "--writable", ".git/config", "--", "sh", "-c", work];
    assert_eq!(at(&house, "project", &words).expect_success("the agent").stdout, "true\n");
    assert!(std::fs::read_to_string(house.path("project/.git/config")).unwrap().contains("editor = true"));
    let words = ["run", "--isolate=on", "--writable", "none", "--", "true"];
    assert!(at(&house, "project", &words).stderr.contains("none` does not exist; name a file or folder that does"));
}

/// Chromium trusts what stands in this store; NSS itself says here that the session's authority does.
/// Where a configuration lies in the work folder, what it names lies there too.
#[test]
fn what_a_configuration_names_is_kept_or_masked() {
    let secret = Canary::new(830, "tok_", 40);
    let config = "version: 1\ncredentials:\n  one-token: { service: github, from: \"exec:./get.sh\" }\n  \
                  two-token: { service: gitlab, from: \"file:secrets/two\" }\n\
                  agents: { tester: { permissions: [{ service: github, credential: one-token, actions: [read], resources: [\"*\"] }] } }\n";
    let house = House::new(config, &[]);
    std::fs::write(house.path("get.sh"), "#!/bin/sh\necho tok_of_the_program_0123456789\n").unwrap();
    std::fs::set_permissions(house.path("get.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(house.path("secrets")).unwrap();
    std::fs::write(house.path("secrets/two"), format!("{}\n", secret.value())).unwrap();
    std::os::unix::fs::symlink(house.path("secrets/two"), house.path("link")).unwrap();
    let look = "echo 'id > stolen' >> get.sh; mv get.sh other; cat secrets/two link; echo done";
    let seen = in_run(&house, &["--agent", "tester", "--isolate=on"], look).expect_success("the agent");
    secret.assert_absent("what the agent saw", seen.stdout.as_bytes());
    assert!(seen.stdout.ends_with("done\n"), "{}", seen.stdout);
    assert!(!std::fs::read_to_string(house.path("get.sh")).unwrap().contains("stolen"));
    // A link in place of what may be written leads elsewhere than the user thinks.
    std::os::unix::fs::symlink(house.path("home"), house.path("notes")).unwrap();
    let refused = in_run(&house, &["--agent", "tester", "--isolate=on", "--writable", "notes"], "true");
    assert_eq!(refused.code(), Some(125), "{}", refused.stderr);
    assert!(refused.stderr.contains("is a link, which an agent may have made"), "{}", refused.stderr);
}

#[test]
fn programs_that_stand_on_nss_trust_the_session() {
    let house = House::new("version: 1\n", &[]);
    for store in [".pki/nssdb", ".local/share/pki/nssdb"] {
        std::fs::create_dir_all(house.path("home").join(store)).unwrap();
        let script = format!("cd ~/{store} && certutil -L -d sql:. && certutil -V -n 'Valetkey session' -u L -d sql:.");
        let told = in_run(&house, &["--isolate=on"], &script).expect_success("certutil");
        let listed =
            told.stdout.lines().any(|line| line.starts_with("Valetkey session") && line.trim_end().ends_with("C,,"));
        assert!(listed && told.stdout.contains("certificate is valid"), "{}{}", told.stdout, told.stderr);
        assert!(std::fs::read_dir(house.path("home").join(store)).unwrap().next().is_none(), "nothing is left outside");
    }
}

#[test]
fn git_remotes_by_ssh_go_over_https() {
    let vendors = Vendors::start();
    vendors.git.repository("acme/widget.git", &[("README.md", b"hello")]);
    let script = "git clone -q git@github.com:acme/widget.git copy && cat copy/README.md";
    let (finished, _) = vendors.house.run("cloner", &["sh", "-c", script]);
    assert_eq!(finished.expect_success("git").stdout, "hello");
}

#[test]
fn what_is_said_of_walls() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let off = in_run(&house, &["--agent", "tester", "--isolate=off"], "true").expect_success("the agent");
    assert!(off.stderr.contains("without isolation the agent can read this user's files"), "{}", off.stderr);
    let on = in_run(&house, &["--agent", "tester", "--isolate=on"], "true").expect_success("the agent");
    assert!(!on.stderr.contains("without isolation"), "{}", on.stderr);
    let wrong = in_run(&house, &["--agent", "tester", "--reach", "db.test:5432"], "true");
    assert_eq!(wrong.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("neither a port of this machine nor a socket"), "{}", wrong.stderr);
    // A system that gives no namespaces: `auto` says so and goes on, `on` does not.
    let without = |isolate: &str| {
        let mut command: Command = house.clean(std::path::Path::new("/usr/bin/unshare"));
        command.args(["-U", "-r", "sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"", "sh"]);
        command.arg(binary()).arg("run").arg("--config").arg(house.config()).args(["--agent", "tester"]);
        command.arg(isolate).args(["--", "echo", "ran"]);
        finish(&mut command, Duration::from_mins(1))
    };
    let auto = without("--isolate=auto");
    assert_eq!((auto.code(), &*auto.stdout), (Some(0), "ran\n"), "{}", auto.stderr);
    assert!(
        auto.stderr.contains("gives no namespaces") && auto.stderr.contains("without isolation"),
        "{}",
        auto.stderr
    );
    let on = without("--isolate=on");
    assert_eq!((on.code(), &*on.stdout), (Some(125), ""), "{}", on.stderr);
    assert!(on.stderr.contains("gives no namespaces"), "{}", on.stderr);
}
