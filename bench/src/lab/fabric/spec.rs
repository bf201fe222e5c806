//! A fabric that can be built: checked once, here.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::options::FabricOptions;
use super::rate::Rate;

/// A leaf switch, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct Leaf(pub(crate) u32);

/// A spine switch, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct Spine(pub(crate) u32);

/// A host, from 0; the hosts of a leaf have numbers that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct Host(pub(crate) u32);

impl Leaf {
    /// As an index.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Spine {
    /// As an index.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Host {
    /// As an index.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bounds of whole numbers: field, least, most.
const LEAVES: (&str, u64, u64) = ("leaves", 2, 64);
const SPINES: (&str, u64, u64) = ("spines", 1, 32);
const HOSTS: (&str, u64, u64) = ("hosts", 2, 512);
const HOSTS_OF_A_LEAF: (&str, u64, u64) = ("hosts of a leaf", 1, 128);
const MTU: (&str, u64, u64) = ("mtu", 576, 9216);
const QUEUE_PACKETS: (&str, u64, u64) = ("queue_packets", 2, 10_000);

/// Slowest and fastest link.
const RATES: (Rate, Rate) = (Rate::bits(64_000), Rate::bits(100_000_000_000));

/// Least and most oversubscription.
const OVERSUBSCRIPTION: (f64, f64) = (0.125, 64.0);

/// Where the second octets of addresses of uplinks begin; those below are the leaves' hosts.
const UPLINKS_FROM: u32 = 200;

/// Why a fabric cannot be as it was described.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum SpecError {
    /// Too small or too large.
    #[error("{field} = {value} is out of range: it must be from {least} to {most}")]
    Range {
        /// What.
        field: &'static str,
        /// As it was given.
        value: String,
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
    /// Leaves of different size.
    #[error("hosts = {hosts} does not fit leaves = {leaves}: it must be a multiple of it")]
    Uneven {
        /// Hosts.
        hosts: u64,
        /// Leaves.
        leaves: u64,
    },
    /// Two ways to say one thing.
    #[error("uplink_rate = {0} and oversubscription = {1} exclude each other: give one of them")]
    Both(Rate, f64),
}

/// Leaves, spines and hosts with their links. Every leaf has one uplink to every spine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FabricSpec {
    leaves: u32,
    spines: u32,
    hosts: u32,
    rate: Rate,
    uplink_rate: Rate,
    mtu: u32,
    queue_packets: u32,
    seed: u32,
}

impl FabricSpec {
    /// Checks what was described, and takes defaults for the rest.
    pub(crate) fn new(options: &FabricOptions) -> Result<Self, SpecError> {
        let leaves = within(LEAVES, options.leaves.unwrap_or(4))?;
        let spines = within(SPINES, options.spines.unwrap_or(4))?;
        let hosts = within(HOSTS, options.hosts.unwrap_or(16))?;
        if !hosts.is_multiple_of(leaves) {
            return Err(SpecError::Uneven { hosts: hosts.into(), leaves: leaves.into() });
        }
        let hosts_of_leaf = within(HOSTS_OF_A_LEAF, hosts / leaves)?;
        let rate = rate_within("rate", options.rate.unwrap_or(Rate::bits(20_000_000)))?;
        let uplink_rate = match (options.uplink_rate, options.oversubscription) {
            (Some(uplink_rate), Some(ratio)) => return Err(SpecError::Both(uplink_rate, ratio)),
            (Some(uplink_rate), None) => uplink_rate,
            (None, ratio) => {
                let ratio = ratio_within(ratio.unwrap_or(1.0))?;
                let of_leaf = rate.get() as f64 * f64::from(hosts_of_leaf);
                Rate::bits((of_leaf / (f64::from(spines) * ratio)) as u64)
            }
        };
        Ok(Self {
            leaves,
            spines,
            hosts,
            rate,
            uplink_rate: rate_within("uplink_rate", uplink_rate)?,
            mtu: within(MTU, options.mtu.unwrap_or(4200))?,
            queue_packets: within(QUEUE_PACKETS, options.queue_packets.unwrap_or(50))?,
            seed: options.seed.unwrap_or(1),
        })
    }

    /// All leaves.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = Leaf> + use<> {
        (0..self.leaves).map(Leaf)
    }

    /// All spines.
    pub(crate) fn spines(&self) -> impl Iterator<Item = Spine> + use<> {
        (0..self.spines).map(Spine)
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        (0..self.hosts).map(Host)
    }

    /// The hosts of a leaf.
    pub(crate) fn hosts_of(&self, leaf: Leaf) -> impl Iterator<Item = Host> + use<> {
        let each = self.hosts_of_a_leaf();
        (leaf.0 * each..(leaf.0 + 1) * each).map(Host)
    }

    /// How many leaves, at least 2.
    pub(crate) const fn leaf_count(&self) -> usize {
        self.leaves as usize
    }

    /// How many spines, at least 1.
    pub(crate) const fn spine_count(&self) -> usize {
        self.spines as usize
    }

    /// How many hosts, at least one a leaf.
    pub(crate) const fn host_count(&self) -> usize {
        self.hosts as usize
    }

    const fn hosts_of_a_leaf(&self) -> u32 {
        self.hosts / self.leaves
    }

    /// The leaf of a host.
    pub(crate) const fn leaf_of(&self, host: Host) -> Leaf {
        Leaf(host.0 / self.hosts_of_a_leaf())
    }

    /// Which of its leaf's hosts a host is, from 0.
    pub(crate) const fn slot_of(&self, host: Host) -> u32 {
        host.0 % self.hosts_of_a_leaf()
    }

    /// Rate of a link between host and leaf, each direction.
    pub(crate) const fn rate(&self) -> Rate {
        self.rate
    }

    /// Rate of a link between leaf and spine, each direction.
    pub(crate) const fn uplink_rate(&self) -> Rate {
        self.uplink_rate
    }

    /// Rate of a leaf's hosts over the rate of its uplinks.
    pub(crate) fn oversubscription(&self) -> f64 {
        let hosts = self.rate.get() as f64 * f64::from(self.hosts_of_a_leaf());
        hosts / (self.uplink_rate.get() as f64 * f64::from(self.spines))
    }

    /// Bytes of the largest IP packet.
    pub(crate) const fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Packets that wait at most at each end of a link.
    pub(crate) const fn queue_packets(&self) -> u32 {
        self.queue_packets
    }

    /// The seed of all.
    pub(crate) const fn seed(&self) -> u32 {
        self.seed
    }

    /// Whether another one is the same but for its seed.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        *self == Self { seed: self.seed, ..other.clone() }
    }

    pub(super) const fn set_seed(&mut self, seed: u32) {
        self.seed = seed;
    }

    /// The `fib_multipath_hash_seed` of a leaf: differs from leaf to leaf, and is never 0, by which
    /// the kernel would mean a random one. (The finalizer of `MurmurHash3`, a bijection.)
    pub(crate) fn hash_seed(&self, leaf: Leaf) -> u32 {
        let mut hash = self.seed.wrapping_add((leaf.0 + 1).wrapping_mul(0x9e37_79b9));
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        (hash ^ (hash >> 16)).max(1)
    }

    /// The address of a host: `10.leaf.slot.2`.
    pub(crate) fn address(&self, host: Host) -> Ipv4Addr {
        Ipv4Addr::new(10, octet(self.leaf_of(host).0), octet(self.slot_of(host)), 2)
    }

    /// The leaf's address on a host's link: `10.leaf.slot.1`.
    pub(crate) fn gateway(&self, host: Host) -> Ipv4Addr {
        Ipv4Addr::new(10, octet(self.leaf_of(host).0), octet(self.slot_of(host)), 1)
    }
}

/// The leaf's address on an uplink.
pub(crate) fn leaf_side(leaf: Leaf, spine: Spine) -> Ipv4Addr {
    Ipv4Addr::new(10, octet(UPLINKS_FROM + spine.0), octet(leaf.0), 0)
}

/// The spine's address on an uplink.
pub(crate) fn spine_side(leaf: Leaf, spine: Spine) -> Ipv4Addr {
    Ipv4Addr::new(10, octet(UPLINKS_FROM + spine.0), octet(leaf.0), 1)
}

/// The spine whose side of an uplink has this address.
pub(crate) fn spine_at(address: Ipv4Addr) -> Option<Spine> {
    match address.octets() {
        [10, second, _, 1] => u32::from(second).checked_sub(UPLINKS_FROM).map(Spine),
        _ => None,
    }
}

/// The bounds of a spec keep all numbers of addresses below 256.
fn octet(number: u32) -> u8 {
    u8::try_from(number).expect("leaves, spines and hosts of a leaf are bounded")
}

fn within((field, least, most): (&'static str, u64, u64), value: u32) -> Result<u32, SpecError> {
    if (least..=most).contains(&u64::from(value)) {
        return Ok(value);
    }
    Err(range(field, &value, &least, &most))
}

fn rate_within(field: &'static str, rate: Rate) -> Result<Rate, SpecError> {
    let (least, most) = RATES;
    if (least..=most).contains(&rate) { Ok(rate) } else { Err(range(field, &rate, &least, &most)) }
}

fn ratio_within(ratio: f64) -> Result<f64, SpecError> {
    let (least, most) = OVERSUBSCRIPTION;
    if (least..=most).contains(&ratio) {
        return Ok(ratio);
    }
    Err(range("oversubscription", &ratio, &least, &most))
}

fn range<T: ToString, B: ToString>(
    field: &'static str,
    value: &T,
    least: &B,
    most: &B,
) -> SpecError {
    let (value, least, most) = (value.to_string(), least.to_string(), most.to_string());
    SpecError::Range { field, value, least, most }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
