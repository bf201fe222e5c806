//! The costs of layers on a kind of GPU.

use super::{ModelShape, Profile};
use crate::units::{Bandwidth, Bytes, Nanos};

/// A kind of GPU, for planning by formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// Floating-point operations a second that training reaches on it: not its peak, and without
    /// any share of networks.
    pub flop_per_s: f64,
    /// Its memory.
    pub memory: Bytes,
    /// Among the GPUs of one node, for one ring.
    pub node_link: Bandwidth,
}

/// What one layer costs on one GPU, for one micro-batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCost {
    /// Forward pass.
    pub forward: Nanos,
    /// Backward pass.
    pub backward: Nanos,
    /// Gradients that are reduced.
    pub gradients: Bytes,
    /// Parameters that are gathered.
    pub parameters: Bytes,
    /// Parameters, gradients, optimizer state.
    pub state: Bytes,
    /// What is kept from forward to backward.
    pub activation: Bytes,
    /// What goes to the next layer (and as a gradient comes back), on this GPU's share of a
    /// boundary.
    pub output: Bytes,
}

/// Costs by formula: embedding, blocks, head. `shards` ranks share the optimizer's state.
///
/// Tensor parallelism costs four all-reduces of the boundary's size a block (two each way), at the
/// node's link.
pub fn layers_of_shape(
    shape: &ModelShape,
    device: &Device,
    samples: u32,
    tensor: u32,
    shards: u32,
) -> Vec<LayerCost> {
    let rate = device.flop_per_s * f64::from(tensor) / f64::from(samples);
    let boundary = shape.boundary(samples);
    let ring = 2.0 * f64::from(tensor - 1) / f64::from(tensor);
    let reduce = ring * boundary.0 as f64 / device.node_link.0;
    let output = Bytes(boundary.0.div_ceil(u64::from(tensor)));
    let layer = |parameters: u64, forward_s: f64, backward_s: f64, activation: Bytes| LayerCost {
        forward: seconds(forward_s),
        backward: seconds(backward_s),
        gradients: Bytes(parameters * 4),
        parameters: Bytes(parameters * shape.precision.bytes()),
        state: shape.state_bytes(parameters, shards),
        activation,
        output,
    };
    let forward = shape.block_forward_flop() / rate + 2.0 * reduce;
    let backward_passes = f64::from(shape.backward_over_forward());
    let backward = backward_passes * shape.block_forward_flop() / rate + 2.0 * reduce;
    let block = layer(
        shape.block_parameters(tensor),
        forward,
        backward,
        shape.block_activation(samples, tensor),
    );
    let logits = shape.logits_forward_flop() / rate;
    let mut layers = vec![layer(shape.embedding_parameters(tensor), 0.0, 0.0, boundary)];
    layers.extend((0..shape.layers).map(|_| block));
    layers.push(layer(
        shape.head_parameters(tensor),
        logits,
        2.0 * logits,
        shape.logits(samples, tensor),
    ));
    layers
}

/// Costs from a profile in 4-byte numbers; a third of a layer's time is its forward pass.
/// The state is counted as the profile counts it: parameters, gradients, two moments, one copy.
pub fn layers_of_profile(profile: &Profile, tensor: u32) -> Vec<LayerCost> {
    let layer = |layer: &super::ProfiledLayer| LayerCost {
        forward: Nanos(layer.time.0 / 3),
        backward: Nanos(layer.time.0 - layer.time.0 / 3),
        gradients: layer.parameters,
        parameters: layer.parameters,
        state: Bytes(5 * layer.parameters.0),
        activation: layer.activation,
        output: Bytes(layer.output.0.div_ceil(u64::from(tensor))),
    };
    profile.layers.iter().map(layer).collect()
}

/// At most eleven days, so that sums over layers stay numbers.
fn seconds(seconds: f64) -> Nanos {
    Nanos((seconds * 1e9).round().min(1e15) as u64)
}
