//! A git server: `git http-backend` behind a handler, as GitHub would serve `https://github.com/owner/name.git`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::answer::Answer;
use super::journal::Seen;

/// A folder of bare repositories served over smart HTTP.
#[derive(Clone, Debug)]
pub struct GitHost {
    root: PathBuf,
}

impl GitHost {
    /// Repositories live below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes `owner/name.git` with one commit of these files on `main`.
    pub fn repository(&self, name: &str, files: &[(&str, &[u8])]) {
        let bare = self.root.join(name);
        let work = self.root.join("work").join(name);
        std::fs::create_dir_all(&work).unwrap();
        git(&self.root, &["init", "-q", "--bare", "-b", "main", &bare.to_string_lossy()]);
        git(&bare, &["config", "http.receivepack", "true"]);
        git(&work, &["init", "-q", "-b", "main"]);
        for (path, content) in files {
            let path = work.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "first"]);
        git(&work, &["push", "-q", &bare.to_string_lossy(), "main"]);
    }

    /// The commit that a ref points at.
    #[must_use]
    pub fn head(&self, name: &str, reference: &str) -> Option<String> {
        let output = Command::new("git")
            .args(["rev-parse", "--verify", "-q", reference])
            .current_dir(self.root.join(name))
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Answers what looks like smart HTTP; `None` for everything else. Without `Authorization` it asks for it, so that a
    /// client which sends nothing (git) shows whether the gateway put it on.
    #[must_use]
    pub fn answer(&self, seen: &Seen) -> Option<Answer> {
        let path = seen.path();
        let smart = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];
        if !smart.iter().any(|end| path.ends_with(end)) {
            return None;
        }
        if !seen.headers.contains_key("authorization") {
            return Some(Answer::status(401).header("www-authenticate", "Basic realm=\"git\""));
        }
        Some(self.backend(seen))
    }

    fn backend(&self, seen: &Seen) -> Answer {
        let mut body = seen.body.to_vec();
        if seen.values("content-encoding").iter().any(|coding| coding == "gzip") {
            body = crate::coding::decode("gzip", &body).unwrap_or_default();
        }
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", seen.path())
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &seen.method)
            .env("CONTENT_TYPE", seen.values("content-type").join(""))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("REMOTE_USER", "test")
            .env("GIT_PROTOCOL", seen.values("git-protocol").join(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&body));
        let output = child.wait_with_output().unwrap().stdout;
        let _ = writer.join();
        cgi(&output)
    }
}

/// RFC 3875 6: header fields, blank line, body.
fn cgi(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
    let mut answer = Answer::status(200);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "status" => answer = answer.with_status(value.trim().split(' ').next().unwrap().parse().unwrap()),
            other => answer = answer.header(other, value.trim()),
        }
    }
    let body = output.get(end + 4..).unwrap_or_default().to_vec();
    answer.content(super::Content::Whole(body.into()))
}

fn git(folder: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}
