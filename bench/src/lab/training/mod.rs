//! `lab --plan FILE` of a plan that `onepath plan --emit json` wrote: a small model is trained for
//! real on the plan's clusters in miniature, placed as planned and naively.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `plan` | the plan file, checked |
//! | `placement` | the node of each rank, networks of groups, the clusters as a fabric |
//! | `message`, `rank` | the ranks' processes and what is said between them and the lab |
//! | `measure` | one placement: its ranks, with overlap and without |
//! | `output` | results as table, CSV and JSON |

mod arguments;
mod measure;
mod message;
mod output;
mod placement;
mod plan;
mod rank;

use std::io;
use std::time::Instant;

use onepath_collectives::pipeline::perceptron::{Order, Perceptron, train_alone};

use super::arguments::LabFormat;
use super::compare::RunError;
use super::fabric::clusters::{Clusters, MOST, devices_differ};
use super::fabric::{BuildError, CountError};
use super::sandbox::NOT_ALLOWED;

pub(crate) use arguments::TrainingOptions;
pub(crate) use plan::{PlanOfJob, is_plan_of_job};
pub(crate) use rank::run as run_rank;

use message::Model;
use output::{Row, Verdict};
use placement::{CarrierError, Kind, Placement};

/// By how much a loss may differ from that of one process, in parts of it, where replicas are
/// summed in another order than one process sums: n sums of numbers each round by some 2^-24.
const ROUNDING: f32 = 1e-4;

/// With so many replicas the order does not matter: a + b = b + a.
const SAME_ORDER: u32 = 2;

/// What is trained.
#[derive(Clone, Copy, Debug)]
struct Work {
    model: Model,
    slowdown: u64,
    iterations: u64,
}

/// Why a plan was not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrainingError {
    /// Networks.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// Two networks of a host with one name of a device.
    #[error("the plan's nodes have two networks with the same interface: a name for each is right")]
    Devices,
    /// More than addresses.
    #[error("the plan has {links} links between clusters: at most {MOST} are accepted")]
    Links {
        /// How many.
        links: usize,
    },
    /// There are no clusters.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The counters of links.
    #[error(transparent)]
    Count(#[from] CountError),
    /// The ranks.
    #[error("{placement} placement: {cause}")]
    Run {
        /// Which.
        placement: &'static str,
        /// Why.
        cause: RunError,
    },
    /// A rank said something at the wrong time.
    #[error("rank {rank} said {said} out of turn")]
    Unexpected {
        /// Which.
        rank: usize,
        /// What.
        said: String,
    },
    /// Not all ranks were ready in time.
    #[error("{placement} placement: only {done} of {of} ranks were {what} within {limit_s} s")]
    Late {
        /// Which.
        placement: &'static str,
        /// How many were.
        done: usize,
        /// Of how many.
        of: usize,
        /// What they should have been.
        what: &'static str,
        /// How long they had.
        limit_s: u64,
    },
    /// Nobody reads the results.
    #[error("the results cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl TrainingError {
    /// What the program ends with.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Build(error) if error.lies_in_the_system() => NOT_ALLOWED,
            _ => crate::FAILURE,
        }
    }
}

/// Runs the plan; whether all losses are right.
pub(super) fn run(
    plan: &PlanOfJob,
    options: TrainingOptions,
    seed: u32,
    format: LabFormat,
) -> Result<bool, TrainingError> {
    let begin = Instant::now();
    let work = Work {
        model: Model {
            layers: plan.layers(),
            width: options.width.unwrap_or(256) as usize,
            samples: options.samples.unwrap_or(8) as usize,
            micro_batches: plan.micro_batches,
            replicas: plan.degrees.data,
            seed: u64::from(seed),
        },
        slowdown: options.slowdown.unwrap_or(4000),
        iterations: options.iterations.unwrap_or(3),
    };
    let planned = Placement::new(plan, Kind::Planned);
    planned.check(plan)?;
    let spec = placement::fabric(plan, work.slowdown);
    if !devices_differ(&spec) {
        return Err(TrainingError::Devices);
    }
    // There are fewer networks than links unless there are few.
    if spec.links.len() > MOST {
        return Err(TrainingError::Links { links: spec.links.len() });
    }
    let clusters = Clusters::build(spec)?;
    let alone = train_alone(
        &Perceptron::from(work.model),
        work.iterations + 1,
        &rank::OPTIMIZER,
        Order::Ascending,
        true,
    );
    let mut rows = Vec::new();
    for placement in [planned, Placement::new(plan, Kind::Naive)] {
        for trained in measure::measure(plan, &clusters, &placement, &work)? {
            let verdict = verdict(&trained.losses, &alone, work.model.replicas);
            let row = Row::new(plan, &placement, &work, &trained, verdict);
            eprintln!("onepath-bench: {}", row.summary());
            rows.push(row);
        }
    }
    output::write(
        plan,
        &work,
        clusters.spec(),
        &rows,
        format,
        begin.elapsed(),
        io::stdout().lock(),
    )?;
    Ok(rows.iter().all(Row::is_right))
}

/// How losses compare with those of one process.
fn verdict(losses: &[Vec<f32>], alone: &[Vec<f32>], replicas: u32) -> Verdict {
    let same_shape = losses.len() == alone.len()
        && losses.iter().zip(alone).all(|(ours, one)| ours.len() == one.len());
    let mut pairs = losses.iter().flatten().zip(alone.iter().flatten());
    if !same_shape {
        Verdict::Wrong
    } else if pairs.clone().all(|(ours, one)| ours.to_bits() == one.to_bits()) {
        Verdict::SameBits
    } else if replicas > SAME_ORDER && pairs.all(|(o, one)| (o - one).abs() <= ROUNDING * one) {
        Verdict::WithinRounding
    } else {
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_must_have_the_same_bits_unless_many_replicas_are_summed() {
        let alone = [vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(verdict(&alone, &alone, 1), Verdict::SameBits);
        let near = [vec![1.0, 2.0], vec![3.000_1, 4.0]];
        assert_eq!(verdict(&near, &alone, 2), Verdict::Wrong);
        assert_eq!(verdict(&near, &alone, 4), Verdict::WithinRounding);
        let far = [vec![1.0, 2.0], vec![3.001, 4.0]];
        assert_eq!(verdict(&far, &alone, 4), Verdict::Wrong);
        assert_eq!(verdict(&alone[..1], &alone, 4), Verdict::Wrong);
        assert_eq!(verdict(&[vec![1.0], vec![3.0, 4.0]], &alone, 4), Verdict::Wrong);
    }
}
