//! What assignments put on every link, and the best that any routing could reach.
//!
//! | module | what it holds |
//! |---|---|
//! | `links` | [`LinkLoads`]: bytes by link of many sources; [`Congestion`] |
//! | `optimum` | [`optimum()`]: the least possible maximum of load over rate, with its proof |

mod links;
mod optimum;

#[cfg(test)]
mod tests;

pub use links::{Congestion, LinkLoads, LoadError};
pub use optimum::{Optimum, OptimumError, optimum};
