//! What a pipeline refuses, each with one line.

use onepath_collectives::Communicator;
use onepath_collectives::pipeline::perceptron::Perceptron;
use onepath_collectives::pipeline::{Links, Pipeline, PipelineError, Settings, Sgd};
use onepath_topology::Bytes;
use onepath_topology::pipeline::schedule::{Action, Peer, Schedule, ScheduleKind};

const MODEL: Perceptron =
    Perceptron { layers: 200, width: 2, samples: 1, micro_batches: 2, replicas: 1, seed: 1 };

const KIND: ScheduleKind = ScheduleKind::OneForwardOneBackward;

fn refused(schedule: &Schedule, layers: &[usize], bucket: Bytes) -> String {
    let links = Links { pipeline: Communicator::alone(), data: Communicator::alone() };
    let stages = layers.iter().map(|&count| MODEL.stage(0..count)).collect();
    let settings = Settings { bucket, ..Settings::new(schedule) };
    let refused = Pipeline::new(&settings, links, stages, Sgd { rate: 0.1 });
    let error: PipelineError = refused.map(drop).expect_err("it is wrong");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn what_does_not_fit_is_told_with_what_would_be_right() {
    let good = Schedule::new(KIND, 1, 2, 1).expect("it fits");
    let two = Schedule::new(KIND, 2, 2, 1).expect("it fits");
    let to_itself = Schedule::new(ScheduleKind::Interleaved, 1, 2, 2).expect("it fits");
    let (f, b) = (
        |micro_batch| Action::Forward { micro_batch, chunk: 0 },
        |micro_batch| Action::Backward { micro_batch, chunk: 0 },
    );
    let of = |actions: Vec<Action>| Schedule::of_actions(KIND, 2, 1, vec![actions]);
    let from = Peer { rank: 1, chunk: 0 };
    let receive = Action::ReceiveActivation { micro_batch: 0, chunk: 0, from };
    let large = Bytes::mib(1);
    for (schedule, layers, bucket, parts) in [
        (&two, vec![3], large, ["2 ranks", "1: as many"]),
        (&good, vec![3, 3], large, ["2 stages", "1 on each"]),
        (&good, vec![0], large, ["no layers", "at least one"]),
        (&good, vec![200], Bytes(1), ["200", "at most 100"]),
        (&to_itself, vec![1, 1], large, ["itself", "one virtual stage"]),
        (&of(vec![f(0), b(0)]), vec![1], large, ["2 passes", "4 would"]),
        (&of(vec![f(0), b(0), f(2), b(2)]), vec![1], large, ["F2.0", "no such micro-batch"]),
        (&of(vec![receive, f(0), b(0), f(1), b(1)]), vec![1], large, ["action 0", "no such stage"]),
    ] {
        let text = refused(schedule, &layers, bucket);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
