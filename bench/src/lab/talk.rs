//! How the lab and its ranks talk: a line of JSON each way, on the rank's standard streams.

use std::io::{self, Write};
use std::process::ExitCode;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// As a line; plain data always becomes one.
pub(super) fn line(message: &impl Serialize) -> String {
    let mut text = serde_json::to_string(message).expect("messages are plain data");
    text.push('\n');
    text
}

/// Tells the lab, as a rank.
pub(super) fn tell(event: &impl Serialize) -> io::Result<()> {
    let mut to = io::stdout().lock();
    to.write_all(line(event).as_bytes())?;
    to.flush()
}

/// Ends a rank; what went wrong is told by the event that says so.
pub(super) fn end<E: ToString, M: Serialize>(
    result: Result<(), E>,
    failed: impl FnOnce(String) -> M,
) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody listens, the exit code says it.
            let _ = tell(&failed(error.to_string()));
            ExitCode::from(crate::FAILURE)
        }
    }
}

/// Of the clock that all processes of the machine share.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
