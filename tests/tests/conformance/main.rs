//! Every collective against an oracle, on both transports.
//!
//! `ONEPATH_FULL=1` runs every case there is; without it the cases cover every triple of
//! arguments. `ONEPATH_SEED` chooses other random sequences.

mod bits;
mod cases;
mod groups;
mod large;
mod many;
mod transfers;
