//! Errors of calls in the control plane's terms, and back: what one rank finds alone, all tell.

use onepath_topology::Rank;

use crate::call::CallDescription;
use crate::control::{AbortReason, DeathCause, Departure, Failure};
use crate::error::{self, CollectiveError};

/// What the others must be told of an error; nothing if the control plane told this rank.
pub(super) fn to_tell(error: &CollectiveError, me: Rank) -> Option<AbortReason> {
    match error {
        CollectiveError::Mismatch(mismatch) => Some(AbortReason::Mismatch(*mismatch)),
        CollectiveError::TimedOut { call, after, late } => {
            Some(AbortReason::TimedOut { call: *call, after: *after, late: late.clone() })
        }
        CollectiveError::RankLeft { rank, .. } => Some(AbortReason::Left { rank: *rank }),
        CollectiveError::Protocol { rank, .. } => Some(AbortReason::Misfit { rank: *rank }),
        CollectiveError::Rdma { rank, .. } => Some(AbortReason::Unreachable { rank: *rank }),
        CollectiveError::Aborted { by } if *by == me => Some(AbortReason::Requested),
        CollectiveError::Aborted { .. }
        | CollectiveError::RankDead { .. }
        | CollectiveError::Unreachable { .. }
        | CollectiveError::Excluded
        | CollectiveError::ControlStopped
        | CollectiveError::Argument(_) => None,
    }
}

/// The error of this rank, which was in `call`, after a failure of the session.
pub(super) fn describe(failure: Failure, call: Option<CallDescription>) -> CollectiveError {
    let dead = |rank, cause| CollectiveError::RankDead { rank, cause, call };
    match failure {
        Failure::Dead { cause: DeathCause::Excluded, .. } => CollectiveError::Excluded,
        Failure::Dead { rank, cause: DeathCause::Closed } => dead(rank, error::DeathCause::Closed),
        Failure::Dead { rank, cause: DeathCause::Silent { span } } => {
            dead(rank, error::DeathCause::Silent { span })
        }
        Failure::Aborted { by, reason } => aborted(by, reason, call),
        Failure::Stopped => CollectiveError::ControlStopped,
    }
}

fn aborted(by: Rank, reason: AbortReason, call: Option<CallDescription>) -> CollectiveError {
    match reason {
        AbortReason::Requested => CollectiveError::Aborted { by },
        AbortReason::Mismatch(mismatch) => CollectiveError::Mismatch(mismatch),
        AbortReason::TimedOut { call, after, late } => {
            CollectiveError::TimedOut { call, after, late }
        }
        AbortReason::Left { rank } => CollectiveError::RankLeft { rank, call },
        AbortReason::Unreachable { rank } => CollectiveError::Unreachable { rank, by, call },
        AbortReason::Misfit { rank } => {
            CollectiveError::Protocol { rank, problem: format!("found by rank {by}") }
        }
    }
}

/// The error of this rank, which was in `call`, when it still needs `rank`, which has left. One
/// that gave up because of another's death is not the one to be named.
pub(super) fn departed(
    rank: Rank,
    departure: Departure,
    call: Option<CallDescription>,
) -> CollectiveError {
    match departure.reason {
        Some(failure) => describe(failure, call),
        None => CollectiveError::RankLeft { rank, call },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Algorithm;
    use crate::call::CallMismatch;
    use crate::call::tests::call;

    #[test]
    fn an_error_that_one_rank_finds_is_the_same_on_the_others() {
        let (me, rank) = (Rank::new(0), Rank::new(3));
        let (one, other) = (call(Algorithm::Ring, 5), call(Algorithm::Ring, 6));
        let mismatch = CallMismatch::new(7, (me, one), (rank, other)).expect("they differ");
        let errors = [
            CollectiveError::Mismatch(mismatch),
            CollectiveError::TimedOut {
                call: one,
                after: Duration::from_secs(9),
                late: vec![rank],
            },
            CollectiveError::RankLeft { rank, call: Some(one) },
            CollectiveError::Aborted { by: me },
        ];
        for error in errors {
            let reason = to_tell(&error, me).expect("it was found here");
            assert_eq!(describe(Failure::Aborted { by: me, reason }, Some(one)), error);
        }
    }

    #[test]
    fn others_hear_of_an_rdma_error_whose_device_or_which_peer_it_was() {
        let [me, rank] = [0, 3].map(Rank::new);
        for (wrong, expected) in [
            (me, "the RDMA device of rank 0 failed; the rank is alive"),
            (rank, "rank 0 lost its data connection with rank 3; both are alive"),
        ] {
            let found = CollectiveError::Rdma { rank: wrong, problem: "for a test".to_owned() };
            let reason = to_tell(&found, me).expect("it was found here");
            let told = describe(Failure::Aborted { by: me, reason }, None);
            assert_eq!(told, CollectiveError::Unreachable { rank: wrong, by: me, call: None });
            assert_eq!(told.to_string(), expected);
        }
    }

    #[test]
    fn what_the_control_plane_told_is_not_told_again() {
        let (me, rank) = (Rank::new(0), Rank::new(3));
        let failures = [
            Failure::Dead { rank, cause: DeathCause::Closed },
            Failure::Dead { rank: me, cause: DeathCause::Excluded },
            Failure::Aborted { by: rank, reason: AbortReason::Requested },
            Failure::Aborted { by: rank, reason: AbortReason::Unreachable { rank: me } },
            Failure::Stopped,
        ];
        for failure in failures {
            assert_eq!(to_tell(&describe(failure, None), me), None);
        }
    }
}
