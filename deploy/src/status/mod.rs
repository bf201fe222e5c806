//! What the ranks and pods of a job do.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line as it is written |
//! | `collect` | Jobs, pods and events of a job, from the cluster |
//! | `report` | what there is to say of each pod |
//! | `write` | a report as text, JSON, CSV |

mod arguments;
mod collect;
mod report;
mod write;

use std::io::{self, IsTerminal, Write};

use futures::{FutureExt, StreamExt};

pub(crate) use arguments::StatusArguments;
use collect::CollectError;
use report::{Report, State};

use crate::connect::{self, ConnectError};

/// Why nothing is known of a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// No runtime for the client.
    #[error("the client of the cluster cannot be started: {0}")]
    Runtime(#[source] io::Error),
    /// Nowhere to print to.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Collect(#[from] CollectError),
}

/// Prints the state of a job; the exit code: 0 when all its ranks run or ran to a good end.
pub(crate) fn run(arguments: &StatusArguments) -> Result<u8, StatusError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StatusError::Runtime)?;
    let state = runtime.block_on(show(arguments))?;
    Ok(u8::from(!matches!(state, State::Running | State::Succeeded)))
}

/// Once, or anew after each change until the job has ended.
async fn show(arguments: &StatusArguments) -> Result<State, StatusError> {
    let cluster = connect::connect(&arguments.cluster).await?;
    let source = collect::Source::new(&cluster, &arguments.job);
    let mut changes = std::pin::pin!(source.changes());
    let mut last = None;
    loop {
        let report = Report::new(&source.collect().await?);
        if last.as_ref() != Some(&report) {
            let text = write::report(&report, arguments.format);
            if !print(&text, arguments.watch && last.is_some())? {
                return Ok(report.state);
            }
        }
        let state = report.state;
        last = Some(report);
        if !arguments.watch || matches!(state, State::Succeeded | State::Failed) {
            return Ok(state);
        }
        if changes.next().await.is_none() {
            return Ok(state);
        }
        // Changes come in bursts: one look for all of them.
        tokio::time::sleep(arguments::BURST).await;
        while let Some(Some(())) = changes.next().now_or_never() {}
    }
}

/// Prints a report, over the last one on a terminal; false when nobody reads any more.
fn print(text: &str, again: bool) -> Result<bool, StatusError> {
    let mut out = io::stdout().lock();
    let gap = match (again, out.is_terminal()) {
        (false, _) => "",
        // Home, and clear to the end of the screen.
        (true, true) => "\x1b[H\x1b[J",
        (true, false) => "\n",
    };
    match out.write_all(gap.as_bytes()).and_then(|()| out.write_all(text.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(StatusError::Output(error)),
        Ok(()) => Ok(true),
    }
}
