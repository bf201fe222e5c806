//! Bringing back what a stage thought away: whatever still fits, the most urgent first.

use super::room::Room;
use crate::problem::{GangId, NodeId, PodId, Problem, Rule, Tier};

/// Places as many of the other pods as fit without touching those that are placed: each where it runs
/// if that is possible, and by best fit if not; gangs whole or not at all. `wanted` says which.
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
        missing.sort_by_cached_key(|pod| std::cmp::Reverse(size(problem, *pod)));
        for pod in missing {
            let Some(gang) = problem.pods()[pod.index()].gang else {
                if let Some(node) = room.best_fit(pod, |_| true) {
                    room.put(pod, node);
                }
                continue;
            };
            seat_gang(room, gang);
        }
    }
}

/// What a pod asks for, as thousandths of all there is, all resources added up.
pub(super) fn size(problem: &Problem, pod: PodId) -> i64 {
    let request = &problem.pods()[pod.index()].request;
    let most = |resource: usize| {
        problem.nodes().iter().map(|node| node.capacity[resource]).max().unwrap_or(1).max(1)
    };
    let parts = request.iter().enumerate();
    parts.map(|(resource, asked)| (*asked as f64 / most(resource) as f64 * 1e6) as i64).sum()
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

/// Places what is missing of a gang, as many pods as can be and not fewer than must be; if that does
/// not work nothing changes. Says whether the gang is placed then.
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
    missing.sort_by_cached_key(|pod| {
        (problem.pods()[pod.index()].part, std::cmp::Reverse(size(problem, *pod)))
    });
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
        return fill(room, pods, put, |_| true);
    };
    let domain = |node: NodeId| problem.nodes()[node.index()].domains[level];
    let mut best: Option<(usize, u32)> = None;
    for wanted in 0..problem.levels()[level].domains.len() as u32 {
        let mut tried = Vec::new();
        fill(room, pods, &mut tried, |node| domain(node) == Some(wanted));
        if best.is_none_or(|(most, _)| tried.len() > most) {
            best = Some((tried.len(), wanted));
        }
        let all = tried.len() == pods.len();
        for pod in tried {
            room.take(pod);
        }
        if all {
            break;
        }
    }
    if let Some((_, wanted)) = best {
        fill(room, pods, put, |node| domain(node) == Some(wanted));
    }
}

fn fill(
    room: &mut Room<'_>,
    pods: &[PodId],
    put: &mut Vec<PodId>,
    within: impl Fn(NodeId) -> bool,
) {
    for pod in pods {
        if let Some(node) = room.best_fit(*pod, &within) {
            room.put(*pod, node);
            put.push(*pod);
        }
    }
}
