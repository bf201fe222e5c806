//! What is asked before anything is done that cannot be undone: whether evictions would be granted,
//! and who is on the nodes.

use std::time::Duration;

use super::{Action, Call, Execution, Outcome, Phase};
use crate::scheduler::core::world::World;

/// So many questions are under way at once.
const AT_ONCE: usize = 16;

impl Execution {
    /// Until every eviction would be granted. Budgets are waited for here, where no node is
    /// reserved yet.
    pub(super) fn rehearse(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if let Err(why) = self.holds(world, false) {
            return self.abandon(why, now);
        }
        if self.victims.iter().all(|victim| victim.rehearsed) {
            self.refused.clear();
            return self.enter(Phase::Reserve, now);
        }
        if self.is_refused_for_long(now) || now < self.again_at {
            return;
        }
        for index in 0..self.victims.len() {
            let call = Call::Rehearse(index);
            let open = !self.victims[index].rehearsed && self.calls.len() < AT_ONCE;
            if open && self.calls.insert(call) {
                actions.push(Action::Rehearse { call, pod: self.plan.victims[index].pod.clone() });
            }
        }
    }

    pub(super) fn rehearsed(&mut self, index: usize, outcome: Outcome, now: Duration) {
        match outcome {
            Outcome::Done | Outcome::Gone => {
                self.victims[index].rehearsed = true;
                self.refused.remove(&index);
            }
            Outcome::Refused(why) | Outcome::Unclear(why) => self.refuse(index, why, now),
            Outcome::Denied(why) => self.give_up(index, &why, now),
        }
    }

    /// Before the first eviction: that nobody is on the nodes who is not seen yet.
    pub(super) fn inspect(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if let Err(why) = self.holds(world, true) {
            return self.abandon(why, now);
        }
        if self.are_inspected_in_time(world, now, actions) {
            self.enter(Phase::Evict, now);
        }
    }

    /// Before the first binding. Where nobody was evicted no time has passed since the inspection
    /// before.
    pub(super) fn reinspect(
        &mut self,
        world: &dyn World,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if let Err(why) = self.is_reserved(world) {
            return self.abandon(why, now);
        }
        if self.plan.victims.is_empty() || self.are_inspected_in_time(world, now, actions) {
            self.make_bindings(world);
            self.enter(Phase::Bind, now);
        }
    }

    /// Whether all nodes were found as they are seen; else the plan is given up after some time.
    fn are_inspected_in_time(
        &mut self,
        world: &dyn World,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        let inspected = self.are_inspected(world, now, actions);
        if !inspected && now >= self.since + self.limits.inspect {
            let slow = || "its nodes could not be looked at in time".to_owned();
            let why = self.stranger.take().unwrap_or_else(slow);
            self.abandon(why, now);
        }
        inspected
    }

    /// Whether all nodes were found as they are seen; asks for those that were not yet.
    pub(super) fn are_inspected(
        &mut self,
        world: &dyn World,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self.inspected.len() == self.places.len() {
            return true;
        }
        if now < self.again_at {
            return false;
        }
        for index in 0..self.places.len() {
            let call = Call::Inspect(index);
            let open = !self.inspected.contains(&index) && self.calls.len() < AT_ONCE;
            if open && self.calls.insert(call) {
                let place = self.plan.places[index].clone();
                let mut known = world.pods_on(&place.name);
                let bound = self.bindings.iter().filter(|one| one.granted);
                known.extend(bound.map(|binding| binding.pod.uid.clone()));
                actions.push(Action::Inspect { call, place, known });
            }
        }
        false
    }

    pub(super) fn inspected(&mut self, index: usize, outcome: Outcome, now: Duration) {
        let name = &self.plan.places[index].name;
        match outcome {
            Outcome::Done => {
                self.inspected.insert(index);
            }
            Outcome::Refused(why) | Outcome::Unclear(why) => {
                self.stranger = Some(format!("node {name}: {why}"));
                self.again_at = now + self.limits.retry;
            }
            Outcome::Gone => {
                let why = format!("node {name} is gone");
                self.inspected.insert(index);
                self.abandon(why, now);
            }
            Outcome::Denied(why) => {
                self.abandon(format!("node {name} could not be looked at: {why}"), now);
            }
        }
    }
}
