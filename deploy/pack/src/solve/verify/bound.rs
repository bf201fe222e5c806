//! What a proof proves, computed from the problem alone.
//!
//! Nothing here is shared with the solvers: neither how they write a stage down nor their bounds,
//! so that a mistake of theirs shows. A stage wants the most pods of a tier placed, or the most of
//! its running pods left where they run, of all placements that are as good in the stages before
//! it. Rules of gangs are left out, which can only make a bound weaker.
//!
//! By prices (Lagrange): say a pod of a set costs `c` of the set, and a pod that counts in an
//! earlier stage brings `b` of that stage. A placement keeps to the sets' sizes and to the earlier
//! values, so it is worth no more than what all pods of all sets cost, less what the earlier values
//! bring, and what nodes earn at most: each pod on a node earns what it is worth and brings, less
//! what it costs, and no node earns more than its best filling.

use super::filling::{Part, Steps, most};
use crate::problem::{Mobility, NodeId, Pod, Problem, Rule, SetId, Tier};
use crate::score::Goal;
use crate::solve::proof::{Prices, Proof};

/// A pod of the wanted value, in the unit of prices.
const UNIT: i128 = 1_000_000;
/// Greater prices and weights are no proof.
const LARGEST: i64 = 1 << 40;

/// The value of an earlier stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) tier: Tier,
    pub(super) goal: Goal,
    pub(super) value: u32,
}

/// A stage, as a certificate tells it.
pub(super) struct Claim<'a> {
    problem: &'a Problem,
    tier: Tier,
    goal: Goal,
    kept: &'a [Kept],
    /// By pod, whether it stays where it runs in every placement that counts.
    certain: Vec<bool>,
    /// By tier, how many of its pods do.
    certain_of: Vec<i128>,
    /// By tier, how many of its pods run.
    running_of: Vec<i128>,
}

impl<'a> Claim<'a> {
    pub(super) fn new(problem: &'a Problem, tier: Tier, goal: Goal, kept: &'a [Kept]) -> Self {
        let undisturbed = |tier: Tier| {
            kept.iter().any(|k| k.tier == tier && k.goal == Goal::Disturbed && k.value == 0)
        };
        let is_certain = |pod: &Pod| {
            pod.runs_on.is_some() && (pod.mobility == Mobility::Fixed || undisturbed(pod.tier))
        };
        let certain: Vec<bool> = problem.pods().iter().map(is_certain).collect();
        let mut certain_of = vec![0; problem.priorities().len()];
        let mut running_of = certain_of.clone();
        for (pod, certain) in problem.pods().iter().zip(&certain) {
            certain_of[pod.tier.index()] += i128::from(*certain);
            running_of[pod.tier.index()] += i128::from(pod.runs_on.is_some());
        }
        Self { problem, tier, goal, kept, certain, certain_of, running_of }
    }

    /// The bound that a proof gives; none where it is a solver's word.
    pub(super) fn bound(&self, proof: &Proof, steps: &mut Steps) -> Option<u32> {
        let all = match self.goal {
            Goal::Placed => self.problem.pods().iter().filter(|pod| pod.tier == self.tier).count(),
            Goal::Disturbed => 0,
        } as u32;
        let proved = match proof {
            Proof::Capacity { weights } if self.goal == Goal::Placed => self.by_weights(weights),
            Proof::Prices(prices) if self.fits(prices) => self.by_prices(prices, steps),
            Proof::Exhausted { .. } => return None,
            Proof::AllPlaced
            | Proof::NothingDisturbed
            | Proof::Capacity { .. }
            | Proof::Prices(_) => all,
        };
        Some(match self.goal {
            Goal::Placed => proved.min(all),
            Goal::Disturbed => proved,
        })
    }

    /// Whether a bound says no more than one that was proved.
    pub(super) fn follows(&self, bound: u32, proved: u32) -> bool {
        match self.goal {
            Goal::Placed => bound >= proved,
            Goal::Disturbed => bound <= proved,
        }
    }

    fn free(&self) -> impl Iterator<Item = &'a Pod> {
        self.problem.pods().iter().zip(&self.certain).filter(|(_, c)| !**c).map(|(pod, _)| pod)
    }

    /// All nodes as one, with resources weighted and added up: room for so many of the smallest
    /// pods, beside the smallest that the earlier stages need.
    fn by_weights(&self, weights: &[u64]) -> u32 {
        let weigh = |amounts: &[i64]| -> i128 {
            let of = amounts.iter().zip(weights);
            of.map(|(amount, weight)| {
                i128::from(*amount) * i128::from((*weight).min(LARGEST as u64))
            })
            .sum()
        };
        let mut room: i128 = self.problem.nodes().iter().map(|node| weigh(&node.capacity)).sum();
        for (pod, certain) in self.problem.pods().iter().zip(&self.certain) {
            if *certain {
                room -= weigh(&pod.request);
            }
        }
        let smallest = |tier: Tier| {
            let of_tier = self.free().filter(|pod| pod.tier == tier);
            let mut sizes: Vec<i128> = of_tier.map(|pod| weigh(&pod.request)).collect();
            sizes.sort_unstable();
            sizes.into_iter()
        };
        let others = self.kept.iter().filter(|k| k.goal == Goal::Placed && k.tier != self.tier);
        for kept in others {
            let needed = i128::from(kept.value) - self.certain_of[kept.tier.index()];
            room -= smallest(kept.tier).take(needed.max(0) as usize).sum::<i128>();
        }
        let fit = smallest(self.tier).take_while(|size| {
            room -= size;
            room >= 0
        });
        (fit.count() as i128 + self.certain_of[self.tier.index()]) as u32
    }

    fn fits(&self, prices: &Prices) -> bool {
        prices.sets.len() == self.problem.sets().len()
            && prices.frozen.len() == self.kept.len()
            && prices.sets.iter().chain(&prices.frozen).all(|price| (0..=LARGEST).contains(price))
    }

    fn by_prices(&self, prices: &Prices, steps: &mut Steps) -> u32 {
        let books = Books::new(self, prices);
        let mut total = -self.brought(prices);
        for (set, cost) in books.sets.iter().zip(&prices.sets) {
            total += set.free * i128::from(*cost);
        }
        for node in 0..self.problem.nodes().len() as u32 {
            let (parts, room) = books.parts(NodeId(node));
            total += most(&parts, &room, steps);
        }
        let worth = total.div_euclid(UNIT) + self.certain_of[self.tier.index()];
        let value = match self.goal {
            Goal::Placed => worth,
            Goal::Disturbed => self.running_of[self.tier.index()] - worth,
        };
        value.clamp(0, i128::from(u32::MAX)) as u32
    }

    /// What free pods bring at least by the values of earlier stages.
    fn brought(&self, prices: &Prices) -> i128 {
        let of = |(kept, price): (&Kept, &i64)| {
            let tier = kept.tier.index();
            let value = i128::from(kept.value);
            let least = match kept.goal {
                Goal::Placed => value - self.certain_of[tier],
                Goal::Disturbed => self.running_of[tier] - value - self.certain_of[tier],
            };
            least * i128::from(*price)
        };
        self.kept.iter().zip(&prices.frozen).map(of).sum()
    }
}

/// A set of equal pods.
struct SetBooks {
    /// Pods that may come to any node that suits.
    free: i128,
    /// What one earns that is placed: what it brings, less what it costs.
    placed: i128,
    /// What a pod earns that cannot move, so that no price is on it.
    unmoved: i128,
    /// In addition, what one earns that stays.
    stays: i128,
}

/// What pods earn at prices.
struct Books<'c, 'a> {
    claim: &'c Claim<'a>,
    sets: Vec<SetBooks>,
    /// By node, then by set: free pods that run there, and those that may only leave.
    here: Vec<Vec<(SetId, [i64; 2])>>,
    /// By node, what certain pods leave.
    room: Vec<Vec<i64>>,
}

impl<'c, 'a> Books<'c, 'a> {
    fn new(claim: &'c Claim<'a>, prices: &Prices) -> Self {
        let problem = claim.problem;
        let earns = |tier: Tier, goal: Goal| {
            let kept = claim.kept.iter().zip(&prices.frozen);
            let kept = kept.filter(|(kept, _)| kept.tier == tier && kept.goal == goal);
            let wanted = claim.tier == tier && claim.goal == goal;
            kept.map(|(_, price)| i128::from(*price)).sum::<i128>() + i128::from(wanted) * UNIT
        };
        let sets = problem.sets().iter().zip(&prices.sets).map(|(set, cost)| {
            let tier = problem.pods()[set.pods[0].index()].tier;
            let unmoved = earns(tier, Goal::Placed);
            let stays = earns(tier, Goal::Disturbed);
            SetBooks { free: 0, placed: unmoved - i128::from(*cost), unmoved, stays }
        });
        let room = problem.nodes().iter().map(|node| node.capacity.to_vec());
        let here = vec![Vec::new(); problem.nodes().len()];
        let mut books = Self { claim, sets: sets.collect(), here, room: room.collect() };
        for (pod, certain) in problem.pods().iter().zip(&claim.certain) {
            books.enter(pod, *certain);
        }
        books
    }

    fn enter(&mut self, pod: &Pod, certain: bool) {
        let moves = pod.runs_on.is_none() || pod.mobility == Mobility::Movable;
        self.sets[pod.set.index()].free += i128::from(!certain && moves);
        let Some(node) = pod.runs_on else { return };
        if certain {
            let room = self.room[node.index()].iter_mut().zip(&pod.request);
            return room.for_each(|(room, asked)| *room = (*room - asked).max(0));
        }
        let here = &mut self.here[node.index()];
        let at = here.iter().position(|(set, _)| *set == pod.set).unwrap_or(here.len());
        if at == here.len() {
            here.push((pod.set, [0; 2]));
        }
        here[at].1[usize::from(!moves)] += 1;
    }

    /// What may come to a node, and its room.
    fn parts(&self, node: NodeId) -> (Vec<Part<'a>>, Vec<i64>) {
        let room = self.room[node.index()].clone();
        let mut parts = Vec::new();
        for (number, set) in self.sets.iter().enumerate() {
            if set.placed > 0 {
                self.add(&mut parts, SetId(number as u32), node, 0);
            }
        }
        for (set, [free, leaving]) in &self.here[node.index()] {
            if *free > 0 && self.sets[set.index()].placed <= 0 {
                self.add(&mut parts, *set, node, *free);
            }
            if *leaving > 0 {
                let SetBooks { unmoved, stays, .. } = self.sets[set.index()];
                let copies = self.copies(*set, node, *leaving);
                parts.push(self.part(*set, unmoved + stays, copies));
            }
        }
        (parts, room)
    }

    /// The pods of a set that run on a node, and the others; `only` so many, if that is not 0.
    fn add(&self, parts: &mut Vec<Part<'a>>, set: SetId, node: NodeId, only: i64) {
        let problem = self.claim.problem;
        let SetBooks { free, placed, stays, .. } = self.sets[set.index()];
        let here = self.here[node.index()].iter().find(|(other, _)| *other == set);
        let here = here.map_or(0, |(_, [free, _])| *free);
        let suits = problem.suits(problem.sets()[set.index()].pods[0], node);
        let all = if only > 0 || !suits { here } else { free as i64 };
        let most = self.copies(set, node, all);
        let staying = here.min(most);
        parts.push(self.part(set, placed + stays, staying));
        parts.push(self.part(set, placed, most - staying));
    }

    fn part(&self, set: SetId, profit: i128, copies: i64) -> Part<'a> {
        let problem = self.claim.problem;
        let first = problem.sets()[set.index()].pods[0];
        Part { size: &problem.pods()[first.index()].request, profit, copies }
    }

    /// How many of so many the rule of their part lets onto a node.
    fn copies(&self, set: SetId, node: NodeId, pods: i64) -> i64 {
        let problem = self.claim.problem;
        let first = problem.sets()[set.index()].pods[0];
        let Some(part) = problem.pods()[first.index()].part else { return pods };
        let rule = problem.parts()[part.index()].rule;
        match (problem.nodes()[node.index()].domains[rule.level()], rule) {
            (None, _) => 0,
            (_, Rule::Together(_)) => pods,
            (_, Rule::AtMost { pods: most, .. }) => pods.min(i64::from(most)),
        }
    }
}
