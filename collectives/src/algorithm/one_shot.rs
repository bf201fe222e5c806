//! One-shot: everything to everybody, then every rank reduces in rank order by itself.

use onepath_topology::WorldSize;
use onepath_transport::plan::{BufferId, Span};

use super::flows::Flows;
use super::{Call, Shape};

/// Scratch: the buffers of all others.
pub(super) fn scratch_bytes(call: &Call, ranks: WorldSize) -> usize {
    call.bytes().saturating_mul(ranks.get() - 1)
}

/// One step, `n − 1` buffers sent by each rank: one latency, for small messages. `Output` is
/// written only after all sends have left.
pub(super) fn all_reduce(call: &Call, shape: Shape, flows: &mut Flows<'_>) {
    let (length, own) = (call.bytes(), shape.rank.index());
    flows.scratch(scratch_bytes(call, shape.ranks));
    let held = |rank: usize| {
        let slot = if rank < own { rank } else { rank - 1 };
        Span::new(BufferId::Scratch, slot * length, length)
    };
    let source = call.source(0, length);
    for distance in 1..shape.n() {
        flows.send((0, shape.ahead(distance), 0), source, None);
        let peer = shape.behind(distance);
        flows.store((0, peer, 0), held(peer));
    }
    let operand = |rank| if rank == own { source } else { held(rank) };
    let output = Span::new(BufferId::Output, 0, length);
    let mut sum = operand(0);
    for rank in 1..shape.n() {
        // In place, the own contribution must not be overwritten before its turn has come.
        let target = if call.in_place && rank <= own { held(0) } else { output };
        let finish = call.finish && rank + 1 == shape.n();
        flows.combine_after(target, sum, operand(rank), finish);
        sum = target;
    }
    flows.copy_after(sum, output);
}
