//! Closing a lane, connecting the next queue pair in its place, and when to give up: what
//! [`super::life`] says, done with the device.

use onepath_topology::Nanos;

use crate::TransportError;
use crate::flow::FlowTable;
use crate::verbs::{
    AddressHandle, Packet, Payload, QueuePairError, QueuePairNumber, Route, SendOperation,
};

use super::Shared;
use super::letter::{Letter, Matter};
use super::life::{Closed, Heard, Stage};
use super::memory::LETTERS_A_LANE;
use super::outbox::{What, members};
use super::peer::Peer;
use super::problem::{LaneDeath, VerbsProblem};
use super::queue::Lost;
use super::word::Word;

/// Before a queue pair that follows one that failed at once is tried out; doubled each time.
const FIRST_PAUSE: Nanos = Nanos::millis(50);
const LONGEST_PAUSE: Nanos = Nanos::secs(1);

/// How long a peer may have no open lane before it counts as cut off.
const CUT_OFF_AFTER: Nanos = Nanos::secs(30);

/// How long a peer may take to say what arrived over a lane that has failed.
const ANSWER_AFTER: Nanos = Nanos::secs(60);

/// How often a letter without an answer is said again.
const SAY_AGAIN: Nanos = Nanos::secs(1);

/// How long a peer that has closed its connection is waited for: what it sent before is in memory
/// by then.
const LEFT_AFTER: Nanos = Nanos::millis(50);

fn pause(failures: u32) -> Nanos {
    match failures {
        0 | 1 => Nanos(0),
        more => Nanos((FIRST_PAUSE.0 << (more - 2).min(10)).min(LONGEST_PAUSE.0)),
    }
}

fn place(letter: &Letter) -> u8 {
    let kind = match letter.matter {
        Matter::Closed { .. } => 0,
        Matter::Ready => 1,
    };
    letter.lane * LETTERS_A_LANE as u8 + kind
}

impl Peer {
    /// Takes a letter in.
    pub(super) fn hear(
        &mut self,
        letter: &Letter,
        shared: &mut Shared,
    ) -> Result<(), TransportError> {
        let at = usize::from(letter.lane);
        if at >= self.lanes.len() {
            let found = u32::from(letter.lane);
            let most = self.lanes.len() as u32 - 1;
            let wrong = super::letter::LetterError::Field { field: "lane", found, most };
            return Err(self.error(wrong));
        }
        match self.lanes[at].life.hear(letter).map_err(|problem| self.error(problem))? {
            Heard::Nothing => {}
            Heard::Close => self.close(at, LaneDeath::Told, shared.now),
            Heard::Go => self.advance(at, shared)?,
        }
        Ok(())
    }

    /// Takes a lane as far in its life as it gets.
    pub(super) fn advance(&mut self, at: usize, shared: &mut Shared) -> Result<(), TransportError> {
        let lane = &self.lanes[at];
        // Nothing waits for the end of one that was never connected, and the next one may fail at
        // once as well.
        let unborn = lane.cause == LaneDeath::NotConnected;
        let wait = if unborn { pause(lane.failures) } else { Nanos(0) };
        if lane.life.may_tell() && lane.is_drained() && shared.now >= lane.since + wait {
            self.tell(at, shared)?;
        }
        if let Some(closed) = self.lanes[at].life.next() {
            self.join(at, closed, shared)?;
        }
        let lane = &mut self.lanes[at];
        let due = lane.since + pause(lane.failures);
        if lane.life.may_prove() && shared.now >= due {
            let target = self.destination.region.span(0, 0);
            let target = target.map_err(|problem| self.error(problem))?;
            let nothing = Payload::Registered(&[]);
            let operation = SendOperation::Write(target);
            let lane = &mut self.lanes[at];
            match lane.post(operation, nothing, What::Silent, true) {
                Ok(number) => {
                    lane.probe = Some(number);
                    lane.life.prove();
                }
                Err(source) => {
                    let lane = lane.name();
                    return Err(self.error(VerbsProblem::Post { lane, source }));
                }
            }
        }
        Ok(())
    }

    /// Everything of a queue pair in error was seen: says what arrived, and what comes next.
    fn tell(&mut self, at: usize, shared: &mut Shared) -> Result<(), TransportError> {
        let made = shared.maker.pair(&shared.queue);
        let lane = &mut self.lanes[at];
        let pair = match made {
            Ok(pair) => pair,
            Err(source) => {
                let lane = lane.name();
                return Err(self.error(VerbsProblem::Replace { lane, source }));
            }
        };
        lane.replace(pair, Packet::new(shared.random.bits() as u32));
        lane.life.told();
        lane.since = shared.now;
        let letter = self.closed(at);
        self.say(&letter);
        Ok(())
    }

    fn closed(&self, at: usize) -> Letter {
        let lane = &self.lanes[at];
        Letter {
            lane: at as u8,
            generation: lane.life.generation(),
            matter: Matter::Closed {
                received: lane.inbox.received(),
                queue_pair: lane.pair_number().get(),
                first: lane.first.get(),
            },
        }
    }

    /// Both sides have told each other: sends again what was lost, and connects the next queue
    /// pair.
    fn join(
        &mut self,
        at: usize,
        closed: Closed,
        shared: &mut Shared,
    ) -> Result<(), TransportError> {
        let open = self.lanes.iter().filter(|lane| lane.life.is_open());
        let open: Vec<_> = open.map(|lane| (lane.number, lane.label)).collect();
        let lane = &mut self.lanes[at];
        let ended = lane.out.close(closed.received);
        let name = lane.name();
        let ended =
            ended.map_err(|problem| self.error(VerbsProblem::Slot { lane: name, problem }))?;
        let lane = &mut self.lanes[at];
        lane.inbox.give_again(ended.credits);
        lane.inbox.begin();
        let out = &lane.out;
        let lost = |slot| Lost { order: out.order(slot), lane: at as u8, slot };
        self.queue.lose(members(ended.lost).map(lost));
        self.end_loans(at, ended.returned);
        let lane = &mut self.lanes[at];
        lane.life.join();
        lane.since = shared.now;
        lane.label = self.labels.next(at as u8, lane.life.generation(), &open);
        lane.cell.set_label(lane.label, self.labels.path(at as u8));
        if self.connect(at, closed, shared).is_err() {
            // The next one may do better, on another label.
            self.close(at, LaneDeath::NotConnected, shared.now);
            return Ok(());
        }
        if let Err(source) = self.lanes[at].replenish() {
            return Err(self.error(VerbsProblem::Post { lane: self.lanes[at].name(), source }));
        }
        let letter = self.ready(at);
        self.say(&letter);
        Ok(())
    }

    fn ready(&self, at: usize) -> Letter {
        let generation = self.lanes[at].life.generation();
        Letter { lane: at as u8, generation, matter: Matter::Ready }
    }

    fn connect(
        &mut self,
        at: usize,
        closed: Closed,
        shared: &Shared,
    ) -> Result<(), QueuePairError> {
        let lane = &mut self.lanes[at];
        let mut address: AddressHandle = self.destination.address;
        if let Route::Roce(route) = &mut address.route {
            route.flow_label = lane.label;
        }
        // Numbers of letters were checked to have 24 bits.
        let number = QueuePairNumber::new(closed.queue_pair & 0xff_ffff);
        let Some(number) = number else { return Ok(()) };
        let theirs = (number, Packet::new(closed.first));
        lane.connect(&shared.maker, address, self.destination.mtu, theirs)
    }

    /// Something got through over a new queue pair.
    pub(super) fn proved(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        lane.probe = None;
        lane.life.proved();
        super::counters::LaneCell::add(&lane.cell.replacements, 1);
        self.changed = true;
    }

    /// Says a letter twice: over the connection of the session, and over another lane. Whichever
    /// is on a good path brings it soon; the second one changes nothing.
    fn say(&mut self, letter: &Letter) {
        self.control.send(letter);
        let bytes = letter.encode();
        let subject = usize::from(letter.lane);
        let fits =
            |lane: &super::lane::Lane| lane.has_any_room() && lane.inline_bytes() >= bytes.len();
        let other = (0..self.lanes.len()).find(|&at| at != subject && fits(&self.lanes[at]));
        let Some(at) = other else { return };
        let place = place(letter);
        let start = self.layout.letter(place) as u64;
        let Ok(target) = self.destination.region.span(start, bytes.len() as u64) else { return };
        let word = Word::Letter { place }.encode();
        let operation = SendOperation::WriteWithImmediate(target, word);
        // One that is not posted comes over the connection.
        let _ = self.lanes[at].post(operation, Payload::Inline(&bytes), What::Letter, false);
    }

    /// Reads letters and looks after lanes that are not open.
    pub(super) fn tick(
        &mut self,
        table: &FlowTable,
        shared: &mut Shared,
    ) -> Result<(), TransportError> {
        self.control.flush();
        while let Some(letter) = self.control.receive() {
            let letter = Letter::decode(&letter).map_err(|problem| self.error(problem))?;
            self.hear(&letter, shared)?;
        }
        if self.control.has_ended() && self.left.is_none() {
            self.left = Some(shared.now);
        }
        if let Some(left) = self.left {
            let needed = !self.queue.is_empty() || table.expects(self.rank);
            if shared.now.since(left) >= LEFT_AFTER {
                if needed {
                    return Err(TransportError::Closed { peer: self.rank });
                }
                self.take_back(shared.now);
            }
            return Ok(());
        }
        for at in 0..self.lanes.len() {
            if !self.lanes[at].life.is_open() {
                self.advance(at, shared)?;
                self.remind(at, shared)?;
            }
        }
        self.check_cut_off(table, shared)
    }

    /// Says again what was not answered.
    fn remind(&mut self, at: usize, shared: &mut Shared) -> Result<(), TransportError> {
        let lane = &self.lanes[at];
        let waited = shared.now.since(lane.since);
        let stage = lane.life.stage();
        let unanswered = matches!(stage, Stage::Closing | Stage::Told) && !lane.out.is_empty();
        if waited >= ANSWER_AFTER && unanswered {
            let (lane, cause) = (lane.name(), lane.cause);
            let seconds = waited.0 / Nanos::secs(1).0;
            return Err(self.error(VerbsProblem::NoAnswer { lane, cause, seconds }));
        }
        let letter = match stage {
            Stage::Told => self.closed(at),
            Stage::Joined if !lane.life.may_prove() => self.ready(at),
            _ => return Ok(()),
        };
        if waited >= SAY_AGAIN && shared.now >= shared.remind {
            shared.reminded = true;
            self.control.send(&letter);
        }
        Ok(())
    }

    fn check_cut_off(&mut self, table: &FlowTable, shared: &Shared) -> Result<(), TransportError> {
        if self.lanes.iter().any(|lane| lane.life.is_open()) {
            self.cut_off = None;
            return Ok(());
        }
        let since = *self.cut_off.get_or_insert(shared.now);
        let needed = self.has_work() || table.expects(self.rank);
        let silent = shared.now.since(since);
        if !needed || silent < CUT_OFF_AFTER {
            return Ok(());
        }
        let (lane, last) = self.last_death;
        let (seconds, port_down) = (silent.0 / Nanos::secs(1).0, shared.port_down);
        Err(self.error(VerbsProblem::CutOff { lane, last, seconds, port_down }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_replacement_comes_at_once_and_later_ones_after_growing_pauses() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, 99].map(|failures| pause(failures).0 / 1_000_000);
        assert_eq!(pauses, [0, 0, 50, 100, 200, 400, 800, 1_000]);
    }
}
