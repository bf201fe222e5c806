//! Which node each replica is on.

use std::collections::BTreeMap;

use super::{Plan, Replica};

/// A node, by kind of GPU and number.
pub(super) type Node<'a> = (&'a str, u32);

/// The nodes of all replicas, by pipeline, stage, replica. A replica that spans nodes is said to
/// be on its first.
pub(super) struct Places<'a> {
    nodes: Vec<Vec<Vec<Node<'a>>>>,
}

/// Packing of one kind of GPU: the next node, and what is free on the one before.
#[derive(Default)]
struct Filled {
    next: u32,
    free: u32,
}

impl<'a> Places<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let mut filled: BTreeMap<&str, Filled> = BTreeMap::new();
        let mut place = |replica: &'a Replica| {
            if let Some(node) = replica.node {
                return (replica.gpu.as_str(), node);
            }
            let here = filled.entry(&replica.gpu).or_default();
            let wanted = replica.tensor_parallel;
            if here.free < wanted {
                let nodes = wanted.div_ceil(replica.gpus_per_node);
                here.next += nodes;
                here.free = nodes * replica.gpus_per_node - wanted;
                return (replica.gpu.as_str(), here.next - nodes);
            }
            here.free -= wanted;
            (replica.gpu.as_str(), here.next - 1)
        };
        let mut nodes = Vec::with_capacity(plan.pipelines.len());
        for pipeline in &plan.pipelines {
            let mut stages = Vec::with_capacity(pipeline.stages.len());
            for stage in &pipeline.stages {
                stages.push(stage.replicas.iter().map(&mut place).collect());
            }
            nodes.push(stages);
        }
        Self { nodes }
    }

    pub(super) fn node(&self, pipeline: usize, stage: usize, replica: usize) -> Node<'a> {
        self.nodes[pipeline][stage][replica]
    }

    /// The nodes of all replicas of a stage.
    pub(super) fn stage(&self, pipeline: usize, stage: usize) -> &[Node<'a>] {
        &self.nodes[pipeline][stage]
    }
}
