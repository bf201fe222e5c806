//! Runs the operations of one communicator on the calling thread.
//!
//! | file | what it holds |
//! |---|---|
//! | `request` | a call with its buffers by address |
//! | `plans` | plans computed before, by shape |
//! | `scratch` | scratch buffers, reused |
//! | `clock` | what time it is, at little cost |
//! | `idle` | how to wait: spin, yield, sleep |
//! | `watch` | dead ranks, late ranks, time-outs |
//! | `reason` | what one rank finds alone and all ranks tell |
mod clock;
mod idle;
mod plans;
mod reason;
mod request;
mod scratch;
mod watch;

use std::path::PathBuf;
use std::ptr::NonNull;
use std::time::Duration;

use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::flow::{FlowTable, MatchError, Memory, PostError, Posting, Slot};
use onepath_transport::proto::ConnectionError;
use onepath_transport::verbs::transport::Registration;
use onepath_transport::wire::OperationId;
use onepath_transport::{Activity, Transport, TransportError};

use crate::algorithm::{self, Algorithm, Call};
use crate::call::{CallDescription, CallMismatch};
use crate::communicator::RegisterError;
use crate::error::{ArgumentError, CollectiveError};
use crate::recorder::Recorder;
use crate::reduce;
use crate::tuning::Tuning;

use clock::{Clock, Resolution};
pub use idle::Waiting;
pub(crate) use idle::{Idle, IdlePolicy};
use plans::{PlanCache, Planned};
pub(crate) use request::{Buffers, Request, Target};
use scratch::ScratchPool;
use watch::Oldest;
pub(crate) use watch::Watch;

/// How often a caller that only tests its calls looks for failures.
const CHECK_INTERVAL: Nanos = Nanos::millis(10);

/// What an engine needs to know.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(crate) me: Rank,
    pub(crate) world: WorldSize,
    pub(crate) tuning: Tuning,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) scratch_limit: usize,
    /// The largest chunk, where it is not for the tuning alone to say.
    pub(crate) chunk_limit: Option<usize>,
    pub(crate) idle: IdlePolicy,
    pub(crate) operation_timeout: Duration,
    pub(crate) late_warning: Duration,
    pub(crate) flight_records: Option<PathBuf>,
}

/// An operation that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: Slot,
    call: CallDescription,
    number: u64,
    resolution: Resolution,
}

/// The operations of one communicator on one rank.
pub(crate) struct Engine {
    config: EngineConfig,
    table: FlowTable,
    transport: Box<dyn Transport>,
    plans: PlanCache,
    scratch: ScratchPool,
    recorder: Recorder,
    watch: Watch,
    clock: Clock,
    /// When `step` last looked for failures.
    checked: Nanos,
    next_collective: u64,
    sends: Vec<u64>,
    receives: Vec<u64>,
    broken: Option<CollectiveError>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("me", &self.config.me)
            .field("world", &self.config.world)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(config: EngineConfig, transport: Box<dyn Transport>, watch: Watch) -> Self {
        let ranks = config.world.get();
        Self {
            table: FlowTable::new(config.world),
            transport,
            plans: PlanCache::new(),
            scratch: ScratchPool::new(),
            recorder: Recorder::new(),
            watch,
            clock: Clock::new(),
            checked: Nanos(0),
            next_collective: 0,
            sends: vec![0; ranks],
            receives: vec![0; ranks],
            broken: None,
            config,
        }
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn set_tuning(&mut self, tuning: Tuning) {
        self.config.tuning = tuning;
        self.plans.clear();
    }

    pub(crate) fn set_algorithm(&mut self, algorithm: Option<Algorithm>) {
        self.config.algorithm = algorithm;
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn now(&self) -> Nanos {
        self.clock.now(Resolution::Fine)
    }

    /// Starts an operation.
    ///
    /// # Safety
    /// The buffers of the request stay alive and untouched by others until the ticket is complete
    /// or an error was returned by any later call of this engine.
    pub(crate) unsafe fn start(&mut self, request: &Request) -> Result<Ticket, CollectiveError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let (id, number) = self.number(request);
        let resolution = Resolution::for_bytes(request.bytes());
        let now = self.clock.now(resolution);
        let shape = (self.config.me, self.config.world);
        let (config, limit) = (&self.config, self.config.scratch_limit);
        let choose = |call: &Call| choose(config, call);
        let planned = self.plans.get(request, config.algorithm, choose, shape, limit);
        let Planned { algorithm, plan } = planned;
        let chunk_bytes = Tuning::chunk_bytes(request.call().as_ref(), algorithm);
        let chunk_bytes = chunk_bytes.min(self.config.chunk_limit.unwrap_or(usize::MAX));
        self.transport.assign(plan, chunk_bytes);
        let call = request.description(algorithm);
        let scratch = self.scratch.take(plan.scratch_bytes);
        let buffers = request.buffers;
        let kernel = reduce::kernel(
            request.data_type,
            request.op.unwrap_or(crate::types::ReduceOp::Sum),
            self.config.world.get() as u32,
        );
        let posting = Posting {
            id,
            signature: call.signature(),
            plan,
            memory: Memory::new(buffers.input, buffers.output, scratch),
            kernel: Some(kernel),
            chunk_bytes,
            now,
        };
        // SAFETY: the caller vouches for its buffers; the scratch buffer belongs to the pool,
        // which keeps it for this operation until `finish` gives it back.
        let posted = unsafe { self.table.post(&posting) };
        let slot = match posted {
            Ok(slot) => slot,
            Err(PostError::TooMany) => {
                self.scratch.give_back();
                return Err(ArgumentError::TooManyInFlight.into());
            }
            Err(fault) => unreachable!("plans are in range by construction: {fault}"),
        };
        self.scratch.assign(slot);
        self.advance(request);
        self.recorder.started(number, call, now);
        self.transport.post(&self.table, slot);
        self.publish();
        Ok(Ticket { slot, call, number, resolution })
    }

    /// Lets the transport's device read a caller's memory, if it has one.
    ///
    /// # Safety
    /// As `Transport::register`.
    pub(crate) unsafe fn register(
        &mut self,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<Option<Registration>, RegisterError> {
        if let Some(error) = &self.broken {
            return Err(error.clone().into());
        }
        // SAFETY: the contract is the same.
        Ok(unsafe { self.transport.register(start, bytes) }?)
    }

    fn number(&self, request: &Request) -> (OperationId, u64) {
        let number = match request.target {
            Target::Collective(_) => {
                return (OperationId::collective(self.next_collective), self.next_collective);
            }
            Target::Send(peer) => self.sends[peer.index()],
            Target::Receive(peer) => self.receives[peer.index()],
        };
        (OperationId::point_to_point(number), number)
    }

    fn advance(&mut self, request: &Request) {
        match request.target {
            Target::Collective(_) => self.next_collective += 1,
            Target::Send(peer) => self.sends[peer.index()] += 1,
            Target::Receive(peer) => self.receives[peer.index()] += 1,
        }
    }

    /// Moves what can move.
    pub(crate) fn progress(&mut self) -> Result<Activity, CollectiveError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        match self.transport.poll(&mut self.table) {
            Ok(activity) => Ok(activity),
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Moves what can move, for a caller that does something else in between. Looks now and then
    /// for failures that no connection shows: such a caller may never wait.
    pub(crate) fn step(&mut self) -> Result<(), CollectiveError> {
        if self.progress()? == Activity::Idle {
            let now = self.clock.now(Resolution::Coarse);
            if now.since(self.checked) >= CHECK_INTERVAL {
                self.checked = now;
                self.check()?;
            }
        }
        Ok(())
    }

    /// Whether the operation has ended.
    pub(crate) fn is_complete(&self, ticket: &Ticket) -> bool {
        self.table.is_complete(ticket.slot)
    }

    /// Drives operations until this one has ended, and releases it.
    pub(crate) fn finish(&mut self, ticket: &Ticket) -> Result<(), CollectiveError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let mut idle = Idle::new(self.config.idle);
        while !self.is_complete(ticket) {
            if self.progress()? == Activity::Moved {
                idle.reset();
                continue;
            }
            if let Some(limit) = idle.next() {
                self.check()?;
                self.transport.wait(&self.table, limit);
            }
        }
        self.release(ticket);
        Ok(())
    }

    /// Looks for failures, then waits until something arrives, at most for `limit`.
    pub(crate) fn rest(&mut self, limit: Duration) -> Result<(), CollectiveError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.check()?;
        self.transport.wait(&self.table, limit);
        Ok(())
    }

    /// Releases a completed operation.
    pub(crate) fn release(&mut self, ticket: &Ticket) {
        let now = self.clock.now(ticket.resolution);
        self.recorder.ended(ticket.number, ticket.call, now);
        self.scratch.release(ticket.slot);
        self.table.release(ticket.slot);
        self.publish();
    }

    /// Tells the peers how far this rank has come.
    fn publish(&self) {
        if self.table.held().next().is_none() {
            return self.watch.publish(self.next_collective, None);
        }
        let collective = |slot| {
            let (id, signature) = self.table.identity(slot);
            let call = CallDescription::from_signature(signature)?;
            (!id.is_point_to_point()).then_some((id.number(), call))
        };
        let oldest = self.table.pending().find_map(collective);
        self.watch.publish(self.next_collective, oldest);
    }

    /// Drives and releases everything that is in flight.
    pub(crate) fn finish_all(&mut self) -> Result<(), CollectiveError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let mut idle = Idle::new(self.config.idle);
        while self.table.pending().next().is_some() {
            if self.progress()? == Activity::Moved {
                idle.reset();
            } else if let Some(limit) = idle.next() {
                self.check()?;
                self.transport.wait(&self.table, limit);
            }
        }
        let now = self.now();
        for slot in self.table.held() {
            let (id, signature) = self.table.identity(slot);
            if let Some(call) = CallDescription::from_signature(signature) {
                self.recorder.ended(id.number(), call, now);
            }
        }
        self.scratch.release_all();
        self.table.release_all();
        Ok(())
    }

    /// Looks for failures that no connection shows: dead ranks, aborts, time-outs.
    pub(crate) fn check(&mut self) -> Result<(), CollectiveError> {
        for rank in self.watch.gone_in_good_order(self.config.world) {
            self.transport.peer_left(rank, &mut self.table);
        }
        let oldest = self.oldest();
        let missing = || missing(&self.table);
        match self.watch.check(&self.config, oldest, missing) {
            Some(error) => Err(self.break_with(error)),
            None => Ok(()),
        }
    }

    fn oldest(&self) -> Option<Oldest> {
        let slot = self.table.pending().next()?;
        let (id, signature) = self.table.identity(slot);
        let call = CallDescription::from_signature(signature)?;
        Some(Oldest { id, call, age: self.now().since(self.table.posted_at(slot)) })
    }

    fn fail(&mut self, error: &TransportError) -> CollectiveError {
        let rank = error.peer();
        let found = match *error {
            TransportError::Closed { .. } | TransportError::Io { .. } => {
                self.watch.verdict(rank, self.oldest().map(|oldest| oldest.call))
            }
            TransportError::Protocol { problem, .. } => {
                CollectiveError::Protocol { rank, problem: problem.to_string() }
            }
            TransportError::Connection { problem, .. } => self.unreachable(rank, problem),
            TransportError::Verbs { ref problem, .. } => {
                CollectiveError::Rdma { rank, problem: problem.to_string() }
            }
            TransportError::Mismatch { problem, .. } => self.mismatch(rank, problem),
        };
        self.break_with(found)
    }

    /// What to say of a peer to which datagrams do not get through.
    fn unreachable(&self, rank: Rank, problem: ConnectionError) -> CollectiveError {
        match problem {
            ConnectionError::Protocol { problem } => {
                CollectiveError::Protocol { rank, problem: problem.to_string() }
            }
            ConnectionError::Closed { .. }
            | ConnectionError::Silent { .. }
            | ConnectionError::Undeliverable { .. } => {
                self.watch.verdict(rank, self.oldest().map(|oldest| oldest.call))
            }
        }
    }

    /// What to say of a chunk that does not fit: both calls, where they differ.
    fn mismatch(&self, rank: Rank, problem: MatchError) -> CollectiveError {
        let calls = match problem {
            MatchError::CallsDiffer { operation, ours, theirs } => {
                Some((operation, CallDescription::from_signature(ours), theirs))
            }
            MatchError::OperationOver { operation, theirs } => {
                Some((operation, self.recorder.collective(operation.number()), theirs))
            }
            MatchError::ChunkUnknown { .. } => None,
        };
        if let Some((operation, Some(ours), theirs)) = calls
            && let Some(theirs) = CallDescription::from_signature(theirs)
            && let (ours, theirs) = ((self.config.me, ours), (rank, theirs))
            && let Some(found) = CallMismatch::new(operation.number(), ours, theirs)
        {
            return CollectiveError::Mismatch(found);
        }
        CollectiveError::Protocol { rank, problem: problem.to_string() }
    }

    /// Ends the communicator: no memory of any operation is touched any more.
    pub(crate) fn break_with(&mut self, error: CollectiveError) -> CollectiveError {
        if let Some(first) = &self.broken {
            return first.clone();
        }
        if let Some(reason) = reason::to_tell(&error, self.config.me) {
            // Before the connections close, which the others would take for this rank's death.
            self.watch.abort(reason);
        }
        self.transport.cancel();
        self.scratch.release_all();
        self.table.release_all();
        let now = self.now();
        self.recorder.failed(&error, self.config.me, now);
        if let Some(folder) = &self.config.flight_records {
            self.recorder.write(folder, self.config.me);
        }
        self.broken = Some(error.clone());
        error
    }
}

/// The algorithm for a call: the same on all ranks.
fn choose(config: &EngineConfig, call: &Call) -> Algorithm {
    let wanted = config.algorithm.unwrap_or_else(|| config.tuning.choose(call, config.world));
    algorithm::effective(call, wanted, config.world, config.scratch_limit)
}

/// The ranks from which the oldest operation awaits something.
fn missing(table: &FlowTable) -> Vec<Rank> {
    let oldest = table.pending().next();
    let mut ranks: Vec<Rank> =
        oldest.into_iter().flat_map(|slot| table.waiting_for(slot)).collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}
