//! What `ip`, `tc` and `nft` are told. Pure text, from the spec.
//!
//! Devices: a leaf has `s0`, `s1`, … to the spines and `h0`, `h1`, … to its hosts, a spine has
//! `l0`, `l1`, … to the leaves, a host has `eth0`.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::rate::Rate;
use super::spec::{FabricSpec, Host, Leaf, Spine, leaf_side, spine_side};

/// Table 100 + n at a leaf leads to spine n - 1 only; so does mark n.
const TABLES_FROM: u32 = 100;

/// The table that swallows everything.
const SWALLOWING_TABLE: u32 = 666;

/// Before all tables but the local one, so that the spine itself can still be reached.
const SWALLOWING_PRIORITY: u32 = 50;

/// How a leaf spreads packets over its spines, if not by their flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spray {
    /// One after the other.
    RoundRobin,
    /// Each packet by chance.
    Random,
}

/// The leaf's device to a spine.
pub(crate) fn to_spine(spine: Spine) -> String {
    format!("s{}", spine.0)
}

/// The spine's device to a leaf.
pub(crate) fn to_leaf(leaf: Leaf) -> String {
    format!("l{}", leaf.0)
}

/// The leaf's device to a host.
pub(crate) fn to_host(spec: &FabricSpec, host: Host) -> String {
    format!("h{}", spec.slot_of(host))
}

/// The host's device.
pub(crate) const HOST_DEVICE: &str = "eth0";

/// One line of a script; writing to a string does not fail.
macro_rules! line {
    ($script:expr, $($text:tt)*) => {
        writeln!($script, $($text)*).expect("a string takes all")
    };
}

/// One end of a virtual cable.
pub(crate) struct End<'a> {
    /// The path of its namespace.
    pub(crate) namespace: &'a str,
    /// The device there.
    pub(crate) device: &'a str,
    /// The device's address.
    pub(crate) address: Ipv4Addr,
}

/// A virtual cable.
pub(crate) fn cable(script: &mut String, mtu: u32, one: &End<'_>, other: &End<'_>) {
    let [one, other] = [one, other].map(|end| {
        let End { namespace, device, address } = end;
        format!("name {device} address {} netns {namespace} mtu {mtu}", hardware_address(*address))
    });
    line!(script, "link add {one} type veth peer {other}");
}

/// Of the device with this address, so that nobody needs to ask for it.
fn hardware_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The other end of a cable is known for good. The kernel learns at most some 1000 neighbours, in
/// all namespaces together, and what it asks for them would be counted as traffic.
pub(super) fn neighbour(script: &mut String, device: &str, address: Ipv4Addr) {
    let hardware = hardware_address(address);
    line!(script, "neigh add {address} lladdr {hardware} dev {device} nud permanent");
}

/// No packet leaves or arrives as one of several. (`gro_max_size`: receive offload is on for its
/// order, see [`super::offload`], but nothing fits into a merged packet.)
pub(super) fn up(script: &mut String, device: &str) {
    line!(script, "link set dev {device} gso_max_segs 1 gro_max_size 1 up");
}

/// Addresses and routes of a leaf.
pub(crate) fn leaf(spec: &FabricSpec, leaf: Leaf) -> String {
    let mut script = String::from("link set dev lo up\n");
    for spine in spec.spines() {
        let device = to_spine(spine);
        line!(script, "addr add {}/31 dev {device}", leaf_side(leaf, spine));
        up(&mut script, &device);
        neighbour(&mut script, &device, spine_side(leaf, spine));
    }
    for host in spec.hosts_of(leaf) {
        let device = to_host(spec, host);
        line!(script, "addr add {}/24 dev {device}", spec.gateway(host));
        up(&mut script, &device);
        neighbour(&mut script, &device, spec.address(host));
    }
    for other in spec.leaves().filter(|other| *other != leaf) {
        write!(script, "route add 10.{}.0.0/16", other.0).expect("a string takes all");
        for spine in spec.spines() {
            let (via, device) = (spine_side(leaf, spine), to_spine(spine));
            write!(script, " nexthop via {via} dev {device}").expect("a string takes all");
        }
        script.push('\n');
        for spine in spec.spines() {
            let (via, device) = (spine_side(leaf, spine), to_spine(spine));
            let table = TABLES_FROM + 1 + spine.0;
            line!(script, "route add 10.{}.0.0/16 via {via} dev {device} table {table}", other.0);
        }
    }
    for spine in spec.spines() {
        let (mark, table) = (1 + spine.0, TABLES_FROM + 1 + spine.0);
        line!(script, "rule add fwmark {mark} table {table} priority {table}");
    }
    script
}

/// Addresses and routes of a spine.
pub(crate) fn spine(spec: &FabricSpec, spine: Spine) -> String {
    let mut script = String::from("link set dev lo up\n");
    for leaf in spec.leaves() {
        let device = to_leaf(leaf);
        line!(script, "addr add {}/31 dev {device}", spine_side(leaf, spine));
        up(&mut script, &device);
        let via = leaf_side(leaf, spine);
        neighbour(&mut script, &device, via);
        line!(script, "route add 10.{}.0.0/16 via {via} dev {device}", leaf.0);
    }
    line!(script, "route add blackhole default table {SWALLOWING_TABLE}");
    script
}

/// Address and route of a host.
pub(crate) fn host(spec: &FabricSpec, host: Host) -> String {
    let mut script = String::from("link set dev lo up\n");
    line!(script, "addr add {}/24 dev {HOST_DEVICE}", spec.address(host));
    up(&mut script, HOST_DEVICE);
    neighbour(&mut script, HOST_DEVICE, spec.gateway(host));
    line!(script, "route add default via {}", spec.gateway(host));
    script
}

/// Packets that wait in a host for its own link. A network card takes no more than it can send and
/// lets its host wait; the kernel does so for TCP alone (small queues), and would drop datagrams
/// where no real host drops anything.
pub(super) const HOST_QUEUE_PACKETS: u32 = 1_000;

/// The bounded queue of a device and the rate at which it is emptied.
pub(crate) fn queue(script: &mut String, spec: &FabricSpec, device: &str, rate: Rate) {
    let in_host = device == HOST_DEVICE;
    let packets = if in_host { HOST_QUEUE_PACKETS } else { spec.queue_packets() };
    bounded_queue(script, device, rate, spec.mtu(), packets);
}

/// A queue of so many packets of at most `mtu` bytes.
pub(super) fn bounded_queue(script: &mut String, device: &str, rate: Rate, mtu: u32, packets: u32) {
    line!(script, "qdisc add dev {device} root handle 1: htb default 1");
    line!(script, "class add {}", class(device, rate, mtu));
    line!(script, "qdisc add dev {device} parent 1:1 handle 10: pfifo limit {packets}");
}

/// Another rate for a queue.
pub(crate) fn change_rate(script: &mut String, spec: &FabricSpec, device: &str, rate: Rate) {
    line!(script, "class change {}", class(device, rate, spec.mtu()));
}

/// The burst is two packets, so that the rate holds over times as short as a queue.
fn class(device: &str, rate: Rate, mtu: u32) -> String {
    let (rate, burst, quantum) = (rate.get(), mtu * 2 + 1000, mtu * 2);
    format!(
        "dev {device} parent 1: classid 1:1 htb rate {rate}bit ceil {rate}bit \
         burst {burst} cburst {burst} quantum {quantum}"
    )
}

/// A spine swallows what it should forward, or no longer does. A route and not a filter: a filter
/// of forwarded packets comes after their TTL is checked, and would still answer probes.
pub(crate) fn black_hole(on: bool) -> String {
    let verb = if on { "add" } else { "del" };
    format!("rule {verb} priority {SWALLOWING_PRIORITY} lookup {SWALLOWING_TABLE}\n")
}

/// The packet filter of a leaf that gives each packet to another leaf a path of its own.
pub(crate) fn spray(spec: &FabricSpec, leaf: Leaf, spray: Option<Spray>) -> String {
    // Deleting what is not there is an error, adding what is there is none.
    let mut script = String::from("add table ip spray\ndelete table ip spray\n");
    let Some(spray) = spray else { return script };
    let (generator, own, spines) = (spray.generator(), leaf.0, spec.spine_count());
    line!(script, "table ip spray {{");
    line!(script, " chain pre {{");
    line!(script, "  type filter hook prerouting priority mangle");
    line!(
        script,
        "  ip saddr 10.{own}.0.0/16 ip daddr != 10.{own}.0.0/16 \
         meta mark set numgen {generator} mod {spines} offset 1"
    );
    line!(script, " }}");
    line!(script, "}}");
    script
}

impl Spray {
    const fn generator(self) -> &'static str {
        match self {
            Self::RoundRobin => "inc",
            Self::Random => "random",
        }
    }
}
