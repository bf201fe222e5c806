//! Which degrees: tensor, pipeline and data parallel, micro-batch, virtual stages.
//!
//! | file | what it holds |
//! |---|---|
//! | `sites` | [`Sites`]: what the search needs of an inventory's pools |
//! | `candidates` | every combination of degrees, with a lower bound of its iteration time |
//! | `evaluate` | the stages of a combination, cut exactly |
//! | `find` | [`search`]: best first, until no bound is below the best found; [`timing_of`] |
//!
//! A stage lies in one pool: `tensor · data` GPUs on whole nodes, or several stages on one node.
//! Where a plan needs fewer stages than there is room for, the fastest pools are used first; their
//! order along the pipeline is Held-Karp's by the time of their boundaries. With one pool the
//! result is the best of all combinations; with several, what the choice of pools may have lost is
//! in the gap to the lower bound.

mod candidates;
mod evaluate;
mod find;
mod sites;
#[cfg(test)]
mod tests;

pub use candidates::Degrees;
pub use find::{Found, FoundStage, SearchError, SearchOptions, search, timing_of};
pub use sites::{Site, Sites};
