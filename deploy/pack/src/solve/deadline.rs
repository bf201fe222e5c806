//! The only place of this crate that reads a clock, but for what watches a library of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// By which clock a budget runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Time as it passes for everyone.
    #[default]
    Wall,
    /// Processor time of the calling thread: comparable on a busy machine.
    ThreadCpu,
}

impl Clock {
    fn since(self, origin: Instant) -> Duration {
        match self {
            Self::Wall => origin.elapsed(),
            Self::ThreadCpu => {
                let now = clock_gettime(ClockId::ThreadCPUTime);
                Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
            }
        }
    }
}

/// Says how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    clock: Clock,
    origin: Instant,
    begin: Duration,
}

impl Stopwatch {
    /// Begins now.
    pub fn new(clock: Clock) -> Self {
        let origin = Instant::now();
        Self { clock, origin, begin: clock.since(origin) }
    }

    /// Since it began; of processor time that of the calling thread, which must be the same.
    pub fn elapsed(&self) -> Duration {
        self.clock.since(self.origin).saturating_sub(self.begin)
    }
}

/// How long solving may take, and how it is stopped sooner.
#[derive(Clone, Debug)]
pub struct Budget {
    /// All in all.
    pub time: Duration,
    /// Measured by this clock.
    pub clock: Clock,
    /// Solving ends soon after this turned true, with the best placement so far.
    pub interrupt: Arc<AtomicBool>,
    /// For back ends that can use several; those of this crate use one.
    pub threads: usize,
}

impl Budget {
    /// So much wall time, one thread, not interrupted.
    pub fn wall(time: Duration) -> Self {
        Self { time, clock: Clock::Wall, interrupt: Arc::default(), threads: 1 }
    }

    /// So much processor time of the calling thread.
    pub fn cpu(time: Duration) -> Self {
        Self { clock: Clock::ThreadCpu, ..Self::wall(time) }
    }
}

/// A moment by which something is to be done.
#[derive(Clone, Debug)]
pub struct Deadline {
    clock: Clock,
    origin: Instant,
    end: Duration,
    interrupt: Arc<AtomicBool>,
}

impl Deadline {
    /// The end of a budget that begins now.
    pub fn of(budget: &Budget) -> Self {
        let mut deadline = Self {
            clock: budget.clock,
            origin: Instant::now(),
            end: Duration::ZERO,
            interrupt: Arc::clone(&budget.interrupt),
        };
        deadline.end = deadline.now().saturating_add(budget.time);
        deadline
    }

    fn now(&self) -> Duration {
        self.clock.since(self.origin)
    }

    /// By which clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether somebody wants an end before the time is up.
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// How much is left; nothing once interrupted.
    pub fn left(&self) -> Duration {
        if self.interrupted() {
            return Duration::ZERO;
        }
        self.end.saturating_sub(self.now())
    }

    /// How long it has passed.
    pub fn late(&self) -> Duration {
        self.now().saturating_sub(self.end)
    }

    /// Whether it is time to stop.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// So much sooner.
    pub fn sooner(&self, by: Duration) -> Self {
        Self { end: self.end.saturating_sub(by), ..self.clone() }
    }

    /// So much from now on, but not later than this.
    pub fn within(&self, time: Duration) -> Self {
        Self { end: self.end.min(self.now().saturating_add(time)), ..self.clone() }
    }
}
