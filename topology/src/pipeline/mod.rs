//! Planning of pipeline-parallel training: which layers are computed where, in which order, and
//! how long an iteration takes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`] | operations, times and bytes of layers, by formula or from profiles |
//! | [`partition`] | contiguous layers over stages: exact, or Holmes' rule; the order of clusters |
//! | [`predict`] | iteration time, reduction and memory of a given plan |
//! | [`published`] | Holmes' published points beside this model |
//! | [`schedule`] | `GPipe`, 1F1B, interleaved 1F1B as actions; their timelines and bubbles |
//! | [`search`] | the degrees of parallelism for an inventory |

pub mod model;
pub mod partition;
pub mod predict;
pub mod published;
pub mod schedule;
pub mod search;
