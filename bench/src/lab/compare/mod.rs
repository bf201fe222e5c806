//! `lab`: the same collectives by every scheme on one fabric, and what became of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `plan`, `cell` | what is to be measured |
//! | `scheme`, `collective`, `places` | schemes, collectives, where the ranks are |
//! | `ideal` | the time that no routing can beat |
//! | `message`, `world` | the ranks' processes and what is said between them and the lab |
//! | `measure`, `kernel` | one run, the kernels' counters |
//! | `row`, `output`, `report` | results as rows, table, CSV, JSON and HTML |

mod arguments;
mod cell;
pub(super) mod collective;
mod ideal;
mod kernel;
mod measure;
pub(super) mod message;
mod output;
mod places;
mod plan;
mod report;
mod row;
pub(super) mod scheme;
pub(super) mod world;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::cpu::CpuError;
use super::fabric::check::CheckError;
use super::fabric::{BuildError, ControlError, CountError, Fabric, NamespaceError};
use super::sandbox::NOT_ALLOWED;

pub(super) use arguments::CompareArguments;
pub(super) use plan::Plan;

use cell::Cell;
use collective::Collective;
use ideal::IdealError;
use measure::Measured;
use message::Event;
use scheme::Scheme;

/// How long the links may take to fall silent between two runs.
const QUIET: Duration = Duration::from_secs(5);

/// Between two looks at whether they have, and the bytes in it that are silence.
const LOOK: Duration = Duration::from_millis(50);
const SILENCE: u64 = 2_000;

/// How often a run is made at most.
const TRIES: usize = 3;

/// What all ranks of a run are told alike.
#[derive(Clone, Copy, Debug)]
struct Shared {
    scheme: Scheme,
    collective: Collective,
    count: usize,
    seed: u32,
    timeout_s: u64,
}

/// Why a run, or all of them, came to no end.
#[derive(Debug, thiserror::Error)]
pub(in crate::lab) enum RunError {
    /// There is no fabric.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A check came to no end.
    #[error("the check of the fabric: {0}")]
    Check(#[from] CheckError),
    /// The fabric is not what it claims to be.
    #[error("the fabric fails its check '{check}': {right} of {of} right, {note}")]
    NotAsClaimed {
        /// Which check.
        check: &'static str,
        /// How many cases were right.
        right: u64,
        /// Of how many.
        of: u64,
        /// What was found.
        note: String,
    },
    /// A condition was not set.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The counters of links.
    #[error(transparent)]
    Count(#[from] CountError),
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The processor's times.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A counter of TCP.
    #[error("{host}: the counter {name} cannot be read: {cause}")]
    Counter {
        /// Which host.
        host: String,
        /// Which counter.
        name: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The ideal time.
    #[error(transparent)]
    Ideal(#[from] IdealError),
    /// More hosts than ranks may be.
    #[error("{ranks} ranks are too many for one world")]
    World {
        /// How many.
        ranks: usize,
    },
    /// A rank failed.
    #[error("rank {rank}: {problem}")]
    Rank {
        /// Which.
        rank: usize,
        /// What it said.
        problem: String,
    },
    /// Not all came together.
    #[error("only {joined} of {of} ranks joined in time")]
    Join {
        /// How many did.
        joined: usize,
        /// Of how many.
        of: usize,
    },
    /// A call before the one that is timed took too long.
    #[error("call {call} before the timed one: only {done} of {of} ranks ended within {limit:?}")]
    WarmUp {
        /// Which.
        call: u32,
        /// How many ranks did.
        done: usize,
        /// Of how many.
        of: usize,
        /// What a call may take.
        limit: Duration,
    },
    /// Not all looked at their data.
    #[error("only {checked} of {of} ranks checked their data in time")]
    Checked {
        /// How many did.
        checked: usize,
        /// Of how many.
        of: usize,
    },
    /// A rank said something at the wrong time.
    #[error("rank {rank} said {event:?} out of turn")]
    Unexpected {
        /// Which.
        rank: usize,
        /// What.
        event: Event,
    },
    /// The report was not written.
    #[error("--report {}: it cannot be written: {cause}", path.display())]
    Report {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// This program did not run for a while, so that no time of the run counts.
    #[error("this program was held up for {held_up:?} in the middle of a run")]
    HeldUp {
        /// How long.
        held_up: Duration,
    },
    /// Nobody reads the results.
    #[error("the results cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl RunError {
    /// What the program ends with.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Build(error) if error.lies_in_the_system() => NOT_ALLOWED,
            _ => crate::FAILURE,
        }
    }

    /// Whether the ranks of one run are to blame, so that the next run may go well.
    const fn is_of_the_ranks(&self) -> bool {
        matches!(
            self,
            Self::Rank { .. }
                | Self::Join { .. }
                | Self::WarmUp { .. }
                | Self::Checked { .. }
                | Self::Unexpected { .. }
        )
    }
}

/// Measures all of it and writes the results; whether everything that ended had the right data and
/// no rank failed.
pub(super) fn run(plan: &Plan, arguments: &CompareArguments) -> Result<bool, RunError> {
    let mut measured = Vec::new();
    let begin = Instant::now();
    let all = plan.runs();
    for group in &plan.groups {
        let mut fabric = Fabric::build(group.spec.clone())?;
        checked(&fabric)?;
        for cell in &group.cells {
            let one = measured_in_one_go(&mut fabric, cell)?;
            measured.push(one);
            tell(&measured, all, begin.elapsed());
        }
    }
    if let Some(path) = &arguments.report {
        let written = fs::write(path, report::page(&measured, begin.elapsed()));
        written.map_err(|cause| RunError::Report { path: path.clone(), cause })?;
    }
    output::write(&measured, arguments.format, begin.elapsed(), io::stdout().lock())?;
    Ok(measured.iter().all(|one| one.row.is_as_it_should_be()))
}

/// A run during which this program was not held up, by a debugger or by whoever pauses it.
fn measured_in_one_go(fabric: &mut Fabric, cell: &Cell) -> Result<Measured, RunError> {
    for more in (0..TRIES).rev() {
        let result = measure::measure(fabric, cell);
        quiet(fabric)?;
        match result {
            Err(error @ RunError::HeldUp { .. }) if more > 0 => {
                eprintln!("onepath-bench: {error}; it is made again");
            }
            other => return other,
        }
    }
    unreachable!("the last try returns")
}

fn checked(fabric: &Fabric) -> Result<(), RunError> {
    let found = fabric.check()?.findings.into_iter().find(|finding| !finding.passed);
    found.map_or(Ok(()), |finding| {
        let super::fabric::check::Finding { check, right, of, note, .. } = finding;
        Err(RunError::NotAsClaimed { check, right, of, note })
    })
}

/// Waits until the last packets of a run have gone.
fn quiet(fabric: &Fabric) -> Result<(), RunError> {
    let deadline = Instant::now() + QUIET;
    let mut before = fabric.snapshot()?;
    while Instant::now() < deadline {
        std::thread::sleep(LOOK);
        let now = fabric.snapshot()?;
        let bytes: u64 = now.since(&before).links().map(|(_, count)| count.bytes).sum();
        if bytes < SILENCE {
            break;
        }
        before = now;
    }
    Ok(())
}

/// A line on standard error for the last run.
fn tell(measured: &[Measured], all: usize, elapsed: Duration) {
    let Some(last) = measured.last() else { return };
    let (done, row) = (measured.len(), &last.row);
    let left = elapsed.as_secs_f64() / done as f64 * (all - done) as f64;
    eprintln!(
        "onepath-bench: {done} of {all}, about {left:.0} s left: {}: {}",
        row.cell,
        row.summary()
    );
}
