//! Real pushes: each ref is judged for itself, what drops commits is an action of its own, and large packs pass while they come.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::House;
use tempfile::TempDir;
use testkit::Canary;
use testkit::process::finish;
use testkit::upstream::{GitHost, Upstream};

const PATIENCE: Duration = Duration::from_mins(2);
const WIDGET: &str = "acme/widget.git";
/// As the documentation writes it: this alone must be enough for `git push` to such a branch.
const PUSH: &str =
    "{service: github, credential: github-git, actions: [git/push], resources: [\"branch:acme/widget@agent/*\"]}";

/// What scripts may say besides git's own words. `try` says how a push went.
const PRELUDE: &str = "
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.test GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.test
try() { name=$1; shift; if git push \"$@\" 2>$name.log; then echo \"$name yes\"; else echo \"$name no\"; fi; }
commit() { echo \"$1\" >> README.md; git commit -q -a -m \"$1\"; }
";

struct Scene {
    house: House,
    host: GitHost,
    upstream: Upstream,
    hosted: TempDir,
    canary: Canary,
}

impl Scene {
    /// A repository on the server and a clone of it, for an agent with these permissions.
    fn new(seed: u64, permissions: &[&str]) -> Self {
        let (canary, hosted) = (Canary::new(seed, "ghp_", 36), tempfile::tempdir().unwrap());
        let host = GitHost::at(hosted.path());
        host.repository(WIDGET, &[("README.md", b"hello\n")]);
        let answering = host.clone();
        let upstream = Upstream::builder().handler(move |seen| answering.answer(seen)).start();
        let permissions = permissions.iter().fold(String::new(), |text, one| text + "      - " + one + "\n");
        let config = format!(
            "version: 1\negress: closed\ncredentials:\n  github-git: {{ service: github, from: env:GITHUB_TOKEN, inject: always }}\n\
             agents:\n  coder:\n    permissions:\n{permissions}upstreams:\n{}",
            upstream.entry("github.com")
        );
        let house = House::new(&config, &[("GITHUB_TOKEN", &canary.value())]);
        let scene = Self { house, host, upstream, hosted, canary };
        scene.clone_to("work", &[]);
        scene
    }

    fn bare(&self) -> PathBuf {
        self.hosted.path().join(WIDGET)
    }

    /// A clone whose origin is the server behind the gateway.
    fn clone_to(&self, name: &str, options: &[&str]) {
        let (folder, from) = (self.house.path(name), format!("file://{}", self.bare().display()));
        let to = folder.display().to_string();
        let arguments = [&["clone", "-q"], options, &[&from, &to]].concat();
        git(self.hosted.path(), &arguments);
        git(&folder, &["remote", "set-url", "origin", "https://github.com/acme/widget.git"]);
    }

    /// Runs a script of the agent in a clone; gives what `try` said.
    fn script(&self, folder: &str, script: &str) -> Vec<String> {
        let text = format!("cd {}\n{PRELUDE}{script}", self.house.path(folder).display());
        let (done, _) = self.house.run_with("coder", &["--isolate=off"], &["sh", "-ec", &text]);
        let done = done.expect_success("the script");
        for (what, text) in [("output", &done.stdout), ("errors", &done.stderr)] {
            self.canary.assert_absent(what, text.as_bytes());
        }
        done.stdout.lines().map(str::to_owned).collect()
    }

    fn log(&self, folder: &str, name: &str) -> String {
        std::fs::read_to_string(self.house.path(folder).join(format!("{name}.log"))).unwrap()
    }

    /// What a ref of the server points at.
    fn tip(&self, name: &str) -> Option<String> {
        self.host.head(WIDGET, name)
    }

    /// Whether it points at what a clone has checked out.
    fn has_head_of(&self, name: &str, folder: &str) -> bool {
        self.tip(name).is_some_and(|tip| tip == git(&self.house.path(folder), &["rev-parse", "HEAD"]))
    }

    /// Pushes that reached the server, the question before a large one among them.
    fn pushes(&self) -> usize {
        self.upstream.journal().all().iter().filter(|seen| seen.path().ends_with("/git-receive-pack")).count()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "commit.gpgsign=false"]);
    finish(command.args(arguments).current_dir(folder), PATIENCE)
        .expect_success(&arguments.join(" "))
        .stdout
        .trim()
        .to_owned()
}

#[test]
fn git_push_to_its_own_branches_and_nothing_else() {
    let scene = Scene::new(821, &[PUSH]);
    let main = scene.tip("refs/heads/main");
    let said = scene.script(
        "work",
        "git switch -q -c work
         commit one; try new origin HEAD:refs/heads/agent/one
         commit two; try forward origin HEAD:refs/heads/agent/one
         git rev-parse HEAD > pushed
         git commit -q --amend -m other; try forced -f origin HEAD:refs/heads/agent/one
         try main origin HEAD:refs/heads/main
         try deleted origin --delete agent/one
         git tag v1; try tag origin v1
         try several origin HEAD:refs/heads/agent/two HEAD:refs/heads/main
         try atomic --atomic origin HEAD:refs/heads/agent/two HEAD:refs/heads/agent/three
         try option -o merge_request.merge origin HEAD:refs/heads/agent/four",
    );
    let want = [
        "new yes",
        "forward yes",
        "forced no",
        "main no",
        "deleted no",
        "tag no",
        "several no",
        "atomic yes",
        "option no",
    ];
    assert_eq!(said, want, "{}", scene.log("work", "forward"));
    assert_eq!(scene.pushes(), 3, "what is denied does not reach the server");
    let pushed = std::fs::read_to_string(scene.house.path("work/pushed")).unwrap();
    assert_eq!(scene.tip("refs/heads/agent/one").as_deref(), Some(pushed.trim()));
    assert_eq!(scene.tip("refs/heads/main"), main);
    for name in ["two", "three"] {
        assert!(scene.has_head_of(&format!("refs/heads/agent/{name}"), "work"), "{name}");
    }
    assert_eq!((scene.tip("refs/tags/v1"), scene.tip("refs/heads/agent/four")), (None, None));
    for log in ["forced", "main", "several"] {
        assert!(scene.log("work", log).contains("403"), "{log}: {}", scene.log("work", log));
    }
    // The same branch from elsewhere, and from a clone without a past.
    scene.clone_to("other", &["-b", "agent/one"]);
    assert_eq!(scene.script("other", "commit three; try other origin HEAD:refs/heads/agent/one"), ["other yes"]);
    assert!(scene.has_head_of("refs/heads/agent/one", "other"));
    scene.clone_to("shallow", &["--depth", "1", "-b", "agent/one"]);
    let said = scene.script(
        "shallow",
        "commit four; try shallow origin HEAD:refs/heads/agent/one
         commit five; try further origin HEAD:refs/heads/agent/shallow
         try known origin HEAD:refs/heads/agent/one",
    );
    // The last sends no commit, because the server has it from the branch before: nothing proves that none is dropped.
    assert_eq!(said, ["shallow yes", "further yes", "known no"], "{}", scene.log("shallow", "shallow"));
    assert!(scene.has_head_of("refs/heads/agent/shallow", "shallow"));
    scene.house.assert_audit();
}

#[test]
fn what_drops_commits_and_refs_needs_its_own_word() {
    let more = PUSH.replace("[git/push]", "[git/push, git/force-push, git/delete-ref]");
    let scene = Scene::new(822, &[&more]);
    let said = scene.script(
        "work",
        "commit one; try new origin HEAD:refs/heads/agent/one
         git commit -q --amend -m other; try plain origin HEAD:refs/heads/agent/one
         try forced -f origin HEAD:refs/heads/agent/one
         git checkout -q --orphan fresh; git commit -q -m fresh
         try orphan -f origin HEAD:refs/heads/agent/one
         try second origin HEAD:refs/heads/agent/two
         try deleted origin --delete agent/one
         try outside -f origin HEAD:refs/heads/main",
    );
    // Git itself refuses what is not forced, without asking.
    assert_eq!(said, ["new yes", "plain no", "forced yes", "orphan yes", "second yes", "deleted yes", "outside no"]);
    assert_eq!(scene.tip("refs/heads/agent/one"), None);
    assert!(scene.has_head_of("refs/heads/agent/two", "work"));
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    for word in ["\"git/force-push\"", "\"git/delete-ref\"", "\"git/list-refs\"", "\"git.force\""] {
        assert!(export.contains(word), "{word} is not in the log");
    }
    scene.house.assert_audit();
}

/// A rule on what pushes bring: its own branches, without changes of workflows by any road.
#[test]
fn git_push_but_not_what_changes_workflows() {
    let when = "conditions: {when: 'context.facts[\"touches.workflows\"] != \"yes\"'}}";
    let scene = Scene::new(824, &[&PUSH.replace('}', &format!(", {when}"))]);
    let said = scene.script(
        "work",
        "git switch -q -c work
         commit one; try plain origin HEAD:refs/heads/agent/one
         mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml; git add .; git commit -q -m ci
         try added origin HEAD:refs/heads/agent/one
         try branch origin HEAD:refs/heads/agent/two
         git mv .github/workflows .github/x; git commit -q -m away; try hidden origin HEAD:refs/heads/agent/one
         git reset -q --hard HEAD~2
         mkdir -p x/workflows; echo 'on: push' > x/workflows/ci.yml; git add .; git commit -q -m aside
         try aside origin HEAD:refs/heads/agent/one
         git reset -q --hard HEAD~1
         commit two; try further origin HEAD:refs/heads/agent/one",
    );
    // The commit between is pushed as well, whatever stands at the tip.
    let want = ["plain yes", "added no", "branch no", "hidden no", "aside no", "further yes"];
    assert_eq!(said, want, "{}", scene.log("work", "plain"));
    assert!(scene.has_head_of("refs/heads/agent/one", "work"));
    assert_eq!(scene.tip("refs/heads/agent/two"), None);
    // Where workflows are, a push that leaves them alone passes.
    let folder = scene.house.path("seed");
    scene.clone_to("seed", &[]);
    std::fs::create_dir_all(folder.join(".github/workflows")).unwrap();
    std::fs::write(folder.join(".github/workflows/ci.yml"), "on: push\n").unwrap();
    // So many that git would write the folder as a delta against the one that the server has.
    for number in 0..60 {
        std::fs::write(folder.join(format!("file-{number:02}.txt")), format!("{number}\n")).unwrap();
    }
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "-q", "-m", "ci"]);
    git(&folder, &["push", "-q", &format!("file://{}", scene.bare().display()), "HEAD:refs/heads/main"]);
    scene.clone_to("later", &["-b", "main"]);
    let said = scene.script(
        "later",
        "commit one; try kept origin HEAD:refs/heads/agent/later
         echo 'on: pull_request' > .github/workflows/ci.yml; commit two; try changed origin HEAD:refs/heads/agent/later",
    );
    assert_eq!(said, ["kept yes", "changed no"], "{}", scene.log("later", "kept"));
    // Of a thin pack nothing is known; git sends it only where no rule asks, because the gateway says so to git.
    let scene_of_all = Scene::new(825, &[PUSH]);
    let listed = |scene: &Scene| {
        let script = "curl -sS 'https://github.com/acme/widget.git/info/refs?service=git-receive-pack' | tr '\\0' ' ' | grep -c no-thin || true";
        scene.script("work", script)
    };
    assert_eq!((listed(&scene), listed(&scene_of_all)), (vec!["1".to_owned()], vec!["0".to_owned()]));
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    for word in ["\"touches.workflows\":\"yes\"", "\"touches.workflows\":\"kept\"", "\"exfil\""] {
        assert!(export.contains(word), "{word} is not in the log");
    }
    scene.house.assert_audit();
}

#[test]
fn large_pushes_pass_while_they_come() {
    let scene = Scene::new(823, &[PUSH]);
    let said = scene.script(
        "work",
        "head -c 3000000 /dev/urandom > file; git add file; commit some; try some origin HEAD:refs/heads/agent/large
         head -c 3000000 /dev/urandom > file; commit more; try more origin HEAD:refs/heads/agent/large
         head -c 20000000 /dev/urandom > file; commit huge; try huge origin HEAD:refs/heads/agent/huge
         git rev-parse HEAD > pushed
         head -c 20000000 /dev/urandom > file; commit onto; try onto origin HEAD:refs/heads/agent/huge
         try main origin HEAD:refs/heads/main",
    );
    let all = scene.upstream.journal().all();
    let bodies = all.iter().filter(|seen| seen.path().ends_with("/git-receive-pack")).map(|seen| seen.body.len());
    let bodies: Vec<usize> = bodies.collect();
    // Of what follows the front nothing is known: it may drop commits, and that is not permitted.
    assert_eq!(
        said,
        ["some yes", "more yes", "huge yes", "onto no", "main no"],
        "{bodies:?} {}",
        scene.log("work", "huge")
    );
    let pushed = std::fs::read_to_string(scene.house.path("work/pushed")).unwrap();
    assert_eq!(scene.tip("refs/heads/agent/huge").as_deref(), Some(pushed.trim()));
    git(&scene.bare(), &["fsck", "--strict", "--no-dangling"]);
    assert!(bodies.contains(&4), "git asks before what comes in chunks: {bodies:?}");
    assert!(bodies.iter().any(|length| *length > 20_000_000), "{bodies:?}");
    scene.house.assert_audit();
}

#[test]
fn tags_other_refs_and_what_git_sends_at_once() {
    let tags = PUSH.replace("branch:acme/widget@agent/*", "tag:acme/widget@v*");
    let fetch = PUSH.replace("git/push", "git/fetch").replace("branch:acme/widget@agent/*", "repo:acme/widget");
    let scene = Scene::new(824, &[PUSH, &tags, &fetch]);
    let main = scene.tip("refs/heads/main");
    let said = scene.script(
        "work",
        "git switch -q -c agent/one
         commit one; git tag v1; git tag -a -m two v2; git tag w1
         try light origin v1
         try annotated origin v2
         try foreign origin w1
         commit two; git tag -f v1 >/dev/null; try moved -f origin v1
         try gone origin --delete v1
         try follow --follow-tags origin agent/one
         git notes add -m note; try notes origin refs/notes/commits
         try review origin HEAD:refs/for/main
         git switch -q main; commit three; try all --all origin
         try mirror --mirror origin
         git switch -q agent/one; git commit -q --amend -m again
         try lease --force-with-lease origin agent/one
         git reset -q --hard ORIG_HEAD 2>/dev/null || git reset -q --hard origin/agent/one
         git merge -q -m merged --no-edit -s ours main; try merge origin agent/one",
    );
    let want = [
        "light yes",
        "annotated yes",
        "foreign no",
        "moved no",
        "gone no",
        "follow yes",
        "notes no",
        "review no",
        "all no",
        "mirror no",
        "lease no",
        "merge yes",
    ];
    assert_eq!(said, want, "{}", scene.log("work", "merge"));
    assert_eq!(scene.pushes(), 4, "what is denied does not reach the server");
    assert_eq!(scene.tip("refs/heads/main"), main);
    assert!(scene.has_head_of("refs/heads/agent/one", "work"));
    assert!(scene.tip("refs/tags/v1").is_some() && scene.tip("refs/tags/v2^{commit}") == scene.tip("refs/tags/v1"));
    for name in ["refs/tags/w1", "refs/notes/commits", "refs/for/main"] {
        assert_eq!(scene.tip(name), None, "{name}");
    }
    // A clone that has not seen the branch's tip sends nothing; one that has merged it does.
    scene.clone_to("late", &["-b", "agent/one"]);
    assert_eq!(scene.script("work", "commit four; try again origin agent/one"), ["again yes"]);
    let said = scene.script(
        "late",
        "echo more > other; git add other; git commit -q -m five; try behind origin agent/one
         git pull -q --no-rebase --no-edit origin agent/one; try merged origin agent/one",
    );
    assert_eq!(said, ["behind no", "merged yes"], "{}", scene.log("late", "merged"));
    assert!(scene.has_head_of("refs/heads/agent/one", "late"));
    scene.house.assert_audit();
}
