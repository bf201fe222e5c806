//! Up to the last eviction.

use std::time::Duration;

use super::{Action, Call, Execution, Outcome, Phase, Reason};
use crate::scheduler::core::world::{Question, World};

impl Execution {
    pub(super) fn reserve(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if let Err(why) = self.holds(world, false) {
            return self.abandon(why, now);
        }
        if now >= self.since + self.limits.reserve {
            return self.abandon("its nodes could not be reserved in time".to_owned(), now);
        }
        if !self.told {
            self.told = true;
            self.tell_targets();
        }
        if self.places.iter().all(|place| place.reserved) && self.is_reserved(world).is_ok() {
            return self.enter(Phase::Settle, now);
        }
        if now < self.again_at {
            return;
        }
        for index in 0..self.places.len() {
            let call = Call::Reserve(index);
            if !self.places[index].reserved && self.calls.insert(call) {
                self.places[index].asked = true;
                actions.push(Action::Reserve { call, place: self.plan.places[index].clone() });
            }
        }
    }

    pub(super) fn reserved(&mut self, index: usize, outcome: Outcome, now: Duration) {
        let name = &self.plan.places[index].name;
        let why = match outcome {
            Outcome::Done => {
                self.places[index].reserved = true;
                return;
            }
            Outcome::Unclear(_) | Outcome::Refused(_) => {
                self.again_at = now + self.limits.retry;
                return;
            }
            Outcome::Gone => format!("node {name} is gone"),
            Outcome::Denied(why) => format!("node {name} could not be reserved: {why}"),
        };
        self.abandon(why, now);
    }

    pub(super) fn settle(&mut self, world: &dyn World, now: Duration) {
        if let Err(why) = self.holds(world, true) {
            return self.abandon(why, now);
        }
        if now >= self.since + self.limits.settle {
            self.enter(Phase::Inspect, now);
        }
    }

    pub(super) fn evict(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if self.calls.iter().any(|call| matches!(call, Call::Evict(_))) {
            return;
        }
        if let Err(why) = self.holds(world, true) {
            return self.abandon(why, now);
        }
        let away = |uid: &str| world.pod(uid).is_none_or(|pod| pod.leaving);
        for (victim, done) in self.plan.victims.iter().zip(&mut self.victims) {
            done.evicted |= away(&victim.pod.uid);
        }
        self.refused.retain(|index, _| !self.victims[*index].evicted);
        let Some(index) = self.victims.iter().position(|victim| !victim.evicted) else {
            return self.enter(Phase::Await, now);
        };
        if self.is_refused_for_long(now) {
            return;
        }
        if now >= self.again_at {
            let call = Call::Evict(index);
            self.calls.insert(call);
            actions.push(Action::Evict { call, pod: self.plan.victims[index].pod.clone() });
        }
    }

    pub(super) fn evicted(&mut self, index: usize, outcome: Outcome, now: Duration) {
        let victim = &self.plan.victims[index];
        match outcome {
            Outcome::Done => {
                let what = match &victim.to {
                    Some(node) => format!("to be moved from {} to {node}", victim.node),
                    None => format!("to make room on {}", victim.node),
                };
                let note = format!("evicted by plan {} {what}", self.plan.id);
                self.tell(victim.pod.clone(), Reason::Evicted, note);
                self.victims[index].evicted = true;
                self.victims[index].ours = true;
                self.refused.remove(&index);
                self.checked = None;
            }
            Outcome::Gone => {
                self.victims[index].evicted = true;
                self.refused.remove(&index);
            }
            Outcome::Refused(why) => self.refuse(index, why, now),
            Outcome::Unclear(why) => {
                // It may be on its way: if so, a successor is to be put somewhere.
                self.victims[index].ours = true;
                self.refuse(index, why, now);
            }
            Outcome::Denied(why) => self.give_up(index, &why, now),
        }
    }

    /// An eviction was not granted, which may change.
    pub(super) fn refuse(&mut self, index: usize, why: String, now: Duration) {
        let since = self.refused.get(&index).map_or(now, |(since, _)| *since);
        self.refused.insert(index, (since, why));
        self.again_at = now + self.limits.retry;
    }

    /// Gives the plan up if an eviction was refused for too long.
    pub(super) fn is_refused_for_long(&mut self, now: Duration) -> bool {
        let long = |(since, _): &(Duration, String)| now >= *since + self.limits.refused;
        let found = self.refused.iter().find(|(_, refused)| long(refused));
        let Some((index, why)) = found.map(|(index, (_, why))| (*index, why.clone())) else {
            return false;
        };
        self.give_up(index, &why, now);
        true
    }

    /// A victim cannot be evicted.
    pub(super) fn give_up(&mut self, index: usize, why: &str, now: Duration) {
        let pod = &self.plan.victims[index].pod;
        self.unevictable.insert(pod.uid.clone());
        self.abandon(format!("{pod} could not be evicted: {why}"), now);
    }

    fn tell_targets(&mut self) {
        let evicted = self.plan.victims.len();
        for target in self.plan.targets.clone() {
            let note =
                format!("plan {} puts it on {}, {evicted} evicted", self.plan.id, target.node);
            self.tell(target.pod, Reason::Planned, note);
        }
    }

    /// Whether the plan is still right, by the newest state that is seen.
    pub(super) fn holds(&mut self, world: &dyn World, reserved: bool) -> Result<(), String> {
        if reserved {
            self.is_reserved(world)?;
        }
        if self.checked == Some(world.version()) {
            return Ok(());
        }
        for place in &self.plan.places {
            if world.node(&place.name).is_none_or(|node| node.uid != place.uid) {
                return Err(format!("node {} is gone or takes no pods", place.name));
            }
        }
        let begun = self.victims.iter().any(|victim| victim.ours);
        let mut question = Question::default();
        for target in &self.plan.targets {
            match world.pod(&target.pod.uid) {
                Some(pod) if pod.node.is_none() && !pod.leaving => {
                    question.put.push((target.pod.uid.clone(), target.node.clone()));
                }
                _ if begun => {}
                Some(pod) if pod.node.is_some() => {
                    return Err(format!("{} has a node by now", target.pod));
                }
                _ => return Err(format!("{} is gone", target.pod)),
            }
        }
        if question.put.is_empty() {
            return Err("all pods that it was for are gone or have a node".to_owned());
        }
        let urgent = world.most_urgent_waiting(&self.plan.waited);
        if let Some(priority) = urgent.filter(|_| !begun)
            && priority > self.plan.urgency()
        {
            return Err(format!("a pod of priority {priority} waits, which is more urgent"));
        }
        for victim in &self.plan.victims {
            question.without.push(victim.pod.uid.clone());
            question.ghosts.push((victim.pod.uid.clone(), victim.to.clone()));
        }
        world.check(&question)?;
        self.checked = Some(world.version());
        Ok(())
    }

    /// Whether all its nodes are there and still reserved for it.
    pub(super) fn is_reserved(&self, world: &dyn World) -> Result<(), String> {
        for place in &self.plan.places {
            let Some(node) = world.node(&place.name).filter(|node| node.uid == place.uid) else {
                return Err(format!("node {} is gone or takes no pods", place.name));
            };
            if node.reserved_for.as_ref() != Some(&self.plan.id) {
                return Err(format!("node {} is no longer reserved", place.name));
            }
        }
        Ok(())
    }
}
