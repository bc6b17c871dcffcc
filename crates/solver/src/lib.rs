//! Asks the solver `cvc5`, a program of its own, whether anything refutes a claim. Cedar's symbolic compiler turns policies into its
//! language and reads what it answers.
//!
//! A crate apart because of what it drags in and because it starts a program: `policy`, which makes the claims, does no I/O. It
//! must never decide anything: what a solver finds is judged by the engine before it is believed. Start reading at [`Solver`].

use std::path::{Path, PathBuf};

use cedar_policy::{Context, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet};
use policy::prove::Claim;
use tokio::process::Command;

/// Time for one question, milliseconds. Most take 20.
const QUESTION_MILLIS_MAX: u32 = 20_000;

/// Why a solver cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "the solver `{program}` does not work ({why}); install cvc5 (Debian: `apt install cvc5`) or name it with --solver"
)]
pub struct SolverError {
    program: String,
    why: String,
}

/// Questions without any answer after which a program is no solver.
const FAULTS_MAX: u64 = 3;

/// A running solver; it ends with this.
pub struct Solver {
    program: PathBuf,
    compiler: CedarSymCompiler<LocalSolver>,
    asked: u64,
    faults: u64,
}

/// What a solver says of one claim.
pub enum Answer {
    /// Nothing refutes it.
    Holds,
    /// Under these circumstances it does not hold: the agent and the context.
    Fails(String, Box<Context>),
    /// It cannot say, and why.
    Unknown(String),
}

impl Solver {
    /// Starts the program.
    ///
    /// # Errors
    /// It is not there, or does not start.
    pub fn start(program: &Path) -> Result<Self, SolverError> {
        Ok(Self { program: program.to_owned(), compiler: compiler(program)?, asked: 0, faults: 0 })
    }

    /// Questions that were put.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// Puts one claim.
    ///
    /// # Errors
    /// The program cannot be started anew after it gave up.
    pub async fn ask(&mut self, claim: &Claim) -> Result<Answer, SolverError> {
        let compiled = match compile(claim) {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Answer::Unknown(why)),
        };
        self.asked += 1;
        let found = match &compiled.1 {
            None => self.compiler.check_always_denies_with_counterexample_opt(&compiled.0).await,
            Some(covered) => self.compiler.check_implies_with_counterexample_opt(covered, &compiled.0).await,
        };
        match found {
            Ok(None) => Ok(Answer::Holds),
            Ok(Some(env)) => {
                let agent = env.request.principal().map(|uid| uid.id().unescaped().to_owned());
                let context = env.request.context().cloned();
                Ok(match agent.zip(context) {
                    Some((agent, context)) => Answer::Fails(agent, Box::new(context)),
                    None => Answer::Unknown("its answer does not say which request".to_owned()),
                })
            }
            Err(error) => {
                self.faults += 1;
                if self.faults == self.asked && self.faults >= FAULTS_MAX {
                    // It never answered anything.
                    let (program, why) = (self.program.display().to_string(), error.to_string());
                    return Err(SolverError { program, why });
                }
                // It may be in the middle of anything.
                self.compiler = compiler(&self.program)?;
                Ok(Answer::Unknown(error.to_string()))
            }
        }
    }
}

fn compiler(program: &Path) -> Result<CedarSymCompiler<LocalSolver>, SolverError> {
    let mut command = Command::new(program);
    // Debian's 1.0.3 takes patterns of texts for experimental.
    command
        .args(["--lang", "smt", "--strings-exp"])
        .arg(format!("--tlimit-per={QUESTION_MILLIS_MAX}"))
        .kill_on_drop(true);
    let fault = |why: String| SolverError { program: program.display().to_string(), why };
    let solver = LocalSolver::from_command(&mut command).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        fault(cause.unwrap_or_else(|| error.to_string()))
    })?;
    CedarSymCompiler::new(solver).map_err(|error| fault(error.to_string()))
}

/// What must deny everything, or allow what is covered.
type Compiled = (CompiledPolicySet, Option<CompiledPolicySet>);

fn compile(claim: &Claim) -> Result<Compiled, String> {
    let (schema, _) = Schema::from_cedarschema_str(&claim.schema).map_err(|error| error.to_string())?;
    // The other actions apply to nothing.
    let mut environments = schema.request_envs();
    let environment = environments.next().ok_or_else(|| "the schema has no request".to_owned())?;
    let compile = |policies: &PolicySet| {
        CompiledPolicySet::compile(policies, &environment, &schema).map_err(|error| {
            // The validator says it for people, by the names that the policies have.
            let typed = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
            let said = typed.validation_errors().next().map(ToString::to_string);
            format!("a rule cannot be typed: {}", said.unwrap_or_else(|| error.to_string()))
        })
    };
    Ok((compile(&claim.policies)?, claim.covered.as_ref().map(compile).transpose()?))
}
