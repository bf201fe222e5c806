//! Schedules against closed forms, against each other, and into deadlocks.

use std::collections::BTreeSet;

use super::*;
use crate::assign::{Random, Seed};
use crate::pipeline::model::LayerCost;
use crate::pipeline::partition::{ChainCosts, ChainStage, Collective, Hop, Transfers, exact};
use crate::units::{Bandwidth, Bytes, Nanos};

/// Equal stages, twice as long backward, free transfers; interleaved the same work a rank.
fn equal(ranks: usize, virtual_stages: usize) -> Timing {
    let stages = ranks * virtual_stages;
    let share = |time: u64| vec![Nanos(time / virtual_stages as u64); stages];
    Timing {
        forward: share(1_200),
        backward: share(2_400),
        activation: vec![Nanos(0); stages],
        gradient: vec![Nanos(0); stages],
        reduce: vec![Vec::new(); ranks],
        gather: vec![Vec::new(); ranks],
        update: vec![Nanos(0); ranks],
    }
}

#[test]
fn bubbles_equal_their_closed_forms() {
    use ScheduleKind::{GPipe, Interleaved, OneForwardOneBackward};
    for ranks in [1, 2, 3, 4, 8] {
        for rounds in [1, 2, 5] {
            for (kind, virtual_stages) in
                [(GPipe, 1), (OneForwardOneBackward, 1), (Interleaved, 2), (Interleaved, 4)]
            {
                let micro_batches = ranks * rounds;
                let schedule = Schedule::new(kind, ranks, micro_batches, virtual_stages)
                    .expect("a good schedule");
                let timing = equal(ranks as usize, virtual_stages as usize);
                let timeline =
                    simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock");
                let right = bubble(kind, ranks, micro_batches, virtual_stages);
                let found = timeline.bubble();
                assert!(
                    (found - right).abs() < 1e-12,
                    "{kind:?} p {ranks} m {micro_batches} v {virtual_stages}: {found} {right}"
                );
            }
        }
    }
}

#[test]
fn one_forward_one_backward_keeps_fewer_activations_than_gpipe() {
    let kept = |kind| {
        let schedule = Schedule::new(kind, 4, 16, 1).expect("a good schedule");
        (0..4).map(|rank| schedule.most_in_flight(rank)).collect::<Vec<_>>()
    };
    assert_eq!(kept(ScheduleKind::GPipe), [16; 4]);
    assert_eq!(kept(ScheduleKind::OneForwardOneBackward), [4, 3, 2, 1]);
}

#[test]
fn every_pass_and_transfer_happens_exactly_once() {
    for (kind, virtual_stages) in [
        (ScheduleKind::GPipe, 1),
        (ScheduleKind::OneForwardOneBackward, 1),
        (ScheduleKind::Interleaved, 3),
    ] {
        let schedule = Schedule::new(kind, 4, 8, virtual_stages).expect("a good schedule");
        for actions in schedule.ranks() {
            let mut seen = BTreeSet::new();
            for action in actions {
                assert!(seen.insert(action.to_string()), "{kind:?}: {action} twice");
            }
            let forward =
                actions.iter().filter(|action| matches!(action, Action::Forward { .. })).count();
            assert_eq!(forward, 8 * virtual_stages as usize);
        }
    }
}

#[test]
fn the_closed_form_of_unequal_stages_is_an_upper_bound_of_the_timeline() {
    println!("seed 11");
    for case in 0..200 {
        let mut random = Random::new(Seed(11), case);
        let ranks = 2 + random.below(5) as u32;
        let micro_batches = ranks + random.below(20) as u32;
        let mut timing = equal(ranks as usize, 1);
        for stage in 0..ranks as usize {
            timing.forward[stage] = Nanos(500 + random.below(1_000));
            timing.backward[stage] = Nanos(2 * timing.forward[stage].0);
        }
        let kind = ScheduleKind::OneForwardOneBackward;
        let schedule = Schedule::new(kind, ranks, micro_batches, 1).expect("a good schedule");
        let timeline = simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock").end.0;
        let stage = |stage: usize| timing.forward[stage].0 + timing.backward[stage].0;
        let slowest = (0..ranks as usize).map(stage).max().expect("some stage");
        let sum: u64 = (0..ranks as usize).map(stage).sum();
        let closed = u64::from(micro_batches - 1) * slowest + sum;
        assert!(timeline <= closed, "case {case}: {timeline} {closed}");
        assert!(closed as f64 <= timeline as f64 * 1.25, "case {case}: {timeline} {closed}");
    }
}

#[test]
fn transfers_that_are_posted_together_do_not_block_each_other() {
    let schedule = Schedule::new(ScheduleKind::OneForwardOneBackward, 4, 8, 1).expect("good");
    let mut timing = equal(4, 1);
    timing.activation = vec![Nanos(100); 4];
    timing.gradient = vec![Nanos(100); 4];
    let buffered = simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock");
    let waiting = simulate(&schedule, &timing, Delivery::Rendezvous).expect("no deadlock");
    assert!(waiting.end >= buffered.end, "{} {}", waiting.end, buffered.end);
}

#[test]
fn ranks_that_wait_for_each_other_are_an_error_that_names_them() {
    let peer = |rank| Peer { rank, chunk: 0 };
    let receive = |from| Action::ReceiveActivation { micro_batch: 0, chunk: 0, from: peer(from) };
    let send = |to| Action::SendActivation { micro_batch: 0, chunk: 0, to: peer(to) };
    let actions = vec![vec![receive(1), send(1)], vec![receive(0), send(0)]];
    let kind = ScheduleKind::OneForwardOneBackward;
    let schedule = Schedule::of_actions(kind, 1, 1, actions);
    let error = simulate(&schedule, &equal(2, 1), Delivery::Buffered).expect_err("a deadlock");
    assert_eq!(
        error.to_string(),
        "deadlock: rank 0 waits for ever at action 0 (receive activation 0.0 from 1), and 1 other \
         ranks wait too"
    );
    // Sends that wait for their receivers, with a pass between that keeps them apart.
    let pass = Action::Forward { micro_batch: 1, chunk: 0 };
    let actions = vec![vec![send(1), pass, receive(1)], vec![send(0), pass, receive(0)]];
    let schedule = Schedule::of_actions(kind, 1, 1, actions);
    assert!(simulate(&schedule, &equal(2, 1), Delivery::Buffered).is_ok());
    assert!(simulate(&schedule, &equal(2, 1), Delivery::Rendezvous).is_err());
}

#[test]
fn reductions_overlap_the_last_backward_pass() {
    let schedule = Schedule::new(ScheduleKind::OneForwardOneBackward, 1, 2, 1).expect("good");
    let mut timing = equal(1, 1);
    let bucket = |margin, time| Bucket { margin: Nanos(margin), time: Nanos(time) };
    timing.reduce = vec![vec![bucket(1_000, 900), bucket(0, 900)]];
    timing.gather = vec![vec![bucket(0, 300), bucket(600, 300)]];
    timing.update = vec![Nanos(50)];
    let timeline = simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock");
    // 300 for the first bucket, two micro-batches of 3,600, 900 for the last bucket, the update.
    assert_eq!(timeline.end, Nanos(300 + 7_200 + 900 + 50));
}

#[test]
fn a_trace_is_json_with_an_event_for_every_span() {
    let schedule = Schedule::new(ScheduleKind::Interleaved, 2, 4, 2).expect("good");
    let timeline = simulate(&schedule, &equal(2, 2), Delivery::Buffered).expect("no deadlock");
    let parsed: serde_json::Value = serde_json::from_str(&trace(&timeline)).expect("JSON");
    let events = parsed["traceEvents"].as_array().expect("a list");
    let spans = events.iter().filter(|event| event["ph"] == "X").count();
    assert_eq!(spans, timeline.spans.len());
    assert_eq!(spans, 2 * 4 * 2 * 2);
    assert!(events.iter().any(|event| event["name"] == "F3.1" && event["cat"] == "forward"));
}

#[test]
fn impossible_schedules_are_refused_with_their_reason() {
    let new = Schedule::new;
    assert_eq!(new(ScheduleKind::GPipe, 0, 1, 1), Err(ScheduleError::Zero("ranks")));
    assert_eq!(new(ScheduleKind::GPipe, 2, 1, 2), Err(ScheduleError::VirtualStages(2)));
    assert_eq!(
        new(ScheduleKind::Interleaved, 4, 6, 2),
        Err(ScheduleError::MicroBatches { micro_batches: 6, ranks: 4 })
    );
    assert!(matches!(
        new(ScheduleKind::GPipe, 1 << 12, 1 << 20, 1),
        Err(ScheduleError::TooLarge(_))
    ));
    let schedule = new(ScheduleKind::GPipe, 2, 2, 1).expect("good");
    let error = simulate(&schedule, &equal(1, 1), Delivery::Buffered).expect_err("short lists");
    assert_eq!(error.to_string(), "forward has 1 times: it must have 2");
}

#[test]
fn the_timeline_of_an_exact_cut_is_what_the_partition_promised() {
    let layer = LayerCost {
        forward: Nanos(1_000_000),
        backward: Nanos(2_000_000),
        gradients: Bytes(4_000),
        parameters: Bytes(2_000),
        output: Bytes(1_000),
        ..LayerCost::default()
    };
    let hop = Hop { latency: Nanos(100), bandwidth: Bandwidth(1e9) };
    let stage = ChainStage {
        layers: vec![layer; 12],
        memory: None,
        next: hop,
        reduction: Collective { members: 4, hop },
    };
    let stages = vec![stage; 4];
    let bucket = Bytes(8_000);
    let costs = ChainCosts::new(&stages, 8, bucket, Transfers::Overlapped);
    let cut = exact(&costs).expect("no memory caps");
    assert_eq!(cut.layers, [3; 4]);
    let kind = ScheduleKind::OneForwardOneBackward;
    let schedule = Schedule::new(kind, 4, 8, 1).expect("a good schedule");
    let timing = timing(&stages, &cut.layers, 1, bucket);
    let end = simulate(&schedule, &timing, Delivery::Buffered).expect("no deadlock").end;
    // In the steady state a transfer of 1.1 us is waited for once more at each turn of a rank.
    let (least, most) = (cut.iteration.0, cut.iteration.0 + 2 * 8 * 4 * 1_100);
    assert!((least..=most).contains(&end.0), "{end} {}", cut.iteration);
}
