//! The fabric and the cluster as data, and the decisions made from them.
//!
//! This crate performs no I/O beyond parsing, reads no clock and starts no thread.
//!
//! | module | what it holds |
//! |---|---|
//! | [`units`] | [`Bytes`], [`Nanos`], [`Bandwidth`]: quantities with their unit in the type |
//! | [`fabric`] | leaves, spines, links, rails; the paths between two leaves |
//! | [`assign`] | which bytes of which flow take which path: the splitters and their rivals |
//! | [`load`] | what an assignment puts on every link, and the best that any routing could reach |
//! | [`pipeline`] | layers over pipeline stages, schedules, predicted iteration times |
//! | [`cluster`] | inventories: clusters of nodes with GPUs and NICs, and the links between |
//! | [`groups`] | parallel groups of ranks, where they are, and the network of each |
//! | `number` | small arithmetic |
//! | [`rank`] | [`Rank`] and [`WorldSize`]: who takes part |
#![forbid(unsafe_code)]

pub mod assign;
pub mod cluster;
pub mod fabric;
pub mod groups;
pub mod load;
pub mod pipeline;

mod number;
pub mod rank;
pub mod units;

pub use rank::{Rank, WorldSize};
pub use units::{Bandwidth, Bytes, Nanos};
