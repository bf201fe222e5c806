//! Finding the paths to the other ranks: by probes, all at once.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onepath_collectives::communicator::FindPaths;
use onepath_topology::Rank;
use onepath_topology::assign::Seed;
use onepath_topology::fabric::{LeafId, PathId};
use onepath_transport::path::{self, Discovery, PathTable, ProbeConfig, Protocol, discover};
use onepath_transport::share::AssignFlows;
use onepath_transport::tcp::pinned::{PathPorts, PeerPaths, SchemeAssigner};

use crate::lab::compare::message::{Place, Task};
use crate::lab::compare::scheme::{PORTS_PER_PATH, Wiring};
use crate::lab::fabric::spine_at;

/// How long probes may take in all.
const LIMIT: Duration = Duration::from_secs(20);

/// The paths from one rank to all others.
pub(super) struct Probing {
    task: Task,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    table: Option<PathTable>,
    unpinned: Vec<String>,
}

impl Probing {
    pub(super) fn new(task: &Task) -> Self {
        Self { task: task.clone(), found: Mutex::default() }
    }

    /// Peers that are reached over unknown paths, with the reason.
    pub(super) fn unpinned(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).unpinned.clone()
    }

    fn place(&self, rank: Rank) -> Place {
        self.task.places[rank.index()]
    }

    fn here(&self) -> Place {
        self.place(Rank::new(self.task.rank))
    }

    fn config(&self) -> ProbeConfig {
        ProbeConfig {
            protocol: if self.task.scheme.is_udp() { Protocol::Udp } else { Protocol::Tcp },
            ports_per_path: PORTS_PER_PATH,
            expected_paths: u16::try_from(self.task.spines).ok(),
            // Leaves are known by their addresses.
            find_leaves: false,
            seed: u64::from(self.task.seed) << 32 | u64::from(self.task.rank),
            ..ProbeConfig::default()
        }
    }
}

impl FindPaths for Probing {
    fn expect(&self, peers: &[(Rank, Vec<SocketAddr>)]) {
        let here = self.here();
        let far = peers.iter().filter(|(rank, _)| self.place(*rank).leaf != here.leaf);
        let destinations: Vec<SocketAddr> =
            far.filter_map(|(_, addresses)| addresses.first().copied()).collect();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match discover(&self.config(), Some(IpAddr::V4(here.address)), &destinations, LIMIT) {
            Ok(Discovery::Pinned(table)) => found.table = Some(table),
            Ok(Discovery::Unpinned { reason }) => found.unpinned.push(reason.to_string()),
            Err(error) => found.unpinned.push(error.to_string()),
        }
    }

    fn paths(&self, peer: Rank, addresses: &[SocketAddr]) -> PeerPaths {
        let leaf = LeafId(self.place(peer).leaf);
        if leaf.0 == self.here().leaf {
            // There is one way, and no spine on it.
            return PeerPaths {
                leaf,
                paths: vec![PathPorts { path: PathId(0), ports: Vec::new() }],
            };
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = found.table.as_ref().zip(addresses.first()).map(|(t, at)| pinned(t, *at));
        let paths = paths.unwrap_or_default();
        if paths.len() < self.task.spines as usize {
            let (all, some) = (self.task.spines, paths.len());
            found.unpinned.push(format!("rank {peer}: {some} of {all} paths found"));
        }
        if paths.is_empty() {
            return PeerPaths::unknown(peer, self.task.spines as u16);
        }
        PeerPaths { leaf, paths }
    }

    fn assigner(&self, me: Rank) -> Option<Arc<dyn AssignFlows>> {
        let wiring = self.task.scheme.wiring(self.task.spines as usize);
        let (Wiring::PinnedTcp { assign: scheme, .. }
        | Wiring::Datagrams { assign: Some(scheme), .. }) = wiring
        else {
            return None;
        };
        let (seed, leaf) = (Seed(u64::from(self.task.seed)), LeafId(self.here().leaf));
        Some(Arc::new(SchemeAssigner { scheme, seed, rank: me, leaf }))
    }
}

/// The ports of each path to a destination; a path has the number of its spine.
fn pinned(table: &PathTable, to: SocketAddr) -> Vec<PathPorts> {
    let numbered = table.ports_by_path(to).filter_map(|(path, ports)| {
        Some(PathPorts { path: number(path)?, ports: ports.collect() })
    });
    let mut paths: Vec<PathPorts> = numbered.collect();
    paths.sort_unstable_by_key(|path| path.path);
    paths
}

/// The spine that answered.
fn number(path: &path::PathId) -> Option<PathId> {
    match path {
        path::PathId::Hops(hops) => match hops.as_slice() {
            [Some(IpAddr::V4(address))] => spine_at(*address).map(|spine| PathId(spine.0)),
            _ => None,
        },
        path::PathId::Named(_) => None,
    }
}

impl fmt::Debug for Probing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probing").field("rank", &self.task.rank).finish_non_exhaustive()
    }
}
