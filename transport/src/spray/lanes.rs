//! Which lane each chunk takes when subflows keep to their ports.

use onepath_topology::fabric::PathId;

use crate::flow::{FlowTable, OutgoingChunk, Slot};
use crate::proto::Random;

/// What is left of a flow's share of one lane.
#[derive(Clone, Copy, Debug)]
struct Budget {
    lane: u16,
    left: u64,
    total: u64,
}

/// Deals the chunks of each flow to lanes. Chunks leave in the order of the flow, as its gates
/// open, so shares are not taken one after the other but in proportion: each lane gets as many
/// bytes as its shares have, and all lanes are used at once.
#[derive(Debug)]
pub(super) struct Lanes {
    count: u16,
    seed: u64,
    /// The path of each lane, where paths are known.
    paths: Vec<PathId>,
    /// The flow that the budgets are of.
    flow: Option<(Slot, u32)>,
    budgets: Vec<Budget>,
    /// The lane for what is in no share.
    other: u16,
}

impl Lanes {
    /// So many lanes, the first of which take these paths.
    pub(super) fn new(count: u16, seed: u64, paths: Vec<PathId>) -> Self {
        let budgets = Vec::with_capacity(paths.len());
        Self { count: count.max(1), seed, paths, flow: None, budgets, other: 0 }
    }

    /// The lane of the next chunk; all chunks of a flow come before those of the next flow.
    pub(super) fn next(&mut self, table: &FlowTable, chunk: &OutgoingChunk) -> u16 {
        let flow = (chunk.slot(), chunk.send());
        if self.flow != Some(flow) {
            self.flow = Some(flow);
            self.begin(table, chunk);
        }
        let length = chunk.length() as u64;
        // The greatest part of its budget left, compared without division.
        let part = |a: &&mut Budget, b: &&mut Budget| {
            let (a, b) = ((a.left, a.total), (b.left, b.total));
            (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)))
        };
        let open = self.budgets.iter_mut().filter(|budget| budget.left > 0);
        let Some(budget) = open.max_by(part) else { return self.other };
        budget.left = budget.left.saturating_sub(length);
        budget.lane
    }

    fn begin(&mut self, table: &FlowTable, chunk: &OutgoingChunk) {
        let header = chunk.header(0, 0);
        let name = header.operation.wire().wrapping_mul(0x9E37_79B9) ^ u64::from(header.tag.0);
        let mut random = Random::new(self.seed ^ name);
        self.other = random.below(u64::from(self.count)) as u16;
        self.budgets.clear();
        let shares = table.shares(chunk.slot());
        let from = shares.partition_point(|share| share.send < chunk.send());
        for share in shares[from..].iter().take_while(|share| share.send == chunk.send()) {
            let lane = self.paths.iter().position(|&path| path == share.path);
            let Some(lane) = lane.and_then(|lane| u16::try_from(lane).ok()) else { continue };
            let length = share.length as u64;
            match self.budgets.iter_mut().find(|budget| budget.lane == lane) {
                Some(budget) => {
                    budget.left += length;
                    budget.total += length;
                }
                None => self.budgets.push(Budget { lane, left: length, total: length }),
            }
        }
    }
}
