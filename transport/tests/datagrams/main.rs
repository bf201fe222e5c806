//! The datagram protocol on a virtual network.
//!
//! `ONEPATH_DATAGRAM_CASES=10000` runs more seeded cases than the 1,000 of every day;
//! `ONEPATH_DATAGRAM_SEED=n` runs one of them alone.
mod congestion;
mod faults;
mod seeded;
mod support;
