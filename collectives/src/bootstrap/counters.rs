//! Counts of connections to the listening ports of a rank, for people who look for a missing rank
//! or a stranger.

use std::sync::atomic::{AtomicU64, Ordering};

use super::auth::AuthError;

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Its first bytes were not ours.
    Garbage,
    /// It did not know the job secret.
    WrongSecret,
    /// It said nothing, or too little, in time.
    Silent,
    /// It said nothing yet when too many others waited.
    Displaced,
    /// It speaks another version.
    VersionMismatch,
    /// Its address is not trusted.
    UntrustedAddress,
    /// It proved to be of the job but said what makes no sense.
    Malformed,
    /// Nobody opened its session in time, or too many waited for that.
    UnknownSession,
    /// Its session has this connection already or does not want it; or the store is full, or ends.
    Unwanted,
    /// It closed before it had said who it is.
    Closed,
}

impl Rejection {
    const ALL: [Self; 10] = [
        Self::Garbage,
        Self::WrongSecret,
        Self::Silent,
        Self::Displaced,
        Self::VersionMismatch,
        Self::UntrustedAddress,
        Self::Malformed,
        Self::UnknownSession,
        Self::Unwanted,
        Self::Closed,
    ];
}

impl From<&AuthError> for Rejection {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::WrongSecret => Self::WrongSecret,
            AuthError::NotOnepath { .. } | AuthError::SameSide => Self::Garbage,
            AuthError::VersionMismatch { .. } => Self::VersionMismatch,
            AuthError::TimedOut { .. } => Self::Silent,
            AuthError::Io(_) | AuthError::Closed | AuthError::NoRandomness(_) => Self::Closed,
        }
    }
}

/// Connections to the listeners of one process, by what became of them, and lost events. The
/// rendezvous, where a rank hosts it, and the control plane count alike.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that arrived.
    pub accepted: AtomicU64,
    /// Those that proved to be of the job and, at the control plane, said whom they want.
    pub admitted: AtomicU64,
    /// First bytes that were not ours.
    pub garbage: AtomicU64,
    /// Another job secret, or none on one side.
    pub wrong_secret: AtomicU64,
    /// Nothing, or too little, said in time.
    pub silent: AtomicU64,
    /// Silent ones that had to make room.
    pub displaced: AtomicU64,
    /// Another version.
    pub version_mismatch: AtomicU64,
    /// An address that is not trusted.
    pub untrusted_address: AtomicU64,
    /// Of the job, but making no sense.
    pub malformed: AtomicU64,
    /// For a session that nobody opened in time.
    pub unknown_session: AtomicU64,
    /// For a session that has the connection already or does not want it, or at a store that is
    /// full or ends.
    pub unwanted: AtomicU64,
    /// Closed before it was known who they are.
    pub closed_early: AtomicU64,
    /// Connections that the operating system could not hand over, for instance without a free
    /// descriptor.
    pub accept_errors: AtomicU64,
    /// Events that were dropped because nobody read them.
    pub lost_events: AtomicU64,
}

impl Counters {
    /// The counter of connections that were turned away for this reason.
    pub const fn rejected(&self, reason: Rejection) -> &AtomicU64 {
        match reason {
            Rejection::Garbage => &self.garbage,
            Rejection::WrongSecret => &self.wrong_secret,
            Rejection::Silent => &self.silent,
            Rejection::Displaced => &self.displaced,
            Rejection::VersionMismatch => &self.version_mismatch,
            Rejection::UntrustedAddress => &self.untrusted_address,
            Rejection::Malformed => &self.malformed,
            Rejection::UnknownSession => &self.unknown_session,
            Rejection::Unwanted => &self.unwanted,
            Rejection::Closed => &self.closed_early,
        }
    }

    /// Connections that were turned away, for whichever reason.
    pub fn all_rejected(&self) -> u64 {
        Rejection::ALL.iter().map(|&reason| self.rejected(reason).load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own_and_the_sum_has_all() {
        let counters = Counters::default();
        for (before, reason) in (0..).zip(Rejection::ALL) {
            assert_eq!(counters.rejected(reason).load(Ordering::Relaxed), 0, "{reason:?}");
            assert_eq!(counters.all_rejected(), before);
            Counters::count(counters.rejected(reason));
        }
        assert_eq!(Rejection::from(&AuthError::Closed), Rejection::Closed);
    }
}
