//! What time it is, at little cost.

use onepath_topology::Nanos;
use rustix::time::{ClockId, clock_gettime};

/// Calls of at most this many bytes may take less time than reading the precise clock twice is
/// worth.
const COARSE_UP_TO: usize = 64 << 10;

/// How precisely the time is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// To the nanosecond.
    Fine,
    /// To the tick of the kernel (1 to 10 ms): a load from memory instead of a reading of the
    /// hardware.
    Coarse,
}

impl Resolution {
    /// What is right for the start and end of a call with this many bytes.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        if bytes <= COARSE_UP_TO { Self::Coarse } else { Self::Fine }
    }
}

/// Time since the communicator was made. Coarse times lie at most a tick behind fine ones.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: Nanos,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { epoch: read(Resolution::Fine) }
    }

    /// The time; a coarse one before the first tick is zero.
    pub(super) fn now(&self, resolution: Resolution) -> Nanos {
        read(resolution).since(self.epoch)
    }
}

fn read(resolution: Resolution) -> Nanos {
    let clock = match resolution {
        Resolution::Fine => ClockId::Monotonic,
        Resolution::Coarse => ClockId::MonotonicCoarse,
    };
    let time = clock_gettime(clock);
    Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_time_lies_between_the_fine_one_less_a_tick_and_the_fine_one() {
        let clock = Clock::new();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let coarse = clock.now(Resolution::Coarse);
        let fine = clock.now(Resolution::Fine);
        assert!(coarse <= fine && fine.since(coarse) < Nanos::secs(1), "{coarse} and {fine}");
        assert!(coarse > Nanos(0));
    }
}
