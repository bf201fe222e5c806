//! Measuring back ends on instances: what came of each, and how long it took.
//!
//! | module | what it holds |
//! |---|---|
//! | [`row`] | runs of one kind, counted |
//! | [`agreement`] | what runs of several back ends on one instance say of each other |

pub mod agreement;
pub mod row;

use std::time::Duration;

use serde::Serialize;

use crate::check::{Violation, check};
use crate::instances::paper::{Instance, Setup};
use crate::placement::Placement;
use crate::score::Score;
use crate::solve::back_end::BackEnd;
use crate::solve::deadline::Stopwatch;
use crate::solve::report::{StageReport, Status};
use crate::solve::{Options, SolveError, solve, solve_with};

/// What came of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better than the default scheduler's, and proved that nothing is better.
    BetterProved,
    /// Better than the default scheduler's.
    Better,
    /// Proved that nothing is better than the default scheduler's.
    DefaultOptimal,
    /// Neither.
    Failed,
}

/// One instance solved by one back end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Who solved it.
    pub back_end: String,
    /// The instance's kind.
    #[serde(flatten)]
    pub setup: Setup,
    /// Its seed.
    pub seed: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// Stages that were not for it, so that the search of this crate solved them.
    pub left: usize,
    /// How long it took, by the budget's clock.
    #[serde(rename = "time_s", serialize_with = "seconds")]
    pub time: Duration,
    /// What the default scheduler's placement is worth.
    pub before: Score,
    /// What the answer is worth.
    pub after: Score,
}

/// Why an instance was not solved.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The instance itself is wrong.
    #[error("the present state of seed {seed} is not allowed: {violation}")]
    Start {
        /// Of which instance.
        seed: u64,
        /// What is wrong.
        violation: Box<Violation>,
    },
    /// The solver.
    #[error("seed {seed}: {source}")]
    Solve {
        /// Of which instance.
        seed: u64,
        /// What it said.
        source: SolveError,
    },
}

/// Solves an instance with the back end that the options name, or with one of the caller's.
pub fn run(
    instance: &Instance,
    options: &Options,
    back_end: Option<&mut dyn BackEnd>,
) -> Result<Run, RunError> {
    let Instance { setup, seed, ref problem } = *instance;
    let before = check(problem, &Placement::as_it_is(problem))
        .map_err(|violation| RunError::Start { seed, violation: Box::new(violation) })?;
    let watch = Stopwatch::new(options.budget.clock);
    let answer = match back_end {
        Some(back_end) => solve_with(problem, options, &[], back_end),
        None => solve(problem, options, &[]),
    };
    let time = watch.elapsed();
    let answer = answer.map_err(|source| RunError::Solve { seed, source })?;
    let better = options.objective.compare(&answer.score, &before).is_gt();
    let verdict = match (better, answer.status == Status::Optimal) {
        (true, true) => Verdict::BetterProved,
        (true, false) => Verdict::Better,
        (false, true) => Verdict::DefaultOptimal,
        (false, false) => Verdict::Failed,
    };
    let by_another =
        |stage: &&StageReport| stage.back_end.as_ref().is_some_and(|name| *name != answer.back_end);
    let left = answer.stages.iter().filter(by_another).count();
    let (back_end, after) = (answer.back_end, answer.score);
    Ok(Run { back_end, setup, seed, verdict, left, time, before, after })
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}
