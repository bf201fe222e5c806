//! Chunks that may be placed only in their order, over lanes that fail at any time, without a
//! device: the smallest one always moves, and only because of the rule of the last free slot.

use std::collections::VecDeque;

use super::outbox::{Outbox, What, members};
use super::queue::tests::{CHUNK, posted};
use super::queue::{Lost, Queue, Room, Segment, Source, may_take};
use crate::flow::FlowTable;
use crate::proto::Random;
use crate::tcp::pinned::Sharing;

const LANES: usize = 3;
const SLOTS: u16 = 4;
const CHUNKS: usize = 200;
const FAILURES: u32 = 40;
/// Far more than any run needs that ends.
const STEPS: u32 = 100_000;

static INPUT: [u8; CHUNKS * CHUNK] = [0; CHUNKS * CHUNK];

/// One lane, seen from both ends.
#[derive(Debug)]
struct Lane {
    out: Outbox,
    open: bool,
    requests: u64,
    /// Slots and chunks: on their way, and at the receiver.
    wire: VecDeque<(u8, usize)>,
    held: Vec<(u8, usize)>,
    arrived: u64,
    emptied: u64,
}

struct Model {
    table: FlowTable,
    queue: Queue,
    lanes: Vec<Lane>,
    placed: usize,
    lost: usize,
    with_rule: bool,
    /// Whether lanes that failed are opened again; if not, the last one does not fail.
    heals: bool,
}

impl Model {
    fn new(sharing: Sharing, (heals, with_rule): (bool, bool)) -> Self {
        let (table, slot) = posted(&INPUT);
        let mut queue = Queue::new(LANES, SLOTS, sharing);
        for lane in 0..LANES {
            let (offset, stride, end) = (lane * CHUNK, LANES * CHUNK, INPUT.len());
            queue.push(lane, Segment { slot, operation: 0, send: 0, offset, stride, end });
        }
        let lane = |_| Lane {
            out: Outbox::new(SLOTS, 64),
            open: true,
            requests: 0,
            wire: VecDeque::new(),
            held: Vec::new(),
            arrived: 0,
            emptied: 0,
        };
        let lanes = (0..LANES).map(lane).collect();
        Self { table, queue, lanes, placed: 0, lost: 0, with_rule, heals }
    }

    fn send(&mut self, at: usize) {
        if !self.lanes[at].open {
            return;
        }
        let lanes = &self.lanes;
        let room = |other: usize| {
            let full = lanes[other].open && lanes[other].out.free() <= 1;
            if full { Room::Full } else { Room::Free }
        };
        let Some(found) = self.queue.candidate(at, true, &self.table, room) else { return };
        let under_way = lanes.iter().filter_map(|lane| lane.out.smallest());
        let smallest = under_way.chain(self.queue.smallest()).min();
        let smallest = if self.with_rule { smallest } else { Some(found.order) };
        let own = |lost: &Lost| usize::from(lost.lane) == at;
        let slot = match found.source {
            Source::Again(lost) if own(&lost) => {
                self.lanes[at].out.again(lost.slot);
                lost.slot
            }
            source => {
                if !may_take(lanes[at].out.free(), found.order, || smallest) {
                    return;
                }
                let slot = self.lanes[at].out.take(found.order, 1).expect("a free slot");
                if let Source::Again(lost) = source {
                    self.lanes[usize::from(lost.lane)].out.moved(lost.slot);
                }
                slot
            }
        };
        self.queue.take(at, found.source);
        let lane = &mut self.lanes[at];
        lane.out.note(lane.requests, What::Data { slot, credits: 0 });
        lane.requests += 1;
        lane.wire.push_back((slot, found.order.offset / CHUNK));
    }

    fn deliver(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if let Some(message) = lane.wire.pop_front() {
            lane.held.push(message);
            lane.arrived += 1;
        }
    }

    /// Places what is the next in order, if it is there.
    fn place(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if let Some(found) = lane.held.iter().position(|&(_, chunk)| chunk == self.placed) {
            let (slot, _) = lane.held.swap_remove(found);
            lane.emptied |= 1 << slot;
            self.placed += 1;
        }
    }

    fn credit(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if lane.open {
            lane.out.credit(std::mem::take(&mut lane.emptied)).expect("slots in use");
        }
    }

    /// Closes a lane at both ends; what did not arrive is lost.
    fn fail(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        lane.open = false;
        lane.wire.clear();
        let ended = lane.out.close(std::mem::take(&mut lane.arrived)).expect("what was sent");
        lane.requests = 0;
        let out = &lane.out;
        let lost = |slot| Lost { order: out.order(slot), lane: at as u8, slot };
        self.lost += ended.lost.count_ones() as usize;
        self.queue.release(at);
        self.queue.lose(members(ended.lost).map(lost));
    }

    /// Runs to the end; whether there was one.
    fn run(&mut self, seed: u64) -> bool {
        let mut random = Random::new(seed);
        let most = if self.heals { FAILURES } else { LANES as u32 - 1 };
        let mut failures = 0;
        for _ in 0..STEPS {
            if self.placed == CHUNKS {
                return true;
            }
            let at = random.below(LANES as u64) as usize;
            match random.below(40) {
                0..16 => self.send(at),
                16..24 => self.deliver(at),
                24..32 => self.place(at),
                32..37 => self.credit(at),
                37 if failures < most && self.lanes[at].open => {
                    failures += 1;
                    self.fail(at);
                }
                _ => self.lanes[at].open |= self.heals,
            }
        }
        false
    }
}

#[test]
fn the_smallest_chunk_always_moves() {
    let mut lost = 0;
    for seed in 0..200 {
        for sharing in [Sharing::Static, Sharing::Shared] {
            for heals in [true, false] {
                let mut model = Model::new(sharing, (heals, true));
                let ended = model.run(seed);
                assert!(ended, "seed {seed}, {sharing:?}, {heals}: stuck at {}", model.placed);
                lost += model.lost;
            }
        }
    }
    println!("{lost} chunks were lost");
    assert!(lost > 1_000, "{lost}");
}

#[test]
fn without_the_rule_of_the_last_slot_it_would_not() {
    let ends = |seed| Model::new(Sharing::Shared, (false, false)).run(seed);
    let stuck = (0..200).filter(|&seed| !ends(seed)).count();
    println!("{stuck} of 200 runs are stuck");
    assert!(stuck > 0);
}
