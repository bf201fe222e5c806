//! Every collective against an oracle, on every transport.
//!
//! `ONEPATH_SEED` chooses other data and other random sequences.

mod bits;
mod cases;
mod groups;
mod large;
mod many;
mod pinned;
mod spray;
mod transfers;
mod verbs;
