//! A call with its buffers by address.

use onepath_topology::Rank;
use onepath_transport::plan::{
    After, BufferId, FlowTag, Placement, Plan, ReceiveFlow, SendFlow, Span,
};

use crate::algorithm::{Algorithm, Call, Collective};
use crate::call::CallDescription;
use crate::types::{DataType, ReduceOp};

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// All ranks.
    Collective(Collective),
    /// This rank sends.
    Send(Rank),
    /// This rank receives.
    Receive(Rank),
}

/// Buffers by address and length in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    pub(crate) input: (*const u8, usize),
    pub(crate) output: (*mut u8, usize),
    pub(crate) in_place: bool,
}

/// A call to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) target: Target,
    pub(crate) data_type: DataType,
    pub(crate) op: Option<ReduceOp>,
    /// Elements, counted as the call counts them (see [`Call`]).
    pub(crate) count: usize,
    pub(crate) buffers: Buffers,
}

impl Request {
    /// Bytes that the call counts.
    pub(super) fn bytes(&self) -> usize {
        self.count * self.data_type.size()
    }

    /// The shape that plans depend on; nothing for a point-to-point transfer.
    pub(super) fn call(&self) -> Option<Call> {
        let Target::Collective(collective) = self.target else { return None };
        Some(Call {
            collective,
            count: self.count,
            element_bytes: self.data_type.size(),
            in_place: self.buffers.in_place,
            finish: self.op == Some(ReduceOp::Avg),
        })
    }

    pub(super) fn description(&self, algorithm: Algorithm) -> CallDescription {
        let collective = match self.target {
            Target::Collective(collective) => Some(collective),
            Target::Send(_) | Target::Receive(_) => None,
        };
        CallDescription {
            collective,
            data_type: self.data_type,
            op: self.op,
            algorithm,
            count: self.count as u64,
        }
    }

    /// The plan of a transfer: one flow. If the one before was alike, its shares stay.
    pub(super) fn point_to_point(&self, plan: &mut Plan) {
        let before = plan.sends.pop();
        plan.prologue.clear();
        plan.sends.clear();
        plan.receives.clear();
        plan.epilogue.clear();
        plan.scratch_bytes = 0;
        let (step, tag, after) = (0, FlowTag(0), After::NOTHING);
        match self.target {
            Target::Collective(_) => {}
            Target::Send(peer) => {
                let source = Span::new(BufferId::Input, 0, self.bytes());
                plan.sends.push(SendFlow { step, peer, tag, source, after });
            }
            Target::Receive(peer) => {
                let target = Span::new(BufferId::Output, 0, self.bytes());
                let placement = Placement::Store;
                plan.receives.push(ReceiveFlow { step, peer, tag, target, placement, after });
            }
        }
        if before.as_ref() != plan.sends.last() {
            plan.shares.clear();
        }
    }
}
