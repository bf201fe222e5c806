//! Networks and transfers that the cases share.

use onepath_topology::{Bandwidth, Bytes, Nanos};
use onepath_transport::proto::congestion::{Marking, NsccConfig};
use onepath_transport::proto::testing::{Endpoint, Faults, Job, Link, Network, Outcome, World};
use onepath_transport::proto::{Config, CongestionConfig, EntropyPolicy, MtuConfig};

/// 10 Gb/s.
pub(crate) const RATE: Bandwidth = Bandwidth(1.25e9);

/// One way, of each of three links.
pub(crate) const DELAY: Nanos = Nanos(2_000);

/// A base round trip over three links each way, with full packets one way.
pub(crate) const BASE_RTT: Nanos = Nanos(20_000);

pub(crate) fn link(rate: Bandwidth) -> Link {
    Link::new(rate, DELAY, Bytes::kib(256))
}

pub(crate) fn nscc(marking: Marking) -> CongestionConfig {
    let (rate, base_rtt) = (RATE, BASE_RTT);
    CongestionConfig::Nscc(NsccConfig { rate, base_rtt, target_queue_delay: None, marking })
}

/// For a data centre without hosts that are slow to answer.
pub(crate) fn config(policy: EntropyPolicy) -> Config {
    Config {
        entropies: 16,
        policy,
        congestion: CongestionConfig::Fixed { window: 64 << 10 },
        mtu: MtuConfig { safe: 1_472, most: 1_472 },
        initial_rtt: Nanos::micros(50),
        granularity: Nanos::micros(5),
        max_ack_delay: Nanos::micros(10),
        max_probe_timeout: Nanos::millis(5),
        probation: Nanos::millis(100),
        give_up_after: Nanos::secs(5),
        early_bytes: 4 << 20,
        ..Config::default()
    }
}

/// One connection over `paths` parallel paths of a quarter of the hosts' rate each if there are
/// four; `spoil` has the links of the way there to do harm to.
pub(crate) fn pair(
    config: &Config,
    job: &Job,
    paths: usize,
    seed: u64,
    spoil: impl FnOnce(&mut Network, &[Vec<usize>]),
) -> World {
    let mut network = Network::default();
    let path = Bandwidth(RATE.0 / paths as f64);
    let there = network.parallel(paths, &link(RATE), &link(path));
    let back = network.parallel(paths, &link(RATE), &link(path));
    spoil(&mut network, &there.choices);
    let mut world = World::new(network, seed);
    let first = Endpoint::new(config, true, job.clone(), Job::default());
    let second = Endpoint::new(config, false, Job::default(), job.clone());
    world.connect(first, second, there, back);
    world
}

/// Makes every link lose, double, delay and damage datagrams.
pub(crate) fn spoil_all(network: &mut Network, faults: Faults) {
    for link in &mut network.links {
        *link = link.clone().with(faults);
    }
}

/// Runs to the end; how long it took.
pub(crate) fn finish(world: &mut World, limit: Nanos, what: &str) -> Nanos {
    match world.run(limit) {
        Outcome::Done { at } => at,
        other => panic!("{what}: {other:?} at {}; {}", world.now(), describe(world)),
    }
}

pub(crate) fn describe(world: &World) -> String {
    let ends = world
        .ends
        .iter()
        .map(|end| format!("{:?} window {:?}", end.connection.stats(), end.connection.window()));
    ends.collect::<Vec<_>>().join("\n")
}

/// Payload bytes over time, as a share of what `rate` carries.
pub(crate) fn share(job: &Job, time: Nanos, rate: Bandwidth) -> f64 {
    Bandwidth::of(Bytes(job.bytes()), time).0 / rate.0
}
