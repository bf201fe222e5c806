//! Communicators: the ranks that make calls together.
//!
//! | file | what it holds |
//! |---|---|
//! | `calls` | blocking collectives |
//! | `scope` | several calls in flight |
//! | `registered` | buffers that an RDMA device reads |
//! | `lent` | the caller's borrow while its memory is in use |
//! | `owned` | memory that a call owns while it is in flight |
//! | `builder`, `build_error` | what is said before joining |
//! | `join`, `connect` | joining a world, connecting a group |
//! | `paths` | pinning data connections to paths |
//! | `roce_paths` | finding the paths of queue pairs |
//! | `spray` | exchanging addresses for datagrams |
//! | `verbs` | exchanging queue pairs for RDMA |
//! | `regroup` | split and shrink |
//! | `tune` | agreeing on a cost table |
//! | `fuzzing` | a parser for the fuzz targets |
mod build_error;
mod builder;
mod calls;
mod connect;
pub(crate) mod fuzzing;
mod join;
mod lent;
pub(crate) mod owned;
mod paths;
mod registered;
mod regroup;
mod roce_paths;
mod scope;
mod spray;
mod tune;
mod verbs;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::spray::{SprayCount, SprayCounters};
use onepath_transport::tcp::pinned::{PathCount, PathCounters};
use onepath_transport::verbs::transport::{VerbsCount, VerbsCounters};
use onepath_transport::{NoTransport, Transport};

use crate::algorithm::Algorithm;
use crate::bootstrap::Counters;
use crate::control::{AbortReason, Endpoint};
use crate::engine::{Engine, EngineConfig, IdlePolicy, Request, Ticket, Watch};
use crate::error::CollectiveError;
use crate::tuning::Tuning;

pub use crate::engine::Waiting;
pub use build_error::BuildError;
pub use builder::{Builder, TransportKind, TuningSource};
pub use paths::{FindPaths, MAX_PATHS, Pinning};
pub use registered::{RegisterError, RegisteredBuffer};
pub use regroup::{ShrinkError, SplitError};
pub use roce_paths::{NotRoce, RocePathSource, RocePaths};
pub use scope::{Handle, Scope};

use connect::Group;

/// Most scratch memory of one call: with staging buffers and shared memory it stays well below the
/// 64 MiB that a rank may use beside the caller's buffers.
const SCRATCH_LIMIT: usize = 8 << 20;

/// One rank's membership in a group of ranks that make calls together.
///
/// It may be moved to another thread, but not shared: all calls of one rank on one communicator
/// come in one order. Use [`split`](Self::split) for a communicator per thread.
#[derive(Debug)]
pub struct Communicator {
    engine: RefCell<Engine>,
    rank: Rank,
    world: WorldSize,
    /// Nothing for a communicator over a transport of the caller's.
    group: Option<Group>,
    /// What went over each path, if connections are pinned to paths.
    paths: Option<PathCounters>,
    /// What went to each peer, if datagrams do.
    datagrams: Option<SprayCounters>,
    /// What went over each lane, if RDMA is used.
    lanes: Option<VerbsCounters>,
    /// Calls of `split` so far.
    splits: Cell<u64>,
    /// Tells it from all others of this process.
    identity: u64,
}

impl Communicator {
    /// A communicator over a transport that somebody else connected, without a control plane:
    /// dead ranks show only as closed connections. For experiments and tests.
    pub fn over_transport(rank: Rank, world: WorldSize, transport: Box<dyn Transport>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = EngineConfig {
            me: rank,
            world,
            tuning: Tuning::modelled(world),
            algorithm: None,
            scratch_limit: SCRATCH_LIMIT,
            chunk_limit: None,
            idle: IdlePolicy::for_host(world.get(), cores),
            operation_timeout: Duration::from_mins(10),
            late_warning: Duration::from_secs(10),
            flight_records: None,
        };
        Self::assemble(config, transport, Watch::alone())
    }

    /// A world of one rank: every call is a copy.
    pub fn alone() -> Self {
        let world = WorldSize::ONE;
        Self::over_transport(Rank::new(0), world, Box::new(NoTransport))
    }

    pub(crate) fn assemble(
        config: EngineConfig,
        transport: Box<dyn Transport>,
        watch: Watch,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (rank, world) = (config.me, config.world);
        Self {
            engine: RefCell::new(Engine::new(config, transport, watch)),
            rank,
            world,
            group: None,
            paths: None,
            datagrams: None,
            lanes: None,
            splits: Cell::new(0),
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// This rank's number.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// How many ranks there are.
    pub fn world_size(&self) -> WorldSize {
        self.world
    }

    /// Uses one algorithm for every call that it fits, or lets the cost table choose again. All
    /// ranks must say the same between the same calls.
    pub fn set_algorithm(&self, algorithm: Option<Algorithm>) {
        self.engine.borrow_mut().set_algorithm(algorithm);
    }

    /// Ends the communicator on all its ranks: calls in flight and later ones fail with
    /// [`CollectiveError::Aborted`].
    pub fn abort(&self) {
        let mut engine = self.engine.borrow_mut();
        // Also when only this rank's part of the communicator has ended before.
        engine.watch().abort(AbortReason::Requested);
        engine.break_with(CollectiveError::Aborted { by: self.rank });
    }

    /// Where this process listens for other ranks: its addresses, what it turned away, its events.
    /// Nothing in a world of one rank.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.group.as_ref().map(|group| &group.endpoint)
    }

    /// The cost table that chooses algorithms, as a file for [`TuningSource::File`].
    pub fn tuning_table(&self) -> Vec<u8> {
        self.engine.borrow().config().tuning.table().encode()
    }

    /// Where this process listens for the other ranks' connections; empty without a control plane.
    pub fn listen_addresses(&self) -> &[SocketAddr] {
        self.group.as_ref().map_or(&[], |group| group.endpoint.addresses())
    }

    /// What came to those addresses and, where this rank hosted the rendezvous, to that one, by
    /// what became of it. The same for all communicators that stem from one world; nothing without
    /// a control plane.
    pub fn connection_counters(&self) -> Option<Arc<Counters>> {
        self.group.as_ref().map(|group| Arc::clone(group.endpoint.counters()))
    }

    /// What went over each path so far, by peer and path; empty when connections are not pinned.
    /// Deaths and replacements of paths are events of the [`Endpoint`].
    pub fn path_counts(&self) -> Vec<PathCount> {
        self.paths.as_ref().map_or_else(Vec::new, PathCounters::read)
    }

    /// What went to and came from each peer by datagrams so far; empty over other transports.
    pub fn datagram_counts(&self) -> Vec<SprayCount> {
        self.datagrams.as_ref().map_or_else(Vec::new, SprayCounters::read)
    }

    /// What this rank has sent over each queue pair so far, by peer and lane; empty over other
    /// transports.
    pub fn verbs_counts(&self) -> Vec<VerbsCount> {
        self.lanes.as_ref().map_or_else(Vec::new, VerbsCounters::read)
    }

    /// The last operations and, after a failure, what was under way: for a log file.
    pub fn flight_record(&self) -> String {
        self.engine.borrow().recorder().dump().map_or_else(String::new, str::to_owned)
    }

    fn run(&self, request: &Request) -> Result<(), CollectiveError> {
        let guard = Unwinding::guard(self);
        let mut engine = self.engine.borrow_mut();
        // SAFETY: the request's buffers are borrowed by our caller until this function returns or
        // unwinds: it returns after completion or after an error, and unwinds past `guard`, which
        // ends the communicator; in each case the engine touches them no more.
        let started = unsafe { engine.start(request) };
        let result = started.and_then(|ticket| engine.finish(&ticket));
        guard.disarm();
        result
    }

    /// Starts a call of a scope, and sends what can be sent at once: the caller may not come back
    /// soon.
    fn start(&self, request: &Request) -> Result<Ticket, CollectiveError> {
        let mut engine = self.engine.borrow_mut();
        // SAFETY: the buffers are borrowed for `'env`, beyond the end of the scope, which returns
        // only after `finish_all` has completed all or failed, and unwinds only past its guard,
        // which ends the communicator: the engine touches them no more then (see `scope`).
        let ticket = unsafe { engine.start(request)? };
        engine.step()?;
        Ok(ticket)
    }

    fn finish(&self, ticket: &Ticket) -> Result<(), CollectiveError> {
        self.engine.borrow_mut().finish(ticket)
    }

    fn test(&self, ticket: &Ticket) -> Result<bool, CollectiveError> {
        let mut engine = self.engine.borrow_mut();
        engine.step()?;
        Ok(engine.is_complete(ticket))
    }

    fn progress(&self) -> Result<(), CollectiveError> {
        self.engine.borrow_mut().step()
    }

    fn finish_all(&self) -> Result<(), CollectiveError> {
        self.engine.borrow_mut().finish_all()
    }
}

/// Ends the communicator when it is dropped by unwinding, so that no pointer into buffers on the
/// stack that goes stays with the engine.
struct Unwinding<'a> {
    communicator: &'a Communicator,
    armed: bool,
}

impl<'a> Unwinding<'a> {
    fn guard(communicator: &'a Communicator) -> Self {
        Self { communicator, armed: true }
    }

    /// Nothing is in flight any more that this guard was for.
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        // The engine is in use only if a transport called its own communicator; nothing was
        // started then under this guard.
        if let Ok(mut engine) = self.communicator.engine.try_borrow_mut()
            && self.armed
        {
            engine.break_with(CollectiveError::Aborted { by: self.communicator.rank });
        }
    }
}
