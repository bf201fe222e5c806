//! Coordinates of ranks, and groups along some of them.
//!
//! Source: the documentation of Megatron Core's `parallel_state`: with the order `tp-pp-dp`,
//! rank = `tp_rank` + `pp_rank` · tp + `dp_rank` · tp · pp, and a group of some dimensions has the
//! ranks whose other coordinates agree. Experts have a grid of their own over the same ranks, with
//! their own degree of tensor parallelism: world = etp · ep · edp · pp.

use serde::{Deserialize, Serialize};

use super::order::{Dimension, RankOrder};
use crate::{Rank, WorldSize};

/// How many ranks share the work in each way; that of data parallelism follows from the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degrees {
    /// Tensor parallel.
    pub tensor: u32,
    /// Context parallel.
    pub context: u32,
    /// Expert parallel.
    pub expert: u32,
    /// Pipeline parallel.
    pub pipeline: u32,
    /// Tensor parallel inside of experts; as `tensor` if nothing is said.
    pub expert_tensor: Option<u32>,
}

impl Default for Degrees {
    fn default() -> Self {
        Self { tensor: 1, context: 1, expert: 1, pipeline: 1, expert_tensor: None }
    }
}

/// Degrees that fit no world or order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DegreesError {
    /// A degree of zero.
    #[error("{0} is 0: at least 1 would be right")]
    Zero(&'static str),
    /// A world that is no multiple.
    #[error("{ranks} ranks are no multiple of {what} = {product}: a multiple would be right")]
    Divide {
        /// The world.
        ranks: usize,
        /// Which degrees.
        what: &'static str,
        /// Their product.
        product: u64,
    },
    /// A dimension with more than one rank that the order leaves out.
    #[error("order '{order}' has no {dimension}, whose degree is {degree}: add it")]
    Missing {
        /// The order.
        order: String,
        /// The dimension.
        dimension: Dimension,
        /// Its degree.
        degree: u32,
    },
    /// Stages that are not the same for experts and the rest.
    #[error(
        "order '{order}': pipeline stages of experts are other ranks than those of the rest: an \
         order that ends in pp would be right"
    )]
    Stages {
        /// The order.
        order: String,
    },
}

/// Ranks as a grid: a degree for each dimension, the fastest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    degrees: Vec<(Dimension, u32)>,
}

impl Grid {
    /// A grid of these degrees in this order; dimensions that are not named have the degree 1.
    pub fn new(order: &RankOrder, degree: impl Fn(Dimension) -> u32) -> Result<Self, DegreesError> {
        for dimension in Dimension::ALL {
            let degree = degree(dimension);
            if degree == 0 {
                return Err(DegreesError::Zero(dimension.name()));
            }
            if degree > 1 && !order.dimensions().contains(&dimension) {
                let order = order.to_string();
                return Err(DegreesError::Missing { order, dimension, degree });
            }
        }
        let degrees = order.dimensions().iter().map(|&d| (d, degree(d))).collect();
        Ok(Self { degrees })
    }

    /// All its ranks.
    pub fn ranks(&self) -> usize {
        self.degrees.iter().map(|&(_, degree)| degree as usize).product()
    }

    /// The degree of a dimension.
    pub fn degree(&self, dimension: Dimension) -> u32 {
        let found = self.degrees.iter().find(|(known, _)| *known == dimension);
        found.map_or(1, |&(_, degree)| degree)
    }

    /// How far apart neighbours along a dimension are.
    pub fn stride(&self, dimension: Dimension) -> usize {
        let before = self.degrees.iter().take_while(|(known, _)| *known != dimension);
        before.map(|&(_, degree)| degree as usize).product()
    }

    /// The coordinate of a rank along a dimension.
    pub fn coordinate(&self, rank: Rank, dimension: Dimension) -> u32 {
        (rank.index() / self.stride(dimension)) as u32 % self.degree(dimension)
    }

    /// Offsets of the members of a group from its first, in order.
    fn offsets(&self, along: &[Dimension]) -> Vec<usize> {
        self.sums(|dimension| along.contains(&dimension))
    }

    /// First ranks of all groups along these dimensions, in order.
    fn firsts(&self, along: &[Dimension]) -> Vec<usize> {
        self.sums(|dimension| !along.contains(&dimension))
    }

    /// All sums of steps along the chosen dimensions, the fastest first.
    fn sums(&self, chosen: impl Fn(Dimension) -> bool) -> Vec<usize> {
        let (mut sums, mut stride) = (vec![0], 1);
        for &(dimension, degree) in &self.degrees {
            if chosen(dimension) {
                let steps = (0..degree as usize).map(|step| step * stride);
                sums = steps.flat_map(|step| sums.iter().map(move |sum| sum + step)).collect();
            }
            stride *= degree as usize;
        }
        sums
    }

    /// All groups along these dimensions, in the order of their first ranks.
    pub fn groups(&self, along: &[Dimension]) -> Vec<Vec<Rank>> {
        let offsets = self.offsets(along);
        let group = |first: usize| {
            offsets.iter().map(move |offset| Rank::from_index(first + offset)).collect()
        };
        self.firsts(along).into_iter().map(group).collect()
    }

    /// The group of a rank along these dimensions.
    pub fn group_of(&self, rank: Rank, along: &[Dimension]) -> Vec<Rank> {
        let beyond = |&dimension: &Dimension| {
            self.coordinate(rank, dimension) as usize * self.stride(dimension)
        };
        let first = rank.index() - along.iter().map(beyond).sum::<usize>();
        self.offsets(along).iter().map(|offset| Rank::from_index(first + offset)).collect()
    }
}

/// The grids of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    order: RankOrder,
    dense: Grid,
    expert: Grid,
}

impl Layout {
    /// The grids of `world` ranks with these degrees in this order.
    pub fn new(
        world: WorldSize,
        degrees: &Degrees,
        order: RankOrder,
    ) -> Result<Self, DegreesError> {
        let expert_tensor = degrees.expert_tensor.unwrap_or(degrees.tensor);
        let Degrees { tensor, context, expert, pipeline, .. } = *degrees;
        let named = [
            ("tp", tensor),
            ("cp", context),
            ("ep", expert),
            ("pp", pipeline),
            ("expert tp", expert_tensor),
        ];
        if let Some((name, _)) = named.iter().find(|(_, degree)| *degree == 0) {
            return Err(DegreesError::Zero(name));
        }
        let data = rest(world, "tp · cp · pp", &[tensor, context, pipeline])?;
        let dense = Grid::new(&order, |dimension| match dimension {
            Dimension::Tensor => tensor,
            Dimension::Context => context,
            Dimension::Expert => 1,
            Dimension::Data => data,
            Dimension::Pipeline => pipeline,
        })?;
        let data = rest(world, "expert tp · ep · pp", &[expert_tensor, expert, pipeline])?;
        let expert = Grid::new(&order, |dimension| match dimension {
            Dimension::Tensor => expert_tensor,
            Dimension::Context => 1,
            Dimension::Expert => expert,
            Dimension::Data => data,
            Dimension::Pipeline => pipeline,
        })?;
        let stride = |grid: &Grid| grid.stride(Dimension::Pipeline);
        if pipeline > 1 && stride(&dense) != stride(&expert) {
            return Err(DegreesError::Stages { order: order.to_string() });
        }
        Ok(Self { order, dense, expert })
    }

    /// The order.
    pub const fn order(&self) -> &RankOrder {
        &self.order
    }

    /// The grid of all that is not expert.
    pub const fn dense(&self) -> &Grid {
        &self.dense
    }

    /// The grid of experts.
    pub const fn expert(&self) -> &Grid {
        &self.expert
    }
}

/// What is left for data parallelism.
fn rest(world: WorldSize, what: &'static str, degrees: &[u32]) -> Result<u32, DegreesError> {
    let product =
        degrees.iter().fold(1, |product: u64, &degree| product.saturating_mul(u64::from(degree)));
    let ranks = world.get();
    if (ranks as u64).is_multiple_of(product) {
        return Ok((ranks as u64 / product) as u32);
    }
    Err(DegreesError::Divide { ranks, what, product })
}
