//! The rendezvous: a store in which all ranks of a job meet.
//!
//! Its one operation is an exchange: each of `count` members posts a blob, and when all have
//! posted, everybody gets all blobs. The same exchange compares parameters, so that ranks that
//! would not understand each other are told before they try, all of them, with both values.
//!
//! | file | what it holds |
//! |---|---|
//! | `message`, `failure` | what goes over the wire |
//! | `table` | the exchanges as a state machine without I/O |
//! | `server`, `session`, `waiting_room` | the store: listening, one connection, strangers |
//! | `client` | a member's connection |
//! | `error` | what a member may be told |
//! | `fuzzing` | parsers for the fuzz targets |

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onepath_topology::{Rank, WorldSize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

mod client;
mod error;
mod failure;
pub(crate) mod fuzzing;
mod message;
mod server;
mod session;
mod table;
mod waiting_room;

pub use client::RendezvousClient;
pub use error::{BindError, ConnectCause, RendezvousError};
pub use failure::{Failure, MAX_NAMED};
pub use message::{
    MAX_BLOB_BYTES, MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_PARAMETERS, MAX_VALUE_BYTES, Malformed,
    PROTOCOL_VERSION, Post,
};
pub use server::{RendezvousServer, ServerLimits};

use client::{Retries, resolve};
use waiting_room::Seat;

use super::counters::Counters;
use super::host_port::HostPort;
use super::secret::Trust;

/// For how long ranks wait for each other unless something else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Connections beyond the world size, for members that come twice.
const SPARE_CONNECTIONS: usize = 16;

/// For how long a taken port may become free: a job that starts anew may find the process before it
/// still ending.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// Ties the challenge to this use of the secret.
const CONTEXT: &[u8] = b"onepath rendezvous";

/// Who runs the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hosting {
    /// Rank 0, if the address is one of its host's.
    #[default]
    Automatic,
    /// This rank, whichever it is.
    Here,
    /// Somebody else, as a launcher.
    Elsewhere,
}

/// How a rank meets the others; start from [`Self::new`].
#[derive(Clone)]
pub struct RendezvousConfig {
    /// Where: the same on all ranks.
    pub address: HostPort,
    /// This rank.
    pub rank: Rank,
    /// Ranks in all.
    pub world_size: WorldSize,
    /// Who may join.
    pub trust: Trust,
    /// Names and values that must be the same on all ranks, beside `world_size`, which always
    /// must; at most [`MAX_PARAMETERS`] − 1.
    pub parameters: Vec<(String, String)>,
    /// How long this rank waits for the store and the other ranks, together.
    pub timeout: Duration,
    /// Who runs the store.
    pub hosting: Hosting,
    /// Which exchange, when a store serves several.
    pub key: String,
    /// Where a rank that hosts counts connections.
    pub counters: Arc<Counters>,
}

impl fmt::Debug for RendezvousConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RendezvousConfig")
            .field("address", &self.address)
            .field("rank", &self.rank)
            .field("world_size", &self.world_size)
            .field("hosting", &self.hosting)
            .finish_non_exhaustive()
    }
}

impl RendezvousConfig {
    /// Meets at `address`: 60 s, rank 0 hosts, no parameters but the world size.
    pub fn new(address: HostPort, rank: Rank, world_size: WorldSize, trust: Trust) -> Self {
        Self {
            address,
            rank,
            world_size,
            trust,
            parameters: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            hosting: Hosting::Automatic,
            key: "world".to_owned(),
            counters: Arc::default(),
        }
    }

    fn post(&self, blob: Bytes, patience: Duration) -> Post {
        let mut parameters = vec![("world_size".to_owned(), self.world_size.to_string())];
        parameters.extend_from_slice(&self.parameters);
        Post {
            key: self.key.clone(),
            rank: self.rank.number(),
            count: self.world_size.into(),
            parameters,
            blob,
            patience,
        }
    }
}

/// Gives `blob` (at most [`MAX_BLOB_BYTES`]) to all ranks and returns every rank's, by rank.
///
/// All ranks call it, in any order of time; whoever hosts the store returns when all others have
/// their answers. A world of one rank needs no store, unless it is [`Hosting::Elsewhere`].
pub async fn rendezvous(
    config: &RendezvousConfig,
    blob: Bytes,
) -> Result<Vec<Bytes>, RendezvousError> {
    let start = Instant::now();
    config.post(blob.clone(), config.timeout).check().map_err(RendezvousError::Post)?;
    if config.world_size.get() == 1 && config.hosting != Hosting::Elsewhere {
        return Ok(vec![blob]);
    }
    match host(config, start).await? {
        None => join(config, blob, start).await,
        Some(server) => host_and_join(server, config, blob, start).await,
    }
}

/// The member's part.
async fn join(
    config: &RendezvousConfig,
    blob: Bytes,
    start: Instant,
) -> Result<Vec<Bytes>, RendezvousError> {
    let left = || config.timeout.saturating_sub(start.elapsed());
    let mut client = RendezvousClient::connect(&config.address, &config.trust, left()).await?;
    client.exchange(&config.post(blob, left())).await
}

async fn host_and_join(
    server: RendezvousServer,
    config: &RendezvousConfig,
    blob: Bytes,
    start: Instant,
) -> Result<Vec<Bytes>, RendezvousError> {
    let finished = server.finished(&config.key);
    let (give_up, abandoned) = oneshot::channel::<()>();
    let until = async {
        tokio::select! {
            () = finished => {}
            _ = abandoned => {}
        }
    };
    let member = async {
        let result = join(config, blob, start).await;
        // An answer of the store reaches the others as well; without one nothing will.
        let keep = matches!(result, Ok(_) | Err(RendezvousError::Failed(_))).then_some(give_up);
        (result, keep)
    };
    let ((), (result, _)) = tokio::join!(server.serve(until), member);
    result
}

/// The store, if this rank is to host it.
async fn host(
    config: &RendezvousConfig,
    start: Instant,
) -> Result<Option<RendezvousServer>, RendezvousError> {
    let hosts = match config.hosting {
        Hosting::Here => true,
        Hosting::Automatic => config.rank.number() == 0,
        Hosting::Elsewhere => false,
    };
    if !hosts {
        return Ok(None);
    }
    let limits = ServerLimits {
        connections: config.world_size.get() + SPARE_CONNECTIONS,
        ..ServerLimits::default()
    };
    let bind = |address| {
        let (trust, counters) = (config.trust.clone(), Arc::clone(&config.counters));
        RendezvousServer::bind_with(address, trust, limits, counters)
    };
    let Some(mut address) = bind_address(config, start).await? else {
        return Ok(None);
    };
    let deadline = Instant::now() + PORT_PATIENCE.min(config.timeout);
    loop {
        match bind(address) {
            // A host without IPv6.
            Err(BindError::System { .. }) if address.ip() == Ipv6Addr::UNSPECIFIED => {
                address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            }
            Err(BindError::PortTaken { .. }) if Instant::now() < deadline => {
                sleep(PORT_PAUSE).await;
            }
            result => return Ok(Some(result?)),
        }
    }
}

/// Where to listen: a literal or loopback address as it is; for a name all addresses, because
/// other hosts may resolve it to another one than this host does.
async fn bind_address(
    config: &RendezvousConfig,
    start: Instant,
) -> Result<Option<SocketAddr>, RendezvousError> {
    let address = &config.address;
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    let by_name = address.literal().is_none() && !address.is_loopback();
    let restricted = matches!(config.trust, Trust::LoopbackOnly);
    if by_name && !restricted && config.hosting == Hosting::Here {
        return Ok(Some(everywhere));
    }
    let mut retries = Retries::new(start, config.timeout, address);
    let found = loop {
        if let Some(found) = retries.run(resolve(address)).await? {
            break found;
        }
    };
    let mut verdicts = found.iter().map(|found| config.trust.check_address(found.ip()));
    if !verdicts.any(|verdict| verdict.is_ok()) {
        config.trust.check_address(found[0].ip()).map_err(BindError::from)?;
    }
    // Of several loopback addresses one is enough: clients try them all.
    let local = found.into_iter().find(|found| {
        config.trust.check_address(found.ip()).is_ok()
            && (config.hosting == Hosting::Here || is_local(*found))
    });
    Ok(local.map(|local| if by_name && !restricted { everywhere } else { local }))
}

/// Whether a socket can have this address, which is what counts.
fn is_local(address: SocketAddr) -> bool {
    let mut free = address;
    free.set_port(0);
    let bound: io::Result<UdpSocket> = UdpSocket::bind(free);
    bound.is_ok()
}

#[cfg(test)]
mod tests;
