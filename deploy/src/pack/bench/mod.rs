//! `onepath pack bench`: back ends on instances made as "Priority Matters" makes them.

mod arguments;
mod table;

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use onepath_pack::bench::{Run, RunError, run};
use onepath_pack::cpsat::{CpSat, OpenError};
use onepath_pack::instances::paper::{Instance, Setup, instances};
use onepath_pack::problem::BuildError;
use onepath_pack::solve::deadline::Budget;
use onepath_pack::solve::{BackEndChoice, Options};
use thiserror::Error;

pub(crate) use arguments::{BackEndName, BenchArguments, ObjectiveName, duration};

/// Why there is no table.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// An instance that cannot be built.
    #[error("an instance: {0}")]
    Build(#[from] BuildError),
    /// A run.
    #[error(transparent)]
    Run(#[from] RunError),
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

/// The table; after Ctrl-C, of what was solved until then.
pub(crate) fn run_bench(arguments: &BenchArguments) -> Result<String, BenchError> {
    let interrupt = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupt))
        .map_err(BenchError::Signal)?;
    let instances = all_instances(arguments)?;
    let mut back_ends = arguments.back_end.clone();
    back_ends.extend(arguments.compare);
    let mut seen = Vec::new();
    back_ends.retain(|name| {
        !seen.contains(name) && {
            seen.push(*name);
            true
        }
    });
    let mut back_ends: Vec<BackEnd> =
        back_ends.into_iter().map(|name| open(name, arguments)).collect::<Result<_, _>>()?;
    let progress = Progress::new(instances.len());
    let mut runs: Vec<Run> = Vec::new();
    for instance in &instances {
        for back_end in &mut back_ends {
            let solved = solve(instance, back_end, arguments, &interrupt)?;
            if interrupt.load(Ordering::Relaxed) {
                progress.bar.finish_and_clear();
                eprintln!("onepath: interrupted after {} runs", runs.len());
                return table::write(arguments, &runs);
            }
            runs.push(solved);
        }
        progress.step();
    }
    progress.bar.finish_and_clear();
    table::write(arguments, &runs)
}

/// A back end, ready: loading a library is not part of a budget.
enum BackEnd {
    Own(BackEndChoice),
    CpSat(CpSat),
}

fn open(name: BackEndName, arguments: &BenchArguments) -> Result<BackEnd, OpenError> {
    Ok(match name {
        BackEndName::Search => BackEnd::Own(BackEndChoice::Search),
        BackEndName::Cpsat => BackEnd::CpSat(CpSat::open(arguments.ortools.as_deref())?),
    })
}

fn solve(
    instance: &Instance,
    back_end: &mut BackEnd,
    arguments: &BenchArguments,
    interrupt: &Arc<AtomicBool>,
) -> Result<Run, BenchError> {
    let budget = Budget { interrupt: Arc::clone(interrupt), ..Budget::cpu(arguments.budget) };
    let (objective, seed) = (arguments.objective.into(), arguments.seed);
    let options = |back_end| Options { objective, back_end, seed, budget };
    Ok(match back_end {
        BackEnd::Own(choice) => run(instance, &options(*choice), None)?,
        BackEnd::CpSat(solver) => run(instance, &options(BackEndChoice::default()), Some(solver))?,
    })
}

/// Of each kind as many as are asked for; a kind of which there are fewer is named.
fn all_instances(arguments: &BenchArguments) -> Result<Vec<Instance>, BuildError> {
    let mut all = Vec::new();
    for setup in setups(arguments) {
        let found = instances(setup, arguments.seed, arguments.instances)?;
        if found.len() < arguments.instances {
            eprintln!(
                "onepath: {setup:?}: only {} of {} instances: in the others all pods have a node",
                found.len(),
                arguments.instances
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
    fn new(instances: usize) -> Self {
        let bar = ProgressBar::new(instances as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left") {
            bar.set_style(style);
        }
        Self { bar, lines: !stderr().is_terminal() }
    }

    fn step(&self) {
        self.bar.inc(1);
        let done = self.bar.position();
        if self.lines && done.is_multiple_of(LINE_EVERY) {
            eprintln!("onepath: {done} of {} instances", self.bar.length().unwrap_or(done));
        }
    }
}
