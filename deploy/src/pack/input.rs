//! Objects from files and clusters.

use std::path::{Path, PathBuf};

use onepath_pack::kubernetes::plan::{PlanError, PlanRules};
use onepath_pack::kubernetes::read::{MAX_FILE_BYTES, ReadError};
use onepath_pack::kubernetes::reason::{Held, Left};
use onepath_pack::kubernetes::{Mapping, Snapshot, SnapshotError, SnapshotOptions};
use onepath_pack::problem::Problem;

use super::arguments::ObjectArguments;
use crate::read;

/// The longest plan.
const MAX_PLAN_BYTES: usize = 64 << 20;

/// Objects that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] read::ReadError),
    /// A file that is wrong.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: ReadError,
    },
    /// A plan that is wrong.
    #[error("{}: {problem}", .path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: PlanError,
    },
    /// Objects that do not fit together.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A pod with something wrong in it.
    #[error("Pod {pod}: {field}: {problem}")]
    Pod {
        /// The pod.
        pod: String,
        /// The field, label or annotation.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// No node.
    #[error(
        "no Node in {files}: --nodes FILE with what kubectl get nodes -o yaml prints would be right"
    )]
    NoNode {
        /// Where.
        files: String,
    },
    /// No pod.
    #[error("no Pod in {files}: what kubectl get pods -A -o yaml prints would be right")]
    NoPod {
        /// Where.
        files: String,
    },
}

/// Adds the objects of all files.
pub(crate) fn add_files(
    snapshot: &mut Snapshot,
    pods: &[PathBuf],
    arguments: &ObjectArguments,
) -> Result<(), InputError> {
    for path in arguments.nodes.iter().chain(pods) {
        let text = read::text(path, MAX_FILE_BYTES)?;
        let wrong = |problem| InputError::File { path: path.clone(), problem };
        snapshot.read(&text).map_err(wrong)?;
    }
    Ok(())
}

/// The problem of the objects. In files of the user's own what is wrong ends it; of a cluster it is
/// reported with the pod.
pub(crate) fn problem(
    snapshot: &Snapshot,
    pods: &[PathBuf],
    arguments: &ObjectArguments,
    strict: bool,
) -> Result<(Problem, Mapping), InputError> {
    let names: Vec<String> =
        arguments.nodes.iter().chain(pods).map(|path| path.display().to_string()).collect();
    let files = if names.is_empty() { "the cluster".to_owned() } else { names.join(", ") };
    if snapshot.nodes.is_empty() {
        return Err(InputError::NoNode { files });
    }
    if snapshot.pods.is_empty() {
        return Err(InputError::NoPod { files });
    }
    let options = SnapshotOptions {
        movable: arguments.movable.into(),
        plan: plan(arguments)?,
        ..SnapshotOptions::default()
    };
    let (problem, mapping) = snapshot.problem(&options)?;
    if strict {
        check(snapshot, &mapping)?;
    }
    Ok((problem, mapping))
}

fn plan(arguments: &ObjectArguments) -> Result<Option<PlanRules>, InputError> {
    let Some(path) = arguments.plan.as_deref() else { return Ok(None) };
    let text = read::text(path, MAX_PLAN_BYTES)?;
    let wrong = |problem| InputError::Plan { path: Path::to_owned(path), problem };
    let mut rules = PlanRules::from_json(&text).map_err(wrong)?;
    rules.level.clone_from(&arguments.stage_label);
    Ok(Some(rules))
}

/// Nothing is wrong in any pod.
fn check(snapshot: &Snapshot, mapping: &Mapping) -> Result<(), InputError> {
    let left = mapping.left.iter().filter_map(|(pod, reason)| match reason {
        Left::Wrong { field, problem } => Some((*pod, field, problem)),
        _ => None,
    });
    let held = mapping.held.iter().filter_map(|(pod, _, reason)| match reason {
        Held::Wrong { field, problem } => Some((*pod, field, problem)),
        _ => None,
    });
    match left.chain(held).min_by_key(|(pod, ..)| *pod) {
        None => Ok(()),
        Some((pod, field, problem)) => Err(InputError::Pod {
            pod: snapshot.pods[pod].metadata.full_name(),
            field: field.clone(),
            problem: problem.clone(),
        }),
    }
}
