//! The best of the nodes that take a pod.

use super::state::State;
use crate::problem::{NodeId, PodId};
use crate::random::Random;

/// `fwk.MaxNodeScore`.
const MOST: i64 = 100;

/// `selectHost`: the node rated best, by the seed among equals.
pub(super) fn select_host(
    state: &State<'_>,
    pod: PodId,
    feasible: &[NodeId],
    random: &mut Random,
) -> Option<NodeId> {
    let mut best: Option<(i64, NodeId)> = None;
    let mut equal = 0;
    for node in feasible {
        // Both plugins have weight 1 in default_plugins.go, and no NormalizeScore.
        let rating = least_allocated(state, pod, *node) + balanced(state, pod, *node);
        if best.is_none_or(|(most, _)| rating > most) {
            (best, equal) = (Some((rating, *node)), 1);
        } else if best.is_some_and(|(most, _)| rating == most) {
            equal += 1;
            if random.below(equal) == 0 {
                best = Some((rating, *node));
            }
        }
    }
    best.map(|(_, node)| node)
}

/// `leastResourceScorer` with weight 1 for CPU and memory: the mean of the shares that stay free.
pub(super) fn least_allocated(state: &State<'_>, pod: PodId, node: NodeId) -> i64 {
    let request = &state.problem.pods()[pod.index()].request;
    let capacity = &state.problem.nodes()[node.index()].capacity;
    let (mut sum, mut weights) = (0, 0);
    for rated in &state.rated {
        let capacity = capacity[rated.resource];
        if capacity == 0 {
            continue;
        }
        let requested = rated.non_zero(node) + rated.non_zero_request(request);
        let free = (capacity - requested).max(0);
        sum += (i128::from(free) * i128::from(MOST) / i128::from(capacity)) as i64;
        weights += 1;
    }
    if weights == 0 { 0 } else { sum / weights }
}

/// `balancedResourceScorer` of CPU and memory: the closer the shares used, the better.
pub(super) fn balanced(state: &State<'_>, pod: PodId, node: NodeId) -> i64 {
    let request = &state.problem.pods()[pod.index()].request;
    let capacity = &state.problem.nodes()[node.index()].capacity;
    let used = state.used(node);
    if state.rated.iter().all(|rated| request[rated.resource] == 0) {
        return 0;
    }
    let with_room = state.rated.iter().map(|rated| rated.resource).filter(|at| capacity[*at] != 0);
    let shares: Vec<f64> = with_room
        .map(|at| ((used[at] + request[at]) as f64 / capacity[at] as f64).min(1.0))
        .collect();
    let deviation = match shares[..] {
        [cpu, memory] => ((cpu - memory) / 2.0).abs(),
        _ => 0.0,
    };
    ((1.0 - deviation) * MOST as f64) as i64
}
