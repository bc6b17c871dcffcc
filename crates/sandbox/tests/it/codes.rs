//! Exit codes, with and without a terminal.

use sandbox::{Exit, SandboxError};

use crate::user::{User, launch};

#[tokio::test]
async fn the_agents_own_code_and_the_shells_convention() {
    let table: &[(&[&str], Exit, u8)] = &[
        (&["true"], Exit::Code(0), 0),
        (&["sh", "-c", "exit 7"], Exit::Code(7), 7),
        (&["sh", "-c", "exit 255"], Exit::Code(255), 255),
        (&["sh", "-c", "kill -9 $$"], Exit::Signal(9), 137),
        (&["sh", "-c", "kill -TERM $$"], Exit::Signal(15), 143),
        (&["sh", "-c", "kill -INT $$"], Exit::Signal(2), 130),
    ];
    for (argv, exit, code) in table {
        let mut bare = launch(argv, None).start().expect("started");
        assert_eq!(bare.wait().await, *exit, "{argv:?} without a terminal");
        assert_eq!(bare.wait().await.code(), *code, "{argv:?} asked twice");
        let user = User::new(80, 24);
        assert_eq!(user.runs(argv).wait().await, *exit, "{argv:?} with a terminal");
        assert!(user.is_cooked(), "{argv:?}");
    }
}

#[tokio::test]
async fn what_cannot_start() {
    let dir = tempfile::tempdir().expect("directory");
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "no program").expect("written");
    let plain = plain.to_string_lossy().into_owned();
    for (argv, code, part) in [
        (vec!["surely-there-is-no-such-program"], 127, "`surely-there-is-no-such-program` was not found; check"),
        (vec!["/surely/not"], 127, "was not found"),
        (vec![plain.as_str()], 126, "cannot be executed: Permission denied"),
        (vec!["/tmp"], 126, "cannot be executed"),
        (vec![], 125, "no command to run; give one after `--`"),
    ] {
        let user = User::new(80, 24);
        let terminal = sandbox::Terminal::open(std::os::fd::AsFd::as_fd(&user.terminal)).expect("terminal");
        let error = launch(&argv, Some(terminal)).start().expect_err("cannot start");
        assert_eq!(error.exit_code(), code, "{argv:?}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(user.is_cooked(), "the terminal is as it was: {argv:?}");
    }
    let mut elsewhere = launch(&["true"], None);
    elsewhere.cwd = Some("/surely/not".into());
    let error = elsewhere.start().expect_err("no such directory");
    assert!(matches!(error, SandboxError::Directory { .. }));
    assert_eq!(error.exit_code(), 125);
}

#[tokio::test]
async fn nothing_of_our_environment_is_inherited() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "env; echo done"]);
    let screen = user.sees("done").await;
    running.wait().await;
    assert!(screen.contains("TERM=xterm") && !screen.contains("CARGO"), "{screen}");
}
