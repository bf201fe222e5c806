//! Checking a certificate: everything that arithmetic can check, by code that no solver uses.
//!
//! | module | what it holds |
//! |---|---|
//! | `bound` | what a proof proves of a stage |
//! | `filling` | what one node earns at most |

mod bound;
mod filling;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::bound::{Claim, Kept};
use self::filling::Steps;
use super::certificate::{Certificate, FORMAT, SeatError, digest};
use super::proof::Proof;
use super::report::{StageReport, Status};
use crate::check::{Violation, check};
use crate::problem::{Problem, Tier};
use crate::score::{Goal, Objective};

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Of another kind.
    #[error("format: {format}, must be {FORMAT}")]
    Format {
        /// What it says.
        format: String,
    },
    /// About another problem.
    #[error("problem: the certificate is about {certificate}, this one is {problem}")]
    Problem {
        /// The digest it says.
        certificate: String,
        /// The digest of the problem at hand.
        problem: String,
    },
    /// Not a placement of the problem's pods.
    #[error(transparent)]
    Seats(#[from] SeatError),
    /// Not allowed.
    #[error("placement: {0}")]
    Placement(Box<Violation>),
    /// Worth something else than it says.
    #[error("score: not that of the placement")]
    Score,
    /// Not the stages of its objective.
    #[error("stages: not those of the objective")]
    Stages,
    /// A value that is not that of the placement, or a status that does not follow from it.
    #[error("stage {number}: value {value} and status do not agree with the score and the bound")]
    Value {
        /// Which stage, from 0.
        number: usize,
        /// What it says.
        value: u32,
    },
    /// A proof that does not prove it.
    #[error("stage {number}: bound {bound} is not proved, the proof gives {proved}")]
    Bound {
        /// Which stage, from 0.
        number: usize,
        /// What it says.
        bound: u32,
        /// What follows from the proof.
        proved: u32,
    },
}

/// Fillings of nodes that are tried in all; beyond them bounds are less sharp.
const MOST_STEPS: u64 = 200_000_000;

/// What a bound rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// It was computed again here.
    Arithmetic,
    /// On what a solver says, to be checked by running it again.
    Solver(String),
}

/// One stage of a certificate that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whose tier.
    pub tier: u32,
    /// What was to be good.
    pub goal: Goal,
    /// The value, by the check of this crate.
    pub value: u32,
    /// The bound.
    pub bound: u32,
    /// What it rests on.
    pub ground: Ground,
}

/// Checks format, problem, placement, score, stages, and every bound that arithmetic proves; says
/// of each stage what its bound rests on.
pub fn verify(problem: &Problem, certificate: &Certificate) -> Result<Vec<Verified>, VerifyError> {
    if certificate.format != FORMAT {
        return Err(VerifyError::Format { format: certificate.format.clone() });
    }
    let digest = digest(problem);
    if certificate.problem != digest {
        let certificate = certificate.problem.clone();
        return Err(VerifyError::Problem { certificate, problem: digest });
    }
    let placement = certificate.seats(problem)?;
    let score = check(problem, &placement).map_err(|v| VerifyError::Placement(Box::new(v)))?;
    if score != certificate.score {
        return Err(VerifyError::Score);
    }
    let stages = certificate.objective.stages(problem.priorities().len());
    let said: Vec<_> = certificate.stages.iter().map(|s| (Tier(s.tier), s.goal)).collect();
    if said != stages {
        return Err(VerifyError::Stages);
    }
    for (number, report) in certificate.stages.iter().enumerate() {
        let agrees = report.value == score.value(Tier(report.tier), report.goal)
            && (report.status == Status::Optimal) == (report.value == report.bound);
        if !agrees {
            return Err(VerifyError::Value { number, value: report.value });
        }
    }
    let all = certificate.stages.iter().all(|report| report.status == Status::Optimal);
    if all != (certificate.status == Status::Optimal) {
        return Err(VerifyError::Stages);
    }
    verify_bounds(problem, certificate.objective, &certificate.stages)
}

fn verify_bounds(
    problem: &Problem,
    objective: Objective,
    reports: &[StageReport],
) -> Result<Vec<Verified>, VerifyError> {
    let mut steps = Steps(MOST_STEPS);
    let mut kept: Vec<Kept> = Vec::new();
    let mut verified = Vec::new();
    let stages = objective.stages(problem.priorities().len());
    for (number, ((tier, goal), report)) in stages.into_iter().zip(reports).enumerate() {
        let StageReport { value, bound, .. } = *report;
        let claim = Claim::new(problem, tier, goal, &kept);
        if !claim.follows(bound, value) {
            return Err(VerifyError::Value { number, value });
        }
        let ground = match (&report.proof, claim.bound(&report.proof, &mut steps)) {
            (Proof::Exhausted { solver, .. }, _) => Ground::Solver(solver.clone()),
            (_, Some(proved)) if !claim.follows(bound, proved) => {
                return Err(VerifyError::Bound { number, bound, proved });
            }
            _ => Ground::Arithmetic,
        };
        verified.push(Verified { tier: tier.0, goal, value, bound, ground });
        kept.push(Kept { tier, goal, value });
    }
    Ok(verified)
}
