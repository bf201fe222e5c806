//! Starting the ranks on this machine, and ending them whatever happens.
//!
//! Every rank is a child process of this one, with the same command line and its place in the
//! environment. The first rank prints the table; what the others say on standard error is kept and
//! shown if they fail.
//!
//! | file | what it holds |
//! |---|---|
//! | `child` | what a rank does to end with its parent |
//! | `ranks` | the processes: started, watched, ended |
//! | `report` | which rank is to blame, and its last words |
//! | `tail` | the last lines of a stream |
mod child;
mod ranks;
mod report;
mod tail;

use std::io;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use onepath_topology::{Rank, WorldSize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub(crate) use child::{Attachment, attach};
use ranks::Ranks;
pub(crate) use tail::Tail;

/// How long the other ranks may go on after one has failed, to find out by themselves and say so.
const SETTLE: Duration = Duration::from_millis(500);

/// How long a rank may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// The exit code of a rank that ran to its end and found wrong elements.
pub(crate) const WRONG_RESULTS: u8 = 3;

/// Why the ranks could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// No signal can be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// No free port.
    #[error("no port of 127.0.0.1 is free for the ranks to meet: {0}")]
    Port(#[source] io::Error),
    /// No random secret.
    #[error("the system gave no random bytes for the job's secret: {0}")]
    Secret(#[source] getrandom::Error),
    /// This program cannot be found.
    #[error("this program's own file cannot be found: {0}")]
    Executable(#[source] io::Error),
    /// A rank did not start.
    #[error("rank {rank} cannot be started: {cause}")]
    Spawn {
        /// The rank.
        rank: Rank,
        /// The system's reason.
        cause: io::Error,
    },
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All ranks ended well.
    Success,
    /// All ranks ran to their end, but results were wrong.
    Wrong,
    /// A rank failed; the lines say which, how, and its last words.
    Failure(Vec<String>),
    /// A signal ended the run.
    Signal(i32),
}

/// Starts `world` ranks with this process's own command line, and waits until all have ended.
///
/// Call it on the main thread: the ranks end with the thread that started them.
pub(crate) fn run(world: WorldSize) -> Result<Ending, LaunchError> {
    let events = signals()?;
    let mut ranks = Ranks::start(world)?;
    let ending = watch(&mut ranks, &events);
    end(&mut ranks, &events);
    Ok(match ending {
        Some(signal) => Ending::Signal(signal),
        None => ranks.ending(),
    })
}

/// The signals that this process gets from now on.
fn signals() -> Result<Receiver<i32>, LaunchError> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).map_err(LaunchError::Signals)?;
    let (sender, receiver) = sync_channel(64);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // A full queue holds enough signals to wake the main thread, which then looks at all.
            let _ = sender.try_send(signal);
        }
    });
    Ok(receiver)
}

/// Until all ranks have ended, or one failed and the others had time to say so; the signal that
/// came before that.
fn watch(ranks: &mut Ranks, events: &Receiver<i32>) -> Option<i32> {
    let mut deadline: Option<Instant> = None;
    loop {
        ranks.reap();
        if ranks.running() == 0 {
            return None;
        }
        if ranks.any_failed() && deadline.is_none() {
            deadline = Some(Instant::now() + SETTLE);
        }
        match next(events, deadline) {
            Next::Signal(SIGCHLD) => {}
            Next::Signal(signal) => return Some(signal),
            Next::Deadline => return None,
        }
    }
}

/// Asks all ranks that still run to end, and after a while makes them.
fn end(ranks: &mut Ranks, events: &Receiver<i32>) {
    ranks.ask_to_end();
    let deadline = Instant::now() + GRACE;
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

/// One rank's end.
#[derive(Clone, Debug)]
struct Ended {
    rank: Rank,
    status: ExitStatus,
    /// Whether it had been asked to end before.
    asked: bool,
    last_lines: Vec<String>,
}
