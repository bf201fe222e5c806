//! A rank's calls allocate nothing once each of their shapes has been seen.

#[path = "../../transport/tests/support/counting.rs"]
mod counting;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use onepath_collectives::algorithm::{Class, supports};
use onepath_collectives::communicator::{FindPaths, Pinning, Waiting};
use onepath_collectives::{
    Algorithm, Builder, CollectiveError, Communicator, ReduceOp, TransportKind, TuningSource,
};
use onepath_topology::assign::{Scheme, Seed};
use onepath_topology::fabric::LeafId;
use onepath_topology::{Rank, WorldSize};
use onepath_transport::share::AssignFlows;
use onepath_transport::tcp::pinned::{PeerPaths, SchemeAssigner};
use onepath_transport::verbs::transport::{VerbsCount, VerbsOptions};

const RANKS: usize = 2;

/// More than the flight recorder keeps, so that it turns over as well.
const ROUNDS: usize = 25;

/// Runs `body` on each rank of a world; a call that does not end fails after a minute.
fn world(transport: TransportKind, body: impl Fn(&Communicator) + Sync) {
    adjusted_world(|builder| builder.transport(transport), body);
}

/// As `world`, with something said to the builder.
fn adjusted_world(adjust: impl Fn(Builder) -> Builder + Sync, body: impl Fn(&Communicator) + Sync) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let join = |rank: Rank| {
        let builder = Builder::new()
            .rank(rank)
            .world_size(WorldSize::new(RANKS as u64).expect("a world size"))
            .rendezvous(&format!("127.0.0.1:{port}"))
            .expect("an address")
            .subflows(2)
            .tuning(TuningSource::Model)
            .operation_timeout(Duration::from_mins(1));
        adjust(builder).build().expect("both ranks join")
    };
    std::thread::scope(|scope| {
        for rank in 0..RANKS {
            let (join, body) = (&join, &body);
            scope.spawn(move || body(&join(Rank::from_index(rank))));
        }
    });
}

/// Allocations of this thread in `rounds` runs of `body`.
fn allocations(rounds: usize, mut body: impl FnMut() -> Result<(), CollectiveError>) -> u64 {
    let before = counting::allocations();
    for _ in 0..rounds {
        body().expect("both ranks are there");
    }
    counting::allocations() - before
}

#[test]
fn all_reduce_allocates_nothing_in_the_steady_state_by_any_algorithm_and_size() {
    for transport in [TransportKind::Tcp, TransportKind::Local, TransportKind::Spray] {
        world(transport, |communicator| {
            let mut buffer = vec![1_f32; 700_001];
            let (input, mut output) = (vec![1_f32; 5_000], vec![0_f32; 5_000]);
            let mut all = || {
                for algorithm in Algorithm::ALL {
                    communicator.set_algorithm(Some(algorithm));
                    for count in [0, 1, 1_000, 40_009, 700_001] {
                        communicator.all_reduce(&mut buffer[..count], ReduceOp::Max)?;
                    }
                    communicator.all_reduce_into(&input, &mut output, ReduceOp::Avg)?;
                }
                Ok(())
            };
            assert!(allocations(1, &mut all) > 0, "the allocator does not count");
            allocations(1, &mut all);
            assert_eq!(allocations(ROUNDS, &mut all), 0, "{transport}");
        });
    }
}

/// Three paths to the peer; every flow is cut.
#[derive(Debug)]
struct ThreePaths;

impl FindPaths for ThreePaths {
    fn paths(&self, peer: Rank, _addresses: &[SocketAddr]) -> PeerPaths {
        PeerPaths { leaf: LeafId(1), ..PeerPaths::unknown(peer, 3) }
    }

    fn assigner(&self, me: Rank) -> Option<Arc<dyn AssignFlows>> {
        let (scheme, seed, leaf) = (Scheme::Line, Seed(1), LeafId(0));
        Some(Arc::new(SchemeAssigner { scheme, seed, rank: me, leaf }))
    }
}

#[test]
fn calls_over_pinned_connections_allocate_nothing_in_the_steady_state() {
    let pinning = Pinning::new(Arc::new(ThreePaths));
    let adjust = |builder: Builder| builder.transport(TransportKind::Tcp).pinning(pinning.clone());
    adjusted_world(adjust, |communicator| {
        let peer = Rank::from_index(1 - communicator.rank().index());
        let (mut long, mut other) = (vec![1_i64; 2 * COUNT], vec![0_i64; 2 * COUNT]);
        let (mut large, sent, mut received) = (vec![1_f32; 400_001], [7; 901], [0; 901]);
        let mut all = || {
            every_collective(communicator, &mut long, &mut other)?;
            for algorithm in Algorithm::ALL {
                communicator.set_algorithm(Some(algorithm));
                communicator.all_reduce(&mut large, ReduceOp::Max)?;
            }
            communicator.scope(|scope| {
                let incoming = scope.recv(&mut received, peer)?;
                scope.send(&sent, peer)?.wait()?;
                incoming.wait().map(|_| ())
            })
        };
        allocations(10, &mut all);
        assert_eq!(allocations(ROUNDS, &mut all), 0);
    });
}

#[test]
fn other_collectives_allocate_nothing_in_the_steady_state() {
    for transport in [TransportKind::Tcp, TransportKind::Local] {
        world(transport, |communicator| {
            let (mut long, mut other) = (vec![1_i64; 2 * COUNT], vec![0_i64; 2 * COUNT]);
            let mut all = || every_collective(communicator, &mut long, &mut other);
            allocations(2, &mut all);
            assert_eq!(allocations(ROUNDS, &mut all), 0, "{transport}");
        });
    }
}

/// Copied and from registered memory. `tests/rxe/verbs/conformance` runs it where devices are.
#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn calls_over_verbs_allocate_nothing_in_the_steady_state() {
    // Emulated ranks share a processor: an acknowledgement may take long, and spinning costs.
    let options = VerbsOptions { ack_timeout: 18, ..VerbsOptions::default() };
    let adjust = |builder: Builder| {
        let builder = builder.transport(TransportKind::Verbs).verbs(options.clone());
        builder.waiting(Waiting::Sleep)
    };
    adjusted_world(adjust, |communicator| {
        let registered = |count| communicator.register(vec![1_i64; count]).expect("lockable");
        let (mut long, mut other) = (vec![1_i64; 2 * COUNT], vec![0_i64; 2 * COUNT]);
        let (mut fast, mut faster) = (registered(2 * COUNT), registered(2 * COUNT));
        let (mut large, mut larger) = (vec![1_i64; 20_011], registered(20_011));
        let mut all = || {
            every_collective(communicator, &mut long, &mut other)?;
            every_collective(communicator, &mut fast, &mut faster)?;
            for algorithm in Algorithm::ALL {
                communicator.set_algorithm(Some(algorithm));
                for count in [1, 1_000, 20_011] {
                    communicator.all_reduce(&mut large[..count], ReduceOp::Max)?;
                    communicator.all_reduce(&mut larger[..count], ReduceOp::Max)?;
                }
            }
            Ok(())
        };
        assert!(allocations(1, &mut all) > 0, "the allocator does not count");
        allocations(4, &mut all);
        assert_eq!(allocations(ROUNDS, &mut all), 0);
        let counts = communicator.verbs_counts();
        let sum = |field: fn(&VerbsCount) -> u64| counts.iter().map(field).sum::<u64>();
        let (direct, chunks) = (sum(|lane| lane.direct), sum(|lane| lane.chunks));
        println!("{direct} of {chunks} chunks were not copied");
        assert!(direct > 0 && direct < chunks, "{direct} of {chunks} chunks were not copied");
    });
}

/// Elements of each rank, in buffers for two ranks.
const COUNT: usize = 3_001;

/// Calls every collective but all-reduce by each of its algorithms, without allocating itself.
fn every_collective(
    communicator: &Communicator,
    input: &mut [i64],
    output: &mut [i64],
) -> Result<(), CollectiveError> {
    let count = COUNT;
    let root = Rank::new(1);
    for class in Class::ALL {
        for algorithm in Algorithm::ALL.into_iter().filter(|&a| supports(class, a)) {
            communicator.set_algorithm(Some(algorithm));
            match class {
                Class::AllReduce => {}
                Class::ReduceScatter => {
                    communicator.reduce_scatter(input, &mut output[..count], ReduceOp::Sum)?;
                    communicator.reduce_scatter_in_place(input, ReduceOp::Min)?;
                }
                Class::AllGather => {
                    communicator.all_gather(&input[..count], output)?;
                    communicator.all_gather_in_place(output)?;
                }
                Class::Broadcast => communicator.broadcast(output, root)?,
                Class::Reduce => {
                    communicator.reduce(input, output, ReduceOp::Prod, root)?;
                    communicator.reduce_in_place(input, ReduceOp::Sum, root)?;
                }
                Class::AllToAll => communicator.all_to_all(input, output)?,
                Class::Barrier => communicator.barrier()?,
            }
        }
    }
    Ok(())
}

#[test]
fn calls_in_flight_and_transfers_allocate_nothing_in_the_steady_state() {
    for transport in [TransportKind::Tcp, TransportKind::Local] {
        world(transport, |communicator| {
            let peer = Rank::from_index(1 - communicator.rank().index());
            let (mut first, mut second) = (vec![1_u32; 50_021], vec![1_u32; 77]);
            let (sent, mut received) = (vec![7_u8; 9_001], vec![0_u8; 9_001]);
            let mut all = || {
                communicator.scope(|scope| {
                    let incoming = scope.recv(&mut received, peer)?;
                    let large = scope.all_reduce(&mut first, ReduceOp::Max)?;
                    let small = scope.all_reduce(&mut second, ReduceOp::Max)?;
                    scope.send(&sent, peer)?.wait()?;
                    small.wait()?;
                    large.wait()?;
                    incoming.wait()?;
                    Ok(())
                })
            };
            allocations(20, &mut all);
            assert_eq!(allocations(20 * ROUNDS, &mut all), 0, "{transport}");
        });
    }
}
