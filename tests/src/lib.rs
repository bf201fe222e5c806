//! Scenarios that cross crates, and what they share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`world`] | communicators of one world as threads, under a watchdog |
//! | [`processes`] | ranks as processes that can be killed and stopped |
//! | [`watchdog`] | ends a process that hangs, naming what hung |
//! | [`oracle`] | elements, inputs and right results, one element at a time |
//! | [`pinned`] | worlds whose connections are pinned to paths |
//! | [`case`] | one call with its arguments, made and checked |
//! | [`product`] | all cases: the full product of what a call can be |
//! | [`mixed`] | seeded random sequences of calls |
//! | [`verbs`] | worlds over RDMA devices |
//! | [`status`] | memory, descriptors and mappings of a process, as the kernel sees them |

pub mod case;
pub mod mixed;
pub mod oracle;
pub mod pinned;
pub mod processes;
pub mod product;
pub mod status;
pub mod verbs;
pub mod watchdog;
pub mod world;

/// The seed of a test: `ONEPATH_SEED` if it is set, else `usual`. Tests print it.
pub fn seed(usual: u64) -> u64 {
    number("ONEPATH_SEED").unwrap_or(usual)
}

/// A number that the environment gives to a test.
///
/// # Panics
/// When the variable is not a number.
pub fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: it must be a number")))
}
