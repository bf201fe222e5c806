//! A barrier by dissemination.

use onepath_transport::plan::{After, BufferId, Placement, Span};

use super::Shape;
use super::flows::Flows;

/// In step `k` a byte goes to the rank `2ᵏ` further on; after `⌈log₂ n⌉` steps every rank has
/// heard of all (Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization", 1988).
///
/// Step `k` sends the byte that step `k − 1` brought, whatever it is, and a byte is placed only
/// after those of all earlier steps; so a rank passes on in step `k` only what it has heard from
/// all before.
pub(super) fn dissemination(shape: Shape, flows: &mut Flows<'_>) {
    let byte = |at| Span::new(BufferId::Scratch, at, 1);
    let rounds = shape.n().next_power_of_two().ilog2() as usize;
    flows.scratch(rounds + 1);
    let mut heard = None;
    for round in 0..rounds {
        let distance = 1 << round;
        flows.send((round, shape.ahead(distance), round), byte(round), heard);
        let after = After { receive: heard, send: None };
        let target = byte(round + 1);
        let place = (round, shape.behind(distance), round);
        heard = flows.receive(place, target, Placement::Store, after);
    }
}
