//! Parallel groups: which ranks talk to each other, where they are, and over which network.
//!
//! A job has degrees of tensor (tp), context (cp), expert (ep), data (dp) and pipeline (pp)
//! parallelism, and an order of these dimensions such as `tp-cp-ep-dp-pp`: the first counts fastest
//! along the ranks. A group has the ranks that differ in the named dimensions only.
//!
//! | module | what it holds |
//! |---|---|
//! | `order` | [`Dimension`], [`RankOrder`]: the order as text |
//! | `grid` | [`Grid`]: coordinates of ranks and groups along dimensions; [`Layout`] of a job |
//! | `kind` | [`GroupKind`]: the groups that training makes |
//! | `placement` | [`Placement`]: on which GPU each rank is; clusters hold contiguous ranks |
//! | `select` | [`select()`]: the network of a group, its slowest link, whether it is a fallback |
//! | `survey` | [`survey()`]: all groups of a job with their networks |

mod grid;
mod kind;
mod order;
mod placement;
mod select;
mod survey;
#[cfg(test)]
mod tests;

pub use grid::{Degrees, DegreesError, Grid, Layout};
pub use kind::GroupKind;
pub use order::{Dimension, RankOrder, RankOrderError};
pub use placement::{Placement, PlacementError, Seat};
pub use select::{Carrier, Reason, SelectError, Selection, select};
pub use survey::{SurveyedGroup, survey};
