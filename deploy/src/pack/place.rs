//! `onepath pack PODS --nodes NODES`: the best placement beside what the default would do.

use std::io::{self, IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use onepath_pack::cpsat::OpenError;
use onepath_pack::default_scheduler::{Arrival, Settings, schedule, undisturbing};
use onepath_pack::kubernetes::Snapshot;
use onepath_pack::placement::Placement;
use onepath_pack::problem::Problem;
use onepath_pack::report::{Case, Report, csv, page, text};
use onepath_pack::solve::certificate::Certificate;
use onepath_pack::solve::deadline::Budget;
use onepath_pack::solve::report::Answer;
use onepath_pack::solve::{Options, SolveError, solve, solve_with};

use super::arguments::PackArguments;
use super::bench::Ready;
use super::cluster::{self, ClusterError};
use super::input::{self, InputError};
use super::interrupt::on_interrupt;
use super::write;
use crate::arguments::Format;

/// A budget that is longer is shown as it passes.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so long, and then each time it has been twice as long, where there is no bar.
const FIRST_LINE: Duration = Duration::from_secs(2);

/// Why there is no placement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// The objects.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A library that is not there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The solver.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// Ctrl-C cannot be caught.
    #[error("signal handler: {0}")]
    Signal(io::Error),
    /// A file that cannot be written.
    #[error("{}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The document cannot be written.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

/// The report in the form that is asked for.
pub(crate) fn run(arguments: &PackArguments) -> Result<String, PlaceError> {
    let mut snapshot =
        if arguments.cluster { cluster::read(arguments)? } else { Snapshot::default() };
    input::add_files(&mut snapshot, &arguments.pods, &arguments.objects)?;
    let strict = !arguments.cluster;
    let (problem, mapping) =
        input::problem(&snapshot, &arguments.pods, &arguments.objects, strict)?;
    let seed = arguments.seed;
    let settings = Settings { arrival: Arrival::AllAtOnce, preemption: true, seed };
    let default = schedule(&problem, &settings);
    let starts = [undisturbing(&problem, seed), default.clone()];
    let (answer, interrupted) = answer(arguments, &problem, &starts)?;
    let case = Case {
        snapshot: &snapshot,
        problem: &problem,
        mapping: &mapping,
        default: &default,
        answer: &answer,
        objective: arguments.objective.into(),
    };
    let mut report = Report::new(&case);
    if let Some(after) = interrupted {
        let (after, budget) = (after.as_secs_f64(), arguments.budget.as_secs_f64());
        let note = format!("interrupted after {after:.1} s of {budget} s: the best so far");
        eprintln!("onepath: {note}");
        report.notes.push(note);
    }
    if let Some(path) = &arguments.html {
        write_file(path, &page(&case, &report))?;
    }
    if let Some(path) = &arguments.certificate {
        let certificate = Certificate::new(&problem, case.objective, &answer);
        write_file(path, &(serde_json::to_string(&certificate)? + "\n"))?;
    }
    Ok(match arguments.format {
        Format::Text => text(&report),
        Format::Csv => csv(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    })
}

fn write_file(path: &Path, text: &str) -> Result<(), PlaceError> {
    write::whole(path, text).map_err(|source| PlaceError::Write { path: path.to_owned(), source })
}

/// Solves beside a line that says how long it has been; and after how long it was interrupted, if
/// it was.
fn answer(
    arguments: &PackArguments,
    problem: &Problem,
    starts: &[Placement],
) -> Result<(Answer, Option<Duration>), PlaceError> {
    let interrupt = on_interrupt().map_err(PlaceError::Signal)?;
    let mut back_end = Ready::open(arguments.back_end, arguments.ortools.as_deref())?;
    let options = Options {
        objective: arguments.objective.into(),
        back_end: back_end.choice(),
        seed: arguments.seed,
        budget: Budget { interrupt: Arc::clone(&interrupt), ..Budget::wall(arguments.budget) },
    };
    let mut progress = Progress::new(arguments.budget);
    let waiting = thread::current();
    let answer = thread::scope(|scope| {
        let solving = scope.spawn(|| {
            let answer = match back_end.library() {
                None => solve(problem, &options, starts),
                Some(library) => solve_with(problem, &options, starts, library),
            };
            waiting.unpark();
            answer
        });
        while !solving.is_finished() {
            progress.show();
            thread::park_timeout(Duration::from_millis(100));
        }
        solving.join()
    });
    progress.bar.finish_and_clear();
    let interrupted = interrupt.load(Ordering::Relaxed).then(|| progress.begin.elapsed());
    match answer {
        Ok(answer) => Ok((answer?, interrupted)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// How much of the budget has passed: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    begin: Instant,
    budget: Duration,
    /// When the next line is due.
    line: Option<Duration>,
}

impl Progress {
    fn new(budget: Duration) -> Self {
        let terminal = stderr().is_terminal();
        let bar = if budget > PATIENCE && terminal {
            ProgressBar::new(budget.as_millis() as u64)
        } else {
            ProgressBar::hidden()
        };
        let template = "solving, at most {msg}, Ctrl-C takes the best so far {bar:30} {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{} s", budget.as_secs_f64()));
        let line = (!terminal).then_some(FIRST_LINE);
        Self { bar, begin: Instant::now(), budget, line }
    }

    fn show(&mut self) {
        let passed = self.begin.elapsed();
        self.bar.set_position(passed.as_millis() as u64);
        if let Some(due) = self.line.filter(|due| passed >= *due) {
            let (passed, budget) = (passed.as_secs(), self.budget.as_secs_f64());
            eprintln!("onepath: solving for {passed} s, at most {budget} s");
            self.line = Some(due * 2);
        }
    }
}
