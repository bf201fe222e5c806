//! Which local ports take which path to other hosts.
//!
//! | file | what it holds |
//! |---|---|
//! | `device` | the source of an RDMA device's queue pairs |
//! | `report` | what was found, as table, CSV and JSON |

mod device;
mod report;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum, value_parser};
use onepath_collectives::bootstrap::host_port::{DEFAULT_PORT, HostPort};
use onepath_transport::path::{
    DiscoverError, Discovery, HopRange, PathFile, ProbeConfig, Protocol, UnpinnedReason, discover,
    roce,
};
use onepath_transport::verbs::ROCE_UDP_PORT;

use device::DeviceProblem;
use report::Report;

/// How the paths are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathsFormat {
    /// To be read
    #[default]
    Table,
    /// One line a port, with a line of names
    Csv,
    /// One document
    Json,
}

/// Options of `paths`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PathsArguments {
    /// Destinations, as in node2:29500,10.1.0.3:29500; the port is hashed, so it should be the one
    /// that flows go to [default port: 29400]
    #[arg(long, required = true, value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub(crate) to: Vec<HostPort>,
    /// Local address of the flows [default: by the route to the first destination; the device's
    /// first of that family with --roce]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<IpAddr>,
    /// tcp or udp: the protocol is hashed [default: tcp]
    #[arg(long, conflicts_with = "roce")]
    pub(crate) protocol: Option<Protocol>,
    /// RDMA device, as in rxe0: which flow labels of its queue pairs take which path, by RoCE v2
    #[arg(long, value_name = "DEVICE")]
    pub(crate) roce: Option<String>,
    /// Local ports wanted on each path
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) ports: u16,
    /// How many paths there are, if that is known; ends the search when they are found
    #[arg(long, value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) paths: Option<u16>,
    /// Hop or hops whose answers name a path: 2 is the spine above a leaf
    #[arg(long, default_value = "2", value_name = "HOPS")]
    pub(crate) ttl: HopRange,
    /// Seconds after which the search ends with what was found
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Seed of the order in which local ports are tried
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write the table to a file of paths (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: PathsFormat,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathsError {
    /// A name that nobody knows.
    #[error("--to {host}: {source}; a known host or an address would be right")]
    Host {
        /// As it was given.
        host: HostPort,
        /// The cause.
        source: io::Error,
    },
    /// A host without an address of the right family.
    #[error("--to {host}: it has no {family} address, as --from or the first of --to has")]
    Family {
        /// As it was given.
        host: HostPort,
        /// The family of the source.
        family: &'static str,
    },
    /// A port that RoCE does not go to.
    #[error("--to {host}: RoCE v2 goes to UDP port {ROCE_UDP_PORT}; the host alone would be right")]
    Port {
        /// As it was given.
        host: HostPort,
    },
    /// RoCE without the device that sends.
    #[error("--protocol roce: --roce DEVICE would be right, as in --roce rxe0")]
    NoDevice,
    /// The device cannot be used.
    #[error("--roce {device}: {problem}")]
    Device {
        /// Its name.
        device: String,
        /// The cause.
        problem: DeviceProblem,
    },
    /// Options that the search refuses, or a failure of it.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// Nothing was found.
    #[error("no paths: {0}; subflows would go unpinned")]
    Unpinned(UnpinnedReason),
    /// The file was not written.
    #[error("cannot write {}: {source}", path.display())]
    Save {
        /// `--save`.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Standard output went away.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl PathsError {
    /// Whether the command line was wrong.
    pub(crate) const fn is_usage(&self) -> bool {
        match self {
            Self::Host { .. } | Self::Family { .. } | Self::Port { .. } | Self::NoDevice => true,
            Self::Device { problem, .. } => problem.is_usage(),
            Self::Discover(error) => !matches!(error, DiscoverError::Wait(_)),
            Self::Unpinned(_) | Self::Save { .. } | Self::Output(_) => false,
        }
    }
}

/// Finds the paths, writes and saves them.
pub(crate) fn run(arguments: &PathsArguments) -> Result<(), PathsError> {
    let default = match (&arguments.roce, arguments.protocol) {
        (Some(_), _) => ProbeConfig::roce(),
        (None, Some(Protocol::Roce)) => return Err(PathsError::NoDevice),
        (None, protocol) => {
            ProbeConfig { protocol: protocol.unwrap_or(Protocol::Tcp), ..ProbeConfig::default() }
        }
    };
    let destinations = resolve(arguments)?;
    let config = ProbeConfig {
        hops: arguments.ttl,
        ports_per_path: arguments.ports,
        expected_paths: arguments.paths,
        seed: arguments.seed,
        ..default
    };
    let limit = Duration::from_secs(arguments.timeout);
    let began = Instant::now();
    let discovery = match &arguments.roce {
        Some(device) => of_device(device, arguments.from, &config, &destinations, limit)?,
        None => discover(&config, arguments.from, &destinations, limit)?,
    };
    let report = Report::new(&config, &discovery, began.elapsed());
    report.write(arguments.format, &mut io::stdout().lock())?;
    match discovery {
        Discovery::Unpinned { reason } => Err(PathsError::Unpinned(reason)),
        Discovery::Pinned(table) => match &arguments.save {
            None => Ok(()),
            Some(path) => fs::write(path, PathFile::of(&table).to_string())
                .map_err(|source| PathsError::Save { path: path.clone(), source }),
        },
    }
}

/// Which flow labels take which path from a device.
fn of_device(
    device: &str,
    from: Option<IpAddr>,
    config: &ProbeConfig,
    destinations: &[SocketAddr],
    limit: Duration,
) -> Result<Discovery, PathsError> {
    let addresses: Vec<IpAddr> = destinations.iter().map(SocketAddr::ip).collect();
    let six = addresses.first().is_some_and(IpAddr::is_ipv6);
    let source = device::source(device, from, six)
        .map_err(|problem| PathsError::Device { device: device.to_owned(), problem })?;
    Ok(roce::discover(config, &source, &addresses, limit)?)
}

/// One address for each destination, all of the family of the source.
fn resolve(arguments: &PathsArguments) -> Result<Vec<SocketAddr>, PathsError> {
    let mut six = arguments.from.map(|from| from.is_ipv6());
    let mut resolved = Vec::with_capacity(arguments.to.len());
    for host in &arguments.to {
        let addresses: Vec<SocketAddr> = (host.host(), host.port())
            .to_socket_addrs()
            .map_err(|source| PathsError::Host { host: host.clone(), source })?
            .collect();
        let fits = |address: &&SocketAddr| six.is_none_or(|six| address.is_ipv6() == six);
        let Some(&address) = addresses.iter().find(fits) else {
            let family = if six == Some(true) { "IPv6" } else { "IPv4" };
            return Err(PathsError::Family { host: host.clone(), family });
        };
        six = Some(address.is_ipv6());
        // Nobody who leaves the port out means that of the rendezvous.
        if arguments.roce.is_some() && ![DEFAULT_PORT, ROCE_UDP_PORT].contains(&address.port()) {
            return Err(PathsError::Port { host: host.clone() });
        }
        resolved.push(address);
    }
    Ok(resolved)
}
