//! Timing: the slowest rank's time of each iteration, and what is said about all of them.
//!
//! The method is the peers' (`peers/allreduce_mpi.c`): the buffer is written, all ranks meet at a
//! barrier, each takes its own time, and the slowest one counts.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use onepath_collectives::{CollectiveError, Communicator, ReduceOp};

/// The most iterations of one measurement.
pub(crate) const MAX_ITERATIONS: u32 = 1_000_000;

/// Iterations before the measurement.
pub(crate) const WARM_UP: u32 = 3;

/// The time that is spent on one row and placement when the iterations are chosen by time.
const BUDGET: Duration = Duration::from_millis(600);

/// Bounds of the iterations that are chosen by time.
const BY_TIME: (f64, f64) = (5.0, 1000.0);

/// What the histogram can hold, in nanoseconds: up to an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Four digits: the median is exact to a ten-thousandth.
const DIGITS: u8 = 4;

/// Something that is done over and over.
pub(crate) trait Timed {
    /// Why it fails.
    type Error: From<CollectiveError>;

    /// Before each iteration, not timed.
    fn prepare(&mut self);

    /// What is timed.
    fn call(&mut self, communicator: &Communicator) -> Result<(), Self::Error>;
}

/// How the slowest rank's time is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slowest {
    /// By an all-reduce after each iteration, as the peers do.
    EachTime,
    /// By one all-reduce of all times at the end, which disturbs the caches less.
    AtTheEnd,
}

/// Times of iterations, in seconds; made with room for all of them.
#[derive(Debug)]
pub(crate) struct Times {
    seconds: Vec<f64>,
    slowest: Slowest,
}

/// What is said about the times of one row.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Summary {
    /// How many iterations.
    pub(crate) iterations: u32,
    /// Their mean, in microseconds.
    pub(crate) mean_us: f64,
    /// Their median, in microseconds.
    pub(crate) median_us: f64,
    /// Their 99th percentile, in microseconds.
    pub(crate) p99_us: f64,
}

impl Times {
    /// Room for `iterations`.
    pub(crate) fn new(iterations: u32, slowest: Slowest) -> Self {
        Self { seconds: Vec::with_capacity(iterations as usize), slowest }
    }

    /// Makes `iterations` iterations, and keeps their times. Nothing is allocated or printed.
    pub(crate) fn run<T: Timed>(
        &mut self,
        communicator: &Communicator,
        timed: &mut T,
        iterations: u32,
    ) -> Result<(), T::Error> {
        for _ in 0..iterations {
            timed.prepare();
            communicator.barrier()?;
            let start = Instant::now();
            timed.call(communicator)?;
            let mut taken = [start.elapsed().as_secs_f64()];
            if self.slowest == Slowest::EachTime {
                communicator.all_reduce(&mut taken, ReduceOp::Max)?;
            }
            self.seconds.push(taken[0]);
        }
        Ok(())
    }

    /// The summary of the slowest rank's times, on every rank.
    pub(crate) fn summary(
        mut self,
        communicator: &Communicator,
    ) -> Result<Summary, CollectiveError> {
        if self.slowest == Slowest::AtTheEnd {
            communicator.all_reduce(&mut self.seconds, ReduceOp::Max)?;
        }
        Ok(summarise(&self.seconds))
    }
}

/// Makes the warm-up iterations; how long one of them took on the slowest rank, preparation
/// included, in seconds.
pub(crate) fn warm_up<T: Timed>(
    communicator: &Communicator,
    timed: &mut T,
    iterations: u32,
    slowest: Slowest,
) -> Result<f64, T::Error> {
    let mut discarded = Times::new(iterations, slowest);
    let start = Instant::now();
    discarded.run(communicator, timed, iterations)?;
    let mut each = [start.elapsed().as_secs_f64() / f64::from(iterations.max(1))];
    if slowest == Slowest::AtTheEnd {
        communicator.all_reduce(&mut each, ReduceOp::Max)?;
    }
    Ok(each[0])
}

/// The peers' number of iterations for a message of `bytes` bytes.
pub(crate) const fn peers_iterations(bytes: usize) -> u32 {
    match bytes {
        4_194_304.. => 12,
        262_144.. => 60,
        _ => 400,
    }
}

/// As many iterations as fit the time of a row, if one takes `seconds`.
pub(crate) fn iterations_by_time(seconds: f64) -> u32 {
    (BUDGET.as_secs_f64() / seconds.max(1e-9)).clamp(BY_TIME.0, BY_TIME.1) as u32
}

/// Mean, median and 99th percentile. As the peers count, the median of n sorted times is number
/// n / 2 and the 99th percentile number 99 n / 100, from 0 on.
pub(crate) fn summarise(seconds: &[f64]) -> Summary {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, DIGITS)
        .expect("the bounds are right for four digits");
    for second in seconds {
        histogram.saturating_record((second * 1e9).round().max(1.0) as u64);
    }
    let count = seconds.len().max(1);
    // Half a step further, so that rounding cannot lead to the neighbour.
    let at = |index: usize| {
        let quantile = (index as f64 + 0.5) / count as f64;
        histogram.value_at_quantile(quantile) as f64 / 1e3
    };
    Summary {
        iterations: seconds.len() as u32,
        mean_us: seconds.iter().sum::<f64>() / count as f64 * 1e6,
        median_us: at(count / 2),
        p99_us: at(count * 99 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_are_the_peers() {
        let sizes = [4, 262_143, 262_144, 1 << 20, 4_194_303, 4_194_304, 1 << 26];
        assert_eq!(sizes.map(peers_iterations), [400, 400, 60, 60, 60, 12, 12]);
    }

    #[test]
    fn iterations_by_time_fit_the_budget_and_its_bounds() {
        assert_eq!(iterations_by_time(0.0), 1000);
        assert_eq!(iterations_by_time(0.006), 100);
        assert_eq!(iterations_by_time(60.0), 5);
    }

    #[test]
    fn the_median_and_the_99th_percentile_are_those_of_the_sorted_times() {
        for count in [1_usize, 2, 3, 12, 60, 100, 400] {
            let seconds: Vec<f64> = (1..=count).rev().map(|i| i as f64 * 1e-6).collect();
            let summary = summarise(&seconds);
            let close = |found: f64, index: usize| (found / (index + 1) as f64 - 1.0).abs() < 2e-4;
            assert!(close(summary.median_us, count / 2), "{count}: {summary:?}");
            assert!(close(summary.p99_us, count * 99 / 100), "{count}: {summary:?}");
            assert!((summary.mean_us - (count + 1) as f64 / 2.0).abs() < 1e-6);
        }
    }

    #[test]
    fn no_times_have_a_summary_too() {
        assert_eq!(summarise(&[]).iterations, 0);
    }
}
