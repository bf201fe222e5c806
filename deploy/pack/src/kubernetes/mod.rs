//! Kubernetes objects as a [`Problem`](crate::problem::Problem).
//!
//! | module | what it holds |
//! |---|---|
//! | [`quantity`] | `100m`, `1Gi`, exactly |
//! | [`objects`] | the parts of nodes, pods and others that matter here |
//! | [`snapshot`] | all objects of one moment |
//! | [`read`] | files of objects |
//! | [`plan`] | what a plan says of worker pods |
//! | `request` | what a pod asks for, as kube-scheduler counts it |
//! | `filter` | taints, selectors, affinity to nodes |
//! | `apart` | anti-affinity and host ports, as made resources or as nodes that do not suit |
//! | `mobility` | what may be done with a running pod |
//! | `gangs` | which pods are one gang, and the rules of its parts |
//! | `survey` | which pods are to be decided on |
//! | `rooms` | resources, what nodes have and pods take of them |
//! | `assemble` | the problem |
//! | [`reason`] | why a pod is not decided on |
//! | [`marks`] | our labels and annotations |

mod apart;
mod assemble;
mod filter;
mod gangs;
pub mod marks;
mod mobility;
pub mod objects;
pub mod plan;
pub mod quantity;
pub mod read;
pub mod reason;
mod request;
mod rooms;
pub mod snapshot;
mod survey;

#[cfg(test)]
mod tests;

pub use snapshot::{
    BudgetUse, HOSTNAME, Mapping, MovablePods, Snapshot, SnapshotError, SnapshotOptions,
};

pub(crate) use crate::words::one_line;
