//! The control plane over real sockets: several endpoints in one process, one thread a rank.
//!
//! Limits are long, so that a slow machine does not fail a test; what is waited for comes early.

mod failures;
mod opening;
mod pinned;
mod strangers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onepath_collectives::bootstrap::{JobSecret, Trust};
use onepath_collectives::control::{
    Control, DEFAULT_SILENCE, Endpoint, EndpointConfig, Failure, Session, SessionConfig,
    SessionError,
};
use onepath_topology::{Rank, WorldSize};

const SESSION: u128 = 0x1234_5678_9abc_def0_1122;
const LIMIT: Duration = Duration::from_mins(1);
/// Much more than a prompt reaction takes, and less than [`DEFAULT_SILENCE`].
const PROMPT: Duration = Duration::from_secs(8);

fn secret(text: &str) -> Arc<Trust> {
    let secret = JobSecret::new(text.as_bytes().to_vec(), "test").expect("a good secret");
    Arc::new(Trust::Secret(secret))
}

fn trust() -> Arc<Trust> {
    secret("a secret of this test")
}

fn endpoint_with(trust: Arc<Trust>) -> Endpoint {
    let listen = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    Endpoint::start(EndpointConfig { listen, trust }).expect("an endpoint")
}

fn endpoints(count: usize) -> Vec<Endpoint> {
    (0..count).map(|_| endpoint_with(trust())).collect()
}

fn addresses(endpoints: &[Endpoint]) -> Vec<Vec<SocketAddr>> {
    endpoints.iter().map(|endpoint| endpoint.addresses().to_vec()).collect()
}

fn rank(number: usize) -> Rank {
    Rank::from_index(number)
}

fn ranks(numbers: &[usize]) -> Vec<Rank> {
    numbers.iter().map(|&number| rank(number)).collect()
}

/// The data connections of `me` in a full mesh.
fn full_mesh(me: usize, world: usize, subflows: u16) -> Vec<(Rank, u16)> {
    (0..world).filter(|&peer| peer != me).map(|peer| (rank(peer), subflows)).collect()
}

/// A session of all `peers` without data connections.
fn config(me: usize, peers: Vec<Vec<SocketAddr>>) -> SessionConfig {
    SessionConfig {
        session: SESSION,
        me: rank(me),
        world: WorldSize::new(peers.len() as u64).expect("a world size"),
        peers,
        data: Vec::new(),
        pinned: Vec::new(),
        local_ports: Vec::new(),
        silence: DEFAULT_SILENCE,
        deadline: LIMIT,
        parent: None,
    }
}

/// Opens one session on all endpoints at once; `change` sees each rank's configuration.
fn try_open(
    endpoints: &[Endpoint],
    change: impl Fn(usize, &mut SessionConfig),
) -> Vec<Result<Session, SessionError>> {
    let peers = addresses(endpoints);
    std::thread::scope(|scope| {
        let open = |(me, endpoint)| {
            let mut config = config(me, peers.clone());
            change(me, &mut config);
            scope.spawn(move || Endpoint::open(endpoint, config))
        };
        let threads: Vec<_> = endpoints.iter().enumerate().map(open).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn open(endpoints: &[Endpoint], change: impl Fn(usize, &mut SessionConfig)) -> Vec<Session> {
    try_open(endpoints, change).into_iter().map(|result| result.expect("open")).collect()
}

fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_for_failure(control: &Control) -> Failure {
    wait_for("a failure", PROMPT, || {
        control.failure_flag().then(|| control.failure().expect("the flag is set"))
    })
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
