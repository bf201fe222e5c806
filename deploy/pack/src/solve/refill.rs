//! Bringing back what a stage thought away: whatever still fits, the most urgent first.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::room::Room;
use crate::problem::{GangId, NodeId, Pod, PodId, Rule, Tier};

/// Places as many of the other pods as fit without touching those that are placed: each where it
/// runs if that is possible, and by best fit if not; gangs whole or not at all. `wanted` says
/// which.
pub(super) fn refill(room: &mut Room<'_>, wanted: impl Fn(PodId) -> bool) {
    let problem = room.problem();
    for tier in problem.tiers() {
        stay(room, tier, &wanted);
        let mut missing: Vec<PodId> = problem
            .numbered_pods()
            .filter(|(id, pod)| pod.tier == tier && wanted(*id))
            .filter(|(id, _)| room.placement().node(*id).is_none())
            .map(|(id, _)| id)
            .collect();
        missing.sort_by_cached_key(|pod| Reverse(room.size(*pod)));
        let mut tried = HashSet::new();
        // Where a pod did not fit an equal one will not.
        let mut hopeless = HashSet::new();
        for pod in missing {
            let Pod { gang, set, .. } = problem.pods()[pod.index()];
            if let Some(gang) = gang {
                if tried.insert(gang) {
                    seat_gang(room, gang);
                }
            } else if !hopeless.contains(&set) {
                match room.best_fit(pod, room.nodes()) {
                    Some(node) => room.put(pod, node),
                    None if problem.pods()[pod.index()].runs_on.is_none() => {
                        hopeless.insert(set);
                    }
                    None => {}
                }
            }
        }
    }
}

/// Puts the running pods of a tier that are nowhere back where they run, as far as they fit.
fn stay(room: &mut Room<'_>, tier: Tier, wanted: impl Fn(PodId) -> bool) {
    let problem = room.problem();
    let of_tier = problem.numbered_pods().filter(|(id, pod)| pod.tier == tier && wanted(*id));
    for (id, pod) in of_tier {
        let Some(node) = pod.runs_on else { continue };
        if room.placement().node(id).is_some() {
            continue;
        }
        match pod.gang {
            None if room.fits(id, node) => room.put(id, node),
            Some(gang) if is_out(room, gang) => {
                seat_gang(room, gang);
            }
            _ => {}
        }
    }
}

fn is_out(room: &Room<'_>, gang: GangId) -> bool {
    let pods = &room.problem().gangs()[gang.index()].pods;
    pods.iter().all(|pod| room.placement().node(*pod).is_none())
}

/// Places what is missing of a gang, as many pods as can be and not fewer than must be; if that
/// does not work nothing changes. Says whether the gang is placed then.
pub(super) fn seat_gang(room: &mut Room<'_>, gang: GangId) -> bool {
    let problem = room.problem();
    let pods = &problem.gangs()[gang.index()].pods;
    let before = pods.iter().filter(|pod| room.placement().node(**pod).is_some()).count();
    let mut put = Vec::new();
    for pod in pods {
        if let Some(node) = problem.pods()[pod.index()].runs_on
            && room.placement().node(*pod).is_none()
            && room.fits(*pod, node)
        {
            room.put(*pod, node);
            put.push(*pod);
        }
    }
    let mut missing: Vec<PodId> =
        pods.iter().copied().filter(|pod| room.placement().node(*pod).is_none()).collect();
    missing.sort_by_cached_key(|pod| (problem.pods()[pod.index()].part, Reverse(room.size(*pod))));
    for chunk in
        missing.chunk_by(|a, b| problem.pods()[a.index()].part == problem.pods()[b.index()].part)
    {
        seat_part(room, chunk, &mut put);
    }
    if before + put.len() >= Room::least(problem, gang) {
        return true;
    }
    for pod in put {
        room.take(pod);
    }
    before > 0
}

/// Places pods of one part; those that must be together in the domain that takes most of them.
fn seat_part(room: &mut Room<'_>, pods: &[PodId], put: &mut Vec<PodId>) {
    let problem = room.problem();
    let part = problem.pods()[pods[0].index()].part.map(|part| &problem.parts()[part.index()]);
    let Some(Rule::Together(level)) = part.map(|part| part.rule) else {
        let all: Vec<NodeId> = room.nodes().collect();
        return fill(room, pods, put, &all);
    };
    let mut best: Option<(usize, Vec<NodeId>)> = None;
    for domain in 0..problem.levels()[level].domains.len() {
        let nodes = room.below(level, domain).to_vec();
        let mut tried = Vec::new();
        fill(room, pods, &mut tried, &nodes);
        let count = tried.len();
        for pod in tried {
            room.take(pod);
        }
        if best.as_ref().is_none_or(|(most, _)| count > *most) {
            best = Some((count, nodes));
        }
        if count == pods.len() {
            break;
        }
    }
    if let Some((_, nodes)) = best {
        fill(room, pods, put, &nodes);
    }
}

fn fill(room: &mut Room<'_>, pods: &[PodId], put: &mut Vec<PodId>, nodes: &[NodeId]) {
    for pod in pods {
        if let Some(node) = room.best_fit(*pod, nodes.iter().copied()) {
            room.put(*pod, node);
            put.push(*pod);
        }
    }
}
