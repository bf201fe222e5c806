//! The operations in flight of one rank: gates, progress, and where each chunk goes.
//!
//! Transports pull outgoing chunks from a [`SendQueue`] and match incoming headers against the
//! [`FlowTable`]; neither side knows of sockets.
//!
//! | file | what it holds |
//! |---|---|
//! | `table` | [`FlowTable`]: post, pull, match, finish |
//! | `operation` | one operation: its flows, memory and gates |
//! | `memory` | the buffers of a call, and local work on them (`unsafe`) |
//! | `chunk` | a chunk on its way out or in (`unsafe`) |
//! | `progress` | contiguous progress with chunks out of order |
mod chunk;
mod memory;
mod operation;
mod progress;
mod table;
#[cfg(test)]
mod table_tests;

pub use chunk::{IncomingChunk, OutgoingChunk};
pub use memory::Memory;
pub use table::{FlowTable, MAX_IN_FLIGHT, Match, MatchError, PostError, Posting, SendQueue, Slot};
