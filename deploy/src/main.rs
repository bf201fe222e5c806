//! onepath: plans training jobs on clusters of clusters, and starts them.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line as it is written |
//! | `read` | files of bounded size |
//! | `evaluate` | the prediction of a plan that somebody else made |
//! | `convert` | Sailor's folders in the forms that `evaluate` reads |
//! | `job` | the tables `model` and `training` of an inventory file |
//! | `plan` | a plan with its groups, traffic and timeline; its explanation |
//! | `emit` | the plan in the forms of launchers, Megatron-LM and a browser |
//! | `scheduler` | in a Kubernetes cluster: pods that the default scheduler leaves pending |
//! | `pack` | pods on nodes |
//! | `detect` | this node's GPUs and NICs as an entry of an inventory |
//! | `launch` | starting ranks: on this machine, over ssh, in a Kubernetes cluster |
//! | `status` | what the ranks and pods of a job in a cluster do |
//! | `connect` | reaching a Kubernetes cluster |
//!
//! Exit codes: 0 all is well, 1 a failure or wrong input, 2 a wrong command line, 130 a bench that
//! was interrupted; of `launch` that of the rank that failed.

mod arguments;
mod connect;
mod convert;
mod detect;
mod emit;
mod evaluate;
mod job;
mod launch;
mod pack;
mod plan;
mod read;
mod scheduler;
mod status;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{Arguments, PlanArguments, PlanTask, Task};
use pack::arguments::PackTask;
use pack::bench::{BenchArguments, run_bench};
use pack::interrupt;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_command_line(&error),
    };
    let text = match arguments.task {
        Task::Plan(command) => match command.task {
            Some(PlanTask::Evaluate(arguments)) => {
                evaluate::run(&arguments).map_err(|error| error.to_string())
            }
            Some(PlanTask::ConvertSailor(arguments)) => {
                convert::run(&arguments).map_err(|error| error.to_string())
            }
            None => make_plan(&command.plan),
        },
        Task::Scheduler(arguments) => {
            scheduler::run(&arguments).map(|()| String::new()).map_err(|error| error.to_string())
        }
        Task::Pack(command) => match &command.task {
            Some(PackTask::Bench(arguments)) => return bench(arguments),
            Some(PackTask::Verify(arguments)) => {
                pack::verify::run(arguments).map_err(|error| error.to_string())
            }
            None => pack::place::run(&command.pack).map_err(|error| error.to_string()),
        },
        Task::Detect(arguments) => detect::run(&arguments).map_err(|error| error.to_string()),
        Task::Launch(arguments) => return ended(launch::run(&arguments)),
        Task::LaunchWarden { folder } => {
            return ended(Ok::<u8, String>(launch::run_warden(&folder)));
        }
        Task::Status(arguments) => return ended(status::run(&arguments)),
    };
    match text {
        Ok(text) => print(&text),
        Err(problem) => fail(FAILURE, &problem),
    }
}

/// The plan as text, and its warnings on standard error.
fn make_plan(arguments: &PlanArguments) -> Result<String, String> {
    let file = arguments.file.as_deref().unwrap_or_else(|| Path::new(""));
    let problem = |error: plan::PlanError| format!("{}: {error}", file.display());
    let job = job::read(arguments, file).map_err(|error| error.to_string())?;
    let plan = plan::make(job).map_err(problem)?;
    let text = emit::write(&plan, arguments.emit, arguments.format);
    for warning in plan.warnings() {
        eprintln!("onepath: warning: {warning}");
    }
    text.map_err(|error| format!("{}: {error}", file.display()))
}

/// Prints a result; a reader that has read enough is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(FAILURE, &format!("standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The table of a bench; of one that was interrupted, with the status that says so.
fn bench(arguments: &BenchArguments) -> ExitCode {
    match run_bench(arguments) {
        Ok(table) => {
            let code = print(&table.text);
            if table.interrupted { ExitCode::from(interrupt::STATUS) } else { code }
        }
        Err(error) => fail(FAILURE, &error.to_string()),
    }
}

/// The exit code of what prints by itself.
fn ended(code: Result<u8, impl Display>) -> ExitCode {
    match code {
        Ok(code) => ExitCode::from(code),
        Err(problem) => fail(FAILURE, &problem.to_string()),
    }
}

fn fail(code: u8, problem: &str) -> ExitCode {
    eprintln!("onepath: {problem}");
    ExitCode::from(code)
}

/// Help and version are no errors.
fn wrong_command_line(error: &clap::Error) -> ExitCode {
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Without a place to print to there is nobody to tell.
    let _ = error.print();
    if help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
}
