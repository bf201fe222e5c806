//! Per-layer profiles, as Sailor's data has them: one file a micro-batch and tensor degree.

use serde::Deserialize;

use crate::cluster::printable;
use crate::units::{Bytes, Nanos};

/// The most layers that a profile may have.
pub const MAX_LAYERS: usize = 4_096;

/// The longest time of one layer that is believed: an hour.
const MAX_LAYER_MS: f64 = 3_600_000.0;

/// The most bytes of one layer that are believed: ten terabytes.
const MAX_BYTES: f64 = 1e13;

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not the expected JSON.
    #[error("not a layer profile: {}", printable(&.0.to_string(), 400))]
    Format(#[from] serde_json::Error),
    /// Lists of unequal length.
    #[error("{field} has {found} entries: it must have one for each of {layers} layers")]
    Length {
        /// Which list.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The right one.
        layers: usize,
    },
    /// No layers, or too many.
    #[error("layer_compute_total_ms has {0} entries: it must have from 1 to {MAX_LAYERS}")]
    Layers(usize),
    /// A number that is no time or size.
    #[error("{field} holds {value}: it must be a finite number from 0 to {most}")]
    Value {
        /// Which list or field.
        field: &'static str,
        /// What was found.
        value: f64,
        /// The largest that is believed.
        most: f64,
    },
}

/// One layer, on one of the tensor-parallel GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfiledLayer {
    /// Forward and backward of one micro-batch.
    pub time: Nanos,
    /// Of its share of parameters.
    pub parameters: Bytes,
    /// What it hands to the next layer, whole.
    pub output: Bytes,
    /// What it keeps from forward to backward: its memory without parameters, gradients, two
    /// moments and one copy, as this data counts them (5 times the parameters).
    pub activation: Bytes,
}

/// All layers at one micro-batch and tensor degree on one kind of GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// In order: embedding, blocks, head.
    pub layers: Vec<ProfiledLayer>,
    /// One optimizer step over all layers.
    pub optimizer: Nanos,
}

#[derive(Deserialize)]
struct File {
    model: Model,
    execution_time: Times,
    execution_memory: Memory,
}

#[derive(Deserialize)]
struct Model {
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    parameters_per_layer_bytes: Vec<f64>,
    activation_parameters_bytes: Vec<f64>,
}

#[derive(Deserialize)]
struct Times {
    optimizer_time_ms: f64,
    layer_compute_total_ms: Vec<f64>,
}

#[derive(Deserialize)]
struct Memory {
    layer_memory_total_mb: Vec<f64>,
}

/// How often this data's memory figure counts the parameters.
const PARAMETER_COPIES: u64 = 5;

impl Profile {
    /// Reads the text of one `mbsB_tmpT.json`.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let file: File = serde_json::from_str(text)?;
        let times = &file.execution_time.layer_compute_total_ms;
        let layers = times.len();
        if layers == 0 || layers > MAX_LAYERS {
            return Err(ProfileError::Layers(layers));
        }
        let parameters = &file.model.parameters;
        let lists = [
            ("parameters_per_layer_bytes", &parameters.parameters_per_layer_bytes, MAX_BYTES),
            ("activation_parameters_bytes", &parameters.activation_parameters_bytes, MAX_BYTES),
            (
                "layer_memory_total_mb",
                &file.execution_memory.layer_memory_total_mb,
                MAX_BYTES / 1e6,
            ),
            ("layer_compute_total_ms", times, MAX_LAYER_MS),
        ];
        for (field, list, most) in lists {
            if list.len() != layers {
                return Err(ProfileError::Length { field, found: list.len(), layers });
            }
            list.iter().try_for_each(|&value| believable(field, value, most))?;
        }
        let optimizer = file.execution_time.optimizer_time_ms;
        believable("optimizer_time_ms", optimizer, MAX_LAYER_MS)?;
        let layer = |index: usize| {
            let parameters = lists[0].1[index].ceil() as u64;
            let memory = (lists[2].1[index] * (1 << 20) as f64).ceil() as u64;
            ProfiledLayer {
                time: from_ms(times[index]),
                parameters: Bytes(parameters),
                output: Bytes(lists[1].1[index].ceil() as u64),
                activation: Bytes(memory.saturating_sub(PARAMETER_COPIES * parameters)),
            }
        };
        Ok(Self { layers: (0..layers).map(layer).collect(), optimizer: from_ms(optimizer) })
    }

    /// Bytes of all parameters on one GPU.
    pub fn parameters(&self) -> Bytes {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }
}

fn believable(field: &'static str, value: f64, most: f64) -> Result<(), ProfileError> {
    if (0.0..=most).contains(&value) {
        return Ok(());
    }
    Err(ProfileError::Value { field, value, most })
}

fn from_ms(ms: f64) -> Nanos {
    Nanos((ms * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "model": {"parameters": {
            "parameters_per_layer_bytes": [1048576, 0],
            "activation_parameters_bytes": [4096, 8192]}},
        "execution_time": {"optimizer_time_ms": 2.5, "layer_compute_total_ms": [1.5, 0.25]},
        "execution_memory": {"layer_memory_total_mb": [7.0, 0.5]}}"#;

    #[test]
    fn a_profile_is_read_in_its_units() {
        let profile = Profile::parse(TEXT).expect("a good profile");
        assert_eq!(profile.optimizer, Nanos(2_500_000));
        assert_eq!(profile.layers[0].time, Nanos(1_500_000));
        assert_eq!(profile.layers[0].activation, Bytes::mib(2));
        assert_eq!(profile.layers[1].activation, Bytes::kib(512));
        assert_eq!(profile.parameters(), Bytes::mib(1));
    }

    #[test]
    fn bad_profiles_are_refused_in_one_line() {
        let cases = [
            (TEXT.replace("[7.0, 0.5]", "[7.0]"), "layer_memory_total_mb has 1 entries"),
            (TEXT.replace("0.25]", "-1.0]"), "layer_compute_total_ms holds -1"),
            (TEXT.replace("[1.5, 0.25]", "[]"), "layer_compute_total_ms has 0 entries"),
            (TEXT[..100].to_owned(), "not a layer profile"),
        ];
        for (text, part) in cases {
            let message = Profile::parse(&text).expect_err(part).to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
    }
}
