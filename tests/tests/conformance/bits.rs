//! Floats whose sums depend on the order: the same bits on all ranks, in every run and on every
//! transport, and close to what a wider type gives.

use half::{bf16, f16};
use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Algorithm, ReduceOp};
use onepath_tests::oracle::{Sample, hash};
use onepath_tests::seed;
use onepath_tests::world::World;

const COUNT: usize = 30_011;

/// What a rank contributes.
fn input<T: Sample>(seed: u64, rank: usize) -> Vec<T> {
    let start = hash(seed.wrapping_add(rank as u64));
    (0..COUNT).map(|i| T::any(hash(start.wrapping_add(i as u64)))).collect()
}

/// Sum, product and average by every algorithm, as bits, the same on all ranks.
fn results<T: Sample>(world: &World, seed: u64) -> Vec<(Algorithm, ReduceOp, Vec<T>)> {
    let run = |algorithm, op| {
        let mut results = world.run(|seat| {
            seat.note(format_args!("{op} by {algorithm}"));
            seat.communicator.set_algorithm(Some(algorithm));
            let mut buffer = input::<T>(seed, seat.communicator.rank().index());
            seat.communicator.all_reduce(&mut buffer, op).expect("all ranks are there");
            buffer
        });
        let first = results.swap_remove(0);
        for (rank, other) in results.iter().enumerate() {
            assert!(same(&first, other), "{op} by {algorithm}: a rank ({rank}) has other bits");
        }
        first
    };
    let mut all = Vec::new();
    for algorithm in Algorithm::ALL {
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Avg] {
            all.push((algorithm, op, run(algorithm, op)));
        }
    }
    all
}

fn same<T: Sample>(left: &[T], right: &[T]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.bits() == r.bits())
}

fn compare<T: Sample>(
    what: &str,
    left: &[(Algorithm, ReduceOp, Vec<T>)],
    right: &[(Algorithm, ReduceOp, Vec<T>)],
) {
    for ((algorithm, op, left), (_, _, right)) in left.iter().zip(right) {
        assert!(same(left, right), "{op} of {} by {algorithm}: {what}", T::DATA_TYPE);
    }
}

#[test]
fn bits_do_not_depend_on_transport_subflows_or_run() {
    let seed = seed(7);
    println!("seed {seed}");
    let tcp = |subflows| {
        let mut world = World::new("bits", 5, TransportKind::Tcp);
        world.subflows = subflows;
        world
    };
    let reference = results::<f32>(&tcp(1), seed);
    compare("a second run differs", &reference, &results(&tcp(1), seed));
    for subflows in [2, 4, 16] {
        compare("subflows change bits", &reference, &results(&tcp(subflows), seed));
    }
    let local = World::new("bits", 5, TransportKind::Local);
    compare("shared memory differs", &reference, &results(&local, seed));
    let spray = World::new("bits", 5, TransportKind::Spray);
    compare("datagrams differ", &reference, &results(&spray, seed));
}

/// Compares with the sum, product or average in `f64`, within `ulp` (half the spacing of floats at
/// 1) for each of the roundings.
fn close<T: Sample>(ranks: usize, ulp: f64, seed: u64) {
    let world = World::new("rounding", ranks, TransportKind::Local);
    let inputs: Vec<Vec<T>> = (0..ranks).map(|rank| input(seed, rank)).collect();
    for (algorithm, op, got) in results::<T>(&world, seed) {
        for (at, got) in got.iter().enumerate() {
            let values = || inputs.iter().map(|input| input[at].value());
            let size: f64 = values().map(f64::abs).sum();
            let (right, scale) = match op {
                ReduceOp::Prod => (values().product::<f64>(), values().product::<f64>().abs()),
                ReduceOp::Avg => (values().sum::<f64>() / ranks as f64, size / ranks as f64),
                _ => (values().sum::<f64>(), size),
            };
            // One rounding an operand, one for the division; products of rounding errors vanish.
            let bound = 1.1 * ulp * (ranks as f64 + 1.0) * scale;
            let off = (got.value() - right).abs();
            assert!(
                off <= bound,
                "{op} of {} by {algorithm}, element {at}: {got:?} is {off:e} from {right:e}",
                T::DATA_TYPE
            );
        }
    }
}

#[test]
fn floats_are_within_rounding_of_a_wider_type() {
    let seed = seed(8);
    println!("seed {seed}");
    close::<f32>(4, f64::from(f32::EPSILON) / 2.0, seed);
    close::<f64>(4, f64::EPSILON / 2.0, seed);
    close::<f16>(4, f16::EPSILON.to_f64() / 2.0, seed);
    close::<bf16>(4, bf16::EPSILON.to_f64() / 2.0, seed);
}

#[test]
fn not_a_number_and_infinities_of_one_rank_reach_all() {
    World::new("special values", 4, TransportKind::Tcp).run(|seat| {
        for algorithm in Algorithm::ALL {
            seat.communicator.set_algorithm(Some(algorithm));
            let mut buffer = vec![1.0_f32; 100];
            match seat.communicator.rank().index() {
                1 => buffer[3] = f32::NAN,
                2 => (buffer[50], buffer[60]) = (f32::INFINITY, f32::INFINITY),
                3 => buffer[60] = f32::NEG_INFINITY,
                _ => {}
            }
            for (op, opposites) in [(ReduceOp::Sum, f32::NAN), (ReduceOp::Max, f32::INFINITY)] {
                let mut result = buffer.clone();
                seat.communicator.all_reduce(&mut result, op).expect("all ranks are there");
                assert!(result[3].is_nan(), "{op} by {algorithm}: {}", result[3]);
                assert_eq!(result[50].to_bits(), f32::INFINITY.to_bits(), "{op} by {algorithm}");
                let right = result[60].is_nan() == opposites.is_nan();
                assert!(right, "{op} by {algorithm}: {}", result[60]);
            }
        }
    });
}
