//! Direct: every rank exchanges with every other in one step.
//!
//! The peer at distance `d` is served `d`-th, so that at any time each rank is sent to by few.

use onepath_transport::plan::{After, BufferId, Placement, Span};

use super::flows::Flows;
use super::{Call, Shape};

/// Reduces segment `rank` into `own` in one step: first the own contribution, then those of the
/// ranks before it, nearest first, the order in which they are sent; a chain of gates keeps it.
/// Returns the receive that completes the segment.
pub(super) fn scatter(
    shape: Shape,
    raw: &dyn Fn(usize) -> Span,
    own: Span,
    finish: bool,
    flows: &mut Flows<'_>,
) -> Option<u32> {
    let mut chain = None;
    for distance in 1..shape.n() {
        let peer = shape.ahead(distance);
        flows.send((0, peer, 0), raw(peer), None);
        let local = if distance == 1 { raw(shape.rank.index()) } else { own };
        let finish = finish && distance + 1 == shape.n();
        let placement = Placement::Combine { local, finish };
        let after = After { receive: chain, send: None };
        chain = flows.receive((0, shape.behind(distance), 0), own, placement, after);
    }
    chain
}

/// Spreads `own` (complete after the receive `done`) in one step, so that every rank has segment
/// `i` at `place(i)`. The own segment's place is left alone.
pub(super) fn gather(
    shape: Shape,
    own: Span,
    done: Option<u32>,
    place: &dyn Fn(usize) -> Span,
    step: usize,
    flows: &mut Flows<'_>,
) {
    for distance in 1..shape.n() {
        flows.send((step, shape.ahead(distance), step), own, done);
        let peer = shape.behind(distance);
        flows.store((step, peer, step), place(peer));
    }
}

/// Segment `i` of this rank's buffer goes to rank `i`, in one step. In place, the segments for
/// others are first moved to scratch: two ranks that waited for the other's segment to leave
/// before they place its counterpart would wait for ever.
pub(super) fn all_to_all(call: &Call, shape: Shape, flows: &mut Flows<'_>) {
    let length = call.bytes();
    let place = |segment: usize| Span::new(BufferId::Output, segment * length, length);
    let own = shape.rank.index();
    if call.in_place {
        flows.scratch(length * (shape.n() - 1));
    }
    for distance in 1..shape.n() {
        let (to, from) = (shape.ahead(distance), shape.behind(distance));
        let mut source = call.source(to * length, length);
        if call.in_place {
            let saved = Span::new(BufferId::Scratch, (distance - 1) * length, length);
            flows.copy_before(source, saved);
            source = saved;
        }
        flows.send((0, to, 0), source, None);
        flows.store((0, from, 0), place(from));
    }
    flows.copy_after(call.source(own * length, length), place(own));
}
