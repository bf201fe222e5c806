//! The newest state of the cluster that is known, and the questions to the independent checker.
//!
//! | module | what it holds |
//! |---|---|
//! | `kind` | all objects of one kind, through lists and changes |
//! | `entry` | what is kept of a node and a pod |
//! | `question` | snapshots, and answers of the checker |

mod entry;
mod kind;
mod question;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use kube::runtime::watcher::Event;
use onepath_pack::kubernetes::objects;
use onepath_pack::kubernetes::{Snapshot, SnapshotOptions};

use super::core::patience::Waiting;
use super::core::world::{NodeState, PodName, PodState, Question, World};
use entry::NodeEntry;
pub(crate) use entry::{CONDITION, PodEntry};
use kind::Kind;

/// The taint of nodes that are reserved; its value is the plan's.
pub(crate) const RESERVED: &str = "onepath.io/reserved";

/// A change of the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Node(Box<Event<core::Node>>),
    Pod(Box<Event<core::Pod>>),
    Budget(Box<Event<policy::PodDisruptionBudget>>),
}

/// Everything that is watched.
#[derive(Debug)]
pub(crate) struct Cluster {
    options: SnapshotOptions,
    version: u64,
    nodes: Kind<NodeEntry>,
    pods: Kind<PodEntry>,
    budgets: Kind<objects::PodDisruptionBudget>,
    /// Keys of pods by their uid.
    keys: BTreeMap<String, String>,
    /// Pods that a plan under execution evicts, as they were before.
    evicted: BTreeMap<String, objects::Pod>,
    /// Uids of pods that waited before that plan: they are nobody's successors.
    waited: BTreeSet<String>,
}

impl Cluster {
    pub(crate) fn new(options: SnapshotOptions) -> Self {
        Self {
            options,
            version: 0,
            nodes: Kind::default(),
            pods: Kind::default(),
            budgets: Kind::default(),
            keys: BTreeMap::new(),
            evicted: BTreeMap::new(),
            waited: BTreeSet::new(),
        }
    }

    /// Takes a change over.
    pub(crate) fn apply(&mut self, change: Change) {
        self.version += 1;
        match change {
            Change::Node(event) => self.nodes.apply(*event, NodeEntry::of),
            Change::Budget(event) => self.budgets.apply(*event, |budget| entry::budget(&budget)),
            Change::Pod(event) => {
                match &*event {
                    Event::Apply(pod) => self.know(pod),
                    Event::Delete(pod) => self.forget(pod),
                    Event::Init | Event::InitApply(_) | Event::InitDone => {}
                }
                let all = matches!(*event, Event::InitDone);
                let scheduler = &self.options.scheduler_name;
                self.pods.apply(*event, |pod| PodEntry::of(pod, scheduler));
                if all {
                    let pods = self.pods.iter();
                    self.keys =
                        pods.map(|(key, pod)| (pod.name.uid.clone(), key.clone())).collect();
                }
            }
        }
    }

    fn know(&mut self, pod: &core::Pod) {
        if let Some(uid) = &pod.metadata.uid {
            self.forget_others(pod, uid);
            self.keys.insert(uid.clone(), kind::key(pod));
        }
    }

    /// A pod of the same name that was not seen going.
    fn forget_others(&mut self, pod: &core::Pod, uid: &str) {
        let before = self.pods.get(&kind::key(pod)).map(|before| before.name.uid.clone());
        if let Some(before) = before.filter(|before| before != uid) {
            self.keys.remove(&before);
        }
    }

    fn forget(&mut self, pod: &core::Pod) {
        if let Some(uid) = &pod.metadata.uid {
            self.keys.remove(uid);
        }
    }

    /// Whether all lists have come at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.nodes.listed() && self.pods.listed() && self.budgets.listed()
    }

    /// An object that is not understood: as long as there is one, sums would be wrong.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.nodes.trouble().or(self.pods.trouble()).or(self.budgets.trouble())
    }

    /// Pods without a node that somebody is to place.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.pods.iter().filter(|(_, pod)| pod.waits()).map(|(_, pod)| pod.waiting()).collect()
    }

    /// A pod by its uid, also one that has finished.
    pub(crate) fn entry(&self, uid: &str) -> Option<&PodEntry> {
        self.pods.get(self.keys.get(uid)?)
    }

    /// Nodes that are reserved, for whatever plan.
    pub(crate) fn reserved(&self) -> Vec<String> {
        let reserved = self.nodes.iter().filter(|(_, node)| node.reserved_for.is_some());
        reserved.map(|(name, _)| name.clone()).collect()
    }

    /// Keeps these pods as they are now, for questions after their eviction.
    pub(crate) fn remember(&mut self, uids: &[String]) {
        let waiting = self.pods.iter().map(|(_, pod)| pod).filter(|pod| pod.waits());
        self.waited = waiting.map(|pod| pod.name.uid.clone()).collect();
        let known = uids.iter().filter_map(|uid| Some((uid.clone(), self.entry(uid)?)));
        self.evicted = known.map(|(uid, entry)| (uid, entry.object.clone())).collect();
    }

    /// What is there, without pods that the default scheduler has not tried yet.
    pub(crate) fn snapshot(&self) -> (Snapshot, Vec<String>) {
        self.asked(&Question::default())
    }
}

impl World for Cluster {
    fn version(&self) -> u64 {
        self.version
    }

    fn pod(&self, uid: &str) -> Option<PodState> {
        let pod = self.entry(uid).filter(|pod| !pod.finished)?;
        Some(PodState { name: pod.name.clone(), node: pod.node.clone(), leaving: pod.leaving })
    }

    fn node(&self, name: &str) -> Option<NodeState> {
        let node = self.nodes.get(name).filter(|node| !node.closed)?;
        Some(NodeState { uid: node.uid.clone(), reserved_for: node.reserved_for.clone() })
    }

    fn pods_on(&self, node: &str) -> BTreeSet<String> {
        let on = |pod: &&PodEntry| !pod.finished && pod.node.as_deref() == Some(node);
        let pods = self.pods.iter().map(|(_, pod)| pod).filter(on);
        pods.map(|pod| pod.name.uid.clone()).collect()
    }

    fn waiting_of(&self, owner: &str) -> Vec<PodName> {
        let of = |pod: &&PodEntry| pod.ours && pod.owner.as_deref() == Some(owner);
        let waiting = self.pods.iter().map(|(_, pod)| pod).filter(|pod| pod.waits()).filter(of);
        waiting.map(|pod| pod.name.clone()).collect()
    }

    fn most_urgent_waiting(&self, known: &BTreeSet<String>) -> Option<i64> {
        let tried = |pod: &&PodEntry| pod.ours || (pod.refused && !pod.nominated);
        let waiting = self.pods.iter().map(|(_, pod)| pod).filter(|pod| pod.waits()).filter(tried);
        let fresh = waiting.filter(|pod| !known.contains(&pod.name.uid));
        fresh.map(|pod| pod.priority).max()
    }

    fn check(&self, question: &Question) -> Result<(), String> {
        self.answer(question)
    }
}
