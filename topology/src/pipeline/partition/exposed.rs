//! What overlap does not hide of a distributed optimizer's two collectives.
//!
//! Gradients are reduce-scattered in buckets while the last backward pass still computes;
//! parameters are all-gathered in buckets while the next first forward pass already computes.
//! One stage's buckets share one network, one after another.

use std::ops::Range;

use super::Collective;
use crate::pipeline::model::LayerCost;
use crate::units::{Bytes, Nanos};

/// Exposed times of every range of layers.
#[derive(Clone, Debug)]
pub(super) struct Exposed {
    layers: usize,
    /// By first layer, then by end.
    table: Vec<Nanos>,
}

impl Exposed {
    pub(super) fn new(layers: &[LayerCost], ring: Collective, bucket: Bytes) -> Self {
        let count = layers.len();
        let mut table = vec![Nanos(0); count * (count + 1)];
        if ring.members >= 2 {
            for end in 1..=count {
                scatter(layers, ring, bucket, end, &mut table);
            }
            for start in 0..count {
                gather(layers, ring, bucket, start, &mut table);
            }
        }
        Self { layers: count, table }
    }

    pub(super) fn of(&self, layers: Range<usize>) -> Nanos {
        if layers.is_empty() {
            return Nanos(0);
        }
        self.table[layers.start * (self.layers + 1) + layers.end]
    }
}

/// Adds the reduce-scatter's part of all ranges that end before layer `end`.
fn scatter(layers: &[LayerCost], ring: Collective, bucket: Bytes, end: usize, table: &mut [Nanos]) {
    let (mut computed, mut network, mut waiting) = (Nanos(0), Nanos(0), Bytes(0));
    for start in (0..end).rev() {
        computed = computed + layers[start].backward;
        waiting += layers[start].gradients;
        if waiting >= bucket {
            network = network.max(computed) + ring.one_way(waiting);
            waiting = Bytes(0);
        }
        let last = ring.one_way(waiting);
        let done = if waiting.0 > 0 { network.max(computed) + last } else { network };
        let entry = &mut table[start * (layers.len() + 1) + end];
        *entry = *entry + done.since(computed);
    }
}

/// Adds the all-gather's part of all ranges that begin at layer `start`.
fn gather(
    layers: &[LayerCost],
    ring: Collective,
    bucket: Bytes,
    start: usize,
    table: &mut [Nanos],
) {
    let (mut clock, mut network, mut alone) = (Nanos(0), Nanos(0), Nanos(0));
    let (mut waiting, mut forward) = (Bytes(0), Nanos(0));
    for end in start + 1..=layers.len() {
        let layer = &layers[end - 1];
        alone = alone + layer.forward;
        waiting += layer.parameters;
        forward = forward + layer.forward;
        let arrived = network + ring.one_way(waiting);
        let done = clock.max(arrived) + forward;
        let entry = &mut table[start * (layers.len() + 1) + end];
        *entry = *entry + done.since(alone);
        if waiting >= bucket {
            (network, clock) = (arrived, done);
            (waiting, forward) = (Bytes(0), Nanos(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::partition::Hop;
    use crate::units::Bandwidth;

    fn ring(bandwidth: f64) -> Collective {
        let hop = Hop { latency: Nanos(0), bandwidth: Bandwidth(bandwidth) };
        Collective { members: 2, hop }
    }

    fn layer() -> LayerCost {
        LayerCost {
            forward: Nanos(10),
            backward: Nanos(20),
            gradients: Bytes(100),
            parameters: Bytes(100),
            ..LayerCost::default()
        }
    }

    #[test]
    fn a_fast_network_exposes_the_first_and_the_last_bucket_only() {
        // A bucket of one layer takes 50 ns / 10 = 5 ns, less than either pass.
        let exposed = Exposed::new(&[layer(); 4], ring(10e9), Bytes(100));
        assert_eq!(exposed.of(0..4), Nanos(10));
        assert_eq!(exposed.of(3..4), Nanos(10));
    }

    #[test]
    fn a_slow_network_exposes_all_but_what_computing_covers() {
        // 50 ns of a bucket against 20 ns and 10 ns: 20 + 4 · 50 − 80 and 4 · 50 + 10 − 40.
        let exposed = Exposed::new(&[layer(); 4], ring(1e9), Bytes(100));
        assert_eq!(exposed.of(0..4), Nanos(140 + 170));
    }

    #[test]
    fn one_bucket_for_all_layers_hides_nothing() {
        let exposed = Exposed::new(&[layer(); 4], ring(1e9), Bytes(1_000));
        assert_eq!(exposed.of(0..4), Nanos(200 + 200));
    }

    #[test]
    fn one_replica_reduces_nothing() {
        let alone = Collective { members: 1, ..ring(1e9) };
        assert_eq!(Exposed::new(&[layer(); 4], alone, Bytes(100)).of(0..4), Nanos(0));
    }
}
