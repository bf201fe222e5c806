//! Something allowed to begin with, where what is as it is breaks a rule.

use super::refill::{refill, seat_gang};
use super::room::Room;
use crate::placement::Placement;
use crate::problem::{GangId, Mobility, PodId, Problem};

/// Seats that are tried one after another.
const MOST_STEPS: u32 = 200_000;

/// What is as it is, without the gangs that break a rule, and filled up: first beside single pods,
/// then in their place, and last by trying every seat of the gangs that cannot be left out.
pub(super) fn repaired(problem: &Problem) -> Vec<Placement> {
    let fixed = |pod: PodId| problem.pods()[pod.index()].mobility == Mobility::Fixed;
    let single = |pod: PodId| problem.pods()[pod.index()].gang.is_none();
    let as_it_is = Placement::as_it_is(problem);
    let mut found = Vec::new();
    for kept in [&(|pod| fixed(pod) || single(pod)) as &dyn Fn(PodId) -> bool, &fixed] {
        let mut room = Room::of(problem, &as_it_is, kept);
        for gang in begun(&room) {
            seat_gang(&mut room, gang);
        }
        found.push(filled(room));
    }
    let mut room = Room::of(problem, &as_it_is, fixed);
    let gangs = begun(&room);
    let of_gangs = gangs.iter().flat_map(|gang| &problem.gangs()[gang.index()].pods);
    let pods: Vec<PodId> =
        of_gangs.copied().filter(|pod| room.placement().node(*pod).is_none()).collect();
    let mut steps = MOST_STEPS;
    if seat_all(&mut room, &gangs, &pods, &mut steps) {
        found.push(filled(room));
    }
    found
}

fn filled(mut room: Room<'_>) -> Placement {
    refill(&mut room, |_| true);
    room.into_placement()
}

/// Gangs with a pod that is placed.
fn begun(room: &Room<'_>) -> Vec<GangId> {
    let gangs = (0..).map(GangId).zip(room.problem().gangs());
    let begun =
        gangs.filter(|(_, gang)| gang.pods.iter().any(|pod| room.placement().node(*pod).is_some()));
    begun.map(|(id, _)| id).collect()
}

/// Tries each node, and none, for each pod until all gangs have enough; false if they never do.
fn seat_all(room: &mut Room<'_>, gangs: &[GangId], pods: &[PodId], steps: &mut u32) -> bool {
    let problem = room.problem();
    let whole = |gang: &GangId| {
        let pods = problem.gangs()[gang.index()].pods.iter();
        let placed = pods.filter(|pod| room.placement().node(**pod).is_some()).count();
        placed >= Room::least(problem, *gang)
    };
    if gangs.iter().all(whole) {
        return true;
    }
    let Some((pod, others)) = pods.split_first() else { return false };
    for node in room.nodes() {
        let Some(left) = steps.checked_sub(1) else { return false };
        *steps = left;
        if room.fits(*pod, node) {
            room.put(*pod, node);
            if seat_all(room, gangs, others, steps) {
                return true;
            }
            room.take(*pod);
        }
    }
    seat_all(room, gangs, others, steps)
}
