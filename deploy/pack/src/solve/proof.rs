//! Why a value cannot be better.

use serde::{Deserialize, Serialize};

/// Why no placement that keeps the values of earlier stages has a better one in this stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Proof {
    /// The bound is all pods of the tier.
    #[default]
    AllPlaced,
    /// The bound is none disturbed.
    NothingDisturbed,
    /// Weighted by resource, the pods ask for more than the nodes have.
    Capacity {
        /// One weight for each of the problem's resources, in order.
        weights: Vec<u64>,
    },
    /// Prices of pods at which no node earns more: a dual solution of the packing of nodes.
    Prices(Prices),
    /// A solver tried everything; to be checked by running it again.
    Exhausted {
        /// Which solver.
        solver: String,
        /// Decisions, or what it counts instead.
        steps: u64,
        /// What it was started with.
        seed: u64,
    },
}

/// A dual solution of the packing of nodes, in millionths of a pod of the stage's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The price of a pod, for each of the problem's sets.
    pub sets: Vec<i64>,
    /// What one pod is worth in the frozen values, in the order of the stages.
    pub frozen: Vec<i64>,
}
