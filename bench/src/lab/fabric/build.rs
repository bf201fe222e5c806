//! Making a fabric.

use std::io;

use super::count::{CountError, Counters};
use super::namespace::{Namespace, NamespaceError};
use super::script::{self, End, HOST_DEVICE, to_host, to_leaf, to_spine};
use super::spec::{FabricSpec, Host, Leaf, Spine, leaf_side, spine_side};
use super::sysctl::{self, SysctlError};
use super::tool::{self, Tool, ToolError};
use super::{Fabric, Node, Rate, offload};

/// Why there is no fabric.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A cable.
    #[error("the cables of the fabric: {0}")]
    Cables(#[source] ToolError),
    /// Addresses, routes or queues.
    #[error("{name}: {cause}")]
    Tool {
        /// Of the node.
        name: String,
        /// Why.
        cause: ToolError,
    },
    /// A setting of the kernel.
    #[error("{name}: {cause}")]
    Sysctl {
        /// Of the node.
        name: String,
        /// Why.
        cause: SysctlError,
    },
    /// A device.
    #[error("{name}: offloads of {device} cannot be set: {cause}")]
    Offload {
        /// Of the node.
        name: String,
        /// Which.
        device: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The counters.
    #[error(transparent)]
    Count(#[from] CountError),
}

impl BuildError {
    /// Whether another system would build it: a kernel that refuses namespaces or settings, a
    /// program that is not there.
    pub(crate) const fn lies_in_the_system(&self) -> bool {
        matches!(
            self,
            Self::Namespace(_)
                | Self::Sysctl { .. }
                | Self::Offload { .. }
                | Self::Cables(ToolError::Missing { .. })
                | Self::Tool { cause: ToolError::Missing { .. }, .. }
        )
    }
}

/// How a node is set up once its cables are there.
pub(super) struct Setup {
    /// For `ip`.
    pub(super) routes: String,
    /// Devices.
    pub(super) devices: Vec<String>,
    /// Their queues, for `tc`.
    pub(super) queues: String,
}

impl Fabric {
    /// Makes all of it; some 25 ms a node. On an error nothing is left.
    pub(crate) fn build(spec: FabricSpec) -> Result<Self, BuildError> {
        let leaves: Result<Vec<Node>, _> =
            spec.leaves().map(|leaf| new_leaf(&spec, leaf)).collect();
        let spines: Result<Vec<Node>, _> = spec.spines().map(new_spine).collect();
        let hosts: Result<Vec<Node>, _> = spec.hosts().map(new_host).collect();
        let black_holes = vec![false; spec.spine_count()];
        let fabric = Self { leaves: leaves?, spines: spines?, hosts: hosts?, black_holes, spec };
        let spec = &fabric.spec;
        for leaf in spec.leaves() {
            let cables = fabric.cables(leaf);
            tool::script(Tool::Ip, &[], &cables).map_err(BuildError::Cables)?;
        }
        for leaf in spec.leaves() {
            fabric.leaves[leaf.index()].set_up(&Setup::leaf(spec, leaf))?;
        }
        for spine in spec.spines() {
            fabric.spines[spine.index()].set_up(&Setup::spine(spec, spine))?;
        }
        for host in spec.hosts() {
            fabric.hosts[host.index()].set_up(&Setup::host(spec, host))?;
        }
        Ok(fabric)
    }

    /// The cables of one leaf, made straight inside their namespaces, so that nothing shows up
    /// anywhere else. (One leaf at a time: `ip` keeps every namespace of a script open.)
    fn cables(&self, leaf: Leaf) -> String {
        let path = |node: &Node| node.namespace.path().display().to_string();
        let (spec, mut script) = (&self.spec, String::new());
        let at = path(&self.leaves[leaf.index()]);
        let mut cable = |device: &str, address, other: &End<'_>| {
            script::cable(&mut script, spec.mtu(), &End { namespace: &at, device, address }, other);
        };
        for spine in spec.spines() {
            let namespace = &path(&self.spines[spine.index()]);
            let (device, address) = (&to_leaf(leaf), spine_side(leaf, spine));
            let other = End { namespace, device, address };
            cable(&to_spine(spine), leaf_side(leaf, spine), &other);
        }
        for host in spec.hosts_of(leaf) {
            let namespace = &path(&self.hosts[host.index()]);
            let other = End { namespace, device: HOST_DEVICE, address: spec.address(host) };
            cable(&to_host(spec, host), spec.gateway(host), &other);
        }
        script
    }
}

impl Setup {
    fn leaf(spec: &FabricSpec, leaf: Leaf) -> Self {
        let up = spec.spines().map(|spine| (to_spine(spine), spec.uplink_rate()));
        let down = spec.hosts_of(leaf).map(|host| (to_host(spec, host), spec.rate()));
        Self::new(spec, script::leaf(spec, leaf), up.chain(down))
    }

    fn spine(spec: &FabricSpec, spine: Spine) -> Self {
        let devices = spec.leaves().map(|leaf| (to_leaf(leaf), spec.uplink_rate()));
        Self::new(spec, script::spine(spec, spine), devices)
    }

    fn host(spec: &FabricSpec, host: Host) -> Self {
        let devices = [(HOST_DEVICE.to_owned(), spec.rate())];
        Self::new(spec, script::host(spec, host), devices)
    }

    /// Devices, each with the rate of its queue.
    fn new(
        spec: &FabricSpec,
        routes: String,
        rates: impl IntoIterator<Item = (String, Rate)>,
    ) -> Self {
        let (mut devices, mut queues) = (Vec::new(), String::new());
        for (device, rate) in rates {
            script::queue(&mut queues, spec, &device, rate);
            devices.push(device);
        }
        Self { routes, devices, queues }
    }
}

fn new_leaf(spec: &FabricSpec, leaf: Leaf) -> Result<Node, BuildError> {
    Node::new(format!("leaf {}", leaf.0), || sysctl::leaf(spec, leaf))
}

fn new_spine(spine: Spine) -> Result<Node, BuildError> {
    Node::new(format!("spine {}", spine.0), sysctl::switch)
}

fn new_host(host: Host) -> Result<Node, BuildError> {
    Node::new(format!("host {}", host.0), || {
        sysctl::host();
        Ok(())
    })
}

impl Node {
    /// Settings come before devices, which inherit them.
    pub(super) fn new(
        name: String,
        settings: impl FnOnce() -> Result<(), SysctlError> + Send,
    ) -> Result<Self, BuildError> {
        let namespace = Namespace::create(name)?;
        let counters = namespace.run(|| (settings(), Counters::open()));
        let (set, counters) = counters?;
        set.map_err(|cause| BuildError::Sysctl { name: namespace.name().to_owned(), cause })?;
        let counters = counters
            .map_err(|cause| CountError::Read { name: namespace.name().to_owned(), cause })?;
        Ok(Self { namespace, counters })
    }

    pub(super) fn set_up(&self, setup: &Setup) -> Result<(), BuildError> {
        let name = || self.namespace.name().to_owned();
        self.namespace.run(|| {
            for device in &setup.devices {
                offload::receive_in_order(device).map_err(|cause| BuildError::Offload {
                    name: name(),
                    device: device.clone(),
                    cause,
                })?;
            }
            tool::script(Tool::Ip, &[], &setup.routes)
                .and_then(|_| tool::script(Tool::Tc, &[], &setup.queues))
                .map(drop)
                .map_err(|cause| BuildError::Tool { name: name(), cause })
        })?
    }
}
