//! The fabric and the cluster as data, and the decisions made from them.
//!
//! This crate performs no I/O beyond parsing, reads no clock and starts no thread.
//!
//! | module | what it holds |
//! |---|---|
//! | [`units`] | [`Bytes`], [`Nanos`], [`Bandwidth`]: quantities with their unit in the type |
//! | [`rank`] | [`Rank`] and [`WorldSize`]: who takes part |
#![forbid(unsafe_code)]

pub mod rank;
pub mod units;

pub use rank::{Rank, WorldSize};
pub use units::{Bandwidth, Bytes, Nanos};
