//! Worlds on loopback whose connections are pinned to paths, each automatic port being one.

use std::net::SocketAddr;
use std::sync::Arc;

use onepath_collectives::communicator::{FindPaths, Pinning};
use onepath_topology::Rank;
use onepath_topology::assign::{Scheme, Seed};
use onepath_topology::fabric::{LeafId, PathId};
use onepath_transport::share::AssignFlows;
use onepath_transport::tcp::pinned::{
    PathPorts, PeerPaths, PinnedOptions, SchemeAssigner, Sharing,
};

/// As if every two ranks were below a leaf of their own, with so many paths between any two.
#[derive(Clone, Copy, Debug)]
struct Loopback {
    paths: u32,
    scheme: Option<Scheme>,
}

impl FindPaths for Loopback {
    fn paths(&self, peer: Rank, _addresses: &[SocketAddr]) -> PeerPaths {
        let path = |number| PathPorts { path: PathId(number), ports: Vec::new() };
        let leaf = LeafId(peer.number() / 2);
        PeerPaths { leaf, paths: (0..self.paths).map(path).collect() }
    }

    fn assigner(&self, me: Rank) -> Option<Arc<dyn AssignFlows>> {
        // Nobody is below the rank's own leaf.
        let leaf = LeafId(u32::MAX);
        let assigner = |scheme| SchemeAssigner { scheme, seed: Seed(7), rank: me, leaf };
        self.scheme.map(|scheme| Arc::new(assigner(scheme)) as Arc<dyn AssignFlows>)
    }
}

/// Pins to so many paths, with flows cut by a scheme or chunks going anywhere.
pub fn pinning(paths: u32, scheme: Option<Scheme>, sharing: Sharing) -> Pinning {
    let options = PinnedOptions { sharing, ..PinnedOptions::default() };
    Pinning { options, ..Pinning::new(Arc::new(Loopback { paths, scheme })) }
}
