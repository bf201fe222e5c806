//! A transformer by its sizes: parameters, floating-point operations, bytes.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How parameters and activations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 4 bytes.
    Fp32,
    /// 2 bytes, with 4-byte gradients and master copies beside.
    Fp16,
    /// As [`Precision::Fp16`].
    Bf16,
}

impl Precision {
    /// Bytes of one parameter or activation.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Fp32 => 4,
            Self::Fp16 | Self::Bf16 => 2,
        }
    }
}

/// What the optimizer keeps for each parameter, in 4-byte numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Nothing.
    Sgd,
    /// One moment.
    Momentum,
    /// Two moments.
    Adam,
}

impl Optimizer {
    /// Bytes of its moments for one parameter.
    pub const fn moments(self) -> u64 {
        match self {
            Self::Sgd => 0,
            Self::Momentum => 4,
            Self::Adam => 8,
        }
    }
}

/// What the backward pass computes again instead of keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Nothing.
    None,
    /// The attention scores (or a fused attention that never stores them).
    Selective,
    /// Every block, from its input.
    Full,
}

/// A model as its configuration file gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelShape {
    /// Transformer blocks.
    pub layers: u32,
    /// Hidden size.
    pub hidden: u32,
    /// Attention heads.
    pub heads: u32,
    /// Tokens of a sample.
    pub sequence: u32,
    /// Words.
    pub vocabulary: u32,
    /// Of parameters and activations.
    pub precision: Precision,
    /// Whose state must be kept.
    pub optimizer: Optimizer,
    /// What is computed twice.
    pub recompute: Recompute,
}

/// Why a shape is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelShapeError {
    /// A size of zero, or beyond all models.
    #[error("{field} is {value}: it must be from 1 to {most}")]
    Range {
        /// Which size.
        field: &'static str,
        /// What was given.
        value: u32,
        /// The largest that is accepted.
        most: u32,
    },
    /// Heads of unequal size.
    #[error("hidden is {hidden}: it must be a multiple of heads, {heads}")]
    Heads {
        /// The hidden size.
        hidden: u32,
        /// The heads.
        heads: u32,
    },
}

impl ModelShape {
    /// The same if its sizes make sense.
    pub fn checked(self) -> Result<Self, ModelShapeError> {
        let limits = [
            ("layers", self.layers, 4_096),
            ("hidden", self.hidden, 1 << 18),
            ("heads", self.heads, 4_096),
            ("sequence", self.sequence, 1 << 24),
            ("vocabulary", self.vocabulary, 1 << 24),
        ];
        for (field, value, most) in limits {
            if value == 0 || value > most {
                return Err(ModelShapeError::Range { field, value, most });
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(ModelShapeError::Heads { hidden: self.hidden, heads: self.heads });
        }
        Ok(self)
    }

    /// Floating-point operations of the forward pass of one block on one sample:
    /// 24 s h² + 4 s² h (Narayanan et al. 2021, appendix).
    pub fn block_forward_flop(&self) -> f64 {
        let (s, h) = (f64::from(self.sequence), f64::from(self.hidden));
        24.0 * s * h * h + 4.0 * s * s * h
    }

    /// The same of the output projection: 2 s h V.
    pub fn logits_forward_flop(&self) -> f64 {
        2.0 * f64::from(self.sequence) * f64::from(self.hidden) * f64::from(self.vocabulary)
    }

    /// The backward pass over the forward pass of a block: 2, or 3 when all is computed again.
    pub const fn backward_over_forward(&self) -> u32 {
        match self.recompute {
            Recompute::None | Recompute::Selective => 2,
            Recompute::Full => 3,
        }
    }

    /// Operations of one sample, forward and backward. With full recomputation this is Holmes'
    /// 96 s l h² (1 + s/6h + V/16lh).
    pub fn flop_per_sample(&self) -> f64 {
        let passes = f64::from(1 + self.backward_over_forward());
        f64::from(self.layers) * passes * self.block_forward_flop()
            + 3.0 * self.logits_forward_flop()
    }

    /// Parameters of one block on one of `tensor` ranks: 12 h² and 7 h of biases are divided,
    /// 6 h of norms and output biases are not.
    pub fn block_parameters(&self, tensor: u32) -> u64 {
        let h = u64::from(self.hidden);
        (12 * h * h + 7 * h).div_ceil(u64::from(tensor)) + 6 * h
    }

    /// Parameters of the embedding (words divided, positions not) on one of `tensor` ranks.
    pub fn embedding_parameters(&self, tensor: u32) -> u64 {
        let h = u64::from(self.hidden);
        u64::from(self.vocabulary).div_ceil(u64::from(tensor)) * h + u64::from(self.sequence) * h
    }

    /// Parameters of the last norm and output projection on one of `tensor` ranks.
    pub fn head_parameters(&self, tensor: u32) -> u64 {
        let h = u64::from(self.hidden);
        u64::from(self.vocabulary).div_ceil(u64::from(tensor)) * h + 2 * h
    }

    /// What a block keeps for the backward pass of one micro-batch of `samples`, on one of
    /// `tensor` ranks: s b h (10 + 24/t + 5 a s / h t) at 2 bytes (Korthikanti et al. 2022).
    pub fn block_activation(&self, samples: u32, tensor: u32) -> Bytes {
        let (s, h) = (f64::from(self.sequence), f64::from(self.hidden));
        let (b, t) = (f64::from(samples), f64::from(tensor));
        let scores = 5.0 * f64::from(self.heads) * s / (h * t);
        let factor = match self.recompute {
            Recompute::None => 10.0 + 24.0 / t + scores,
            Recompute::Selective => 10.0 + 24.0 / t,
            Recompute::Full => 2.0,
        };
        Bytes((s * b * h * factor * self.precision.bytes() as f64 / 2.0).ceil() as u64)
    }

    /// What one block hands to the next for one micro-batch of `samples`.
    pub fn boundary(&self, samples: u32) -> Bytes {
        let tokens = u64::from(self.sequence) * u64::from(samples);
        Bytes(tokens * u64::from(self.hidden) * self.precision.bytes())
    }

    /// Logits of one micro-batch in 4 bytes on one of `tensor` ranks.
    pub fn logits(&self, samples: u32, tensor: u32) -> Bytes {
        let tokens = u64::from(self.sequence) * u64::from(samples);
        Bytes(tokens * u64::from(self.vocabulary).div_ceil(u64::from(tensor)) * 4)
    }

    /// What is kept for each parameter where the optimizer's state is divided by `shards`:
    /// parameter, gradient (4 bytes), and moments with a 4-byte copy unless the parameter is one.
    pub fn state_bytes(&self, parameters: u64, shards: u32) -> Bytes {
        let copy = if self.precision == Precision::Fp32 { 0 } else { 4 };
        let whole = parameters * (self.precision.bytes() + 4);
        let divided = (parameters * (self.optimizer.moments() + copy)).div_ceil(u64::from(shards));
        Bytes(whole + divided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holmes() -> ModelShape {
        ModelShape {
            layers: 30,
            hidden: 3_072,
            heads: 32,
            sequence: 2_048,
            vocabulary: 51_200,
            precision: Precision::Bf16,
            optimizer: Optimizer::Adam,
            recompute: Recompute::Full,
        }
    }

    #[test]
    fn operations_of_holmes_model_are_as_published() {
        let flop = holmes().flop_per_sample();
        let (s, l, h, v) = (2_048.0, 30.0, 3_072.0, 51_200.0);
        let formula = 96.0 * s * l * h * h * (1.0 + s / (6.0 * h) + v / (16.0 * l * h));
        assert!((flop / formula - 1.0).abs() < 1e-12, "{flop} {formula}");
        assert!((flop / 6.378e13 - 1.0).abs() < 1e-3, "{flop}");
    }

    #[test]
    fn parameters_of_holmes_model_are_3_6_billion() {
        let model = holmes();
        let total = 30 * model.block_parameters(1) + model.embedding_parameters(1);
        assert!((3.5e9..3.7e9).contains(&(total as f64)), "{total}");
    }

    #[test]
    fn heads_that_do_not_divide_the_hidden_size_are_refused() {
        let wrong = ModelShape { heads: 7, ..holmes() };
        assert_eq!(wrong.checked(), Err(ModelShapeError::Heads { hidden: 3_072, heads: 7 }));
        let wrong = ModelShape { layers: 0, ..holmes() };
        let message = wrong.checked().expect_err("no layers").to_string();
        assert_eq!(message, "layers is 0: it must be from 1 to 4096");
    }

    #[test]
    fn mixed_precision_adam_keeps_18_bytes_a_parameter() {
        assert_eq!(holmes().state_bytes(1_000, 1), Bytes(18_000));
        assert_eq!(holmes().state_bytes(1_000, 4), Bytes(9_000));
    }
}
