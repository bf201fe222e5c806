//! The assigners of `topology`, applied to the steps of a plan.

use std::num::NonZeroU64;

use onepath_topology::assign::{Piece, Scheme, Seed, StepSet};
use onepath_topology::fabric::{HostId, LeafId, LeafPaths, Path, PathId, PathTable, RailId};
use onepath_topology::{Bandwidth, Bytes, Rank};

use crate::share::{AssignFlows, Cut, StepFlow, StepFlows};

/// Cuts the flows of each step by a [`Scheme`], over paths of equal capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemeAssigner {
    /// The scheme.
    pub scheme: Scheme,
    /// Behind every shuffle, together with the rank and the step.
    pub seed: Seed,
    /// This rank.
    pub rank: Rank,
    /// Its leaf: flows to peers below it stay whole and take any of their connections.
    pub leaf: LeafId,
}

impl SchemeAssigner {
    fn pieces(&self, set: StepFlows<'_>) -> Option<Vec<Piece>> {
        let mut table = PathTable::new(self.leaf);
        let mut demand = StepSet::new(HostId(self.rank.number()), self.leaf);
        demand.stream = set.step;
        demand.cut_unit = NonZeroU64::new(set.chunk_bytes as u64)?;
        for flow in set.flows {
            if table.to(flow.leaf).is_none() {
                table.insert(flow.leaf, common(set.flows, flow)?);
            }
            demand.push(HostId(flow.peer.number()), flow.leaf, Bytes(flow.bytes));
        }
        let assignment = self.scheme.assign(&demand, &table, self.seed).ok()?;
        Some(assignment.pieces().to_vec())
    }
}

/// The paths that are alive to all peers below a flow's leaf, or those of the flow if there are
/// none.
fn common(flows: &[StepFlow<'_>], flow: &StepFlow<'_>) -> Option<LeafPaths> {
    let others = || flows.iter().filter(|other| other.leaf == flow.leaf);
    let shared = |path: &&PathId| others().all(|other| other.paths.contains(path));
    let mut ids: Vec<PathId> = flow.paths.iter().filter(shared).copied().collect();
    if ids.is_empty() {
        ids.extend(flow.paths);
    }
    let path = |id| Path { id, rail: RailId(0), capacity: Bandwidth(1.0), alive: true };
    LeafPaths::new(ids.into_iter().map(path).collect()).ok()
}

impl AssignFlows for SchemeAssigner {
    /// Where the scheme refuses (too many flows or pieces), any path may take anything.
    fn assign(&self, set: StepFlows<'_>, cuts: &mut Vec<Cut>) {
        let pieces = self.pieces(set).unwrap_or_default();
        cuts.extend(pieces.into_iter().filter_map(|piece| {
            let Piece { flow, path, offset, bytes } = piece;
            Some(Cut { flow, path: path?, offset: offset.get(), bytes: bytes.get() })
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(scheme: Scheme, flows: &[StepFlow<'_>]) -> Vec<Cut> {
        let (seed, rank, leaf) = (Seed(5), Rank::new(0), LeafId(0));
        let assigner = SchemeAssigner { scheme, seed, rank, leaf };
        let mut cuts = Vec::new();
        assigner.assign(StepFlows { step: 3, chunk_bytes: 1_024, flows }, &mut cuts);
        cuts
    }

    fn load(cuts: &[Cut], path: u32) -> u64 {
        cuts.iter().filter(|cut| cut.path == PathId(path)).map(|cut| cut.bytes).sum()
    }

    #[test]
    fn three_flows_to_one_leaf_load_four_paths_alike_and_a_local_one_none() {
        let paths: Vec<PathId> = (0..4).map(PathId).collect();
        let flow = |peer, leaf| StepFlow {
            peer: Rank::new(peer),
            leaf: LeafId(leaf),
            bytes: 400 << 10,
            paths: &paths,
        };
        let flows = [flow(1, 0), flow(4, 1), flow(5, 1), flow(6, 1)];
        for scheme in [Scheme::Line, Scheme::Equal] {
            let cuts = cuts(scheme, &flows);
            assert!(cuts.iter().all(|cut| cut.flow > 0), "{cuts:?}");
            for path in 0..4 {
                assert!(load(&cuts, path).abs_diff(300 << 10) <= 3 << 10, "{cuts:?}");
            }
        }
    }

    #[test]
    fn a_path_that_is_dead_to_one_peer_is_used_to_none_below_its_leaf() {
        let all: Vec<PathId> = (0..4).map(PathId).collect();
        let some = &all[..3];
        let flow = |peer, paths| StepFlow {
            peer: Rank::new(peer),
            leaf: LeafId(1),
            bytes: 300 << 10,
            paths,
        };
        let cuts = cuts(Scheme::Line, &[flow(4, &all[..]), flow(5, some)]);
        assert_eq!(load(&cuts, 3), 0);
        assert_eq!(cuts.iter().map(|cut| cut.bytes).sum::<u64>(), 600 << 10);
    }
}
