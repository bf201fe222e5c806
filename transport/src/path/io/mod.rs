//! Probing with sockets. Each call blocks its thread until it is done or its time is up; none
//! belongs on the data path. Sockets are made in the network namespace of the calling thread.

mod answer;
mod drive;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

pub use socket::{PinError, pinned_socket};

use super::config::ConfigError;
use super::table::{Discovery, PathTable, Refusal, UnpinnedReason};
use super::{Check, ProbeConfig, Prober, Verifier};

/// Why paths were not even looked for.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration or the destinations.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The source address is not of this host.
    #[error("source {address} cannot be used: {source}; an address of this host would be right")]
    Source {
        /// The address.
        address: IpAddr,
        /// The cause.
        source: io::Error,
    },
    /// Waiting for answers failed.
    #[error("cannot wait for answers: {0}")]
    Wait(io::Error),
}

/// Finds which local ports take which path from this host to `destinations`, in at most `limit`;
/// what is not known by then is left out.
///
/// Without `source`, the address from which the first destination is reached. The real ports of
/// the destinations belong into the question: they are hashed.
///
/// # Errors
///
/// Only what a caller could have known. A host that may not probe and routers that do not answer
/// are no errors: subflows can do without, see [`Discovery::Unpinned`].
pub fn discover(
    config: &ProbeConfig,
    source: Option<IpAddr>,
    destinations: &[SocketAddr],
    limit: Duration,
) -> Result<Discovery, DiscoverError> {
    let source = match (source, destinations.first()) {
        (Some(source), _) => source,
        (None, None) => return Err(ConfigError::Destinations(0).into()),
        (None, Some(&first)) => match source_toward(first) {
            Ok(source) => source,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                let refusal = Refusal { action: "find a route to the destination", errno };
                return Ok(Discovery::Unpinned { reason: UnpinnedReason::Refused(refusal) });
            }
        },
    };
    let origin = Origin { address: source, interface: None };
    Ok(Discovery::of(discover_from(config, origin, destinations, limit)?))
}

/// Where probes leave from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The local address.
    pub(super) address: IpAddr,
    /// The only network interface to use; without one the routes decide.
    pub(super) interface: Option<&'a str>,
}

/// As [`discover`], with what is known of destinations to which no path was found.
pub(super) fn discover_from(
    config: &ProbeConfig,
    origin: Origin<'_>,
    destinations: &[SocketAddr],
    limit: Duration,
) -> Result<PathTable, DiscoverError> {
    check_source(origin.address)?;
    let mut prober = Prober::new(config, origin.address, destinations)?;
    drive::run(&mut prober, config.protocol, origin, limit)?;
    Ok(prober.table())
}

/// Asks again about every port of `table`, in at most `limit`. A port that is in use cannot be
/// asked about, so a table with spare ports can be checked while its flows run.
pub fn verify(
    config: &ProbeConfig,
    table: &PathTable,
    limit: Duration,
) -> Result<Check, DiscoverError> {
    verify_from(config, Origin { address: table.source, interface: None }, table, limit)
}

pub(super) fn verify_from(
    config: &ProbeConfig,
    origin: Origin<'_>,
    table: &PathTable,
    limit: Duration,
) -> Result<Check, DiscoverError> {
    check_source(origin.address)?;
    let mut verifier = Verifier::new(config, table)?;
    drive::run(&mut verifier, table.protocol, origin, limit)?;
    Ok(verifier.finish())
}

/// The address from which a destination is reached.
fn source_toward(destination: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if destination.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    // Looks the route up and sends nothing.
    socket.connect(destination)?;
    Ok(socket.local_addr()?.ip())
}

fn check_source(address: IpAddr) -> Result<(), DiscoverError> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(DiscoverError::Source { address, source }),
    }
}
