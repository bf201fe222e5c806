//! Counts of what came to an endpoint.

use std::sync::atomic::{AtomicU64, Ordering};

use super::event::Rejection;

/// Connections to the listeners of one endpoint, by what became of them, and lost events.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that arrived.
    pub accepted: AtomicU64,
    /// Those that proved to be of the job and said whom they want.
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
    /// For a session that has the connection already or does not want it.
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

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
