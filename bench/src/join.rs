//! The one place that makes a communicator.

use std::path::Path;
use std::sync::Arc;

use onepath_collectives::Communicator;
use onepath_collectives::bootstrap::{Launch, LaunchError, process_environment};
use onepath_collectives::communicator::{BuildError, Builder, Pinning, TuningSource};
use onepath_topology::WorldSize;

pub(crate) use onepath_collectives::communicator::TransportKind;
pub(crate) use onepath_transport::spray::EntropyChoice;

use crate::job::Job;

/// The world that a launcher started, if one did.
pub(crate) fn started() -> Result<Option<WorldSize>, LaunchError> {
    match Launch::from_environment(&process_environment) {
        Ok(launch) => Ok(Some(launch.world_size)),
        Err(LaunchError::NoLauncher) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Meets the other ranks.
pub(crate) fn join(job: &Job) -> Result<Communicator, BuildError> {
    let mut builder = Builder::from_environment()?
        .transport(job.transport)
        .operation_timeout(job.timeout)
        .insecure(job.insecure)
        .verbs(job.verbs.clone());
    if let Some(subflows) = job.subflows {
        builder = builder.subflows(subflows);
    }
    if let Some(entropy) = job.entropy {
        builder = builder.entropy(entropy);
    }
    if job.algorithm.is_some() {
        builder = builder.algorithm(job.algorithm);
    }
    if let Some(tuning) = &job.tuning {
        builder = builder.tuning(source(tuning));
    }
    let paths = job.paths.as_ref().filter(|_| job.transport == TransportKind::Verbs);
    let paths = paths.map(|known| Arc::new(known.find()));
    if let Some(paths) = &paths {
        builder = builder.pinning(Pinning::new(Arc::clone(paths) as Arc<_>));
    }
    let communicator = builder.build()?;
    for line in paths.iter().flat_map(|paths| paths.unknown()) {
        let rank = communicator.rank();
        // In one piece: other ranks may write to the same terminal.
        let text = format!("onepath-bench: rank {rank}: no paths known to {line}\n");
        eprint!("{text}");
    }
    Ok(communicator)
}

fn source(tuning: &Path) -> TuningSource {
    match tuning.to_str() {
        Some("measure") => TuningSource::Measure,
        Some("model") => TuningSource::Model,
        _ => TuningSource::File(tuning.to_owned()),
    }
}
