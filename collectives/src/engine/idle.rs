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

/// What a rank does with its processor while it waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// As `Spin` if the host has a core for each of the ranks that are known to be on it, else as
    /// `Yield`.
    #[default]
    Auto,
    /// Looks again at once for some 100 microseconds: the shortest answer.
    Spin,
    /// Lets others run in between.
    Yield,
    /// Sleeps at once: for ranks that share cores with processes that have better use for them,
    /// such as ranks in other containers of the host.
    Sleep,
}

impl Waiting {
    /// All ways.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Spin, Self::Yield, Self::Sleep];

    /// Its name, as options spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Spin => "spin",
            Self::Yield => "yield",
            Self::Sleep => "sleep",
        }
    }
}

impl IdlePolicy {
    /// The policy that was asked for, on a host with `ranks` ranks on `cores` cores.
    pub(crate) fn new(waiting: Waiting, ranks: usize, cores: usize) -> Self {
        match waiting {
            Waiting::Auto => Self::for_host(ranks, cores),
            Waiting::Spin => Self::for_host(0, cores),
            Waiting::Yield => Self::for_host(cores.saturating_add(1), cores),
            Waiting::Sleep => Self { spins: 0, yields: 0, ..Self::for_host(ranks, cores) },
        }
    }

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
pub(crate) struct Idle {
    policy: IdlePolicy,
    polls: u32,
}

impl Idle {
    pub(crate) fn new(policy: IdlePolicy) -> Self {
        Self { policy, polls: 0 }
    }

    /// Something moved: begin again.
    pub(crate) fn reset(&mut self) {
        self.polls = 0;
    }

    /// After an idle poll: nothing (poll again at once), or that it is time to look for failures
    /// and then to sleep for at most this long.
    pub(crate) fn next(&mut self) -> Option<Duration> {
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
