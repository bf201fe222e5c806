//! The lab: a fabric on this machine, and what is tried on it.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `sandbox` | namespaces that end with the program |
//! | `fabric` | leaves, spines and hosts |
//! | `cpu` | whether the processor was the limit |
//! | `inspect` | `lab fabric`: builds a fabric, checks it, says what it found |
//! | `compare` | `lab`: the same collectives by every scheme, and what became of them |
//! | `rank` | what each rank of such a run does, in a process of its own |
//! | `talk` | how the lab and its ranks talk |
//! | `training` | `lab --plan` of a plan of a job: a small model trained under it |

mod arguments;
mod compare;
mod cpu;
mod fabric;
mod inspect;
mod rank;
mod sandbox;
mod talk;
mod training;

use std::path::Path;
use std::process::ExitCode;

pub(crate) use arguments::LabArguments;
pub(crate) use rank::run as run_rank;
pub(crate) use training::run_rank as run_stage;

use arguments::{FabricArguments, LabCommand};
use compare::{CompareArguments, Plan};
use fabric::{FabricOptions, FabricSpec, OptionsError, SpecError, read_toml};
use sandbox::Inside;
use training::{PlanOfJob, TrainingOptions};

/// A wrong description of a fabric.
#[derive(Debug, thiserror::Error)]
enum DescriptionError {
    /// Its file.
    #[error(transparent)]
    File(#[from] OptionsError),
    /// Its numbers.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Options that do not fit the plan.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum OptionError {
    /// Those of a training run for another one.
    #[error(
        "--slowdown, --width, --samples and --iterations are for a plan that 'onepath plan --emit \
         json' wrote: leave them out, or give one with --plan"
    )]
    Training,
    /// Those of a fabric for a plan that has its own.
    #[error(
        "a plan of a job has its own fabric: only --seed and --format would be right beside it"
    )]
    Fabric,
}

/// Does what the command line asks for.
pub(crate) fn run(arguments: LabArguments) -> ExitCode {
    match arguments.command {
        Some(LabCommand::Fabric(arguments)) => inspect(&arguments),
        None => compare(&arguments.compare),
    }
}

fn inspect(arguments: &FabricArguments) -> ExitCode {
    let spec = match describe(arguments.options, arguments.fabric.as_deref()) {
        Ok(spec) => spec,
        Err(error) => return crate::fail(crate::USAGE, &error),
    };
    inside(|inside| match inspect::run(spec, arguments, inside) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::FAILURE),
        Err(error) => crate::fail(error.exit_code(), &error),
    })
}

fn compare(arguments: &CompareArguments) -> ExitCode {
    let CompareArguments { fabric, run, plan, .. } = arguments;
    if let Some(path) = plan.as_deref().filter(|path| training::is_plan_of_job(path)) {
        return train(path, arguments);
    }
    if arguments.training != TrainingOptions::default() {
        return crate::fail(crate::USAGE, &OptionError::Training);
    }
    let plan = match Plan::new(fabric, run.clone(), plan.as_deref()) {
        Ok(plan) => plan,
        Err(error) => return crate::fail(crate::USAGE, &error),
    };
    inside(|_| match compare::run(&plan, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::FAILURE),
        Err(error) => crate::fail(error.exit_code(), &error),
    })
}

/// Runs a plan of a job.
fn train(path: &Path, arguments: &CompareArguments) -> ExitCode {
    let plan = match PlanOfJob::read(path) {
        Ok(plan) => plan,
        Err(error) => return crate::fail(crate::USAGE, &error),
    };
    let seed = arguments.fabric.seed;
    let others = FabricOptions { seed: None, ..arguments.fabric };
    if others != FabricOptions::default() || arguments.report.is_some() {
        return crate::fail(crate::USAGE, &OptionError::Fabric);
    }
    let (options, format) = (arguments.training, arguments.format);
    inside(|_| match training::run(&plan, options, seed.unwrap_or(1), format) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::FAILURE),
        Err(error) => crate::fail(error.exit_code(), &error),
    })
}

fn inside(work: impl FnOnce(Inside) -> ExitCode) -> ExitCode {
    sandbox::run(work).unwrap_or_else(|error| crate::fail(sandbox::NOT_ALLOWED, &error))
}

fn describe(options: FabricOptions, file: Option<&Path>) -> Result<FabricSpec, DescriptionError> {
    let options = match file {
        Some(file) => options.or(read_toml(file)?),
        None => options,
    };
    Ok(FabricSpec::new(&options)?)
}
