//! No process is left behind.

use sandbox::{Exit, SessionDir, SessionFile, Signal};

use crate::user::{User, eventually, is_alive, launch};

/// Starts three kinds of children that would outlive it: a background job, one in a session of its own, and a daemon that
/// forked twice.
const LITTERS: &str = r#"
sleep 1000 & echo $! >> "$0"
setsid sh -c 'echo $$ >> "$1"; exec sleep 1000' - "$0" &
python3 - "$0" <<'PY'
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "a").write(f"{os.getpid()}\n")
        time.sleep(1000)
    os._exit(0)
os.wait()
PY
while [ $(wc -l < "$0") -lt 3 ]; do sleep 0.02; done
echo littered
"#;

fn pids(path: &std::path::Path) -> Vec<i32> {
    std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(|line| line.trim().parse().ok()).collect()
}

#[test]
fn children_end_with_the_agent() {
    // In a process of its own: which orphans are whose can be told only where one agent runs at a time.
    crate::runner::alone("leftovers");
}

pub async fn scenario() {
    let dir = tempfile::tempdir().expect("directory");
    for terminal in [false, true] {
        let list = dir.path().join(format!("pids-{terminal}"));
        std::fs::write(&list, "").expect("written");
        let script = format!("{LITTERS}exit 3");
        let argv = ["sh", "-c", &script, list.to_str().expect("text")];
        let user = User::new(80, 24);
        let mut running = if terminal { user.runs(&argv) } else { launch(&argv, None).start().expect("started") };
        assert_eq!(running.wait().await, Exit::Code(3));
        let left = pids(&list);
        assert_eq!(left.len(), 3);
        for pid in left {
            assert!(!is_alive(pid), "{pid} is left (terminal: {terminal})");
        }
    }
    // Dropping is an end too.
    let list = dir.path().join("pids-dropped");
    std::fs::write(&list, "").expect("written");
    let script = format!("{LITTERS}exec sleep 1000");
    let running = launch(&["sh", "-c", &script, list.to_str().expect("text")], None).start().expect("started");
    eventually("three children", || pids(&list).len() == 3).await;
    let leader = i32::try_from(running.pid()).expect("a pid");
    drop(running);
    eventually("all are dead", || pids(&list).into_iter().chain([leader]).all(|pid| !is_alive(pid))).await;
}

#[tokio::test]
async fn a_deaf_agent_dies_of_the_second_request() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done"]);
    user.sees("ready").await;
    running.signal(Signal::TERM).await;
    user.sees("no").await;
    running.signal(Signal::TERM).await;
    assert_eq!(running.wait().await, Exit::Signal(9));
    assert!(user.is_cooked());
}

#[tokio::test]
async fn session_files_are_gone_at_the_end() {
    let root = tempfile::tempdir().expect("directory");
    let dir = SessionDir::create(&root.path().join("one")).expect("made");
    let file = dir.write(&SessionFile { path: "ca.pem".into(), bytes: b"bundle".to_vec() }).expect("written");
    let mut agent = launch(&["sh", "-c", "test \"$(cat \"$0\")\" = bundle", file.to_str().expect("text")], None);
    agent.dir = Some(dir);
    let mut running = agent.start().expect("started");
    assert_eq!(running.wait().await, Exit::Code(0));
    assert!(!root.path().join("one").exists());
}
