//! A placement under construction, with what is left of every node.

use std::collections::HashMap;
use std::rc::Rc;

use crate::placement::Placement;
use crate::problem::{GangId, NodeId, PodId, Problem, Rule};

/// A placement that keeps capacities and the rules of parts, and of gangs between two calls.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    problem: &'a Problem,
    placement: Placement,
    /// By node, one amount for each resource.
    free: Vec<i64>,
    /// By part, pods in each domain.
    inside: Vec<HashMap<u32, u32>>,
    ground: Rc<Ground>,
}

/// What never changes.
#[derive(Debug)]
struct Ground {
    /// By resource, the most that a node has, at least 1.
    largest: Vec<i64>,
    /// By level and domain its nodes.
    below: Vec<Vec<Vec<NodeId>>>,
}

impl Ground {
    fn of(problem: &Problem) -> Self {
        let most = |kind: usize| problem.nodes().iter().map(|node| node.capacity[kind]).max();
        let largest = (0..problem.resources().len()).map(|kind| most(kind).unwrap_or(1).max(1));
        let levels = problem.levels().iter();
        let mut below: Vec<_> = levels.map(|level| vec![Vec::new(); level.domains.len()]).collect();
        for (id, node) in (0..).map(NodeId).zip(problem.nodes()) {
            for (level, domain) in below.iter_mut().zip(&node.domains) {
                if let Some(domain) = domain {
                    level[*domain as usize].push(id);
                }
            }
        }
        Self { largest: largest.collect(), below }
    }
}

impl<'a> Room<'a> {
    /// Nothing is placed.
    pub(super) fn empty(problem: &'a Problem) -> Self {
        let free = problem.nodes().iter().flat_map(|node| node.capacity.iter().copied()).collect();
        let placement = Placement::from_nodes(vec![None; problem.pods().len()]);
        let inside = vec![HashMap::new(); problem.parts().len()];
        Self { problem, placement, free, inside, ground: Rc::new(Ground::of(problem)) }
    }

    /// The pods of an allowed placement for which `keep` is true.
    pub(super) fn of(
        problem: &'a Problem,
        placement: &Placement,
        keep: impl Fn(PodId) -> bool,
    ) -> Self {
        let mut room = Self::empty(problem);
        for (pod, _) in problem.numbered_pods().filter(|(pod, _)| keep(*pod)) {
            if let Some(node) = placement.node(pod) {
                room.put(pod, node);
            }
        }
        room
    }

    pub(super) fn problem(&self) -> &'a Problem {
        self.problem
    }

    pub(super) fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) fn into_placement(self) -> Placement {
        self.placement
    }

    /// What is left of a node.
    pub(super) fn free(&self, node: NodeId) -> &[i64] {
        let resources = self.problem.resources().len();
        &self.free[node.index() * resources..][..resources]
    }

    /// Whether a pod may come onto a node as things are.
    pub(super) fn fits(&self, pod: PodId, node: NodeId) -> bool {
        let request = &self.problem.pods()[pod.index()].request;
        self.free(node).iter().zip(request).all(|(free, asked)| asked <= free)
            && self.problem.allows(pod, node)
            && self.part_allows(pod, node)
    }

    /// Whether the rule of its part lets a pod onto a node.
    pub(super) fn part_allows(&self, pod: PodId, node: NodeId) -> bool {
        let Some(part) = self.problem.pods()[pod.index()].part else { return true };
        let level = self.problem.parts()[part.index()].rule.level();
        let Some(domain) = self.problem.nodes()[node.index()].domains[level] else { return false };
        let inside = &self.inside[part.index()];
        match self.problem.parts()[part.index()].rule {
            Rule::Together(_) => inside.keys().all(|other| *other == domain),
            Rule::AtMost { pods, .. } => inside.get(&domain).copied().unwrap_or(0) < pods,
        }
    }

    /// Puts a pod that is nowhere onto a node.
    pub(super) fn put(&mut self, pod: PodId, node: NodeId) {
        self.placement.put(pod, Some(node));
        self.account(pod, node, 1);
    }

    /// Takes a pod off its node, if it is on one.
    pub(super) fn take(&mut self, pod: PodId) -> Option<NodeId> {
        let node = self.placement.node(pod)?;
        self.placement.put(pod, None);
        self.account(pod, node, -1);
        Some(node)
    }

    fn account(&mut self, pod: PodId, node: NodeId, sign: i64) {
        let pod = &self.problem.pods()[pod.index()];
        let resources = self.problem.resources().len();
        let free = &mut self.free[node.index() * resources..][..resources];
        free.iter_mut().zip(&pod.request).for_each(|(free, asked)| *free -= sign * asked);
        let Some(part) = pod.part else { return };
        let level = self.problem.parts()[part.index()].rule.level();
        if let Some(domain) = self.problem.nodes()[node.index()].domains[level] {
            let inside = &mut self.inside[part.index()];
            let pods = inside.entry(domain).or_default();
            *pods = pods.saturating_add_signed(sign as i32);
            if *pods == 0 {
                inside.remove(&domain);
            }
        }
    }

    /// The fullest of these nodes that takes a pod.
    pub(super) fn best_fit(
        &self,
        pod: PodId,
        nodes: impl Iterator<Item = NodeId>,
    ) -> Option<NodeId> {
        let fitting = nodes.filter(|node| self.fits(pod, *node));
        let slacks = fitting.map(|node| (self.slack(pod, node), node));
        slacks.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, node)| node)
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.problem.nodes().len() as u32).map(NodeId)
    }

    /// The nodes of a domain.
    pub(super) fn below(&self, level: usize, domain: usize) -> &[NodeId] {
        &self.ground.below[level][domain]
    }

    /// What a pod asks for, in millionths of the largest node, all resources added up.
    pub(super) fn size(&self, pod: PodId) -> i64 {
        let request = &self.problem.pods()[pod.index()].request;
        let parts = request.iter().zip(&self.ground.largest);
        parts.map(|(asked, most)| (*asked as f64 / *most as f64 * 1e6) as i64).sum()
    }

    /// How much of a node would be left, as a share of its capacity, all resources added up.
    fn slack(&self, pod: PodId, node: NodeId) -> f64 {
        let request = &self.problem.pods()[pod.index()].request;
        let capacity = &self.problem.nodes()[node.index()].capacity;
        let of = self.free(node).iter().zip(request).zip(capacity);
        of.map(|((free, asked), capacity)| (free - asked) as f64 / (*capacity).max(1) as f64).sum()
    }

    /// How many pods of a gang must be placed, if any is.
    pub(super) fn least(problem: &Problem, gang: GangId) -> usize {
        let gang = &problem.gangs()[gang.index()];
        let runs = |pod: &&PodId| problem.pods()[pod.index()].runs_on.is_some();
        gang.pods.iter().filter(runs).count().max(gang.minimum as usize)
    }
}
