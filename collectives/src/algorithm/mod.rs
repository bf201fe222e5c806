//! Algorithms: pure functions from a call to the [`Plan`] of one rank.
//!
//! | module | what it holds |
//! |---|---|
//! | [`call`] | [`Call`], [`Collective`], [`Shape`]: what is planned |
//! | [`choice`] | [`supports`] and [`effective`]: which algorithm can run which call |
//! | `segments` | how buffers are cut |
//! | `flows` | [`Plan`] under construction |
//! | `ring`, `halving`, `direct`, `tree`, `one_shot`, `barrier` | the algorithms |
//! | [`cost`] | the table from which an algorithm is chosen |
//!
//! **Same bits everywhere.** Each element is fully reduced on one rank and then copied (or, for
//! [`Algorithm::OneShot`], reduced in rank order on every rank), and gates fix the order of its
//! operands. So no result depends on timing, on the transport, or on whether a call is in place.
//!
//! **Same flows everywhere.** Steps, tags and lengths depend only on what all ranks share: the
//! collective, count, element size, algorithm, rank count and scratch limit. `in_place` and
//! `finish` change only where a rank reads and writes.
//!
//! **Overwriting.** A receive that writes bytes which this rank also sends is either gated on that
//! send, or cannot arrive before it: the incoming bytes were computed from the sent ones. Each
//! algorithm says which.

pub mod call;
pub mod choice;
pub mod cost;

mod barrier;
mod direct;
mod flows;
mod halving;
mod one_shot;
mod ring;
mod segments;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use onepath_transport::plan::{BufferId, Plan, Span};

use crate::types::{UnknownName, by_name};

pub use call::{Call, Class, Collective, Shape};
pub use choice::{effective, fits, supports};
pub use cost::CostTable;

use flows::Flows;
use segments::Segments;

/// How a collective is carried out. Which of them a collective has: [`supports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Algorithm {
    /// From neighbour to neighbour: `n − 1` steps a phase, each byte crosses each link once.
    Ring = 0,
    /// Distances that halve and double: `⌈log₂ n⌉` steps a phase for any rank count.
    HalvingDoubling = 1,
    /// Every rank with every other at once: one step a phase.
    Direct = 2,
    /// A binary tree, pipelined.
    Tree = 3,
    /// Everything to everybody in one step, for small messages.
    OneShot = 4,
}

impl Algorithm {
    /// Every algorithm, in the order of their wire numbers.
    pub const ALL: [Self; 5] =
        [Self::Ring, Self::HalvingDoubling, Self::Direct, Self::Tree, Self::OneShot];

    /// Its name, as options and tables spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::HalvingDoubling => "halving-doubling",
            Self::Direct => "direct",
            Self::Tree => "tree",
            Self::OneShot => "one-shot",
        }
    }

    /// The number that stands for it on the wire.
    pub const fn wire(self) -> u8 {
        self as u8
    }

    /// The algorithm with this wire number.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl FromStr for Algorithm {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("algorithm", value, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Fills `plan` with what `shape.rank` does in `call` by [`effective`] of `algorithm`. Nothing is
/// allocated when the plan's vectors have the capacity.
///
/// What the caller has made sure of: `scratch_limit` (bytes) and everything in `call` but
/// `in_place` and `finish` are the same on all ranks; a root is one of the ranks; the buffers'
/// sizes do not overflow; the call [`fits`].
pub fn plan(
    call: &Call,
    algorithm: Algorithm,
    shape: Shape,
    scratch_limit: usize,
    plan: &mut Plan,
) {
    debug_assert!(shape.ranks.contains(shape.rank));
    debug_assert!(call.collective.root().is_none_or(|root| shape.ranks.contains(root)));
    let mut flows = Flows::start(plan);
    let flows = &mut flows;
    if shape.ranks.get() == 1 {
        return alone(call, flows);
    }
    let algorithm = effective(call, algorithm, shape.ranks, scratch_limit);
    match call.collective {
        Collective::AllReduce => all_reduce(call, algorithm, shape, flows),
        Collective::ReduceScatter => reduce_scatter(call, algorithm, shape, scratch_limit, flows),
        Collective::AllGather => all_gather(call, algorithm, shape, flows),
        Collective::Broadcast { root } => {
            tree::broadcast(call, &tree::Node::new(shape, root, algorithm), flows);
        }
        Collective::Reduce { root } => {
            tree::reduce(call, &tree::Node::new(shape, root, algorithm), scratch_limit, flows);
        }
        Collective::AllToAll => direct::all_to_all(call, shape, flows),
        Collective::Barrier => barrier::dissemination(shape, flows),
    }
}

/// One rank has nobody to talk to: the result is its own contribution.
fn alone(call: &Call, flows: &mut Flows<'_>) {
    let target = Span::new(BufferId::Output, 0, call.bytes());
    flows.copy_after(call.source(0, call.bytes()), target);
    if call.finish {
        flows.finish_after(target);
    }
}

fn all_reduce(call: &Call, algorithm: Algorithm, shape: Shape, flows: &mut Flows<'_>) {
    match algorithm {
        Algorithm::Tree => return tree::all_reduce(call, shape, flows),
        Algorithm::OneShot => return one_shot::all_reduce(call, shape, flows),
        Algorithm::Ring | Algorithm::HalvingDoubling | Algorithm::Direct => {}
    }
    let segments = Segments::of(call, shape);
    let raw = |segment| segments.span(call.read_buffer(), segment);
    let sum = |segment| segments.span(BufferId::Output, segment);
    let own = sum(shape.rank.index());
    // What arrives in the second phase overwrites bytes that this rank sent in the first, and
    // was computed from them: it cannot come before they have left.
    match algorithm {
        Algorithm::Ring => {
            let mut partial = ring::Partial::Output(segments);
            let done = ring::scatter(shape, &raw, &mut partial, own, call.finish, 0, flows);
            ring::gather(shape, own, done, &sum, ring::steps(shape), flows);
        }
        Algorithm::HalvingDoubling => {
            let partial = |_, segment| sum(segment);
            let done = halving::scatter(shape, &raw, &partial, own, call.finish, flows);
            halving::gather(shape, own, done, &sum, halving::rounds(shape), flows);
        }
        _ => {
            let done = direct::scatter(shape, &raw, own, call.finish, flows);
            direct::gather(shape, own, done, &sum, 1, flows);
        }
    }
}

/// Out of place the result is all of `Output`; in place it is the own segment of the whole buffer,
/// whose other segments stay as they are.
fn reduce_scatter(
    call: &Call,
    algorithm: Algorithm,
    shape: Shape,
    scratch_limit: usize,
    flows: &mut Flows<'_>,
) {
    let length = call.bytes();
    let raw = |segment| call.source(segment * length, length);
    let at = if call.in_place { shape.rank.index() * length } else { 0 };
    let own = Span::new(BufferId::Output, at, length);
    match algorithm {
        Algorithm::Ring => ring::reduce_scatter(call, shape, own, scratch_limit, flows),
        Algorithm::HalvingDoubling => {
            flows.scratch(halving::scratch_bytes(call, shape.ranks));
            let partial = |i: usize, _| Span::new(BufferId::Scratch, (i - 1) * length, length);
            halving::scatter(shape, &raw, &partial, own, call.finish, flows);
        }
        _ => {
            direct::scatter(shape, &raw, own, call.finish, flows);
        }
    }
}

/// In place the own segment of `Output` holds the contribution already.
fn all_gather(call: &Call, algorithm: Algorithm, shape: Shape, flows: &mut Flows<'_>) {
    let length = call.bytes();
    let place = |segment: usize| Span::new(BufferId::Output, segment * length, length);
    let at = if call.in_place { shape.rank.index() * length } else { 0 };
    let own = call.source(at, length);
    match algorithm {
        Algorithm::Ring => ring::gather(shape, own, None, &place, 0, flows),
        Algorithm::HalvingDoubling => halving::gather(shape, own, None, &place, 0, flows),
        _ => direct::gather(shape, own, None, &place, 0, flows),
    }
    flows.copy_after(own, place(shape.rank.index()));
}
