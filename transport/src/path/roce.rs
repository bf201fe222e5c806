//! Which flow label takes which path: discovery for the queue pairs of an RDMA device.
//!
//! Linux makes the UDP source port of a RoCE v2 packet from the flow label of its queue pair
//! ([`FlowLabel::source_port`]), and all else of the five-tuple is known: the addresses are those
//! of the two GIDs, the destination port is 4791. So a label is asked about by a datagram of that
//! very five-tuple with a limited time to live, as ports of sockets are; it goes through the host's
//! network stack, but the switches cannot tell. The table that comes out has labels in the form of
//! ports: [`labels`] gives them by path.
//!
//! - Probes are bound to the network interface of the GID. Otherwise a destination that is another
//!   device of the same host would be reached over loopback, and a host with several interfaces
//!   might use another than the device does.
//! - The ports of queue pairs are no sockets' ports, so [`verify`] can ask about a label while
//!   queue pairs use it.
//! - A device takes what arrives at port 4791, and throws empty datagrams away without a word. So a
//!   destination nearer than the hops that name paths is recognised by a probe to another port
//!   ([`NEAR_PORT`]). Where that is filtered as well, it looks like one that nobody answers for.
//! - Which label a device's driver turns into which port is for the driver: [`FlowLabel`] says of
//!   which that is known.
//! - Over IPv6 the header has a flow label of its own. In probes it is 0, as in packets of
//!   soft-RoCE. Switches that hash it and devices that fill it would need probes with it. Untested.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::io::{DiscoverError, Origin, discover_from, verify_from};
use super::{Check, Discovery, PathId, PathTable, ProbeConfig, Protocol};
use crate::verbs::{Context, FlowLabel, GidEntry, GidError, PortNumber, ROCE_UDP_PORT};

/// Where the distance of a destination is asked about: the first port of traceroute, at which
/// nobody listens, so that hosts answer.
pub const NEAR_PORT: u16 = 33_434;

/// Ports from which the distance is asked about before that is given up.
const NEAR_TRIES: u16 = 4;

/// Where the queue pairs of a device send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoceSource {
    /// The address of the GID.
    pub address: IpAddr,
    /// The network interface of the GID.
    pub interface: String,
}

impl RoceSource {
    /// Of queue pairs at a port of an open device that use an entry of its GID table.
    pub fn of(context: &Context, port: PortNumber, gid: &GidEntry) -> Result<Self, GidError> {
        let interface = gid.interface(context, port)?;
        Ok(Self { address: gid.gid.address(), interface })
    }

    fn origin(&self) -> Origin<'_> {
        Origin { address: self.address, interface: Some(&self.interface) }
    }
}

/// Finds which flow labels take which path from a device to the GIDs of others, in at most `limit`;
/// what is not known by then is left out. Blocks its thread.
///
/// The configuration is [`ProbeConfig::roce`] or a variant of it. In the table, destinations have
/// port 4791, and local ports stand for labels: see [`labels`].
///
/// # Errors
///
/// Only what a caller could have known. A host that may not probe and routers that do not answer
/// are no errors: queue pairs can do with any label, see [`Discovery::Unpinned`].
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
///
/// use onepath_transport::path::{Discovery, ProbeConfig, roce};
///
/// let source = roce::RoceSource { address: [10, 0, 0, 1].into(), interface: "eth0".to_owned() };
/// let peer = [10, 0, 1, 1].into();
/// let limit = Duration::from_secs(10);
/// match roce::discover(&ProbeConfig::roce(), &source, &[peer], limit)? {
///     Discovery::Pinned(table) => {
///         for of_path in roce::labels(&table, peer).unwrap_or_default() {
///             println!("{}: {:?}", of_path.path, of_path.labels);
///         }
///     }
///     Discovery::Unpinned { reason } => println!("any label will do: {reason}"),
/// }
/// # Ok::<(), onepath_transport::path::DiscoverError>(())
/// ```
pub fn discover(
    config: &ProbeConfig,
    source: &RoceSource,
    destinations: &[IpAddr],
    limit: Duration,
) -> Result<Discovery, DiscoverError> {
    let began = Instant::now();
    let config = ProbeConfig { protocol: Protocol::Roce, ..config.clone() };
    config.check()?;
    let origin = source.origin();
    let near_config = near_config(&config);
    let asked = at_port(destinations, NEAR_PORT);
    let near = discover_from(&near_config, origin, &asked, limit)?.rack_local;
    let is_near = |address: &IpAddr| near.iter().any(|near| near.ip() == *address);
    let far: Vec<IpAddr> = destinations.iter().copied().filter(|at| !is_near(at)).collect();
    let near: Vec<IpAddr> = destinations.iter().copied().filter(is_near).collect();
    let mut table = if far.is_empty() {
        empty(&config, source.address)
    } else {
        let left = limit.saturating_sub(began.elapsed());
        discover_from(&config, origin, &at_port(&far, ROCE_UDP_PORT), left)?
    };
    table.rack_local.extend(at_port(&near, ROCE_UDP_PORT));
    table.rack_local.sort_unstable();
    Ok(Discovery::of(table))
}

/// Asks again about every label of `table`, in at most `limit`, also while queue pairs use them.
pub fn verify(
    config: &ProbeConfig,
    source: &RoceSource,
    table: &PathTable,
    limit: Duration,
) -> Result<Check, DiscoverError> {
    verify_from(config, source.origin(), table, limit)
}

/// The flow labels that take a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelsOfPath {
    /// The path.
    pub path: PathId,
    /// Labels in the order in which they were tried: of two discoveries with different seeds, the
    /// first ones differ.
    pub labels: Vec<FlowLabel>,
}

/// The labels toward a destination, by path, paths ascending; those of a path without any are left
/// out. Nothing if the table has no path to it: it is under the same leaf, where there is nothing
/// to choose, or nobody answered; any label will do then.
pub fn labels(table: &PathTable, destination: IpAddr) -> Option<Vec<LabelsOfPath>> {
    let destination = SocketAddr::new(destination, ROCE_UDP_PORT);
    table.find(destination)?;
    let of_path = table.ports_by_path(destination).map(|(path, ports)| {
        // A table of another protocol has ports that no label chooses.
        let labels = ports.filter_map(|port| FlowLabel::for_source_port(port).ok()).collect();
        LabelsOfPath { path: path.clone(), labels }
    });
    Some(of_path.filter(|of_path| !of_path.labels.is_empty()).collect())
}

/// How it is found out which destinations are nearer than the hops that name paths: one answer from
/// whatever port is enough.
fn near_config(config: &ProbeConfig) -> ProbeConfig {
    ProbeConfig {
        protocol: Protocol::Udp,
        local_ports: ProbeConfig::default().local_ports,
        ports_per_path: 1,
        expected_paths: Some(1),
        port_budget: u32::from(NEAR_TRIES),
        silent_limit: NEAR_TRIES,
        find_leaves: false,
        ..config.clone()
    }
}

fn at_port(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    addresses.iter().map(|&address| SocketAddr::new(address, port)).collect()
}

fn empty(config: &ProbeConfig, source: IpAddr) -> PathTable {
    PathTable {
        protocol: Protocol::Roce,
        source,
        hops: config.hops,
        leaves: Vec::new(),
        rack_local: Vec::new(),
        unpinned: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{ConfigError, PathFile, PinnedPort};

    const FILE: &str = r#"
protocol = "roce"
[[destination]]
to = "10.1.2.1:4791"
path = [
    { hops = ["172.16.0.2"], ports = [49153, 49155] },
    { hops = ["172.16.1.2"], ports = [49152, 65535] },
]
"#;

    fn table() -> PathTable {
        let file = PathFile::parse(FILE).expect("it is right");
        let asked = ["10.1.2.1:4791", "10.1.3.1:4791"].map(|at| at.parse().expect("an address"));
        match file.table([10, 0, 0, 1].into(), &asked) {
            Discovery::Pinned(table) => table,
            Discovery::Unpinned { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn ports_of_a_table_become_labels_by_path_and_those_of_no_label_are_left_out() {
        let mut table = table();
        let leaf = &mut table.leaves[0];
        leaf.paths.push(PathId::Named("of another protocol".to_owned()));
        let port = PinnedPort { port: 20_000, round_trip: None };
        leaf.destinations[0].ports.push(vec![port]);
        let found = labels(&table, [10, 1, 2, 1].into()).expect("in the file");
        let shown: Vec<(String, Vec<u32>)> = found
            .iter()
            .map(|of| (of.path.to_string(), of.labels.iter().map(|label| label.get()).collect()))
            .collect();
        let expected = [("172.16.0.2", vec![1, 3]), ("172.16.1.2", vec![0x4001, 0x3fff])];
        assert_eq!(shown, expected.map(|(path, labels)| (path.to_owned(), labels)));
    }

    #[test]
    fn a_destination_that_is_not_in_the_table_has_no_labels() {
        assert_eq!(labels(&table(), [10, 1, 3, 1].into()), None);
    }

    fn error(config: &ProbeConfig, interface: &str) -> DiscoverError {
        let source = RoceSource { address: [127, 0, 0, 1].into(), interface: interface.to_owned() };
        let destinations = [[127, 0, 0, 1].into()];
        discover(config, &source, &destinations, Duration::from_secs(5)).expect_err("it is wrong")
    }

    #[test]
    fn ports_that_no_label_chooses_are_refused_with_those_that_one_does() {
        let text = error(&ProbeConfig::default(), "lo").to_string();
        for part in ["local_ports is 16384 to 32767", "49152", "65535"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_destination_at_another_port_is_refused() {
        let at = "10.1.2.1:29500".parse().expect("an address");
        let config = ProbeConfig::roce();
        let error = crate::path::Prober::new(&config, [10, 0, 0, 1].into(), &[at]);
        assert_eq!(error.expect_err("no RoCE"), ConfigError::NotRoce(at));
    }

    #[test]
    fn this_host_is_near_and_an_interface_that_is_not_there_is_named_as_the_reason() {
        let mut source = RoceSource { address: [127, 0, 0, 1].into(), interface: "lo".to_owned() };
        let run = |source: &RoceSource| {
            let limit = Duration::from_secs(5);
            discover(&ProbeConfig::roce(), source, &[[127, 0, 0, 1].into()], limit)
        };
        let Ok(Discovery::Pinned(table)) = run(&source) else { panic!("loopback answers") };
        assert_eq!(table.rack_local, [SocketAddr::from(([127, 0, 0, 1], ROCE_UDP_PORT))]);
        assert_eq!((table.protocol, table.leaves.len()), (Protocol::Roce, 0));

        source.interface = "nobody0".to_owned();
        let Ok(Discovery::Unpinned { reason }) = run(&source) else { panic!("no such interface") };
        let text = reason.to_string();
        assert!(text.contains("bind to the network interface"), "{text}");
    }
}
