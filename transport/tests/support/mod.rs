//! What the tests of transports share: connected worlds, and ranks that drive them.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod pinned;
pub(crate) mod plans;
pub(crate) mod rank;
pub(crate) mod relays;
pub(crate) mod sprayed;
pub(crate) mod verbs;
pub(crate) mod worlds;
