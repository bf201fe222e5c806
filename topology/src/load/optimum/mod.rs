//! The optimum: the least possible maximum of load over rate, over all routings.
//!
//! Every flow may be spread over its live paths in any way (bytes taken as continuous), to minimise
//! the time of the busiest link, host links included. On a leaf-spine fabric that is a linear
//! program: the smallest `t` such that, with `x_{cp}` bytes of demand `c` on its path `p`,
//!
//! ```text
//! sum_p x_{cp} = d_c          for every demand c,
//! sum_{(c,p) over l} x_{cp} + b_l <= t r_l   for every link l of rate r_l and fixed load b_l.
//! ```
//!
//! Two bounds close in on it. Every routing gives an upper bound. Every set of prices `y_l >= 0`
//! with `sum r_l y_l = 1` gives a lower bound, `sum_l b_l y_l + sum_c d_c min_p sum_{l on p} y_l`
//! (weak duality). On a healthy fabric the spray meets the bound that prices the links of one leaf
//! side alike: that is the closed form, and no program is solved. Otherwise the simplex method ends
//! with a routing and prices whose bounds agree. Both bounds are computed anew from the problem, so
//! the result carries its proof whatever rounding did on the way.

mod bounds;
mod problem;
mod simplex;

use problem::Problem;

use super::links::LoadError;
use crate::assign::StepSet;
use crate::fabric::{LeafId, LeafSpine, RailId};

/// The least possible time of the busiest link, between two proven bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimum {
    /// Seconds that some routing reaches.
    pub seconds: f64,
    /// Seconds that no routing can beat; equal to `seconds` but for rounding when the optimum was
    /// found, less when the search was stopped.
    pub at_least: f64,
}

impl Optimum {
    /// How far above the true optimum `seconds` may be, as a part of it.
    pub fn gap(&self) -> f64 {
        if self.seconds > 0.0 { (self.seconds - self.at_least) / self.seconds } else { 0.0 }
    }

    /// Whether the two bounds agree up to rounding.
    pub fn is_proven(&self) -> bool {
        self.gap() <= PROVEN
    }
}

/// A gap below which bounds agree.
const PROVEN: f64 = 1e-9;

/// Why there is no optimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptimumError {
    /// No path lives between two leaves, on the rail that the flow is tied to, if it is.
    #[error("no live path from leaf {from} to leaf {to}, but there is something to send")]
    NoLivePath {
        /// Source leaf.
        from: LeafId,
        /// Destination leaf.
        to: LeafId,
        /// The rail that the flow is tied to.
        rail: Option<RailId>,
    },
    /// The flows name what the fabric does not have.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The least possible maximum of load over rate for the flows of all `sets`.
///
/// Exact ([`Optimum::is_proven`]) on healthy fabrics of any size, and on others as long as the
/// program is small (up to 2^24 entries of a tableau: 16 leaves × 16 spines, each to all).
/// Beyond that the search is skipped: `seconds` is then the ideal spray's time, and `gap` says how
/// far from the optimum it may be.
pub fn optimum(fabric: &LeafSpine, sets: &[StepSet]) -> Result<Optimum, OptimumError> {
    let problem = Problem::new(fabric, sets)?;
    let mut best =
        Optimum { seconds: problem.time_of(&problem.spray()), at_least: bounds::sides(&problem) };
    if best.is_proven() || simplex::entries(&problem) > simplex::MAX_ENTRIES {
        return Ok(best);
    }
    let solution = simplex::solve(&problem);
    best.seconds = best.seconds.min(problem.time_of(&solution.routing));
    best.at_least = best.at_least.max(bounds::of_prices(&problem, &solution.prices));
    Ok(best)
}
