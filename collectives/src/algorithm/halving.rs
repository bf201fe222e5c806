//! Halving-doubling for any rank count, on circulant graphs.
//!
//! Träff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms" (2024): with
//! `s₀ = n, sₖ₊₁ = ⌈sₖ/2⌉`, round `k` sends the partial sums of the segments at distances
//! `sₖ₊₁..sₖ` to the rank `sₖ₊₁` further on, which has them at distances `0..sₖ − sₖ₊₁`. That is
//! `⌈log₂ n⌉` rounds and `n − 1` segments sent, both optimal, without the extra transfers by which
//! recursive halving folds rank counts that are no powers of two. The all-gather runs the rounds
//! backwards. Each segment is a flow of its own, so that gates are exact and every round is
//! a pipeline.

use onepath_topology::WorldSize;
use onepath_transport::plan::{After, Placement, Span};

use super::flows::Flows;
use super::{Call, Shape};

/// Rounds of one phase.
pub(super) fn rounds(shape: Shape) -> usize {
    shape.n().next_power_of_two().ilog2() as usize
}

/// `sₖ` after `k` rounds.
fn span_after(shape: Shape, rounds: usize) -> usize {
    shape.n().div_ceil(1 << rounds)
}

/// Scratch of a reduce-scatter: partial sums of the segments at distances `1..⌊n/2⌋`.
pub(super) fn scratch_bytes(call: &Call, ranks: WorldSize) -> usize {
    call.bytes().saturating_mul((ranks.get() / 2).saturating_sub(1))
}

/// Reduces segment `rank` into `own`. `raw(segment)` is this rank's contribution;
/// `partial(distance, segment)` is where the partial sum of a segment `distance ≥ 1` further on
/// is kept. Returns the receive that completes the own segment.
///
/// A rank sends each segment once and receives nothing for it afterwards, so no receive overwrites
/// what is being sent. Receives of different rounds combine into the same bytes: each is gated on
/// the one before it.
pub(super) fn scatter(
    shape: Shape,
    raw: &dyn Fn(usize) -> Span,
    partial: &dyn Fn(usize, usize) -> Span,
    own: Span,
    finish: bool,
    flows: &mut Flows<'_>,
) -> Option<u32> {
    let rounds = rounds(shape);
    for round in 0..rounds {
        let (whole, half) = (span_after(shape, round), span_after(shape, round + 1));
        // Falling distances: the receiver passes the far ones on first.
        for distance in (half..whole).rev() {
            let segment = shape.ahead(distance);
            // Round 0 has brought partial sums of the distances below ⌊n/2⌋.
            let (source, receive) = if round > 0 && distance < shape.n() / 2 {
                let source = partial(distance, segment);
                (source, flows.last_receive(source))
            } else {
                (raw(segment), None)
            };
            flows.send((round, shape.ahead(half), shape.n() - 1 - distance), source, receive);
        }
        for distance in (0..whole - half).rev() {
            let segment = shape.ahead(distance);
            let target = if distance == 0 { own } else { partial(distance, segment) };
            let local = if round == 0 { raw(segment) } else { target };
            let placement = Placement::Combine { local, finish: finish && round + 1 == rounds };
            let after = After { receive: flows.last_receive(target), send: None };
            let tag = shape.n() - 1 - (distance + half);
            flows.receive((round, shape.behind(half), tag), target, placement, after);
        }
    }
    flows.last_receive(own)
}

/// Spreads `own` (complete after the receive `done`) so that every rank has segment `i` at
/// `place(i)`. The own segment's place is left alone.
pub(super) fn gather(
    shape: Shape,
    own: Span,
    done: Option<u32>,
    place: &dyn Fn(usize) -> Span,
    first_step: usize,
    flows: &mut Flows<'_>,
) {
    let rounds = rounds(shape);
    for round in 0..rounds {
        let half = span_after(shape, rounds - round);
        let whole = span_after(shape, rounds - round - 1);
        let step = first_step + round;
        // Tags go on where those of the reduce-scatter end.
        let tag = |distance: usize| shape.n() - 2 + distance;
        for distance in 0..whole - half {
            let (source, receive) = if distance == 0 {
                (own, done)
            } else {
                let source = place(shape.ahead(distance));
                (source, flows.last_receive(source))
            };
            flows.send((step, shape.behind(half), tag(distance + half)), source, receive);
        }
        for distance in half..whole {
            let target = place(shape.ahead(distance));
            flows.store((step, shape.ahead(half), tag(distance)), target);
        }
    }
}
