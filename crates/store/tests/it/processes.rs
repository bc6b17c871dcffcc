//! Several processes on one file. A child is this very test binary, told on its standard input what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use model::Tenant;

use crate::limits::need;
use crate::world::{at, open_file};

const KEY: &str = "edge";

fn spawn(path: &Path, tries: usize, max: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("exe"))
        .args(["--ignored", "--exact", "processes::child_reserves", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let order = format!("{}\n{tries}\n{max}", path.display());
    child.stdin.take().expect("stdin").write_all(order.as_bytes()).expect("write");
    child
}

/// Prints `took` after each admission that the store acknowledged.
#[test]
#[ignore = "a child of the tests below"]
fn child_reserves() {
    let order = std::io::read_to_string(std::io::stdin()).expect("stdin");
    let [path, tries, max] = order.lines().collect::<Vec<_>>()[..] else { return };
    let (tries, max): (usize, u64) = (tries.parse().expect("tries"), max.parse().expect("max"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open_file(path.into()).await.expect("opens");
        for _ in 0..tries {
            if store.limits().reserve(&Tenant::local(), &[need(KEY, 1, max)], at(1)).await.expect("store").is_ok() {
                println!("\ntook");
            }
        }
    });
}

fn admissions(child: &mut Child) -> u64 {
    let out = BufReader::new(child.stdout.take().expect("stdout"));
    out.lines().map_while(Result::ok).filter(|line| line == "took").count() as u64
}

#[tokio::test]
async fn four_processes_admit_exactly_as_many_as_allowed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    // The file does not exist yet: they also race to make it.
    let mut children: Vec<_> = (0..4).map(|_| spawn(&path, 250, 300)).collect();
    let admitted: u64 = children.iter_mut().map(admissions).sum();
    for child in &mut children {
        assert!(child.wait().expect("child").success());
    }
    assert_eq!(admitted, 300);
    let store = open_file(path).await.expect("opens");
    assert_eq!(store.limits().taken(&Tenant::local(), KEY, at(0)).await.expect("taken"), 300);
}

#[tokio::test]
async fn killed_processes_lose_no_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = open_file(path.clone()).await.expect("opens");
    let mut acknowledged = 0;
    for round in 1..=12u64 {
        let mut child = spawn(&path, 1_000_000, 1_000_000);
        let mut out = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        // In the middle of its work, at a point that differs each time.
        let seen = out.by_ref().filter(|line| line == "took").take(usize::try_from(round * 7).expect("small")).count();
        child.kill().expect("kill -9");
        acknowledged += seen as u64 + out.filter(|line| line == "took").count() as u64;
        child.wait().expect("child");
        let taken = store.limits().taken(&Tenant::local(), KEY, at(0)).await.expect("taken");
        // Each dead process may have taken one that it could not report any more; never one less.
        assert!((acknowledged..=acknowledged + round).contains(&taken), "{acknowledged} {taken}");
    }
    store.check().expect("sound");
}
