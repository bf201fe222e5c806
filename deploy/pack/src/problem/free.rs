//! Room that is free as things are, for pods that never preempt.
//!
//! Whether such pods fit beside what runs is a sum like any other. So each resource that they ask
//! for is there a second time: a node has of it what its running pods leave, and only they take of
//! it while they wait. Whoever keeps to sums keeps to the rule.

use std::collections::BTreeSet;

use super::{Node, PodId, PodSpec, Resource};

/// Adds the room that is free now to resources, nodes and pods, as far as a waiting pod of these
/// asks for it.
pub(super) fn add(
    resources: &mut Vec<Resource>,
    nodes: &mut [Node],
    pods: &mut [PodSpec],
    polite: &BTreeSet<PodId>,
) {
    let waiting = |pod: &usize| pods.get(*pod).is_some_and(|pod| pod.runs_on.is_none());
    let waits: BTreeSet<usize> = polite.iter().map(|pod| pod.index()).filter(waiting).collect();
    let asked = |kind: &usize| waits.iter().any(|pod| pods[*pod].request[*kind] > 0);
    let kinds: Vec<usize> = (0..resources.len()).filter(asked).collect();
    for kind in &kinds {
        let Resource { name, unit } = resources[*kind].clone();
        resources.push(Resource { name: format!("{name} that is free now"), unit });
    }
    let mut used = vec![vec![0_i128; kinds.len()]; nodes.len()];
    for pod in &*pods {
        if let Some(node) = pod.runs_on {
            let used = used[node.index()].iter_mut().zip(&kinds);
            used.for_each(|(sum, kind)| *sum += i128::from(pod.request[*kind]));
        }
    }
    for (node, used) in nodes.iter_mut().zip(used) {
        let free = kinds.iter().zip(used);
        let free = free.map(|(kind, used)| (i128::from(node.capacity[*kind]) - used).max(0));
        // At most the capacity, so it fits.
        let free = free.map(|free| i64::try_from(free).unwrap_or(i64::MAX));
        node.capacity = node.capacity.iter().copied().chain(free).collect();
    }
    for (number, pod) in pods.iter_mut().enumerate() {
        let waits = waits.contains(&number);
        let request = &pod.request;
        let free = kinds.iter().map(|kind| if waits { request[*kind] } else { 0 });
        pod.request = request.iter().copied().chain(free).collect();
    }
}
