//! What is where at the moment, and which nodes take a pod.

use crate::placement::Placement;
use crate::problem::{NodeId, PodId, Problem};

/// `minFeasibleNodesToFind` and `minFeasibleNodesPercentageToFind` of `schedule_one.go`.
const LEAST_NODES_FOUND: usize = 100;
const LEAST_PERCENTAGE_FOUND: usize = 5;

/// What a pod counts as that asks for none: `DefaultMilliCPURequest` and `DefaultMemoryRequest` of
/// `pkg/scheduler/util/pod_resources.go`.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// A resource that nodes are rated by.
pub(super) struct Rated {
    /// Its place in [`Problem::resources`].
    pub(super) resource: usize,
    /// What a pod counts as that asks for none.
    default: i64,
    /// By node: what its pods count as (`NodeInfo.NonZeroRequested`).
    non_zero: Vec<i64>,
}

/// The present state.
pub(super) struct State<'a> {
    pub(super) problem: &'a Problem,
    placement: Placement,
    /// By node, then by resource (`NodeInfo.Requested`).
    used: Vec<i64>,
    /// By node, in the order in which they came.
    on_node: Vec<Vec<PodId>>,
    /// By pod: when it came where it is.
    started: Vec<u64>,
    pub(super) rated: Vec<Rated>,
    /// `Scheduler.nextStartNodeIndex`.
    next_start: usize,
}

impl<'a> State<'a> {
    pub(super) fn new(problem: &'a Problem) -> Self {
        let nodes = problem.nodes().len();
        let rated = [("cpu", DEFAULT_MILLI_CPU), ("memory", DEFAULT_MEMORY_BYTES)];
        let rated = rated.into_iter().filter_map(|(name, default)| {
            let resource = problem.resources().iter().position(|kind| kind.name == name)?;
            Some(Rated { resource, default, non_zero: vec![0; nodes] })
        });
        let mut state = Self {
            problem,
            placement: Placement::from_nodes(vec![None; problem.pods().len()]),
            used: vec![0; nodes * problem.resources().len()],
            on_node: vec![Vec::new(); nodes],
            started: vec![0; problem.pods().len()],
            rated: rated.collect(),
            next_start: 0,
        };
        for (id, pod) in problem.numbered_pods() {
            if let Some(node) = pod.runs_on {
                state.bind(id, node, u64::from(id.0));
            }
        }
        state
    }

    pub(super) fn bind(&mut self, pod: PodId, node: NodeId, now: u64) {
        self.placement.put(pod, Some(node));
        self.on_node[node.index()].push(pod);
        self.started[pod.index()] = now;
        self.count(pod, node, 1);
    }

    pub(super) fn unbind(&mut self, pod: PodId) {
        if let Some(node) = self.placement.node(pod) {
            self.placement.put(pod, None);
            self.on_node[node.index()].retain(|other| *other != pod);
            self.count(pod, node, -1);
        }
    }

    fn count(&mut self, pod: PodId, node: NodeId, sign: i64) {
        let request = &self.problem.pods()[pod.index()].request;
        let row = &mut self.used[node.index() * request.len()..][..request.len()];
        row.iter_mut().zip(request).for_each(|(used, asked)| *used += sign * asked);
        for rated in &mut self.rated {
            rated.non_zero[node.index()] += sign * rated.non_zero_request(request);
        }
    }

    pub(super) fn used(&self, node: NodeId) -> &[i64] {
        let resources = self.problem.resources().len();
        &self.used[node.index() * resources..][..resources]
    }

    pub(super) fn on_node(&self, node: NodeId) -> &[PodId] {
        &self.on_node[node.index()]
    }

    pub(super) fn started(&self, pod: PodId) -> u64 {
        self.started[pod.index()]
    }

    pub(super) fn into_placement(self) -> Placement {
        self.placement
    }

    /// Nodes that take a pod: on a large cluster not all of them, but the first enough ones from
    /// where the last search ended.
    pub(super) fn feasible(&mut self, pod: PodId) -> Vec<NodeId> {
        let nodes = self.problem.nodes().len();
        let enough = nodes_to_find(nodes);
        let mut found = Vec::new();
        let mut looked_at = 0;
        while looked_at < nodes && found.len() < enough {
            let node = NodeId(((self.next_start + looked_at) % nodes) as u32);
            looked_at += 1;
            if self.problem.allows(pod, node) && self.fits(pod, node, self.used(node)) {
                found.push(node);
            }
        }
        self.next_start = (self.next_start + looked_at) % nodes.max(1);
        found
    }

    /// `fitsRequest` of `noderesources/fit.go`: what is not asked for is not looked at.
    pub(super) fn fits(&self, pod: PodId, node: NodeId, used: &[i64]) -> bool {
        let request = &self.problem.pods()[pod.index()].request;
        let capacity = &self.problem.nodes()[node.index()].capacity;
        let mut rows = request.iter().zip(used).zip(capacity).take(self.problem.own_resources());
        rows.all(|((asked, used), capacity)| *asked == 0 || *asked <= capacity - used)
    }
}

impl Rated {
    pub(super) fn non_zero(&self, node: NodeId) -> i64 {
        self.non_zero[node.index()]
    }

    pub(super) fn non_zero_request(&self, request: &[i64]) -> i64 {
        match request[self.resource] {
            0 => self.default,
            asked => asked,
        }
    }
}

/// `Scheduler.numFeasibleNodesToFind` with the default of `percentageOfNodesToScore`.
fn nodes_to_find(nodes: usize) -> usize {
    if nodes < LEAST_NODES_FOUND {
        return nodes;
    }
    let percentage = 50_usize.saturating_sub(nodes / 125).max(LEAST_PERCENTAGE_FOUND);
    (nodes * percentage / 100).max(LEAST_NODES_FOUND)
}

#[cfg(test)]
mod tests {
    use super::nodes_to_find;

    #[test]
    fn a_small_cluster_is_looked_at_whole_and_a_large_one_in_part() {
        // Cases of TestNumFeasibleNodesToFind in schedule_one_test.go.
        let cases = [(10, 10), (1000, 420), (6000, 300)];
        for (nodes, enough) in cases {
            assert_eq!(nodes_to_find(nodes), enough, "{nodes} nodes");
        }
    }
}
