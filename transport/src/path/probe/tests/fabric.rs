//! A simulated fabric that loses, delays and reorders answers, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use core::net::{IpAddr, SocketAddr};

use onepath_topology::Nanos;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::{Answer, Probe, ProbeId, Prober, Session, Strategy};
use crate::path::ProbeConfig;
use crate::path::table::{Discovery, PathId, PathTable};

/// A leaf-spine fabric seen from host 10.0.0.2, whose leaf hashes destination and port.
#[derive(Clone, Debug)]
pub(super) struct Fabric {
    pub(super) spines: u8,
    /// Of the leaf's hash.
    pub(super) hash: u64,
    /// Share of probes and answers that get lost.
    pub(super) loss: f64,
    /// Answers take up to this long.
    pub(super) delay: Nanos,
    /// Spines that swallow everything.
    pub(super) silent: BTreeSet<u8>,
    /// Hops that never answer.
    pub(super) mute_hops: BTreeSet<u8>,
    /// Whether a port in flight cannot be bound again toward another destination, as UDP's.
    pub(super) ports_bind_once: bool,
    /// Ports in use.
    pub(super) busy: BTreeSet<u16>,
    /// What the operating system says to every probe.
    pub(super) refused: Option<Answer>,
}

/// The leaf of the source.
pub(super) const OWN_LEAF: u8 = 0;

impl Fabric {
    pub(super) fn new(spines: u8, hash: u64) -> Self {
        let (silent, mute_hops, busy) = Default::default();
        let delay = Nanos::micros(500);
        let (ports_bind_once, refused) = (false, None);
        Self { spines, hash, loss: 0.0, delay, silent, mute_hops, ports_bind_once, busy, refused }
    }

    pub(super) fn spine(&self, destination: SocketAddr, port: u16) -> u8 {
        let mut rng = SmallRng::seed_from_u64(
            self.hash
                ^ (u64::from(port) << 32)
                ^ u64::from(leaf_of(destination)) << 8
                ^ u64::from(destination.port()),
        );
        rng.random_range(0..self.spines)
    }

    pub(super) fn answer(&self, probe: &Probe) -> Option<Answer> {
        if let Some(answer) = self.refused {
            return Some(answer);
        }
        if self.busy.contains(&probe.port) {
            return Some(Answer::PortBusy);
        }
        let (leaf, spine) = (leaf_of(probe.destination), self.spine(probe.destination, probe.port));
        let local = leaf == OWN_LEAF;
        let dead = self.silent.contains(&spine) && !local && probe.hop >= 2;
        let hop = match probe.hop {
            1 => Answer::Hop(address(OWN_LEAF, 0, 1)),
            2 if !local => Answer::Hop(spine_address(spine)),
            // As with icmp_errors_use_inbound_ifaddr: another address on every link.
            3 if !local => Answer::Hop(address(100 + spine, leaf, 1)),
            _ => Answer::Reached,
        };
        (!dead && !self.mute_hops.contains(&probe.hop)).then_some(hop)
    }
}

pub(super) fn address(b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::from([10, b, c, d])
}

pub(super) fn spine_address(spine: u8) -> IpAddr {
    address(100 + spine, OWN_LEAF, 0)
}

pub(super) fn source() -> IpAddr {
    address(OWN_LEAF, 0, 2)
}

pub(super) fn host(leaf: u8, host: u8) -> SocketAddr {
    SocketAddr::new(address(leaf, host, 2), 29_500)
}

pub(super) fn leaf_of(destination: SocketAddr) -> u8 {
    let IpAddr::V4(ip) = destination.ip() else { panic!("the fabric has IPv4 only") };
    ip.octets()[1]
}

/// What a run needed.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) time: Nanos,
    pub(super) probes: u64,
    pub(super) most_in_flight: usize,
}

/// Plays a session over the fabric in virtual time, to its end or to `limit`.
pub(super) fn play<S: Strategy>(
    session: &mut Session<S>,
    fabric: &Fabric,
    seed: u64,
    limit: Nanos,
) -> Run {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut now = Nanos(0);
    let mut coming: BTreeMap<(Nanos, ProbeId), Answer> = BTreeMap::new();
    let mut open: BTreeMap<ProbeId, (SocketAddr, u16)> = BTreeMap::new();
    let mut most_in_flight = 0;
    loop {
        session.handle_timeout(now);
        while let Some(id) = session.poll_abandoned() {
            open.remove(&id);
        }
        while let Some(probe) = session.poll_transmit(now) {
            let flow = (probe.destination, probe.port);
            let same = |other: (SocketAddr, u16)| {
                other == flow || (fabric.ports_bind_once && other.1 == flow.1)
            };
            assert!(!open.values().any(|&other| same(other)), "two of {flow:?} in flight");
            open.insert(probe.id, flow);
            most_in_flight = most_in_flight.max(open.len());
            if let Some(answer) = fabric.answer(&probe).filter(|_| !rng.random_bool(fabric.loss)) {
                let delay = Nanos(rng.random_range(1..=fabric.delay.get()));
                coming.insert((now + delay, probe.id), answer);
            }
        }
        let next = coming.keys().next().map(|&(at, _)| at);
        let wake = [next, session.poll_timeout()].into_iter().flatten().min();
        if session.is_finished() || wake.is_none_or(|at| at > limit) {
            assert!(session.is_finished() || wake.is_some(), "it waits for nothing");
            return Run { time: now, probes: session.probes(), most_in_flight };
        }
        now = now.max(wake.unwrap_or(limit));
        while let Some(entry) = coming.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, id), answer) = entry.remove_entry();
            open.remove(&id);
            session.handle_answer(now, id, answer);
        }
    }
}

pub(super) fn config() -> ProbeConfig {
    ProbeConfig { seed: 7, ..ProbeConfig::default() }
}

pub(super) fn discover(
    config: &ProbeConfig,
    fabric: &Fabric,
    destinations: &[SocketAddr],
    seed: u64,
) -> (Discovery, Run) {
    let mut prober = Prober::new(config, source(), destinations).expect("a right configuration");
    let run = play(&mut prober, fabric, seed, Nanos::secs(3600));
    assert!(prober.is_finished());
    (prober.finish(), run)
}

pub(super) fn table(discovery: Discovery) -> PathTable {
    match discovery {
        Discovery::Pinned(table) => table,
        Discovery::Unpinned { reason } => panic!("unpinned: {reason}"),
    }
}

pub(super) fn spine_of(path: &PathId) -> u8 {
    let PathId::Hops(hops) = path else { panic!("{path} was not probed") };
    let spine = hops.iter().flatten().find_map(|hop| (0..64).find(|&s| spine_address(s) == *hop));
    spine.unwrap_or_else(|| panic!("{path} names no spine"))
}

pub(super) fn assert_right(table: &PathTable, fabric: &Fabric) {
    for (destination, path, pinned) in table.entries() {
        let taken = fabric.spine(destination, pinned.port);
        assert_eq!(spine_of(path), taken, "{destination} from port {}", pinned.port);
    }
}
