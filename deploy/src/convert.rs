//! Sailor's folders in the forms that `evaluate` reads.
//!
//! ```text
//! OUTPUT/network.json
//! OUTPUT/profiles/MODEL/[GPU/]mbsB_tmpT.json
//! OUTPUT/plans/MODEL/NAME.json            the plan, in our format
//! OUTPUT/measured.csv                     model,plan,iteration_s,reduction_s,max_memory_bytes
//! ```
//!
//! Profiles and the network are in our format as they are; they are read once, so that what is
//! written can be used. Everything is written beside the output first, then renamed.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use onepath_topology::pipeline::model::Profile;
use onepath_topology::pipeline::predict::{NetworkTable, parse_sailor};

use crate::arguments::ConvertArguments;
use crate::evaluate::{EvaluateError, MAX_FILE_BYTES, entries, name, profile_files};
use crate::read::{self, ReadError};

/// Why nothing was converted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("--output {}: it exists: a folder that does not would be right", .0.display())]
    Exists(PathBuf),
    #[error("{}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: no plan_config_*.json below: at least one would be right", .0.display())]
    NoPlans(PathBuf),
}

/// Converts, and says what was written.
pub(crate) fn run(arguments: &ConvertArguments) -> Result<String, ConvertError> {
    let output = &arguments.output;
    if output.exists() {
        return Err(ConvertError::Exists(output.clone()));
    }
    let mut files = Vec::new();
    let path = arguments.folder.join("network_coefficients.json");
    let text = read::text(&path, MAX_FILE_BYTES)?;
    NetworkTable::parse(&text).map_err(|problem| EvaluateError::Network { path, problem })?;
    files.push((PathBuf::from("network.json"), text));
    for folder in entries(&arguments.folder.join("profiles"))? {
        for (gpu, path) in profile_files(&folder)? {
            let text = read::text(&path, MAX_FILE_BYTES)?;
            let file = name(&path);
            Profile::parse(&text).map_err(|problem| EvaluateError::Profile { path, problem })?;
            let below = Path::new("profiles").join(name(&folder)).join(gpu.unwrap_or_default());
            files.push((below.join(file), text));
        }
    }
    let profiles = files.len() - 1;
    let plans = plans(&arguments.folder.join("measured"), &mut files)?;
    write(output, &files)?;
    Ok(format!("{}: {plans} plans, {profiles} profiles, network.json\n", output.display()))
}

/// Adds the plans and what was measured; how many plans there are.
fn plans(folder: &Path, files: &mut Vec<(PathBuf, String)>) -> Result<usize, ConvertError> {
    let mut table = String::from("model,plan,iteration_s,reduction_s,max_memory_bytes\n");
    let mut count = 0;
    for model in entries(folder)? {
        for nodes in entries(&model)? {
            for path in entries(&nodes)? {
                let file = name(&path);
                let Some(short) = file.strip_prefix("plan_config_") else { continue };
                let parsed = parse_sailor(&read::text(&path, MAX_FILE_BYTES)?);
                let (plan, measured) = parsed
                    .map_err(|problem| EvaluateError::Sailor { path: path.clone(), problem })?;
                if let Some(measured) = measured {
                    writeln!(
                        table,
                        "{},{},{},{},{}",
                        name(&model),
                        short.trim_end_matches(".json"),
                        measured.iteration_s,
                        measured.reduction_s,
                        measured.max_memory.0
                    )
                    .expect("a string takes all");
                }
                let below = Path::new("plans").join(name(&model)).join(short);
                files.push((below, plan.to_json() + "\n"));
                count += 1;
            }
        }
    }
    if count == 0 {
        return Err(ConvertError::NoPlans(folder.to_owned()));
    }
    files.push((PathBuf::from("measured.csv"), table));
    Ok(count)
}

/// Writes all files beside the output, then renames the folder.
fn write(output: &Path, files: &[(PathBuf, String)]) -> Result<(), ConvertError> {
    let mut beside = output.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let all = || -> Result<(), ConvertError> {
        for (path, text) in files {
            let path = beside.join(path);
            let problem = |source| ConvertError::Write { path: path.clone(), source };
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(problem)?;
            }
            fs::write(&path, text).map_err(problem)?;
        }
        let problem = |source| ConvertError::Write { path: output.to_owned(), source };
        fs::rename(&beside, output).map_err(problem)
    };
    let result = all();
    if result.is_err() {
        // What cannot be removed is told by its name, beside the output.
        let _ = fs::remove_dir_all(&beside);
    }
    result
}
