//! What can go wrong on a member's side of the rendezvous.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::failure::{Failure, seconds};
use super::message::Malformed;
use crate::bootstrap::auth::AuthError;
use crate::bootstrap::frame::FrameError;
use crate::bootstrap::host_port::HostPort;
use crate::bootstrap::secret::UntrustedAddress;

/// Why a store can not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can be reached from other hosts, and there is no secret.
    #[error("the rendezvous can not be hosted: {0}")]
    Untrusted(#[from] UntrustedAddress),
    /// Somebody else listens there.
    #[error(
        "the rendezvous can not be hosted: port {port} at {ip} is taken; \
         end the other process or choose another port (MASTER_PORT)",
        port = address.port(),
        ip = address.ip()
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("the rendezvous can not be hosted at {address}: {cause}")]
    System {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
}

/// Why one attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectCause {
    /// The host's name is not known (yet).
    #[error("the host name can not be resolved: {0}")]
    Resolve(#[source] io::Error),
    /// The host's name has no address.
    #[error("the host name has no address")]
    NoAddress,
    /// None of its addresses may be spoken to.
    #[error("{0}")]
    Untrusted(#[from] UntrustedAddress),
    /// The address can not be reached, or nobody listens there (yet).
    #[error("{address}: {cause}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The connection met itself, as can happen on loopback when nobody listens.
    #[error("{address}: nobody listens")]
    OwnEcho {
        /// The address.
        address: SocketAddr,
    },
    /// The address does not answer.
    #[error("{address}: no answer within {}", seconds(*limit))]
    TimedOut {
        /// The address.
        address: SocketAddr,
        /// How long it had.
        limit: Duration,
    },
    /// Somebody listens, but is not trusted.
    #[error("{address}: {cause}")]
    Auth {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: AuthError,
    },
}

impl ConnectCause {
    /// Whether trying again can not help.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Untrusted(_) => true,
            Self::Auth { cause, .. } => matches!(
                cause,
                AuthError::WrongSecret
                    | AuthError::NotOnepath { .. }
                    | AuthError::VersionMismatch { .. }
                    | AuthError::NoRandomness(_)
            ),
            _ => false,
        }
    }
}

/// Why a rank did not meet the others.
#[derive(Debug, thiserror::Error)]
pub enum RendezvousError {
    /// This rank was to host the store and can not.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store was not reached in time.
    #[error(
        "the rendezvous at {address} was not reached within {}; last attempt: {}",
        seconds(*elapsed),
        cause_text(last.as_ref())
    )]
    Unreachable {
        /// The address.
        address: HostPort,
        /// For how long it was tried.
        elapsed: Duration,
        /// Why the last attempt failed; `None` if not even one ended.
        last: Option<ConnectCause>,
    },
    /// The store can not be used, and trying again would not help.
    #[error("the rendezvous at {address} can not be used: {cause}")]
    Refused {
        /// The address.
        address: HostPort,
        /// Why.
        cause: ConnectCause,
    },
    /// What this rank wanted to post is out of bounds.
    #[error("this rank's post to the rendezvous is wrong: {0}")]
    Post(#[source] Malformed),
    /// The connection to the store was lost.
    #[error("the connection to the rendezvous at {address} was lost: {cause}")]
    Lost {
        /// The address.
        address: HostPort,
        /// Why.
        cause: FrameError,
    },
    /// The store answered something else.
    #[error("the rendezvous at {address} gave a wrong answer: {cause}")]
    Answer {
        /// The address.
        address: HostPort,
        /// What is wrong with it.
        cause: Malformed,
    },
    /// The store did not answer, not even that ranks are missing.
    #[error("the rendezvous at {address} did not answer within {}", seconds(*waited))]
    NoAnswer {
        /// The address.
        address: HostPort,
        /// For how long it was waited.
        waited: Duration,
    },
    /// The exchange ended for all ranks.
    #[error("{0}")]
    Failed(Failure),
}

fn cause_text(cause: Option<&ConnectCause>) -> String {
    cause.map_or_else(|| "none ended".to_owned(), ToString::to_string)
}
