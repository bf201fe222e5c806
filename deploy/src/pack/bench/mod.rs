//! `onepath pack bench`: back ends on instances made as "Priority Matters" makes them.

mod arguments;
mod back_end;
mod large;
mod table;

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use onepath_pack::bench::{Run, RunError, run};
use onepath_pack::check::Violation;
use onepath_pack::cpsat::OpenError;
use onepath_pack::instances::paper::{Instance, Setup, instances};
use onepath_pack::problem::BuildError;
use onepath_pack::solve::deadline::Budget;
use onepath_pack::solve::{Options, SolveError};
use thiserror::Error;

use super::interrupt::on_interrupt;

pub(crate) use arguments::{BackEndName, BenchArguments, ObjectiveName, duration};
pub(crate) use back_end::Ready;

/// Instances of each kind if nothing is said: with the default kinds these are 192.
const INSTANCES: usize = 6;

/// Why there is no table.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// An instance that cannot be built.
    #[error("an instance: {0}")]
    Build(#[from] BuildError),
    /// A run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A large cluster that is wrong itself.
    #[error("the present state is not allowed: {0}")]
    Start(#[from] Box<Violation>),
    /// The solver, on a large cluster.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// A library that is not there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Ctrl-C cannot be caught.
    #[error("signal handler: {0}")]
    Signal(std::io::Error),
    /// The document cannot be written.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

/// A table.
pub(crate) struct Table {
    pub(crate) text: String,
    /// By Ctrl-C: the table is of what was solved until then.
    pub(crate) interrupted: bool,
}

/// The table of all instances, or of those until Ctrl-C.
pub(crate) fn run_bench(arguments: &BenchArguments) -> Result<Table, BenchError> {
    let interrupt = on_interrupt().map_err(BenchError::Signal)?;
    let mut back_ends = back_end::open_all(arguments)?;
    let text = match arguments.large {
        Some(size) => large::run(size, arguments, &mut back_ends, &interrupt),
        None => run_small(arguments, &mut back_ends, &interrupt),
    }?;
    Ok(Table { text, interrupted: interrupt.load(Ordering::Relaxed) })
}

fn run_small(
    arguments: &BenchArguments,
    back_ends: &mut [Ready],
    interrupt: &Arc<AtomicBool>,
) -> Result<String, BenchError> {
    let instances = all_instances(arguments, interrupt)?;
    let progress = Progress::new(instances.len(), arguments.budget);
    let mut runs: Vec<Run> = Vec::new();
    'all: for instance in &instances {
        for back_end in &mut *back_ends {
            let options = options(arguments, back_end, interrupt);
            let solved = run(instance, &options, back_end.library())?;
            if interrupt.load(Ordering::Relaxed) {
                break 'all;
            }
            runs.push(solved);
        }
        progress.step();
    }
    progress.bar.finish_and_clear();
    if interrupt.load(Ordering::Relaxed) {
        eprintln!("onepath: interrupted after {} runs", runs.len());
    }
    table::write(arguments, &runs)
}

fn options(arguments: &BenchArguments, back_end: &Ready, interrupt: &Arc<AtomicBool>) -> Options {
    let budget = Budget { interrupt: Arc::clone(interrupt), ..Budget::cpu(arguments.budget) };
    let (objective, seed) = (arguments.objective.into(), arguments.seed);
    Options { objective, back_end: back_end.choice(), seed, budget }
}

/// Of each kind as many as are asked for; a kind of which there are fewer is named.
fn all_instances(
    arguments: &BenchArguments,
    interrupt: &AtomicBool,
) -> Result<Vec<Instance>, BuildError> {
    let count = arguments.instances.unwrap_or(INSTANCES);
    let mut all = Vec::new();
    for setup in setups(arguments).take_while(|_| !interrupt.load(Ordering::Relaxed)) {
        let found = instances(setup, arguments.seed, count)?;
        if found.len() < count {
            eprintln!(
                "onepath: {setup:?}: {} of {count} instances found: mostly all pods have a node",
                found.len(),
            );
        }
        all.extend(found);
    }
    Ok(all)
}

fn setups(arguments: &BenchArguments) -> impl Iterator<Item = Setup> {
    let BenchArguments { nodes, pods_per_node, priorities, utilisation, .. } = arguments;
    nodes.iter().flat_map(move |&nodes| {
        pods_per_node.iter().flat_map(move |&pods_per_node| {
            priorities.iter().flat_map(move |&priorities| {
                utilisation.iter().map(move |&utilisation| Setup {
                    nodes,
                    pods_per_node,
                    priorities,
                    utilisation,
                })
            })
        })
    })
}

/// How far it is: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: bool,
}

/// Instances between two lines.
const LINE_EVERY: u64 = 24;

impl Progress {
    fn new(instances: usize, budget: Duration) -> Self {
        let bar = ProgressBar::new(instances as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left") {
            bar.set_style(style);
        }
        let lines = !stderr().is_terminal();
        if lines {
            let seconds = budget.as_secs_f64();
            eprintln!("onepath: solving {instances} instances, each in at most {seconds} s");
        }
        Self { bar, lines }
    }

    fn step(&self) {
        self.bar.inc(1);
        let done = self.bar.position();
        if self.lines && done.is_multiple_of(LINE_EVERY) {
            eprintln!("onepath: {done} of {} instances", self.bar.length().unwrap_or(done));
        }
    }
}
