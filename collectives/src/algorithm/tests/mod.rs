//! Proves plans right without any transport.
//!
//! | file | what it holds |
//! |---|---|
//! | `check` | rules of single plans and of the plans of all ranks |
//! | `interpreter` | a run of all plans under a random schedule |
//! | `hazard` | writes that come too early |
//! | `oracle` | what a call should give |
//! | `cases` | calls of all kinds against the oracle |
//! | `costs` | bytes, steps and scratch as documented |

mod cases;
mod check;
mod costs;
mod hazard;
mod interpreter;
mod oracle;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::plan::Plan;

use super::{Algorithm, Call, Shape, plan};

fn world(ranks: usize) -> WorldSize {
    WorldSize::new(ranks as u64).expect("a world size")
}

/// The plans of all ranks; rank `i` calls in place if bit `i` of `in_place` is set.
fn plans(
    call: &Call,
    algorithm: Algorithm,
    n: usize,
    in_place: u32,
    scratch_limit: usize,
) -> Vec<Plan> {
    let one = |rank: usize| {
        let shape = Shape { rank: Rank::from_index(rank), ranks: world(n) };
        let call = Call { in_place: in_place >> (rank % 32) & 1 == 1, ..*call };
        let mut made = Plan::default();
        plan(&call, algorithm, shape, scratch_limit, &mut made);
        made
    };
    (0..n).map(one).collect()
}
