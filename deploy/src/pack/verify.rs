//! `onepath pack verify CERTIFICATE PODS`: everything in a certificate that arithmetic can check.

use std::path::PathBuf;

use onepath_pack::kubernetes::Snapshot;
use onepath_pack::problem::Problem;
use onepath_pack::score::Goal;
use onepath_pack::solve::certificate::Certificate;
use onepath_pack::solve::verify::{Ground, Verified, VerifyError, verify};
use onepath_pack::words::{csv_field, one_line};

use super::arguments::VerifyArguments;
use super::input::{self, InputError};
use crate::arguments::Format;
use crate::read;

/// The longest certificate.
const MAX_BYTES: usize = 256 << 20;

/// A certificate that does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The objects.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] read::ReadError),
    /// It is no certificate.
    #[error("{}: {problem}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: serde_json::Error,
    },
    /// It says what is not so.
    #[error("{}: {problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: VerifyError,
    },
    /// The document cannot be written.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

/// What each bound rests on.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<String, CertificateError> {
    let path = || arguments.certificate.clone();
    let text = read::text(&arguments.certificate, MAX_BYTES)?;
    let certificate: Certificate = serde_json::from_str(&text)
        .map_err(|problem| CertificateError::Syntax { path: path(), problem })?;
    let mut snapshot = Snapshot::default();
    input::add_files(&mut snapshot, &arguments.pods, &arguments.objects)?;
    let (problem, _) = input::problem(&snapshot, &arguments.pods, &arguments.objects, true)?;
    let stages = verify(&problem, &certificate)
        .map_err(|problem| CertificateError::Wrong { path: path(), problem })?;
    Ok(match arguments.format {
        Format::Text => text_of(&problem, &stages),
        Format::Json => serde_json::to_string_pretty(&stages)? + "\n",
        Format::Csv => {
            let names = "priority,goal,value,bound,rests on\n".to_owned();
            rows(&problem, &stages).fold(names, |text, row| {
                text + &row.map(|field| csv_field(&field)).join(",") + "\n"
            })
        }
    })
}

fn text_of(problem: &Problem, stages: &[Verified]) -> String {
    let proved = stages.iter().filter(|stage| stage.value == stage.bound).count();
    let again = |stage: &&Verified| stage.ground == Ground::Arithmetic;
    let by_arithmetic =
        stages.iter().filter(|stage| stage.value == stage.bound).filter(again).count();
    let text = format!(
        "The certificate holds: {} pods on {} nodes, {proved} of {} stages optimal, \
         {by_arithmetic} by arithmetic.\n\n\
         priority     goal              value   bound  rests on\n",
        problem.pods().len(),
        problem.nodes().len(),
        stages.len()
    );
    rows(problem, stages).fold(text, |text, [priority, goal, value, bound, ground]| {
        text + &format!("{priority:<11}  {goal:<16}  {value:>5}  {bound:>6}  {ground}\n")
    })
}

fn rows(problem: &Problem, stages: &[Verified]) -> impl Iterator<Item = [String; 5]> {
    stages.iter().map(|stage| {
        let goal = match stage.goal {
            Goal::Placed => "most placed",
            Goal::Disturbed => "fewest disturbed",
        };
        let ground = match &stage.ground {
            Ground::Arithmetic => "arithmetic, done again here".to_owned(),
            Ground::Solver(name) => format!("the word of {}", one_line(name)),
        };
        [
            problem.priorities()[stage.tier as usize].to_string(),
            goal.to_owned(),
            stage.value.to_string(),
            stage.bound.to_string(),
            ground,
        ]
    })
}
