//! Large clusters: leaves, gangs that run and gangs that wait, and many pods that run beside them.
//!
//! Each gang has two parts (pipeline stages), each together below one leaf. About half of the gangs
//! run; the default scheduler has placed all other pods around them; the other gangs wait, and
//! mostly no leaf has room for them unless pods are moved or give way.

use crate::default_scheduler::{Arrival, Settings, schedule};
use crate::problem::{
    Amounts, BuildError, Builder, ClassId, Level, Mobility, Node, NodeId, PodSpec, Problem, Rule,
};
use crate::random::Random;

use super::{build, capacity, resource, settle};

const NODES_PER_LEAF: usize = 16;
/// What all pods ask for together, those that wait included, in percent.
const UTILISATION: u32 = 98;
const PARTS: usize = 2;
const GIGABYTE: i64 = 1_000_000_000;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes, at least 1.
    pub nodes: u32,
    /// Pods, those of gangs included; more if gangs alone have more.
    pub pods: u32,
    /// Gangs.
    pub gangs: u32,
}

/// A cluster of this size.
pub fn problem(size: Size, seed: u64) -> Result<Problem, BuildError> {
    let mut random = Random::new(seed);
    let mut gangs: Vec<Vec<PodSpec>> = Vec::new();
    for gang in 0..size.gangs {
        gangs.push(gang_pods(gang, &mut random));
    }
    let in_gangs: usize = gangs.iter().map(Vec::len).sum();
    let singles = single_pods((size.pods as usize).saturating_sub(in_gangs), &mut random);
    let all = gangs.iter().flatten().chain(&singles);
    let requests: Vec<&Amounts> = all.map(|pod| &pod.request).collect();
    let capacity = capacity(&requests, size.nodes, UTILISATION);

    let frame = nodes(size.nodes as usize, &capacity);
    let mut free = vec![capacity; size.nodes as usize];
    let running = gangs.len().div_ceil(2);
    gangs[..running].iter_mut().for_each(|gang| put_below_leaves(gang, &mut free));
    let (present, waiting): (Vec<_>, Vec<_>) =
        gangs.into_iter().enumerate().partition(|(_, gang)| gang[0].runs_on.is_some());
    let in_present: usize = present.iter().map(|(_, gang)| gang.len()).sum();
    let mut pods: Vec<PodSpec> = present.iter().flat_map(|(_, gang)| gang.clone()).collect();
    pods.extend(singles);
    let settings = Settings { arrival: Arrival::OneByOne, preemption: false, seed: random.next() };
    let placement = schedule(&build(&frame, &pods)?, &settings);
    settle(&mut pods, &placement);
    with_gangs(frame, [present, waiting].concat(), &pods.split_off(in_present))
}

/// Equal nodes below leaves, and a class that all of them are of.
fn nodes(count: usize, capacity: &Amounts) -> Builder {
    let leaves = count.div_ceil(NODES_PER_LEAF);
    let domains = (0..leaves).map(|leaf| format!("leaf-{leaf}")).collect();
    let label = "network.topology.nvidia.com/leaf".to_owned();
    let kinds = [("cpu", "m"), ("memory", "B"), ("nvidia.com/gpu", "")];
    let kinds = kinds.map(|(name, unit)| resource(name, unit)).to_vec();
    let mut frame = Builder::new(kinds, vec![Level { label, domains }]);
    for number in 0..count {
        let domains = Box::new([Some((number / NODES_PER_LEAF) as u32)]);
        let name = format!("node-{number}");
        frame.node(Node { name, capacity: capacity.clone(), domains });
    }
    frame.class(vec![true; count].into_boxed_slice());
    frame
}

/// The pods of a gang, part by part; 4 to 16 in each.
fn gang_pods(gang: u32, random: &mut Random) -> Vec<PodSpec> {
    let (priority, workers) = (random.between(3, 4), random.between(4, 16));
    let request: Amounts = Box::new([12_000, 64 * GIGABYTE, 4]);
    let ranks = 0..workers * PARTS as i64;
    ranks.map(|rank| pod(format!("gang-{gang}"), rank, priority, &request)).collect()
}

/// Sets of 1 to 16 equal pods, a quarter of them with one or two GPUs.
fn single_pods(count: usize, random: &mut Random) -> Vec<PodSpec> {
    let mut pods = Vec::with_capacity(count);
    for set in 0.. {
        if pods.len() == count {
            break;
        }
        let replicas = random.between(1, 16).min((count - pods.len()) as i64);
        let priority = random.between(1, 4);
        let (cpu, memory) = (random.between(500, 8_000), random.between(1, 32) * GIGABYTE);
        let gpus = if random.below(4) == 0 { random.between(1, 2) } else { 0 };
        let request: Amounts = Box::new([cpu, memory, gpus]);
        pods.extend((0..replicas).map(|at| pod(format!("set-{set}"), at, priority, &request)));
    }
    pods
}

fn pod(owner: String, number: i64, priority: i64, request: &Amounts) -> PodSpec {
    PodSpec {
        name: format!("bench/{owner}-{number}"),
        owner,
        priority,
        request: request.clone(),
        class: ClassId(0),
        runs_on: None,
        mobility: Mobility::Movable,
        gang: None,
        part: None,
    }
}

/// Lets each part of a gang run below the first leaf that has room, if all parts find one.
fn put_below_leaves(gang: &mut [PodSpec], free: &mut [Amounts]) {
    let mut left = free.to_vec();
    let mut places: Vec<NodeId> = Vec::with_capacity(gang.len());
    for part in gang.chunks(gang.len() / PARTS) {
        for leaf in (0..left.len()).step_by(NODES_PER_LEAF) {
            let nodes = leaf..left.len().min(leaf + NODES_PER_LEAF);
            let found = first_fit(part, &mut left[nodes.clone()]);
            if let Some(found) = found {
                places.extend(found.into_iter().map(|at| NodeId((leaf + at) as u32)));
                break;
            }
        }
    }
    if places.len() == gang.len() {
        free.clone_from_slice(&left);
        gang.iter_mut().zip(places).for_each(|(pod, node)| pod.runs_on = Some(node));
    }
}

/// A node of these for each pod, taken off what is free; nothing is taken if one finds none.
fn first_fit(pods: &[PodSpec], free: &mut [Amounts]) -> Option<Vec<usize>> {
    let mut left = free.to_vec();
    let mut places = Vec::with_capacity(pods.len());
    for pod in pods {
        let fits =
            |free: &Amounts| free.iter().zip(&pod.request).all(|(free, asked)| asked <= free);
        let at = left.iter().position(fits)?;
        left[at].iter_mut().zip(&pod.request).for_each(|(free, asked)| *free -= asked);
        places.push(at);
    }
    free.clone_from_slice(&left);
    Some(places)
}

/// All pods, with gangs and parts said.
fn with_gangs(
    mut frame: Builder,
    gangs: Vec<(usize, Vec<PodSpec>)>,
    singles: &[PodSpec],
) -> Result<Problem, BuildError> {
    for (number, mut pods) in gangs {
        let gang = frame.gang(format!("gang-{number}"), pods.len() as u32);
        let workers = pods.len() / PARTS;
        for (stage, workers) in pods.chunks_mut(workers).enumerate() {
            let part = frame.part(format!("stage-{stage}"), gang, Rule::Together(0));
            for pod in workers {
                (pod.gang, pod.part) = (Some(gang), Some(part));
            }
        }
        for pod in pods {
            frame.pod(pod);
        }
    }
    build(&frame, singles)
}

#[cfg(test)]
mod tests {
    use super::{Size, problem};
    use crate::check::check;
    use crate::placement::Placement;

    #[test]
    fn a_large_cluster_has_gangs_that_run_and_gangs_that_wait_and_is_allowed_as_it_is() {
        let size = Size { nodes: 100, pods: 800, gangs: 10 };
        let first = problem(size, 3).expect("a problem");
        assert_eq!(first, problem(size, 3).expect("the same problem"));
        assert_eq!(first.pods().len(), 800);
        let runs =
            |gang: &crate::problem::Gang| first.pods()[gang.pods[0].index()].runs_on.is_some();
        let running = first.gangs().iter().filter(|gang| runs(gang)).count();
        assert!((1..10).contains(&running), "{running} gangs run");
        check(&first, &Placement::as_it_is(&first)).expect("an allowed state");
    }
}
