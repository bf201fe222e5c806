//! What no profile or network table holds.

use crate::units::{Bytes, Nanos};

/// One set for all GPUs, models and plans; none is fitted to a single run, but all were chosen in
/// sight of the 19 measured runs that `topology/README.md` lists. The defaults are for
/// `DeepSpeed`'s pipeline engine as Sailor ran it: 1F1B, transfers that computing waits for, each
/// activation cut over the tensor-parallel ranks for the way and gathered after it, and the
/// reduction of gradients after the last backward pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// The host's work for one transfer between stages that nothing hides: cutting the tensor,
    /// a message with its shape that the host waits for, launching on an empty queue.
    /// 1 ms: runs at micro-batch 1, where little else counts and which nobody judges by, show
    /// 2.6 to 3 ms a boundary of two transfers, of which the networks explain under 1 ms.
    pub transfer_overhead: Nanos,
    /// Launching one kernel of a few bytes: 10 us in an eager framework.
    pub kernel_launch: Nanos,
    /// Tensors of one layer (weights and biases of two norms, attention and two linear layers):
    /// each is copied into the reduction's buffer and back by a kernel of its own.
    pub tensors_per_layer: u32,
    /// One hop of a ring between nodes, kernels included: 20 us.
    pub hop_latency: Nanos,
    /// How often an Adam step moves a parameter's bytes, counted over its element-wise
    /// kernels: moments 3 + 2 + 3, root, division and epsilon 2 + 2 + 2, update 4, decay 3,
    /// norm and clipping 1 + 2. With the profile's optimizer time it gives the GPU's memory
    /// bandwidth (2.2 of 3.4 TB/s on GH200).
    pub optimizer_passes: f64,
    /// Gradient accumulation reads two and writes one.
    pub accumulation_passes: f64,
    /// Into the reduction's buffer, division, and back: two each.
    pub reduction_passes: f64,
    /// Standard deviation of the speed of equal GPUs: 1.5%. Everybody waits for the slowest, at
    /// every boundary and in the reduction. Surveys of clusters report several percent (Sinha et
    /// al., SC'22); here the measured reductions, 2 to 5 times what their bytes need, show it.
    pub gpu_spread: f64,
    /// Memory outside of tensors: driver context, NCCL's buffers, libraries' workspaces. 4.2 GiB.
    pub runtime_memory: Bytes,
    /// What a caching allocator holds beyond tensors: a tenth.
    pub allocator_slack: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            transfer_overhead: Nanos::millis(1),
            kernel_launch: Nanos::micros(10),
            tensors_per_layer: 12,
            hop_latency: Nanos::micros(20),
            optimizer_passes: 24.0,
            accumulation_passes: 3.0,
            reduction_passes: 6.0,
            gpu_spread: 0.015,
            runtime_memory: Bytes::mib(4_300),
            allocator_slack: 0.10,
        }
    }
}

/// The expected largest of `count` standard normal numbers, by Blom's approximation
/// Φ⁻¹((n − 3/8) / (n + 1/4)); 0 for one.
pub fn expected_largest(count: u64) -> f64 {
    if count < 2 {
        return 0.0;
    }
    let n = count as f64;
    inverse_normal((n - 0.375) / (n + 0.25))
}

/// The upper half of the normal quantile: Abramowitz and Stegun 26.2.23, absolute error 4.5e-4.
fn inverse_normal(probability: f64) -> f64 {
    let t = (-2.0 * (1.0 - probability).ln()).sqrt();
    let numerator = (0.010_328 * t + 0.802_853) * t + 2.515_517;
    let denominator = ((0.001_308 * t + 0.189_269) * t + 1.432_788) * t + 1.0;
    t - numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_largest_is_as_tabled() {
        // Exact values of order statistics: 0.5642, 1.0294, 1.7660.
        for (count, right) in [(1, 0.0), (2, 0.5642), (4, 1.0294), (16, 1.766)] {
            let found = expected_largest(count);
            assert!((found - right).abs() < 0.03, "{count}: {found}");
        }
    }
}
