//! Flows between ranks over reliable-connected queue pairs.
//!
//! To each peer there are several queue pairs, each with a flow label of its own and so a path of
//! its own: a **lane**. A chunk is a header and a payload in one RDMA WRITE with immediate, into a
//! slot of the receiver's memory for which this rank has the credit; the receiver places or
//! combines it straight from the slot, in any order, and gives the slot back.
//!
//! ```text
//!   caller's buffer ──copy──▶ staging slot ──RDMA WRITE──▶ slot ──combine──▶ receiver's buffer
//!                                  ▲                         │
//!                                  └───────── credit ────────┘
//! ```
//!
//! - **Completion.** A send is complete when it is copied: the staging slot is kept until its
//!   credit comes, and whatever must be sent again is sent from there.
//! - **Registered memory** is not copied: a payload that lies in it is read by the device from
//!   where it is, behind a header in the staging slot. Such a send is complete when its request
//!   is: the peer's device has it all and the own one has let go. See below.
//! - **Assignment.** Chunk after chunk of a flow goes to the lanes in turn, so that each carries
//!   the same bytes within one chunk; with paths and an assigner, as that says. A lane that has
//!   run dry takes chunks of one that is full ([`crate::tcp::pinned::Sharing`]). [`Spread`] has
//!   the other policies, for comparison.
//! - **Failure of a path.** A lane whose queue pair fails is closed at both ends, what did not
//!   arrive goes over the others, and a new queue pair takes its place (`life` has the picture).
//! - **Order** keeps this free from deadlock: `queue` has the argument.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what can be chosen |
//! | [`hello`] | how ranks tell each other of their queue pairs |
//! | `setup` | from options and addresses to a transport |
//! | `labels` | the flow label of each lane, by path where paths are known |
//! | `memory` | slots in registered memory (`unsafe`) |
//! | [`word`] | immediates |
//! | `registry` | callers' memory that the device may read |
//! | `queue` | what waits for a peer, and in what order it may leave |
//! | `outbox`, `inbox` | the slots of a lane on the side that sends, and on the one that receives |
//! | `lane` | a queue pair and its requests |
//! | `peer` | all lanes to a peer: sending and receiving |
//! | `life`, `replace` | closing a lane and opening it again: the states, and the deeds |
//! | [`letter`], `control` | what is said about that, and the connection for it |
//! | `problem` | what can go wrong |
//! | `counters` | what went over each lane |
//!
//! # Sending from a caller's memory
//!
//! A slot is **lent** from the post of such a request until the device will not read the memory any
//! more and nothing will be sent from it again. Then the table is told that the chunk is sent:
//!
//! - The request has completed: the peer's device has acknowledged it, so the peer will count it
//!   among the messages that arrived, whatever becomes of the queue pair. A credit does not end a
//!   loan, although it says as much: the own device may still repeat packets whose acknowledgement
//!   was lost, and would find the registration gone.
//! - The queue pair has ended, all its completions seen, and the peer says that it had arrived. If
//!   it had not, the chunk stays lent and is sent again from the same memory.
//! - The peer has left, so nobody acknowledges any more: its queue pairs are closed and drained.
//!   As with a copy, the end of a send says that the memory may be used, not that all was read.
//! - `cancel` closes, drains and destroys every queue pair before it returns.
//!
//! **Overwriting.** A later receive of the same operation may write what a chunk was sent from. It
//! is gated on that send, or it cannot arrive before the peer has used the chunk, since its bytes
//! were computed from it (`onepath_collectives::algorithm`). With a gate nothing is written while
//! the slot is lent. Without one, the slot may be lent still, when the completion is late; but the
//! peer has placed the chunk, so it is among those that arrived and is never sent again. What the
//! device may read then are repeats of packets that the peer's device has, and drops by their
//! numbers. So no byte that was changed is ever used. Pinned TCP, which sends again from the
//! caller's memory as well, rests on the same.
//!
//! A stranger has no part in this: addresses and keys are exchanged over authenticated connections
//! of the session alone, and a queue pair takes packets of the one that it was connected to.
mod control;
mod counters;
#[cfg(test)]
mod exactly_once_tests;
pub mod hello;
mod inbox;
mod labels;
mod lane;
pub mod letter;
mod life;
mod memory;
mod options;
#[cfg(test)]
mod order_tests;
mod outbox;
mod peer;
mod problem;
mod queue;
mod registry;
mod replace;
mod setup;
pub mod word;

use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank, WorldSize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::flow::{FlowTable, Slot};
use crate::plan::Plan;
use crate::poll_set::emptied;
use crate::proto::Random;
use crate::share::{self, AssignFlows, Cut};
use crate::verbs::{
    AckTimeout, Completion, CompletionQueue, Context, DeviceEvent, EventChannel, EventOn,
    MemoryRegionError, PortNumber, QueuePairFault,
};
use crate::{Activity, Transport, TransportError};

pub use counters::{VerbsCount, VerbsCounters};
pub use hello::Hello;
pub use life::GenerationError;
pub use options::{MAX_LANES, MAX_SLOTS, Spread, UnknownSpread, VerbsOptionError, VerbsOptions};
pub use outbox::SlotError;
pub use problem::{LaneDeath, LaneName, Operation, VerbsProblem};
pub use registry::Registration;
pub use setup::{VerbsPeer, VerbsSetup, VerbsSetupError};

use lane::{Maker, RequestId};
use peer::Peer;
use queue::Segment;
use registry::Registry;

/// How often lanes, letters and the device's events are looked at.
const TICK: Nanos = Nanos::millis(10);

/// How much time a pause between two polls counts for at most: a caller that computes for seconds
/// must not find its peers cut off afterwards.
const LONGEST_GAP: Nanos = Nanos::millis(20);

/// Completions of one poll, in batches, so that sending gets its turn.
const BATCHES_A_POLL: usize = 4;

/// How long cancelling waits for the device to let go of everything.
const LET_GO: Duration = Duration::from_secs(2);

/// How long dropping the transport waits for the arrival of what was copied, in all.
const LONGEST_LAST_WAIT: Duration = Duration::from_secs(10);

/// How long it waits while nothing moves: until a device has found a path dead ([`AckTimeout`] says
/// that it may take four times as long as it is told), and a second for the peer to say what is to
/// be sent again over another.
fn last_wait(ack_timeout: AckTimeout, retries: u8) -> Duration {
    let until_dead = ack_timeout.duration().saturating_mul(4 * (u32::from(retries) + 1));
    until_dead.saturating_add(Duration::from_secs(1)).min(LONGEST_LAST_WAIT)
}

/// What all peers of a transport share.
#[derive(Debug)]
struct Shared {
    maker: Maker,
    queue: CompletionQueue,
    channel: EventChannel,
    context: Context,
    port: PortNumber,
    /// Of first packets, which nobody should guess.
    random: Random,
    now: Nanos,
    /// The device has said that its port carries no data.
    port_down: bool,
    /// When letters without an answer are said again, and whether any was.
    remind: Nanos,
    reminded: bool,
    registry: Registry,
}

/// Queue pairs to any number of peers.
#[derive(Debug)]
pub struct VerbsTransport {
    me: Rank,
    // Peers go first: their queue pairs report to the queue.
    peers: Vec<Peer>,
    shared: Shared,
    /// Index in `peers` by rank.
    by_rank: Vec<Option<u32>>,
    assigner: Option<Arc<dyn AssignFlows>>,
    chunk_bytes: usize,
    counters: VerbsCounters,
    /// Operations so far.
    posted: u64,
    /// Counts changes of the set of open lanes.
    epoch: u64,
    cuts: Vec<Cut>,
    /// [`FlowTable::changes`] when what is held was last looked through.
    changes: u64,
    /// Completions that were found while going to sleep.
    early: Vec<Completion>,
    /// The queue was asked for an event that has not come.
    armed: bool,
    polled: Instant,
    next_tick: Nanos,
    /// Empty between waits; kept for its memory.
    poll_set: Vec<PollFd<'static>>,
}

impl VerbsTransport {
    fn assemble(
        me: Rank,
        shared: Shared,
        peers: Vec<Peer>,
        by_rank: Vec<Option<u32>>,
        assigner: Option<Arc<dyn AssignFlows>>,
        chunk_bytes: usize,
    ) -> Self {
        let lanes = peers.iter().flat_map(|peer| &peer.lanes);
        Self {
            counters: VerbsCounters::new(lanes.map(|lane| Arc::clone(&lane.cell)).collect()),
            poll_set: Vec::with_capacity(peers.len() + 2),
            me,
            peers,
            shared,
            by_rank,
            assigner,
            chunk_bytes,
            posted: 0,
            epoch: 0,
            cuts: Vec::new(),
            changes: 0,
            early: Vec::with_capacity(CompletionQueue::BATCH),
            armed: false,
            polled: Instant::now(),
            next_tick: Nanos(0),
        }
    }

    /// The largest payload of a chunk: what all ranks of the world can receive.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// What went over each lane, to be read at any time by anybody.
    pub fn counters(&self) -> VerbsCounters {
        self.counters.clone()
    }

    /// Counts the time since the last poll, but not that in which nobody polled.
    fn advance(&mut self) {
        let now = Instant::now();
        let gap = Nanos::from(now - self.polled).min(LONGEST_GAP);
        self.shared.now = self.shared.now + gap;
        self.polled = now;
    }

    /// An error that is of the own device.
    fn own(&self, problem: impl Into<VerbsProblem>) -> TransportError {
        TransportError::Verbs { peer: self.me, problem: Box::new(problem.into()) }
    }

    /// Takes in completions; whether there were any.
    fn receive(&mut self, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut any = false;
        for _ in 0..BATCHES_A_POLL {
            if self.early.is_empty() {
                let found = self.shared.queue.poll().map(|found| self.early.extend(found));
                found.map_err(|problem| self.own(problem))?;
            }
            let count = self.early.len();
            if count == 0 {
                break;
            }
            any = true;
            for at in 0..count {
                let completion = self.early[at];
                let id = RequestId::unpack(completion.id);
                if let Some(peer) = self.peers.get_mut(usize::from(id.peer)) {
                    peer.complete(id, &completion, table, &mut self.shared)?;
                }
            }
            self.early.clear();
            if count < CompletionQueue::BATCH {
                break;
            }
        }
        if any {
            self.peers.iter_mut().try_for_each(Peer::replenish)?;
        }
        Ok(any)
    }

    /// Finds places for what is held, when the table has changed since the last look.
    fn look(&mut self, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut any = false;
        while table.changes() != self.changes {
            self.changes = table.changes();
            for peer in &mut self.peers {
                any |= peer.look(table)?;
            }
        }
        Ok(any)
    }

    fn tick(&mut self, table: &FlowTable) -> Result<(), TransportError> {
        self.next_tick = self.shared.now + TICK;
        self.device_events()?;
        for peer in &mut self.peers {
            peer.tick(table, &mut self.shared)?;
        }
        if std::mem::take(&mut self.shared.reminded) {
            self.shared.remind = self.shared.now + Nanos::secs(1);
        }
        Ok(())
    }

    fn device_events(&mut self) -> Result<(), TransportError> {
        loop {
            let event = self.shared.context.next_event();
            let Some(event) = event.map_err(|problem| self.own(problem))? else { return Ok(()) };
            let device = || self.shared.context.name().to_owned();
            let own = |port: u8| port == self.shared.port.get();
            match event {
                DeviceEvent::QueuePair { number, fault } => self.fault(number, fault)?,
                DeviceEvent::CompletionQueue => {
                    return Err(self.own(VerbsProblem::Overrun { device: device() }));
                }
                DeviceEvent::DeviceFatal => {
                    return Err(self.own(VerbsProblem::DeviceGone { device: device() }));
                }
                DeviceEvent::PortDown { port } if own(port) => self.shared.port_down = true,
                DeviceEvent::PortActive { port } if own(port) => self.shared.port_down = false,
                DeviceEvent::PortDown { .. }
                | DeviceEvent::PortActive { .. }
                | DeviceEvent::GidChange { .. }
                | DeviceEvent::Other(_) => {}
            }
        }
    }

    /// The device has broken a queue pair. What a peer must not do ends the transport.
    fn fault(&mut self, number: u32, fault: QueuePairFault) -> Result<(), TransportError> {
        let now = self.shared.now;
        for peer in &mut self.peers {
            let is_it = |lane: &lane::Lane| lane.pair_number().get() == number;
            let Some(at) = peer.lanes.iter().position(is_it) else { continue };
            if fault == QueuePairFault::Fatal {
                peer.close(at, LaneDeath::Event, now);
                return Ok(());
            }
            let lane = peer.lanes[at].name();
            let device = self.shared.context.name().to_owned();
            return Err(peer.error(VerbsProblem::Fault { device, lane, fault }));
        }
        // Of a queue pair that was replaced.
        Ok(())
    }

    /// Asks for an event at the next completion, unless there is one already.
    fn arm(&mut self) -> bool {
        while let Ok(Some(_)) = self.shared.channel.next_event() {
            self.armed = false;
        }
        if self.armed {
            return true;
        }
        self.armed = self.shared.queue.request_event(EventOn::Any).is_ok();
        // What came between the last look and the request makes no event.
        match self.shared.queue.poll() {
            Ok(found) => {
                self.early.extend(found);
                self.armed && self.early.is_empty()
            }
            // The next poll says what is wrong.
            Err(_) => false,
        }
    }

    /// Sleeps until there are completions, a letter, or an event of the device.
    fn sleep(&mut self, limit: Duration) {
        let mut set: Vec<PollFd<'_>> = std::mem::take(&mut self.poll_set);
        set.push(PollFd::from_borrowed_fd(self.shared.channel.as_fd(), PollFlags::IN));
        set.push(PollFd::from_borrowed_fd(self.shared.context.as_fd(), PollFlags::IN));
        for peer in self.peers.iter().filter(|peer| !peer.control.has_ended()) {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, peer.control.is_busy());
            set.push(PollFd::from_borrowed_fd(peer.control.as_fd(), flags));
        }
        let limit = Timespec::try_from(limit).ok();
        // An interrupted or failed wait is an early return, which the contract allows.
        let _ = poll(&mut set, limit.as_ref());
        // Letters and events are looked at in the next poll.
        if set.iter().skip(1).any(|file| !file.revents().is_empty()) {
            self.next_tick = Nanos(0);
        }
        self.poll_set = emptied(set);
    }

    /// Waits for a moment until what was copied has arrived: nobody else can send it again.
    fn linger(&mut self) {
        let (start, mut moved) = (Instant::now(), Instant::now());
        let idle = last_wait(self.shared.maker.ack_timeout, self.shared.maker.retries);
        // What arrives now was complete before, or is of a call that this rank does not make.
        let world = WorldSize::new(self.by_rank.len() as u64).unwrap_or(WorldSize::ONE);
        let mut table = FlowTable::new(world);
        let unsure = |peer: &Peer| peer.left.is_none() && peer.has_work();
        for peer in &mut self.peers {
            peer.ask_for_completions();
        }
        while self.peers.iter().any(unsure)
            && moved.elapsed() < idle
            && start.elapsed() < LONGEST_LAST_WAIT
        {
            match self.step(&mut table) {
                Ok(Activity::Moved) => moved = Instant::now(),
                Ok(Activity::Idle) => {
                    if self.arm() {
                        self.sleep(Duration::from_millis(10));
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Tells the table of loans that have ended; whether there were any.
    fn settle(&mut self, table: &mut FlowTable) -> bool {
        let mut any = false;
        for peer in &mut self.peers {
            any |= peer.settle(table);
        }
        any
    }

    fn step(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        self.advance();
        let expected = |peers: &[Peer], table: &FlowTable| -> u32 {
            peers.iter().map(|peer| table.expected_flows(peer.rank)).sum()
        };
        let before = expected(&self.peers, table);
        let received = self.receive(table)?;
        self.settle(table);
        let placed = self.look(table)?;
        let mut sent = false;
        for peer in &mut self.peers {
            sent |= peer.send(table, &self.shared.registry)?;
        }
        let moved = received || placed || sent;
        // An operation may be complete, so that the next poll is far away.
        let all = !moved || expected(&self.peers, table) < before;
        self.peers.iter_mut().try_for_each(|peer| peer.give_credits(all))?;
        if self.shared.now >= self.next_tick {
            self.tick(table)?;
        }
        // A tick may have ended loans as well.
        let moved = self.settle(table) || moved;
        Ok(if moved { Activity::Moved } else { Activity::Idle })
    }
}

impl crate::sealed::Sealed for VerbsTransport {}

impl Transport for VerbsTransport {
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        let Some(assigner) = &self.assigner else { return };
        for peer in &mut self.peers {
            self.epoch += u64::from(peer.recount());
        }
        let paths = |rank: Rank| {
            let at = self.by_rank.get(rank.index()).copied().flatten()?;
            let peer = self.peers.get(at as usize)?;
            Some((peer.leaf, &peer.live[..]))
        };
        share::deal(assigner.as_ref(), (plan, self.epoch), chunk_bytes, &mut self.cuts, paths);
    }

    fn post(&mut self, table: &FlowTable, slot: Slot) {
        let operation = self.posted;
        self.posted += 1;
        let stride = table.chunk_bytes(slot);
        let shares = table.shares(slot);
        for (send, rank) in table.sends(slot) {
            let Some(at) = self.by_rank.get(rank.index()).copied().flatten() else { continue };
            let end = table.send_bytes(slot, send);
            let flow = Segment { slot, operation, send, offset: 0, stride, end };
            let from = shares.partition_point(|share| share.send < send);
            let own = shares[from..].iter().take_while(|share| share.send == send);
            self.peers[at as usize].deal(flow, own.peekable());
        }
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        self.step(table)
    }

    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        // What changed since the last look may have opened a gate.
        if table.changes() != self.changes || !self.arm() {
            return;
        }
        let waits = |peer: &Peer| peer.is_ill() || (peer.left.is_some() && peer.has_loans());
        let ill = self.peers.iter().any(waits);
        self.sleep(if ill { limit.min(TICK.into()) } else { limit });
    }

    unsafe fn register(
        &mut self,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<Option<Registration>, MemoryRegionError> {
        let domain = &self.shared.maker.domain;
        // SAFETY: the contract is the same.
        unsafe { self.shared.registry.register(domain, start, bytes) }.map(Some)
    }

    fn cancel(&mut self) {
        let now = self.shared.now;
        for peer in &mut self.peers {
            for at in 0..peer.lanes.len() {
                peer.close(at, LaneDeath::Told, now);
            }
        }
        let start = Instant::now();
        let drained =
            |peers: &[Peer]| peers.iter().flat_map(|peer| &peer.lanes).all(lane::Lane::is_drained);
        while !drained(&self.peers) && start.elapsed() < LET_GO {
            if self.early.is_empty() && self.arm() {
                self.sleep(Duration::from_millis(1));
            }
            let found = self.shared.queue.poll().map(|found| self.early.extend(found));
            for completion in self.early.drain(..) {
                let id = RequestId::unpack(completion.id);
                if let Some(peer) = self.peers.get_mut(usize::from(id.peer)) {
                    peer.discard(id, &completion);
                }
            }
            if found.is_err() {
                break;
            }
        }
        // Destroying a queue pair ends what is under way as well, where a device gives no word.
        self.peers.clear();
        self.by_rank.fill(None);
    }
}

impl Drop for VerbsTransport {
    fn drop(&mut self) {
        self.linger();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_wait_is_longer_than_a_device_takes_to_find_a_path_dead() {
        let usual = VerbsOptions::default();
        let wait = last_wait(usual.timeout(), usual.retries);
        // 67 ms, sent 7 times, each waited for four times as long: 1.9 s.
        assert!(wait > 28 * usual.timeout().duration(), "{wait:?}");
        assert!(wait < Duration::from_secs(4), "{wait:?}");
        assert_eq!(last_wait(AckTimeout::LONGEST, 6), LONGEST_LAST_WAIT);
    }
}
