//! The times of a pipeline that was cut.

use std::ops::Range;

use super::{Bucket, Timing};
use crate::pipeline::model::LayerCost;
use crate::pipeline::partition::{ChainStage, Collective};
use crate::units::{Bytes, Nanos};

/// The times of `stages`, with so many `layers` each in the order of the model, reduced in
/// buckets of `bucket` bytes. Interleaved, the layers of a rank are cut into nearly equal parts.
pub fn timing(
    stages: &[ChainStage],
    layers: &[usize],
    virtual_stages: u32,
    bucket: Bytes,
) -> Timing {
    let parts = virtual_stages as usize;
    let count = stages.len();
    let mut timing = Timing {
        forward: vec![Nanos(0); count * parts],
        backward: vec![Nanos(0); count * parts],
        activation: vec![Nanos(0); count * parts],
        gradient: vec![Nanos(0); count * parts],
        ..Timing::default()
    };
    let mut start = 0;
    for (rank, (stage, &layers)) in stages.iter().zip(layers).enumerate() {
        let own = &stage.layers[start..start + layers];
        start += layers;
        for part in 0..parts {
            let index = part * count + rank;
            let range = layers * part / parts..layers * (part + 1) / parts;
            timing.forward[index] = sum(own, range.clone(), |layer| layer.forward);
            timing.backward[index] = sum(own, range, |layer| layer.backward);
            let output = own.last().map_or(Bytes(0), |layer| layer.output);
            timing.activation[index] = stage.next.time(output);
            // A gradient goes back over the boundary before this stage.
            let before = (rank + count - 1) % count;
            timing.gradient[index] = stages[before].next.time(output);
        }
        timing.reduce.push(reduce(own, stage.reduction, bucket));
        timing.gather.push(gather(own, stage.reduction, bucket));
        timing.update.push(Nanos(0));
    }
    timing
}

fn sum(layers: &[LayerCost], range: Range<usize>, of: impl Fn(&LayerCost) -> Nanos) -> Nanos {
    layers[range].iter().map(of).fold(Nanos(0), |sum, time| sum + time)
}

/// Buckets from the last layer to the first.
fn reduce(layers: &[LayerCost], ring: Collective, bucket: Bytes) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let mut waiting = Bytes(0);
    for first in (0..layers.len()).rev() {
        waiting += layers[first].gradients;
        if waiting >= bucket || (first == 0 && waiting.0 > 0) {
            let margin = sum(layers, 0..first, |layer| layer.backward);
            buckets.push(Bucket { margin, time: ring.one_way(waiting) });
            waiting = Bytes(0);
        }
    }
    buckets
}

/// Buckets from the first layer to the last.
fn gather(layers: &[LayerCost], ring: Collective, bucket: Bytes) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let (mut waiting, mut first) = (Bytes(0), 0);
    for (index, layer) in layers.iter().enumerate() {
        waiting += layer.parameters;
        if waiting >= bucket || (index + 1 == layers.len() && waiting.0 > 0) {
            let margin = sum(layers, 0..first, |layer| layer.forward);
            buckets.push(Bucket { margin, time: ring.one_way(waiting) });
            (waiting, first) = (Bytes(0), index + 1);
        }
    }
    buckets
}
