//! A plan under construction.

use onepath_topology::Rank;
use onepath_transport::plan::{
    After, FlowTag, LocalAction, Placement, Plan, ReceiveFlow, SendFlow, Span,
};

/// Where a flow stands: its step, its peer's index and its tag.
pub(super) type Place = (usize, usize, usize);

/// Adds to a plan. Flows without bytes are left out; both sides agree since lengths agree.
#[derive(Debug)]
pub(super) struct Flows<'p> {
    plan: &'p mut Plan,
}

impl<'p> Flows<'p> {
    /// Empties a plan, keeping its capacity.
    pub(super) fn start(plan: &'p mut Plan) -> Self {
        plan.prologue.clear();
        plan.sends.clear();
        plan.receives.clear();
        plan.epilogue.clear();
        plan.scratch_bytes = 0;
        plan.shares.clear();
        Self { plan }
    }

    /// Says how much scratch the plan needs.
    pub(super) fn scratch(&mut self, bytes: usize) {
        self.plan.scratch_bytes = bytes;
    }

    /// Sends, each byte after its receive; returns the flow's index.
    pub(super) fn send(
        &mut self,
        (step, peer, tag): Place,
        source: Span,
        receive: Option<u32>,
    ) -> Option<u32> {
        let after = After { receive, send: None };
        let flow = SendFlow {
            step: step as u32,
            peer: Rank::from_index(peer),
            tag: FlowTag(tag as u32),
            source,
            after,
        };
        (source.length > 0).then(|| {
            self.plan.sends.push(flow);
            self.plan.sends.len() as u32 - 1
        })
    }

    /// Receives; returns the flow's index.
    pub(super) fn receive(
        &mut self,
        (step, peer, tag): Place,
        target: Span,
        placement: Placement,
        after: After,
    ) -> Option<u32> {
        let flow = ReceiveFlow {
            step: step as u32,
            peer: Rank::from_index(peer),
            tag: FlowTag(tag as u32),
            target,
            placement,
            after,
        };
        (target.length > 0).then(|| {
            self.plan.receives.push(flow);
            self.plan.receives.len() as u32 - 1
        })
    }

    /// Receives what is stored as it is, without a gate.
    pub(super) fn store(&mut self, place: Place, target: Span) -> Option<u32> {
        self.receive(place, target, Placement::Store, After::NOTHING)
    }

    /// The latest receive with this target.
    pub(super) fn last_receive(&self, target: Span) -> Option<u32> {
        let found = self.plan.receives.iter().rposition(|flow| flow.target == target);
        found.map(|index| index as u32)
    }

    /// Copies before any flow starts.
    pub(super) fn copy_before(&mut self, source: Span, target: Span) {
        self.plan.prologue.extend(copy(source, target));
    }

    /// Copies after the last flow has ended.
    pub(super) fn copy_after(&mut self, source: Span, target: Span) {
        self.plan.epilogue.extend(copy(source, target));
    }

    /// Combines after the last flow has ended.
    pub(super) fn combine_after(
        &mut self,
        target: Span,
        local: Span,
        incoming: Span,
        finish: bool,
    ) {
        if target.length > 0 {
            let action = LocalAction::Combine { target, local, incoming, finish };
            self.plan.epilogue.push(action);
        }
    }

    /// Finishes after the last flow has ended.
    pub(super) fn finish_after(&mut self, target: Span) {
        if target.length > 0 {
            self.plan.epilogue.push(LocalAction::Finish { target });
        }
    }
}

fn copy(source: Span, target: Span) -> Option<LocalAction> {
    (source != target && source.length > 0).then_some(LocalAction::Copy { source, target })
}
