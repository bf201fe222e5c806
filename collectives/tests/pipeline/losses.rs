//! Losses under every schedule are those of one process.

use onepath_collectives::TransportKind;
use onepath_collectives::pipeline::perceptron::{Order, train_alone};
use onepath_collectives::pipeline::{Adam, Overlap};
use onepath_topology::Bytes;
use onepath_topology::pipeline::schedule::ScheduleKind;
use onepath_topology::pipeline::schedule::ScheduleKind::{
    GPipe, Interleaved, OneForwardOneBackward,
};

use crate::{Case, STEPS};

/// The most by which a loss may differ, in parts of it, where sums are made in another order. Each
/// sum of n numbers has a relative error of some n · 2^-24 and training carries it on.
const ROUNDING: f32 = 1e-4;

const OPTIMIZER: Adam = Adam::new(0.01);

/// The losses of each iteration, all micro-batches of the first replica, then of the next.
fn losses(case: &Case) -> Vec<Vec<f32>> {
    let ranks = case.run(|links| {
        let schedule = case.schedule();
        let mut pipeline = case.pipeline(&schedule, links, OPTIMIZER);
        let step = |_| pipeline.step().expect("all ranks are there").to_vec();
        let losses: Vec<Vec<f32>> = (0..STEPS).map(step).collect();
        pipeline.finish().expect("all ranks are there");
        losses
    });
    let of_step = |step: usize| ranks.iter().flatten().flat_map(move |rank| rank[step].clone());
    (0..STEPS as usize).map(|step| of_step(step).collect()).collect()
}

fn bits(losses: &[Vec<f32>]) -> Vec<u32> {
    losses.iter().flatten().map(|loss| loss.to_bits()).collect()
}

fn order(kind: ScheduleKind) -> Order {
    if kind == GPipe { Order::Descending } else { Order::Ascending }
}

/// Bit by bit, overlapped or not.
fn equals_one_process(kind: ScheduleKind, stages: usize, virtual_stages: usize, replicas: u32) {
    let mut case = Case::new(kind, stages, virtual_stages, replicas);
    let alone = train_alone(&case.model, STEPS, &OPTIMIZER, order(kind), true);
    for overlap in [Overlap::Both, Overlap::None] {
        case.overlap = overlap;
        assert_eq!(bits(&losses(&case)), bits(&alone), "{case:?}");
    }
}

#[test]
fn gpipe_gives_the_bits_of_one_process() {
    equals_one_process(GPipe, 3, 1, 1);
    equals_one_process(GPipe, 2, 1, 2);
}

#[test]
fn one_forward_one_backward_gives_the_bits_of_one_process() {
    equals_one_process(OneForwardOneBackward, 3, 1, 1);
    equals_one_process(OneForwardOneBackward, 2, 1, 2);
    equals_one_process(OneForwardOneBackward, 1, 1, 2);
    equals_one_process(OneForwardOneBackward, 4, 1, 1);
}

#[test]
fn interleaved_gives_the_bits_of_one_process() {
    // Two ranks: activations and gradients of different virtual stages share one way.
    equals_one_process(Interleaved, 2, 2, 1);
    equals_one_process(Interleaved, 2, 4, 1);
    equals_one_process(Interleaved, 4, 2, 1);
    equals_one_process(Interleaved, 2, 2, 2);
}

#[test]
fn buckets_of_any_size_and_every_transport_give_the_same_bits() {
    let case = Case::new(Interleaved, 2, 2, 2);
    let alone = train_alone(&case.model, STEPS, &OPTIMIZER, Order::Ascending, true);
    for bucket in [Bytes(1), Bytes::mib(1)] {
        for transport in [TransportKind::Local, TransportKind::Spray] {
            let case = Case { bucket, transport, ..case.clone() };
            assert_eq!(bits(&losses(&case)), bits(&alone), "{case:?}");
        }
    }
}

#[test]
fn other_orders_of_sums_give_the_same_losses_but_for_rounding() {
    // Three replicas are not added in their order; the plain reference makes one sum of all.
    for (kind, replicas) in [(OneForwardOneBackward, 3), (GPipe, 2)] {
        let case = Case::new(kind, 2, 1, replicas);
        let alone = train_alone(&case.model, STEPS, &OPTIMIZER, Order::Ascending, false);
        let pairs: Vec<(f32, f32)> =
            losses(&case).into_iter().flatten().zip(alone.into_iter().flatten()).collect();
        assert_eq!(pairs.len(), STEPS as usize * 8 * replicas as usize);
        for (ours, one) in pairs {
            assert!((ours - one).abs() <= ROUNDING * one, "{ours} {one}");
        }
    }
}

#[test]
fn all_ranks_of_a_stage_end_with_the_same_parameters() {
    let case = Case::new(Interleaved, 2, 2, 2);
    let ranks = case.run(|links| {
        let schedule = case.schedule();
        let mut pipeline = case.pipeline(&schedule, links, OPTIMIZER);
        for _ in 0..STEPS {
            pipeline.step().expect("all ranks are there");
        }
        pipeline.finish().expect("all ranks are there");
        let layers = (0..2).flat_map(|stage| (0..4).map(move |layer| (stage, layer)));
        layers
            .filter_map(|(stage, layer)| pipeline.parameters(stage, layer).map(<[f32]>::to_vec))
            .collect::<Vec<_>>()
    });
    assert_eq!(ranks[0], ranks[1]);
    assert_eq!(ranks[0][0].len() + ranks[0][1].len(), 9);
}

#[test]
fn training_learns() {
    let mut case = Case::new(OneForwardOneBackward, 2, 1, 1);
    (case.model.layers, case.model.width) = (3, 12);
    let alone = train_alone(&case.model, 300, &OPTIMIZER, Order::Ascending, true);
    let sum = |losses: &[f32]| losses.iter().sum::<f32>();
    let (first, last) = (sum(&alone[0]), sum(&alone[299]));
    assert!(last < 0.5 * first, "{first} {last}");
}
