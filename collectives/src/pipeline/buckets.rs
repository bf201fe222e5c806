//! Parameters and gradients of a virtual stage, cut into what is reduced and gathered at once.

use std::ops::Range;

use super::links::{Group, Links};
use super::optimizer::Optimizer;
use super::stage::LayerShape;
use crate::CollectiveError;
use crate::communicator::owned::Owned;

/// Whole layers that follow each other.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Which layers.
    pub(super) layers: Range<usize>,
    pub(super) parameters: Owned,
    pub(super) gradients: Owned,
    /// What the optimizer keeps of this replica's share.
    state: Vec<f32>,
    /// This replica's share.
    share: Range<usize>,
}

/// Where the numbers of a layer are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) range: Range<usize>,
}

/// How layers are gathered into buckets, from the last one on as their gradients are complete: a
/// bucket is full when it has `bytes`.
pub(super) fn cut(layers: &[LayerShape], bytes: u64) -> Vec<Range<usize>> {
    let mut buckets = Vec::new();
    let (mut end, mut filled) = (layers.len(), 0);
    for first in (0..layers.len()).rev() {
        filled += size_of::<f32>() as u64 * layers[first].parameters as u64;
        if filled >= bytes || first == 0 {
            buckets.push(first..end);
            (end, filled) = (first, 0);
        }
    }
    buckets.reverse();
    buckets
}

impl Bucket {
    /// Of these layers, for `replicas` of which this is `replica`; padded so that all have the same
    /// share.
    pub(super) fn new(
        layers: &[LayerShape],
        own: Range<usize>,
        (replica, replicas): (usize, usize),
        state: usize,
    ) -> Self {
        let numbers: usize = layers[own.clone()].iter().map(|layer| layer.parameters).sum();
        let share = numbers.div_ceil(replicas);
        Self {
            layers: own,
            parameters: Owned::zeros(share * replicas),
            gradients: Owned::zeros(share * replicas),
            state: vec![0.0; state * share],
            share: replica * share..(replica + 1) * share,
        }
    }

    /// Where each of its layers is.
    pub(super) fn places(&self, bucket: usize, layers: &[LayerShape]) -> Vec<Place> {
        let mut at = 0;
        let place = |layer: &LayerShape| {
            at += layer.parameters;
            Place { bucket, range: at - layer.parameters..at }
        };
        layers[self.layers.clone()].iter().map(place).collect()
    }

    /// Begins to sum the gradients over all replicas.
    pub(super) fn reduce(&mut self, links: &Links) -> Result<(), CollectiveError> {
        if links.data.world_size().get() == 1 {
            return Ok(());
        }
        self.gradients.reduce_scatter(&links.data)
    }

    /// Changes this replica's share of the parameters, forgets the gradients, and begins to spread
    /// the share.
    pub(super) fn update(
        &mut self,
        step: u64,
        optimizer: &impl Optimizer,
        links: &Links,
    ) -> Result<(), CollectiveError> {
        let share = self.share.clone();
        let parameters = &mut self.parameters.write()[share.clone()];
        let gradients = self.gradients.write();
        optimizer.update(step, parameters, &gradients[share], &mut self.state);
        gradients.fill(0.0);
        if links.data.world_size().get() == 1 {
            return Ok(());
        }
        self.parameters.all_gather(&links.data)
    }

    /// Waits for the gradients' sum.
    pub(super) fn reduced(&mut self, links: &Links) -> Result<(), CollectiveError> {
        links.settle(Group::Data, &mut self.gradients)
    }

    /// Waits for the parameters.
    pub(super) fn gathered(&mut self, links: &Links) -> Result<(), CollectiveError> {
        links.settle(Group::Data, &mut self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fill_from_the_last_layer_and_hold_whole_layers() {
        let layer = |parameters| LayerShape { parameters, output: 1, kept: 0 };
        let layers = [layer(10), layer(1), layer(5), layer(5), layer(30)];
        assert_eq!(cut(&layers, 40), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&layers, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(cut(&layers, 1 << 40), vec![0..5]);
    }

    #[test]
    fn shares_are_equal_and_cover_all_layers() {
        let layers = [LayerShape { parameters: 5, output: 1, kept: 0 }; 2];
        let bucket = Bucket::new(&layers, 0..2, (2, 3), 2);
        assert_eq!((bucket.share.clone(), bucket.state.len()), (8..12, 8));
        let places = bucket.places(7, &layers);
        assert_eq!((places[1].bucket, places[1].range.clone()), (7, 5..10));
    }
}
