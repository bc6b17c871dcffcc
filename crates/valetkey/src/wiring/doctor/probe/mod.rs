//! The runtimes, one file each: how a client of it sends one request with the token of its environment. None is told of the
//! proxy or of a certificate, except where its name says so.
//!
//! To add one: a file here and a line in [`ALL`], in the order in which people read.

mod aws;
mod cargo;
mod chromium;
mod curl;
mod deno;
mod gh;
mod git;
mod go;
mod java;
mod node;
mod npm;
mod pip;
mod python;
mod ruby;
mod wget;

/// One way to send a request.
#[derive(Debug)]
pub(super) struct Probe {
    /// What it is called in findings: the program, and the library where it has several.
    pub subject: &'static str,
    /// Names of the program; the first that is found is `$PROGRAM` in the lines of shell.
    pub programs: &'static [&'static str],
    /// A line of shell that succeeds where the rest of it is here, too.
    pub needs: &'static str,
    /// A line of shell that prints the version.
    pub version: &'static str,
    /// Files in its folder, which is the current one.
    pub files: &'static [(&'static str, &'static str)],
    /// A line of shell that sends the request.
    pub script: &'static str,
    /// Whether it sends a token that can be swapped.
    pub swaps: bool,
    /// What to do where it fails.
    pub mend: &'static str,
}

/// What most of them have.
const PLAIN: Probe = Probe {
    subject: "",
    programs: &[],
    needs: "",
    version: "\"$PROGRAM\" --version",
    files: &[],
    script: "",
    swaps: true,
    mend: "",
};

/// Every runtime.
pub(super) const ALL: &[Probe] = &[
    curl::CURL,
    wget::WGET,
    git::GIT,
    python::URLLIB,
    python::REQUESTS,
    python::HTTPX,
    python::AIOHTTP,
    python::AIOHTTP_TRUSTING,
    node::FETCH,
    node::HTTPS,
    java::AS_IT_IS,
    java::TOLD,
    go::GO,
    ruby::RUBY,
    deno::DENO,
    cargo::CARGO,
    pip::PIP,
    npm::NPM,
    gh::GH,
    aws::AWS,
    chromium::CHROMIUM,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_is_whole_and_has_a_mend() {
        let mut subjects: Vec<_> = ALL.iter().map(|probe| probe.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), ALL.len(), "two probes have one name");
        for probe in ALL {
            assert!(!probe.subject.is_empty() && !probe.programs.is_empty(), "{probe:?}");
            assert!(probe.script.contains("$PROGRAM") && !probe.mend.is_empty(), "{}", probe.subject);
            let text = [&[probe.script][..], &probe.files.iter().map(|(_, text)| *text).collect::<Vec<_>>()].concat();
            let all = text.concat();
            assert!(all.contains(".valetkey.test"), "{} asks some other host", probe.subject);
            assert_eq!(all.contains("DOCTOR_TOKEN"), probe.swaps, "{}", probe.subject);
        }
    }
}
