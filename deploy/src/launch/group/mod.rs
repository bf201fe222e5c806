//! Ranks as child processes: started, watched, ended whatever happens.
//!
//! | file | what it holds |
//! |---|---|
//! | `child` | one process that ends with this one |
//! | `ranks` | all of them: started, waited for, ended |
//! | `output` | their lines, each with its rank |
//! | `report` | which rank is to blame |
//! | `warden` | a process that cleans up after a launcher that was killed |
//!
//! The first failure ends all: SIGTERM to the process group of each rank, SIGKILL after the grace
//! time. So does a signal; a second one does not wait.

mod child;
mod output;
mod ranks;
mod report;
mod warden;

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use ranks::Ranks;
pub(super) use report::{Ending, how};
pub(crate) use warden::run as run_warden;
pub(super) use warden::{Warden, WardenError};

/// One rank that is to be started.
#[derive(Debug)]
pub(super) struct Process {
    /// Its number.
    pub(super) rank: u32,
    /// The host, where that is another one.
    pub(super) host: Option<String>,
    pub(super) command: Command,
    /// What it reads on standard input, which then stays open as long as it is to run.
    pub(super) input: Option<String>,
}

/// How ranks are watched.
#[derive(Debug)]
pub(super) struct Options {
    /// Whether lines say which rank wrote them.
    pub(super) prefix: bool,
    /// From SIGTERM, or the end of the input, to SIGKILL.
    pub(super) grace: Duration,
}

/// Why ranks could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// No signal can be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A rank did not start.
    #[error("rank {rank}: {program:?} cannot be started: {cause}")]
    Spawn {
        /// The rank.
        rank: u32,
        /// Its program.
        program: String,
        /// The system's reason.
        cause: io::Error,
    },
}

/// One rank's end.
#[derive(Clone, Debug)]
struct Ended {
    rank: u32,
    host: Option<String>,
    status: ExitStatus,
    /// Whether it had been asked to end before.
    asked: bool,
}

/// Starts all ranks and waits until all have ended.
///
/// Call it on the main thread: the ranks end with the thread that started them.
pub(super) fn run(
    ranks: Vec<Process>,
    options: &Options,
    warden: Option<&mut Warden>,
) -> Result<Ending, GroupError> {
    let events = signals()?;
    let mut ranks = Ranks::start(ranks, options.prefix, warden)?;
    let signal = watch(&mut ranks, &events);
    end(&mut ranks, &events, options.grace);
    ranks.finish_output();
    Ok(signal.map_or_else(|| ranks.ending(), Ending::Signal))
}

/// The signals that this process gets from now on.
fn signals() -> Result<Receiver<i32>, GroupError> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).map_err(GroupError::Signals)?;
    let (sender, receiver) = sync_channel(64);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // A full queue holds enough signals to wake the main thread, which then looks at all.
            let _ = sender.try_send(signal);
        }
    });
    Ok(receiver)
}

/// Until all ranks have ended or one has failed; the signal that came before that.
fn watch(ranks: &mut Ranks<'_>, events: &Receiver<i32>) -> Option<i32> {
    loop {
        ranks.reap();
        if ranks.running() == 0 || ranks.any_failed() {
            return None;
        }
        match next(events, None) {
            Next::Signal(SIGCHLD) | Next::Deadline => {}
            Next::Signal(signal) => return Some(signal),
        }
    }
}

/// Asks all ranks that still run to end, and after a while makes them.
fn end(ranks: &mut Ranks<'_>, events: &Receiver<i32>, grace: Duration) {
    ranks.ask_to_end();
    let deadline = Instant::now() + grace;
    loop {
        ranks.reap();
        if ranks.running() == 0 {
            return;
        }
        match next(events, Some(deadline)) {
            Next::Signal(SIGCHLD) => {}
            // A second Ctrl-C does not wait.
            Next::Signal(_) | Next::Deadline => return ranks.kill(),
        }
    }
}

enum Next {
    Signal(i32),
    Deadline,
}

fn next(events: &Receiver<i32>, deadline: Option<Instant>) -> Next {
    // Looks at the ranks now and then even if no signal comes.
    const LONGEST: Duration = Duration::from_secs(1);
    let wait = deadline.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
    match events.recv_timeout(wait.min(LONGEST)) {
        Ok(signal) => Next::Signal(signal),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => match deadline {
            Some(at) if Instant::now() >= at => Next::Deadline,
            _ => Next::Signal(SIGCHLD),
        },
    }
}
