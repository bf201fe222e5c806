//! Connecting to a peer's endpoint, again and again until it is there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::hello::{AUTH_CONTEXT, Hello, HelloError, MAX_HELLO_BYTES, VERSION, decode_answer};
use super::shared::Shared;
use crate::bootstrap::auth::{AuthError, Side, authenticate};
use crate::bootstrap::frame::{FrameError, read_frame, write_frame};
use crate::bootstrap::secret::UntrustedAddress;

/// What one try may take, from the first packet to the answer to the hello.
const TRY_LIMIT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a try to reach a peer failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The peer's address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A local port that was asked for is not free.
    #[error("cannot use local port {port} towards {address}: {source}")]
    LocalPort {
        /// The port.
        port: u16,
        /// The peer's address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The address is not trusted.
    #[error(transparent)]
    Untrusted(#[from] UntrustedAddress),
    /// Who answers does not prove to be of the job.
    #[error("no trust with {address}: {source}")]
    Auth {
        /// The peer's address.
        address: SocketAddr,
        /// What went wrong.
        source: AuthError,
    },
    /// The connection ended, or carried no answer, after the challenge.
    #[error("{address} did not answer the greeting: {source}")]
    Greeting {
        /// The peer's address.
        address: SocketAddr,
        /// What went wrong.
        source: FrameError,
    },
    /// The answer is none.
    #[error("{address} gave an answer that makes no sense to the greeting")]
    Malformed {
        /// The peer's address.
        address: SocketAddr,
    },
    /// The peer is of another version; trying again does not help.
    #[error("{address} speaks version {theirs:#06x}, this rank {ours:#06x}")]
    VersionMismatch {
        /// The peer's address.
        address: SocketAddr,
        /// This rank's version.
        ours: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// The try took too long.
    #[error("{address} did not answer within {limit:?}")]
    TimedOut {
        /// The peer's address.
        address: SocketAddr,
        /// What it had.
        limit: Duration,
    },
}

/// The last error of a peer's dials, where whoever reports the failure finds it.
pub(super) type LastError = Arc<Mutex<Option<DialError>>>;

/// One connection that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) hello: Hello,
    /// Best first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Automatic if nothing.
    pub(super) local_port: Option<u16>,
    pub(super) last_error: LastError,
}

impl Dial {
    /// Tries all addresses in turn, with growing pauses, until one answers as it should. Ends with
    /// an error only when trying again does not help; the caller drops it when its time is over.
    pub(super) async fn run(self, shared: Arc<Shared>) -> Result<(Hello, TcpStream), DialError> {
        let mut pause = FIRST_PAUSE;
        for round in 0_u64.. {
            for &address in &self.addresses {
                match self.try_once(address, &shared).await {
                    Ok(stream) => return Ok((self.hello, stream)),
                    Err(error @ DialError::VersionMismatch { .. }) => return Err(error),
                    Err(error) => {
                        let mut last = self.last_error.lock();
                        let last = last.as_deref_mut();
                        *last.unwrap_or_else(|poisoned| poisoned.get_mut()) = Some(error);
                    }
                }
            }
            sleep(pause + self.jitter(round, pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the rounds do not end")
    }

    /// Tries each address once.
    pub(super) async fn run_once(&self, shared: &Shared) -> Option<TcpStream> {
        for &address in &self.addresses {
            if let Ok(stream) = self.try_once(address, shared).await {
                return Some(stream);
            }
        }
        None
    }

    /// Up to a whole pause, so that ranks that were turned away together do not come back together.
    fn jitter(&self, round: u64, pause: Duration) -> Duration {
        let seed = u64::from(self.hello.from.number()) << 32 | u64::from(self.hello.to.number());
        let mixed = (seed ^ round.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
        pause * mixed as u32 / (1 << 16)
    }

    async fn try_once(&self, address: SocketAddr, shared: &Shared) -> Result<TcpStream, DialError> {
        shared.trust.check_address(address.ip())?;
        let _turn = shared.dials.acquire().await;
        timeout(TRY_LIMIT, self.connect(address, shared))
            .await
            .unwrap_or(Err(DialError::TimedOut { address, limit: TRY_LIMIT }))
    }

    async fn connect(&self, address: SocketAddr, shared: &Shared) -> Result<TcpStream, DialError> {
        let mut stream = self.open(address).await?;
        authenticate(&mut stream, Side::Connector, &shared.trust, AUTH_CONTEXT).await.map_err(
            |source| match source {
                AuthError::VersionMismatch { ours, theirs } => {
                    DialError::VersionMismatch { address, ours, theirs }
                }
                source => DialError::Auth { address, source },
            },
        )?;
        let greeting = |source| DialError::Greeting { address, source };
        write_frame(&mut stream, &self.hello.encode(), MAX_HELLO_BYTES).await.map_err(greeting)?;
        let answer = read_frame(&mut stream, MAX_HELLO_BYTES).await.map_err(greeting)?;
        match decode_answer(&answer) {
            Ok(()) => Ok(stream),
            Err(HelloError::Malformed) => Err(DialError::Malformed { address }),
            Err(HelloError::Version { theirs }) => {
                Err(DialError::VersionMismatch { address, ours: VERSION, theirs })
            }
        }
    }

    async fn open(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        let connect = |source| DialError::Connect { address, source };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
            .map_err(connect)?;
        if let Some(port) = self.local_port {
            let any = if address.is_ipv4() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            };
            // Several peers may be reached from one local port: the pairs of addresses differ.
            socket
                .set_reuseaddr(true)
                .and_then(|()| socket.bind(SocketAddr::new(any, port)))
                .map_err(|source| DialError::LocalPort { port, address, source })?;
        }
        socket.set_nodelay(true).map_err(connect)?;
        socket.connect(address).await.map_err(connect)
    }
}

/// Takes the error out.
pub(super) fn take_error(last: &LastError) -> Option<DialError> {
    last.lock().unwrap_or_else(PoisonError::into_inner).take()
}
