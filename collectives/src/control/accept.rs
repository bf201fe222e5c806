//! Accepting connections: who does not prove in time to be of the job is turned away, counted, and
//! harms nobody.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::hello::{AUTH_CONTEXT, Hello, HelloError, MAX_HELLO_BYTES, encode_answer};
use super::shared::Shared;
use super::waiting::{Arrival, Undelivered};
use crate::bootstrap::auth::{Side, authenticate};
use crate::bootstrap::counters::{Counters, Rejection};
use crate::bootstrap::frame::{FrameError, read_frame, write_frame};

/// Handshakes that are under way at once, over all listeners of an endpoint.
const MAX_PENDING: usize = 64;
/// What one handshake may take in all.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// After an error of `accept`: most come from a lack of descriptors, which takes time to pass.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// How often connections whose session never opened are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A handshake under way.
#[derive(Debug)]
struct PendingEntry {
    id: u64,
    from: SocketAddr,
    spoke: Arc<AtomicBool>,
    task: AbortHandle,
}

/// All handshakes under way on an endpoint, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    next_id: u64,
    entries: VecDeque<PendingEntry>,
}

impl Pending {
    /// Makes room for one more: the oldest that said nothing goes, else the oldest.
    fn make_room(&mut self) -> Option<PendingEntry> {
        if self.entries.len() < MAX_PENDING {
            return None;
        }
        let is_silent = |entry: &PendingEntry| !entry.spoke.load(Ordering::Relaxed);
        let victim = self.entries.iter().position(is_silent).unwrap_or(0);
        self.entries.remove(victim)
    }
}

/// Accepts on one listener until the task is dropped.
pub(super) async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            Counters::count(&shared.counters.accept_errors);
            sleep(ERROR_PAUSE).await;
            continue;
        };
        begin_handshake(stream, from, &shared);
        // Whoever has already spoken gets on before the next one may take its place.
        yield_now().await;
    }
}

/// Turns away connections that have waited too long for their session.
pub(super) async fn sweep(shared: Arc<Shared>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        for expired in shared.waiting().expire(Instant::now()) {
            shared.reject(expired.from, Rejection::UnknownSession);
        }
    }
}

fn begin_handshake(stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) {
    Counters::count(&shared.counters.accepted);
    if shared.trust.check_address(from.ip()).is_err() {
        return shared.reject(from, Rejection::UntrustedAddress);
    }
    let mut pending = lock(&shared.pending);
    if let Some(victim) = pending.make_room() {
        victim.task.abort();
        shared.reject(victim.from, Rejection::Displaced);
    }
    let id = pending.next_id;
    pending.next_id += 1;
    let spoke = Arc::new(AtomicBool::new(false));
    let handshake = {
        let (shared, spoke) = (Arc::clone(shared), Arc::clone(&spoke));
        async move {
            let result = timeout(HANDSHAKE_LIMIT, greet(stream, from, &shared, &spoke)).await;
            lock(&shared.pending).entries.retain(|entry| entry.id != id);
            if let Err(reason) = result.unwrap_or(Err(Rejection::Silent)) {
                shared.reject(from, reason);
            }
        }
    };
    let task = tokio::spawn(handshake).abort_handle();
    pending.entries.push_back(PendingEntry { id, from, spoke, task });
}

async fn greet(
    mut stream: TcpStream,
    from: SocketAddr,
    shared: &Shared,
    spoke: &AtomicBool,
) -> Result<(), Rejection> {
    stream.readable().await.map_err(|_| Rejection::Closed)?;
    spoke.store(true, Ordering::Relaxed);
    stream.set_nodelay(true).map_err(|_| Rejection::Closed)?;
    authenticate(&mut stream, Side::Acceptor, &shared.trust, AUTH_CONTEXT)
        .await
        .map_err(|error| Rejection::from(&error))?;
    let content =
        read_frame(&mut stream, MAX_HELLO_BYTES).await.map_err(|error| frame_rejection(&error))?;
    let hello = match Hello::decode(&content) {
        Ok(hello) => hello,
        Err(HelloError::Malformed) => return Err(Rejection::Malformed),
        Err(HelloError::Version { .. }) => {
            let _ = write_frame(&mut stream, &encode_answer(false), MAX_HELLO_BYTES).await;
            return Err(Rejection::VersionMismatch);
        }
    };
    write_frame(&mut stream, &encode_answer(true), MAX_HELLO_BYTES)
        .await
        .map_err(|_| Rejection::Closed)?;
    // No await between the answer and the delivery: the session has the connection before it can
    // read what the peer says after the answer.
    let delivered = shared.waiting().deliver(Arrival { hello, stream, from }, Instant::now());
    delivered.map_err(|undelivered| match undelivered {
        Undelivered::NoRoom => Rejection::UnknownSession,
        Undelivered::Unwanted => Rejection::Unwanted,
    })?;
    Counters::count(&shared.counters.admitted);
    Ok(())
}

fn frame_rejection(error: &FrameError) -> Rejection {
    match error {
        FrameError::TooLong { .. } => Rejection::Malformed,
        FrameError::Io(_) | FrameError::Closed | FrameError::Truncated { .. } => Rejection::Closed,
    }
}

fn lock(pending: &Mutex<Pending>) -> std::sync::MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener on an automatic port.
pub(super) fn listen(address: std::net::IpAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((address, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
