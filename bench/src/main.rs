//! onepath-bench: collectives measured between real ranks.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line as it is written |
//! | `sizes` | message sizes |
//! | `job` | what is to be measured, checked |
//! | `launch` | starting the ranks on this machine, and ending them |
//! | `join` | making the communicator |
//! | `worker` | what one rank does |
//! | `collective` | the collectives, their buffers and bandwidths |
//! | `value`, `verify` | seeded data with exact results, and the check of every element |
//! | `buffer`, `trial` | one call with its memory |
//! | `measure` | timing |
//! | `limits` | what the machine could do at best |
//! | `paths` | which local ports take which path to other hosts |
//! | `verbs` | options of RDMA, and what went over each lane |
//! | `output` | table, CSV, JSON and the peers' rows |
//! | `lab` | a leaf-spine fabric of network namespaces on this machine |
//! | `progress` | how far the run is, on standard error |
//!
//! Exit codes: 0 all is well, 1 a failure or wrong results, 2 a wrong command line, 3 the system
//! does not allow what the lab needs, 128 + n ended by signal n (130 for Ctrl-C).

mod arguments;
mod buffer;
mod collective;
mod job;
mod join;
mod lab;
mod launch;
mod limits;
mod measure;
mod output;
mod paths;
mod progress;
mod sizes;
mod trial;
mod value;
mod verbs;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{Arguments, Command, Task};
use job::Job;
use join::TransportKind;
use launch::{Attachment, Ending, WRONG_RESULTS};
use paths::PathsArguments;
use worker::Verdict;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_command_line(&error),
    };
    match arguments.task {
        Task::Measure(command) => measure(command),
        Task::Paths(paths) => find_paths(&paths),
        // Before any thread is started: see `lab::sandbox`.
        Task::Lab(arguments) => lab::run(*arguments),
        Task::LabRank => lab::run_rank(),
        Task::LabStage => lab::run_stage(),
    }
}

/// Which local ports take which path.
fn find_paths(arguments: &PathsArguments) -> ExitCode {
    match paths::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(if error.is_usage() { USAGE } else { FAILURE }, &error),
    }
}

/// A measurement between ranks.
fn measure(command: Command) -> ExitCode {
    let attachment = match launch::attach() {
        Ok(attachment) => attachment,
        Err(error) => return fail(FAILURE, &error),
    };
    let started = match join::started() {
        Ok(started) => started,
        Err(error) => return fail(USAGE, &error),
    };
    let job = match Job::new(command, started) {
        Ok(job) => job,
        Err(error) => return fail(USAGE, &error),
    };
    if started.is_some() { work(&job, attachment) } else { launch_all(&job) }
}

/// What one rank does.
fn work(job: &Job, attachment: Attachment) -> ExitCode {
    match worker::run(job) {
        Ok(Verdict::Right) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => match attachment {
            Attachment::Ours => ExitCode::from(WRONG_RESULTS),
            Attachment::Foreign => ExitCode::from(FAILURE),
        },
        Err(error) => fail(FAILURE, &error),
    }
}

/// What the process does that the user started.
fn launch_all(job: &Job) -> ExitCode {
    if job.transport == TransportKind::Verbs
        && let Err(error) = verbs::ready(&job.verbs)
    {
        return fail(FAILURE, &format!("transport verbs: {error}"));
    }
    match launch::run(job.world) {
        Ok(Ending::Success) => ExitCode::SUCCESS,
        Ok(Ending::Wrong) => ExitCode::from(FAILURE),
        Ok(Ending::Failure(lines)) => fail(FAILURE, &lines.join("\n")),
        Ok(Ending::Signal(signal)) => ExitCode::from(128_u8.wrapping_add(signal as u8)),
        Err(error) => fail(FAILURE, &error),
    }
}

fn wrong_command_line(error: &clap::Error) -> ExitCode {
    let help = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is there to read it if it cannot be printed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        kind if kind == help => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => fail(USAGE, &arguments::one_line(error)),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("onepath-bench: {error}");
    ExitCode::from(code)
}
