//! Tiny random problems, and everything that can be done with them.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::check::check;
use crate::placement::Placement;
use crate::problem::{
    Builder, GangId, Level, Mobility, Node, NodeId, PartId, PodId, PodSpec, Problem, Resource, Rule,
};
use crate::score::{Objective, Score};

/// How many cases of each kind there are: as many, or what `ONEPATH_PACK_CASES` says.
pub(crate) fn cases(usual: u64) -> u64 {
    let asked = std::env::var("ONEPATH_PACK_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(usual)
}

/// What a random case may have.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::solve) struct Kind {
    /// Gangs, some with parts.
    pub(in crate::solve) gangs: bool,
    /// Pods that must stay or may only be evicted, as those of disruption budgets.
    pub(in crate::solve) fixed: bool,
    /// Pods that never preempt.
    pub(in crate::solve) polite: bool,
}

/// None where a gang wants more pods than it came to have.
pub(in crate::solve) fn random(rng: &mut SmallRng, kind: Kind) -> Option<Problem> {
    let resource = |name: &str| Resource { name: name.to_owned(), unit: "" };
    let level = Level { label: "leaf".to_owned(), domains: vec!["a".to_owned(), "b".to_owned()] };
    let mut builder = Builder::new(vec![resource("cpu"), resource("memory")], vec![level]);
    let nodes = rng.random_range(1..=3_usize);
    let mut room = Vec::new();
    for number in 0..nodes {
        let capacity: Box<[i64]> = [rng.random_range(4..=10), rng.random_range(4..=10)].into();
        room.push(capacity.clone());
        let domain = rng.random_bool(0.9).then(|| rng.random_range(0..2));
        builder.node(Node { name: format!("n{number}"), capacity, domains: [domain].into() });
    }
    let gangs: Vec<(GangId, i64, Option<PartId>)> = (0..rng.random_range(0..=2))
        .filter(|_| kind.gangs)
        .map(|number| {
            let gang = builder.gang(format!("g{number}"), rng.random_range(0..=3));
            let rule = if rng.random_bool(0.5) {
                Rule::Together(0)
            } else {
                Rule::AtMost { level: 0, pods: rng.random_range(1..=2) }
            };
            let part = rng.random_bool(0.5).then(|| builder.part("p".to_owned(), gang, rule));
            (gang, rng.random_range(0..3), part)
        })
        .collect();
    for number in 0..rng.random_range(1..=5) {
        let request: Box<[i64]> = [rng.random_range(1..=6), rng.random_range(1..=6)].into();
        let gang = if rng.random_bool(0.6) { gangs.choose(rng).copied() } else { None };
        let priority = gang.map_or_else(|| rng.random_range(0..3), |(_, priority, _)| priority);
        let suits: Box<[bool]> = (0..nodes).map(|_| rng.random_bool(0.8)).collect();
        let class = builder.class(suits);
        let polite = kind.polite && rng.random_bool(0.5);
        for copy in 0..rng.random_range(1..=2) {
            let runs_on = rng.random_bool(0.6).then(|| rng.random_range(0..nodes)).filter(|node| {
                let fits = room[*node].iter().zip(&request).all(|(room, asked)| asked <= room);
                if fits {
                    room[*node].iter_mut().zip(&request).for_each(|(room, asked)| *room -= asked);
                }
                fits
            });
            let mobility = match rng.random_range(0..6) {
                0 if kind.fixed => Mobility::Fixed,
                1 if kind.fixed => Mobility::Evictable,
                _ => Mobility::Movable,
            };
            let id = builder.pod(PodSpec {
                name: format!("p{number}-{copy}"),
                owner: format!("p{number}"),
                priority,
                request: request.clone(),
                class,
                runs_on: runs_on.map(|node| NodeId(node as u32)),
                mobility,
                gang: gang.map(|(gang, ..)| gang),
                part: gang.and_then(|(_, _, part)| part),
            });
            if polite {
                builder.never_preempts(id);
            }
        }
    }
    builder.finish().ok()
}

/// The scores of all allowed placements, each once.
pub(in crate::solve) fn all_scores(problem: &Problem) -> Vec<Score> {
    let nothing = Placement::from_nodes(vec![None; problem.pods().len()]);
    let room = problem.nodes().iter().map(|node| node.capacity.to_vec()).collect();
    let mut all = Walk { problem, placement: nothing, room, found: Vec::new() };
    all.walk(0);
    all.found
}

/// The best of scores.
pub(in crate::solve) fn best(scores: &[Score], objective: Objective) -> Option<&Score> {
    scores.iter().reduce(|a, b| if objective.compare(b, a).is_gt() { b } else { a })
}

struct Walk<'p> {
    problem: &'p Problem,
    placement: Placement,
    /// By node and resource, what is left: more pods cannot bring back what is below 0.
    room: Vec<Vec<i64>>,
    found: Vec<Score>,
}

impl Walk<'_> {
    /// Tries no node and each node for the pods from one on.
    fn walk(&mut self, pod: u32) {
        if pod as usize == self.problem.pods().len() {
            if let Ok(score) = check(self.problem, &self.placement)
                && !self.found.contains(&score)
            {
                self.found.push(score);
            }
            return;
        }
        self.walk(pod + 1);
        let request = &self.problem.pods()[pod as usize].request;
        for node in 0..self.room.len() {
            let change = |room: &mut [i64], sign: i64| {
                room.iter_mut().zip(request).for_each(|(room, asked)| *room -= sign * asked);
            };
            change(&mut self.room[node], 1);
            if self.room[node].iter().all(|room| *room >= 0) {
                self.placement.put(PodId(pod), Some(NodeId(node as u32)));
                self.walk(pod + 1);
                self.placement.put(PodId(pod), None);
            }
            change(&mut self.room[node], -1);
        }
    }
}
