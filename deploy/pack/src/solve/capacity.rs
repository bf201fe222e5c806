//! The plainest bound: all nodes together have only so much.

use super::back_end::Stage;
use super::model::pinned;
use crate::problem::{Pod, Tier};
use crate::score::Goal;

/// Greater weights count as this, so that no sum overflows.
const MOST_WEIGHT: u64 = 1 << 40;

/// No more pods of the stage's tier can be placed: resources weighted and added up, the smallest
/// pods first, after the smallest ones of other tiers that reach their frozen numbers.
fn bound(stage: &Stage<'_>, weights: &[u64]) -> u32 {
    let weigh = |amounts: &[i64]| -> i128 {
        amounts
            .iter()
            .zip(weights)
            .map(|(amount, weight)| i128::from(*amount) * i128::from((*weight).min(MOST_WEIGHT)))
            .sum()
    };
    let problem = stage.problem;
    let mut room: i128 = problem.nodes().iter().map(|node| weigh(&node.capacity)).sum();
    let tiers = problem.priorities().len();
    let (mut stay, mut free) = (vec![0_usize; tiers], vec![Vec::new(); tiers]);
    let active = problem.numbered_pods().filter(|(id, _)| stage.is_active(*id));
    for pod in active.map(|(_, pod): (_, &Pod)| pod) {
        if pinned(stage, pod) {
            stay[pod.tier.index()] += 1;
            room -= weigh(&pod.request);
        } else {
            free[pod.tier.index()].push(weigh(&pod.request));
        }
    }
    for sizes in &mut free {
        sizes.sort_unstable();
    }
    let placed = stage.frozen.iter().filter(|f| f.goal == Goal::Placed && f.tier != stage.tier);
    for frozen in placed {
        let Tier(tier) = frozen.tier;
        let more = (frozen.value as usize).saturating_sub(stay[tier as usize]);
        room -= free[tier as usize].iter().take(more).sum::<i128>();
    }
    let mut count = stay[stage.tier.index()];
    for size in &free[stage.tier.index()] {
        room -= size;
        if room < 0 {
            break;
        }
        count += 1;
    }
    count as u32
}

/// The best of several weights: each resource alone, and all by their share.
pub(super) fn best(stage: &Stage<'_>) -> Option<(u32, Vec<u64>)> {
    let problem = stage.problem;
    let resources = problem.resources().len();
    let total = |kind: usize| -> i128 {
        problem.nodes().iter().map(|node| i128::from(node.capacity[kind])).sum()
    };
    let totals: Vec<i128> = (0..resources).map(total).collect();
    let largest = totals.iter().copied().max()?;
    let share = |total: &i128| (largest / (*total).max(1)).clamp(1, i128::from(MOST_WEIGHT)) as u64;
    let shares: Vec<u64> = totals.iter().map(share).collect();
    let alone =
        (0..resources).map(|kind| (0..resources).map(|other| u64::from(other == kind)).collect());
    let all = alone.chain([shares]);
    all.map(|weights: Vec<u64>| (bound(stage, &weights), weights)).min_by_key(|(bound, _)| *bound)
}
