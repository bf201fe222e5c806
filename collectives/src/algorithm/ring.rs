//! Ring: every rank receives from the one before it and sends to the one after it.
//!
//! Reduce-scatter and all-gather take `n − 1` steps each, and each rank sends `n − 1` segments in
//! each (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
//! workstations", 2009). Gates make the steps a pipeline of chunks.

use onepath_transport::plan::{After, Placement, Span};

use super::flows::Flows;
use super::segments::{Blocks, Segments, Slots};
use super::{Call, Shape};

/// Where partial sums wait for being passed on.
#[derive(Debug)]
pub(super) enum Partial {
    /// In their place of the output buffer.
    Output(Segments),
    /// In scratch, in turn.
    Scratch(Slots),
}

/// Steps of one phase.
pub(super) fn steps(shape: Shape) -> usize {
    shape.n() - 1
}

/// Reduces segment `rank` into `own`; `raw` gives this rank's contribution to a segment. Returns
/// the receive that completes it. Each receive waits for nothing but its slot: the ring brings
/// each segment once.
pub(super) fn scatter(
    shape: Shape,
    raw: &dyn Fn(usize) -> Span,
    partial: &mut Partial,
    own: Span,
    finish: bool,
    first_step: usize,
    flows: &mut Flows<'_>,
) -> Option<u32> {
    let (next, previous, last) = (shape.ahead(1), shape.behind(1), shape.n() - 2);
    let mut passed = (raw(previous), None);
    for index in 0..=last {
        let step = first_step + index;
        let sent = flows.send((step, next, step), passed.0, passed.1);
        if let Partial::Scratch(slots) = partial
            && index > 0
        {
            slots.emptied(sent);
        }
        let local = raw(shape.behind(index + 2));
        let (target, emptied_by) = match partial {
            _ if index == last => (own, None),
            Partial::Output(segments) => (segments.span(own.buffer, shape.behind(index + 2)), None),
            Partial::Scratch(slots) => slots.fill(local.length),
        };
        let placement = Placement::Combine { local, finish: finish && index == last };
        let after = After { receive: None, send: emptied_by };
        passed = (target, flows.receive((step, previous, step), target, placement, after));
    }
    passed.1
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
    let mut passed = (own, done);
    for index in 0..shape.n() - 1 {
        let step = first_step + index;
        flows.send((step, shape.ahead(1), step), passed.0, passed.1);
        let target = place(shape.behind(index + 1));
        passed = (target, flows.store((step, shape.behind(1), step), target));
    }
}

/// Reduce-scatter in blocks, with partial sums in two slots of scratch; with two ranks there are
/// none.
pub(super) fn reduce_scatter(
    call: &Call,
    shape: Shape,
    own: Span,
    scratch_limit: usize,
    flows: &mut Flows<'_>,
) {
    let length = call.bytes();
    let blocks = if shape.n() == 2 {
        Blocks::one(length)
    } else {
        let blocks = Blocks::new(length, call.element_bytes, scratch_limit);
        flows.scratch(2 * blocks.longest());
        blocks
    };
    let mut partial = Partial::Scratch(Slots::new(blocks.longest()));
    for (block, (at, bytes)) in blocks.iter().enumerate() {
        let raw = |segment: usize| call.source(segment * length + at, bytes);
        let own = Span::new(own.buffer, own.offset + at, bytes);
        let first_step = block * steps(shape);
        scatter(shape, &raw, &mut partial, own, call.finish, first_step, flows);
    }
}
