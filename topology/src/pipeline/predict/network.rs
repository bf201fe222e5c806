//! Bandwidth by message size, as Sailor's `network_coefficients.json` has it.
//!
//! For a kind of GPU and a number of its GPUs that take part on each node, the file has the
//! coefficients of a quadratic in x = log2(bytes / 10^6) that gives GB/s, and the plateau in
//! bytes a second. `inter` is what a node gets through its NICs when so many of its GPUs send at
//! once (GH-96: 23, 46, 93 GB/s for 1, 2, 4 GPUs with a NIC each; RTX: always the one NIC's);
//! `intra` is what each GPU gets inside its node.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cluster::{printable, shown};
use crate::units::{Bandwidth, Bytes, Nanos};

/// Which of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Between the GPUs of one node.
    Intra,
    /// Between nodes.
    Inter,
}

impl Scope {
    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::Inter => "inter",
        }
    }
}

/// Bandwidth as a function of message size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// Of x², x, 1.
    coefficients: [f64; 3],
    plateau: Bandwidth,
}

impl Curve {
    /// At messages of this size. The quadratic was fitted on messages of 1 MB and more: smaller
    /// ones are taken for 1 MB, and beyond its vertex or above the plateau the plateau holds.
    pub fn bandwidth(&self, bytes: Bytes) -> Bandwidth {
        let [a, b, c] = self.coefficients;
        let x = (bytes.0.max(1) as f64 / 1e6).log2().max(0.0);
        let past_vertex = a < 0.0 && x > -b / (2.0 * a);
        let fitted = (a * x * x + b * x + c) * 1e9;
        let usable = fitted.is_finite() && fitted > 0.0 && !past_vertex;
        if usable { Bandwidth(fitted.min(self.plateau.0)) } else { self.plateau }
    }

    /// How long a message takes, without any latency.
    pub fn time(&self, bytes: Bytes) -> Nanos {
        self.bandwidth(bytes).time_for(bytes)
    }
}

/// Why a table is refused, or has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Not the expected JSON.
    #[error("not a table of network coefficients: {}", printable(&.0.to_string(), 400))]
    Json(#[from] serde_json::Error),
    /// A key that is no number of GPUs.
    #[error("{scope} of {gpu} has the key '{key}': it must be a number of GPUs from 1 to 1024")]
    Key {
        /// Which network.
        scope: &'static str,
        /// Which GPU.
        gpu: String,
        /// What was given.
        key: String,
    },
    /// A plateau that is no rate.
    #[error("{scope} of {gpu} has the plateau {value}: it must be positive and finite")]
    Plateau {
        /// Which network.
        scope: &'static str,
        /// Which GPU.
        gpu: String,
        /// What was given.
        value: f64,
    },
    /// A GPU that the table does not know.
    #[error("the network table has no {scope} curves of {gpu}: at least one would be right")]
    Missing {
        /// Which network.
        scope: &'static str,
        /// Which GPU.
        gpu: String,
    },
}

type Listed = BTreeMap<String, BTreeMap<String, ([f64; 3], f64)>>;

#[derive(Deserialize)]
struct File {
    inter: Listed,
    intra: Listed,
}

/// Curves by network, kind of GPU, and number of GPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkTable {
    curves: BTreeMap<(Scope, String), BTreeMap<u32, Curve>>,
}

impl NetworkTable {
    /// Reads the text of `network_coefficients.json`.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let file: File = serde_json::from_str(text)?;
        let mut table = Self::default();
        for (scope, listed) in [(Scope::Inter, file.inter), (Scope::Intra, file.intra)] {
            for (gpu, by_count) in listed {
                let curves = read(scope.name(), &gpu, by_count)?;
                table.curves.insert((scope, gpu), curves);
            }
        }
        Ok(table)
    }

    /// The curve for `gpus` GPUs a node: of the smallest listed number that is not below, else of
    /// the largest.
    pub fn curve(&self, scope: Scope, gpu: &str, gpus: u32) -> Result<Curve, NetworkError> {
        let curves = self.curves.get(&(scope, gpu.to_owned()));
        let found = curves
            .and_then(|curves| curves.range(gpus..).next().or_else(|| curves.iter().next_back()));
        let missing = || NetworkError::Missing { scope: scope.name(), gpu: shown(gpu) };
        found.map(|(_, curve)| *curve).ok_or_else(missing)
    }
}

fn read(
    scope: &'static str,
    gpu: &str,
    by_count: BTreeMap<String, ([f64; 3], f64)>,
) -> Result<BTreeMap<u32, Curve>, NetworkError> {
    let mut curves = BTreeMap::new();
    for (key, (coefficients, plateau)) in by_count {
        let count = key.parse().ok().filter(|count| (1..=1_024).contains(count));
        let Some(count) = count else {
            return Err(NetworkError::Key { scope, gpu: shown(gpu), key: shown(&key) });
        };
        if !plateau.is_finite() || plateau <= 0.0 {
            return Err(NetworkError::Plateau { scope, gpu: shown(gpu), value: plateau });
        }
        curves.insert(count, Curve { coefficients, plateau: Bandwidth(plateau) });
    }
    Ok(curves)
}
