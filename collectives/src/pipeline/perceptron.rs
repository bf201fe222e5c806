//! A multilayer perceptron on generated data, written plainly: for tests, examples and
//! measurements.
//!
//! All layers are `width` wide, with tanh after all but the last; the loss is half the squared
//! error over all samples of an iteration. Parameters and samples depend on the seed, the layer and
//! the number of the sample alone, not on how the model is cut.

use std::ops::Range;

use super::optimizer::Optimizer;
use super::stage::{Backward, Batch, Forward, LayerShape, Stage};

/// A model and its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perceptron {
    /// Layers of the whole model.
    pub layers: usize,
    /// Numbers between two layers, for one sample.
    pub width: usize,
    /// Samples of a micro-batch.
    pub samples: usize,
    /// Micro-batches of a replica.
    pub micro_batches: u32,
    /// Replicas.
    pub replicas: u32,
    /// Of parameters and samples.
    pub seed: u64,
}

/// Some of its layers.
#[derive(Clone, Debug)]
pub struct PerceptronStage {
    model: Perceptron,
    own: Range<usize>,
    shapes: Vec<LayerShape>,
    /// The derivative by the sums of a layer, of one sample.
    delta: Vec<f32>,
}

/// Numbers that look random and are the same everywhere (Steele et al. 2014, `SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64, stream: u64) -> Self {
        let mut numbers = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        numbers.next();
        numbers
    }

    /// Uniform between -1 and 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

impl Perceptron {
    /// Some of its layers as a stage.
    ///
    /// # Panics
    /// When it has no such layers.
    pub fn stage(&self, own: Range<usize>) -> PerceptronStage {
        assert!(own.end <= self.layers, "layers of the model");
        let shape = LayerShape {
            parameters: self.width * self.width + self.width,
            output: self.samples * self.width,
            kept: 0,
        };
        let shapes = vec![shape; own.len()];
        PerceptronStage { model: *self, own, shapes, delta: vec![0.0; self.width] }
    }

    /// Weights, a row for each input, then a bias for each output.
    fn initialise(&self, layer: usize, parameters: &mut [f32]) {
        let mut numbers = Numbers::of(self.seed, layer as u64 + 1);
        let scale = (3.0 / self.width as f32).sqrt();
        parameters.fill_with(|| numbers.next() * scale);
        parameters[self.width * self.width..].fill(0.0);
    }

    /// Input and wanted output of the samples of a micro-batch.
    fn numbers(&self, batch: Batch) -> Numbers {
        let of_step = u64::from(self.replicas) * u64::from(self.micro_batches);
        let in_step = u64::from(batch.replica) * u64::from(self.micro_batches);
        let number = batch.step * of_step + in_step + u64::from(batch.micro_batch);
        Numbers::of(!self.seed, number + 1)
    }

    fn load(&self, batch: Batch, input: &mut [f32]) {
        let mut numbers = self.numbers(batch);
        input.fill_with(|| numbers.next());
    }

    fn loss(&self, batch: Batch, output: &[f32], gradient: &mut [f32]) -> f32 {
        let all = u64::from(self.replicas) * u64::from(self.micro_batches) * self.samples as u64;
        let share = 1.0 / all as f32;
        let mut numbers = self.numbers(batch);
        let mut loss = 0.0;
        for (y, g) in output.iter().zip(gradient) {
            let error = y - (2.0 * numbers.next()).sin();
            loss += error * error / 2.0 * share;
            *g = error * share;
        }
        loss
    }

    fn forward(&self, layer: usize, parameters: &[f32], input: &[f32], output: &mut [f32]) {
        let width = self.width;
        let (weights, biases) = parameters.split_at(width * width);
        for (x, y) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            y.copy_from_slice(biases);
            for (x, row) in x.iter().zip(weights.chunks_exact(width)) {
                for (y, w) in y.iter_mut().zip(row) {
                    *y += w * x;
                }
            }
            if layer + 1 < self.layers {
                for y in y {
                    *y = y.tanh();
                }
            }
        }
    }

    /// `gradients` are added to; `before` is empty where nobody wants it.
    fn backward(&self, layer: usize, delta: &mut [f32], pass: Values<'_>) {
        let width = self.width;
        let Values { parameters, input, output, after, before, gradients } = pass;
        let (to_weights, to_biases) = gradients.split_at_mut(width * width);
        let weights = &parameters[..width * width];
        for sample in 0..input.len() / width {
            let range = sample * width..(sample + 1) * width;
            let (x, y, g) = (&input[range.clone()], &output[range.clone()], &after[range.clone()]);
            for ((d, g), y) in delta.iter_mut().zip(g).zip(y) {
                // The derivative of tanh, from its value.
                *d = if layer + 1 < self.layers { g * (1.0 - y * y) } else { *g };
            }
            for (x, row) in x.iter().zip(to_weights.chunks_exact_mut(width)) {
                for (w, d) in row.iter_mut().zip(&*delta) {
                    *w += x * d;
                }
            }
            for (b, d) in to_biases.iter_mut().zip(&*delta) {
                *b += d;
            }
            if before.is_empty() {
                continue;
            }
            for (b, row) in before[range].iter_mut().zip(weights.chunks_exact(width)) {
                *b = row.iter().zip(&*delta).map(|(w, d)| w * d).sum();
            }
        }
    }
}

/// What a backward pass reads and writes.
struct Values<'a> {
    parameters: &'a [f32],
    input: &'a [f32],
    output: &'a [f32],
    after: &'a [f32],
    before: &'a mut [f32],
    gradients: &'a mut [f32],
}

impl Stage for PerceptronStage {
    fn input(&self) -> usize {
        self.model.samples * self.model.width
    }

    fn layers(&self) -> &[LayerShape] {
        &self.shapes
    }

    fn initialise(&mut self, layer: usize, parameters: &mut [f32]) {
        self.model.initialise(self.own.start + layer, parameters);
    }

    fn load(&mut self, batch: Batch, input: &mut [f32]) {
        self.model.load(batch, input);
    }

    fn forward(&mut self, layer: usize, pass: Forward<'_>) {
        let Forward { parameters, input, output, .. } = pass;
        self.model.forward(self.own.start + layer, parameters, input, output);
    }

    fn loss(&mut self, batch: Batch, output: &[f32], gradient: &mut [f32]) -> f32 {
        self.model.loss(batch, output, gradient)
    }

    fn backward(&mut self, layer: usize, pass: Backward<'_>) {
        let values = Values {
            parameters: pass.parameters,
            input: pass.input,
            output: pass.output,
            after: pass.output_gradient,
            before: pass.input_gradient,
            gradients: pass.gradients,
        };
        self.model.backward(self.own.start + layer, &mut self.delta, values);
    }
}

/// In which order one process adds the gradients of a replica's micro-batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The first one first: that of 1F1B and interleaved 1F1B.
    Ascending,
    /// The last one first: that of `GPipe`.
    Descending,
}

/// Trains in one process, without pipeline, communicator or executor; the loss of each micro-batch
/// (replica after replica) of each iteration.
///
/// Gradients are summed for each replica, then these sums in the order of replicas: bit by bit what
/// a pipeline gives with at most two replicas, as `a + b = b + a`. With more, or with `apart` false
/// (all micro-batches in one sum), it is equal but for the rounding of sums.
pub fn train_alone(
    model: &Perceptron,
    steps: u64,
    optimizer: &impl Optimizer,
    order: Order,
    apart: bool,
) -> Vec<Vec<f32>> {
    let size = model.width * model.width + model.width;
    let mut parameters = vec![vec![0.0; size]; model.layers];
    for (layer, parameters) in parameters.iter_mut().enumerate() {
        model.initialise(layer, parameters);
    }
    let mut state = vec![vec![0.0; optimizer.state() * size]; model.layers];
    let mut losses = Vec::new();
    for step in 0..steps {
        let mut of_step = vec![0.0; (model.replicas * model.micro_batches) as usize];
        let mut sums = vec![vec![0.0; size]; model.layers];
        for replica in 0..model.replicas {
            let mut own = vec![vec![0.0; size]; model.layers];
            for place in 0..model.micro_batches {
                let micro_batch = match order {
                    Order::Ascending => place,
                    Order::Descending => model.micro_batches - 1 - place,
                };
                let batch = Batch { step, replica, micro_batch };
                let to = if apart { &mut own } else { &mut sums };
                let at = replica * model.micro_batches + micro_batch;
                of_step[at as usize] = pass_alone(model, batch, &parameters, to);
            }
            let pairs = sums.iter_mut().flatten().zip(own.iter().flatten());
            pairs.for_each(|(sum, own)| *sum += own);
        }
        for ((parameters, sums), state) in parameters.iter_mut().zip(&sums).zip(&mut state) {
            optimizer.update(step, parameters, sums, state);
        }
        losses.push(of_step);
    }
    losses
}

/// One micro-batch there and back; its loss.
fn pass_alone(
    model: &Perceptron,
    batch: Batch,
    parameters: &[Vec<f32>],
    gradients: &mut [Vec<f32>],
) -> f32 {
    let mut values = vec![vec![0.0; model.samples * model.width]; model.layers + 1];
    model.load(batch, &mut values[0]);
    for (layer, parameters) in parameters.iter().enumerate() {
        let (before, after) = values.split_at_mut(layer + 1);
        model.forward(layer, parameters, &before[layer], &mut after[0]);
    }
    let mut after = vec![0.0; model.samples * model.width];
    let loss = model.loss(batch, &values[model.layers], &mut after);
    let mut delta = vec![0.0; model.width];
    for layer in (0..model.layers).rev() {
        let mut before = vec![0.0; after.len()];
        let pass = Values {
            parameters: &parameters[layer],
            input: &values[layer],
            output: &values[layer + 1],
            after: &after,
            before: &mut before,
            gradients: &mut gradients[layer],
        };
        model.backward(layer, &mut delta, pass);
        after = before;
    }
    loss
}
