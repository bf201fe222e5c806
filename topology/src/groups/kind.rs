//! The groups that training makes.

use serde::Serialize;

use super::grid::{Grid, Layout};
use super::order::Dimension;
use super::order::Dimension::{Context, Data, Expert, Pipeline, Tensor};
use crate::Rank;

/// A kind of group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum GroupKind {
    /// All-reduce of activations in each layer.
    #[serde(rename = "tp")]
    Tensor,
    /// Parts of a sequence.
    #[serde(rename = "cp")]
    Context,
    /// Gradients and parameters.
    #[serde(rename = "dp")]
    Data,
    /// Gradients and parameters with context parallelism: its ranks hold the same parameters.
    #[serde(rename = "dp-cp")]
    DataContext,
    /// Activations from stage to stage.
    #[serde(rename = "pp")]
    Pipeline,
    /// All parts of a model.
    #[serde(rename = "tp-pp")]
    Model,
    /// Global statistics, and 8-bit scales.
    #[serde(rename = "tp-dp")]
    TensorData,
    /// The parts of a sample.
    #[serde(rename = "tp-cp")]
    TensorContext,
    /// Tokens to their experts.
    #[serde(rename = "ep")]
    Expert,
    /// Parts of each expert.
    #[serde(rename = "expert-tp")]
    ExpertTensor,
    /// All parts of all experts of a layer.
    #[serde(rename = "expert-tp-ep")]
    ExpertTensorExpert,
    /// Gradients and parameters of experts.
    #[serde(rename = "expert-dp")]
    ExpertData,
}

impl GroupKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Tensor,
        Self::Context,
        Self::Data,
        Self::DataContext,
        Self::Pipeline,
        Self::Model,
        Self::TensorData,
        Self::TensorContext,
        Self::Expert,
        Self::ExpertTensor,
        Self::ExpertTensorExpert,
        Self::ExpertData,
    ];

    /// Kinds whose traffic decides the time of an iteration.
    pub const HEAVY: [Self; 8] = [
        Self::Tensor,
        Self::Context,
        Self::Data,
        Self::DataContext,
        Self::Pipeline,
        Self::Expert,
        Self::ExpertTensor,
        Self::ExpertData,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tp",
            Self::Context => "cp",
            Self::Data => "dp",
            Self::DataContext => "dp-cp",
            Self::Pipeline => "pp",
            Self::Model => "tp-pp",
            Self::TensorData => "tp-dp",
            Self::TensorContext => "tp-cp",
            Self::Expert => "ep",
            Self::ExpertTensor => "expert-tp",
            Self::ExpertTensorExpert => "expert-tp-ep",
            Self::ExpertData => "expert-dp",
        }
    }

    /// The dimensions in which its members differ.
    pub const fn along(self) -> &'static [Dimension] {
        match self {
            Self::Tensor | Self::ExpertTensor => &[Tensor],
            Self::Context => &[Context],
            Self::Data | Self::ExpertData => &[Data],
            Self::DataContext => &[Data, Context],
            Self::Pipeline => &[Pipeline],
            Self::Model => &[Tensor, Pipeline],
            Self::TensorData => &[Tensor, Data],
            Self::TensorContext => &[Tensor, Context],
            Self::Expert => &[Expert],
            Self::ExpertTensorExpert => &[Tensor, Expert],
        }
    }

    /// Whether it belongs to the grid of experts.
    pub const fn is_expert(self) -> bool {
        matches!(
            self,
            Self::Expert | Self::ExpertTensor | Self::ExpertTensorExpert | Self::ExpertData
        )
    }

    /// Whether a slow network below it slows each step of every member: all but boundaries of
    /// stages, which carry little, and wide groups that exchange a few numbers.
    pub const fn must_be_fast(self) -> bool {
        !matches!(self, Self::Pipeline | Self::Model | Self::TensorData)
    }

    /// The grid it belongs to.
    pub const fn grid(self, layout: &Layout) -> &Grid {
        if self.is_expert() { layout.expert() } else { layout.dense() }
    }

    /// All its groups.
    pub fn groups(self, layout: &Layout) -> Vec<Vec<Rank>> {
        self.grid(layout).groups(self.along())
    }

    /// Whether its groups have more than one member.
    pub fn has_peers(self, layout: &Layout) -> bool {
        self.along().iter().any(|&dimension| self.grid(layout).degree(dimension) > 1)
    }

    /// Whether its groups have more than one member, and are not those of another kind.
    pub fn is_used(self, layout: &Layout) -> bool {
        let degree = |dimension| self.grid(layout).degree(dimension);
        let experts = layout.expert().degree(Expert) > 1
            || layout.expert().degree(Tensor) != layout.dense().degree(Tensor);
        if self.is_expert() && !experts {
            return false;
        }
        if self.along().len() > 1 {
            return self.along().iter().all(|&dimension| degree(dimension) > 1);
        }
        degree(self.along()[0]) > 1
    }
}
