//! Data-parallel training of a small multilayer perceptron, checked against one process.
//!
//! Every rank computes the gradients of its share of each batch; the gradients of a layer are
//! averaged over the ranks while the backward pass goes on with the layers before it. The losses
//! are those of one process that computes the whole batch, within 1e-4 of their size: sums of the
//! same numbers in another order round differently.
//!
//! `cargo run --release --example data_parallel` starts four ranks on this machine. Under a
//! launcher (torchrun, mpirun, srun) each process is one rank.

use std::error::Error;
use std::process::{Command, ExitCode};

use onepath_collectives::{Builder, Communicator, Handle, ReduceOp};

const WIDTHS: [usize; 4] = [32, 128, 128, 8];
const BATCH: usize = 64;
const STEPS: usize = 40;
const RATE: f32 = 0.05;
const SEED: u64 = 2407;
const RANKS: usize = 4;
const ROUNDING: f32 = 1e-4;

/// Numbers that look random and are the same everywhere.
struct Numbers(u64);

impl Numbers {
    /// Uniform between -1 and 1.
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// One fully connected layer: `outputs × inputs` weights, then `outputs` biases.
struct Layer {
    inputs: usize,
    outputs: usize,
    parameters: Vec<f32>,
}

impl Layer {
    fn new(inputs: usize, outputs: usize, numbers: &mut Numbers) -> Self {
        let scale = (1.0 / inputs as f32).sqrt();
        let count = outputs * inputs + outputs;
        let parameters = (0..count).map(|_| numbers.next() * scale).collect();
        Self { inputs, outputs, parameters }
    }

    fn forward(&self, input: &[f32], last: bool) -> Vec<f32> {
        let (weights, biases) = self.parameters.split_at(self.outputs * self.inputs);
        let rows = weights.chunks_exact(self.inputs).zip(biases);
        let sums =
            rows.map(|(row, bias)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + bias);
        sums.map(|sum| if last { sum } else { sum.tanh() }).collect()
    }

    /// Adds one sample's gradient and returns the gradient of the layer's input.
    fn backward(&self, input: &[f32], delta: &[f32], gradient: &mut [f32]) -> Vec<f32> {
        let (weights, biases) = gradient.split_at_mut(self.outputs * self.inputs);
        let mut before = vec![0.0; self.inputs];
        for (o, &d) in delta.iter().enumerate() {
            let row = o * self.inputs..(o + 1) * self.inputs;
            for (g, x) in weights[row.clone()].iter_mut().zip(input) {
                *g += d * x;
            }
            for (b, w) in before.iter_mut().zip(&self.parameters[row]) {
                *b += d * w;
            }
            biases[o] += d;
        }
        before
    }
}

/// A generated sample: what goes in and what should come out.
fn sample(step: usize, index: usize) -> (Vec<f32>, Vec<f32>) {
    let mut numbers = Numbers(SEED ^ ((step * BATCH + index) as u64 * 7_919 + 1));
    let input: Vec<f32> = (0..WIDTHS[0]).map(|_| numbers.next()).collect();
    let output = (0..WIDTHS[3]).map(|o| (input[o] * 2.0 + input[o + 8]).sin()).collect();
    (input, output)
}

/// One step over the samples of `share`; returns their summed loss. `reduce` makes gradients and
/// loss means over all ranks.
fn step(
    layers: &mut [Layer],
    communicator: &Communicator,
    number: usize,
    share: std::ops::Range<usize>,
) -> Result<f32, Box<dyn Error>> {
    let count = share.len() as f32;
    let mut loss = [0.0];
    let mut activations: Vec<Vec<Vec<f32>>> = Vec::new();
    let mut deltas: Vec<Vec<f32>> = Vec::new();
    for index in share {
        let (input, wanted) = sample(number, index);
        let mut passed = vec![input];
        for (l, layer) in layers.iter().enumerate() {
            passed.push(layer.forward(&passed[l], l + 1 == layers.len()));
        }
        let error: Vec<f32> =
            passed[layers.len()].iter().zip(&wanted).map(|(y, t)| y - t).collect();
        loss[0] += error.iter().map(|e| e * e).sum::<f32>() / 2.0 / count;
        deltas.push(error.into_iter().map(|e| e / count).collect());
        activations.push(passed);
    }
    let mut gradients: Vec<Vec<f32>> =
        layers.iter().map(|l| vec![0.0; l.parameters.len()]).collect();
    communicator.scope(|scope| {
        let mut buckets: Vec<Handle<'_, &mut [f32]>> = Vec::new();
        for (l, gradient) in gradients.iter_mut().enumerate().rev() {
            for (passed, delta) in activations.iter().zip(&mut deltas) {
                let before = layers[l].backward(&passed[l], delta, gradient);
                // The derivative of tanh, from its value.
                *delta = before.iter().zip(&passed[l]).map(|(b, y)| b * (1.0 - y * y)).collect();
                scope.progress()?;
            }
            buckets.push(scope.all_reduce(gradient, ReduceOp::Avg)?);
        }
        for bucket in buckets {
            bucket.wait()?;
        }
        Ok(())
    })?;
    communicator.all_reduce(&mut loss, ReduceOp::Avg)?;
    for (layer, gradient) in layers.iter_mut().zip(&gradients) {
        for (parameter, g) in layer.parameters.iter_mut().zip(gradient) {
            *parameter -= RATE * g;
        }
    }
    Ok(loss[0])
}

fn train(communicator: &Communicator) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut numbers = Numbers(SEED);
    let mut layers: Vec<Layer> =
        WIDTHS.windows(2).map(|w| Layer::new(w[0], w[1], &mut numbers)).collect();
    let (rank, ranks) = (communicator.rank().index(), communicator.world_size().get());
    let share = rank * BATCH / ranks..(rank + 1) * BATCH / ranks;
    (0..STEPS).map(|number| step(&mut layers, communicator, number, share.clone())).collect()
}

/// Trains as one rank of a world, and on rank 0 once more alone, and compares.
fn rank() -> Result<(), Box<dyn Error>> {
    let communicator = Builder::from_environment()?.build()?;
    let ranks = communicator.world_size();
    if !BATCH.is_multiple_of(ranks.get()) {
        return Err(format!("world size {ranks} does not divide the batch of {BATCH}").into());
    }
    let losses = train(&communicator)?;
    if communicator.rank().index() != 0 {
        return Ok(());
    }
    let alone = train(&Communicator::alone())?;
    println!("step  loss of {ranks} ranks  loss of one process");
    for (number, (many, one)) in losses.iter().zip(&alone).enumerate() {
        if number % 8 == 0 || number + 1 == STEPS {
            println!("{number:>4}  {many:>15.7}  {one:>19.7}");
        }
        if (many - one).abs() > ROUNDING * one.abs() {
            return Err(
                format!("step {number}: loss {many} with {ranks} ranks, {one} alone").into()
            );
        }
    }
    println!("seed {SEED}: all {STEPS} losses agree within {ROUNDING} of their size");
    Ok(())
}

/// Starts the ranks and waits for them.
fn start() -> Result<(), Box<dyn Error>> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut children = Vec::new();
    for rank in 0..RANKS {
        let child = Command::new(std::env::current_exe()?)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", RANKS.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .spawn()?;
        children.push(child);
    }
    let mut failed = false;
    for child in &mut children {
        failed |= !child.wait()?.success();
    }
    if failed { Err("a rank failed".into()) } else { Ok(()) }
}

fn main() -> ExitCode {
    let launched = ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "ONEPATH_RANK"];
    let is_rank = launched.iter().any(|name| std::env::var_os(name).is_some());
    match if is_rank { rank() } else { start() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("data_parallel: {error}");
            ExitCode::FAILURE
        }
    }
}
