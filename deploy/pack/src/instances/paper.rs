//! Instances as "Priority Matters" makes them (arXiv 2511.08373, section 5).
//!
//! `ReplicaSet`s of 1 to 4 equal pods, each with a priority, 100 to 1000 m of CPU and 100 to 1000
//! MB of memory, all uniform; equal nodes that have what all pods ask for, divided by utilisation
//! and nodes, rounded up. Pods arrive one by one and the default scheduler places them, with
//! preemption; seeds for which it leaves no pod pending are passed over.

use serde::Serialize;

use crate::default_scheduler::{Arrival, Settings, schedule};
use crate::problem::{Amounts, BuildError, Builder, Mobility, Node, PodSpec, Problem};
use crate::random::Random;

use super::{build, capacity, resource, settle};

/// How many seeds are tried for each instance that is asked for.
const SEEDS_PER_INSTANCE: u64 = 2_000;

const MEGABYTE: i64 = 1_000_000;

/// What instances of one kind have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Setup {
    /// Nodes, at least 1.
    pub nodes: u32,
    /// Pods for each node.
    pub pods_per_node: u32,
    /// Priorities, at least 1.
    pub priorities: u32,
    /// What all pods ask for, in percent of what all nodes have; at least 1.
    pub utilisation: u32,
}

/// One problem, with the seed that it came from.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its kind.
    pub setup: Setup,
    /// Its seed.
    pub seed: u64,
    /// What the default scheduler left: placed pods run, the others are pending.
    pub problem: Problem,
}

/// The first `count` instances from a seed on; fewer where the default scheduler hardly ever leaves
/// a pod pending.
pub fn instances(setup: Setup, seed: u64, count: usize) -> Result<Vec<Instance>, BuildError> {
    let mut found = Vec::with_capacity(count);
    let seeds = (0..SEEDS_PER_INSTANCE * count as u64).map(|number| seed.wrapping_add(number));
    for seed in seeds {
        if found.len() == count {
            break;
        }
        let problem = problem(setup, seed)?;
        if problem.pods().iter().any(|pod| pod.runs_on.is_none()) {
            found.push(Instance { setup, seed, problem });
        }
    }
    Ok(found)
}

/// What the default scheduler leaves of a seed's pods.
pub fn problem(setup: Setup, seed: u64) -> Result<Problem, BuildError> {
    let mut random = Random::new(seed);
    let sets = replica_sets(setup, &mut random);
    let requests: Vec<&Amounts> =
        sets.iter().flat_map(|set| (0..set.replicas).map(|_| &set.request)).collect();
    let capacity = capacity(&requests, setup.nodes, setup.utilisation);
    let mut frame = Builder::new(vec![resource("cpu", "m"), resource("memory", "MB")], Vec::new());
    for number in 0..setup.nodes {
        let (name, domains) = (format!("node-{number}"), Box::default());
        frame.node(Node { name, capacity: in_bytes(&capacity), domains });
    }
    let class = frame.class(vec![true; setup.nodes as usize].into_boxed_slice());
    let mut pods: Vec<PodSpec> = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        pods.extend((0..set.replicas).map(|replica| PodSpec {
            name: format!("bench/set-{number}-{replica}"),
            owner: format!("set-{number}"),
            priority: set.priority,
            request: in_bytes(&set.request),
            class,
            runs_on: None,
            mobility: Mobility::Movable,
            gang: None,
            part: None,
        }));
    }
    let settings = Settings { arrival: Arrival::OneByOne, preemption: true, seed: random.next() };
    let placement = schedule(&build(&frame, &pods)?, &settings);
    settle(&mut pods, &placement);
    build(&frame, &pods)
}

/// Millicores and megabytes as the units of a problem.
fn in_bytes(amounts: &Amounts) -> Amounts {
    Box::new([amounts[0], amounts[1] * MEGABYTE])
}

struct ReplicaSet {
    priority: i64,
    replicas: u32,
    /// Millicores and megabytes.
    request: Amounts,
}

fn replica_sets(setup: Setup, random: &mut Random) -> Vec<ReplicaSet> {
    let mut left = setup.nodes * setup.pods_per_node;
    let mut sets = Vec::new();
    while left > 0 {
        let replicas = (random.between(1, 4) as u32).min(left);
        let priority = random.between(1, i64::from(setup.priorities));
        let request = Box::new([random.between(100, 1000), random.between(100, 1000)]);
        sets.push(ReplicaSet { priority, replicas, request });
        left -= replicas;
    }
    sets
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};

    use super::{Setup, instances};
    use crate::check::check;
    use crate::placement::Placement;
    use crate::problem::Problem;

    const SETUP: Setup = Setup { nodes: 8, pods_per_node: 4, priorities: 4, utilisation: 100 };

    fn digest(problems: impl Iterator<Item = Problem>) -> String {
        let mut text = String::new();
        for problem in problems {
            let capacity = &problem.nodes()[0].capacity;
            let _ =
                writeln!(text, "{} {:?} {capacity:?}", problem.nodes().len(), problem.priorities());
            for pod in problem.pods() {
                let node = pod.runs_on.map(|node| node.0);
                let _ = writeln!(text, "{} {} {:?} {node:?}", pod.name, pod.tier, pod.request);
            }
        }
        Sha256::digest(text).iter().take(8).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    #[test]
    fn a_seed_gives_the_instances_that_it_has_always_given() {
        let found = instances(SETUP, 1, 3).expect("instances");
        assert_eq!(found.len(), 3);
        assert_eq!(digest(found.into_iter().map(|instance| instance.problem)), "f4067921b2b1b379");
    }

    #[test]
    fn instances_have_pods_pending_and_their_present_state_is_allowed() {
        for instance in instances(SETUP, 7, 4).expect("instances") {
            let problem = &instance.problem;
            assert_eq!(problem.pods().len(), 32);
            assert!(problem.pods().iter().any(|pod| pod.runs_on.is_none()));
            check(problem, &Placement::as_it_is(problem)).expect("an allowed state");
        }
    }
}
