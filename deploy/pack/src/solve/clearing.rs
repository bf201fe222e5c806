//! Making room for gangs that wait: the single pods of a domain go elsewhere.

use super::back_end::Stage;
use super::model::pinned;
use super::refill::seat_gang;
use super::room::Room;
use crate::placement::Placement;
use crate::problem::{GangId, Mobility, NodeId, PodId, Problem, Rule};

/// Domains, or runs of nodes, that are tried for one gang.
const MOST_TRIED: usize = 12;

/// A placement with more pods of the stage's tier, by seating its gangs one after the other where
/// that costs fewer pods than it brings.
pub(super) fn seat_gangs(
    stage: &Stage<'_>,
    now: &Placement,
    stop: &dyn Fn() -> bool,
) -> Option<Placement> {
    let problem = stage.problem;
    let mut room = Room::of(problem, now, |pod| stage.is_active(pod));
    let mut better = false;
    for (number, gang) in (0..).map(GangId).zip(problem.gangs()) {
        let out = gang.pods.iter().all(|pod| room.placement().node(*pod).is_none());
        let wanted = gang.pods.first().is_some_and(|pod| {
            problem.pods()[pod.index()].tier == stage.tier && stage.is_active(*pod)
        });
        if !out || !wanted || stop() {
            continue;
        }
        let singles = Singles::of(stage, &room);
        for nodes in places(problem, &room, number).into_iter().take(MOST_TRIED) {
            if stop() {
                break;
            }
            if let Some(with) = singles.seat(&room, number, &nodes) {
                room = with;
                better = true;
                break;
            }
        }
    }
    better.then(|| room.into_placement())
}

/// The pods that may give way, by node.
struct Singles {
    on: Vec<Vec<PodId>>,
}

impl Singles {
    fn of(stage: &Stage<'_>, room: &Room<'_>) -> Self {
        let mut on = vec![Vec::new(); stage.problem.nodes().len()];
        for (id, pod) in stage.problem.numbered_pods() {
            let moves = pod.runs_on.is_none() || pod.mobility == Mobility::Movable;
            let single = pod.gang.is_none() && pod.tier == stage.tier && moves;
            if let Some(node) = room.placement().node(id)
                && single
                && !pinned(stage, pod)
            {
                on[node.index()].push(id);
            }
        }
        Self { on }
    }

    /// With a gang seated after these nodes were cleared, if more pods are placed then.
    fn seat<'a>(&self, room: &Room<'a>, gang: GangId, nodes: &[NodeId]) -> Option<Room<'a>> {
        let mut room = room.clone();
        let mut cleared = Vec::new();
        for node in nodes {
            for pod in &self.on[node.index()] {
                room.take(*pod);
                cleared.push((*pod, *node));
            }
        }
        if !seat_gang(&mut room, gang) {
            return None;
        }
        let pods = &room.problem().gangs()[gang.index()].pods;
        let won = pods.iter().filter(|pod| room.placement().node(**pod).is_some()).count();
        cleared.sort_by_cached_key(|(pod, _)| std::cmp::Reverse(room.size(*pod)));
        cleared.retain(|(pod, node)| {
            let back = room.fits(*pod, *node);
            if back {
                room.put(*pod, *node);
            }
            !back
        });
        let mut lost = 0;
        for (pod, _) in cleared {
            match room.best_fit(pod, room.nodes()) {
                Some(node) => room.put(pod, node),
                None => lost += 1,
            }
            if lost >= won {
                return None;
            }
        }
        Some(room)
    }
}

/// Groups of nodes to be cleared for a gang, those with most room first: a domain for each part
/// that must be together, and the emptiest nodes for the rest.
fn places(problem: &Problem, room: &Room<'_>, gang: GangId) -> Vec<Vec<NodeId>> {
    let left = |node: &NodeId| -> f64 {
        let capacity = &problem.nodes()[node.index()].capacity;
        let of = room.free(*node).iter().zip(capacity);
        of.map(|(free, all)| *free as f64 / (*all).max(1) as f64).sum()
    };
    let gang = &problem.gangs()[gang.index()];
    let level = gang.pods.iter().find_map(|pod| {
        let part = problem.pods()[pod.index()].part?;
        match problem.parts()[part.index()].rule {
            Rule::Together(level) => Some(level),
            Rule::AtMost { .. } => None,
        }
    });
    let mut groups: Vec<Vec<NodeId>> = if let Some(level) = level {
        let domains = 0..problem.levels()[level].domains.len();
        domains.map(|domain| room.below(level, domain).to_vec()).collect()
    } else {
        let mut nodes: Vec<NodeId> = room.nodes().collect();
        nodes.sort_by(|a, b| left(b).total_cmp(&left(a)));
        nodes.chunks(gang.pods.len()).map(<[NodeId]>::to_vec).collect()
    };
    groups.sort_by_cached_key(|nodes| {
        std::cmp::Reverse((nodes.iter().map(left).sum::<f64>() * 1e6) as i64)
    });
    // One group for a gang of one part; two neighbours in this order for one of several.
    let pairs = groups.windows(2).map(<[Vec<NodeId>]>::concat).collect::<Vec<_>>();
    if pairs.is_empty() { groups } else { pairs }
}
