//! Independent of every solver: is a placement allowed, and what is it worth.
//!
//! Written from the definitions of [`crate::problem`] alone, so that a solver's mistake shows.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use crate::placement::Placement;
use crate::problem::{NodeId, PodId, Problem, Rule};
use crate::score::{Score, TierScore};

/// What a placement must not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// It is about another number of pods.
    #[error("a placement of {given} pods for a problem of {pods}")]
    Length {
        /// How many it is about.
        given: usize,
        /// How many there are.
        pods: usize,
    },
    /// A node that there is not.
    #[error("{pod}: on node {node}, there are {nodes}")]
    NoSuchNode {
        /// The pod.
        pod: String,
        /// The node's number.
        node: u32,
        /// How many there are.
        nodes: usize,
    },
    /// More than a node has.
    #[error("{node}: {used} of {capacity} {resource}")]
    Overfull {
        /// The node.
        node: String,
        /// The resource.
        resource: String,
        /// What its pods ask for.
        used: i128,
        /// What it has.
        capacity: i64,
    },
    /// Pods that never preempt have no room beside those that run there now.
    #[error(
        "{node}: pods that never preempt would need {used} of {capacity} {resource} beside what \
         runs there"
    )]
    NotFree {
        /// The node.
        node: String,
        /// The resource.
        resource: String,
        /// What they and the running pods ask for.
        used: i128,
        /// What the node has.
        capacity: i64,
    },
    /// A node that does not suit the pod, or a pod that may not be moved there.
    #[error("{pod}: must not be on {node}")]
    NotAllowed {
        /// The pod.
        pod: String,
        /// The node.
        node: String,
    },
    /// A running pod that must stay is left out.
    #[error("{pod}: must stay where it runs")]
    Unfixed {
        /// The pod.
        pod: String,
    },
    /// A gang in part.
    #[error("gang {gang}: {placed} pods placed, must be 0 or at least {least}")]
    Partial {
        /// The gang.
        gang: String,
        /// How many have a node.
        placed: u32,
        /// How many there must be: its minimum, and not fewer than run now.
        least: u32,
    },
    /// A part of a gang against its rule.
    #[error("part {part} of gang {gang}: {pods} pods in {domain} of {label}, {must_be}")]
    Misplaced {
        /// The part.
        part: String,
        /// The gang.
        gang: String,
        /// How many pods.
        pods: u32,
        /// The domain, or `no domain`.
        domain: String,
        /// The level's label.
        label: String,
        /// What the rule says.
        must_be: String,
    },
}

/// The score of an allowed placement, or the first thing that is wrong with it.
pub fn check(problem: &Problem, placement: &Placement) -> Result<Score, Violation> {
    let pods = problem.pods().len();
    if placement.len() != pods {
        return Err(Violation::Length { given: placement.len(), pods });
    }
    for (id, _) in problem.numbered_pods() {
        check_pod(problem, placement, id)?;
    }
    check_free(problem, placement)?;
    check_capacity(problem, placement)?;
    check_gangs(problem, placement)?;
    check_parts(problem, placement)?;
    Ok(score(problem, placement))
}

fn check_pod(problem: &Problem, placement: &Placement, id: PodId) -> Result<(), Violation> {
    let pod = || problem.pods()[id.index()].name.clone();
    match placement.node(id) {
        None if problem.may_be_left_out(id) => Ok(()),
        None => Err(Violation::Unfixed { pod: pod() }),
        Some(node) if node.index() >= problem.nodes().len() => {
            Err(Violation::NoSuchNode { pod: pod(), node: node.0, nodes: problem.nodes().len() })
        }
        Some(node) if problem.allows(id, node) => Ok(()),
        Some(node) => {
            let node = problem.nodes()[node.index()].name.clone();
            Err(Violation::NotAllowed { pod: pod(), node })
        }
    }
}

/// Waiting pods that never preempt are placed only where what runs now leaves room, whether it
/// stays or not.
fn check_free(problem: &Problem, placement: &Placement) -> Result<(), Violation> {
    let waits = |id: PodId| {
        let waits = problem.pods()[id.index()].runs_on.is_none() && !problem.preempts(id);
        placement.node(id).filter(|_| waits)
    };
    let taken: HashSet<NodeId> = problem.numbered_pods().filter_map(|(id, _)| waits(id)).collect();
    if taken.is_empty() {
        return Ok(());
    }
    for index in 0..problem.own_resources() {
        let mut asked: HashMap<NodeId, i128> = HashMap::new();
        let mut used = asked.clone();
        for (id, pod) in problem.numbered_pods() {
            let amount = i128::from(pod.request[index]);
            if let Some(node) = waits(id) {
                *asked.entry(node).or_default() += amount;
            }
            if let Some(node) = pod.runs_on.or(waits(id)).filter(|node| taken.contains(node)) {
                *used.entry(node).or_default() += amount;
            }
        }
        for (number, node) in (0..).map(NodeId).zip(problem.nodes()) {
            let of = |sums: &HashMap<NodeId, i128>| sums.get(&number).copied().unwrap_or(0);
            let (used, capacity) = (of(&used), node.capacity[index]);
            if of(&asked) > 0 && used > i128::from(capacity) {
                let resource = problem.resources()[index].name.clone();
                return Err(Violation::NotFree {
                    node: node.name.clone(),
                    resource,
                    used,
                    capacity,
                });
            }
        }
    }
    Ok(())
}

fn check_capacity(problem: &Problem, placement: &Placement) -> Result<(), Violation> {
    for (index, resource) in problem.resources().iter().enumerate() {
        let mut used = vec![0_i128; problem.nodes().len()];
        for (id, pod) in problem.numbered_pods() {
            if let Some(node) = placement.node(id) {
                used[node.index()] += i128::from(pod.request[index]);
            }
        }
        for (node, used) in problem.nodes().iter().zip(used) {
            let capacity = node.capacity[index];
            if used > i128::from(capacity) {
                let (node, resource) = (node.name.clone(), resource.name.clone());
                return Err(Violation::Overfull { node, resource, used, capacity });
            }
        }
    }
    Ok(())
}

fn check_gangs(problem: &Problem, placement: &Placement) -> Result<(), Violation> {
    for gang in problem.gangs() {
        let count =
            |of: &dyn Fn(PodId) -> bool| gang.pods.iter().filter(|pod| of(**pod)).count() as u32;
        let placed = count(&|pod| placement.node(pod).is_some());
        let running = count(&|pod| problem.pods()[pod.index()].runs_on.is_some());
        let least = gang.minimum.max(running);
        if placed > 0 && placed < least {
            return Err(Violation::Partial { gang: gang.name.clone(), placed, least });
        }
    }
    Ok(())
}

fn check_parts(problem: &Problem, placement: &Placement) -> Result<(), Violation> {
    for part in problem.parts() {
        let (level, most) = match part.rule {
            Rule::Together(level) => (level, u32::MAX),
            Rule::AtMost { level, pods } => (level, pods),
        };
        let mut inside: HashMap<Option<u32>, u32> = HashMap::new();
        for node in part.pods.iter().filter_map(|pod| placement.node(*pod)) {
            *inside.entry(problem.nodes()[node.index()].domains[level]).or_default() += 1;
        }
        let domains: HashSet<_> = inside.keys().copied().collect();
        let scattered = matches!(part.rule, Rule::Together(_)) && domains.len() > 1;
        let wrong = inside
            .iter()
            .filter(|(domain, pods)| domain.is_none() || **pods > most || scattered)
            .min_by_key(|(domain, _)| **domain);
        if let Some((domain, pods)) = wrong {
            let level = &problem.levels()[level];
            let named = domain.map(|domain| level.domains[domain as usize].clone());
            return Err(Violation::Misplaced {
                part: part.name.clone(),
                gang: problem.gangs()[part.gang.index()].name.clone(),
                pods: *pods,
                domain: named.unwrap_or_else(|| "no domain".to_owned()),
                label: level.label.clone(),
                must_be: match part.rule {
                    Rule::Together(_) => "must all be in one domain".to_owned(),
                    Rule::AtMost { pods, .. } => format!("at most {pods} in a domain"),
                },
            });
        }
    }
    Ok(())
}

/// What a placement is worth, allowed or not.
fn score(problem: &Problem, placement: &Placement) -> Score {
    let stays = |id: PodId| placement.node(id) == problem.pods()[id.index()].runs_on;
    let runs = |id: PodId| problem.pods()[id.index()].runs_on.is_some();
    let mut tiers = vec![TierScore::default(); problem.priorities().len()];
    for (id, pod) in problem.numbered_pods() {
        let tier = &mut tiers[pod.tier.index()];
        tier.placed += u32::from(placement.node(id).is_some());
        let restarts = match pod.gang {
            None => !stays(id),
            Some(gang) => {
                let gang = &problem.gangs()[gang.index()];
                gang.pods.iter().any(|other| runs(*other) && !stays(*other))
            }
        };
        tier.disturbed += u32::from(runs(id) && restarts);
    }
    Score { tiers }
}
