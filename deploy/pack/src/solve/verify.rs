//! Checking a certificate: everything that arithmetic can check.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::back_end::{Frozen, Stage, active, trivial};
use super::capacity;
use super::certificate::{Certificate, FORMAT, SeatError, digest};
use super::columns::{Dual, Kinds};
use super::deadline::{Budget, Clock, Deadline};
use super::model::Model;
use super::proof::Proof;
use super::report::{StageReport, Status};
use crate::check::{Violation, check};
use crate::placement::Placement;
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
    verify_bounds(problem, certificate.objective, &certificate.stages, &placement)
}

fn verify_bounds(
    problem: &Problem,
    objective: Objective,
    reports: &[StageReport],
    placement: &Placement,
) -> Result<Vec<Verified>, VerifyError> {
    let budget =
        Budget { time: Duration::MAX, clock: Clock::Wall, interrupt: Arc::default(), threads: 1 };
    let deadline = Deadline::of(&budget);
    let mut frozen: Vec<Frozen> = Vec::new();
    let mut verified = Vec::new();
    let mut deepest = Tier(0);
    for (number, (tier, goal)) in
        objective.stages(problem.priorities().len()).into_iter().enumerate()
    {
        deepest = deepest.max(tier);
        let report = &reports[number];
        let stage = Stage {
            problem,
            tier,
            goal,
            frozen: &frozen,
            active: &active(problem, deepest),
            incumbent: placement,
            value: report.value,
            bound: trivial(problem, tier, goal).0,
            deadline: &deadline,
            seed: 0,
            threads: 1,
        };
        if stage.is_better(report.value, report.bound) {
            return Err(VerifyError::Value { number, value: report.value });
        }
        let ground = match proved(&stage, &report.proof) {
            None => {
                let Proof::Exhausted { solver, .. } = &report.proof else {
                    unreachable!("no number")
                };
                Ground::Solver(solver.clone())
            }
            Some(proved) if stage.is_better(report.bound, proved) || report.bound == proved => {
                Ground::Arithmetic
            }
            Some(proved) => return Err(VerifyError::Bound { number, bound: report.bound, proved }),
        };
        let (value, bound) = (report.value, report.bound);
        verified.push(Verified { tier: tier.0, goal, value, bound, ground });
        frozen.push(Frozen { tier, goal, value, proved: value == bound });
    }
    Ok(verified)
}

/// The bound that follows from a proof; none where it is a solver's word.
fn proved(stage: &Stage<'_>, proof: &Proof) -> Option<u32> {
    match proof {
        Proof::Capacity { weights } if stage.goal == Goal::Placed => {
            Some(capacity::bound(stage, weights).min(stage.bound))
        }
        Proof::AllPlaced | Proof::NothingDisturbed | Proof::Capacity { .. } => Some(stage.bound),
        Proof::Prices(prices) => {
            let model = Model::of(stage);
            let Some(mut dual) = Dual::of_proof(prices, stage, &model) else {
                return Some(stage.bound);
            };
            dual.settle(&model, &Kinds::of(&model), &|| false);
            Some(model.value(dual.worth()))
        }
        Proof::Exhausted { .. } => None,
    }
}
