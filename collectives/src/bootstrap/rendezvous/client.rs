//! A member's connection to the store.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::CONTEXT;
use super::error::{ConnectCause, RendezvousError};
use super::message::{
    Answer, MAX_ANSWER_BYTES, MAX_BLOB_BYTES, MAX_REQUEST_BYTES, Malformed, Post,
};
use crate::bootstrap::auth::{Side, authenticate_within};
use crate::bootstrap::frame::{FrameError, read_frame, write_frame};
use crate::bootstrap::host_port::HostPort;
use crate::bootstrap::secret::Trust;

/// Pause before the second attempt; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Time for one address to accept a connection, and again for the handshake.
const ATTEMPT_TIME: Duration = Duration::from_secs(5);
/// The store says that ranks are missing; this much later we no longer believe in the store.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// A connection to the store that is authenticated on both sides.
pub struct RendezvousClient {
    stream: BufReader<TcpStream>,
    address: HostPort,
}

impl fmt::Debug for RendezvousClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RendezvousClient").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RendezvousClient {
    /// Connects to the store, again and again for as long as `patience`: it may start later than
    /// this rank. A wrong secret, another version or another protocol end it at once.
    pub async fn connect(
        address: &HostPort,
        trust: &Trust,
        patience: Duration,
    ) -> Result<Self, RendezvousError> {
        let mut retries = Retries::new(Instant::now(), patience, address);
        loop {
            if let Some(stream) = retries.run(attempt(address, trust)).await? {
                let stream = BufReader::new(stream);
                return Ok(Self { stream, address: address.clone() });
            }
        }
    }

    /// Posts and waits until all members have posted; the blobs come in the order of the ranks.
    /// After an error, or when the future was dropped before its end, the client is of no use.
    pub async fn exchange(&mut self, post: &Post) -> Result<Vec<Bytes>, RendezvousError> {
        post.check().map_err(RendezvousError::Post)?;
        let limit = post.patience.saturating_add(ANSWER_GRACE);
        let answer = timeout(limit, self.request(post)).await;
        let address = || self.address.clone();
        answer.unwrap_or_else(|_| {
            Err(RendezvousError::NoAnswer { address: address(), waited: limit })
        })
    }

    async fn request(&mut self, post: &Post) -> Result<Vec<Bytes>, RendezvousError> {
        let request = post.encode();
        let written = write_frame(&mut self.stream, &request, MAX_REQUEST_BYTES).await;
        written.map_err(|cause| self.lost(cause))?;
        let head = self.read(MAX_ANSWER_BYTES).await?;
        let wrong = |cause| RendezvousError::Answer { address: self.address.clone(), cause };
        let count = match Answer::decode(head).map_err(wrong)? {
            Answer::Failed(failure) => return Err(RendezvousError::Failed(failure)),
            Answer::Good { count } => count,
        };
        if count != post.count {
            return Err(wrong(Malformed::Count { count, expected: post.count }));
        }
        let mut blobs = Vec::with_capacity(count as usize);
        for _ in 0..count {
            blobs.push(self.read(MAX_BLOB_BYTES).await?);
        }
        Ok(blobs)
    }

    async fn read(&mut self, maximum: usize) -> Result<Bytes, RendezvousError> {
        read_frame(&mut self.stream, maximum).await.map_err(|cause| self.lost(cause))
    }

    fn lost(&self, cause: FrameError) -> RendezvousError {
        RendezvousError::Lost { address: self.address.clone(), cause }
    }
}

/// Attempts with growing pauses until a deadline.
pub(super) struct Retries<'a> {
    start: Instant,
    deadline: Instant,
    address: &'a HostPort,
    pause: Duration,
    last: Option<ConnectCause>,
}

impl<'a> Retries<'a> {
    /// Attempts to reach `address` until `patience` after `start` is over.
    pub(super) fn new(start: Instant, patience: Duration, address: &'a HostPort) -> Self {
        // The clock can not tell every time; a year is as good as for ever.
        let deadline = start + patience.min(Duration::from_hours(365 * 24));
        Self { start, deadline, address, pause: FIRST_PAUSE, last: None }
    }

    /// Runs one attempt; `None` after a pause if there is to be another one.
    pub(super) async fn run<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, ConnectCause>>,
    ) -> Result<Option<T>, RendezvousError> {
        let address = || self.address.clone();
        match timeout_at(self.deadline, attempt).await {
            Ok(Ok(value)) => return Ok(Some(value)),
            Ok(Err(cause)) if cause.is_final() => {
                return Err(RendezvousError::Refused { address: address(), cause });
            }
            Ok(Err(cause)) => self.last = Some(cause),
            Err(_) => {}
        }
        let now = Instant::now();
        if now >= self.deadline {
            let (address, elapsed, last) = (address(), self.start.elapsed(), self.last.take());
            return Err(RendezvousError::Unreachable { address, elapsed, last });
        }
        sleep_until(self.deadline.min(now + self.pause)).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Ok(None)
    }
}

/// The addresses of a host.
pub(super) async fn resolve(address: &HostPort) -> Result<Vec<SocketAddr>, ConnectCause> {
    let found: Vec<SocketAddr> = lookup_host((address.host(), address.port()))
        .await
        .map_err(ConnectCause::Resolve)?
        .collect();
    if found.is_empty() { Err(ConnectCause::NoAddress) } else { Ok(found) }
}

/// Tries every address that is trusted, once; what can not be mended is the better reason.
async fn attempt(address: &HostPort, trust: &Trust) -> Result<TcpStream, ConnectCause> {
    let mut reason: Option<ConnectCause> = None;
    for address in resolve(address).await? {
        let cause = match trust.check_address(address.ip()) {
            Ok(()) => match connect(address, trust).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => cause,
            },
            Err(untrusted) => untrusted.into(),
        };
        let weight = |cause: &ConnectCause| match cause {
            ConnectCause::Untrusted(_) => 0,
            cause if cause.is_final() => 2,
            _ => 1,
        };
        if reason.as_ref().is_none_or(|before| weight(&cause) > weight(before)) {
            reason = Some(cause);
        }
    }
    Err(reason.unwrap_or(ConnectCause::NoAddress))
}

async fn connect(address: SocketAddr, trust: &Trust) -> Result<TcpStream, ConnectCause> {
    let limit = ATTEMPT_TIME;
    let failed = |cause| ConnectCause::Connect { address, cause };
    let mut stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectCause::TimedOut { address, limit })?
        .map_err(failed)?;
    if stream.local_addr().map_err(failed)? == stream.peer_addr().map_err(failed)? {
        return Err(ConnectCause::OwnEcho { address });
    }
    stream.set_nodelay(true).map_err(failed)?;
    authenticate_within(limit, &mut stream, Side::Connector, trust, CONTEXT)
        .await
        .map_err(|cause| ConnectCause::Auth { address, cause })?;
    Ok(stream)
}
