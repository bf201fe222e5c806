//! Bytes arrive where they belong.

use onepath_topology::Rank;
use onepath_transport::plan::{After, LocalAction, Plan};
use onepath_transport::wire::OperationId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::plans::{
    adding, all_gather, combine, input, output, pattern, ring_all_reduce, send, store, sum_of,
};
use crate::support::rank::{Buffers, run};
use crate::support::worlds::World;

pub(crate) fn one_flow_of_any_size_arrives_in_both_directions(make: impl Fn(usize) -> World) {
    run(make(2), |mut end| {
        for (salt, length) in [1, 7, 64 << 10, (3 << 20) + 5].into_iter().enumerate() {
            let plan = all_gather(end.rank, 2, length);
            let buffers = Buffers::new(pattern(end.rank, salt, length), 2 * length, 0);
            let done = end.run(&plan, buffers).expect("both ranks take part");
            for from in 0..2 {
                let expected = pattern(Rank::from_index(from), salt, length);
                assert!(done.output[from * length..][..length] == expected, "{length} bytes");
            }
        }
    });
}

pub(crate) fn many_flows_between_all_pairs_arrive_where_they_belong(make: impl Fn(usize) -> World) {
    const RANKS: usize = 4;
    const FLOWS: usize = 24;
    let length = |flow: usize| [1, 3, 4_096, 70_000, 150_001, 0][flow % 6];
    let start = |flow: usize| (0..flow).map(length).sum::<usize>();
    let total = start(FLOWS);
    run(make(RANKS), |mut end| {
        let mut plan = Plan::default();
        let others = || (0..RANKS).map(Rank::from_index).filter(|&r| r != end.rank);
        for flow in 0..FLOWS {
            for peer in others() {
                let (at, tag) = (start(flow), flow as u32);
                let source = input(peer.index() * total + at, length(flow));
                let target = output(peer.index() * total + at, length(flow));
                plan.sends.push(send(0, peer, tag, source, After::NOTHING));
                plan.receives.push(store(0, peer, tag, target, After::NOTHING));
            }
        }
        let mine = pattern(end.rank, 1, RANKS * total);
        end.chunk_bytes = 16 << 10;
        let done = end.run(&plan, Buffers::new(mine, RANKS * total, 0));
        let done = done.expect("all ranks take part");
        for peer in (0..RANKS).map(Rank::from_index).filter(|&r| r != end.rank) {
            let theirs = pattern(peer, 1, RANKS * total);
            let expected = &theirs[end.rank.index() * total..][..total];
            assert!(done.output[peer.index() * total..][..total] == *expected);
        }
    });
}

pub(crate) fn a_pipeline_of_three_ranks_forwards_bytes_as_they_come(make: impl Fn(usize) -> World) {
    const LENGTH: usize = (2 << 20) + 3;
    let whole = output(0, LENGTH);
    run(make(3), |mut end| {
        let mut plan = Plan::default();
        let me = end.rank.index();
        if me == 0 {
            let source = input(0, LENGTH);
            plan.sends.push(send(0, Rank::new(1), 0, source, After::NOTHING));
        } else {
            let previous = Rank::from_index(me - 1);
            plan.receives.push(store(0, previous, 0, whole, After::NOTHING));
        }
        if me == 1 {
            plan.sends.push(send(1, Rank::new(2), 0, whole, After::receive(0)));
        }
        let first = pattern(Rank::new(0), 5, LENGTH);
        let mine = if me == 0 { first.clone() } else { Vec::new() };
        end.chunk_bytes = 32 << 10;
        let done = end.run(&plan, Buffers::new(mine, LENGTH, 0)).expect("all ranks take part");
        assert!(me == 0 || done.output == first);
    });
}

pub(crate) fn incoming_elements_are_combined_with_local_ones_and_finished_once(
    make: impl Fn(usize) -> World,
) {
    const BYTES: usize = 8 * 50_001;
    run(make(2), |mut end| {
        let other = Rank::new(1 - end.rank.number());
        let (source, target) = (input(0, BYTES), output(0, BYTES));
        let inputs: Vec<_> = (0..2).map(|r| pattern(Rank::new(r), 9, BYTES)).collect();
        end.kernel = Some(adding(2));
        for in_place in [false, true] {
            let mut plan = Plan::default();
            let local = if in_place { target } else { source };
            plan.prologue.extend(in_place.then_some(LocalAction::Copy { source, target }));
            plan.sends.push(send(0, other, 0, source, After::NOTHING));
            plan.receives.push(combine(0, other, 0, (target, local), true));
            let mine = inputs[end.rank.index()].clone();
            let done = end.run(&plan, Buffers::new(mine, BYTES, 0)).expect("both take part");
            assert!(done.output == sum_of(&inputs, 2));
        }
    });
}

pub(crate) fn operations_in_flight_complete_in_any_order(make: impl Fn(usize) -> World) {
    const CALLS: usize = 8;
    let length = |call: usize| [200_000, 1, 65_536, 9][call % 4];
    run(make(3), |mut end| {
        let plans: Vec<_> = (0..CALLS).map(|c| all_gather(end.rank, 3, length(c))).collect();
        let mut calls = Vec::new();
        for (call, plan) in plans.iter().enumerate() {
            let mine = pattern(end.rank, call, length(call));
            calls.push((call, end.post(plan, Buffers::new(mine, 3 * length(call), 0))));
        }
        // Each rank asks for them in another order.
        calls.rotate_left(3 * end.rank.index());
        for (call, posted) in calls {
            let done = end.finish(posted).expect("all ranks take part");
            for from in 0..3 {
                let expected = pattern(Rank::from_index(from), call, length(call));
                assert!(done.output[from * length(call)..][..length(call)] == expected);
            }
        }
    });
}

pub(crate) fn point_to_point_transfers_are_matched_by_pair_and_number(
    make: impl Fn(usize) -> World,
) {
    const LENGTH: usize = 100_000;
    run(make(3), |mut end| {
        let others = [1, 2].map(|d| Rank::from_index((end.rank.index() + d) % 3));
        let mut sent = Vec::new();
        let mut received = Vec::new();
        for number in 0..2 {
            for peer in others {
                let mut plan = Plan::default();
                plan.sends.push(send(0, peer, 0, input(0, LENGTH), After::NOTHING));
                let salt = 10 * peer.index() + number as usize;
                let buffers = Buffers::new(pattern(end.rank, salt, LENGTH), 0, 0);
                sent.push(end.post_as(OperationId::point_to_point(number), &plan, buffers));
            }
        }
        // Receives are posted in the opposite order.
        for number in (0..2).rev() {
            for peer in others {
                let mut plan = Plan::default();
                plan.receives.push(store(0, peer, 0, output(0, LENGTH), After::NOTHING));
                let buffers = Buffers::new(Vec::new(), LENGTH, 0);
                let id = OperationId::point_to_point(number);
                received.push((peer, number, end.post_as(id, &plan, buffers)));
            }
        }
        for (peer, number, call) in received {
            let done = end.finish(call).expect("all ranks take part");
            let salt = 10 * end.rank.index() + number as usize;
            assert!(done.output == pattern(peer, salt, LENGTH));
        }
        for call in sent {
            end.finish(call).expect("all ranks take part");
        }
    });
}

pub(crate) fn random_ring_reductions_equal_the_plain_sum(make: impl Fn(usize) -> World) {
    let seed = 20_240;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for ranks in 1..=5 {
        let shapes: Vec<(usize, usize)> = (0..6)
            .map(|_| {
                let most = 1 << random.random_range(0..17);
                let chunk_elements = 1 << random.random_range(5..14);
                (random.random_range(0..=most), 8 * chunk_elements)
            })
            .collect();
        run(make(ranks), |mut end| {
            end.kernel = Some(adding(ranks));
            for (salt, &(elements, chunk_bytes)) in shapes.iter().enumerate() {
                let all = (0..ranks).map(|r| pattern(Rank::from_index(r), salt, 8 * elements));
                let inputs: Vec<_> = all.collect();
                let plan = ring_all_reduce(end.rank, ranks, elements);
                end.chunk_bytes = chunk_bytes;
                let mine = inputs[end.rank.index()].clone();
                let done = end.run(&plan, Buffers::new(mine, 8 * elements, 0));
                let done = done.expect("all ranks take part");
                let expected = if ranks == 1 { done.input } else { sum_of(&inputs, ranks as u32) };
                assert!(done.output == expected, "{ranks} ranks, {elements} elements");
            }
        });
    }
}
