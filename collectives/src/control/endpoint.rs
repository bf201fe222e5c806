//! The endpoint of a process: its listeners, its control thread, and the way to open sessions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::accept::{accept_all, listen, sweep};
use super::driver::{Driver, DriverConfig, Sources};
use super::event::Event;
use super::handle::Control;
use super::link::{KeepAlive, LINGER};
use super::opening::{DataSockets, Opening};
use super::pinned::Redials;
use super::session::{Session, SessionConfig, SessionError};
use super::shared::Shared;
use super::status::Status;
use crate::bootstrap::Counters;
use crate::bootstrap::secret::{Trust, UntrustedAddress};

/// Connections beyond those expected that a session takes before it looks at them.
const SPARE_ARRIVALS: usize = 64;
/// Messages of all peers of a session that wait for its driver.
const INBOUND: usize = 1_024;
/// How much longer than its deadline the result of opening is waited for.
const REPORT_SLACK: Duration = Duration::from_secs(10);

/// What an endpoint is to be.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Local addresses to listen on, each at an automatic port.
    pub listen: Vec<IpAddr>,
    /// Who may connect.
    pub trust: Arc<Trust>,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No address.
    #[error("listen is empty: it must have at least one local address")]
    NoAddress,
    /// Peers from outside could not be told from strangers.
    #[error("listen: {0}")]
    Untrusted(#[from] UntrustedAddress),
    /// An address can not be listened on.
    #[error("can not listen on {address}: {source}")]
    Listen {
        /// The address.
        address: IpAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The control thread can not be started.
    #[error("can not start the control thread: {0}")]
    Start(#[source] io::Error),
}

/// How the control thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// After the last frames have left.
    InOrder,
    /// As if the process had died.
    AtOnce,
}

#[derive(Debug)]
struct Inner {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    handle: Handle,
    /// Taken when the endpoint stops; the tasks' clones keep the thread until they have ended.
    keep_alive: Mutex<Option<KeepAlive>>,
    stop: Mutex<Option<oneshot::Sender<Stop>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The control plane of a process, shared by all its communicators. A clone is cheap; dropping the
/// last one (the handles of its sessions count) ends its thread.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Inner>);

impl Endpoint {
    /// Binds the listeners and starts the thread.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        if config.listen.is_empty() {
            return Err(EndpointError::NoAddress);
        }
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in config.listen {
            config.trust.check_address(address)?;
            let bound = listen(address).and_then(|listener| {
                let bound_to = listener.local_addr()?;
                Ok((listener, bound_to))
            });
            listeners.push(bound.map_err(|source| EndpointError::Listen { address, source })?);
        }
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(EndpointError::Start)?;
        let handle = runtime.handle().clone();
        let shared = Arc::new(Shared::new(config.trust));
        let (keep_alive, alive) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (listeners, addresses): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
        let listeners = {
            let _inside = runtime.enter();
            let listeners: io::Result<Vec<_>> =
                listeners.into_iter().map(TcpListener::from_std).collect();
            listeners.map_err(EndpointError::Start)?
        };
        let serving = serve(listeners, Arc::clone(&shared), stopped, alive);
        let thread = std::thread::Builder::new()
            .name("onepath-control".to_owned())
            .spawn(move || runtime.block_on(serving))
            .map_err(EndpointError::Start)?;
        Ok(Self(Arc::new(Inner {
            addresses,
            shared,
            handle,
            keep_alive: Mutex::new(Some(keep_alive)),
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Where it listens, in the order of [`EndpointConfig::listen`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// What came to its listeners.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.shared.counters
    }

    /// The events of the endpoint and all its sessions. Each event goes to one of the receivers;
    /// when nobody reads, the latest are dropped and counted.
    pub fn events(&self) -> Receiver<Event> {
        self.0.shared.events.receiver()
    }

    /// Opens a session: blocks until all its ranks are connected with each other and know it, or
    /// until the deadline. All ranks that stay alive get the same result, unless their own
    /// deadlines end it.
    ///
    /// Not to be called on a thread that runs asynchronous tasks.
    pub fn open(&self, config: SessionConfig) -> Result<Session, SessionError> {
        config.check(&self.0.shared.trust)?;
        let keep_alive = lock(&self.0.keep_alive).clone().ok_or(SessionError::Stopped)?;
        let (session, me, world) = (config.session, config.me, config.world);
        let limit = config.deadline.saturating_add(REPORT_SLACK);
        let subflows: usize = config.data.iter().map(|&(_, count)| usize::from(count)).sum();
        // Peers may make more pinned connections than this rank does.
        let pinned: usize = config.pinned.iter().map(|pinned| 2 * pinned.ports.len()).sum();
        let arrivals = self
            .0
            .shared
            .waiting()
            .open(session, world.get() + subflows + pinned + SPARE_ARRIVALS)
            .ok_or(SessionError::AlreadyOpen { session })?;
        let status = Arc::new(Status::new(world));
        let (inbound, inbound_source) = mpsc::channel(INBOUND);
        let (dialed, dialed_source) = mpsc::channel(SPARE_ARRIVALS);
        let (commands, command_source) = mpsc::channel(Control::command_capacity(world));
        let (report, reported) = bounded(1);
        let (redials, redialer, redial_source) =
            Redials::new(session, me, config.peers.clone(), Arc::clone(&self.0.shared));
        let driver_config = DriverConfig {
            session,
            me,
            world,
            silence: config.silence.into(),
            shared: Arc::clone(&self.0.shared),
            status: Arc::clone(&status),
            inbound,
            keep_alive,
            redials,
        };
        let driver = Driver::new(driver_config, Opening::new(config, dialed, report));
        self.0.handle.spawn(driver.run(Sources {
            arrivals,
            dialed: dialed_source,
            inbound: inbound_source,
            commands: command_source,
            redials: redial_source,
        }));
        let DataSockets { data, pinned } =
            reported.recv_timeout(limit).unwrap_or(Err(SessionError::Stopped))?;
        let control = Control::new(session, me, world, status, commands, self.clone());
        Ok(Session { data, pinned, redialer, control })
    }

    /// Keeps the thread from doing anything for a while, as if the process had been stopped.
    #[doc(hidden)]
    pub fn pause_for_test(&self, pause: Duration) {
        self.0.handle.spawn(async move { std::thread::sleep(pause) });
    }

    /// Ends the thread as if the process had been killed: connections close without a goodbye.
    #[doc(hidden)]
    pub fn kill_for_test(&self) {
        self.0.end(Stop::AtOnce);
    }
}

impl Inner {
    fn end(&self, how: Stop) {
        drop(lock(&self.keep_alive).take());
        if let Some(stop) = lock(&self.stop).take() {
            let _ = stop.send(how);
        }
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        // A panic of the thread has been printed, and its sessions have failed as stopped.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end(Stop::InOrder);
    }
}

/// The main task of the control thread.
async fn serve(
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<Stop>,
    mut alive: mpsc::Receiver<std::convert::Infallible>,
) {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept_all(listener, Arc::clone(&shared)));
    }
    tasks.spawn(sweep(Arc::clone(&shared)));
    let how = stopped.await.unwrap_or(Stop::InOrder);
    drop(tasks);
    if how == Stop::InOrder {
        // Drivers say goodbye, then their connections linger, each for a bounded time.
        let _ = timeout(LINGER * 3, alive.recv()).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
