//! The store: accepts members, gathers their posts and tells everybody everything.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::BindError;
use super::session::Session;
use super::table::{Progress, Table, TableLimits};
use super::waiting_room::WaitingRoom;
use crate::bootstrap::counters::{Counters, Rejection};
use crate::bootstrap::secret::Trust;

/// Connections that the system keeps until we accept them.
const BACKLOG: i32 = 1024;
/// How long members that have not come yet may still learn why an exchange failed.
const LINGER: Duration = Duration::from_secs(2);
/// How long answers under way may take when the store ends.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Pause after an accept that failed, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a store allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Members that are connected at once; give more than the world size.
    pub connections: usize,
    /// Connections that have not authenticated yet, at once.
    pub handshakes: usize,
    /// Time for a handshake.
    pub handshake_time: Duration,
    /// Exchanges at once, and closed ones that are remembered.
    pub exchanges: usize,
    /// Bytes of all blobs of all exchanges at once.
    pub bytes: usize,
    /// Time for a member to take its answer.
    pub answer_time: Duration,
}

impl Default for ServerLimits {
    /// 65,536 + 64 members, 64 handshakes of 5 s, 1,024 exchanges, 256 MiB, 30 s for an answer.
    fn default() -> Self {
        Self {
            connections: 65_536 + 64,
            handshakes: 64,
            handshake_time: Duration::from_secs(5),
            exchanges: 1024,
            bytes: 256 * 1024 * 1024,
            answer_time: Duration::from_secs(30),
        }
    }
}

/// A store that listens, and serves as soon as [`Self::serve`] is polled.
pub struct RendezvousServer {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl fmt::Debug for RendezvousServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RendezvousServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What all connections of one store use.
pub(super) struct Shared {
    pub(super) trust: Trust,
    pub(super) limits: ServerLimits,
    pub(super) counters: Arc<Counters>,
    /// Connections that may have been ranks of the job with a wrong secret or version.
    pub(super) refused_ranks: AtomicU64,
    pub(super) members: Semaphore,
    table: Mutex<Table>,
    changed: watch::Sender<()>,
    stopping: watch::Sender<bool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves at worst an exchange that times out.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the table and wakes those who wait for progress.
    pub(super) fn with_table<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// Counts a connection that is turned away.
    pub(super) fn reject(&self, reason: Rejection) {
        Counters::count(self.counters.rejected(reason));
        if matches!(reason, Rejection::WrongSecret | Rejection::VersionMismatch) {
            Counters::count(&self.refused_ranks);
        }
    }

    /// Ends when the store stops.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // An error means that the sender is gone: it is in `self`, so it is not.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

impl RendezvousServer {
    /// Listens at `address` (port 0: a free one) with the limits of [`ServerLimits::default`].
    /// Must be called inside a tokio runtime.
    pub fn bind(address: SocketAddr, trust: Trust) -> Result<Self, BindError> {
        Self::bind_with(address, trust, ServerLimits::default(), Arc::default())
    }

    /// Listens at `address`; `counters` count what becomes of connections.
    pub fn bind_with(
        address: SocketAddr,
        trust: Trust,
        limits: ServerLimits,
        counters: Arc<Counters>,
    ) -> Result<Self, BindError> {
        trust.check_address(address.ip())?;
        let listener = listen(address).map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => BindError::PortTaken { address },
            _ => BindError::System { address, cause },
        })?;
        let bound = listener.local_addr().map_err(|cause| BindError::System { address, cause })?;
        let table = TableLimits { exchanges: limits.exchanges, bytes: limits.bytes };
        let shared = Shared {
            trust,
            limits,
            counters,
            refused_ranks: AtomicU64::new(0),
            members: Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)),
            table: Mutex::new(Table::new(table)),
            changed: watch::Sender::new(()),
            stopping: watch::Sender::new(false),
        };
        Ok(Self { listener, address: bound, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Counts of its connections.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Ends when the exchange `key` has ended and every member was told: the `until` of a store
    /// for one exchange. After a failure it waits 2 s for members that have not come yet.
    pub fn finished(&self, key: &str) -> impl Future<Output = ()> + use<> {
        let (shared, key) = (Arc::clone(&self.shared), key.to_owned());
        let mut changed = shared.changed.subscribe();
        async move {
            let mut linger = None;
            loop {
                let progress = shared.lock().progress(&key);
                let change = changed.changed();
                match progress {
                    Progress::Settled => return,
                    Progress::Open => drop(change.await),
                    Progress::Failed => {
                        let end = *linger.get_or_insert_with(|| Instant::now() + LINGER);
                        if timeout_at(end, change).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Serves until `until` ends; members that wait then are told that the store was stopped.
    /// Dropping the future ends all connections at once.
    pub async fn serve(self, until: impl Future<Output = ()>) {
        let mut until = std::pin::pin!(until);
        let mut sessions = JoinSet::new();
        let mut waiting = WaitingRoom::new(self.shared.limits.handshakes);
        loop {
            let (stream, peer, seat) = tokio::select! {
                biased;
                () = &mut until => break,
                next = self.next(&mut waiting) => next,
            };
            let session = Session::new(Arc::clone(&self.shared), stream, peer);
            sessions.spawn(session.run(seat));
            while sessions.try_join_next().is_some() {}
        }
        drop(self.listener);
        self.shared.with_table(Table::stop);
        self.shared.stopping.send_replace(true);
        let all_ended = async { while sessions.join_next().await.is_some() {} };
        // Whoever is slower is cut off when the set is dropped.
        let _ = timeout(STOP_GRACE, all_ended).await;
    }

    /// The next connection from a trusted address that has a place among the handshakes.
    async fn next(&self, waiting: &mut WaitingRoom) -> (TcpStream, SocketAddr, super::Seat) {
        loop {
            let counters = &self.shared.counters;
            let Ok((stream, peer)) = self.listener.accept().await else {
                Counters::count(&counters.accept_errors);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            Counters::count(&counters.accepted);
            if self.shared.trust.check_address(peer.ip()).is_err() {
                self.shared.reject(Rejection::UntrustedAddress);
                continue;
            }
            return (stream, peer, waiting.take_seat().await);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A store that ended a moment ago leaves its port in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The unspecified address then takes IPv4 as well; for all others it means nothing.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
