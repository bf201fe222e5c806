//! Collectives of distributed training over TCP and shared memory.

pub mod algorithm;
pub mod bootstrap;
pub mod call;
pub mod error;
pub mod recorder;
pub mod reduce;
mod tuning;
pub mod types;

pub use algorithm::Algorithm;
pub use error::{ArgumentError, CollectiveError};
pub use types::{DataType, Element, ReduceOp};
