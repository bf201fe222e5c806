//! Counts of connections that were turned away, for people who look for a missing rank.

use std::sync::atomic::{AtomicU64, Ordering};

use super::auth::AuthError;

/// Connections to one or several listening ports, by what became of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that proved to belong to the job.
    pub authenticated: AtomicU64,
    /// Connections that were turned away, for whichever reason; those below are among them.
    pub rejected_connections: AtomicU64,
    /// The secret was another one, or missing on one side.
    pub wrong_secret: AtomicU64,
    /// Nothing, or too little, was said in time.
    pub silent: AtomicU64,
    /// The first bytes were not ours.
    pub not_onepath: AtomicU64,
    /// The other side speaks another version.
    pub version_mismatch: AtomicU64,
    /// The address is not trusted.
    pub untrusted_address: AtomicU64,
    /// A member of the job sent a request that makes no sense.
    pub malformed: AtomicU64,
}

impl Counters {
    /// Adds one connection that failed to authenticate.
    pub fn count_auth_error(&self, error: &AuthError) {
        let counter = match error {
            AuthError::WrongSecret => Some(&self.wrong_secret),
            AuthError::TimedOut { .. } => Some(&self.silent),
            AuthError::NotOnepath { .. } | AuthError::SameSide => Some(&self.not_onepath),
            AuthError::VersionMismatch { .. } => Some(&self.version_mismatch),
            AuthError::Io(_) | AuthError::Closed | AuthError::NoRandomness(_) => None,
        };
        self.count_rejected(counter);
    }

    /// Adds one rejected connection, to the total and to `reason` (a field of this).
    pub fn count_rejected(&self, reason: Option<&AtomicU64>) {
        for counter in reason.into_iter().chain([&self.rejected_connections]) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Connections so far that may have been ranks of the job with a wrong secret or version.
    pub(super) fn refused_ranks(&self) -> u64 {
        self.wrong_secret.load(Ordering::Relaxed) + self.version_mismatch.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_secret_counts_as_rejected_too() {
        let counters = Counters::default();
        counters.count_auth_error(&AuthError::WrongSecret);
        counters.count_auth_error(&AuthError::Closed);
        assert_eq!(counters.wrong_secret.load(Ordering::Relaxed), 1);
        assert_eq!(counters.rejected_connections.load(Ordering::Relaxed), 2);
    }
}
