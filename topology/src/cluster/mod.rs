//! Clusters as data: which nodes there are, with which GPUs and NICs, and the links between.
//!
//! An [`Inventory`] has **clusters**: nodes that share their own fast fabric. A cluster has
//! **pools**: nodes of one kind (GPUs, memory, NICs), so one stage of a pipeline lies in one
//! pool. Clusters are connected by **links**, often slower.
//!
//! What a planner asks:
//!
//! | question | answer |
//! |---|---|
//! | which pools, in the order of the file | [`Inventory::pools`] |
//! | nodes, GPUs a node, kind, memory | [`Pool::nodes`], [`Pool::gpu`] |
//! | the network between the nodes of a pool | [`Pool::inside`] |
//! | the network between the nodes of a cluster | [`Cluster::inside`] |
//! | between the GPUs of a node | [`Pool::between_gpus`] |
//! | the network between two clusters | [`Inventory::between`] |
//!
//! | module | what it holds |
//! |---|---|
//! | `network` | [`NetworkKind`], [`Nic`], [`Network`] |
//! | `pool` | [`Gpu`], [`Pool`], [`Cluster`] |
//! | [`hosts`] | host list expressions like `node[001-064]` |
//! | [`structure`] | switches, blocks and zones from Slurm or Kubernetes |
//! | [`mod@file`] | our inventory file |
//! | `inventory` | [`Inventory`], [`Link`], and the widest route between clusters |

pub mod file;
pub mod hosts;
mod inventory;
mod network;
mod pool;
pub mod structure;

pub use inventory::{Inventory, InventoryError, Link};
pub use network::{Network, NetworkKind, NetworkKindError, Nic, gigabits};
pub use pool::{Cluster, ClusterId, Gpu, NodeId, Pool};

/// The most clusters of an inventory.
pub const MAX_CLUSTERS: usize = 64;
/// The most nodes of an inventory.
pub const MAX_NODES: usize = 16_384;
/// The most GPUs of a node.
pub const MAX_GPUS_PER_NODE: u32 = 64;
/// The most NICs of a node.
pub const MAX_NICS: usize = 32;

/// Shows at most so many characters of a wrong value.
const SHOWN: usize = 64;

/// The beginning of a wrong value, fit to be printed in one line.
pub(crate) fn shown(value: &str) -> String {
    let mut text = printable(value, SHOWN);
    if value.chars().nth(SHOWN).is_some() {
        text.push_str("...");
    }
    text
}

/// At most `most` characters of a text, those escaped that would end the line or not be seen.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut printed = String::new();
    for c in text.chars().take(most) {
        if c == '\'' || c == '"' { printed.push(c) } else { printed.extend(c.escape_debug()) }
    }
    printed
}
