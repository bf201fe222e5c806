//! Moving the flows of collectives between ranks.

pub mod plan;
