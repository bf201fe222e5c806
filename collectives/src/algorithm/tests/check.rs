//! What can be said of plans without running them.

use onepath_transport::plan::{After, BufferId, FlowTag, LocalAction, Placement, Plan, Span};

/// A flow, as both of its ends must describe it.
type Ends = (u32, FlowTag, usize);

/// Panics unless the plans of all ranks keep the rules of [`onepath_transport::plan`]. `lengths`
/// gives the bytes of input and output of a rank.
pub(super) fn check(plans: &[Plan], lengths: &dyn Fn(usize) -> [usize; 2], scratch_limit: usize) {
    for (rank, plan) in plans.iter().enumerate() {
        assert!(plan.scratch_bytes <= scratch_limit, "rank {rank} needs too much scratch");
        let [input, output] = lengths(rank);
        check_spans(plan, &|buffer| match buffer {
            BufferId::Input => input,
            BufferId::Output => output,
            BufferId::Scratch => plan.scratch_bytes,
        });
        check_gates(plan);
    }
    check_pairs(plans);
}

fn check_spans(plan: &Plan, length: &dyn Fn(BufferId) -> usize) {
    let read = |span: Span| {
        assert!(span.length > 0 && span.end() <= length(span.buffer), "{span:?} is out of range");
    };
    let written = |span: Span| {
        read(span);
        assert_ne!(span.buffer, BufferId::Input, "the input is written");
    };
    plan.sends.iter().for_each(|flow| read(flow.source));
    for flow in &plan.receives {
        written(flow.target);
        if let Placement::Combine { local, .. } = flow.placement {
            read(local);
            assert_eq!(local.length, flow.target.length);
            assert!(local == flow.target || !overlap(local, flow.target));
        }
    }
    for action in plan.prologue.iter().chain(&plan.epilogue) {
        match *action {
            LocalAction::Copy { source, target } => {
                read(source);
                written(target);
                assert!(source.length == target.length && !overlap(source, target));
            }
            LocalAction::Combine { target, local, incoming, .. } => {
                written(target);
                read(local);
                read(incoming);
                assert!(target.length == local.length && target.length == incoming.length);
                assert!(local == target || !overlap(local, target));
                assert!(!overlap(incoming, target) && !overlap(incoming, local));
            }
            LocalAction::Finish { target } => written(target),
        }
    }
}

pub(super) fn overlap(a: Span, b: Span) -> bool {
    a.buffer == b.buffer && a.offset < b.end() && b.offset < a.end()
}

/// Steps never fall; gates name flows of smaller steps or earlier ones of the same list, and wait
/// for something: the same buffer, bytes not all above the waiting ones.
fn check_gates(plan: &Plan) {
    assert!(plan.sends.is_sorted_by_key(|flow| flow.step));
    assert!(plan.receives.is_sorted_by_key(|flow| flow.step));
    let waits = |gate: Span, span: Span| {
        assert!(gate.buffer == span.buffer && gate.offset < span.end(), "a gate waits for nothing");
    };
    let receive = |after: After, step: u32, span: Span, earlier: usize| {
        if let Some(gate) = after.receive {
            let flow = &plan.receives[gate as usize];
            assert!(flow.step < step || (gate as usize) < earlier, "a gate names a later flow");
            waits(flow.target, span);
        }
    };
    let send = |after: After, step: u32, span: Span, earlier: usize| {
        if let Some(gate) = after.send {
            let flow = &plan.sends[gate as usize];
            assert!(flow.step < step || (gate as usize) < earlier, "a gate names a later flow");
            waits(flow.source, span);
        }
    };
    for (index, flow) in plan.sends.iter().enumerate() {
        receive(flow.after, flow.step, flow.source, 0);
        send(flow.after, flow.step, flow.source, index);
    }
    for (index, flow) in plan.receives.iter().enumerate() {
        receive(flow.after, flow.step, flow.target, index);
        send(flow.after, flow.step, flow.target, 0);
    }
}

fn check_pairs(plans: &[Plan]) {
    let n = plans.len();
    let mut sent: Vec<Vec<Ends>> = vec![Vec::new(); n * n];
    let mut received: Vec<Vec<Ends>> = vec![Vec::new(); n * n];
    for (rank, plan) in plans.iter().enumerate() {
        for flow in &plan.sends {
            let ends = (flow.step, flow.tag, flow.source.length);
            sent[rank * n + flow.peer.index()].push(ends);
        }
        for flow in &plan.receives {
            let ends = (flow.step, flow.tag, flow.target.length);
            received[flow.peer.index() * n + rank].push(ends);
        }
    }
    for pair in 0..n * n {
        let (from, to) = (pair / n, pair % n);
        assert_eq!(sent[pair], received[pair], "flows from rank {from} to rank {to}");
        assert!(from != to || sent[pair].is_empty(), "rank {from} sends to itself");
        let tags = sent[pair].iter().map(|ends| ends.1);
        assert!(tags.is_sorted_by(|a, b| a < b), "tags from rank {from} to rank {to}");
    }
}
