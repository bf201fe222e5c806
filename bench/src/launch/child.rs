//! What a rank does at its start, so that it ends when its parent does and not before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::SIGINT;

/// The variable that says which process started this rank.
pub(super) const PARENT_VARIABLE: &str = "ONEPATH_BENCH_PARENT";

/// Why a rank cannot tie itself to its parent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// The parent has ended already.
    #[error("the process that started this rank has ended")]
    ParentGone,
    /// The system refuses.
    #[error("this rank cannot be made to end with its parent: {0}")]
    System(#[source] io::Error),
}

/// Who started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Our own launcher.
    Ours,
    /// Somebody else.
    Foreign,
}

/// If our own launcher started this process: from now on the system kills it when its parent ends,
/// and Ctrl-C, which a terminal sends to all, is left to the parent.
pub(crate) fn attach() -> Result<Attachment, AttachError> {
    let Some(parent) = std::env::var_os(PARENT_VARIABLE) else {
        return Ok(Attachment::Foreign);
    };
    let expected = parent.to_str().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| AttachError::System(error.into()))?;
    // A parent that ended before the line above has left this process to another one.
    if expected.is_none() || getppid() != expected {
        return Err(AttachError::ParentGone);
    }
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)))
        .map_err(AttachError::System)?;
    Ok(Attachment::Ours)
}
