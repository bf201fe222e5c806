//! What the scheduler decides, without I/O: events and the time come in, actions go out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`world`] | what is known of pods and nodes, and the questions to the checker |
//! | [`plan`] | who is evicted, who is put where, which nodes are concerned |
//! | [`execution`] | carrying a plan out: rehearse, reserve, evict, await, bind, clean up |
//! | [`holds`] | pods that plans leave where they are, since they could not be evicted |
//! | [`patience`] | when pods have waited long enough to step in |

pub(crate) mod execution;
pub(crate) mod holds;
pub(crate) mod patience;
pub(crate) mod plan;
#[cfg(test)]
mod tests;
pub(crate) mod world;
