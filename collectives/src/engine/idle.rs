//! How to wait: spin while an answer is near, then give way, then sleep.

use std::time::Duration;

/// When to stop spinning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdlePolicy {
    /// Idle polls before the first look at the clock.
    pub(crate) spins: u32,
    /// Polls after that which give the processor to others in between.
    pub(crate) yields: u32,
    /// The longest sleep; failures that no connection shows are noticed after it at the latest.
    pub(crate) sleep: Duration,
}

impl IdlePolicy {
    /// The policy for a host with `ranks` ranks on `cores` cores: with fewer cores than ranks,
    /// spinning would keep the very rank that one waits for from running. Where there are cores
    /// enough, others may still want them, so spinning ends after some 100 microseconds.
    pub(crate) fn for_host(ranks: usize, cores: usize) -> Self {
        let sleep = Duration::from_millis(10);
        if ranks <= cores {
            Self { spins: 2_000, yields: 2_000, sleep }
        } else {
            Self { spins: 1, yields: 200, sleep }
        }
    }
}

/// One wait.
#[derive(Debug)]
pub(super) struct Idle {
    policy: IdlePolicy,
    polls: u32,
}

impl Idle {
    pub(super) fn new(policy: IdlePolicy) -> Self {
        Self { policy, polls: 0 }
    }

    /// Something moved: begin again.
    pub(super) fn reset(&mut self) {
        self.polls = 0;
    }

    /// After an idle poll: nothing (poll again at once), or that it is time to look for failures
    /// and then to sleep for at most this long.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.polls = self.polls.saturating_add(1);
        if self.polls <= self.policy.spins {
            std::hint::spin_loop();
            return None;
        }
        if self.polls <= self.policy.spins + self.policy.yields {
            std::thread::yield_now();
            return None;
        }
        Some(self.policy.sleep)
    }
}
