//! Many random networks and transfers: everything arrives, once, right, and in bounded time.

use onepath_topology::{Bandwidth, Bytes, Nanos};
use onepath_transport::proto::congestion::Marking;
use onepath_transport::proto::testing::{Endpoint, Faults, Job, Link, Network, World};
use onepath_transport::proto::{Config, CongestionConfig, EntropyPolicy, MtuConfig, Random};

use crate::support::{RATE, config, finish, nscc};

const CASES: u64 = 1_000;

/// Virtual time within which any of the transfers ends: thousands of times the ideal, since half
/// of the paths may be dead and a tenth of all datagrams lost.
const LIMIT: Nanos = Nanos::secs(20);

#[test]
fn every_transfer_ends_with_each_byte_placed_once_whatever_the_network_does() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
    if let Some(seed) = number("ONEPATH_DATAGRAM_SEED") {
        run(seed);
        return;
    }
    let cases = number("ONEPATH_DATAGRAM_CASES").unwrap_or(CASES);
    for seed in 0..cases {
        let case = std::panic::catch_unwind(|| run(seed));
        assert!(case.is_ok(), "seed {seed}; ONEPATH_DATAGRAM_SEED={seed} runs it alone");
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let config = random_config(&mut random);
    config.validate().expect("a valid config");
    let mut network = Network::default();
    let paths = 1 + random.below(8) as usize;
    let path = Bandwidth(RATE.0 * (1 + random.below(4)) as f64 / paths as f64);
    let limit = Bytes::kib(32 + random.below(256));
    let delay = Nanos(500 + random.below(20_000));
    let mut link = Link::new(path, delay, limit);
    if random.chance(0.5) {
        link = link.marking_above(Bytes(limit.get() / 4));
    }
    let host = Link::new(RATE, Nanos(1_000), Bytes::kib(512));
    let mut there = network.parallel(paths, &host, &link);
    let back = network.parallel(paths, &host, &link);
    let faults = random_faults(&mut random);
    for link in &mut network.links {
        *link = link.clone().with(faults);
    }
    // Paths die on the way there only: acknowledgements take all entropies in turn.
    for (index, choice) in there.choices.iter().enumerate().skip(1) {
        if random.chance(0.15) && index % 2 == 1 {
            let dead_from = Some(Nanos(random.below(2_000_000)));
            let link = &mut network.links[choice[0]];
            *link = link.clone().with(Faults { dead_from, ..faults });
        }
    }
    there.hashed = random.chance(0.3).then(|| random.bits());
    let mut world = World::new(network, random.bits());
    let (one, two) = (random_job(&mut random), random_job(&mut random));
    let first = Endpoint::new(&config, true, one.clone(), two.clone());
    let second = Endpoint::new(&config, false, two, one);
    world.connect(first, second, there, back);
    finish(&mut world, LIMIT, &format!("seed {seed}"));
}

fn random_faults(random: &mut Random) -> Faults {
    let mut some =
        |most: f64| if random.chance(0.5) { 0.0 } else { most * random.below(100) as f64 / 100.0 };
    // Each datagram passes three links.
    let (loss, duplication) = (some(0.03), some(0.03));
    let (corruption, reordering) = (some(0.02), some(0.2));
    let held = Nanos(1 + random.below(100_000));
    Faults { loss, duplication, corruption, reordering, held, dead_from: None, mtu: None }
}

fn random_job(random: &mut Random) -> Job {
    let count = 1 + random.below(24) as usize;
    let most = [40, 3_000, 20_000, 100_000][random.below(4) as usize];
    let chunks: Vec<u32> = (0..count).map(|_| 1 + random.below(most) as u32).collect();
    let mut open_at = Vec::new();
    if random.chance(0.5) {
        let mut at = 0;
        for _ in &chunks {
            at += random.below(60_000);
            open_at.push(Nanos(at));
        }
    }
    Job { chunks, lanes: 1 + random.below(4) as u16, open_at, seed: random.bits() }
}

fn random_config(random: &mut Random) -> Config {
    let seed = random.bits();
    let policy = match random.below(5) {
        0 => EntropyPolicy::PerSubflow { lanes: 1 + random.below(4) as u16 },
        1 => EntropyPolicy::RoundRobin,
        2 => EntropyPolicy::Random { seed },
        3 => EntropyPolicy::Burst { packets: 1 + random.below(12) as u32, seed },
        _ => EntropyPolicy::Reps { seed },
    };
    let congestion = match random.below(3) {
        0 => CongestionConfig::Fixed { window: 9_000 + random.below(200_000) as u32 },
        1 => nscc(Marking::Fabric),
        _ => nscc(Marking::Inferred),
    };
    let most = [1_232, 1_472, 4_096, 8_952][random.below(4) as usize];
    Config {
        entropies: 8 + random.below(40) as u16,
        congestion,
        pacing: random.chance(0.5),
        mtu: MtuConfig { safe: 1_232, most },
        packet_window: 64 << random.below(5),
        chunk_window: 2 << random.below(7),
        ack_every: 1 + random.below(16) as u32,
        ..config(policy)
    }
}
