//! A node, or none, for each pod.

use crate::problem::{NodeId, PodId, Problem};

/// Where each pod is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    nodes: Vec<Option<NodeId>>,
}

impl Placement {
    /// Everything stays as it is: running pods where they run, pending ones without a node.
    pub fn as_it_is(problem: &Problem) -> Self {
        Self { nodes: problem.pods().iter().map(|pod| pod.runs_on).collect() }
    }

    /// From a node, or none, for each pod in order.
    pub fn from_nodes(nodes: Vec<Option<NodeId>>) -> Self {
        Self { nodes }
    }

    /// How many pods it is about.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it is about no pod.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where a pod is to be.
    pub fn node(&self, pod: PodId) -> Option<NodeId> {
        self.nodes[pod.index()]
    }

    /// Puts a pod on a node, or takes it off.
    pub fn put(&mut self, pod: PodId, node: Option<NodeId>) {
        self.nodes[pod.index()] = node;
    }

    /// A node, or none, for each pod in order.
    pub fn nodes(&self) -> &[Option<NodeId>] {
        &self.nodes
    }
}
