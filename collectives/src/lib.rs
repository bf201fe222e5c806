//! Collectives of distributed training over TCP and shared memory.

pub mod types;
