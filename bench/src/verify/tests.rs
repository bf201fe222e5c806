use half::{bf16, f16};

use super::*;

const SEED: u64 = 0x5eed;

fn pattern(collective: Collective, op: ReduceOp, rank: usize, ranks: u64) -> Pattern {
    Pattern {
        collective,
        op,
        root: Rank::new(0),
        count: 37,
        rank: Rank::from_index(rank),
        world: WorldSize::new(ranks).expect("a world size of a test"),
        seed: SEED,
    }
}

/// What all ranks contribute.
fn inputs<T: Value>(collective: Collective, op: ReduceOp, ranks: u64) -> Vec<Vec<T>> {
    (0..ranks as usize)
        .map(|rank| {
            let pattern = pattern(collective, op, rank, ranks);
            let mut input =
                vec![T::from_word(0); collective.lengths(pattern.count, pattern.world).input];
            pattern.fill(&mut input);
            input
        })
        .collect()
}

/// Folds in the type itself, in the given order of ranks.
fn fold<T: Value>(inputs: &[Vec<T>], order: &[usize], index: usize, plus: fn(T, T) -> T) -> T {
    let mut values = order.iter().map(|&rank| inputs[rank][index]);
    let first = values.next().expect("at least one rank");
    values.fold(first, plus)
}

fn sums_are_the_same_in_any_order<T: Value + std::fmt::Debug>(plus: fn(T, T) -> T, ranks: u64) {
    println!("seed {SEED}");
    let inputs = inputs::<T>(Collective::AllReduce, ReduceOp::Sum, ranks);
    let upwards: Vec<usize> = (0..ranks as usize).collect();
    let downwards: Vec<usize> = upwards.iter().rev().copied().collect();
    let output: Vec<T> = (0..37).map(|index| fold(&inputs, &upwards, index, plus)).collect();
    let other: Vec<T> = (0..37).map(|index| fold(&inputs, &downwards, index, plus)).collect();
    assert_eq!(output, other);
    let pattern = pattern(Collective::AllReduce, ReduceOp::Sum, 1, ranks);
    assert_eq!(pattern.check(&output), Findings::default());
    assert!(output.iter().any(|value| value.to_f64() != 0.0), "all sums are zero");
}

#[test]
fn sums_are_exact_in_every_type_and_order() {
    for ranks in [1, 2, 4, 9, 100, 300] {
        sums_are_the_same_in_any_order::<f32>(|a, b| a + b, ranks);
        sums_are_the_same_in_any_order::<f64>(|a, b| a + b, ranks);
        sums_are_the_same_in_any_order::<f16>(|a, b| a + b, ranks);
        sums_are_the_same_in_any_order::<bf16>(|a, b| a + b, ranks);
        sums_are_the_same_in_any_order::<i8>(i8::wrapping_add, ranks);
        sums_are_the_same_in_any_order::<u64>(u64::wrapping_add, ranks);
    }
}

#[test]
fn products_are_exact_and_not_all_ones() {
    let floats = inputs::<f16>(Collective::AllReduce, ReduceOp::Prod, 9);
    let order: Vec<usize> = (0..9).collect();
    let output: Vec<f16> = (0..37).map(|at| fold(&floats, &order, at, |a, b| a * b)).collect();
    let all = pattern(Collective::AllReduce, ReduceOp::Prod, 3, 9);
    assert_eq!(all.check(&output), Findings::default());
    assert!(output.iter().any(|value| value.to_f64() > 1.0));

    let whole = inputs::<i8>(Collective::AllReduce, ReduceOp::Prod, 9);
    let output: Vec<i8> = (0..37).map(|at| fold(&whole, &order, at, i8::wrapping_mul)).collect();
    assert_eq!(all.check(&output), Findings::default());
}

#[test]
fn the_smallest_and_the_largest_are_found_in_every_type() {
    let order: Vec<usize> = (0..5).collect();
    let unsigned = inputs::<u64>(Collective::AllReduce, ReduceOp::Max, 5);
    let output: Vec<u64> = (0..37).map(|at| fold(&unsigned, &order, at, Ord::max)).collect();
    let max = pattern(Collective::AllReduce, ReduceOp::Max, 0, 5);
    assert_eq!(max.check(&output), Findings::default());

    let floats = inputs::<f32>(Collective::AllReduce, ReduceOp::Min, 5);
    let output: Vec<f32> = (0..37).map(|at| fold(&floats, &order, at, f32::min)).collect();
    let min = pattern(Collective::AllReduce, ReduceOp::Min, 0, 5);
    assert_eq!(min.check(&output), Findings::default());
    assert!(output.iter().any(|&value| value < 0.0));
}

#[test]
fn one_wrong_element_is_found_with_its_place_and_value() {
    let inputs = inputs::<f32>(Collective::AllReduce, ReduceOp::Sum, 4);
    let order: Vec<usize> = (0..4).collect();
    let mut output: Vec<f32> = (0..37).map(|at| fold(&inputs, &order, at, |a, b| a + b)).collect();
    let right = output[36];
    output[36] += 1.0;
    let found = pattern(Collective::AllReduce, ReduceOp::Sum, 2, 4).check(&output);
    let wrong = Wrong { index: 36, expected: f64::from(right), found: f64::from(output[36]) };
    assert_eq!(found, Findings { wrong: 1, first: Some(wrong) });
}

#[test]
fn parts_go_where_each_collective_puts_them() {
    let op = ReduceOp::Sum;
    let gathered: Vec<i32> = inputs(Collective::AllGather, op, 3).concat();
    assert_eq!(pattern(Collective::AllGather, op, 1, 3).check(&gathered).wrong, 0);

    let sent = inputs::<i32>(Collective::AllToAll, op, 3);
    let exchanged: Vec<i32> = sent.iter().flat_map(|input| input[37..74].iter().copied()).collect();
    assert_eq!(pattern(Collective::AllToAll, op, 1, 3).check(&exchanged).wrong, 0);
    assert_ne!(pattern(Collective::AllToAll, op, 2, 3).check(&exchanged).wrong, 0);

    let roots = inputs::<i32>(Collective::Broadcast, op, 3);
    assert_eq!(pattern(Collective::Broadcast, op, 2, 3).check(&roots[0]).wrong, 0);
    assert_ne!(pattern(Collective::Broadcast, op, 2, 3).check(&roots[2]).wrong, 0);

    assert_eq!(pattern(Collective::SendReceive, op, 0, 3).check(&sent[2][..37]).wrong, 0);
    assert_eq!(pattern(Collective::Reduce, op, 1, 3).check(&roots[0]).wrong, 0);
    assert_ne!(pattern(Collective::Reduce, op, 0, 3).check(&roots[0]).wrong, 0);
}

#[test]
fn the_result_of_ones_is_known_unless_a_type_cannot_hold_it() {
    let sum = pattern(Collective::AllReduce, ReduceOp::Sum, 0, 300);
    assert_eq!(sum.of_ones::<f32>(), Some(300.0));
    assert_eq!(sum.of_ones::<u8>(), Some(44));
    assert_eq!(sum.of_ones::<bf16>(), None);
    let gather = pattern(Collective::AllGather, ReduceOp::Sum, 0, 4);
    assert_eq!(gather.of_ones::<f32>(), Some(1.0));
    assert_eq!(pattern(Collective::Reduce, ReduceOp::Sum, 1, 4).of_ones::<f32>(), None);
}
