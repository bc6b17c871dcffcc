//! Whole runners: this test program started again, as `valetkey run` would be, so that it can be signalled, suspended and
//! killed.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Terminal, restore_terminal};

use crate::user::{User, environment, eventually, is_alive, launch};

const SCENARIO: &str = "SANDBOX_TEST_SCENARIO";

#[expect(clippy::disallowed_methods, reason = "how a test program tells its second self what to do")]
fn scenario() -> Option<String> {
    std::env::var(SCENARIO).ok()
}

/// Not a test by itself: what the second self does.
#[test]
#[ignore = "the body of other tests"]
fn second_self() {
    let Some(what) = scenario() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let code = runtime.block_on(async {
        match what.as_str() {
            "leftovers" => {
                crate::leftovers::scenario().await;
                0
            }
            "panics" => {
                let _running = launch(&["sleep", "1000"], Terminal::of_process()).start().expect("started");
                panic!("on purpose");
            }
            "exits" => {
                let _running = launch(&["sleep", "1000"], Terminal::of_process()).start().expect("started");
                restore_terminal();
                std::process::exit(42)
            }
            script => {
                launch(&["sh", "-c", script], Terminal::of_process()).start().expect("started").wait().await.code()
            }
        }
    });
    drop(runtime);
    let _ = std::io::stdout().flush();
    std::process::exit(code.into());
}

fn second(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("ourselves"));
    command.args(["--exact", "runner::second_self", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_clear().envs(environment()).env(SCENARIO, what);
    command
}

/// Runs a scenario in a process of its own.
pub fn alone(what: &str) {
    let output = second(what).output().expect("started");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// On the user's terminal, as its session leader.
fn before(user: &User, what: &str) -> Child {
    let end = || Stdio::from(user.terminal.try_clone().expect("cloned"));
    // `setsid --ctty` makes the terminal the controlling one, as a login does.
    let inner = second(what);
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(environment()).env(SCENARIO, what);
    command.stdin(end()).stdout(end()).stderr(end()).process_group(0);
    command.spawn().expect("started")
}

async fn ends(mut child: Child) -> std::process::ExitStatus {
    tokio::task::spawn_blocking(move || child.wait()).await.expect("joined").expect("waited")
}

fn agent_pid(screen: &str) -> i32 {
    let (_, rest) = screen.split_once("agent=").expect("the agent said its number");
    rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|text| text.parse().ok()).expect("a number")
}

#[tokio::test]
async fn signals_reach_the_agent_and_the_terminal_is_given_back() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1), (Signal::USR1, 10)] {
        let user = User::new(80, 24);
        let script =
            format!("trap 'echo caught; exit {number}' TERM INT HUP USR1; echo agent=$$; while :; do sleep 0.05; done");
        let runner = before(&user, &script);
        let screen = user.sees("agent=").await;
        eventually("the runner is ready", || !user.is_cooked()).await;
        // setsid(1) forks when it leads a group already; the runner is the agent's parent.
        kill_process(runner_of(agent_pid(&screen)), signal).expect("signalled");
        user.sees("caught").await;
        let status = ends(runner).await;
        eventually("the terminal is as it was", || user.is_cooked()).await;
        assert!(status.code().is_none_or(|code| code == number || code == 0), "{status:?} {:?}", status.signal());
    }
}

fn runner_of(agent: i32) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{agent}/stat")).expect("alive");
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    Pid::from_raw(parent.parse().expect("a number")).expect("not zero")
}

#[tokio::test]
async fn a_killed_runner_takes_the_agent_along() {
    let user = User::new(80, 24);
    let runner = before(&user, "echo agent=$$; trap '' TERM INT; sleep 1000 & wait");
    let agent = agent_pid(&user.sees("agent=").await);
    kill_process(runner_of(agent), Signal::KILL).expect("killed");
    ends(runner).await;
    eventually("the agent is dead", || !is_alive(agent)).await;
}

#[tokio::test]
async fn the_terminal_is_given_back_on_panic_and_exit() {
    for what in ["panics", "exits"] {
        let user = User::new(80, 24);
        let runner = before(&user, what);
        ends(runner).await;
        eventually("the terminal is as it was", || user.is_cooked()).await;
    }
}

#[tokio::test]
async fn control_z_gives_the_shell_back_and_fg_goes_on() {
    let user = User::new(80, 24);
    let end = || Stdio::from(user.terminal.try_clone().expect("cloned"));
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]);
    shell.env_clear().envs(environment()).env(SCENARIO, "echo agent=$$; while read line; do echo \"<$line>\"; done");
    let mut shell = shell.stdin(end()).stdout(end()).stderr(end()).spawn().expect("started");
    user.sees("$ ").await;
    let exe = std::env::current_exe().expect("ourselves");
    user.presses(&format!("{} --exact runner::second_self --ignored --nocapture --test-threads=1\r", exe.display()));
    user.sees("agent=").await;
    user.presses("one\r");
    user.sees("<one>").await;
    user.presses("\x1a");
    user.sees("Stopped").await;
    user.presses("echo shell $((6*7))\r");
    user.sees("shell 42").await;
    user.presses("fg\r");
    tokio::time::sleep(Duration::from_millis(300)).await;
    user.presses("two\r");
    user.sees("<two>").await;
    user.forget();
    user.presses("\x04");
    user.sees("$ ").await;
    user.presses("echo over $((6*7))\r");
    user.sees("over 42").await;
    user.presses("exit\r");
    shell.wait().expect("ended");
}
