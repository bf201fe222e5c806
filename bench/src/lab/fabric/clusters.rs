//! Clusters of hosts with a fast network inside of each, and slower ones between.
//!
//! ```text
//!   host ib01 ── ib0 ──┐                      ┌── bond0 ── host roce01
//!      │               ├ switch of "ib"       ├ switch of "roce"
//!      │   host ib02 ──┘                      └── host roce02   │
//!     eth0        └ eth0 ┐                        ┌ eth0 ┘     eth0
//!      └──────────── switch ══ link between ══ switch ──────────┘
//! ```
//!
//! Each kind of network of a cluster is a namespace that routes. A host has a device in each, named
//! as the plan names it, and reaches other clusters over the kind of network that connects them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::build::{BuildError, Setup};
use super::count::CountError;
use super::namespace::Namespace;
use super::script::{self, End, HOST_QUEUE_PACKETS};
use super::tool::{self, Tool};
use super::{Node, Rate, sysctl};

/// Bytes of the largest IP packet.
const MTU: u32 = 4200;

/// Packets that wait at most at each end of a link.
const QUEUE_PACKETS: u32 = 50;

/// The second octet of addresses of links between switches; those below are the switches' hosts.
const LINKS: u8 = 255;

/// How long devices may take until they run, and between two looks.
const LINKS_UP: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

/// The most switches, hosts of one, and links between switches: one octet each.
pub(crate) const MOST: usize = 200;

/// A network of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwitchSpec {
    /// For messages.
    pub(crate) name: String,
    /// Its hosts: number and name of the device there.
    pub(crate) hosts: Vec<(usize, String)>,
    /// Of the link of each host, in each direction.
    pub(crate) rate: Rate,
}

/// A link between two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkSpec {
    /// Its ends, by number.
    pub(crate) switches: (usize, usize),
    /// In each direction.
    pub(crate) rate: Rate,
}

/// All of it. The counts are at most [`MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClustersSpec {
    /// Names of hosts, for messages.
    pub(crate) hosts: Vec<String>,
    pub(crate) switches: Vec<SwitchSpec>,
    pub(crate) links: Vec<LinkSpec>,
}

/// Clusters that stand; dropping them takes them down.
#[derive(Debug)]
pub(crate) struct Clusters {
    spec: ClustersSpec,
    hosts: Vec<Node>,
    switches: Vec<Node>,
}

/// One line of a script; writing to a string does not fail.
macro_rules! line {
    ($script:expr, $($text:tt)*) => {
        writeln!($script, $($text)*).expect("a string takes all")
    };
}

impl ClustersSpec {
    /// The address of a host in a network, if it is there.
    pub(crate) fn address(&self, switch: usize, host: usize) -> Option<Ipv4Addr> {
        let slot = self.switches[switch].hosts.iter().position(|(other, _)| *other == host)?;
        Some(address(switch, slot, 2))
    }

    /// The other ends of a network's links, with the number of the link and the own end of it.
    fn ways(&self, switch: usize) -> impl Iterator<Item = (usize, usize, u8)> + '_ {
        self.links.iter().enumerate().filter_map(move |(number, link)| match link.switches {
            (a, b) if a == switch => Some((b, number, 0)),
            (a, b) if b == switch => Some((a, number, 1)),
            _ => None,
        })
    }

    fn switch(&self, switch: usize) -> Setup {
        let (mut routes, mut queues) = (String::from("link set dev lo up\n"), String::new());
        let mut devices = Vec::new();
        let rate = self.switches[switch].rate;
        for slot in 0..self.switches[switch].hosts.len() {
            let device = to_host(slot);
            line!(routes, "addr add {}/24 dev {device}", address(switch, slot, 1));
            script::up(&mut routes, &device);
            script::neighbour(&mut routes, &device, address(switch, slot, 2));
            script::bounded_queue(&mut queues, &device, rate, MTU, QUEUE_PACKETS);
            devices.push(device);
        }
        for (other, number, end) in self.ways(switch) {
            let device = to_switch(number);
            let via = of_link(number, 1 - end);
            line!(routes, "addr add {}/31 dev {device}", of_link(number, end));
            script::up(&mut routes, &device);
            script::neighbour(&mut routes, &device, via);
            line!(routes, "route add 10.{other}.0.0/16 via {via} dev {device}");
            let rate = self.links[number].rate;
            script::bounded_queue(&mut queues, &device, rate, MTU, QUEUE_PACKETS);
            devices.push(device);
        }
        Setup { routes, devices, queues }
    }

    fn host(&self, host: usize) -> Setup {
        let (mut routes, mut queues) = (String::from("link set dev lo up\n"), String::new());
        let mut devices = Vec::new();
        for (number, switch) in self.switches.iter().enumerate() {
            let Some(slot) = switch.hosts.iter().position(|(other, _)| *other == host) else {
                continue;
            };
            let device = &switch.hosts[slot].1;
            let via = address(number, slot, 1);
            line!(routes, "addr add {}/24 dev {device}", address(number, slot, 2));
            script::up(&mut routes, device);
            script::neighbour(&mut routes, device, via);
            let beyond = self.ways(number).map(|(other, _, _)| other);
            for reached in std::iter::once(number).chain(beyond) {
                line!(routes, "route add 10.{reached}.0.0/16 via {via} dev {device}");
            }
            script::bounded_queue(&mut queues, device, switch.rate, MTU, HOST_QUEUE_PACKETS);
            devices.push(device.clone());
        }
        Setup { routes, devices, queues }
    }
}

impl Clusters {
    /// Makes all of it. On an error nothing is left.
    pub(crate) fn build(spec: ClustersSpec) -> Result<Self, BuildError> {
        let host = |name: &String| {
            Node::new(name.clone(), || {
                sysctl::host();
                Ok(())
            })
        };
        let switch = |switch: &SwitchSpec| Node::new(switch.name.clone(), sysctl::switch);
        let hosts: Result<Vec<Node>, _> = spec.hosts.iter().map(host).collect();
        let switches: Result<Vec<Node>, _> = spec.switches.iter().map(switch).collect();
        let clusters = Self { hosts: hosts?, switches: switches?, spec };
        let cables = clusters.cables();
        tool::script(Tool::Ip, &[], &cables).map_err(BuildError::Cables)?;
        for (number, node) in clusters.switches.iter().enumerate() {
            node.set_up(&clusters.spec.switch(number))?;
        }
        for (number, node) in clusters.hosts.iter().enumerate() {
            node.set_up(&clusters.spec.host(number))?;
        }
        clusters.await_links()?;
        Ok(clusters)
    }

    /// Waits until every device of a host runs: the kernel says so a while after its cable is in,
    /// and the library takes no address of a device that does not. What is not in time by then is
    /// told by the ranks.
    fn await_links(&self) -> Result<(), BuildError> {
        let deadline = Instant::now() + LINKS_UP;
        for node in &self.hosts {
            while !node.namespace.run(all_running)? && Instant::now() < deadline {
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Cables are made straight inside their namespaces.
    fn cables(&self) -> String {
        let path = |node: &Node| node.namespace.path().display().to_string();
        let mut script = String::new();
        for (number, switch) in self.spec.switches.iter().enumerate() {
            let at = path(&self.switches[number]);
            for (slot, (host, device)) in switch.hosts.iter().enumerate() {
                let there = path(&self.hosts[*host]);
                let one = &to_host(slot);
                let one = End { namespace: &at, device: one, address: address(number, slot, 1) };
                let other = address(number, slot, 2);
                let other = End { namespace: &there, device, address: other };
                script::cable(&mut script, MTU, &one, &other);
            }
        }
        for (number, link) in self.spec.links.iter().enumerate() {
            let (a, b) = link.switches;
            let (here, there) = (path(&self.switches[a]), path(&self.switches[b]));
            let device = &to_switch(number);
            let one = End { namespace: &here, device, address: of_link(number, 0) };
            let other = End { namespace: &there, device, address: of_link(number, 1) };
            script::cable(&mut script, MTU, &one, &other);
        }
        script
    }

    /// What it was made from.
    pub(crate) const fn spec(&self) -> &ClustersSpec {
        &self.spec
    }

    /// Where processes of a host belong.
    pub(crate) fn host(&self, host: usize) -> &Namespace {
        &self.hosts[host].namespace
    }

    /// Bytes that all links between clusters have carried so far, both directions, headers
    /// included.
    pub(crate) fn between(&self) -> Result<u64, CountError> {
        let mut bytes = 0;
        for (number, node) in self.switches.iter().enumerate() {
            let name = || node.namespace.name().to_owned();
            for (_, link, _) in self.spec.ways(number) {
                let device = to_switch(link);
                let sent = node.counters.sent(&device);
                let sent = sent.map_err(|cause| CountError::Read { name: name(), cause })?;
                bytes += sent.ok_or_else(|| CountError::Device { name: name(), device })?;
            }
        }
        Ok(bytes)
    }
}

/// Whether all devices of the calling thread's namespace run.
fn all_running() -> bool {
    let running = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_RUNNING);
    getifaddrs().is_ok_and(|mut all| all.all(|interface| running(interface.flags)))
}

/// A host's end of its link has the last octet 2, the switch's 1.
fn address(switch: usize, slot: usize, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, octet(switch), octet(slot), end)
}

fn of_link(link: usize, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, LINKS, octet(link), end)
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("the counts of a spec are bounded")
}

/// A switch's device to a host.
fn to_host(slot: usize) -> String {
    format!("h{slot}")
}

/// A switch's device on a link.
fn to_switch(link: usize) -> String {
    format!("x{link}")
}

/// Names of devices that a host could not have: longer than the kernel allows, or with signs that
/// scripts would take for something else, or its own.
pub(crate) fn is_device_name(name: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..16).contains(&name.len()) && name.chars().all(sign) && !["lo", ".", ".."].contains(&name)
}

/// Whether no host has two devices of one name.
pub(crate) fn devices_differ(spec: &ClustersSpec) -> bool {
    let mut seen: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    spec.switches.iter().flat_map(|switch| &switch.hosts).all(|(host, device)| {
        let devices = seen.entry(*host).or_default();
        let new = !devices.contains(&device.as_str());
        devices.push(device);
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ClustersSpec {
        let switch = |name: &str, hosts: &[(usize, &str)], rate| SwitchSpec {
            name: name.to_owned(),
            hosts: hosts.iter().map(|(host, device)| (*host, (*device).to_owned())).collect(),
            rate: Rate::bits(rate),
        };
        ClustersSpec {
            hosts: ["a", "b", "c"].map(str::to_owned).to_vec(),
            switches: vec![
                switch("fast", &[(0, "ib0"), (1, "ib0")], 100),
                switch("slow 1", &[(0, "eth0"), (1, "eth0")], 10),
                switch("slow 2", &[(2, "eth0")], 10),
            ],
            links: vec![LinkSpec { switches: (1, 2), rate: Rate::bits(5) }],
        }
    }

    #[test]
    fn hosts_reach_their_own_network_and_those_that_are_linked_to_it() {
        let spec = spec();
        let routes = spec.host(1).routes;
        for line in [
            "route add 10.0.0.0/16 via 10.0.1.1 dev ib0\n",
            "route add 10.1.0.0/16 via 10.1.1.1 dev eth0\n",
            "route add 10.2.0.0/16 via 10.1.1.1 dev eth0\n",
        ] {
            assert!(routes.contains(line), "{line}: {routes}");
        }
        assert!(!spec.host(2).routes.contains("10.0."), "the fast network is apart");
        let switch = spec.switch(2);
        assert!(switch.routes.contains("route add 10.1.0.0/16 via 10.255.0.0 dev x0\n"));
        assert!(switch.queues.contains("dev x0 parent 1: classid 1:1 htb rate 5bit"));
        assert_eq!(spec.address(1, 1), Some(Ipv4Addr::new(10, 1, 1, 2)));
        assert_eq!(spec.address(0, 2), None);
    }

    #[test]
    fn names_of_devices_are_checked() {
        assert!(is_device_name("mlx5_bond_0") && is_device_name("eth0.12"));
        for name in ["", "lo", "..", "a b", "x;y", "sixteen_letters_"] {
            assert!(!is_device_name(name), "{name}");
        }
        let mut spec = spec();
        assert!(devices_differ(&spec));
        spec.switches[0].hosts[0].1 = "eth0".to_owned();
        assert!(!devices_differ(&spec));
    }
}
