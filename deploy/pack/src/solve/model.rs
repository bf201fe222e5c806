//! A stage, or a part of one, written down for solvers: what may come to which node, and what for.
//!
//! Pods that cannot or must not move are taken off the nodes' capacity. The others are items: pods
//! of one set are one item, since it does not matter which of them goes where, but for those that
//! stay.

use std::collections::HashMap;

use super::back_end::{Frozen, Stage};
use crate::placement::Placement;
use crate::problem::{GangId, Mobility, NodeId, PartId, Pod, PodId, Problem, Rule, SetId, Tier};
use crate::score::{Goal, Score};

/// Equal pods that are to be placed.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) tier: Tier,
    pub(super) size: Box<[i64]>,
    /// Not more than these are placed.
    pub(super) pods: Vec<PodId>,
    pub(super) set: SetId,
    pub(super) gang: Option<GangId>,
    pub(super) part: Option<PartId>,
    /// They may come to several nodes; if not, they stay where they are or are left out.
    pub(super) moves: bool,
}

/// That pods of an item may be on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Offer {
    pub(super) item: usize,
    /// At most so many.
    pub(super) most: u32,
    /// So many of them run there.
    pub(super) here: u32,
}

/// What is left of a node for items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) node: NodeId,
    pub(super) room: Box<[i64]>,
    pub(super) offers: Vec<Offer>,
}

/// A frozen value: so many items of a tier must be placed, or stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) tier: Tier,
    pub(super) goal: Goal,
    /// Less what is not an item.
    pub(super) least: i64,
}

/// The items, spots and rows of a stage.
#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    pub(super) problem: &'a Problem,
    pub(super) tier: Tier,
    pub(super) goal: Goal,
    pub(super) items: Vec<Item>,
    pub(super) spots: Vec<Spot>,
    pub(super) rows: Vec<Row>,
    frozen: Vec<Frozen>,
    /// What is not an item: by pod its node, with items left out.
    pub(super) rest: Placement,
    /// What the rest adds to the number that is wanted: pods placed, or pods that stay.
    pub(super) constant: i64,
}

/// Which pods of a stage nothing can be decided about: they stay where they run.
pub(super) fn pinned(stage: &Stage<'_>, pod: &Pod) -> bool {
    let kept = |tier: Tier| {
        stage.frozen.iter().any(|frozen| {
            frozen.tier == tier && frozen.goal == Goal::Disturbed && frozen.value == 0
        })
    };
    pod.runs_on.is_some() && (pod.mobility == Mobility::Fixed || kept(pod.tier))
}

impl<'a> Model<'a> {
    /// The whole stage.
    pub(super) fn of(stage: &Stage<'a>) -> Self {
        let nodes: Vec<NodeId> = (0..stage.problem.nodes().len() as u32).map(NodeId).collect();
        Self::part(stage, &nodes, &|_| true, stage.incumbent)
    }

    /// Only pods for which `free` is true, on these nodes; all others are where they are in `now`.
    pub(super) fn part(
        stage: &Stage<'a>,
        nodes: &[NodeId],
        free: &dyn Fn(PodId) -> bool,
        now: &Placement,
    ) -> Self {
        let problem = stage.problem;
        let mut model = Self {
            problem,
            tier: stage.tier,
            goal: stage.goal,
            items: Vec::new(),
            spots: Vec::new(),
            rows: Vec::new(),
            frozen: stage.frozen.to_vec(),
            rest: Placement::from_nodes(vec![None; problem.pods().len()]),
            constant: 0,
        };
        let mut number: HashMap<(SetId, Option<NodeId>), usize> = HashMap::new();
        for (id, pod) in problem.numbered_pods().filter(|(id, _)| stage.is_active(*id)) {
            if pinned(stage, pod) {
                model.rest.put(id, pod.runs_on);
            } else if !free(id) {
                model.rest.put(id, now.node(id));
            } else {
                let moves = pod.runs_on.is_none() || pod.mobility == Mobility::Movable;
                let key = (pod.set, if moves { None } else { pod.runs_on });
                let item = *number.entry(key).or_insert(model.items.len());
                if item == model.items.len() {
                    model.items.push(Item {
                        tier: pod.tier,
                        size: pod.request.clone(),
                        pods: Vec::new(),
                        set: pod.set,
                        gang: pod.gang,
                        part: pod.part,
                        moves,
                    });
                }
                model.items[item].pods.push(id);
            }
        }
        model.make_spots(nodes);
        model.make_rows(stage);
        model
    }

    fn make_spots(&mut self, nodes: &[NodeId]) {
        let problem = self.problem;
        let mut at: HashMap<NodeId, usize> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            at.insert(*node, index);
            let room = problem.nodes()[node.index()].capacity.clone();
            self.spots.push(Spot { node: *node, room, offers: Vec::new() });
        }
        for (id, pod) in problem.numbered_pods() {
            let Some(spot) = self.rest.node(id).and_then(|node| at.get(&node)) else { continue };
            let room = &mut self.spots[*spot].room;
            room.iter_mut().zip(&pod.request).for_each(|(room, asked)| *room -= asked);
        }
        for (index, item) in self.items.iter().enumerate() {
            let mut here: HashMap<NodeId, u32> = HashMap::new();
            for node in item.pods.iter().filter_map(|pod| problem.pods()[pod.index()].runs_on) {
                *here.entry(node).or_default() += 1;
            }
            for spot in &mut self.spots {
                let here = here.get(&spot.node).copied().unwrap_or(0);
                let most = item.most_at(problem, spot, here);
                if most > 0 {
                    spot.offers.push(Offer { item: index, most, here: here.min(most) });
                }
            }
        }
    }

    fn make_rows(&mut self, stage: &Stage<'_>) {
        let problem = self.problem;
        let mut placed = vec![0; problem.priorities().len()];
        let mut stays = placed.clone();
        let mut running = placed.clone();
        for (id, pod) in problem.numbered_pods() {
            let tier = pod.tier.index();
            running[tier] += i64::from(pod.runs_on.is_some());
            if let Some(node) = self.rest.node(id) {
                placed[tier] += 1;
                stays[tier] += i64::from(pod.runs_on == Some(node));
            }
        }
        for frozen in stage.frozen {
            let (tier, goal) = (frozen.tier, frozen.goal);
            let least = match goal {
                Goal::Placed => i64::from(frozen.value) - placed[tier.index()],
                Goal::Disturbed => {
                    running[tier.index()] - i64::from(frozen.value) - stays[tier.index()]
                }
            };
            if self.items.iter().any(|item| item.tier == tier) {
                self.rows.push(Row { tier, goal, least });
            }
        }
        self.constant = match stage.goal {
            Goal::Placed => placed[stage.tier.index()],
            Goal::Disturbed => stays[stage.tier.index()],
        };
    }

    /// How many running pods the stage's tier has.
    pub(super) fn running(&self) -> i64 {
        let of_tier = |pod: &&Pod| pod.tier == self.tier && pod.runs_on.is_some();
        self.problem.pods().iter().filter(of_tier).count() as i64
    }

    /// A stage's value as a number of which more is better, of items alone.
    pub(super) fn worth(&self, value: u32) -> i64 {
        match self.goal {
            Goal::Placed => i64::from(value) - self.constant,
            Goal::Disturbed => self.running() - i64::from(value) - self.constant,
        }
    }

    /// The inverse of [`worth`](Self::worth).
    pub(super) fn value(&self, worth: i64) -> u32 {
        let value = match self.goal {
            Goal::Placed => worth + self.constant,
            Goal::Disturbed => self.running() - worth - self.constant,
        };
        value.clamp(0, i64::from(u32::MAX)) as u32
    }

    /// The patterns of a placement: by spot how many of each of its offers.
    pub(super) fn patterns(&self, placement: &Placement) -> Vec<Vec<u32>> {
        let item_of: HashMap<PodId, usize> = (0..self.items.len())
            .flat_map(|item| self.items[item].pods.iter().map(move |pod| (*pod, item)))
            .collect();
        let mut on: HashMap<(NodeId, usize), u32> = HashMap::new();
        for (pod, item) in item_of {
            if let Some(node) = placement.node(pod) {
                *on.entry((node, item)).or_default() += 1;
            }
        }
        let count = |spot: &Spot, offer: &Offer| on.get(&(spot.node, offer.item)).copied();
        let of =
            |spot: &Spot| spot.offers.iter().map(|offer| count(spot, offer).unwrap_or(0)).collect();
        self.spots.iter().map(of).collect()
    }

    /// The placement of patterns; pods that can stay do.
    pub(super) fn placement(&self, patterns: &[Vec<u32>]) -> Placement {
        let mut placement = self.rest.clone();
        let mut wanted: Vec<(usize, NodeId, u32)> = Vec::new();
        for (spot, pattern) in self.spots.iter().zip(patterns) {
            for (offer, count) in spot.offers.iter().zip(pattern) {
                let mut left = *count;
                for pod in &self.items[offer.item].pods {
                    if left > 0 && self.problem.pods()[pod.index()].runs_on == Some(spot.node) {
                        placement.put(*pod, Some(spot.node));
                        left -= 1;
                    }
                }
                wanted.push((offer.item, spot.node, left));
            }
        }
        for (item, node, count) in wanted {
            let pods = self.items[item].pods.iter();
            let out: Vec<PodId> = pods
                .copied()
                .filter(|pod| placement.node(*pod).is_none())
                .take(count as usize)
                .collect();
            for pod in out {
                placement.put(pod, Some(node));
            }
        }
        placement
    }

    /// Whether a score keeps the frozen values.
    pub(super) fn keeps(&self, score: &Score) -> bool {
        self.frozen.iter().all(|frozen| frozen.kept_by(score))
    }

    /// Whether rules of gangs or parts bind items.
    pub(super) fn has_gangs(&self) -> bool {
        self.items.iter().any(|item| item.gang.is_some())
    }
}

impl Item {
    /// How many may be on a spot of which so many run there.
    fn most_at(&self, problem: &Problem, spot: &Spot, here: u32) -> u32 {
        let pod = self.pods[0];
        let suits = self.moves && problem.suits(pod, spot.node);
        let mut most = if suits { self.pods.len() as i64 } else { i64::from(here) };
        if let Some(part) = self.part {
            let rule = problem.parts()[part.index()].rule;
            let level = rule.level();
            if problem.nodes()[spot.node.index()].domains[level].is_none() {
                return 0;
            }
            if let Rule::AtMost { pods, .. } = rule {
                most = most.min(i64::from(pods));
            }
        }
        for (room, asked) in spot.room.iter().zip(&self.size) {
            if *asked > 0 {
                most = most.min(room / asked);
            }
        }
        most.max(0) as u32
    }
}
