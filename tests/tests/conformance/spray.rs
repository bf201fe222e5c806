//! Calls over datagrams, by every way to choose source ports.

use std::sync::Arc;
use std::time::Duration;

use onepath_collectives::communicator::{Builder, TransportKind};
use onepath_collectives::{Algorithm, ReduceOp};
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::{Pools, hash};
use onepath_tests::pinned::pinning;
use onepath_tests::seed;
use onepath_tests::world::World;
use onepath_topology::Rank;
use onepath_topology::assign::Scheme;
use onepath_transport::spray::{EntropyChoice, SprayOptions};
use onepath_transport::tcp::pinned::Sharing;

const LIMIT: Duration = Duration::from_mins(5);

type Adjust = fn(Builder, Rank) -> Builder;

/// The ways, by the names that the bench gives them.
const WAYS: [(&str, Adjust); 5] = [
    ("ecmp-udp", |b, _| b.entropy(EntropyChoice::PerSubflow)),
    ("split-udp", |b, _| {
        b.entropy(EntropyChoice::PerSubflow).pinning(pinning(
            3,
            Some(Scheme::Line),
            Sharing::Static,
        ))
    }),
    ("spray", |b, _| b.entropy(EntropyChoice::RoundRobin)),
    ("spray in bursts", |b, _| b.entropy(EntropyChoice::Burst(4))),
    ("reps", |b, _| b.spray(SprayOptions { entropies: 64, ..SprayOptions::default() })),
];

fn world(name: &str, ranks: usize, adjust: Adjust) -> World {
    World::new(name, ranks, TransportKind::Spray).within(LIMIT).adjusted(adjust)
}

#[test]
fn random_sequences_of_calls_over_datagrams_are_right() {
    let seed = seed(31);
    println!("seed {seed}");
    for ((name, adjust), ranks) in WAYS.into_iter().zip([5, 4, 3, 2, 6]) {
        let pools = Arc::new(Pools::new(ranks, 70_000, seed));
        let seed = hash(seed + ranks as u64);
        world(name, ranks, adjust).run(|seat| {
            let mut mixed = Mixed::new(seed, Arc::clone(&pools));
            for number in 0..150 {
                let step = mixed.next(ranks);
                seat.note(format_args!("step {number} of seed {seed}: {step}"));
                if let Err(error) = mixed.run(step, &seat.communicator) {
                    panic!("{name}, seed {seed}, step {number}: {error}");
                }
            }
        });
    }
}

#[test]
fn a_split_needs_no_more_ports_than_paths_and_a_sprayer_all_of_them() {
    for ((name, adjust), expected) in WAYS.into_iter().skip(1).zip([1..=3, 16..=16]) {
        let counts = world(name, 4, adjust).run(|seat| {
            seat.communicator.set_algorithm(Some(Algorithm::Direct));
            let mut buffer = vec![1_u8; 12 << 20];
            seat.communicator.all_reduce(&mut buffer, ReduceOp::Sum).expect("all are there");
            assert!(buffer.iter().all(|&byte| byte == 4));
            seat.communicator.datagram_counts()
        });
        for counts in &counts {
            let ports: Vec<u64> = counts.iter().map(|count| count.ports_used).collect();
            println!("{name}: ports used to each peer {ports:?}");
        }
        for count in counts.into_iter().flatten() {
            assert!(expected.contains(&count.ports_used), "{name}: {count:?}");
            assert!(count.stats.data_bytes >= 6 << 20, "{name}: {count:?}");
        }
    }
}

#[test]
fn parts_and_survivors_have_sockets_of_their_own() {
    let (name, adjust) = WAYS[2];
    world(name, 4, adjust).run(|seat| {
        let rank = seat.communicator.rank().index() as u32;
        let part = seat.communicator.split(Some(rank % 2), rank).expect("split").expect("a part");
        let mut one = [1_u64; 1_000];
        part.all_reduce(&mut one, ReduceOp::Sum).expect("both are there");
        seat.communicator.all_reduce(&mut one, ReduceOp::Sum).expect("all are there");
        assert_eq!((one[999], part.datagram_counts().len()), (8, 1));
        drop(part);
        let all = seat.communicator.shrink(LIMIT).expect("all survive");
        all.all_reduce(&mut one, ReduceOp::Sum).expect("all are there");
        assert_eq!((one[0], all.datagram_counts().len()), (32, 3));
    });
}
