//! A made world: nodes with one resource, pods, controllers that make pods again, a kubelet,
//! another scheduler, budgets. What the scheduler sees of it may be late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::scheduler::core::execution::{Action, Call, Execution, Outcome, Tale};
use crate::scheduler::core::world::{NodeState, PodName, PodState, Question, World};

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) room: i64,
    pub(super) reserved_for: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: PodName,
    pub(super) node: Option<String>,
    pub(super) leaving: bool,
    pub(super) size: i64,
    pub(super) priority: i64,
    pub(super) owner: String,
    pub(super) ours: bool,
    /// Its gang, with how many are needed at least.
    pub(super) gang: Option<(String, usize)>,
}

/// Everything as it is at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) pods: BTreeMap<String, Pod>,
    /// Evicted pods, as they were.
    pub(super) evicted: BTreeMap<String, Pod>,
    /// How many more of an owner's pods may be evicted; no entry: all.
    pub(super) budgets: BTreeMap<String, i64>,
    /// Owners of pods whose eviction a webhook denies.
    pub(super) denied: BTreeSet<String>,
    pub(super) made: u64,
}

impl State {
    pub(super) fn node(&mut self, name: &str, room: i64) {
        self.nodes.insert(name.to_owned(), Node { room, reserved_for: None });
    }

    /// A new pod; its uid is its name and a number.
    pub(super) fn pod(
        &mut self,
        name: &str,
        node: Option<&str>,
        size: i64,
        priority: i64,
    ) -> String {
        self.made += 1;
        let uid = format!("{name}#{}", self.made);
        let name =
            PodName { uid: uid.clone(), namespace: "default".to_owned(), name: name.to_owned() };
        let owner = format!("owner-of-{}", name.name);
        let pod = Pod {
            name,
            node: node.map(str::to_owned),
            leaving: false,
            size,
            priority,
            owner,
            ours: false,
            gang: None,
        };
        self.pods.insert(uid.clone(), pod);
        self.version += 1;
        uid
    }

    pub(super) fn used(&self, node: &str) -> i64 {
        let on = |pod: &&Pod| pod.node.as_deref() == Some(node);
        self.pods.values().filter(on).map(|pod| pod.size).sum()
    }

    pub(super) fn bind(&mut self, uid: &str, node: &str) -> Outcome {
        let node_is_there = self.nodes.contains_key(node);
        match self.pods.get_mut(uid) {
            None => Outcome::Gone,
            Some(pod) if pod.node.is_some() || pod.leaving => {
                Outcome::Unclear("has a node already".to_owned())
            }
            Some(_) if !node_is_there => Outcome::Denied("no such node".to_owned()),
            Some(pod) => {
                pod.node = Some(node.to_owned());
                self.version += 1;
                Outcome::Done
            }
        }
    }

    fn may_evict(&self, uid: &str) -> Outcome {
        match self.pods.get(uid) {
            None => Outcome::Gone,
            Some(pod) if pod.leaving => Outcome::Done,
            Some(pod) if self.denied.contains(&pod.owner) => {
                Outcome::Denied("a webhook denies it".to_owned())
            }
            Some(pod) if self.budgets.get(&pod.owner) == Some(&0) => {
                Outcome::Refused("its disruption budget allows none".to_owned())
            }
            Some(_) => Outcome::Done,
        }
    }

    fn evict(&mut self, uid: &str) -> Outcome {
        let outcome = self.may_evict(uid);
        if let Some(pod) = self.pods.get_mut(uid)
            && outcome == Outcome::Done
            && !pod.leaving
        {
            if let Some(left) = self.budgets.get_mut(&pod.owner) {
                *left -= 1;
            }
            pod.leaving = true;
            self.evicted.insert(uid.to_owned(), pod.clone());
            self.version += 1;
        }
        outcome
    }

    /// The kubelet ends what leaves; controllers make it again.
    pub(super) fn finish(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        let fresh = self.pod(&pod.name.name, None, pod.size, pod.priority);
        if let Some(fresh) = self.pods.get_mut(&fresh) {
            fresh.owner.clone_from(&pod.owner);
            fresh.ours = pod.ours;
            fresh.gang = pod.gang;
        }
    }

    pub(super) fn leaving(&self) -> Vec<String> {
        self.pods.iter().filter(|(_, pod)| pod.leaving).map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn reserved(&self) -> usize {
        self.nodes.values().filter(|node| node.reserved_for.is_some()).count()
    }

    pub(super) fn overfull(&self) -> Option<&String> {
        self.nodes.iter().find(|(name, node)| self.used(name) > node.room).map(|(name, _)| name)
    }

    /// What an API server does with a request.
    pub(super) fn apply(&mut self, plan: &str, action: &Action) -> Outcome {
        match action {
            Action::Reserve { place, .. } | Action::Release { place, .. } => {
                let Some(node) = self.nodes.get_mut(&place.name) else { return Outcome::Gone };
                let reserve = matches!(action, Action::Reserve { .. });
                node.reserved_for = reserve.then(|| plan.to_owned());
                self.version += 1;
                Outcome::Done
            }
            Action::Rehearse { pod, .. } => self.may_evict(&pod.uid),
            Action::Inspect { place, known, .. } => {
                match self.pods_on(&place.name).difference(known).next() {
                    Some(uid) => Outcome::Refused(format!("{uid} is on it and not seen yet")),
                    None => Outcome::Done,
                }
            }
            Action::Evict { pod, .. } => self.evict(&pod.uid),
            Action::Bind { pod, node, .. } => self.bind(&pod.uid, node),
            Action::Tell(_) => Outcome::Done,
        }
    }
}

impl World for State {
    fn version(&self) -> u64 {
        self.version
    }

    fn pod(&self, uid: &str) -> Option<PodState> {
        let pod = self.pods.get(uid)?;
        let Pod { name, node, leaving, .. } = pod.clone();
        Some(PodState { name, node, leaving })
    }

    fn node(&self, name: &str) -> Option<NodeState> {
        let node = self.nodes.get(name)?;
        Some(NodeState { uid: name.to_owned(), reserved_for: node.reserved_for.clone() })
    }

    fn pods_on(&self, node: &str) -> BTreeSet<String> {
        let on = self.pods.iter().filter(|(_, pod)| pod.node.as_deref() == Some(node));
        on.map(|(uid, _)| uid.clone()).collect()
    }

    fn waiting_of(&self, owner: &str) -> Vec<PodName> {
        let waits = |pod: &&Pod| pod.owner == owner && pod.ours && pod.node.is_none();
        self.pods.values().filter(waits).map(|pod| pod.name.clone()).collect()
    }

    fn most_urgent_waiting(&self, known: &BTreeSet<String>) -> Option<i64> {
        let waiting = self.pods.values().filter(|pod| pod.node.is_none());
        let fresh = waiting.filter(|pod| !known.contains(&pod.name.uid));
        fresh.map(|pod| pod.priority).max()
    }

    fn check(&self, question: &Question) -> Result<(), String> {
        let mut used: BTreeMap<&str, i64> = BTreeMap::new();
        let mut gangs: BTreeMap<&str, (usize, usize, bool)> = BTreeMap::new();
        let without: BTreeSet<&String> = question.without.iter().collect();
        let put: BTreeMap<&String, &String> =
            question.put.iter().map(|(uid, node)| (uid, node)).collect();
        let ghosts = question.ghosts.iter().filter_map(|(uid, node)| {
            let pod = self.pods.get(uid).or_else(|| self.evicted.get(uid))?;
            Some((pod, node.as_ref()))
        });
        let here = self.pods.iter().filter(|(uid, _)| !without.contains(uid));
        let here = here.map(|(uid, pod)| (pod, put.get(uid).copied().or(pod.node.as_ref())));
        for (pod, node) in here.chain(ghosts) {
            if let Some(node) = node {
                *used.entry(node).or_default() += pod.size;
            }
            if let Some((gang, least)) = &pod.gang {
                let entry = gangs.entry(gang).or_insert((0, *least, false));
                entry.0 += usize::from(node.is_some());
                entry.2 |= put.contains_key(&pod.name.uid);
            }
        }
        for (node, used) in used {
            let room = self.nodes.get(node).map_or(0, |node| node.room);
            if used > room {
                return Err(format!("{node}: {used} of {room}"));
            }
        }
        match gangs.into_iter().find(|(_, (placed, least, touched))| *touched && placed < least) {
            Some((gang, (placed, least, _))) => Err(format!("gang {gang}: {placed} of {least}")),
            None => Ok(()),
        }
    }
}

/// Polls and answers at once until nothing more happens or `most` of time has passed; each step is
/// handed to `each` before requests are made.
pub(super) fn carry_out(
    execution: &mut Execution,
    state: &mut State,
    most: Duration,
    mut each: impl FnMut(&mut State, &[Action], Duration),
) -> Vec<Tale> {
    let step = Duration::from_millis(100);
    let mut tales = Vec::new();
    let mut now = Duration::ZERO;
    let plan = execution.plan().id.clone();
    while execution.ended().is_none() && now < most {
        let actions = execution.poll(state, now);
        each(state, &actions, now);
        for action in &actions {
            if let Action::Tell(tale) = action {
                tales.push(tale.clone());
            }
            let outcome = state.apply(&plan, action);
            if let Some(call) = call(action) {
                execution.answer(call, outcome, now);
            }
            assert_eq!(state.overfull(), None, "over capacity");
        }
        for uid in state.leaving() {
            state.finish(&uid);
        }
        now += step;
    }
    tales
}

/// The call of a request.
pub(super) fn call(action: &Action) -> Option<Call> {
    match action {
        Action::Rehearse { call, .. }
        | Action::Reserve { call, .. }
        | Action::Inspect { call, .. }
        | Action::Evict { call, .. }
        | Action::Bind { call, .. }
        | Action::Release { call, .. } => Some(*call),
        Action::Tell(_) => None,
    }
}
