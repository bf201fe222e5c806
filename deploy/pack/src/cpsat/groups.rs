//! Pods that are counted together, and where they may be.

use crate::placement::Placement;
use crate::problem::{GangId, Mobility, NodeId, PartId, PodId, Problem, Tier};
use crate::solve::back_end::Stage;

/// Pods of one set that may be on the same nodes.
pub(super) struct Group {
    pub(super) tier: Tier,
    pub(super) gang: Option<GangId>,
    pub(super) part: Option<PartId>,
    pub(super) pods: Vec<PodId>,
    /// Whether all must stay where they run.
    pub(super) fixed: bool,
    /// Where they may be, by node.
    pub(super) places: Vec<Place>,
}

/// A node on which pods of a group may be.
pub(super) struct Place {
    pub(super) node: NodeId,
    /// At most so many of the group.
    pub(super) most: i64,
    /// So many of the group run there.
    pub(super) running: i64,
}

/// All active pods.
pub(super) fn groups(stage: &Stage<'_>) -> Vec<Group> {
    let problem = stage.problem;
    let mut groups = Vec::new();
    for set in problem.sets() {
        let mut free: Vec<PodId> = Vec::new();
        let mut bound: Vec<(NodeId, bool, PodId)> = Vec::new();
        for id in set.pods.iter().copied().filter(|pod| stage.is_active(*pod)) {
            let pod = &problem.pods()[id.index()];
            match (pod.runs_on, pod.mobility) {
                (None, _) | (_, Mobility::Movable) => free.push(id),
                (Some(node), mobility) => bound.push((node, mobility == Mobility::Fixed, id)),
            }
        }
        if !free.is_empty() {
            let places = places(problem, &free);
            groups.push(group(problem, free, false, places));
        }
        bound.sort_unstable();
        for same in bound.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (node, fixed, _) = same[0];
            let pods: Vec<PodId> = same.iter().map(|(_, _, pod)| *pod).collect();
            let running = pods.len() as i64;
            let place = Place { node, most: running, running };
            groups.push(group(problem, pods, fixed, vec![place]));
        }
    }
    groups
}

fn group(problem: &Problem, pods: Vec<PodId>, fixed: bool, places: Vec<Place>) -> Group {
    let pod = &problem.pods()[pods[0].index()];
    let (tier, gang, part) = (pod.tier, pod.gang, pod.part);
    Group { tier, gang, part, pods, fixed, places }
}

/// Nodes that take pods of a set that may move.
fn places(problem: &Problem, pods: &[PodId]) -> Vec<Place> {
    let pod = &problem.pods()[pods[0].index()];
    let suits = &problem.classes()[pod.class.index()].suits;
    let mut running = vec![0; problem.nodes().len()];
    for node in pods.iter().filter_map(|pod| problem.pods()[pod.index()].runs_on) {
        running[node.index()] += 1;
    }
    let nodes = problem.nodes().iter().zip(0..).zip(suits.iter().zip(running));
    let places = nodes.map(|((node, number), (suits, running))| {
        let fit = node.capacity.iter().zip(&pod.request);
        let fit = fit.map(|(has, asked)| if *asked == 0 { i64::MAX } else { has / asked });
        let allowed = if *suits { pods.len() as i64 } else { running };
        let most = fit.min().unwrap_or(i64::MAX).min(allowed);
        Place { node: NodeId(number), most, running }
    });
    places.filter(|place| place.most > 0).collect()
}

impl Group {
    /// How many of its pods a placement has on each of its places.
    pub(super) fn counts(&self, placement: &Placement) -> Vec<i64> {
        let mut counts = vec![0; self.places.len()];
        for node in self.pods.iter().filter_map(|pod| placement.node(*pod)) {
            if let Ok(at) = self.places.binary_search_by_key(&node, |place| place.node) {
                counts[at] += 1;
            }
        }
        counts
    }

    /// Puts so many of its pods on each of its places: first those that run there.
    pub(super) fn seat(&self, problem: &Problem, counts: &[i64], placement: &mut Placement) {
        let mut left = counts.to_vec();
        let mut others = Vec::new();
        for id in &self.pods {
            let runs_on = problem.pods()[id.index()].runs_on;
            let at = runs_on
                .and_then(|node| self.places.binary_search_by_key(&node, |place| place.node).ok());
            match at {
                Some(at) if left[at] > 0 => {
                    left[at] -= 1;
                    placement.put(*id, Some(self.places[at].node));
                }
                _ => others.push(*id),
            }
        }
        let mut others = others.into_iter();
        for (place, left) in self.places.iter().zip(left) {
            for id in others.by_ref().take(left.max(0) as usize) {
                placement.put(id, Some(place.node));
            }
        }
    }
}
