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
    /// The lane that last stood in for one whose path is dead.
    stand_in: u16,
}

impl Lanes {
    /// So many lanes, the first of which take these paths.
    pub(super) fn new(count: u16, seed: u64, paths: Vec<PathId>) -> Self {
        let budgets = Vec::with_capacity(paths.len());
        Self { count: count.max(1), seed, paths, flow: None, budgets, other: 0, stand_in: 0 }
    }

    /// The lane of the next chunk; all chunks of a flow come before those of the next flow. What
    /// was dealt to a lane that is not `in_use` goes to the others in turn.
    pub(super) fn next(
        &mut self,
        table: &FlowTable,
        chunk: &OutgoingChunk,
        in_use: impl Fn(u16) -> bool,
    ) -> u16 {
        let lane = self.dealt(table, chunk);
        if self.paths.is_empty() || in_use(lane) {
            return lane;
        }
        let (count, last) = (self.paths.len() as u16, self.stand_in);
        let others = (1..=count).map(|step| (last + step) % count);
        self.stand_in = others.into_iter().find(|&other| in_use(other)).unwrap_or(lane);
        self.stand_in
    }

    fn dealt(&mut self, table: &FlowTable, chunk: &OutgoingChunk) -> u16 {
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

#[cfg(test)]
mod tests {
    use onepath_topology::{Nanos, Rank, WorldSize};

    use super::*;
    use crate::flow::{Memory, Posting, SendQueue};
    use crate::plan::{After, BufferId, FlowTag, Plan, SendFlow, Span};
    use crate::share::Share;
    use crate::wire::{OperationId, Signature};

    const CHUNKS: usize = 24;

    /// How many chunks of a flow in four equal shares each lane gets.
    fn deal(in_use: impl Fn(u16) -> bool) -> [usize; 4] {
        let (input, peer) = (vec![0_u8; 32 * CHUNKS], Rank::new(1));
        let source = Span::new(BufferId::Input, 0, input.len());
        let flow = SendFlow { step: 0, peer, tag: FlowTag(0), source, after: After::NOTHING };
        let mut plan = Plan { sends: vec![flow], ..Plan::default() };
        let length = input.len() / 4;
        let share =
            |path| Share { send: 0, path: PathId(path), offset: path as usize * length, length };
        plan.shares.list = (0..4).map(share).collect();
        let nothing = (std::ptr::null_mut(), 0);
        let posting = Posting {
            id: OperationId::collective(0),
            signature: Signature([0; 2]),
            plan: &plan,
            memory: Memory::new((input.as_ptr(), input.len()), nothing, nothing),
            kernel: None,
            chunk_bytes: 32,
            now: Nanos(0),
        };
        let mut table = FlowTable::new(WorldSize::new(2).expect("two ranks"));
        // SAFETY: the input outlives the table, which nobody sends from.
        let slot = unsafe { table.post(&posting) }.expect("the plan is right");
        let mut queue = SendQueue::default();
        queue.push(slot, 0);
        let mut lanes = Lanes::new(4, 1, (0..4).map(PathId).collect());
        let mut dealt = [0; 4];
        while let Some(chunk) = table.pull(&mut queue) {
            dealt[usize::from(lanes.next(&table, &chunk, &in_use))] += 1;
        }
        dealt
    }

    #[test]
    fn each_lane_gets_its_share_and_that_of_a_dead_one_goes_to_all_others() {
        assert_eq!(deal(|_| true), [6; 4]);
        assert_eq!(deal(|lane| lane != 2), [8, 8, 0, 8]);
        assert_eq!(deal(|lane| lane == 1), [0, 24, 0, 0]);
        // Nobody knows better.
        assert_eq!(deal(|_| false), [6; 4]);
    }
}
