//! Why a collective failed.

use std::time::Duration;

use onepath_topology::Rank;
use onepath_transport::flow::MAX_IN_FLIGHT;

use crate::call::{CallDescription, CallMismatch};

/// What ended a communicator. It is the same on every later call until `shrink`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectiveError {
    /// A rank died, was stopped, or cannot be reached any more.
    #[error("rank {rank} is dead ({cause}){}", during(.call.as_ref()))]
    RankDead {
        /// The rank.
        rank: Rank,
        /// How that was found.
        cause: DeathCause,
        /// The call that was under way, if one was.
        call: Option<CallDescription>,
    },
    /// A rank left the communicator in good order while a call still needed it.
    #[error("rank {rank} has left the communicator{}", during(.call.as_ref()))]
    RankLeft {
        /// The rank.
        rank: Rank,
        /// The call that needed it.
        call: Option<CallDescription>,
    },
    /// The data connection between two ranks broke although both are alive. `shrink` connects them
    /// anew.
    #[error("{}{}; {}", lost(*.by, *.rank), during(.call.as_ref()), alive(*.by, *.rank))]
    Unreachable {
        /// The rank that could not be reached; the one that found it, where its device is to blame.
        rank: Rank,
        /// The rank that found it.
        by: Rank,
        /// The call that was under way, if one was.
        call: Option<CallDescription>,
    },
    /// Two ranks make different calls where they should make the same. Every rank has this error,
    /// whether it is one of the two or not.
    #[error("{0}")]
    Mismatch(CallMismatch),
    /// Two ranks agree on the call but not on its parts: a fault of the library.
    #[error("rank {rank} sent what does not belong to the call: {problem}")]
    Protocol {
        /// The rank that sent it.
        rank: Rank,
        /// What is wrong, or which rank found it.
        problem: String,
    },
    /// RDMA does not bring bytes to or from a rank that is alive, or the own device has a fault.
    /// The other ranks have [`Unreachable`](Self::Unreachable).
    #[error("rank {rank} cannot be reached over RDMA: {problem}")]
    Rdma {
        /// The rank; this one, where its device is to blame.
        rank: Rank,
        /// Path and operation, and what is wrong.
        problem: String,
    },
    /// A call did not end in its time.
    #[error("{call} did not end within {after:?}; late: {}", list(.late))]
    TimedOut {
        /// The call.
        call: CallDescription,
        /// How long it was waited for.
        after: Duration,
        /// The ranks that have not made the call, or from which data is missing.
        late: Vec<Rank>,
    },
    /// `abort` was called.
    #[error("rank {by} aborted the communicator")]
    Aborted {
        /// By which rank.
        by: Rank,
    },
    /// This rank was declared dead by the others, for instance after it had been stopped.
    #[error("the other ranks went on without this one: it was silent for too long")]
    Excluded,
    /// The control thread of this process has ended, so that failures would not be noticed.
    #[error("the control thread of this process has ended")]
    ControlStopped,
    /// The call itself is wrong; the communicator is as it was.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// How a rank's death was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// Its connections were closed by its operating system.
    Closed,
    /// Nothing was heard of it.
    Silent {
        /// For how long.
        span: Duration,
    },
}

impl std::fmt::Display for DeathCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("its connection closed"),
            Self::Silent { span } => write!(f, "silent for {span:?}"),
        }
    }
}

fn lost(by: Rank, rank: Rank) -> String {
    if by == rank {
        return format!("the RDMA device of rank {by} failed");
    }
    format!("rank {by} lost its data connection with rank {rank}")
}

fn alive(by: Rank, rank: Rank) -> &'static str {
    if by == rank { "the rank is alive" } else { "both are alive" }
}

fn during(call: Option<&CallDescription>) -> String {
    call.map(|call| format!(" during {call}")).unwrap_or_default()
}

fn list(ranks: &[Rank]) -> String {
    if ranks.is_empty() {
        return "no rank is known to be".to_owned();
    }
    let numbers: Vec<String> = ranks.iter().map(Rank::to_string).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", numbers.join(", "))
}

/// Arguments that do not fit together; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A buffer has the wrong length.
    #[error("{buffer} has {actual} elements where {expected} are needed")]
    Length {
        /// Which buffer.
        buffer: &'static str,
        /// Its length.
        actual: usize,
        /// The right length.
        expected: usize,
    },
    /// A buffer's length is not a multiple of the world size.
    #[error("{buffer} has {actual} elements, not a multiple of the {ranks} ranks")]
    NotDivisible {
        /// Which buffer.
        buffer: &'static str,
        /// Its length.
        actual: usize,
        /// The world size.
        ranks: usize,
    },
    /// A rank that the communicator does not have.
    #[error("{what} {rank} is not a rank of this communicator of {ranks}")]
    NoSuchRank {
        /// Which argument.
        what: &'static str,
        /// The rank.
        rank: Rank,
        /// The world size.
        ranks: usize,
    },
    /// Sending to oneself.
    #[error("rank {rank} cannot send to itself or receive from itself")]
    OwnRank {
        /// The rank.
        rank: Rank,
    },
    /// Too many calls in flight.
    #[error("{MAX_IN_FLIGHT} calls are in flight, which is the limit: wait for one first")]
    TooManyInFlight,
}
