//! Awaiting, binding, putting back, cleaning up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Action, Binding, Call, Execution, Outcome, Phase, Reason};
use crate::scheduler::core::world::{PodName, Question, World};

impl Execution {
    /// Until all victims are gone and the successors of moved ones are there.
    pub(super) fn wait(&mut self, world: &dyn World, now: Duration) {
        if let Err(why) = self.is_reserved(world) {
            return self.abandon(why, now);
        }
        let waits =
            |pod: &PodName| world.pod(&pod.uid).is_some_and(|it| it.node.is_none() && !it.leaving);
        if !self.plan.targets.iter().any(|target| waits(&target.pod)) {
            let why = "all pods that it was for are gone or have a node".to_owned();
            return self.abandon(why, now);
        }
        self.find_successors(world);
        let victims = &self.plan.victims;
        if let Some(victim) = victims.iter().find(|victim| world.pod(&victim.pod.uid).is_some()) {
            let longest = victims.iter().map(|victim| victim.grace).max().unwrap_or_default();
            if now >= self.since + longest + self.limits.leave {
                let why = format!("{} was evicted and did not end in time", victim.pod);
                self.abandon(why, now);
            }
            return;
        }
        let gone_since = *self.gone_since.get_or_insert(now);
        let mut moved = victims.iter().zip(&self.victims).filter(|(victim, _)| victim.to.is_some());
        let complete = moved.all(|(_, done)| done.successor.is_some());
        // Room for a successor that does not come keeps nobody from its own.
        if complete || now >= gone_since + self.limits.successor {
            self.enter(Phase::Reinspect, now);
        }
    }

    /// A successor is a waiting pod of the same owner that is ours to bind.
    fn find_successors(&mut self, world: &dyn World) {
        let targets = self.plan.targets.iter().map(|target| &target.pod);
        let found = self.victims.iter().filter_map(|done| done.successor.as_ref());
        let mut taken: BTreeSet<PodName> = targets.chain(found).cloned().collect();
        for (victim, done) in self.plan.victims.iter().zip(&mut self.victims) {
            let (Some(_), Some(owner), None) = (&victim.to, &victim.owner, &done.successor) else {
                continue;
            };
            if world.pod(&victim.pod.uid).is_some() {
                continue;
            }
            let mut waiting = world.waiting_of(owner);
            // The same name is the same member of a stateful set; of others any will do.
            waiting.sort_by_key(|pod| (pod.name != victim.pod.name, pod.clone()));
            if let Some(pod) = waiting.into_iter().find(|pod| !taken.contains(pod)) {
                taken.insert(pod.clone());
                done.successor = Some(pod);
            }
        }
    }

    pub(super) fn make_bindings(&mut self, world: &dyn World) {
        let targets =
            self.plan.targets.iter().map(|target| (target.pod.clone(), target.node.clone()));
        let moved = self
            .plan
            .victims
            .iter()
            .zip(&self.victims)
            .filter_map(|(victim, done)| Some((done.successor.clone()?, victim.to.clone()?)));
        let waits = |pod: &PodName| {
            world.pod(&pod.uid).is_some_and(|pod| pod.node.is_none() && !pod.leaving)
        };
        self.bindings = targets
            .chain(moved)
            .filter(|(pod, _)| waits(pod))
            .map(|(pod, node)| Binding {
                pod,
                node,
                granted: false,
                dropped: false,
                unclear_since: None,
            })
            .collect();
    }

    pub(super) fn bind(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if let Some((since, why)) = &self.stopping
            && now >= *since + self.limits.farewell
        {
            let why = why.clone();
            return self.abandon(why, now);
        }
        if let Err(why) = self.next_binding(world, now, actions, true) {
            return self.abandon(why, now);
        }
        if self.bindings.iter().all(|binding| binding.granted || binding.dropped) {
            let any = self.bindings.iter().any(|binding| binding.granted);
            if !any {
                let why = "all pods that it was for are gone or have a node".to_owned();
                return self.abandon(why, now);
            }
            self.enter(Phase::Confirm, now);
        }
    }

    /// Asks for the next binding, if one is left and everything is as it should be.
    fn next_binding(
        &mut self,
        world: &dyn World,
        now: Duration,
        actions: &mut Vec<Action>,
        reserved: bool,
    ) -> Result<(), String> {
        if self.calls.iter().any(|call| matches!(call, Call::Bind(_))) {
            return Ok(());
        }
        if reserved {
            self.is_reserved(world)?;
        }
        self.look(world, now)?;
        let open = |binding: &Binding| !binding.granted && !binding.dropped;
        let Some(index) = self.bindings.iter().position(open) else {
            return Ok(());
        };
        if now < self.again_at {
            return Ok(());
        }
        if self.checked != Some(world.version()) {
            world.check(&self.all_bound(world))?;
            self.checked = Some(world.version());
        }
        let Binding { pod, node, .. } = self.bindings[index].clone();
        let call = Call::Bind(index);
        self.calls.insert(call);
        actions.push(Action::Bind { call, pod, node });
        Ok(())
    }

    /// What is left to be bound, and what was bound and is not seen yet.
    fn all_bound(&self, world: &dyn World) -> Question {
        let unseen = |pod: &PodName| {
            world.pod(&pod.uid).is_some_and(|pod| pod.node.is_none() && !pod.leaving)
        };
        let put = self.bindings.iter().filter(|binding| !binding.dropped && unseen(&binding.pod));
        let put = put.map(|binding| (binding.pod.uid.clone(), binding.node.clone())).collect();
        Question { put, ghosts: self.absent(world), ..Question::default() }
    }

    /// Victims that are gone and whose successors are not there, as pods that wait.
    fn absent(&self, world: &dyn World) -> Vec<(String, Option<String>)> {
        let victims = self.plan.victims.iter().zip(&self.victims);
        let absent = victims.filter(|(victim, done)| {
            done.successor.is_none() && world.pod(&victim.pod.uid).is_none()
        });
        absent.map(|(victim, _)| (victim.pod.uid.clone(), None)).collect()
    }

    /// Compares open bindings with the world: pods vanish, and answers get lost.
    fn look(&mut self, world: &dyn World, now: Duration) -> Result<(), String> {
        for binding in self.bindings.iter_mut().filter(|one| !one.granted && !one.dropped) {
            match world.pod(&binding.pod.uid) {
                Some(pod) if pod.node.as_ref() == Some(&binding.node) => binding.granted = true,
                Some(pod) if pod.node.is_none() && !pod.leaving => {
                    let since = binding.unclear_since.unwrap_or(now);
                    if now > since + self.limits.confirm {
                        return Err(format!("{} could not be bound", binding.pod));
                    }
                }
                _ => binding.dropped = true,
            }
        }
        Ok(())
    }

    pub(super) fn bound(&mut self, index: usize, outcome: Outcome, now: Duration) {
        let binding = &mut self.bindings[index];
        match outcome {
            Outcome::Done => {
                binding.granted = true;
                let pod = binding.pod.clone();
                let note = format!("bound to {} by plan {}", binding.node, self.plan.id);
                self.tell(pod, Reason::Bound, note);
            }
            Outcome::Gone => binding.dropped = true,
            Outcome::Unclear(_) | Outcome::Refused(_) => {
                binding.unclear_since.get_or_insert(now);
                self.again_at = now + self.limits.retry;
            }
            Outcome::Denied(why) => {
                binding.dropped = true;
                let why = format!("{} could not be bound: {why}", binding.pod);
                self.abandon(why, now);
            }
        }
    }

    /// Until every binding is seen: the next plan counts on it.
    pub(super) fn confirm(&mut self, world: &dyn World, now: Duration) {
        // There is no next plan of an instance that ends.
        if self.stopping.is_some()
            || self.all_bound(world).put.is_empty()
            || now >= self.since + self.limits.confirm
        {
            self.enter(Phase::Clean, now);
        }
    }

    /// Puts moved pods on the node of the plan, or back to where they were, as far as there is
    /// room.
    pub(super) fn restore(&mut self, world: &dyn World, now: Duration, actions: &mut Vec<Action>) {
        if self.calls.iter().any(|call| matches!(call, Call::Bind(_))) {
            return;
        }
        if now >= self.since + self.limits.restore {
            return self.enter(Phase::Clean, now);
        }
        self.find_successors(world);
        let inspected = self.are_inspected(world, now, actions);
        let moved = self.plan.victims.iter().zip(&self.victims);
        let moved = moved.filter(|(victim, done)| victim.to.is_some() && done.ours);
        let open: Vec<_> = moved
            .filter(|(victim, done)| match &done.successor {
                Some(pod) => self.is_open(world, pod),
                // An eviction whose answer was unclear, and that did not take place.
                None => world.pod(&victim.pod.uid).is_none_or(|pod| pod.leaving),
            })
            .collect();
        if open.is_empty() {
            return self.enter(Phase::Confirm, now);
        }
        let there = open.iter().filter_map(|(victim, done)| {
            let there = done.successor.clone()?;
            Some((there, victim.to.clone()?, victim.node.clone()))
        });
        let there: Vec<_> = there.collect();
        let complete = there.len() == open.len() || now >= self.since + self.limits.successor;
        if !complete || !inspected {
            return;
        }
        let Some(put) = self.where_to(world, &there) else {
            return self.enter(Phase::Clean, now);
        };
        let granted = self.bindings.iter().filter(|one| one.granted || one.dropped).cloned();
        let put = put.into_iter().map(|(pod, node)| Binding {
            pod,
            node,
            granted: false,
            dropped: false,
            unclear_since: None,
        });
        self.bindings = granted.chain(put).collect();
        if self.next_binding(world, now, actions, false).is_err() {
            self.enter(Phase::Clean, now);
        }
    }

    /// Whether a successor still waits, and nothing was found out against it.
    fn is_open(&self, world: &dyn World, pod: &PodName) -> bool {
        let closed = |one: &Binding| one.pod == *pod && (one.granted || one.dropped);
        let waits = world.pod(&pod.uid).is_some_and(|pod| pod.node.is_none() && !pod.leaving);
        waits && !self.bindings.iter().any(closed)
    }

    /// All on their planned nodes, or all on their old ones, or each where it fits.
    fn where_to(
        &self,
        world: &dyn World,
        there: &[(PodName, String, String)],
    ) -> Option<Vec<(PodName, String)>> {
        let fits = |put: &[(PodName, String)]| {
            let nodes = put.iter().all(|(_, node)| world.node(node).is_some());
            let unseen = self.bindings.iter().filter(|binding| {
                binding.granted && world.pod(&binding.pod.uid).is_some_and(|pod| pod.node.is_none())
            });
            let unseen = unseen.map(|binding| (binding.pod.uid.clone(), binding.node.clone()));
            let put = put.iter().map(|(pod, node)| (pod.uid.clone(), node.clone()));
            let put = put.chain(unseen).collect();
            let ghosts = self.absent(world);
            nodes && world.check(&Question { ghosts, put, ..Question::default() }).is_ok()
        };
        let all = |old: bool| -> Vec<(PodName, String)> {
            let node = |to: &String, from: &String| if old { from.clone() } else { to.clone() };
            there.iter().map(|(pod, to, from)| (pod.clone(), node(to, from))).collect()
        };
        if let Some(put) = [all(false), all(true)].into_iter().find(|put| fits(put)) {
            return Some(put);
        }
        let mut one_by_one = Vec::new();
        for (pod, to, from) in there {
            for node in [to, from] {
                one_by_one.push((pod.clone(), node.clone()));
                if fits(&one_by_one) {
                    break;
                }
                one_by_one.pop();
            }
        }
        (!one_by_one.is_empty()).then_some(one_by_one)
    }

    pub(super) fn clean(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // A request to reserve that is still under way could undo a release.
        if self.calls.iter().any(|call| matches!(call, Call::Reserve(_))) {
            return;
        }
        let open: Vec<usize> = (0..self.places.len())
            .filter(|index| self.places[*index].asked && !self.places[*index].released)
            .collect();
        if open.is_empty() && self.calls.is_empty() {
            return self.enter(Phase::Ended, now);
        }
        if now < self.again_at {
            return;
        }
        for index in open {
            let call = Call::Release(index);
            if self.calls.insert(call) {
                actions.push(Action::Release { call, place: self.plan.places[index].clone() });
            }
        }
    }

    pub(super) fn released(&mut self, index: usize, outcome: &Outcome, now: Duration) {
        match outcome {
            Outcome::Done | Outcome::Gone => self.places[index].released = true,
            // Nodes that stay reserved are the worst of leftovers: there is no limit to the tries.
            Outcome::Refused(_) | Outcome::Unclear(_) | Outcome::Denied(_) => {
                self.again_at = now + self.limits.retry;
            }
        }
    }
}
