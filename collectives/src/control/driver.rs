//! The task of one session on the control thread: carries what happens to the [`Mesh`] and what
//! the mesh decides to sockets and handles.

use std::net::SocketAddr;
use std::sync::Arc;

use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::tcp::pinned::Redial;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::failure::{DeathCause, Failure};
use super::handle::{AgreeError, AgreeRequest, Command, Survivors};
use super::hello::Purpose;
use super::link::{Content, Inbound, KeepAlive, Link};
use super::mesh::{Action, Mesh};
use super::message::Message;
use super::opening::{Dialed, Opening};
use super::pinned::Redials;
use super::progress::Progress;
use super::rank_set::RankSet;
use super::session::{Loss, LostRank, SessionError};
use super::shared::Shared;
use super::status::Status;
use super::waiting::Arrival;
use crate::bootstrap::Rejection;

/// How often the parent session is looked at while this one is being opened.
const PARENT_INTERVAL: Nanos = Nanos::millis(10);
/// How long a tick may be put off by messages that keep coming.
const TICK_SLACK: Nanos = Nanos::millis(50);
/// Rounds in which the tasks that read sockets may run before somebody is judged silent: one to
/// see what is readable, one to read it, one to pass it on.
const READ_ROUNDS: usize = 3;

/// Where things come from.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) dialed: mpsc::Receiver<Dialed>,
    pub(super) inbound: mpsc::Receiver<Inbound>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) redials: mpsc::Receiver<Redial>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Driver {
    session: u128,
    me: Rank,
    world: WorldSize,
    shared: Arc<Shared>,
    status: Arc<Status>,
    mesh: Mesh,
    /// What the next heartbeat says, read when the data path was not in the middle of writing it.
    progress: Progress,
    links: Vec<Option<Link>>,
    next_generation: u64,
    inbound: mpsc::Sender<Inbound>,
    keep_alive: KeepAlive,
    origin: Instant,
    opening: Option<Opening>,
    redials: Redials,
    agreeing: Option<AgreeRequest>,
    /// A decision that came after its caller had given up waiting.
    undelivered: Option<Survivors>,
    retired: bool,
}

/// What a driver works for and with.
#[derive(Debug)]
pub(super) struct DriverConfig {
    pub(super) session: u128,
    pub(super) me: Rank,
    pub(super) world: WorldSize,
    pub(super) silence: Nanos,
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Status>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) keep_alive: KeepAlive,
    pub(super) redials: Redials,
}

impl Driver {
    pub(super) fn new(config: DriverConfig, opening: Opening) -> Self {
        let DriverConfig { session, me, world, silence, shared, status, inbound, .. } = config;
        Self {
            session,
            me,
            world,
            shared,
            status,
            mesh: Mesh::new(me, world, silence, Nanos(0)),
            progress: Progress::default(),
            links: world.ranks().map(|_| None).collect(),
            next_generation: 0,
            inbound,
            keep_alive: config.keep_alive,
            origin: Instant::now(),
            opening: Some(opening),
            redials: config.redials,
            agreeing: None,
            undelivered: None,
            retired: false,
        }
    }

    /// Runs until the rank leaves or is excluded.
    pub(super) async fn run(mut self, mut sources: Sources) {
        if let Some(opening) = &mut self.opening {
            opening.dial_all(&self.shared);
        }
        loop {
            self.settle();
            if self.retired {
                break;
            }
            let wake = self.next_wake();
            if self.now() > wake + TICK_SLACK {
                self.on_tick(&mut sources).await;
                continue;
            }
            tokio::select! {
                // What has arrived is read before anybody is judged, and connections before the
                // messages that rely on them.
                biased;
                Some(arrival) = sources.arrivals.recv() => self.on_arrival(arrival),
                Some(dialed) = sources.dialed.recv() => self.on_dialed(dialed),
                Some(inbound) = sources.inbound.recv() => self.on_inbound(inbound),
                Some(redial) = sources.redials.recv() => self.redials.dial(redial),
                command = sources.commands.recv() => self.on_command(command),
                () = sleep_until(self.origin + wake.into()) => self.on_tick(&mut sources).await,
            }
        }
    }

    fn now(&self) -> Nanos {
        self.origin.elapsed().into()
    }

    fn next_wake(&self) -> Nanos {
        let mut wake = self.mesh.next_tick();
        let since_origin = |instant: Instant| Nanos::from(instant.duration_since(self.origin));
        if let Some(opening) = &self.opening {
            wake = wake.min(since_origin(opening.deadline));
            if opening.parent.is_some() {
                wake = wake.min(self.now() + PARENT_INTERVAL);
            }
        }
        match &self.agreeing {
            Some(request) => wake.min(since_origin(request.deadline)),
            None => wake,
        }
    }

    async fn on_tick(&mut self, sources: &mut Sources) {
        if self.mesh.would_judge(self.now()) {
            for _ in 0..READ_ROUNDS {
                yield_now().await;
                while let Ok(inbound) = sources.inbound.try_recv() {
                    self.on_inbound(inbound);
                }
            }
        }
        let now = self.now();
        self.progress = self.status.own_progress.read().unwrap_or(self.progress);
        self.mesh.tick(self.progress, now);
        self.adopt_from_parent();
        if self.opening.as_ref().is_some_and(|opening| opening.deadline <= Instant::now()) {
            self.settle();
            if let Some(opening) = &self.opening {
                let error = opening.timed_out(&self.mesh);
                self.fail_opening(error);
            }
        }
        if let Some(request) = self.agreeing.take_if(|request| request.deadline <= Instant::now()) {
            let ranks = self.mesh.unanswered();
            let _ =
                request.answer.send(Err(AgreeError::Unanswered { ranks, after: request.limit }));
        }
    }

    /// Whoever is gone in the parent session is gone here.
    fn adopt_from_parent(&mut self) {
        let Some(parent) = self.opening.as_ref().and_then(|opening| opening.parent.as_ref()) else {
            return;
        };
        let gone: Vec<(Rank, DeathCause)> = self
            .world
            .ranks()
            .filter(|&rank| rank != self.me && !self.mesh.is_gone(rank))
            .filter_map(|rank| {
                let there = parent.ranks[rank.index()];
                let left = parent.control.departed(there).map(|_| DeathCause::Closed);
                parent.control.death(there).or(left).map(|cause| (rank, cause))
            })
            .collect();
        for (rank, cause) in gone {
            self.mesh.declare(rank, cause);
        }
    }

    fn on_arrival(&mut self, Arrival { hello, stream, from }: Arrival) {
        let peer = hello.from;
        let known = hello.to == self.me && self.world.contains(peer);
        if let (Purpose::Pinned { index }, true, None) = (hello.purpose, known, &self.opening) {
            return self.on_replacement(peer, index, stream, from);
        }
        let Some(opening) = self.opening.as_mut().filter(|_| known) else {
            let reason = if known { Rejection::Unwanted } else { Rejection::Malformed };
            return self.shared.reject(from, reason);
        };
        match hello.purpose {
            Purpose::Control if self.mesh.is_joined(peer) || self.mesh.is_gone(peer) => {
                self.shared.reject(from, Rejection::Unwanted);
            }
            Purpose::Control => self.start_link(peer, stream),
            Purpose::Data { index } => {
                if opening.put_data(peer, index, stream).is_err() {
                    self.shared.reject(from, Rejection::Malformed);
                }
            }
            Purpose::Pinned { index } => {
                if opening.pinned.put_theirs(peer, index, stream).is_err() {
                    self.shared.reject(from, Rejection::Malformed);
                }
            }
        }
    }

    /// A peer has made a pinned connection in the place of one that died.
    fn on_replacement(&mut self, peer: Rank, index: u16, stream: TcpStream, from: SocketAddr) {
        if self.mesh.is_gone(peer) || self.redials.accept(peer, index, stream).is_err() {
            self.shared.reject(from, Rejection::Unwanted);
        }
    }

    fn on_dialed(&mut self, Dialed { peer, result }: Dialed) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        match result {
            Ok((hello, stream)) => match hello.purpose {
                Purpose::Control => self.start_link(peer, stream),
                Purpose::Data { index } => {
                    let kept = opening.put_data(peer, index, stream);
                    assert!(kept.is_ok(), "a subflow was dialed that nobody asked for");
                }
                Purpose::Pinned { index } => opening.pinned.put_own(peer, index, stream),
            },
            Err(source) => self.fail_opening(SessionError::Version { rank: peer, source }),
        }
    }

    /// Takes a control connection into use, in place of one that has not joined.
    fn start_link(&mut self, peer: Rank, stream: TcpStream) {
        let Some(opening) = &self.opening else { return };
        let generation = self.next_generation;
        self.next_generation += 1;
        let (subflows, pinned) = (opening.subflows(peer), opening.pinned.count(peer));
        let joined = Message::Joined { world: self.world.into(), subflows, pinned };
        let (inbound, keep_alive) = (self.inbound.clone(), self.keep_alive.clone());
        let link = Link::start(stream, peer, generation, self.world, inbound, keep_alive);
        link.send(&joined).expect("a new link has room");
        self.links[peer.index()] = Some(link);
    }

    fn on_inbound(&mut self, Inbound { rank, generation, content }: Inbound) {
        let current = self.links[rank.index()].as_ref().map(|link| link.generation);
        if current != Some(generation) {
            return;
        }
        match content {
            Content::Message(message) if self.mesh.is_joined(rank) => {
                let now = self.now();
                self.mesh.on_message(rank, message, now);
            }
            Content::Message(Message::Joined { world, subflows, pinned }) => {
                self.on_joined(rank, world, (subflows, pinned));
            }
            Content::Closed if self.mesh.is_joined(rank) => {
                self.links[rank.index()] = None;
                self.mesh.on_closed(rank);
            }
            // It ended, or began with another message, before it had joined: it is tried again.
            Content::Closed | Content::Message(_) => {
                self.links[rank.index()] = None;
                if let Some(opening) = self.opening.as_mut().filter(|_| rank < self.me) {
                    opening.dial(rank, Purpose::Control, &self.shared);
                }
            }
        }
    }

    fn on_joined(&mut self, rank: Rank, world: u32, (theirs, pinned): (u16, u16)) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        let ours = opening.subflows(rank);
        if world != u32::from(self.world) {
            let error = SessionError::WorldMismatch { rank, ours: self.world, theirs: world };
            return self.fail_opening(error);
        }
        if ours != theirs {
            return self.fail_opening(SessionError::SubflowMismatch { rank, ours, theirs });
        }
        let ours = opening.pinned.count(rank);
        if (ours > 0) != (pinned > 0) {
            let theirs = pinned;
            return self.fail_opening(SessionError::SubflowMismatch { rank, ours, theirs });
        }
        opening.pinned.expect(rank, pinned);
        opening.dial_pinned(rank, &self.shared);
        if rank < self.me {
            opening.dial_data(rank, &self.shared);
        }
        let now = self.now();
        self.mesh.on_joined(rank, now);
    }

    fn on_command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Suspect(rank)) => {
                let now = self.now();
                self.mesh.suspect(rank, now);
            }
            Some(Command::Abort(reason)) => {
                let (session, by) = (self.session, self.me);
                self.shared.emit(Event::Aborted { session, by, reason: reason.clone() });
                self.mesh.abort(reason);
            }
            Some(Command::Agree(request)) => self.on_agree(request),
            Some(Command::Leave) | None => self.mesh.leave(),
        }
    }

    fn on_agree(&mut self, request: AgreeRequest) {
        if let Some(survivors) = self.undelivered.take() {
            let _ = request.answer.send(Ok(survivors));
            return;
        }
        self.agreeing = Some(request);
        if !self.mesh.is_agreeing() {
            self.mesh.begin_agreement();
        }
    }

    /// Carries out what the mesh wants, and begins the last step of opening when all is connected.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.mesh.poll() {
                self.perform(action);
            }
            if self.mesh.is_retired() {
                return self.retire();
            }
            match &mut self.opening {
                Some(opening) if !opening.told_ready && opening.is_complete(&self.mesh) => {
                    opening.told_ready = true;
                    self.mesh.begin_agreement();
                }
                _ => return,
            }
        }
    }

    fn perform(&mut self, action: Action) {
        let session = self.session;
        match action {
            Action::Send { to, message } => {
                let link = self.links[to.index()].as_ref();
                if link.is_some_and(|link| link.send(&message).is_err()) {
                    self.links[to.index()] = None;
                    self.mesh.on_closed(to);
                }
            }
            Action::HangUp(rank) => self.links[rank.index()] = None,
            Action::Failed(failure) => self.status.fail(failure),
            Action::Dead { rank, cause } => {
                self.status.add_dead(rank, cause);
                self.shared.emit(Event::PeerDead { session, rank, cause });
            }
            Action::Departed { rank, departure } => {
                self.status.add_departed(rank, departure.clone());
                self.shared.emit(Event::PeerDeparted { session, rank, departure });
            }
            Action::Late { rank, silent } => {
                self.shared.emit(Event::PeerLate { session, rank, silent: silent.into() });
            }
            Action::Progressed { rank, progress } => self.status.set_progress(rank, progress),
            Action::Aborted { by, reason } => {
                self.shared.emit(Event::Aborted { session, by, reason });
            }
            Action::Excluded => {
                self.status.set_excluded();
                self.shared.emit(Event::Excluded { session });
                self.fail_opening(SessionError::Excluded);
            }
            Action::Decided { epoch: 0, gone } => self.finish_opening(&gone),
            Action::Decided { epoch, gone } => {
                let survivors = Survivors::new(session, epoch, gone.others().collect());
                match self.agreeing.take() {
                    Some(request) => drop(request.answer.send(Ok(survivors))),
                    None => self.undelivered = Some(survivors),
                }
            }
        }
    }

    fn finish_opening(&mut self, gone: &RankSet) {
        if gone.is_empty() {
            if let Some(opening) = self.opening.take() {
                opening.succeed();
            }
            return;
        }
        let loss = |rank| match (self.status.death(rank), self.status.departed(rank)) {
            (Some(cause), _) => Loss::Dead(cause),
            (None, Some(departure)) => Loss::Left(departure),
            (None, None) => Loss::ToldByOthers,
        };
        let ranks = gone.iter().map(|rank| LostRank { rank, loss: loss(rank) }).collect();
        self.fail_opening(SessionError::Lost { ranks });
    }

    /// Reports the error and leaves.
    fn fail_opening(&mut self, error: SessionError) {
        if let Some(opening) = self.opening.take() {
            opening.fail(error);
            self.mesh.leave();
        }
    }

    /// The last act, in good order.
    fn retire(&mut self) {
        self.retired = true;
        if let Some(request) = self.agreeing.take() {
            let excluded = self.status.is_excluded();
            let error = if excluded { AgreeError::Excluded } else { AgreeError::Stopped };
            let _ = request.answer.send(Err(error));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.waiting().close(self.session);
        if !self.retired {
            // The runtime ends in the middle of the session: nobody watches the peers any more.
            self.status.fail(Failure::Stopped);
        }
    }
}
