//! One virtual stage with its buffers.

use super::buckets::{Bucket, Place, cut};
use super::error::PipelineError;
use super::links::{Group, Links, Progress};
use super::stage::{Backward, Batch, Forward, LayerShape, Stage};
use crate::CollectiveError;
use crate::communicator::owned::Owned;

/// Gradients on their way to the stage before: one is computed while another is sent.
const OUTGOING: usize = 2;

/// Buffers of one micro-batch between its forward and its backward pass.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) input: Owned,
    pub(super) output: Owned,
    /// Outputs of all layers but the last.
    inner: Vec<Vec<f32>>,
    /// What layers keep.
    kept: Vec<Vec<f32>>,
}

/// How many buffers there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) slots: usize,
    pub(super) gradients: usize,
    /// Whether input comes from another stage, and gradients do.
    pub(super) receives: (bool, bool),
}

/// What all virtual stages of a rank have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) bucket_bytes: u64,
    pub(super) replica: usize,
    pub(super) replicas: usize,
    /// Numbers that the optimizer keeps for each parameter.
    pub(super) state: usize,
}

/// A virtual stage.
#[derive(Debug)]
pub(super) struct Chunk<S> {
    pub(super) stage: S,
    layers: Vec<LayerShape>,
    pub(super) slots: Vec<Slot>,
    /// From the stage after.
    pub(super) incoming: Vec<Owned>,
    outgoing: Vec<Owned>,
    /// The outgoing gradient that was computed last.
    turn: usize,
    loss_gradient: Vec<f32>,
    /// Gradients between layers, two in turn.
    between: [Vec<f32>; 2],
    pub(super) buckets: Vec<Bucket>,
    places: Vec<Place>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl<S: Stage> Chunk<S> {
    pub(super) fn new(
        mut stage: S,
        chunk: usize,
        counts: Counts,
        common: Common,
    ) -> Result<Self, PipelineError> {
        let layers = stage.layers().to_vec();
        let input = stage.input();
        let Some(output) = layers.last().map(|layer| layer.output) else {
            let problem = "it has no layers: at least one would be right";
            return Err(PipelineError::Shape { chunk, problem });
        };
        if input == 0 || layers.iter().any(|layer| layer.output == 0) {
            let problem = "an input or output of no numbers: at least one would be right";
            return Err(PipelineError::Shape { chunk, problem });
        }
        let Common { replica, replicas, state, .. } = common;
        let cuts = cut(&layers, common.bucket_bytes);
        let bucket = |own| Bucket::new(&layers, own, (replica, replicas), state);
        let mut buckets: Vec<Bucket> = cuts.into_iter().map(bucket).collect();
        let numbered = buckets.iter().enumerate();
        let places: Vec<Place> = numbered.flat_map(|(at, b)| b.places(at, &layers)).collect();
        for (layer, place) in places.iter().enumerate() {
            let parameters = buckets[place.bucket].parameters.write();
            stage.initialise(layer, &mut parameters[place.range.clone()]);
        }
        let inner = &layers[..layers.len() - 1];
        let slot = |_| Slot {
            input: Owned::zeros(input),
            output: Owned::zeros(output),
            inner: inner.iter().map(|layer| vec![0.0; layer.output]).collect(),
            kept: layers.iter().map(|layer| vec![0.0; layer.kept]).collect(),
        };
        let widest = inner.iter().map(|layer| layer.output).max().unwrap_or(0);
        let (is_first, is_last) = (!counts.receives.0, !counts.receives.1);
        let outgoing = if is_first { 0 } else { OUTGOING };
        Ok(Self {
            slots: (0..counts.slots).map(slot).collect(),
            incoming: (0..counts.gradients).map(|_| Owned::zeros(output)).collect(),
            outgoing: (0..outgoing).map(|_| Owned::zeros(input)).collect(),
            turn: 0,
            loss_gradient: vec![0.0; if is_last { output } else { 0 }],
            between: [vec![0.0; widest], vec![0.0; widest]],
            stage,
            layers,
            buckets,
            places,
            is_first,
            is_last,
        })
    }

    /// The parameters of a layer.
    pub(super) fn parameters(&self, layer: usize) -> Option<&[f32]> {
        let place = self.places.get(layer)?;
        Some(&self.buckets[place.bucket].parameters.read()[place.range.clone()])
    }

    /// Takes a micro-batch forward through all layers; each waits for its parameters.
    pub(super) fn forward(
        &mut self,
        batch: Batch,
        slot: usize,
        links: &Links,
    ) -> Result<(), CollectiveError> {
        let Slot { input, output, inner, kept } = &mut self.slots[slot];
        // The output of another micro-batch may still be on its way.
        links.settle(Group::Pipeline, output)?;
        if self.is_first {
            self.stage.load(batch, input.write());
        }
        let progress = Progress(links);
        let last = self.layers.len() - 1;
        for (layer, kept) in kept.iter_mut().enumerate() {
            let place = &self.places[layer];
            let bucket = &mut self.buckets[place.bucket];
            bucket.gathered(links)?;
            let (before, after) = inner.split_at_mut(layer);
            let pass = Forward {
                batch,
                parameters: &bucket.parameters.read()[place.range.clone()],
                input: before.last().map_or_else(|| input.read(), Vec::as_slice),
                output: if layer == last { output.write() } else { &mut after[0] },
                kept,
                progress,
            };
            self.stage.forward(layer, pass);
            progress.step();
        }
        Ok(())
    }

    /// The loss of a micro-batch, whose derivative its backward pass begins with.
    pub(super) fn loss(&mut self, batch: Batch, slot: usize) -> f32 {
        self.stage.loss(batch, self.slots[slot].output.read(), &mut self.loss_gradient)
    }

    /// Takes a micro-batch back through all layers. `done` hears of each bucket whose layers it has
    /// passed.
    pub(super) fn backward(
        &mut self,
        batch: Batch,
        (slot, gradient): (usize, Option<usize>),
        links: &Links,
        mut done: impl FnMut(&mut Bucket) -> Result<(), CollectiveError>,
    ) -> Result<(), CollectiveError> {
        let Slot { input, output, inner, kept } = &self.slots[slot];
        self.turn = (self.turn + 1) % OUTGOING;
        if let Some(outgoing) = self.outgoing.get_mut(self.turn) {
            links.settle(Group::Pipeline, outgoing)?;
        }
        let [one, other] = &mut self.between;
        let (mut from, mut to) = (one, other);
        let progress = Progress(links);
        let last = self.layers.len() - 1;
        for layer in (0..self.layers.len()).rev() {
            let place = &self.places[layer];
            let bucket = &mut self.buckets[place.bucket];
            let output_gradient: &[f32] = match gradient {
                _ if layer < last => &from[..self.layers[layer].output],
                Some(gradient) => self.incoming[gradient].read(),
                None => &self.loss_gradient,
            };
            let input_gradient: &mut [f32] = match layer.checked_sub(1) {
                Some(before) => &mut to[..self.layers[before].output],
                None => self.outgoing.get_mut(self.turn).map_or(&mut [], Owned::write),
            };
            let pass = Backward {
                batch,
                parameters: &bucket.parameters.read()[place.range.clone()],
                input: layer.checked_sub(1).map_or_else(|| input.read(), |before| &inner[before]),
                output: if layer == last { output.read() } else { &inner[layer] },
                kept: &kept[layer],
                output_gradient,
                input_gradient,
                gradients: &mut bucket.gradients.write()[place.range.clone()],
                progress,
            };
            self.stage.backward(layer, pass);
            std::mem::swap(&mut from, &mut to);
            if bucket.layers.start == layer {
                done(bucket)?;
            }
            progress.step();
        }
        Ok(())
    }

    /// The gradient that goes to the stage before.
    pub(super) fn outgoing(&mut self) -> &mut Owned {
        &mut self.outgoing[self.turn]
    }

    /// Waits for everything that is still on its way.
    pub(super) fn settle(&mut self, links: &Links) -> Result<(), CollectiveError> {
        for bucket in &mut self.buckets {
            bucket.reduced(links)?;
            bucket.gathered(links)?;
        }
        let slots = self.slots.iter_mut();
        let transfers = slots.flat_map(|slot| [&mut slot.input, &mut slot.output]);
        for memory in transfers.chain(&mut self.incoming).chain(&mut self.outgoing) {
            links.settle(Group::Pipeline, memory)?;
        }
        Ok(())
    }
}
