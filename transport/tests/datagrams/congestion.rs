//! What the windows do to queues, to each other, and on a slow path.

use onepath_topology::{Bandwidth, Bytes, Nanos};
use onepath_transport::proto::congestion::Marking;
use onepath_transport::proto::testing::{Endpoint, Job, Link, Network, Route, World};
use onepath_transport::proto::{Config, EntropyPolicy};

use crate::support::{BASE_RTT, DELAY, RATE, config, describe, finish, link, nscc, pair, share};

/// `count` senders share one bottleneck; the ends and the bottleneck's index.
fn shared(config: &Config, job: &Job, count: usize, mark: bool) -> (World, usize) {
    let mut network = Network::default();
    let mut bottleneck = Link::new(RATE, DELAY, Bytes::mib(1));
    if mark {
        // A share of the product of bandwidth and delay, as switches are set.
        bottleneck = bottleneck.marking_above(Bytes(15_000));
    }
    let bottleneck = network.add(bottleneck);
    let mut routes = Vec::new();
    for _ in 0..count {
        let (before, after) = (network.add(link(RATE)), network.add(link(RATE)));
        let back = network.parallel(1, &link(RATE), &link(RATE));
        let there =
            Route { before: vec![before, bottleneck], after: vec![after], ..Route::default() };
        routes.push((there, back));
    }
    let mut world = World::new(network, 1);
    for (there, back) in routes {
        let first = Endpoint::new(config, true, job.clone(), Job::default());
        let second = Endpoint::new(config, false, Job::default(), job.clone());
        world.connect(first, second, there, back);
    }
    (world, bottleneck)
}

#[test]
fn nscc_keeps_the_shared_queue_near_its_target_and_the_link_busy() {
    for marking in [Marking::Fabric, Marking::Inferred] {
        let config = Config { congestion: nscc(marking), ..config(EntropyPolicy::RoundRobin) };
        let job = Job::equal(150, 64 << 10);
        let (mut world, bottleneck) = shared(&config, &job, 4, marking == Marking::Fabric);
        let time = finish(&mut world, Nanos::secs(5), "nscc");
        let stats = world.network.links[bottleneck].stats();
        let mean = stats.waited / stats.entered;
        let busy = 4.0 * share(&job, time, RATE);
        println!("{marking:?}: mean wait {mean} ns, busy {busy:.3}, {stats:?}");
        // The target is one base round trip.
        assert!(mean < 2 * BASE_RTT.get(), "{marking:?}: {mean} ns");
        assert_eq!(stats.full, 0, "{marking:?}: {}", describe(&world));
        assert!(busy > 0.8, "{marking:?}: {busy}; {}", describe(&world));
    }
}

#[test]
fn two_flows_share_a_link_fairly() {
    for marking in [Marking::Fabric, Marking::Inferred] {
        let config = Config { congestion: nscc(marking), ..config(EntropyPolicy::RoundRobin) };
        let job = Job::equal(200, 64 << 10);
        let (mut world, _) = shared(&config, &job, 2, marking == Marking::Fabric);
        world.run(Nanos::millis(15));
        let bytes = [0, 2].map(|end| world.ends[end].connection.stats().data_bytes as f64);
        let fairness =
            (bytes[0] + bytes[1]).powi(2) / (2.0 * (bytes[0].powi(2) + bytes[1].powi(2)));
        println!("{marking:?}: {bytes:?}, Jain's index {fairness:.3}");
        assert!(fairness > 0.9, "{marking:?}: {bytes:?}");
    }
}

#[test]
fn reps_puts_less_on_a_path_at_half_rate_than_round_robin_and_is_faster() {
    let job = Job::equal(200, 64 << 10);
    let mut times = Vec::new();
    for policy in [EntropyPolicy::RoundRobin, EntropyPolicy::Reps { seed: 3 }] {
        let config = Config { congestion: nscc(Marking::Fabric), entropies: 64, ..config(policy) };
        let mut world = pair(&config, &job, 4, 1, |network, paths| {
            for (index, path) in paths.iter().enumerate() {
                let rate = if index == 0 { RATE.0 / 8.0 } else { RATE.0 / 4.0 };
                let link = Link::new(Bandwidth(rate), DELAY, Bytes::kib(256));
                network.links[path[0]] = link.marking_above(Bytes(8_000));
            }
        });
        let time = finish(&mut world, Nanos::secs(5), &format!("{policy:?}"));
        println!("half rate, {policy:?}: {time}, {:.3}", share(&job, time, RATE));
        times.push(time);
    }
    assert!(times[1] < times[0], "{times:?}");
}
