//! Room for a pod at the cost of less urgent ones.

use std::cmp::Reverse;

use super::state::State;
use crate::problem::{Mobility, NodeId, PodId};
use crate::random::Random;

/// Defaults of `DefaultPreemptionArgs`.
const LEAST_CANDIDATES: usize = 100;
const LEAST_CANDIDATES_PERCENTAGE: usize = 10;

/// A node, and who has to leave it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    /// At least one, the most important first.
    pub(super) victims: Vec<PodId>,
}

/// `Evaluator.findCandidates` and `SelectCandidate`: on a large cluster not all nodes are tried,
/// but from a drawn one on until there are enough.
pub(super) fn find(state: &State<'_>, pod: PodId, random: &mut Random) -> Option<Candidate> {
    if !state.problem.preempts(pod) {
        return None;
    }
    let nodes: Vec<NodeId> = (0..state.problem.nodes().len() as u32)
        .map(NodeId)
        .filter(|node| state.problem.allows(pod, *node))
        .collect();
    if nodes.is_empty() {
        return None;
    }
    let enough = (nodes.len() * LEAST_CANDIDATES_PERCENTAGE / 100).max(LEAST_CANDIDATES);
    let offset = random.below(nodes.len() as u64) as usize;
    let (before, after) = nodes.split_at(offset);
    let candidates =
        after.iter().chain(before).filter_map(|node| select_victims(state, pod, *node));
    candidates.take(enough).min_by_key(|candidate| cost(state, candidate))
}

/// `SelectVictimsOnNode`: without all less urgent pods the pod must fit; then they are spared one
/// by one, the most important first.
fn select_victims(state: &State<'_>, pod: PodId, node: NodeId) -> Option<Candidate> {
    let pods = state.problem.pods();
    let tier = pods[pod.index()].tier;
    let mut potential: Vec<PodId> = state.on_node(node).to_vec();
    potential.retain(|other| {
        pods[other.index()].tier > tier && pods[other.index()].mobility != Mobility::Fixed
    });
    let mut used = state.used(node).to_vec();
    let count = |used: &mut [i64], victim: PodId, sign: i64| {
        let request = &pods[victim.index()].request;
        used.iter_mut().zip(request).for_each(|(used, asked)| *used += sign * asked);
    };
    for victim in &potential {
        count(&mut used, *victim, -1);
    }
    if potential.is_empty() || !state.fits(pod, node, &used) {
        return None;
    }
    // MoreImportantPod of pkg/scheduler/util.
    potential.sort_by_key(|other| (pods[other.index()].tier, state.started(*other)));
    potential.retain(|victim| {
        count(&mut used, *victim, 1);
        let spared = state.fits(pod, node, &used);
        if !spared {
            count(&mut used, *victim, -1);
        }
        !spared
    });
    Some(Candidate { node, victims: potential })
}

/// `pickOneNodeForPreemption`, the less the better: the highest priority of a victim, their sum,
/// their number, and then the node whose most urgent victims started last; the first among equals.
fn cost(state: &State<'_>, candidate: &Candidate) -> (Reverse<u32>, i128, usize, Reverse<u64>) {
    let tier = |victim: &PodId| state.problem.pods()[victim.index()].tier;
    let priority = |victim: &PodId| i128::from(state.problem.priorities()[tier(victim).index()]);
    // Added so that more victims of negative priority do not count as less (upstream's MaxInt32 +
    // 1).
    let sum = candidate.victims.iter().map(|victim| priority(victim) + (1 << 31)).sum();
    let highest = candidate.victims.first().map_or(u32::MAX, |victim| tier(victim).0);
    let urgent = candidate.victims.iter().filter(|victim| tier(victim).0 == highest);
    let earliest = urgent.map(|victim| state.started(*victim)).min().unwrap_or(0);
    (Reverse(highest), sum, candidate.victims.len(), Reverse(earliest))
}
