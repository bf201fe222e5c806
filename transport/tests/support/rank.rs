//! One rank of a test: its table, its transport and its buffers.

use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank};
use onepath_transport::flow::{FlowTable, Memory, Posting, Slot};
use onepath_transport::plan::{Kernel, Plan};
use onepath_transport::wire::{OperationId, Signature};
use onepath_transport::{Activity, Transport, TransportError};

use super::worlds::{World, size};

/// How long a case may take before it counts as hung.
pub(crate) const HUNG: Duration = Duration::from_secs(40);

/// The buffers of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffers {
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
}

impl Buffers {
    pub(crate) fn new(input: Vec<u8>, output: usize, scratch: usize) -> Self {
        Self { input, output: vec![0; output], scratch: vec![0; scratch] }
    }

    fn memory(&mut self) -> Memory {
        Memory::new(
            (self.input.as_ptr(), self.input.len()),
            (self.output.as_mut_ptr(), self.output.len()),
            (self.scratch.as_mut_ptr(), self.scratch.len()),
        )
    }
}

/// An operation in flight; it owns its buffers, so nobody else can touch them.
pub(crate) struct Call {
    pub(crate) slot: Slot,
    buffers: Buffers,
}

/// One rank.
pub(crate) struct RankEnd {
    pub(crate) rank: Rank,
    pub(crate) ranks: usize,
    pub(crate) table: FlowTable,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) signature: Signature,
    pub(crate) chunk_bytes: usize,
    pub(crate) kernel: Option<Kernel>,
    /// Limit of every `wait`.
    pub(crate) nap: Duration,
    next: u64,
    born: Instant,
}

impl RankEnd {
    fn new(rank: Rank, ranks: usize, transport: Box<dyn Transport>) -> Self {
        Self {
            rank,
            ranks,
            table: FlowTable::new(size(ranks)),
            transport,
            signature: Signature([1, 2]),
            chunk_bytes: 64 << 10,
            kernel: None,
            nap: Duration::from_millis(2),
            next: 0,
            born: Instant::now(),
        }
    }

    /// Posts the next collective.
    pub(crate) fn post(&mut self, plan: &Plan, buffers: Buffers) -> Call {
        let id = OperationId::collective(self.next);
        self.next += 1;
        self.post_as(id, plan, buffers)
    }

    pub(crate) fn post_as(&mut self, id: OperationId, plan: &Plan, mut buffers: Buffers) -> Call {
        buffers.scratch.resize(plan.scratch_bytes, 0);
        let plan = &mut plan.clone();
        self.transport.assign(plan, self.chunk_bytes);
        let posting = Posting {
            id,
            signature: self.signature,
            plan,
            memory: buffers.memory(),
            kernel: self.kernel,
            chunk_bytes: self.chunk_bytes,
            now: Nanos(0),
        };
        // SAFETY: the call owns the buffers (vectors do not move their memory), and is only taken
        // apart after completion or cancellation.
        let slot = unsafe { self.table.post(&posting) }.expect("the plan is right");
        self.transport.post(&self.table, slot);
        Call { slot, buffers }
    }

    /// Drives until the call is complete and gives its buffers back; an error cancels.
    pub(crate) fn finish(&mut self, call: Call) -> Result<Buffers, TransportError> {
        while !self.table.is_complete(call.slot) {
            if let Err(error) = self.step() {
                self.transport.cancel();
                self.table.release(call.slot);
                return Err(error);
            }
        }
        self.table.release(call.slot);
        Ok(call.buffers)
    }

    /// Posts and finishes.
    pub(crate) fn run(&mut self, plan: &Plan, buffers: Buffers) -> Result<Buffers, TransportError> {
        let call = self.post(plan, buffers);
        self.finish(call)
    }

    /// Polls, and waits if that was idle.
    pub(crate) fn step(&mut self) -> Result<Activity, TransportError> {
        assert!(self.born.elapsed() < HUNG, "rank {} hangs", self.rank);
        let activity = self.transport.poll(&mut self.table)?;
        if activity == Activity::Idle && self.table.pending().next().is_some() {
            self.transport.wait(&self.table, self.nap);
        }
        Ok(activity)
    }
}

/// Runs every rank of a world in a thread of its own and gives their results in rank order.
pub(crate) fn run<R: Send>(world: World, body: impl Fn(RankEnd) -> R + Sync) -> Vec<R> {
    let ranks = world.len();
    std::thread::scope(|scope| {
        let spawn = |(rank, transport): (usize, _)| {
            let body = &body;
            scope.spawn(move || body(RankEnd::new(Rank::from_index(rank), ranks, transport)))
        };
        let threads: Vec<_> = world.into_iter().enumerate().map(spawn).collect();
        threads.into_iter().map(|t| t.join().expect("the rank's checks pass")).collect()
    })
}
