//! Large neighbourhood search: a few nodes are freed and filled anew, exactly.

use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::back_end::Stage;
use super::columns::{Kinds, prices};
use super::losses::{Losses, Outcome};
use super::model::Model;
use crate::placement::Placement;
use crate::problem::{NodeId, PodId};
use crate::score::Goal;

/// Pods without a node that take part at once.
const MOST_OUT: usize = 12;
/// Steps of one exact search.
const STEPS: u64 = 20_000;

/// The choice of neighbourhoods.
pub(super) struct Near<'s, 'p> {
    stage: &'s Stage<'p>,
    rng: SmallRng,
    /// Nodes that are freed at once; grows while nothing is found.
    width: usize,
}

impl<'s, 'p> Near<'s, 'p> {
    pub(super) fn new(stage: &'s Stage<'p>) -> Self {
        Self { stage, rng: SmallRng::seed_from_u64(stage.seed), width: 3 }
    }

    /// Wider neighbourhoods from now on.
    pub(super) fn widen(&mut self) {
        self.width = (self.width + 1).min(10);
    }

    /// Pods whose place is to be improved: without a node, or not where they run.
    pub(super) fn misplaced(&self, now: &Placement) -> Vec<PodId> {
        let stage = self.stage;
        let wrong = |id: PodId, runs_on: Option<NodeId>| match stage.goal {
            Goal::Placed => now.node(id).is_none(),
            Goal::Disturbed => runs_on.is_some() && now.node(id) != runs_on,
        };
        let of_tier = stage.problem.numbered_pods().filter(|(_, pod)| pod.tier == stage.tier);
        let wrong = of_tier.filter(|(id, pod)| wrong(*id, pod.runs_on));
        wrong.map(|(id, _)| id).collect()
    }

    /// A better placement near this one, if one is found around these pods.
    pub(super) fn look(
        &mut self,
        now: &Placement,
        value: u32,
        misplaced: &[PodId],
    ) -> Option<Placement> {
        let pod = *misplaced.choose(&mut self.rng)?;
        let nodes = self.around(pod, now);
        let mut out: Vec<PodId> =
            misplaced.iter().copied().filter(|pod| now.node(*pod).is_none()).collect();
        out.shuffle(&mut self.rng);
        out.truncate(MOST_OUT);
        let chosen: Vec<bool> = {
            let mut chosen = vec![false; self.stage.problem.nodes().len()];
            for node in &nodes {
                chosen[node.index()] = true;
            }
            chosen
        };
        let free = |id: PodId| match now.node(id) {
            Some(node) => chosen[node.index()],
            None => id == pod || out.contains(&id),
        };
        let model = Model::part(self.stage, &nodes, &free, now);
        let kinds = Kinds::of(&model);
        let known = model.worth(value);
        let start = model.patterns(now);
        let deadline = self.stage.deadline;
        let dual = prices(&model, &kinds, &start, known, deadline)?;
        for target in (known + 1..=dual.worth()).rev() {
            let stop = || deadline.passed();
            let mut losses = Losses::new(&model, &kinds, &dual, target, self.stage.seed, &stop)?;
            if let Outcome::Found(found) = losses.run(STEPS, &stop) {
                return Some(model.placement(&found));
            }
        }
        None
    }

    /// Where the pod runs and is, where those come from that are there now, and others by chance.
    fn around(&mut self, pod: PodId, now: &Placement) -> Vec<NodeId> {
        let problem = self.stage.problem;
        let mut nodes: Vec<NodeId> = Vec::new();
        let runs_on = problem.pods()[pod.index()].runs_on;
        nodes.extend(runs_on);
        nodes.extend(now.node(pod).filter(|node| Some(*node) != runs_on));
        if let Some(home) = runs_on {
            for (id, other) in problem.numbered_pods() {
                let from = other.runs_on.filter(|from| *from != home && !nodes.contains(from));
                if now.node(id) == Some(home) && nodes.len() < self.width {
                    nodes.extend(from);
                }
            }
        }
        let count = problem.nodes().len();
        while nodes.len() < self.width.min(count) {
            let node = NodeId(self.rng.random_range(0..count as u32));
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes
    }
}
