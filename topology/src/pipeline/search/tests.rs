//! Searches against trying everything, and what is refused.

use super::*;
use crate::cluster::{
    Cluster, ClusterId, Gpu, Inventory, Link, Network, NetworkKind, Nic, Pool, gigabits,
};
use crate::pipeline::model::{ModelShape, Optimizer, Precision, Recompute};
use crate::pipeline::schedule::{Delivery, Schedule, ScheduleKind, simulate};
use crate::pipeline::search::candidates::{Book, candidates};
use crate::pipeline::search::evaluate::solve;
use crate::units::{Bytes, Nanos};

fn shape(layers: u32) -> ModelShape {
    ModelShape {
        layers,
        hidden: 4_096,
        heads: 32,
        sequence: 2_048,
        vocabulary: 51_200,
        precision: Precision::Bf16,
        optimizer: Optimizer::Adam,
        recompute: Recompute::Full,
    }
}

fn pool(name: &str, nodes: usize, tflops: Option<f64>, kind: NetworkKind) -> Pool {
    let gpu = Gpu {
        kind: "A100".to_owned(),
        per_node: 8,
        memory: Bytes(80_000_000_000),
        tflops,
        rate: gigabits(2_000.0),
    };
    let nic = |kind: NetworkKind| Nic {
        name: kind.name().to_owned(),
        kind,
        rate: gigabits(if kind == NetworkKind::Ethernet { 25.0 } else { 200.0 }),
        hca: Some("mlx5_0".to_owned()),
        interface: Some("eth0".to_owned()),
        gid_index: None,
    };
    let hosts = (0..nodes).map(|node| format!("{name}{node}")).collect();
    Pool::new(hosts, gpu, vec![nic(kind), nic(NetworkKind::Ethernet)], None)
}

fn one_cluster(nodes: usize) -> Inventory {
    let pools = vec![pool("a", nodes, Some(200.0), NetworkKind::InfiniBand)];
    Inventory::new(vec![Cluster::new("a".to_owned(), pools)], Vec::new()).expect("a good cluster")
}

fn two_clusters(nodes: usize) -> Inventory {
    let fast = vec![pool("a", nodes, Some(220.0), NetworkKind::InfiniBand)];
    let slow = vec![pool("b", nodes, Some(160.0), NetworkKind::Roce)];
    let clusters = vec![Cluster::new("a".to_owned(), fast), Cluster::new("b".to_owned(), slow)];
    let network = Network {
        kind: NetworkKind::Ethernet,
        rate: gigabits(25.0),
        latency: Nanos::micros(50),
        total: None,
    };
    let link = Link { ends: (ClusterId(0), ClusterId(1)), network };
    Inventory::new(clusters, vec![link]).expect("good clusters")
}

#[test]
fn the_best_of_one_pool_is_the_best_of_all_combinations_and_no_bound_is_above_its_time() {
    for (nodes, inventory) in [(2, one_cluster(2)), (4, one_cluster(4)), (4, two_clusters(2))] {
        let options = SearchOptions { evaluations: usize::MAX, ..SearchOptions::new(64) };
        let shape = shape(12);
        let found = search(&inventory, &shape, &options).expect("something fits");
        let sites = Sites::new(&inventory).expect("speeds are given");
        let mut book = Book::new(&shape, &sites);
        let mut best = Nanos(u64::MAX);
        for candidate in candidates(&shape, &sites, &options, &mut book) {
            let solved = solve(&sites, &options, &mut book, candidate.degrees);
            let Some(solved) = solved else { continue };
            let time = solved.partition.iteration;
            assert!(candidate.bound <= time, "{candidate:?} {time}");
            best = best.min(time);
        }
        assert_eq!(found.iteration, best, "{nodes} nodes");
        println!("{nodes} nodes: {} of {} cut", found.evaluated, found.candidates);
        if sites.sites().len() == 1 {
            assert_eq!(found.bound, found.iteration);
        }
        let layers: usize = found.stages.iter().map(|stage| stage.layers).sum();
        assert_eq!(layers, 14);
        assert!(found.stages.iter().all(|stage| stage.memory.0 <= 80_000_000_000));
        assert_eq!(search(&inventory, &shape, &options).expect("as before"), found);
        run(&inventory, &shape, &options, &found);
    }
}

/// The timeline of what was found is no longer than promised by more than its transfers.
fn run(inventory: &Inventory, shape: &ModelShape, options: &SearchOptions, found: &Found) {
    let timing = timing_of(inventory, shape, options, found).expect("the same inventory");
    let degrees = found.degrees;
    let kind = match degrees.virtual_stages {
        1 => ScheduleKind::OneForwardOneBackward,
        _ => ScheduleKind::Interleaved,
    };
    let micro_batches = degrees.micro_batches(options.global_batch) as u32;
    let schedule = Schedule::new(kind, degrees.pipeline, micro_batches, degrees.virtual_stages);
    let schedule = schedule.expect("a good schedule");
    let end = simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock").end;
    let ratio = end.0 as f64 / found.iteration.0 as f64;
    println!("{degrees:?}: timeline {end}, promised {}", found.iteration);
    assert!((0.8..1.1).contains(&ratio), "{degrees:?} {end} {}", found.iteration);
}

#[test]
fn the_slow_link_carries_one_boundary_and_the_faster_cluster_more_layers() {
    let options = SearchOptions { max_tensor: 1, ..SearchOptions::new(256) };
    let found = search(&two_clusters(2), &shape(30), &options).expect("something fits");
    let changes = found.stages.windows(2).filter(|pair| pair[0].pool != pair[1].pool).count();
    assert!(changes <= 1, "{found:?}");
    let layers = |pool: usize| -> usize {
        found.stages.iter().filter(|stage| stage.pool == pool).map(|stage| stage.layers).sum()
    };
    assert!(layers(0) > layers(1), "{found:?}");
    let vast = ModelShape { hidden: 1 << 17, sequence: 1 << 24, ..shape(30) };
    let error = search(&two_clusters(2), &vast, &options).expect_err("far too large");
    assert!(matches!(error, SearchError::Nothing { .. }));
}

#[test]
fn what_cannot_be_searched_is_refused_with_its_reason() {
    let refused = |inventory: &Inventory, shape: &ModelShape, samples: u64| {
        let error = search(inventory, shape, &SearchOptions::new(samples));
        error.expect_err("refused").to_string()
    };
    let good = one_cluster(1);
    let message = refused(&good, &shape(12), 0);
    assert_eq!(message, "global_batch is 0: it must be from 1 to 1048576");
    let wrong = ModelShape { heads: 3, ..shape(12) };
    assert!(refused(&good, &wrong, 64).starts_with("hidden is 4096"));
    let huge = ModelShape { hidden: 32_768, layers: 96, ..shape(12) };
    let message = refused(&good, &huge, 64);
    assert_eq!(message, "no degrees divide 64 samples and fit the memory of 8 GPUs");
    let silent = vec![pool("a", 1, None, NetworkKind::InfiniBand)];
    let silent = Inventory::new(vec![Cluster::new("a".to_owned(), silent)], Vec::new());
    let message = refused(&silent.expect("a good cluster"), &shape(12), 64);
    assert!(message.starts_with("tflops of A100 is missing"), "{message}");
}
