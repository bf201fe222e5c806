//! The paths of queue pairs over RoCE v2, by probes or from a file.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onepath_topology::Rank;
use onepath_topology::assign::{Scheme, Seed};
use onepath_topology::fabric::{LeafId, PathId};
use onepath_transport::path::roce::{RoceSource, discover};
use onepath_transport::path::{self, Discovery, PathFile, PathTable, ProbeConfig, Protocol};
use onepath_transport::share::AssignFlows;
use onepath_transport::tcp::pinned::{PathPorts, PeerPaths, SchemeAssigner};
use onepath_transport::verbs::transport::MAX_LANES;

use super::paths::FindPaths;

/// How long probes may take in all, if nothing is said.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Stands for the leaf of this rank, and of all peers to which there is no choice or none is known:
/// what goes to them is not assigned to paths.
const NO_CHOICE: LeafId = LeafId(u32::MAX);

/// Where paths come from.
#[derive(Clone, Debug)]
pub enum RocePathSource {
    /// Probes from the device's network interface, in at most this time.
    Probes(ProbeConfig, Duration),
    /// A file of known paths, with `protocol = "roce"`.
    File(PathFile),
}

/// A file of paths that are not those of RoCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its protocol is {0}: roce would be right")]
pub struct NotRoce(pub Protocol);

/// Finds which flow labels of a rank's queue pairs take which path, for
/// [`Pinning`](super::Pinning) over [`TransportKind::Verbs`](super::TransportKind::Verbs).
///
/// # Example
///
/// ```no_run
/// use std::sync::Arc;
///
/// use onepath_collectives::communicator::{Builder, Pinning, RocePaths, TransportKind};
///
/// let paths = Arc::new(RocePaths::by_probes(7));
/// let communicator = Builder::from_environment()?
///     .transport(TransportKind::Verbs)
///     .pinning(Pinning::new(Arc::clone(&paths) as Arc<_>))
///     .build()?;
/// for line in paths.unknown() {
///     eprintln!("{line}");
/// }
/// # Ok::<(), onepath_collectives::communicator::BuildError>(())
/// ```
#[derive(Debug)]
pub struct RocePaths {
    from: RocePathSource,
    scheme: Option<Scheme>,
    seed: u64,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    device: Option<RoceSource>,
    table: Option<PathTable>,
    unknown: Vec<String>,
}

impl RocePaths {
    /// By probes with the default configuration, so many labels for each path that 16 queue pairs
    /// over 2 paths differ. The seed is that of the order of probes, the rank apart, and of the
    /// assigner.
    pub fn by_probes(seed: u64) -> Self {
        let config = ProbeConfig { ports_per_path: MAX_LANES / 2, seed, ..ProbeConfig::roce() };
        Self::new(RocePathSource::Probes(config, PROBE_LIMIT), seed)
    }

    /// From a file that [`check`](Self::check) finds right.
    pub fn from_file(file: PathFile, seed: u64) -> Self {
        Self::new(RocePathSource::File(file), seed)
    }

    /// Whether a file is of RoCE: of another one, no port is a label's.
    pub fn check(file: &PathFile) -> Result<(), NotRoce> {
        match file.protocol() {
            Protocol::Roce => Ok(()),
            other => Err(NotRoce(other)),
        }
    }

    /// From either. Each path carries the same bytes of each flow, see [`scheme`](Self::scheme).
    pub fn new(from: RocePathSource, seed: u64) -> Self {
        Self { from, scheme: Some(Scheme::Equal), seed, found: Mutex::default() }
    }

    /// How flows are assigned to paths; with nothing each queue pair carries the same bytes,
    /// whichever path it takes.
    #[must_use]
    pub fn scheme(mut self, scheme: Option<Scheme>) -> Self {
        self.scheme = scheme;
        self
    }

    /// Peers to which no path is known, or not every one that was looked for, with the reason.
    pub fn unknown(&self) -> Vec<String> {
        self.lock().unknown.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, source: &RoceSource, peers: &[SocketAddr]) -> Result<Discovery, String> {
        match &self.from {
            RocePathSource::File(file) => Ok(file.table(source.address, peers)),
            RocePathSource::Probes(config, limit) => {
                let addresses: Vec<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
                discover(config, source, &addresses, *limit).map_err(|error| error.to_string())
            }
        }
    }
}

impl FindPaths for RocePaths {
    fn device(&self, source: &RoceSource) {
        self.lock().device = Some(source.clone());
    }

    fn expect(&self, peers: &[(Rank, Vec<SocketAddr>)]) {
        let mut found = self.lock();
        found.table = None;
        found.unknown.clear();
        let Some(source) = found.device.clone() else { return };
        // Ranks may share a device, and some the one of this rank.
        let addresses = peers.iter().flat_map(|(_, addresses)| addresses).copied();
        let mut asked: Vec<SocketAddr> = addresses.filter(|at| at.ip() != source.address).collect();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return;
        }
        match self.look(&source, &asked) {
            Ok(Discovery::Pinned(table)) => {
                let unpinned = table.unpinned.iter();
                found
                    .unknown
                    .extend(unpinned.map(|at| format!("{}: {}", at.destination, at.reason)));
                let found_all = table.leaves.iter().flat_map(|leaf| &leaf.destinations);
                let short = found_all.filter(|at| !at.complete);
                found.unknown.extend(short.map(|at| {
                    let ports = at.probed_ports;
                    format!("{}: perhaps not all paths, after {ports} labels", at.address)
                }));
                found.table = Some(table);
            }
            Ok(Discovery::Unpinned { reason }) => {
                found.unknown.extend(asked.iter().map(|at| format!("{at}: {reason}")));
            }
            Err(problem) => found.unknown.push(problem),
        }
    }

    fn paths(&self, _peer: Rank, addresses: &[SocketAddr]) -> PeerPaths {
        let found = self.lock();
        let known = found.table.as_ref().zip(addresses.first());
        known.and_then(|(table, at)| of_peer(table, *at)).unwrap_or_else(|| PeerPaths {
            leaf: NO_CHOICE,
            paths: vec![PathPorts { path: PathId(0), ports: Vec::new() }],
        })
    }

    fn assigner(&self, me: Rank) -> Option<Arc<dyn AssignFlows>> {
        let scheme = self.scheme?;
        Some(Arc::new(SchemeAssigner { scheme, seed: Seed(self.seed), rank: me, leaf: NO_CHOICE }))
    }
}

/// The labels of each path to a peer, as ports. The number of a path is its place among all paths
/// of the table: the same spine has the same number for all destinations.
fn of_peer(table: &PathTable, to: SocketAddr) -> Option<PeerPaths> {
    let mut all: Vec<&path::PathId> = table.leaves.iter().flat_map(|leaf| &leaf.paths).collect();
    all.sort_unstable();
    all.dedup();
    let leaf = table
        .leaves
        .iter()
        .position(|leaf| leaf.destinations.iter().any(|destination| destination.address == to))?;
    let numbered = table.ports_by_path(to).filter_map(|(path, ports)| {
        let number = all.binary_search(&path).ok()? as u32;
        Some(PathPorts { path: PathId(number), ports: ports.collect() })
    });
    let paths: Vec<PathPorts> = numbered.collect();
    (!paths.is_empty()).then_some(PeerPaths { leaf: LeafId(leaf as u32), paths })
}

#[cfg(test)]
mod tests {
    use onepath_topology::WorldSize;

    use super::*;

    const FILE: &str = r#"
protocol = "roce"
[[destination]]
to = "10.1.2.1:4791"
last_hops = ["10.201.1.1"]
path = [
    { hops = ["172.16.0.2"], ports = [49153, 49155] },
    { hops = ["172.16.1.2"], ports = [49154] },
]
[[destination]]
to = "10.2.3.1:4791"
last_hops = ["10.201.2.1"]
path = [
    { hops = ["172.16.1.2"], ports = [49160] },
]
"#;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn from_file(peers: &[&str]) -> RocePaths {
        let file = PathFile::parse(FILE).expect("it is right");
        let paths = RocePaths::from_file(file, 3);
        paths.device(&RoceSource { address: [10, 0, 0, 1].into(), interface: "h0".to_owned() });
        let peer = |(rank, text): (u32, &&str)| (Rank::new(rank), vec![at(text)]);
        let peers: Vec<_> = (1..).zip(peers).map(peer).collect();
        paths.expect(&peers);
        paths
    }

    #[test]
    fn a_file_gives_each_peer_its_paths_and_a_spine_the_same_number_for_all() {
        let peers = ["10.1.2.1:4791", "10.2.3.1:4791", "10.9.9.9:4791", "10.0.0.1:4791"];
        let paths = from_file(&peers);
        let found = peers.map(|peer| paths.paths(Rank::new(1), &[at(peer)]));
        let shown = found.clone().map(|of| -> Vec<(u32, Vec<u16>)> {
            of.paths.iter().map(|path| (path.path.0, path.ports.clone())).collect()
        });
        assert_eq!(shown[0], [(0, vec![49_153, 49_155]), (1, vec![49_154])]);
        assert_eq!(shown[1], [(1, vec![49_160])]);
        // Not in the file, and the own device: any label will do.
        assert_eq!(shown[2..], [vec![(0, vec![])], vec![(0, vec![])]]);
        assert_ne!(found[0].leaf, found[1].leaf);
        assert_eq!([found[2].leaf, found[3].leaf], [NO_CHOICE; 2]);
        let unknown = paths.unknown();
        assert!(unknown.len() == 1 && unknown[0].contains("10.9.9.9:4791"), "{unknown:?}");
    }

    #[test]
    fn a_file_of_another_protocol_is_refused() {
        let file = FILE.replace("roce", "udp");
        let file = PathFile::parse(&file).expect("it is right for datagrams");
        let error = RocePaths::check(&file).expect_err("of datagrams").to_string();
        assert!(error.contains("udp") && error.contains("roce"), "{error}");
    }

    #[test]
    fn a_file_for_another_address_leaves_all_labels_to_chance_and_says_so() {
        let file = FILE.replacen("[[", "source = \"10.0.0.9\"\n[[", 1);
        let file = PathFile::parse(&file).expect("it is right");
        let paths = RocePaths::from_file(file, 0);
        paths.device(&RoceSource { address: [10, 0, 0, 1].into(), interface: "h0".to_owned() });
        paths.expect(&[(Rank::new(1), vec![at("10.1.2.1:4791")])]);
        assert_eq!(paths.paths(Rank::new(1), &[at("10.1.2.1:4791")]).leaf, NO_CHOICE);
        assert_eq!(paths.unknown().len(), 1);
    }

    #[test]
    fn assigners_put_the_same_bytes_on_each_path_and_leave_others_whole() {
        use onepath_transport::share::{StepFlow, StepFlows};

        let ids = [PathId(0), PathId(1)];
        let world = WorldSize::new(3).expect("three");
        for scheme in [Scheme::Equal, Scheme::Line, Scheme::Coloured] {
            let paths = from_file(&["10.1.2.1:4791"]).scheme(Some(scheme));
            let assigner = paths.assigner(Rank::new(0)).expect("a scheme");
            let flow = |peer, leaf, paths| {
                let peer = Rank::new(peer);
                assert!(world.contains(peer));
                StepFlow { peer, leaf, bytes: 1 << 20, paths }
            };
            let flows = [flow(1, LeafId(0), &ids[..]), flow(2, NO_CHOICE, &[])];
            let mut cuts = Vec::new();
            assigner.assign(StepFlows { step: 0, chunk_bytes: 1 << 12, flows: &flows }, &mut cuts);
            let load = |path| -> u64 {
                let on = cuts.iter().filter(|cut| cut.flow == 0 && cut.path == PathId(path));
                on.map(|cut| cut.bytes).sum()
            };
            assert_eq!([load(0), load(1)], [1 << 19; 2], "{scheme:?}: {cuts:?}");
            assert!(cuts.iter().all(|cut| cut.flow == 0), "{scheme:?}: {cuts:?}");
        }
        assert!(from_file(&[]).scheme(None).assigner(Rank::new(0)).is_none());
    }
}
