//! The life of a queue pair.

use std::fmt;

use crate::verbs::raw::constants::{
    IBV_QPS_ERR, IBV_QPS_INIT, IBV_QPS_RESET, IBV_QPS_RTR, IBV_QPS_RTS,
};

/// The states that a queue pair goes through:
///
/// ```text
/// Reset ─▶ Initialised ─▶ ReadyToReceive ─▶ ReadyToSend
///   ▲           │               │                │
///   │           ▼               ▼                ▼
///   └───────────────────────  Error
/// ```
///
/// Only forward, one step at a time; to Error and Reset from everywhere. The device goes to Error
/// by itself when a work request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePairState {
    /// New: nothing can be posted.
    Reset,
    /// Receive requests can be posted; nothing arrives.
    Initialised,
    /// Messages arrive; nothing can be sent.
    ReadyToReceive,
    /// In full use.
    ReadyToSend,
    /// Ended: every request that was under way completes with an error.
    Error,
    /// One of the states that we never ask for: sending drained, or a send error of an unreliable
    /// queue pair.
    Other,
}

impl QueuePairState {
    /// Whether we may take a queue pair from this state to that.
    pub fn may_become(self, next: Self) -> bool {
        use QueuePairState::{Error, Initialised, ReadyToReceive, ReadyToSend, Reset};
        match next {
            Reset => true,
            Error => self != Reset,
            Initialised => self == Reset,
            ReadyToReceive => self == Initialised,
            ReadyToSend => self == ReadyToReceive,
            Self::Other => false,
        }
    }

    /// Whether receive requests may be posted.
    pub fn takes_receives(self) -> bool {
        matches!(self, Self::Initialised | Self::ReadyToReceive | Self::ReadyToSend)
    }

    pub(super) fn from_raw(state: u32) -> Self {
        match state {
            IBV_QPS_RESET => Self::Reset,
            IBV_QPS_INIT => Self::Initialised,
            IBV_QPS_RTR => Self::ReadyToReceive,
            IBV_QPS_RTS => Self::ReadyToSend,
            IBV_QPS_ERR => Self::Error,
            // IBV_QPS_SQD, IBV_QPS_SQE and what a newer library may have.
            _ => Self::Other,
        }
    }
}

impl fmt::Display for QueuePairState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::Initialised => "initialised",
            Self::ReadyToReceive => "ready to receive",
            Self::ReadyToSend => "ready to send",
            Self::Error => "in error",
            Self::Other => "in a state that we do not use",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use QueuePairState::{Error, Initialised, Other, ReadyToReceive, ReadyToSend, Reset};

    const ALL: [QueuePairState; 6] =
        [Reset, Initialised, ReadyToReceive, ReadyToSend, Error, Other];

    #[test]
    fn a_queue_pair_goes_forward_one_step_at_a_time_and_always_to_error_or_reset() {
        let mut allowed = Vec::new();
        for from in ALL {
            for to in ALL {
                if from.may_become(to) && to != Reset && to != Error {
                    allowed.push((from, to));
                }
            }
        }
        let steps =
            [(Reset, Initialised), (Initialised, ReadyToReceive), (ReadyToReceive, ReadyToSend)];
        assert_eq!(allowed, steps);
        assert!(ALL.iter().all(|from| from.may_become(Reset)));
        assert!(ALL.iter().all(|&from| from.may_become(Error) == (from != Reset)));
    }

    #[test]
    fn states_of_the_library_have_the_numbers_of_the_header() {
        let states = [0, 1, 2, 3, 4, 5, 6, 7].map(QueuePairState::from_raw);
        let expected =
            [Reset, Initialised, ReadyToReceive, ReadyToSend, Other, Other, Error, Other];
        assert_eq!(states, expected);
    }
}
