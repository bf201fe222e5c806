//! The lab: a fabric on this machine, and what is tried on it.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `sandbox` | namespaces that end with the program |
//! | `fabric` | leaves, spines and hosts |
//! | `cpu` | whether the processor was the limit |
//! | `inspect` | `lab fabric`: builds a fabric, checks it, says what it found |

mod arguments;
mod cpu;
mod fabric;
mod inspect;
mod sandbox;

use std::process::ExitCode;

pub(crate) use arguments::LabArguments;
use arguments::LabCommand;
use fabric::{FabricOptions, FabricSpec, OptionsError, SpecError};

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

/// Does what the command line asks for.
pub(crate) fn run(arguments: LabArguments) -> ExitCode {
    let LabCommand::Fabric(arguments) = arguments.command;
    let spec = match describe(arguments.options, arguments.fabric.as_deref()) {
        Ok(spec) => spec,
        Err(error) => return crate::fail(crate::USAGE, &error),
    };
    let inside = sandbox::run(|inside| match inspect::run(spec, &arguments, inside) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::FAILURE),
        Err(error) => crate::fail(error.exit_code(), &error),
    });
    inside.unwrap_or_else(|error| crate::fail(sandbox::NOT_ALLOWED, &error))
}

fn describe(
    options: FabricOptions,
    file: Option<&std::path::Path>,
) -> Result<FabricSpec, DescriptionError> {
    let options = match file {
        Some(file) => options.or(FabricOptions::from_file(file)?),
        None => options,
    };
    Ok(FabricSpec::new(&options)?)
}
