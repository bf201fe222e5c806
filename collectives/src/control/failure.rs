//! What can end a session, and how ranks leave it.

use std::fmt;
use std::time::Duration;

use onepath_topology::Rank;

use super::reason::AbortReason;

/// How it was found that a rank is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// A connection of the rank closed without a goodbye.
    Closed,
    /// Nothing was heard of the rank.
    Silent {
        /// For how long.
        span: Duration,
    },
    /// The other ranks take this one for dead and go on without it.
    Excluded,
}

impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("its connection closed"),
            Self::Silent { span } => write!(f, "silent for {span:?}"),
            Self::Excluded => f.write_str("the other ranks went on without it"),
        }
    }
}

/// Why a session can not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A rank is dead; it is this rank itself when the cause is [`DeathCause::Excluded`].
    Dead {
        /// The rank.
        rank: Rank,
        /// How it was found.
        cause: DeathCause,
    },
    /// A rank called `abort`.
    Aborted {
        /// The rank.
        by: Rank,
        /// What it found.
        reason: AbortReason,
    },
    /// The control thread of this process has ended, so that failures would not be noticed.
    Stopped,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead { rank, cause } => write!(f, "rank {rank} is dead: {cause}"),
            Self::Aborted { by, reason } => {
                write!(f, "rank {by} aborted the communicator: {reason}")
            }
            Self::Stopped => f.write_str("the control thread of this process has ended"),
        }
    }
}

/// How a rank left in good order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The failure because of which it gave up; nothing if it was simply done.
    pub reason: Option<Failure>,
}
