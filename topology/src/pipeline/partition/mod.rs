//! Contiguous layers over pipeline stages.
//!
//! | file | what it holds |
//! |---|---|
//! | `costs` | [`StageCosts`]: what layers cost as a stage; [`ChainCosts`]: from their hardware |
//! | `exposed` | the part of bucketed reductions that overlap does not hide |
//! | `exact` | [`exact()`]: the best partition, by dynamic programming |
//! | `holmes` | [`holmes()`]: layers in proportion to speed, as Holmes does |
//! | `order` | [`order()`]: which cluster holds which stages |
//!
//! The time of an iteration of `m` micro-batches is
//! `(m − 1) · max period + Σ fill + max exposed` over stages, in whole nanoseconds, so that
//! equal costs are equal on every machine. Interleaved over `v` virtual stages, `m − 1/v` stands
//! for `m − 1` and `fill` has a v-th of the computing.

mod costs;
mod exact;
mod exposed;
mod holmes;
mod order;
#[cfg(test)]
mod tests;

pub use costs::{ChainCosts, ChainStage, Collective, Costs, Hop, StageCost, StageCosts, Transfers};
pub use exact::{Partition, PartitionError, exact, iteration};
pub use holmes::{HolmesError, holmes};
pub use order::{
    MAX_ENUMERATED, MAX_HELD_KARP, Order, OrderError, OrderMethod, order, order_by_price,
};
