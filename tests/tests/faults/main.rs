//! What happens when ranks die, hang, differ or are late, and when strangers knock.
//!
//! `ONEPATH_FAULT_ROUNDS` and `ONEPATH_GARBAGE_HEADERS` set how much of it, `ONEPATH_SEED` repeats
//! one round.

mod abort;
mod broken;
mod death;
mod in_flight;
mod late;
mod mismatch;
mod strangers;
mod verbs;
