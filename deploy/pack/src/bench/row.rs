//! Runs of one kind, counted.

use std::time::Duration;

use serde::Serialize;

use super::{Run, Verdict, seconds};
use crate::instances::paper::Setup;

/// What came of the runs of one back end, of one kind of instances or of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Who solved them.
    pub back_end: String,
    /// Their kind; none for all together.
    pub setup: Option<Setup>,
    /// How many.
    pub instances: usize,
    /// Better than the default scheduler's and proved.
    pub better_proved: usize,
    /// Better, not proved.
    pub better: usize,
    /// The default scheduler's placement proved to be the best.
    pub default_optimal: usize,
    /// Neither better nor proved.
    pub failed: usize,
    /// Stages that were not for the back end, so that the search of this crate solved them.
    pub left: usize,
    /// Half of the runs took no longer.
    #[serde(rename = "median_s", serialize_with = "seconds")]
    pub median: Duration,
    /// 99 of 100 runs took no longer.
    #[serde(rename = "p99_s", serialize_with = "seconds")]
    pub p99: Duration,
    /// No run took longer.
    #[serde(rename = "max_s", serialize_with = "seconds")]
    pub max: Duration,
}

impl Row {
    /// Better than the default scheduler's, proved or not.
    pub fn improved(&self) -> usize {
        self.better_proved + self.better
    }

    /// Proved, better or not.
    pub fn proved(&self) -> usize {
        self.better_proved + self.default_optimal
    }
}

/// One row for each kind of instances and back end, in the order in which runs first have them, and
/// then one for each back end.
pub fn rows(runs: &[Run]) -> Vec<Row> {
    let mut kinds: Vec<(Option<Setup>, &str)> = Vec::new();
    for total in [false, true] {
        for run in runs {
            let kind = ((!total).then_some(run.setup), run.back_end.as_str());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    kinds.into_iter().map(|(setup, back_end)| row(runs, setup, back_end)).collect()
}

fn row(runs: &[Run], setup: Option<Setup>, back_end: &str) -> Row {
    let of_kind =
        |run: &&Run| run.back_end == back_end && setup.is_none_or(|setup| setup == run.setup);
    let runs: Vec<&Run> = runs.iter().filter(of_kind).collect();
    let count = |verdict| runs.iter().filter(|run| run.verdict == verdict).count();
    let mut times: Vec<Duration> = runs.iter().map(|run| run.time).collect();
    times.sort_unstable();
    Row {
        back_end: back_end.to_owned(),
        setup,
        instances: runs.len(),
        better_proved: count(Verdict::BetterProved),
        better: count(Verdict::Better),
        default_optimal: count(Verdict::DefaultOptimal),
        failed: count(Verdict::Failed),
        left: runs.iter().map(|run| run.left).sum(),
        median: quantile(&times, 50),
        p99: quantile(&times, 99),
        max: quantile(&times, 100),
    }
}

/// The least of the times that so many percent of them do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{quantile, rows};
    use crate::bench::{Run, Verdict};
    use crate::instances::paper::Setup;
    use crate::score::Score;

    fn run(back_end: &str, nodes: u32, verdict: Verdict, time_ms: u64) -> Run {
        let setup = Setup { nodes, pods_per_node: 4, priorities: 1, utilisation: 90 };
        let (before, after) = (Score { tiers: Vec::new() }, Score { tiers: Vec::new() });
        let (back_end, time) = (back_end.to_owned(), Duration::from_millis(time_ms));
        Run { back_end, setup, seed: 1, verdict, left: nodes as usize, time, before, after }
    }

    #[test]
    fn runs_are_counted_by_kind_and_then_all_together() {
        let runs = [
            run("a", 4, Verdict::Better, 5),
            run("b", 4, Verdict::Failed, 6),
            run("a", 8, Verdict::BetterProved, 7),
            run("a", 8, Verdict::DefaultOptimal, 1),
        ];
        let rows = rows(&runs);
        let kinds: Vec<(&str, Option<u32>, usize)> = rows
            .iter()
            .map(|row| (&*row.back_end, row.setup.map(|setup| setup.nodes), row.instances))
            .collect();
        let expected = [
            ("a", Some(4), 1),
            ("b", Some(4), 1),
            ("a", Some(8), 2),
            ("a", None, 3),
            ("b", None, 1),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((rows[3].improved(), rows[3].proved(), rows[3].failed), (2, 2, 0));
        assert_eq!((rows[2].left, rows[3].left), (16, 20));
        assert_eq!((rows[3].median.as_millis(), rows[3].max.as_millis()), (5, 7));
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50).as_millis(), 100);
        assert_eq!(quantile(&times, 99).as_millis(), 198);
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }
}
