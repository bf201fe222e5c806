//! Two ends with lanes that fail at any time, without a device: every chunk takes effect once, and
//! memory that a payload is lent from is given back once, when nobody reads it any more.

use std::collections::VecDeque;

use super::inbox::Inbox;
use super::letter::{Letter, Matter};
use super::life::{Heard, Life};
use super::outbox::{Outbox, What, members};
use super::queue::Order;
use crate::plan::FlowTag;
use crate::proto::Random;
use crate::wire::{ChunkHeader, ChunkKind, OperationId, Signature};

const LANES: usize = 3;
const SLOTS: u16 = 4;
const CHUNKS: usize = 300;

/// A message on its way over a queue pair of one generation.
#[derive(Clone, Copy, Debug)]
struct Message {
    generation: u32,
    id: u64,
    what: What,
    /// The number of the chunk, if it is one.
    chunk: usize,
}

#[derive(Debug)]
struct Lane {
    out: Outbox,
    inbox: Inbox,
    life: Life,
    posted: u64,
    /// Requests that arrived, and of which this end may be told.
    arrived: u64,
    /// Sent by this end and not arrived.
    wire: VecDeque<Message>,
}

/// A chunk to be sent again, in a slot of a lane.
#[derive(Clone, Copy, Debug)]
struct Lost {
    chunk: usize,
    lane: usize,
    slot: u8,
}

#[derive(Debug)]
struct End {
    lanes: Vec<Lane>,
    next: usize,
    again: Vec<Lost>,
    received: Vec<bool>,
    /// Chunks whose memory was given back, those that were copied included.
    returned: Vec<bool>,
    letters: VecDeque<Letter>,
}

fn header(chunk: usize) -> ChunkHeader {
    ChunkHeader {
        kind: ChunkKind::Data,
        length: 1,
        operation: OperationId::collective(0),
        tag: FlowTag(0),
        offset: chunk as u64,
        signature: Signature([0; 2]),
        chunk: 0,
        acknowledged: 0,
    }
}

impl End {
    fn new() -> Self {
        let lane = |_| Lane {
            out: Outbox::new(SLOTS, 64),
            inbox: Inbox::new(SLOTS),
            life: Life::new(),
            posted: 0,
            arrived: 0,
            wire: VecDeque::new(),
        };
        Self {
            lanes: (0..LANES).map(lane).collect(),
            next: 0,
            again: Vec::new(),
            received: vec![false; CHUNKS],
            returned: vec![false; CHUNKS],
            letters: VecDeque::new(),
        }
    }

    fn is_done(&self) -> bool {
        let home = |lane: &Lane| lane.out.is_empty() && lane.life.is_open();
        let all = [&self.received, &self.returned].into_iter().flatten().all(|&done| done);
        all && self.lanes.iter().all(home)
    }

    fn post(&mut self, at: usize, what: What, chunk: usize) {
        let lane = &mut self.lanes[at];
        let (id, generation) = (lane.posted, lane.life.generation());
        lane.posted += 1;
        lane.out.note(id, what);
        lane.wire.push_back(Message { generation, id, what, chunk });
    }

    /// Loans have ended.
    fn give_back(&mut self, at: usize, slots: u64) {
        for slot in members(slots) {
            let chunk = self.lanes[at].out.order(slot).offset;
            assert!(!self.returned[chunk], "the memory of chunk {chunk} is given back twice");
            self.returned[chunk] = true;
        }
    }

    /// This end is told of what arrived.
    fn complete(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if lane.life.is_alive() && lane.arrived > 0 {
            let returned = lane.out.done(lane.arrived - 1);
            self.give_back(at, returned);
        }
    }

    fn send(&mut self, at: usize) {
        if !self.lanes[at].life.is_open() {
            return;
        }
        let order = |offset| Order { operation: 0, send: 0, offset };
        let (chunk, slot) = if let Some(&lost) = self.again.first() {
            let slot = if lost.lane == at {
                self.lanes[at].out.again(lost.slot);
                lost.slot
            } else {
                let Some(slot) = self.lanes[at].out.take(order(lost.chunk), 1) else { return };
                let lent = self.lanes[lost.lane].out.is_lent(lost.slot);
                self.lanes[lost.lane].out.moved(lost.slot);
                if lent {
                    self.lanes[at].out.lend(slot);
                }
                slot
            };
            self.again.remove(0);
            (lost.chunk, slot)
        } else if self.next < CHUNKS
            && let Some(slot) = self.lanes[at].out.take(order(self.next), 1)
        {
            // Two of three chunks are of registered memory.
            if self.next.is_multiple_of(3) {
                self.returned[self.next] = true;
            } else {
                self.lanes[at].out.lend(slot);
            }
            self.next += 1;
            (self.next - 1, slot)
        } else {
            return;
        };
        let credits = self.lanes[at].inbox.take_credits();
        self.post(at, What::Data { slot, credits }, chunk);
    }

    fn give_credits(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        if lane.life.is_open() && lane.inbox.credits() > 0 {
            let slots = lane.inbox.take_word();
            self.post(at, What::Credit { slots }, 0);
        }
    }

    fn take(&mut self, at: usize, message: Message) {
        let lane = &mut self.lanes[at];
        lane.inbox.count();
        match message.what {
            What::Data { slot, credits } => {
                lane.inbox.check(slot).expect("an empty slot");
                lane.inbox.hold(slot, header(message.chunk));
                lane.out.credit(credits).expect("slots in use");
            }
            What::Credit { slots } => lane.out.credit(slots).expect("slots in use"),
            What::Letter | What::Silent => {}
        }
    }

    /// Places one chunk that is held.
    fn place(&mut self, at: usize, random: &mut Random) {
        let held: Vec<u8> = self.lanes[at].inbox.held().collect();
        if held.is_empty() {
            return;
        }
        let slot = held[random.below(held.len() as u64) as usize];
        let chunk = self.lanes[at].inbox.header(slot).expect("it is held").offset as usize;
        assert!(!self.received[chunk], "chunk {chunk} takes effect twice");
        self.received[chunk] = true;
        self.lanes[at].inbox.empty(slot);
    }

    fn say(&mut self, letter: Letter, random: &mut Random) {
        self.letters.push_back(letter);
        if random.chance(0.3) {
            self.letters.push_back(letter);
        }
    }

    /// The next steps in the life of a lane.
    fn advance(&mut self, at: usize, random: &mut Random) {
        let lane = &mut self.lanes[at];
        let letter = |generation, matter| Letter { lane: at as u8, generation, matter };
        if lane.life.may_tell() {
            lane.life.told();
            let received = lane.inbox.received();
            let closed = Matter::Closed { received, queue_pair: 0, first: 0 };
            let closed = letter(lane.life.generation(), closed);
            self.say(closed, random);
        }
        let lane = &mut self.lanes[at];
        if let Some(closed) = lane.life.next() {
            let ended = lane.out.close(closed.received).expect("what was sent");
            lane.inbox.give_again(ended.credits);
            lane.inbox.begin();
            lane.wire.clear();
            for slot in members(ended.lost) {
                let chunk = lane.out.order(slot).offset;
                self.again.push(Lost { chunk, lane: at, slot });
            }
            self.again.sort_by_key(|lost| lost.chunk);
            self.give_back(at, ended.returned);
            let lane = &mut self.lanes[at];
            (lane.posted, lane.arrived) = (0, 0);
            lane.life.join();
            let ready = letter(lane.life.generation(), Matter::Ready);
            self.say(ready, random);
        }
        let lane = &mut self.lanes[at];
        if lane.life.may_prove() {
            lane.life.prove();
            lane.life.proved();
        }
    }
}

/// Something of what `ends[from]` has sent over a lane arrives, or its sender learns that it has.
fn deliver(ends: &mut [End; 2], from: usize, at: usize, random: &mut Random) {
    let lane = &mut ends[from].lanes[at];
    let Some(&message) = lane.wire.front() else { return };
    let there = &ends[1 - from].lanes[at].life;
    if !there.is_alive() || there.generation() != message.generation {
        // Nothing lands any more.
        return;
    }
    ends[from].lanes[at].wire.pop_front();
    if matches!(message.what, What::Data { .. }) && !message.chunk.is_multiple_of(3) {
        let returned = ends[from].returned[message.chunk];
        assert!(!returned, "chunk {} is read from memory that was given back", message.chunk);
    }
    ends[1 - from].take(at, message);
    ends[from].lanes[at].arrived = message.id + 1;
    if random.chance(0.5) {
        ends[from].complete(at);
    }
}

/// Runs until all is done; how many lanes failed and how many chunks were lost.
fn run(seed: u64) -> (u32, usize) {
    let mut random = Random::new(seed);
    let mut ends = [End::new(), End::new()];
    let (mut failures, mut lost) = (0, 0);
    for step in 0.. {
        assert!(step < 200_000, "seed {seed}: it does not end: {ends:?}");
        if ends.iter().all(End::is_done) {
            return (failures, lost);
        }
        let (end, at) = (random.below(2) as usize, random.below(LANES as u64) as usize);
        let before = ends[end].again.len();
        match random.below(40) {
            0..9 => ends[end].send(at),
            9..20 => deliver(&mut ends, end, at, &mut random),
            20..28 => ends[end].place(at, &mut random),
            28..30 => ends[end].give_credits(at),
            30 => ends[end].complete(at),
            31 if failures < 40 => failures += u32::from(ends[end].lanes[at].life.fail()),
            31..36 => ends[end].advance(at, &mut random),
            _ => {
                if let Some(letter) = ends[1 - end].letters.pop_front() {
                    let life = &mut ends[end].lanes[usize::from(letter.lane)].life;
                    if life.hear(&letter).expect("a letter of the protocol") == Heard::Close {
                        life.fail();
                    }
                }
            }
        }
        lost += ends[end].again.len().saturating_sub(before);
    }
    unreachable!("the loop has no end of its own")
}

#[test]
fn every_chunk_takes_effect_once_whatever_fails() {
    let (mut failures, mut lost) = (0, 0);
    for seed in 0..200 {
        let found = run(seed);
        failures += found.0;
        lost += found.1;
    }
    println!("{failures} failures of lanes, {lost} chunks lost and sent again");
    assert!(failures > 1_000 && lost > 1_000, "{failures} failures, {lost} chunks lost");
}
