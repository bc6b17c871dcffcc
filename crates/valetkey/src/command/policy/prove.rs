//! `policy prove`: statements about a policy, proven over every request or refuted by one.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use catalog::Example;
use policy::prove::{Asked, Claim, Found, Group, Proof, Provable, Shape, Statement, Statements};
use serde::Serialize;
use serde_json::json;
use solver::{Answer, Solver};

use super::{Ready, ready, text_of};
use crate::clock::SystemClock;
use crate::command::asked;
use crate::config::{Ambient, Faults, Sources};
use crate::output::{self, Paint};

/// Actions and shapes of resources at which a request is looked for, of one group.
const NARROWED_MAX: usize = 400;

/// Prove statements about a policy, or find a request that refutes them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of statements (YAML)
    #[arg(required = true, value_name = "STATEMENTS")]
    files: Vec<PathBuf>,
    /// The configuration [default: the file's own `policy:`, else valetkey.yaml here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The solver
    #[arg(long, value_name = "PROGRAM", default_value = "cvc5")]
    solver: PathBuf,
    /// Print what the solver is asked, as Cedar, and ask nothing
    #[arg(long, conflicts_with = "json")]
    cedar: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// It holds of every request.
    Proved,
    /// A request is decided otherwise.
    Refuted,
    /// Neither is known.
    Open,
}

#[derive(Serialize)]
struct Outcome {
    file: String,
    statement: String,
    verdict: Verdict,
    /// Actions that it covers.
    actions: usize,
    /// Questions to the solver.
    questions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterexample: Option<Counterexample>,
    /// Why it is open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open: Vec<String>,
}

/// A call that is decided otherwise than the statement says.
#[derive(Serialize)]
struct Counterexample {
    #[serde(flatten)]
    found: Found,
    explained: policy::Explained,
    /// Who is asked all the same, in words; nothing where that is not what the statement is about.
    #[serde(skip_serializing_if = "str::is_empty")]
    asks: &'static str,
    /// A request that makes it, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Try>,
}

/// The request as `explain` takes it.
#[derive(Serialize)]
struct Try {
    method: &'static str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    command: String,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let paint = Paint::of_stdout(ambient.wants_colour());
        let mut solver = None;
        let mut outcomes = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            let statements = Statements::parse(&text_of(ambient, path, "statements")?, &name).map_err(Faults)?;
            let beside = statements.policy.as_ref().map(|policy| path.with_file_name(policy));
            let named = self.config.clone().or(beside);
            let found = named.as_ref().map(|named| ambient.folder().join(named));
            let ready = ready(&Sources::find(ambient, found.as_deref())?)?;
            let rules =
                Provable::of(&ready.rules).map_err(|why| anyhow::anyhow!("the configuration of `{name}` {why}"))?;
            let words = ready.catalog.vocabulary();
            let now = model::Clock::now(&SystemClock);
            for statement in &statements.list {
                let proof = Proof::new((rules, &words), statement, now).map_err(Faults)?;
                if self.cedar {
                    print_cedar(&proof, statement);
                    continue;
                }
                let solver = match &mut solver {
                    Some(running) => running,
                    None => solver.insert(Solver::start(&self.solver)?),
                };
                let asked = Asking { ready: &ready, proof: &proof, config: named.as_deref() };
                let outcome = asked.prove((&name, statement), solver).await?;
                if !self.json {
                    outcome.print(paint);
                }
                outcomes.push(outcome);
            }
        }
        let of = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let (proved, refuted, open) = (of(Verdict::Proved), of(Verdict::Refuted), of(Verdict::Open));
        if self.json {
            let all = json!({ "proved": proved, "refuted": refuted, "open": open, "statements": outcomes });
            output::json(&all)?;
        } else if !self.cedar {
            output::line(&format!("{proved} proved, {refuted} refuted, {open} open"));
        }
        Ok(refuted + open == 0)
    }
}

fn print_cedar(proof: &Proof<'_>, statement: &Statement) {
    for group in proof.plan().groups {
        output::line(&output::safe(&format!("// {}: {}", statement.name, group.words())));
        match proof.claim(&group) {
            Ok(claim) => output::line(&claim.cedar()),
            Err(why) => output::line(&format!("// {why}")),
        }
    }
}

/// One statement against one configuration.
struct Asking<'a> {
    ready: &'a Ready,
    proof: &'a Proof<'a>,
    /// Where the configuration was found, if it was named.
    config: Option<&'a Path>,
}

impl Asking<'_> {
    async fn prove(&self, (file, statement): (&str, &Statement), solver: &mut Solver) -> anyhow::Result<Outcome> {
        let proof = self.proof;
        let before = solver.asked();
        let plan = proof.plan();
        let (mut counterexample, mut open) = (None, Vec::new());
        for group in &plan.groups {
            match ask(solver, proof.claim(group)).await? {
                Answer::Holds => {}
                Answer::Unknown(why) => open.push(format!("{}: {why}", group.words())),
                Answer::Fails(agent, context) => {
                    let found = self.search(group, solver).await?;
                    if found.as_ref().is_some_and(|found| found.request.is_some()) {
                        counterexample = found;
                        break;
                    }
                    if counterexample.is_none() {
                        counterexample = found;
                    }
                    if counterexample.is_none() {
                        let seen = proof.read(group, (&agent, &context));
                        let seen = seen.map_or_else(|| group.words(), |found| found.words());
                        open.push(format!("no proof, and no call that was tried is decided otherwise: {seen}"));
                    }
                }
            }
        }
        let verdict = match (&counterexample, open.is_empty()) {
            (Some(_), _) => Verdict::Refuted,
            (None, true) => Verdict::Proved,
            (None, false) => Verdict::Open,
        };
        let (file, statement) = (file.to_owned(), statement.name.clone());
        let questions = solver.asked() - before;
        Ok(Outcome { file, statement, verdict, actions: plan.actions, questions, counterexample, open })
    }

    /// A call of the group, on a resource as it is usually asked for, that the engine decides otherwise; best one that a request
    /// makes.
    async fn search(&self, group: &Group, solver: &mut Solver) -> anyhow::Result<Option<Counterexample>> {
        let (ready, proof) = (self.ready, self.proof);
        let (mut first, mut tried) = (None, 0);
        let service = ready.catalog.service(group.service());
        for (at, action) in group.actions().enumerate() {
            let forms = service.map(|service| service.resource_forms(action)).unwrap_or_default();
            for shape in forms.iter().filter_map(|form| Shape::parse(form)) {
                tried += 1;
                if tried > NARROWED_MAX {
                    return Ok(first);
                }
                let Ok(Some((one, claim))) = proof.narrow(group, at, &shape) else { continue };
                let Answer::Fails(agent, context) = solver.ask(&claim).await? else { continue };
                let Some(found) = proof.read(&one, (&agent, &context)) else {
                    continue;
                };
                for example in service.map(|service| service.examples(&found.call)).unwrap_or_default() {
                    if let Some(counterexample) = self.tried_out(&found, &example)? {
                        return Ok(Some(counterexample));
                    }
                }
                if first.is_none()
                    && let Some(found) = proof.refutes(&found, None)
                    && let Some(explained) = proof.explain(&found, None)
                {
                    let asks = proof.asks_instead(&explained);
                    first = Some(Counterexample { found, explained, asks, request: None });
                }
            }
        }
        Ok(first)
    }

    /// Whether a request makes the call, and is decided otherwise than the statement says.
    fn tried_out(&self, found: &Found, example: &Example) -> anyhow::Result<Option<Counterexample>> {
        let (ready, proof) = (self.ready, self.proof);
        let headers: Vec<String> = example.content_type.iter().map(|kind| format!("Content-Type: {kind}")).collect();
        let body = example.body.as_ref().map(String::as_bytes);
        let Ok(request) = asked::canonical((example.method, &example.url), &headers, body)? else { return Ok(None) };
        let Ok(classification) = ready.catalog.classify(&request, asked::body_view(body)) else { return Ok(None) };
        if !Proof::is_same(found, &classification) {
            return Ok(None);
        }
        let seen = Asked { classification: &classification, method: request.method(), origin: request.origin() };
        let Some(found) = proof.refutes(found, Some(seen)) else { return Ok(None) };
        let Some(explained) = proof.explain(&found, Some(seen)) else { return Ok(None) };
        let Example { method, url, content_type, body } = example.clone();
        let command = self.command(&found, example);
        let asks = proof.asks_instead(&explained);
        let request = Some(Try { method, url, content_type, body, command });
        Ok(Some(Counterexample { found, explained, asks, request }))
    }

    /// The command that shows it.
    fn command(&self, found: &Found, example: &Example) -> String {
        let mut words =
            vec!["valetkey".to_owned(), "explain".to_owned(), "--agent".to_owned(), quoted(found.agent.as_str())];
        let source = (found.source != Ipv4Addr::LOCALHOST).then(|| found.source.to_string());
        let at = self.proof.minds_the_time(found).then(|| found.at.to_string());
        let started = (at.is_some() && found.since != found.at).then(|| found.since.to_string());
        for (flag, value) in [
            ("--task", found.task.as_deref()),
            ("--user", found.user.as_ref().map(model::UserName::as_str)),
            ("--source", source.as_deref()),
            ("--at", at.as_deref()),
            ("--session-started", started.as_deref()),
        ] {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), quoted(value)]));
        }
        words.extend(found.roles.iter().flat_map(|role| ["--role".to_owned(), quoted(role)]));
        words.extend(
            self.config.into_iter().flat_map(|path| ["--config".to_owned(), quoted(&path.display().to_string())]),
        );
        if let Some(kind) = example.content_type.filter(|kind| *kind != "application/json") {
            words.extend(["-H".to_owned(), quoted(&format!("Content-Type: {kind}"))]);
        }
        if example.body.is_some() {
            words.extend(["--body".to_owned(), "-".to_owned()]);
        }
        words.extend([example.method.to_owned(), quoted(&example.url)]);
        let line = words.join(" ");
        example.body.as_ref().map_or_else(|| line.clone(), |body| format!("printf %s {} | {line}", quoted(body)))
    }
}

async fn ask(solver: &mut Solver, claim: Result<Claim, String>) -> anyhow::Result<Answer> {
    match claim {
        Ok(claim) => Ok(solver.ask(&claim).await?),
        Err(why) => Ok(Answer::Unknown(why)),
    }
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { output::shell_word(text) }
}

impl Outcome {
    fn print(&self, paint: Paint) {
        let word = match self.verdict {
            Verdict::Proved => paint.good("proved "),
            Verdict::Refuted => paint.bad("refuted"),
            Verdict::Open => paint.bad("open   "),
        };
        let many = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        output::line(&format!(
            "{word} {}   ({}, {})",
            output::safe(&self.statement),
            many(self.actions as u64, "action"),
            many(self.questions, "question")
        ));
        if let Some(found) = &self.counterexample {
            let decision = match &found.explained.error {
                Some(error) => error.clone(),
                None => format!("allowed by {}{}", found.explained.rules.join(", "), found.asks),
            };
            output::line(&format!("        {}: {}", output::safe(&found.found.words()), output::safe(&decision)));
            match &found.request {
                Some(request) => output::line(&format!("        {}", output::safe(&request.command))),
                None => output::line("        (no request is known that makes this call; it was judged alone)"),
            }
        }
        if self.counterexample.is_none() {
            for why in self.open.iter().take(3) {
                output::line(&format!("        {}", output::safe(why)));
            }
        }
    }
}
