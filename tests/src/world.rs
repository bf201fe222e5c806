//! Communicators of one world as threads of this process.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onepath_collectives::Communicator;
use onepath_collectives::communicator::{BuildError, Builder, TransportKind, TuningSource};
use onepath_topology::{Rank, WorldSize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::watchdog::{Notes, Watchdog};

/// Worlds of one process run one after the other: on few cores their time limits would mean
/// nothing otherwise.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until this process has no other world, and keeps it so.
pub fn exclusive() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a world is to be.
#[derive(Clone, Debug)]
pub struct World {
    /// Named when it hangs.
    pub label: String,
    /// How many ranks.
    pub ranks: usize,
    /// How bytes travel.
    pub transport: TransportKind,
    /// TCP connections a pair.
    pub subflows: u16,
    /// How long everything may take.
    pub limit: Duration,
    /// What else to say to the builder, for each rank.
    pub adjust: fn(Builder, Rank) -> Builder,
}

/// One rank of a world, on its own thread.
#[derive(Debug)]
pub struct Seat {
    /// Its communicator.
    pub communicator: Communicator,
    notes: Notes,
}

impl Seat {
    /// Says what this rank does now, to be printed when it hangs.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        self.notes.set(self.communicator.rank().index(), text);
    }
}

/// A builder for one rank of a world on this host, with everything said that the environment could
/// say otherwise.
pub fn builder(rank: usize, ranks: usize, port: u16) -> Result<Builder, BuildError> {
    let world = WorldSize::new(ranks as u64).expect("tests use possible sizes");
    Ok(Builder::new()
        .rank(Rank::from_index(rank))
        .world_size(world)
        .rendezvous(&format!("127.0.0.1:{port}"))?
        .tuning(TuningSource::Model))
}

/// A port of the loopback address that nobody listens on. It lies below the range from which
/// systems take automatic ports, so that no outgoing connection takes it meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u32 = 18_000;
    const PORTS: u32 = 14_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS {
        let next = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + next % PORTS) as u16;
        if is_free(port) {
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + PORTS);
}

/// Whether a listener of this host could have the port. This socket itself never listens: a child
/// that another thread starts holds a copy of it until it executes its program, and a copy that
/// listens would keep the port from the rank that is to have it.
fn is_free(port: u16) -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)) else {
        return false;
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.set_reuse_address(true).and_then(|()| socket.bind(&address.into())).is_ok()
}

impl World {
    /// A world with two subflows and a minute's time.
    pub fn new(label: &str, ranks: usize, transport: TransportKind) -> Self {
        Self {
            label: format!("{label} ({ranks} ranks, {transport})"),
            ranks,
            transport,
            subflows: 2,
            limit: Duration::from_mins(1),
            adjust: |builder, _| builder,
        }
    }

    /// With another time limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// With more said to the builder.
    #[must_use]
    pub fn adjusted(mut self, adjust: fn(Builder, Rank) -> Builder) -> Self {
        self.adjust = adjust;
        self
    }

    /// Runs `body` on every rank and returns what each returned, by rank.
    ///
    /// # Panics
    /// When a rank cannot join, or with the panic of the first rank that panicked.
    pub fn run<R: Send>(&self, body: impl Fn(Seat) -> R + Sync) -> Vec<R> {
        let _only = exclusive();
        let notes = Notes::new(self.ranks);
        let _watchdog = Watchdog::start(&self.label, self.limit, &notes);
        let port = free_port();
        let (body, notes) = (&body, &notes);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.ranks)
                .map(|rank| scope.spawn(move || self.rank(rank, port, notes, body)))
                .collect();
            let results: Vec<_> =
                threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            results
                .into_iter()
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn rank<R>(&self, rank: usize, port: u16, notes: &Notes, body: impl Fn(Seat) -> R) -> R {
        let communicator = self.join(rank, port);
        let seat = Seat { communicator, notes: notes.clone() };
        seat.note(format_args!("joined"));
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| body(seat)));
        match result {
            Ok(result) => {
                notes.set(rank, format_args!("ended"));
                result
            }
            Err(panic) => {
                // The others may wait for this rank for long: say at once why.
                notes.set(rank, format_args!("panicked"));
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// Joins as one rank.
    ///
    /// # Panics
    /// When that fails.
    pub fn join(&self, rank: usize, port: u16) -> Communicator {
        self.try_join(rank, port)
            .unwrap_or_else(|error| panic!("{}: rank {rank} cannot join: {error}", self.label))
    }

    /// Joins as one rank.
    pub fn try_join(&self, rank: usize, port: u16) -> Result<Communicator, BuildError> {
        let builder = builder(rank, self.ranks, port)?;
        let builder = builder.transport(self.transport).subflows(self.subflows);
        (self.adjust)(builder, Rank::from_index(rank)).build()
    }
}
