//! Finds writes that come too early, also where the bytes happen to be right.

use onepath_transport::plan::{After, Placement, Plan, Span};

use super::check::overlap;

/// The order of more flows than this is not computed; such plans only repeat what smaller ones do.
const MOST_FLOWS: usize = 4_096;

/// Which flows of which rank come after which receives, by gates and because bytes are received
/// after they were sent.
#[derive(Debug)]
pub(super) struct Order {
    /// Number of each rank's first receive among all receives.
    first: Vec<usize>,
    sends: Vec<Vec<Earlier>>,
    receives: Vec<Vec<Earlier>>,
}

/// A set of receives.
type Earlier = Vec<u64>;

/// One end of a flow: step, whether it is a receive, rank, index in its list.
type End = (u32, bool, usize, usize);

impl Order {
    /// The order of the flows of all ranks; nothing if they are too many.
    pub(super) fn of(plans: &[&Plan]) -> Option<Self> {
        let mut total = 0;
        let mut first = Vec::with_capacity(plans.len());
        for plan in plans {
            first.push(total);
            total += plan.receives.len();
        }
        if total > MOST_FLOWS {
            return None;
        }
        let nothing = vec![0; total.div_ceil(64)];
        let empty = |flows: usize| vec![nothing.clone(); flows];
        let sends = plans.iter().map(|plan| empty(plan.sends.len())).collect();
        let receives = plans.iter().map(|plan| empty(plan.receives.len())).collect();
        let mut order = Self { first, sends, receives };
        for (_, is_receive, rank, index) in sorted(plans) {
            if is_receive {
                let flow = &plans[rank].receives[index];
                let mut earlier = order.gates(rank, flow.after);
                let peer = flow.peer.index();
                let mut theirs = plans[peer].sends.iter();
                let sent = theirs.position(|s| s.peer.index() == rank && s.tag == flow.tag);
                add(&mut earlier, &order.sends[peer][sent.expect("flows are balanced")]);
                order.receives[rank][index] = earlier;
            } else {
                order.sends[rank][index] = order.gates(rank, plans[rank].sends[index].after);
            }
        }
        Some(order)
    }

    fn gates(&self, rank: usize, after: After) -> Earlier {
        let words = self.receives.iter().map(Vec::len).sum::<usize>().div_ceil(64);
        let mut earlier = vec![0; words];
        if let Some(send) = after.send {
            add(&mut earlier, &self.sends[rank][send as usize]);
        }
        if let Some(receive) = after.receive {
            add(&mut earlier, &self.receives[rank][receive as usize]);
            let number = self.first[rank] + receive as usize;
            earlier[number / 64] |= 1 << (number % 64);
        }
        earlier
    }

    fn has(&self, earlier: &Earlier, rank: usize, receive: usize) -> bool {
        let number = self.first[rank] + receive;
        earlier[number / 64] >> (number % 64) & 1 == 1
    }
}

fn add(to: &mut Earlier, other: &Earlier) {
    to.iter_mut().zip(other).for_each(|(word, more)| *word |= more);
}

/// All ends so that each comes after what it waits for: gates name smaller steps or earlier flows
/// of the same list, and a flow is received in the step in which it is sent.
fn sorted(plans: &[&Plan]) -> Vec<End> {
    let mut ends = Vec::new();
    for (rank, plan) in plans.iter().enumerate() {
        ends.extend(plan.sends.iter().enumerate().map(|(i, f)| (f.step, false, rank, i)));
        ends.extend(plan.receives.iter().enumerate().map(|(i, f)| (f.step, true, rank, i)));
    }
    ends.sort_unstable();
    ends
}

/// Panics if placing `target` by `receive` of `rank` overwrites bytes that another flow of the
/// rank has still to read or to write, unless that flow comes after this receive.
pub(super) fn check(
    (rank, plan): (usize, &Plan),
    order: &Order,
    (receive, target): (usize, Span),
    sent: &[usize],
    received: &[usize],
) {
    let rest = |span: Span, done| Span::new(span.buffer, span.offset + done, span.length - done);
    for (index, flow) in plan.sends.iter().enumerate() {
        let early = overlap(rest(flow.source, sent[index]), target);
        let ok = !early || order.has(&order.sends[rank][index], rank, receive);
        assert!(ok, "receive {receive} overwrites what send {index} has still to read");
    }
    for (index, flow) in plan.receives.iter().enumerate() {
        let mut early = overlap(rest(flow.target, received[index]), target);
        if let Placement::Combine { local, .. } = flow.placement {
            early |= overlap(rest(local, received[index]), target);
        }
        let ok =
            !early || index == receive || order.has(&order.receives[rank][index], rank, receive);
        assert!(ok, "receive {receive} comes before receive {index}");
    }
}
