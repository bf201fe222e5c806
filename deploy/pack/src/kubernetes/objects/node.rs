//! Nodes.

use serde::Deserialize;

use super::{Metadata, Quantities};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Name and labels.
    pub metadata: Metadata,
    /// What is asked of it.
    pub spec: NodeSpec,
    /// What it has.
    pub status: NodeStatus,
}

/// What is asked of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Cordoned: nothing new comes here.
    pub unschedulable: bool,
    /// What keeps pods away.
    pub taints: Vec<Taint>,
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// For pods.
    pub allocatable: Quantities,
    /// In all; stands in where a file by hand has no `allocatable`.
    pub capacity: Quantities,
}

impl NodeStatus {
    /// What it has for pods.
    pub fn offer(&self) -> &Quantities {
        if self.allocatable.is_empty() { &self.capacity } else { &self.allocatable }
    }
}

/// Keeps pods away that do not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}
