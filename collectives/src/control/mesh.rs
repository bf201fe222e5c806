//! One rank's view of all ranks of a session: what each message, closed connection and passing
//! moment means, and what is to be told to whom.
//!
//! No I/O, no clock: the driver carries out the [`Action`]s.

use std::collections::VecDeque;

use onepath_topology::{Nanos, Rank, WorldSize};

use super::failure::{DeathCause, Departure, Failure};
use super::heartbeat::PeerMonitor;
use super::membership::{Agreement, Step};
use super::message::Message;
use super::progress::Progress;
use super::rank_set::RankSet;
use super::reason::AbortReason;

/// How long a rank, whose data connection was seen closed, has to explain itself: longer than two
/// heartbeats are apart, so that one that is alive is heard meanwhile.
pub(super) const SUSPECT_GRACE: Nanos = Nanos::secs(2);

/// What is known of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// It has said nothing in this session yet.
    Unknown,
    /// It takes part.
    Joined,
    /// It is dead, or has left.
    Gone,
}

/// What the driver is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send to one peer.
    Send { to: Rank, message: Message },
    /// Close the control connection with a rank, if there is one, after what was sent before has
    /// left.
    HangUp(Rank),
    /// The session has failed (the first failure only).
    Failed(Failure),
    /// A peer is dead.
    Dead { rank: Rank, cause: DeathCause },
    /// A peer has left.
    Departed { rank: Rank, departure: Departure },
    /// A peer has been silent for half the allowed time.
    Late { rank: Rank, silent: Nanos },
    /// A peer told how far it is.
    Progressed { rank: Rank, progress: Progress },
    /// A peer aborted the session.
    Aborted { by: Rank, reason: AbortReason },
    /// The agreement of this epoch is over.
    Decided { epoch: u32, gone: RankSet },
    /// The others go on without this rank.
    Excluded,
}

/// The state machine of one session.
#[derive(Debug)]
pub(super) struct Mesh {
    me: Rank,
    world: WorldSize,
    peers: Vec<Peer>,
    monitor: PeerMonitor,
    agreement: Agreement,
    /// Ranks under suspicion and when their time is over.
    suspects: Vec<(Rank, Nanos)>,
    failure: Option<Failure>,
    /// The dead so far, for peers that join later.
    dead: Vec<(Rank, DeathCause)>,
    /// This rank has left, or is excluded: it judges nobody any more.
    retired: bool,
    actions: VecDeque<Action>,
}

impl Mesh {
    pub(super) fn new(me: Rank, world: WorldSize, silence: Nanos, now: Nanos) -> Self {
        Self {
            me,
            world,
            peers: vec![Peer::Unknown; world.get()],
            monitor: PeerMonitor::new(world, silence, now),
            agreement: Agreement::new(me, world),
            suspects: Vec::new(),
            failure: None,
            dead: Vec::new(),
            retired: false,
            actions: VecDeque::new(),
        }
    }

    /// What is to be done, oldest first.
    pub(super) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::tick`] wants to be called next.
    pub(super) fn next_tick(&self) -> Nanos {
        let suspects = self.suspects.iter().map(|&(_, until)| until);
        suspects.fold(self.monitor.next_tick(), Nanos::min)
    }

    pub(super) fn would_judge(&self, now: Nanos) -> bool {
        self.monitor.would_judge(now) || self.suspects.iter().any(|&(_, until)| until <= now)
    }

    pub(super) fn is_joined(&self, rank: Rank) -> bool {
        self.peers[rank.index()] == Peer::Joined
    }

    /// Dead or departed, as far as this rank or a view that it was told knows.
    pub(super) fn is_gone(&self, rank: Rank) -> bool {
        self.peers[rank.index()] == Peer::Gone || self.agreement.is_gone(rank)
    }

    /// Peers that are not gone and have not joined.
    pub(super) fn missing(&self) -> impl Iterator<Item = Rank> + '_ {
        let absent = |&rank: &Rank| {
            rank != self.me && !self.is_gone(rank) && self.peers[rank.index()] == Peer::Unknown
        };
        self.world.ranks().filter(absent)
    }

    /// Peers that are not gone and have not answered in the agreement that runs.
    pub(super) fn unanswered(&self) -> Vec<Rank> {
        self.agreement.unanswered()
    }

    pub(super) const fn is_agreeing(&self) -> bool {
        self.agreement.is_running()
    }

    pub(super) const fn is_retired(&self) -> bool {
        self.retired
    }

    /// Begins the next agreement; the one before must be decided.
    pub(super) fn begin_agreement(&mut self) {
        self.agreement.begin();
        self.drain_agreement();
    }

    /// A peer has joined: the first message on its connection. It is told the deaths before it.
    pub(super) fn on_joined(&mut self, peer: Rank, now: Nanos) {
        if self.retired || self.peers[peer.index()] != Peer::Unknown {
            return;
        }
        self.peers[peer.index()] = Peer::Joined;
        self.monitor.watch(peer, now);
        for (rank, cause) in self.dead.clone() {
            self.send(peer, Message::Dead { rank, cause });
        }
    }

    /// A message of a peer that has joined.
    pub(super) fn on_message(&mut self, from: Rank, message: Message, now: Nanos) {
        if self.retired || !self.is_joined(from) {
            return;
        }
        self.monitor.heard(from, now);
        match message {
            Message::Joined { .. } => {}
            Message::Heartbeat(progress) => {
                self.actions.push_back(Action::Progressed { rank: from, progress });
            }
            Message::Dead { rank, cause } => self.declare(rank, cause),
            Message::Abort(reason) => {
                let by = from;
                self.actions.push_back(Action::Aborted { by, reason: reason.clone() });
                self.fail(Failure::Aborted { by, reason });
            }
            Message::Goodbye(departure) => self.on_goodbye(from, departure),
            Message::Ballot(ballot) => {
                self.agreement.on_ballot(from, &ballot);
                self.drain_agreement();
            }
        }
    }

    /// The control connection with a peer closed, or carried what is no message.
    pub(super) fn on_closed(&mut self, rank: Rank) {
        if self.is_joined(rank) {
            self.declare(rank, DeathCause::Closed);
        }
    }

    /// A rank is dead; whoever takes part is told.
    pub(super) fn declare(&mut self, rank: Rank, cause: DeathCause) {
        if rank == self.me {
            return self.exclude(cause);
        }
        if self.retired || self.peers[rank.index()] == Peer::Gone {
            return;
        }
        self.dead.push((rank, cause));
        self.actions.push_back(Action::Dead { rank, cause });
        self.fail(Failure::Dead { rank, cause });
        // The rank itself is told too: if it is alive after all, it learns that it is excluded.
        self.tell_joined(&Message::Dead { rank, cause });
        self.forget(rank);
        self.actions.push_back(Action::HangUp(rank));
        self.agreement.on_gone(rank);
        self.drain_agreement();
    }

    /// The data path saw a connection of `rank` close. If that is because it died, its control
    /// connection closes too, or it is heard no more; if it is alive, only the connection broke.
    pub(super) fn suspect(&mut self, rank: Rank, now: Nanos) {
        let known = self.suspects.iter().any(|&(suspect, _)| suspect == rank);
        if !known && !self.retired && self.is_joined(rank) {
            self.suspects.push((rank, now + SUSPECT_GRACE));
        }
    }

    /// This rank aborts the session.
    pub(super) fn abort(&mut self, reason: AbortReason) {
        if !self.retired {
            self.fail(Failure::Aborted { by: self.me, reason: reason.clone() });
            self.tell_joined(&Message::Abort(reason));
        }
    }

    /// This rank leaves, and gives its failure as the reason if it has one.
    pub(super) fn leave(&mut self) {
        if self.retired {
            return;
        }
        self.tell_joined(&Message::Goodbye(Departure { reason: self.failure.clone() }));
        self.retire();
    }

    /// Time passes: sends heartbeats that are due and judges the silent.
    pub(super) fn tick(&mut self, progress: Progress, now: Nanos) {
        if self.monitor.is_overslept(now) {
            self.suspects.iter_mut().for_each(|(_, until)| *until = now + SUSPECT_GRACE);
        }
        let tick = self.monitor.tick(now);
        if self.retired {
            return;
        }
        if tick.send {
            self.tell_joined(&Message::Heartbeat(progress));
        }
        for (rank, silent) in tick.late {
            self.actions.push_back(Action::Late { rank, silent });
        }
        for (rank, silent) in tick.dead {
            self.declare(rank, DeathCause::Silent { span: silent.into() });
        }
        let (due, waiting) = self.suspects.iter().partition(|&&(_, until)| until <= now);
        self.suspects = waiting;
        let due: Vec<(Rank, Nanos)> = due;
        for (rank, until) in due {
            if self.monitor.heard_after(rank, Nanos(until.0 - SUSPECT_GRACE.0)) {
                self.abort(AbortReason::Unreachable { rank });
            } else {
                self.declare(rank, DeathCause::Closed);
            }
        }
    }

    fn on_goodbye(&mut self, from: Rank, departure: Departure) {
        if let Some(Failure::Dead { rank, cause }) = departure.reason {
            // Whoever was excluded left because of itself: to us it is as dead as to the others.
            self.declare(rank, cause);
            if rank == from || self.retired {
                return;
            }
        }
        self.actions.push_back(Action::Departed { rank: from, departure });
        self.forget(from);
        self.actions.push_back(Action::HangUp(from));
        self.agreement.on_gone(from);
        self.drain_agreement();
    }

    /// The others take this rank for dead, and say why. Whoever does not know it yet is told, for
    /// it would see a closed connection and name the wrong cause.
    fn exclude(&mut self, cause: DeathCause) {
        if !self.retired {
            let reason = Some(Failure::Dead { rank: self.me, cause });
            self.tell_joined(&Message::Goodbye(Departure { reason }));
            self.fail(Failure::Dead { rank: self.me, cause: DeathCause::Excluded });
            self.actions.push_back(Action::Excluded);
            self.retire();
        }
    }

    /// Hangs up on all peers.
    fn retire(&mut self) {
        self.retired = true;
        for rank in self.world.ranks() {
            self.forget(rank);
            self.actions.push_back(Action::HangUp(rank));
        }
    }

    fn forget(&mut self, rank: Rank) {
        self.peers[rank.index()] = Peer::Gone;
        self.monitor.forget(rank);
        self.suspects.retain(|&(suspect, _)| suspect != rank);
    }

    fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure.clone());
            self.actions.push_back(Action::Failed(failure));
        }
    }

    fn send(&mut self, to: Rank, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }

    fn tell_joined(&mut self, message: &Message) {
        for to in self.world.ranks() {
            if self.is_joined(to) {
                self.send(to, message.clone());
            }
        }
    }

    fn drain_agreement(&mut self) {
        while let Some(step) = self.agreement.poll() {
            match step {
                Step::Tell(ballot) => self.tell_joined(&Message::Ballot(ballot)),
                Step::Excluded => self.exclude(DeathCause::Excluded),
                Step::Decided(gone) => {
                    let epoch = self.agreement.epoch();
                    self.actions.push_back(Action::Decided { epoch, gone });
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
