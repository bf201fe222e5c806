//! What runs of several back ends on one instance say of each other.
//!
//! A placement that one back end found refutes the proof of another one that nothing is as good.

use std::collections::HashMap;

use super::{Run, Verdict};
use crate::score::Objective;

/// A proof, and a placement that refutes it.
#[derive(Clone, Copy, Debug)]
pub struct Contradiction<'a> {
    /// Says that nothing is better.
    pub proof: &'a Run,
    /// Is better.
    pub refuted_by: &'a Run,
}

/// All contradictions, at most one for each instance.
pub fn contradictions(runs: &[Run], objective: Objective) -> Vec<Contradiction<'_>> {
    let mut by_instance: HashMap<_, Vec<&Run>> = HashMap::new();
    for run in runs {
        by_instance.entry((run.setup, run.seed)).or_default().push(run);
    }
    let mut found: Vec<_> =
        by_instance.values().filter_map(|runs| contradiction(runs, objective)).collect();
    found.sort_by_key(|contradiction| contradiction.proof.seed);
    found
}

fn contradiction<'a>(runs: &[&'a Run], objective: Objective) -> Option<Contradiction<'a>> {
    let best = runs.iter().copied().reduce(|best, other| {
        if objective.compare(&other.after, &best.after).is_gt() { other } else { best }
    })?;
    let proved =
        |run: &&Run| matches!(run.verdict, Verdict::BetterProved | Verdict::DefaultOptimal);
    let refuted = runs.iter().copied().filter(proved);
    let mut refuted = refuted.filter(|run| objective.compare(&best.after, &run.after).is_gt());
    refuted.next().map(|proof| Contradiction { proof, refuted_by: best })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::contradictions;
    use crate::bench::{Run, Verdict};
    use crate::instances::paper::Setup;
    use crate::score::{Objective, Score, TierScore};

    fn run(back_end: &str, verdict: Verdict, placed: u32) -> Run {
        let score = |placed| Score { tiers: vec![TierScore { placed, disturbed: 0 }] };
        Run {
            back_end: back_end.to_owned(),
            setup: Setup { nodes: 4, pods_per_node: 4, priorities: 1, utilisation: 90 },
            seed: 1,
            verdict,
            left: 0,
            time: Duration::ZERO,
            before: score(1),
            after: score(placed),
        }
    }

    #[test]
    fn a_better_placement_refutes_a_proof_and_an_equal_one_does_not() {
        let proof = run("a", Verdict::BetterProved, 5);
        let equal = [proof.clone(), run("b", Verdict::Better, 5)];
        assert!(contradictions(&equal, Objective::TierByTier).is_empty());
        let better = [proof, run("b", Verdict::Better, 6)];
        let found = contradictions(&better, Objective::TierByTier);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].proof.back_end, &*found[0].refuted_by.back_end), ("a", "b"));
    }
}
