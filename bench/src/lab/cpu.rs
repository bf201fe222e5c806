//! Whether the processor was the limit of a run.

use std::fs;
use std::io;

/// Below this idle share a run says more about the processor than about the network.
const BUSY_BELOW: f64 = 0.05;

/// Why the times are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CpuError {
    /// They cannot be read.
    #[error("the processor's times (/proc/stat) cannot be read: {0}")]
    Read(#[source] io::Error),
    /// They are not as expected.
    #[error("/proc/stat does not begin with the processor's times but with '{0}'")]
    Parse(String),
}

/// Times of all processors together since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    idle: u64,
    total: u64,
}

impl CpuTimes {
    /// Now.
    pub(crate) fn now() -> Result<Self, CpuError> {
        let text = fs::read_to_string("/proc/stat").map_err(CpuError::Read)?;
        Self::parse(&text)
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; the guests are part
    /// of user and nice. Time stolen by a hypervisor was not idle.
    fn parse(text: &str) -> Result<Self, CpuError> {
        let line = text.lines().next().unwrap_or_default();
        let wrong = || CpuError::Parse(line.chars().take(80).collect());
        let numbers = line.strip_prefix("cpu ").ok_or_else(wrong)?.split_whitespace().take(8);
        let numbers: Result<Vec<u64>, _> = numbers.map(str::parse).collect();
        let numbers = numbers.ok().filter(|numbers| numbers.len() >= 5).ok_or_else(wrong)?;
        Ok(Self { idle: numbers[3] + numbers[4], total: numbers.iter().sum() })
    }

    /// The part of the time since `earlier` in which processors had nothing to do, 0 to 1; 1 if no
    /// tick has passed.
    pub(crate) fn idle_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        // The kernel's idle times may go back by a tick.
        let idle = self.idle.saturating_sub(earlier.idle).min(total);
        if total == 0 { 1.0 } else { idle as f64 / total as f64 }
    }
}

/// Whether so little idle time means that the processor was the limit.
pub(crate) fn is_bound(idle: f64) -> bool {
    idle < BUSY_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_idle_and_stolen_time_is_not() {
        let then = CpuTimes::parse("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1").expect("it is right");
        let now = CpuTimes::parse("cpu  10 0 20 30 10 5 5 20 10 0\n").expect("it is right");
        assert!((now.idle_since(then) - 0.4).abs() < 1e-12);
        assert!((then.idle_since(now) - 1.0).abs() < 1e-12);
        assert!(is_bound(0.049) && !is_bound(0.05));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu a b c d e"] {
            assert!(CpuTimes::parse(text).is_err(), "{text}");
        }
    }
}
