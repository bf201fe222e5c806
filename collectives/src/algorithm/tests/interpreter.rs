//! Runs the plans of all ranks under a random schedule, chunk by chunk.

use std::collections::VecDeque;

use onepath_transport::plan::{After, BufferId, LocalAction, Placement, Plan, Span};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::hazard::{self, Order};
use super::oracle::Kernel;

/// How the schedule is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    /// Bytes of a chunk.
    pub(super) chunk_bytes: usize,
    /// How many chunks may have left towards one peer and not be placed; 0: a chunk is read from
    /// the sender's memory in the moment in which the receiver places it.
    pub(super) on_the_way: usize,
    /// Whether some moves are starved for long times instead of all being equally likely.
    pub(super) unfair: bool,
}

/// One rank.
pub(super) struct Node {
    pub(super) plan: Plan,
    /// Input, output, scratch; for a call in place the input is empty and plans do not name it.
    pub(super) memory: [Vec<u8>; 3],
    /// Bytes done of each flow.
    sent: Vec<usize>,
    received: Vec<usize>,
    posted: bool,
    /// The memory as the caller finds it at the end.
    pub(super) result: Option<[Vec<u8>; 2]>,
}

/// A chunk: index of the send, its first byte there, its bytes.
type Chunk = (usize, usize, Vec<u8>);

/// What goes from one rank to another.
struct Lane {
    sends: VecDeque<usize>,
    receives: VecDeque<usize>,
    /// Bytes of the first send that were pulled.
    pulled: usize,
    /// Pulled and not read yet: what the memory held at that time.
    head: Option<Chunk>,
    left: VecDeque<Chunk>,
    priority: u32,
}

#[derive(Clone, Copy)]
enum Move {
    Post(usize),
    Pull(usize),
    Leave(usize),
    Place(usize),
}

pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    lanes: Vec<Lane>,
    order: Option<Order>,
    kernel: Kernel,
    schedule: Schedule,
    random: SmallRng,
}

fn index(buffer: BufferId) -> usize {
    match buffer {
        BufferId::Input => 0,
        BufferId::Output => 1,
        BufferId::Scratch => 2,
    }
}

impl Node {
    pub(super) fn new(plan: Plan, input: Vec<u8>, output: Vec<u8>) -> Self {
        Self {
            memory: [input, output, vec![0xA5; plan.scratch_bytes]],
            sent: vec![0; plan.sends.len()],
            received: vec![0; plan.receives.len()],
            posted: false,
            result: None,
            plan,
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.memory[index(span.buffer)][span.offset..span.end()]
    }

    fn write(&mut self, span: Span, bytes: &[u8]) {
        self.memory[index(span.buffer)][span.offset..span.end()].copy_from_slice(bytes);
    }

    fn is_open(&self, after: After, chunk: Span) -> bool {
        let passed = |gate: Span, done: usize| {
            gate.buffer == chunk.buffer
                && (chunk.end() <= gate.offset || gate.offset + done >= chunk.end().min(gate.end()))
        };
        let receive = after.receive.is_none_or(|i| {
            passed(self.plan.receives[i as usize].target, self.received[i as usize])
        });
        receive
            && after
                .send
                .is_none_or(|i| passed(self.plan.sends[i as usize].source, self.sent[i as usize]))
    }

    fn perform(&mut self, action: LocalAction, kernel: Kernel) {
        match action {
            LocalAction::Copy { source, target } => {
                let bytes = self.bytes(source).to_vec();
                self.write(target, &bytes);
            }
            LocalAction::Combine { target, local, incoming, finish } => {
                let mut sum = kernel.combine(self.bytes(local), self.bytes(incoming));
                if finish {
                    kernel.finish(&mut sum);
                }
                self.write(target, &sum);
            }
            LocalAction::Finish { target } => {
                let mut bytes = self.bytes(target).to_vec();
                kernel.finish(&mut bytes);
                self.write(target, &bytes);
            }
        }
    }

    fn is_drained(&self) -> bool {
        let sent = self.plan.sends.iter().zip(&self.sent).all(|(f, &d)| f.source.length == d);
        let mut received = self.plan.receives.iter().zip(&self.received);
        self.posted && sent && received.all(|(f, &d)| f.target.length == d)
    }

    /// Ends the call once all flows have; then the memory is the caller's, who changes it.
    fn settle(&mut self, kernel: Kernel) {
        if self.result.is_some() || !self.is_drained() {
            return;
        }
        for action in self.plan.epilogue.clone() {
            self.perform(action, kernel);
        }
        self.result = Some([self.memory[0].clone(), self.memory[1].clone()]);
        self.memory.iter_mut().for_each(|buffer| buffer.fill(0xEE));
    }
}

impl World {
    pub(super) fn new(nodes: Vec<Node>, kernel: Kernel, schedule: Schedule) -> Self {
        let mut random = SmallRng::seed_from_u64(schedule.seed);
        let n = nodes.len();
        let lane = |pair: usize| {
            let (from, to) = (pair / n, pair % n);
            let sends = nodes[from].plan.sends.iter().map(|flow| flow.peer.index());
            let receives = nodes[to].plan.receives.iter().map(|flow| flow.peer.index());
            Lane {
                sends: sends.enumerate().filter(|&(_, peer)| peer == to).map(|f| f.0).collect(),
                receives: receives
                    .enumerate()
                    .filter(|&(_, peer)| peer == from)
                    .map(|f| f.0)
                    .collect(),
                pulled: 0,
                head: None,
                left: VecDeque::new(),
                priority: random.random(),
            }
        };
        let lanes = (0..n * n).map(lane).collect();
        let plans: Vec<&Plan> = nodes.iter().map(|node| &node.plan).collect();
        let order = Order::of(&plans);
        Self { nodes, lanes, order, kernel, schedule, random }
    }

    /// Runs until nothing moves. Panics if a rank has not ended then.
    pub(super) fn run(&mut self) {
        let all_have_begun = |world: &Self| world.nodes.iter().all(|node| node.posted);
        loop {
            let moves = self.moves();
            let Some(&chosen) = self.choose(&moves) else {
                break;
            };
            self.perform(chosen);
            if self.is_barrier() && self.nodes.iter().any(|node| node.result.is_some()) {
                assert!(all_have_begun(self), "a rank left the barrier before all were there");
            }
        }
        for (rank, node) in self.nodes.iter().enumerate() {
            let (sent, received) = (&node.sent, &node.received);
            let ended = node.result.is_some();
            assert!(ended, "deadlock: rank {rank} has sent {sent:?} and received {received:?}");
        }
    }

    /// Only a barrier's flows never touch the caller's buffers.
    fn is_barrier(&self) -> bool {
        self.nodes.len() > 1
            && self.nodes.iter().all(|n| n.memory[0].len() + n.memory[1].len() == 0)
            && self.nodes.iter().all(|n| !n.plan.sends.is_empty())
    }

    fn moves(&self) -> Vec<Move> {
        let n = self.nodes.len();
        let unposted = (0..n).filter(|&rank| !self.nodes[rank].posted).map(Move::Post);
        let lanes = (0..n * n).filter(|&pair| {
            let lane = &self.lanes[pair];
            !(lane.sends.is_empty() && lane.receives.is_empty())
        });
        let moves = lanes.flat_map(|pair| [Move::Pull(pair), Move::Leave(pair), Move::Place(pair)]);
        unposted.chain(moves.filter(|&m| self.is_possible(m))).collect()
    }

    fn choose<'m>(&mut self, moves: &'m [Move]) -> Option<&'m Move> {
        if moves.is_empty() {
            return None;
        }
        if self.random.random_ratio(1, 64) {
            let at = self.random.random_range(0..self.lanes.len());
            self.lanes[at].priority = self.random.random();
        }
        if !self.schedule.unfair {
            return moves.get(self.random.random_range(0..moves.len()));
        }
        moves.iter().max_by_key(|&&m| match m {
            // A rank that comes late keeps its diagonal lane's place in the queue.
            Move::Post(rank) => self.lanes[rank * (self.nodes.len() + 1)].priority,
            Move::Pull(pair) => self.lanes[pair].priority,
            Move::Leave(pair) => self.lanes[pair].priority.rotate_left(8),
            Move::Place(pair) => self.lanes[pair].priority.rotate_left(16),
        })
    }

    fn is_possible(&self, candidate: Move) -> bool {
        let n = self.nodes.len();
        match candidate {
            Move::Post(_) => true,
            Move::Pull(pair) => {
                let (lane, node) = (&self.lanes[pair], &self.nodes[pair / n]);
                let Some(&send) = lane.sends.front() else {
                    return false;
                };
                lane.head.is_none()
                    && node.posted
                    && node.is_open(
                        node.plan.sends[send].after,
                        self.chunk(node.plan.sends[send].source, lane.pulled),
                    )
            }
            Move::Leave(pair) => {
                let lane = &self.lanes[pair];
                lane.head.is_some() && lane.left.len() < self.schedule.on_the_way
            }
            Move::Place(pair) => {
                let (lane, node) = (&self.lanes[pair], &self.nodes[pair % n]);
                let direct = if self.schedule.on_the_way == 0 { lane.head.as_ref() } else { None };
                let Some(chunk) = lane.left.front().or(direct) else {
                    return false;
                };
                let Some(&receive) = lane.receives.front() else {
                    panic!("a chunk of lane {pair} is not expected")
                };
                let flow = &node.plan.receives[receive];
                node.posted && node.is_open(flow.after, self.chunk(flow.target, chunk.1))
            }
        }
    }

    /// The chunk of a flow that begins at `offset`.
    fn chunk(&self, flow: Span, offset: usize) -> Span {
        let length = self.schedule.chunk_bytes.min(flow.length - offset);
        Span::new(flow.buffer, flow.offset + offset, length)
    }

    fn perform(&mut self, chosen: Move) {
        let n = self.nodes.len();
        match chosen {
            Move::Post(rank) => {
                let node = &mut self.nodes[rank];
                node.posted = true;
                for action in node.plan.prologue.clone() {
                    node.perform(action, self.kernel);
                }
                node.settle(self.kernel);
            }
            Move::Pull(pair) => self.pull(pair),
            Move::Leave(pair) => {
                let chunk = self.leave(pair);
                self.lanes[pair].left.push_back(chunk);
                self.nodes[pair / n].settle(self.kernel);
            }
            Move::Place(pair) => {
                let chunk = self.lanes[pair].left.pop_front();
                let chunk = chunk.unwrap_or_else(|| self.leave(pair));
                self.place(pair, &chunk);
                self.nodes[pair / n].settle(self.kernel);
                self.nodes[pair % n].settle(self.kernel);
            }
        }
    }

    fn pull(&mut self, pair: usize) {
        let node = &self.nodes[pair / self.nodes.len()];
        let (send, offset) = (self.lanes[pair].sends[0], self.lanes[pair].pulled);
        let flow = node.plan.sends[send].source;
        let span = self.chunk(flow, offset);
        let bytes = node.bytes(span).to_vec();
        let lane = &mut self.lanes[pair];
        lane.head = Some((send, offset, bytes));
        lane.pulled += span.length;
        if lane.pulled == flow.length {
            lane.pulled = 0;
            lane.sends.pop_front();
        }
    }

    /// Reads the pulled chunk from the sender's memory.
    fn leave(&mut self, pair: usize) -> Chunk {
        let rank = pair / self.nodes.len();
        let (send, offset, bytes) = self.lanes[pair].head.take().expect("a pulled chunk");
        let node = &mut self.nodes[rank];
        let span = self.schedule.chunk_bytes.min(node.plan.sends[send].source.length - offset);
        let source = node.plan.sends[send].source;
        let now = node.bytes(Span::new(source.buffer, source.offset + offset, span));
        assert_eq!(now, bytes, "send {send} of rank {rank} was overwritten before it had left");
        node.sent[send] += bytes.len();
        (send, offset, bytes)
    }

    fn place(&mut self, pair: usize, (send, offset, bytes): &Chunk) {
        let n = self.nodes.len();
        let (from, rank) = (pair / n, pair % n);
        let receive = self.lanes[pair].receives[0];
        let flow = self.nodes[rank].plan.receives[receive];
        let sender = self.nodes[from].plan.sends[*send];
        assert_eq!((sender.tag, sender.source.length), (flow.tag, flow.target.length));
        let target = self.chunk(flow.target, *offset);
        let node = &mut self.nodes[rank];
        if let Some(order) = &self.order {
            let placed = (receive, target);
            hazard::check((rank, &node.plan), order, placed, &node.sent, &node.received);
        }
        match flow.placement {
            Placement::Store => node.write(target, bytes),
            Placement::Combine { local, finish } => {
                let local = Span::new(local.buffer, local.offset + offset, target.length);
                let mut sum = self.kernel.combine(node.bytes(local), bytes);
                if finish {
                    self.kernel.finish(&mut sum);
                }
                node.write(target, &sum);
            }
        }
        node.received[receive] += bytes.len();
        if node.received[receive] == flow.target.length {
            self.lanes[pair].receives.pop_front();
        }
    }
}
