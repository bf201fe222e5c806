//! OR-Tools CP-SAT, opened at run time from the library of its Python package.
//!
//! Equal pods of one set are counted by node, not told apart: a set of four pods on 32 nodes is 32
//! integers, not 128 booleans.
//!
//! | module | what it holds |
//! |---|---|
//! | [`locate`] | where the library is |
//! | `library` | its calls |
//! | `proto` | its messages |
//! | `groups` | pods that are counted together, and where they may be |
//! | `model` | a stage as a model, and its solution as a placement |

mod groups;
mod library;
pub mod locate;
mod model;
mod proto;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use prost::Message;

pub use self::library::OpenError;

use self::library::{Library, ThreadTime};
use self::model::StageModel;
use self::proto::{Parameters, Response, Status};
use crate::solve::back_end::{BackEnd, Found, Stage, Unfit};
use crate::solve::deadline::{Clock, Deadline};
use crate::solve::proof::Proof;

const NAME: &str = "cpsat";

/// CP-SAT with one worker, so that equal seeds give equal answers when the budget is enough.
#[derive(Clone, Copy, Debug)]
pub struct CpSat {
    library: Library,
}

impl CpSat {
    /// Loads the library: that which is named, or that of [`locate::VARIABLE`] or the Python
    /// package.
    pub fn open(named: Option<&Path>) -> Result<Self, OpenError> {
        let library = Library::open(&locate::locate(named)?)?;
        Ok(Self { library })
    }
}

impl BackEnd for CpSat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn solve(&mut self, stage: &Stage<'_>) -> Result<Found, Unfit> {
        let model = StageModel::new(stage)?;
        let left = stage.deadline.left();
        let parameters = parameters(stage, left).encode_to_vec();
        let enough = watch(stage.deadline, left);
        let library = |reason: &str| Unfit::Library { back_end: NAME, reason: reason.to_owned() };
        let response = self.library.solve(&model.message(), &parameters, enough);
        let response = response.ok_or_else(|| library("a message is too long"))?;
        let response = Response::decode(&*response).map_err(|error| library(&error.to_string()))?;
        let unchanged = || Found { placement: None, bound: stage.bound, proof: Proof::default() };
        match response.status() {
            Status::Optimal | Status::Feasible => {
                let solved = model.read(&response.solution, response.best_objective_bound);
                let (placement, bound) = solved.ok_or_else(|| library("a solution too short"))?;
                let proof = Proof::Exhausted {
                    solver: format!("OR-Tools {NAME}"),
                    steps: response.num_conflicts.unsigned_abs(),
                    seed: stage.seed,
                };
                Ok(Found { placement: Some(placement), bound, proof })
            }
            Status::Unknown => Ok(unchanged()),
            Status::Infeasible => Err(library("denies that the incumbent is allowed")),
            Status::ModelInvalid => Err(library(&response.solution_info)),
        }
    }
}

fn parameters(stage: &Stage<'_>, left: Duration) -> Parameters {
    let wall = stage.deadline.clock() == Clock::Wall;
    Parameters {
        random_seed: Some((stage.seed % i32::MAX as u64) as i32),
        max_time_in_seconds: wall.then_some(left.as_secs_f64()),
        catch_sigint_signal: Some(false),
        num_workers: Some(stage.threads.clamp(1, 64) as i32),
    }
}

/// Says to another thread whether the calling one has had its time.
fn watch(deadline: &Deadline, left: Duration) -> impl Fn() -> bool + Send + use<'_> {
    let cpu = (deadline.clock() == Clock::ThreadCpu).then(ThreadTime::of_this_thread).flatten();
    let begin = cpu.and_then(ThreadTime::now);
    move || {
        let used =
            cpu.and_then(ThreadTime::now).zip(begin).map(|(now, begin)| now.saturating_sub(begin));
        deadline.interrupted() || used.is_some_and(|used| used >= left)
    }
}
