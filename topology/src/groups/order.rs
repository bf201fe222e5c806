//! The order of dimensions along the ranks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cluster::shown;

/// A way to divide the work of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dimension {
    /// Tensor parallel: parts of each matrix.
    #[serde(rename = "tp")]
    Tensor,
    /// Context parallel: parts of each sequence.
    #[serde(rename = "cp")]
    Context,
    /// Expert parallel: some of the experts of each layer.
    #[serde(rename = "ep")]
    Expert,
    /// Data parallel: other samples.
    #[serde(rename = "dp")]
    Data,
    /// Pipeline parallel: other layers.
    #[serde(rename = "pp")]
    Pipeline,
}

impl Dimension {
    /// All, in Megatron's usual order.
    pub const ALL: [Self; 5] =
        [Self::Tensor, Self::Context, Self::Expert, Self::Data, Self::Pipeline];

    /// Its two letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tp",
            Self::Context => "cp",
            Self::Expert => "ep",
            Self::Data => "dp",
            Self::Pipeline => "pp",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Dimensions from the one that counts fastest to the slowest, each at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RankOrder(Vec<Dimension>);

/// A text that is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RankOrderError {
    /// A name that is no dimension.
    #[error("order: '{0}' is no dimension: tp, cp, ep, dp and pp, joined by '-', would be right")]
    Unknown(String),
    /// A dimension that stands there twice.
    #[error("order: '{0}' stands there twice: once would be right")]
    Twice(Dimension),
}

impl RankOrder {
    /// Its dimensions, the fastest first.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// Whether pipeline stages hold contiguous ranks.
    pub fn pipeline_is_outermost(&self) -> bool {
        self.0.last() == Some(&Dimension::Pipeline)
    }
}

impl Default for RankOrder {
    fn default() -> Self {
        Self(Dimension::ALL.to_vec())
    }
}

impl FromStr for RankOrder {
    type Err = RankOrderError;

    fn from_str(text: &str) -> Result<Self, RankOrderError> {
        let mut order = Vec::new();
        for name in text.split('-') {
            let known = Dimension::ALL.into_iter().find(|dimension| dimension.name() == name);
            let dimension = known.ok_or_else(|| RankOrderError::Unknown(shown(name)))?;
            if order.contains(&dimension) {
                return Err(RankOrderError::Twice(dimension));
            }
            order.push(dimension);
        }
        Ok(Self(order))
    }
}

impl fmt::Display for RankOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|dimension| dimension.name()).collect();
        f.pad(&names.join("-"))
    }
}
