//! Strangers at the door where the ranks meet.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use onepath_collectives::bootstrap::Counters;
use onepath_collectives::communicator::{BuildError, TransportKind};
use onepath_collectives::{Communicator, ReduceOp};
use onepath_tests::seed;
use onepath_tests::watchdog::{Notes, Watchdog};
use onepath_tests::world::{World, builder, exclusive, free_port};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::garbage::{headers_of_a_connection, send};
use super::{secret, with_secret};

const RANKS: usize = 3;

/// Ranks 0 and 1 wait for rank 2, which comes after `meanwhile`; then all must join and work. What
/// rank 0, which hosts the rendezvous, has counted.
fn join_after(label: &str, meanwhile: impl FnOnce(u16)) -> Arc<Counters> {
    let world = World::new(label, RANKS, TransportKind::Tcp).adjusted(with_secret);
    let _only = exclusive();
    let _watchdog = Watchdog::start(label, Duration::from_secs(90), &Notes::new(RANKS));
    let port = free_port();
    let work = |communicator: Communicator| {
        let mut sum = [1_u32; 1_000];
        communicator.all_reduce(&mut sum, ReduceOp::Sum).expect("all ranks are there");
        assert_eq!(sum, [3; 1_000]);
        communicator.connection_counters().expect("a control plane")
    };
    std::thread::scope(|scope| {
        let join = |rank| {
            let world = &world;
            scope.spawn(move || work(world.join(rank, port)))
        };
        let first = [join(0), join(1)];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "rank 0 does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        meanwhile(port);
        let ranks = first.into_iter().chain([join(2)]);
        let counters: Vec<_> = ranks
            .map(|rank| rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        assert!(counters[1..].iter().all(|counters| counters.all_rejected() == 0), "{counters:?}");
        Arc::clone(&counters[0])
    })
}

#[test]
fn a_rank_with_a_wrong_secret_is_told_so_and_the_right_one_still_joins() {
    let counters = join_after("wrong secret at the rendezvous", |port| {
        for wrong in [Some("the secret of that job"), None] {
            let builder = builder(2, RANKS, port).expect("an address");
            let builder = match wrong {
                Some(text) => builder.secret(secret(text)),
                None => builder,
            };
            let start = Instant::now();
            let error = builder.transport(TransportKind::Tcp).build().expect_err("a wrong secret");
            assert!(matches!(error, BuildError::Rendezvous(_)), "{error:?}");
            assert!(error.to_string().contains("secret"), "{error}");
            assert!(!error.to_string().contains("that job"), "{error}");
            assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        }
    });
    assert_eq!(counters.wrong_secret.load(Relaxed), 2, "{counters:?}");
}

#[test]
fn garbage_and_silence_at_the_rendezvous_keep_no_rank_from_joining() {
    let seed = seed(22);
    println!("seed {seed}");
    let mut held = Vec::new();
    let mut connections = 0;
    let counters = join_after("garbage at the rendezvous", |port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut random = StdRng::seed_from_u64(seed);
        let mut thrown = 0;
        while thrown < 20_000 {
            let count = headers_of_a_connection(&mut random);
            send(address, count, &mut random);
            thrown += count;
            connections += 1;
        }
        held.extend((0..200).filter_map(|_| TcpStream::connect(address).ok()));
    });
    connections += held.len() as u64;
    println!("{connections} connections: {counters:?}");
    assert!(counters.garbage.load(Relaxed) > 0, "{counters:?}");
    // The job's own may have had to make room too, and come again.
    let (accepted, admitted) = (counters.accepted.load(Relaxed), counters.admitted.load(Relaxed));
    assert_eq!(accepted, admitted + counters.all_rejected(), "{counters:?}");
}

#[test]
fn ranks_that_disagree_are_told_both_values_before_they_start() {
    let _only = exclusive();
    let port = free_port();
    let errors: Vec<String> = std::thread::scope(|scope| {
        let rank = |rank: usize, subflows| {
            move || {
                let builder = builder(rank, 2, port).expect("an address");
                let builder = builder.transport(TransportKind::Tcp).subflows(subflows);
                builder.build().expect_err("they differ").to_string()
            }
        };
        let threads = [scope.spawn(rank(0, 2)), scope.spawn(rank(1, 3))];
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for error in errors {
        assert!(error.contains("subflows"), "{error}");
        assert!(error.contains('2') && error.contains('3'), "{error}");
    }
}
