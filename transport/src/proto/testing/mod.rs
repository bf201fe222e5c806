//! A virtual network and ranks on it: whole transfers in virtual time, the same for the same seed.
//!
//! For tests; no part of the API.
//!
//! | file | what it holds |
//! |---|---|
//! | `link` | a queue with a rate, a delay, marks and faults |
//! | `network` | links, and which of them a datagram takes |
//! | `endpoint` | one end of a connection, with real bytes and its promises checked |
//! | `world` | connections on a network, and virtual time |
mod endpoint;
mod link;
mod network;
mod world;

pub use endpoint::{Endpoint, Job};
pub use link::{Faults, Link, LinkStats};
pub use network::{Network, Route};
pub use world::{Outcome, World};
