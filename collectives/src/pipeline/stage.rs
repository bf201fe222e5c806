//! What the user computes.

use super::links::Progress;

/// Sizes of one layer, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// Its parameters, and as many gradients.
    pub parameters: usize,
    /// What it gives to the next layer for one micro-batch.
    pub output: usize,
    /// What its backward pass needs of its forward pass beside input and output.
    pub kept: usize,
}

/// Which micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The iteration, from 0.
    pub step: u64,
    /// The replica.
    pub replica: u32,
    /// The micro-batch of this replica, from 0.
    pub micro_batch: u32,
}

/// A forward pass through one layer.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Which micro-batch.
    pub batch: Batch,
    /// The layer's parameters.
    pub parameters: &'a [f32],
    /// From the layer before.
    pub input: &'a [f32],
    /// To be written.
    pub output: &'a mut [f32],
    /// For the backward pass.
    pub kept: &'a mut [f32],
    /// To be called now and then in a long computation.
    pub progress: Progress<'a>,
}

/// A backward pass through one layer.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Which micro-batch.
    pub batch: Batch,
    /// The layer's parameters.
    pub parameters: &'a [f32],
    /// As in the forward pass.
    pub input: &'a [f32],
    /// As the forward pass wrote it.
    pub output: &'a [f32],
    /// What the forward pass kept.
    pub kept: &'a [f32],
    /// The derivative of the loss by the output.
    pub output_gradient: &'a [f32],
    /// To be written: the derivative by the input. Empty for the first layer of the model.
    pub input_gradient: &'a mut [f32],
    /// To be added to: the derivative by the parameters.
    pub gradients: &'a mut [f32],
    /// To be called now and then in a long computation.
    pub progress: Progress<'a>,
}

/// One stage of a model: layers one after the other. All replicas of a stage are alike.
pub trait Stage {
    /// Numbers that come in for one micro-batch.
    fn input(&self) -> usize;

    /// Its layers, first to last; at least one.
    fn layers(&self) -> &[LayerShape];

    /// Writes the parameters with which training begins, the same on all replicas.
    fn initialise(&mut self, layer: usize, parameters: &mut [f32]);

    /// Writes a micro-batch; of the first stage of the model.
    fn load(&mut self, batch: Batch, input: &mut [f32]);

    /// Computes the output of a layer.
    fn forward(&mut self, layer: usize, pass: Forward<'_>);

    /// Returns the loss of a micro-batch and writes its derivative by the output; of the last
    /// stage. Gradients of all micro-batches and replicas are summed: a mean divides here.
    fn loss(&mut self, batch: Batch, output: &[f32], gradient: &mut [f32]) -> f32;

    /// Computes the gradients of a layer.
    fn backward(&mut self, layer: usize, pass: Backward<'_>);
}
