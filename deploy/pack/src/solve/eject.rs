//! One more pod: guided ejection search.
//!
//! A pod without a node is put where it fits; or where it fits once one other has moved on; or in
//! the place of those that have been hardest to place so far the fewest times, which then have no
//! node themselves. In between pods change places at random (Nagata and Bräysy 2009, there for
//! vehicles).

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::back_end::Stage;
use super::model::pinned;
use crate::placement::Placement;
use crate::problem::{Mobility, NodeId, PodId};

/// Random moves after each ejection.
const SHAKES: usize = 12;
/// Nodes that one pod is tried on, of many.
const MOST_TRIED: usize = 96;

/// A pod that may be moved.
#[derive(Clone, Debug)]
struct Mobile {
    pod: PodId,
    at: Option<usize>,
    /// Of the stage's tier, so it may be left out for another one.
    may_leave: bool,
    /// How often no place was found for it.
    failures: u64,
}

/// The state of the search.
pub(super) struct Eject<'s, 'p> {
    stage: &'s Stage<'p>,
    placement: Placement,
    mobile: Vec<Mobile>,
    /// By node, which of the mobile pods are there.
    on: Vec<Vec<usize>>,
    free: Vec<i64>,
    resources: usize,
    out: Vec<usize>,
    fewest: usize,
    rng: SmallRng,
}

impl<'s, 'p> Eject<'s, 'p> {
    /// From a placement of the active pods that keeps what is frozen. Pods of gangs do not take
    /// part.
    pub(super) fn new(stage: &'s Stage<'p>, now: &Placement) -> Self {
        let problem = stage.problem;
        let mut search = Self {
            stage,
            placement: Placement::from_nodes(vec![None; problem.pods().len()]),
            mobile: Vec::new(),
            on: vec![Vec::new(); problem.nodes().len()],
            free: problem.nodes().iter().flat_map(|node| node.capacity.to_vec()).collect(),
            resources: problem.resources().len(),
            out: Vec::new(),
            fewest: 0,
            rng: SmallRng::seed_from_u64(stage.seed),
        };
        for (id, pod) in problem.numbered_pods().filter(|(id, _)| stage.is_active(*id)) {
            let at = now.node(id);
            search.placement.put(id, at);
            if let Some(node) = at {
                search.account(id, node.index(), 1);
            }
            let takes_part = pod.tier == stage.tier || pod.runs_on.is_none() && at.is_some();
            let moves = pod.runs_on.is_none() || pod.mobility == Mobility::Movable;
            if pod.gang.is_some() || pinned(stage, pod) || !takes_part || !moves {
                continue;
            }
            let number = search.mobile.len();
            let may_leave = pod.tier == stage.tier;
            let at = at.map(NodeId::index);
            search.mobile.push(Mobile { pod: id, at, may_leave, failures: 1 });
            match at {
                Some(node) => search.on[node].push(number),
                None => search.out.push(number),
            }
        }
        search.fewest = search.out.len();
        search
    }

    /// Looks for so many rounds for a placement with more pods than any before.
    pub(super) fn run(&mut self, rounds: usize, stop: &dyn Fn() -> bool) -> Option<Placement> {
        for round in 0..rounds {
            if self.out.is_empty() || (round.is_multiple_of(16) && stop()) {
                return None;
            }
            self.round();
            if self.out.len() < self.fewest {
                self.fewest = self.out.len();
                return Some(self.snapshot());
            }
        }
        None
    }

    fn snapshot(&self) -> Placement {
        let mut placement = self.placement.clone();
        for mobile in &self.mobile {
            placement.put(mobile.pod, mobile.at.map(|node| NodeId(node as u32)));
        }
        placement
    }

    fn round(&mut self) {
        let pick = self.rng.random_range(0..self.out.len());
        let pod = self.out.swap_remove(pick);
        let nodes = self.some_nodes();
        if let Some(node) = self.direct(pod, &nodes) {
            return self.put(pod, node);
        }
        if let Some((other, node, to)) = self.after_one_move(pod, &nodes) {
            self.take(other);
            self.put(other, to);
            return self.put(pod, node);
        }
        self.mobile[pod].failures += 1;
        if let Some((node, ejected)) = self.cheapest(pod, &nodes) {
            for other in ejected {
                self.take(other);
                self.out.push(other);
            }
            self.put(pod, node);
        } else {
            self.out.push(pod);
        }
        for _ in 0..SHAKES {
            self.shake();
        }
    }

    /// All nodes, from a random one on; of many some.
    fn some_nodes(&mut self) -> Vec<usize> {
        let nodes = self.on.len();
        let first = self.rng.random_range(0..nodes);
        (first..nodes).chain(0..first).take(MOST_TRIED).collect()
    }

    fn size(&self, number: usize) -> &[i64] {
        &self.stage.problem.pods()[self.mobile[number].pod.index()].request
    }

    fn free(&self, node: usize) -> &[i64] {
        &self.free[node * self.resources..][..self.resources]
    }

    fn allowed(&self, number: usize, node: usize) -> bool {
        self.stage.problem.allows(self.mobile[number].pod, NodeId(node as u32))
    }

    /// Whether a pod fits onto a node that others have left.
    fn fits(&self, number: usize, node: usize, without: &[usize]) -> bool {
        let room = |resource: usize| {
            let left: i64 = without.iter().map(|other| self.size(*other)[resource]).sum();
            self.free(node)[resource] + left
        };
        let mut asked = self.size(number).iter().enumerate();
        asked.all(|(resource, asked)| *asked <= room(resource)) && self.allowed(number, node)
    }

    fn direct(&self, pod: usize, nodes: &[usize]) -> Option<usize> {
        nodes.iter().copied().find(|node| self.fits(pod, *node, &[]))
    }

    fn after_one_move(&self, pod: usize, nodes: &[usize]) -> Option<(usize, usize, usize)> {
        for node in nodes.iter().copied() {
            for other in self.on[node].iter().copied() {
                if self.fits(pod, node, &[other]) {
                    let to = nodes.iter().find(|to| **to != node && self.fits(other, **to, &[]));
                    if let Some(to) = to {
                        return Some((other, node, *to));
                    }
                }
            }
        }
        None
    }

    /// The node and the one or two pods there whose ejection has cost least so far.
    fn cheapest(&mut self, pod: usize, nodes: &[usize]) -> Option<(usize, Vec<usize>)> {
        let mut best: Option<(u64, usize, Vec<usize>)> = None;
        for node in nodes.iter().copied() {
            let leave = |other: &&usize| self.mobile[**other].may_leave;
            let on: Vec<usize> = self.on[node].iter().filter(leave).copied().collect();
            let alone = on.iter().map(|other| vec![*other]);
            let pairs = on.iter().enumerate().flat_map(|(index, other)| {
                on[index + 1..].iter().map(move |third| vec![*other, *third])
            });
            for ejected in alone.chain(pairs) {
                let cost = ejected.iter().map(|other| self.mobile[*other].failures).sum();
                if best.as_ref().is_none_or(|(least, ..)| cost < *least)
                    && self.fits(pod, node, &ejected)
                {
                    best = Some((cost, node, ejected));
                }
            }
        }
        best.map(|(_, node, ejected)| (node, ejected))
    }

    /// Moves one pod at random, or lets two change places, if they fit.
    fn shake(&mut self) {
        let pod = self.rng.random_range(0..self.mobile.len());
        let node = self.rng.random_range(0..self.on.len());
        let Some(from) = self.mobile[pod].at.filter(|from| *from != node) else { return };
        if self.fits(pod, node, &[]) {
            self.take(pod);
            return self.put(pod, node);
        }
        let others = self.on[node].len();
        if others == 0 {
            return;
        }
        let other = self.on[node][self.rng.random_range(0..others)];
        if self.fits(pod, node, &[other]) && self.fits(other, from, &[pod]) {
            self.take(pod);
            self.take(other);
            self.put(pod, node);
            self.put(other, from);
        }
    }

    fn put(&mut self, number: usize, node: usize) {
        self.mobile[number].at = Some(node);
        self.on[node].push(number);
        self.account(self.mobile[number].pod, node, 1);
    }

    fn take(&mut self, number: usize) {
        let Some(node) = self.mobile[number].at.take() else { return };
        self.on[node].retain(|other| *other != number);
        self.account(self.mobile[number].pod, node, -1);
    }

    fn account(&mut self, pod: PodId, node: usize, sign: i64) {
        let request = &self.stage.problem.pods()[pod.index()].request;
        let free = &mut self.free[node * self.resources..][..self.resources];
        for (free, asked) in free.iter_mut().zip(request) {
            *free -= sign * asked;
        }
    }
}
