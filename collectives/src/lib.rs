//! Collectives of distributed training over TCP and shared memory.
//!
//! | module | what it holds |
//! |---|---|
//! | [`communicator`] | [`Communicator`]: ranks that make calls together; [`Builder`]: joining |
//! | [`types`], [`call`] | element types, reductions, what a call is |
//! | [`error`] | why a call failed |
//! | [`algorithm`] | plans of ring, halving-doubling, direct, tree and one-shot; the cost table |
//! | [`reduce`] | reduction kernels in SIMD |
//! | `engine` | runs the plans of one communicator over its transport |
//! | `tuning` | which algorithm runs, in what chunks |
//! | [`bootstrap`] | how ranks find and trust each other |
//! | [`pipeline`] | training under a plan: schedules, buckets, one communicator a group |
//! | [`control`] | heartbeats, death, agreement on survivors |
//! | [`recorder`] | the flight recorder |
//! | `fuzzing` | private parsers, for the fuzz targets |

pub mod algorithm;
pub mod bootstrap;
pub mod call;
pub mod communicator;
pub mod control;
mod engine;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod pipeline;
pub mod recorder;
pub mod reduce;
mod tuning;
pub mod types;

pub use algorithm::Algorithm;
pub use communicator::{BuildError, Builder, Communicator, Handle, Scope};
pub use communicator::{
    RegisterError, RegisteredBuffer, ShrinkError, SplitError, TransportKind, TuningSource,
};
pub use error::{ArgumentError, CollectiveError};
pub use types::{DataType, Element, ReduceOp};

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
