//! A leaf-spine fabric of network namespaces: one for each host, leaf and spine, virtual cables
//! between them with bounded queues emptied at a rate, and the kernel's ECMP at the leaves.
//!
//! | file | what it holds |
//! |---|---|
//! | `options`, `spec`, `rate` | what a user asks for, and the same checked |
//! | `namespace` | network namespaces, and doing things in them |
//! | `script`, `tool` | what `ip`, `tc` and `nft` are told, and running them |
//! | `sysctl`, `offload` | settings of the kernel and of devices |
//! | `build` | making all of it |
//! | `route` | what the kernel says of the path of a flow |
//! | `control` | changing rates, black holes and spraying while it runs |
//! | `count`, `balance` | the kernel's counters, and how even the load is |
//! | `clusters` | another fabric: clusters with fast networks, and slow links between |
//! | `check` | whether the fabric is what it claims to be |
//!
//! It must be built inside a [sandbox](super::sandbox), and ends with it.

mod balance;
mod build;
pub(crate) mod check;
pub(crate) mod clusters;
mod control;
mod count;
mod namespace;
mod offload;
mod options;
mod rate;
mod route;
mod script;
mod spec;
mod sysctl;
mod tool;

use std::net::Ipv4Addr;

pub(crate) use balance::Imbalance;
pub(crate) use build::BuildError;
pub(crate) use control::ControlError;
pub(crate) use count::{Count, CountError, Link, Snapshot, Traffic};
pub(crate) use namespace::{Namespace, NamespaceError};
pub(crate) use options::{FabricOptions, OptionsError, read_toml};
pub(crate) use rate::Rate;
pub(crate) use script::Spray;
pub(crate) use spec::{FabricSpec, Host, Leaf, SpecError, Spine, spine_at};

use count::Counters;

/// A switch or a host.
#[derive(Debug)]
struct Node {
    namespace: Namespace,
    counters: Counters,
}

/// A fabric that stands; dropping it takes it down.
#[derive(Debug)]
pub(crate) struct Fabric {
    spec: FabricSpec,
    leaves: Vec<Node>,
    spines: Vec<Node>,
    hosts: Vec<Node>,
    /// By spine.
    black_holes: Vec<bool>,
}

impl Fabric {
    /// What it is.
    pub(crate) const fn spec(&self) -> &FabricSpec {
        &self.spec
    }

    /// Where processes and sockets of a host belong.
    pub(crate) fn host(&self, host: Host) -> &Namespace {
        &self.hosts[host.index()].namespace
    }

    /// A leaf's namespace.
    pub(crate) fn leaf(&self, leaf: Leaf) -> &Namespace {
        &self.leaves[leaf.index()].namespace
    }

    /// A spine's namespace.
    pub(crate) fn spine(&self, spine: Spine) -> &Namespace {
        &self.spines[spine.index()].namespace
    }

    /// The address of each host, in their order.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.spec.hosts().map(|host| self.spec.address(host)).collect()
    }
}
