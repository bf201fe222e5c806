//! Snapshots, and answers of the checker.

use std::collections::{HashMap, HashSet};

use onepath_pack::check::check;
use onepath_pack::kubernetes::{Mapping, Snapshot};
use onepath_pack::placement::Placement;
use onepath_pack::problem::{NodeId, PodId, Problem};

use super::{Cluster, PodEntry};
use crate::scheduler::core::world::Question;

impl Cluster {
    /// The snapshot of a question, and the uids of its pods in their order.
    pub(super) fn asked(&self, question: &Question) -> (Snapshot, Vec<String>) {
        let mut without: HashSet<&String> = question.without.iter().collect();
        without.extend(self.successors(question));
        let mut snapshot = Snapshot::default();
        let mut uids = Vec::new();
        snapshot.nodes = self.nodes.iter().map(|(_, node)| node.object.clone()).collect();
        snapshot.budgets = self.budgets.iter().map(|(_, budget)| budget.clone()).collect();
        for (_, pod) in self.pods.iter() {
            // What the default scheduler has not tried yet is no business of ours.
            let fresh = pod.node.is_none() && !pod.ours && !pod.refused;
            if !pod.finished && !fresh && !without.contains(&pod.name.uid) {
                snapshot.pods.push(pod.object.clone());
                uids.push(pod.name.uid.clone());
            }
        }
        for (uid, _) in &question.ghosts {
            if let Some(mut pod) = self.evicted.get(uid).cloned() {
                // Its successor may have the same name.
                pod.metadata.name.insert_str(0, "evicted--");
                pod.metadata.deletion_timestamp = None;
                pod.spec.node_name.clear();
                snapshot.pods.push(pod);
                uids.push(uid.clone());
            }
        }
        (snapshot, uids)
    }

    /// Pods that came to wait in the place of ghosts: both would be counted to their gang.
    fn successors(&self, question: &Question) -> HashSet<&String> {
        let put: HashSet<&String> = question.put.iter().map(|(uid, _)| uid).collect();
        let waiting = self.pods.iter().map(|(_, pod)| pod).filter(|pod| pod.waits());
        let known = |uid: &String| self.waited.contains(uid) || put.contains(uid);
        let mut fresh: Vec<&PodEntry> = waiting.filter(|pod| !known(&pod.name.uid)).collect();
        let mut successors = HashSet::new();
        for (uid, _) in &question.ghosts {
            let Some(ghost) = self.evicted.get(uid) else { continue };
            let owner = ghost.metadata.controller().map(|owner| &owner.uid);
            let of = fresh.iter().enumerate().filter(|(_, pod)| pod.owner.as_ref() == owner);
            // The same name is the same member of a stateful set; of others any will do.
            let best = of.min_by_key(|(_, pod)| pod.name.name != ghost.metadata.name);
            if let Some((index, _)) = best.filter(|_| owner.is_some()) {
                successors.insert(&fresh.swap_remove(index).name.uid);
            }
        }
        successors
    }

    /// Whether what is asked for is allowed, by the checker that knows no solver.
    pub(super) fn answer(&self, question: &Question) -> Result<(), String> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble.to_owned());
        }
        let (snapshot, uids) = self.asked(question);
        let (problem, mapping) =
            snapshot.problem(&self.options).map_err(|error| error.to_string())?;
        let pods = pods_by_uid(&mapping, &uids);
        let nodes = nodes_by_name(&problem);
        let mut placement = Placement::as_it_is(&problem);
        let ghosts = question.ghosts.iter();
        let ghosts = ghosts.filter_map(|(uid, node)| Some((uid, node.as_ref()?)));
        let put = question.put.iter().map(|(uid, node)| (uid, node));
        for (uid, node) in put.chain(ghosts) {
            let Some(pod) = pods.get(uid.as_str()) else {
                return Err(self.left_out(uid, &mapping, &uids));
            };
            let Some(node) = nodes.get(node.as_str()) else {
                return Err(format!("node {node} is gone"));
            };
            placement.put(*pod, Some(*node));
        }
        check(&problem, &placement).map(|_| ()).map_err(|violation| violation.to_string())
    }

    fn left_out(&self, uid: &str, mapping: &Mapping, uids: &[String]) -> String {
        let name = self.entry(uid).map_or_else(|| uid.to_owned(), |pod| pod.name.to_string());
        match mapping.left.iter().find(|(index, _)| uids.get(*index).is_some_and(|one| one == uid))
        {
            Some((_, why)) => format!("{name}: {why}"),
            None => format!("{name} is gone or has a node"),
        }
    }
}

/// The pods of a problem by their uids, which are those of the snapshot in its order.
fn pods_by_uid<'a>(mapping: &Mapping, uids: &'a [String]) -> HashMap<&'a str, PodId> {
    let numbered = (0..).map(PodId).zip(&mapping.pods);
    numbered.filter_map(|(id, index)| Some((uids.get(*index)?.as_str(), id))).collect()
}

fn nodes_by_name(problem: &Problem) -> HashMap<&str, NodeId> {
    problem.nodes().iter().map(|node| node.name.as_str()).zip((0..).map(NodeId)).collect()
}
