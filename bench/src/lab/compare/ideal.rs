//! The time that no routing can beat.

use std::collections::BTreeMap;

use onepath_topology::assign::StepSet;
use onepath_topology::fabric::{HostId, LeafId, LeafSpine, RailId, Shape, ShapeError, SpineId};
use onepath_topology::load::{OptimumError, optimum};
use onepath_topology::{Bandwidth, Bytes};
use onepath_transport::proto::packet::DATA_HEADER_BYTES;

use super::collective::Sent;
use super::places::Places;
use super::scheme::Scheme;
use crate::lab::fabric::{FabricSpec, Rate, Spine};

/// Headers of a full TCP segment: IPv4, TCP and its time stamps.
const TCP_HEADERS: u32 = 20 + 20 + 12;

/// Headers of a datagram: IPv4, UDP and those of the library's protocol.
const UDP_HEADERS: u32 = 20 + 8 + DATA_HEADER_BYTES as u32;

/// The link's own header, which its rate counts too.
const ETHERNET_HEADER: u32 = 14;

/// Why there is no ideal time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdealError {
    /// The fabric.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The optimum.
    #[error(transparent)]
    Optimum(#[from] OptimumError),
}

/// Rates of one spine that differ from the others'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OddSpine {
    /// Which.
    pub(crate) spine: Spine,
    /// The rate of each of its links; `None` if it carries nothing.
    pub(crate) rate: Option<Rate>,
}

/// Bytes on a link for each byte of payload, with packets as long as the links allow.
fn wire_factor(mtu: u32, scheme: Scheme) -> f64 {
    let headers = if scheme.is_udp() { UDP_HEADERS } else { TCP_HEADERS };
    let payload = f64::from(mtu - headers);
    (payload + f64::from(headers + ETHERNET_HEADER)) / payload
}

/// Seconds that the most loaded link needs at least for the bytes on the wire, host links and
/// headers included, acknowledgements and repetitions not.
pub(crate) fn ideal_s(
    spec: &FabricSpec,
    odd: Option<OddSpine>,
    places: &Places,
    sent: &[Sent],
    scheme: Scheme,
) -> Result<f64, IdealError> {
    let bandwidth = |rate: Rate| Bandwidth(rate.get() as f64 / 8.0);
    let mut fabric = LeafSpine::new(Shape {
        leaves: spec.leaf_count() as u32,
        spines: spec.spine_count() as u32,
        hosts_per_leaf: (spec.host_count() / spec.leaf_count()) as u32,
        rails: 1,
        host_link: bandwidth(spec.rate()),
        uplink: bandwidth(spec.uplink_rate()),
    })?;
    if let Some(OddSpine { spine, rate }) = odd {
        fabric.set_spine(SpineId(spine.0), RailId(0), rate.map(bandwidth));
    }
    let best = optimum(&fabric, &step_sets(spec, places, sent))?;
    Ok(best.seconds * wire_factor(spec.mtu(), scheme))
}

/// What each host sends, summed by receiver: steps that overlap share the links all the time.
fn step_sets(spec: &FabricSpec, places: &Places, sent: &[Sent]) -> Vec<StepSet> {
    let mut sums: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let host = |rank: onepath_topology::Rank| places.hosts[rank.index()];
    for sent in sent {
        *sums.entry((host(sent.from).0, host(sent.to).0)).or_default() += sent.bytes;
    }
    let leaf = |host| LeafId(spec.leaf_of(host).0);
    let mut sets: Vec<StepSet> =
        spec.hosts().map(|host| StepSet::new(HostId(host.0), leaf(host))).collect();
    for ((from, to), bytes) in sums {
        sets[from as usize].push(HostId(to), leaf(crate::lab::fabric::Host(to)), Bytes(bytes));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::compare::collective::Collective;
    use crate::lab::compare::places::Order;
    use crate::lab::fabric::FabricOptions;
    use onepath_topology::WorldSize;

    fn ideal(collective: Collective, odd: Option<OddSpine>, oversubscription: f64) -> f64 {
        let options =
            FabricOptions { oversubscription: Some(oversubscription), ..FabricOptions::default() };
        let spec = FabricSpec::new(&options).expect("it is right");
        let places = Places::new(&spec, Order::Contiguous, 1);
        let world = WorldSize::new(16).expect("a size");
        let sent = collective.sent(collective.count(8 << 20, world), world, &places.targets);
        ideal_s(&spec, odd, &places, &sent, Scheme::Split).expect("it is there")
    }

    #[test]
    fn a_permutation_takes_the_time_of_a_host_link_or_of_what_is_left_of_the_spines() {
        // 8 MiB at 20 Mbit/s, with 66 bytes of headers for each 4148 bytes.
        let healthy = (8 << 20) as f64 * 8.0 / 20e6 * (4214.0 / 4148.0);
        let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-6;
        assert!(close(ideal(Collective::Permutation, None, 1.0), healthy));
        assert!(close(ideal(Collective::Permutation, None, 2.0), 2.0 * healthy));
        let dead = OddSpine { spine: Spine(1), rate: None };
        assert!(close(ideal(Collective::Permutation, Some(dead), 1.0), healthy * 4.0 / 3.0));
        let half = OddSpine { spine: Spine(1), rate: Some(Rate::bits(10_000_000)) };
        assert!(close(ideal(Collective::Permutation, Some(half), 1.0), healthy * 4.0 / 3.5));
    }

    #[test]
    fn an_all_reduce_takes_twice_the_buffer_but_for_the_own_part() {
        let healthy = (8 << 20) as f64 * 8.0 / 20e6 * (4214.0 / 4148.0);
        let found = ideal(Collective::Ring, None, 1.0);
        assert!((found / (healthy * 2.0 * 15.0 / 16.0) - 1.0).abs() < 1e-6, "{found}");
    }
}
