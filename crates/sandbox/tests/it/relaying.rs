//! What passes between the two terminals.

use sandbox::{Exit, Signal};

use crate::user::User;

#[tokio::test]
async fn size_and_resize() {
    let user = User::new(101, 33);
    let mut running =
        user.runs(&["sh", "-c", "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.05; done"]);
    user.sees("33 101").await;
    user.sees("ready").await;
    user.resize(90, 20);
    running.resize().await;
    user.sees("20 90").await;
    running.signal(Signal::TERM).await;
    assert_eq!(running.wait().await, Exit::Signal(15));
    assert!(user.is_cooked());
}

#[tokio::test]
async fn keys_and_echo_and_end_of_file() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["cat"]);
    user.presses("grüße\r");
    // Once echoed by the agent's own terminal, once written by cat.
    user.sees("grüße\r\ngrüße\r\n").await;
    assert!(!user.is_cooked());
    user.presses("\x04");
    assert_eq!(running.wait().await, Exit::Code(0));
    assert!(user.is_cooked());
}

#[tokio::test]
async fn control_c_is_the_agents() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "trap 'echo caught' INT; echo ready; read line; echo got $line"]);
    user.sees("ready").await;
    user.presses("\x03");
    user.sees("caught").await;
    user.presses("on\r");
    running.wait().await;

    let mut running = user.runs(&["sh", "-c", "echo again; exec sleep 1000"]);
    user.sees("again").await;
    user.presses("\x03");
    assert_eq!(running.wait().await, Exit::Signal(2));
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "stty -onlcr; seq 1 200000; echo end"]);
    running.wait().await;
    let screen = user.sees("end").await;
    assert!(screen.contains("\n199999\n200000\nend"));
    assert_eq!(screen.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).count(), 200_000);
}

#[tokio::test]
async fn the_agents_terminal_is_not_the_users() {
    let user = User::new(80, 24);
    let name = rustix::termios::ttyname(&user.terminal, Vec::new()).expect("named").to_string_lossy().into_owned();
    let mut running = user.runs(&["sh", "-c", "tty; tty < /dev/tty; ps -o sid=,pid= -p $$; echo done"]);
    let screen = user.sees("done").await;
    running.wait().await;
    assert!(screen.contains("/dev/pts/") && !screen.lines().any(|line| line.trim() == name), "{name} in {screen}");
}

#[tokio::test]
async fn without_a_terminal_there_is_no_controlling_one() {
    let script = "if (: > /dev/tty) 2>/dev/null; then exit 9; else exit 4; fi";
    let mut running = crate::user::launch(&["sh", "-c", script], None).start().expect("started");
    assert!(running.prompter().is_none());
    assert_eq!(running.wait().await, Exit::Code(4));
}

#[tokio::test]
async fn a_killed_full_screen_program_leaves_a_usable_terminal() {
    let user = User::new(80, 24);
    let script = "printf '\\033[?1049h\\033[?25l\\033[?1000hdrawn'; kill -9 $$";
    let mut running = user.runs(&["sh", "-c", script]);
    assert_eq!(running.wait().await, Exit::Signal(9));
    let screen = user.sees("\x1b[?1049l").await;
    assert!(screen.contains("\x1b[?25h") && screen.contains("\x1b[?1000l"), "{screen:?}");
}
