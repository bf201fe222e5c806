//! Running pods that a placement leaves out for nobody more urgent.
//!
//! Two pending pods that take the room of one running pod of their own tier are more pods placed,
//! so a placement that says what could be may do that. Who carries one out must not: Kubernetes
//! evicts for more urgent pods alone.

use std::collections::HashMap;

use crate::placement::Placement;
use crate::problem::{GangId, NodeId, PodId, Problem, Tier};

/// Running pods that are left out though no pod that is more urgent, and may preempt, gets a node
/// where room is made by them. With a gang all of its running pods.
///
/// Room passes from node to node by pods that move and by gangs that are left out as a whole;
/// nodes without such ties are judged each by itself.
pub fn unjustified(problem: &Problem, placement: &Placement) -> Vec<PodId> {
    let mut rooms = Ties { above: (0..problem.nodes().len() as u32).map(NodeId).collect() };
    let mut gangs: HashMap<GangId, NodeId> = HashMap::new();
    for (id, pod) in problem.numbered_pods() {
        match (pod.runs_on, placement.node(id)) {
            (Some(from), Some(to)) => rooms.join(from, to),
            (Some(from), None) => {
                if let Some(gang) = pod.gang {
                    let first = *gangs.entry(gang).or_insert(from);
                    rooms.join(first, from);
                }
            }
            (None, _) => {}
        }
    }
    let mut urgent: HashMap<NodeId, Tier> = HashMap::new();
    for (id, pod) in problem.numbered_pods().filter(|(_, pod)| pod.runs_on.is_none()) {
        if let Some(node) = placement.node(id).filter(|_| problem.preempts(id)) {
            let tier = urgent.entry(rooms.top(node)).or_insert(pod.tier);
            *tier = pod.tier.min(*tier);
        }
    }
    let mut unjustified = Vec::new();
    for (id, pod) in problem.numbered_pods() {
        let Some(from) = pod.runs_on.filter(|_| placement.node(id).is_none()) else { continue };
        if urgent.get(&rooms.top(from)).is_none_or(|tier| *tier >= pod.tier) {
            unjustified.push(id);
        }
    }
    unjustified
}

/// Nodes between which room passes, as trees.
struct Ties {
    above: Vec<NodeId>,
}

impl Ties {
    fn top(&mut self, mut node: NodeId) -> NodeId {
        while self.above[node.index()] != node {
            let next = self.above[self.above[node.index()].index()];
            self.above[node.index()] = next;
            node = next;
        }
        node
    }

    fn join(&mut self, one: NodeId, other: NodeId) {
        let (one, other) = (self.top(one), self.top(other));
        self.above[one.index()] = other;
    }
}

#[cfg(test)]
mod tests {
    use super::unjustified;
    use crate::placement::Placement;
    use crate::problem::{Builder, Mobility, Node, NodeId, PodId, PodSpec, Problem, Resource};

    /// Three nodes of 2; on each a pod of 2 of priority 5 but on the last, which is empty; pending
    /// are two pods of 1 of priority 5 and one of 2 of priority 9.
    fn problem(urgent_preempts: bool) -> Problem {
        let cpu = Resource { name: "cpu".to_owned(), unit: "m" };
        let mut builder = Builder::new(vec![cpu], Vec::new());
        for name in ["a", "b", "c"] {
            builder.node(Node { name: name.into(), capacity: [2].into(), domains: [].into() });
        }
        let class = builder.class([true; 3].into());
        for (name, priority, size, runs_on) in
            [("r", 5, 2, Some(0)), ("s", 5, 2, Some(1)), ("p", 5, 1, None), ("q", 5, 1, None)]
                .into_iter()
                .chain([("u", 9, 2, None)])
        {
            let id = builder.pod(PodSpec {
                name: name.to_owned(),
                owner: name.to_owned(),
                priority,
                request: [size].into(),
                class,
                runs_on: runs_on.map(NodeId),
                mobility: Mobility::Movable,
                gang: None,
                part: None,
            });
            if name == "u" && !urgent_preempts {
                builder.never_preempts(id);
            }
        }
        builder.finish().expect("a problem")
    }

    fn found(problem: &Problem, nodes: [Option<u32>; 5]) -> Vec<u32> {
        let nodes = nodes.map(|node| node.map(NodeId)).to_vec();
        let found = unjustified(problem, &Placement::from_nodes(nodes));
        found.into_iter().map(|PodId(pod)| pod).collect()
    }

    #[test]
    fn a_pod_is_left_out_for_more_urgent_ones_on_its_node_and_for_no_others() {
        let problem = problem(true);
        assert_eq!(found(&problem, [Some(0), Some(1), None, None, Some(2)]), [0_u32; 0]);
        assert_eq!(found(&problem, [None, Some(1), None, None, Some(0)]), [0_u32; 0]);
        let two_for_one = [None, Some(1), Some(0), Some(0), Some(2)];
        assert_eq!(found(&problem, two_for_one), [0], "the urgent one is elsewhere");
        let for_nobody = [Some(0), None, None, None, None];
        assert_eq!(found(&problem, for_nobody), [1]);
    }

    #[test]
    fn room_that_a_move_passes_on_counts_for_who_gets_it() {
        let problem = problem(true);
        assert_eq!(found(&problem, [Some(1), None, None, None, Some(0)]), [0_u32; 0]);
    }

    #[test]
    fn a_pod_that_never_preempts_is_no_reason() {
        assert_eq!(found(&problem(false), [None, Some(1), None, None, Some(0)]), [0]);
    }
}
