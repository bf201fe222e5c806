//! Flows that have the same choice of paths, and the paths as a list to choose from.

use std::collections::BTreeMap;

use super::demand::{AssignError, MAX_BYTES, MAX_FLOWS, Piece, StepSet};
use super::shuffle::Random;
use crate::fabric::{LeafId, PathId, PathTable, RailId};
use crate::units::Bytes;

/// A path to choose, with its capacity as a whole number so that arithmetic on it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathId,
    /// Capacity over the largest one of the list, times 2^40: relative error below 10^-12, less
    /// than a byte in a terabyte.
    pub(super) weight: u64,
}

const WEIGHT_OF_LARGEST: f64 = (1_u64 << 40) as f64;

/// The flows of a source that go to one leaf and are tied to one rail (or to none).
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) leaf: LeafId,
    pub(super) rail: Option<RailId>,
    /// Indices in the step set, shuffled.
    pub(super) flows: Vec<u32>,
}

/// Checks the bounds of a step set, once, so that later arithmetic cannot overflow.
pub(super) fn check(set: &StepSet, table: &PathTable) -> Result<(), AssignError> {
    if table.leaf() != set.leaf {
        return Err(AssignError::WrongTable { source_leaf: set.leaf });
    }
    if set.flows.len() > MAX_FLOWS {
        return Err(AssignError::TooManyFlows { flows: set.flows.len() });
    }
    let total: u128 = set.flows.iter().map(|flow| u128::from(flow.bytes.0)).sum();
    if total > u128::from(MAX_BYTES) {
        return Err(AssignError::TooManyBytes);
    }
    Ok(())
}

/// The generator of a source: equal for equal seed, host and stream.
pub(super) fn random_of(set: &StepSet, seed: super::Seed) -> Random {
    Random::new(seed, u64::from(set.source.0) << 32 | u64::from(set.stream))
}

/// The groups of a step set in shuffled order, their flows shuffled.
pub(super) fn shuffled(set: &StepSet, random: &mut Random) -> Vec<Group> {
    let mut by_key: BTreeMap<(LeafId, Option<RailId>), Vec<u32>> = BTreeMap::new();
    for (index, flow) in set.flows.iter().enumerate() {
        by_key.entry((flow.leaf, flow.rail)).or_default().push(index as u32);
    }
    let group = |((leaf, rail), flows)| Group { leaf, rail, flows };
    let mut groups: Vec<Group> = by_key.into_iter().map(group).collect();
    random.shuffle(&mut groups);
    for group in &mut groups {
        random.shuffle(&mut group.flows);
    }
    groups
}

/// The live paths of a group in the table's order.
pub(super) fn candidates(
    table: &PathTable,
    to: LeafId,
    rail: Option<RailId>,
) -> Result<Vec<Candidate>, AssignError> {
    let none = AssignError::NoLivePath { from: table.leaf(), to, rail };
    let paths = table.to(to).ok_or(none)?;
    let largest = paths.live(rail).map(|path| path.capacity.0).fold(0.0, f64::max);
    let candidate = |path: &crate::fabric::Path| {
        let share = path.capacity.0 / largest * WEIGHT_OF_LARGEST;
        Candidate { path: path.id, weight: (share.round() as u64).max(1) }
    };
    let found: Vec<Candidate> = paths.live(rail).map(candidate).collect();
    if found.is_empty() { Err(none) } else { Ok(found) }
}

/// Adds a flow in one piece.
pub(super) fn push_whole(set: &StepSet, flow: u32, path: Option<PathId>, out: &mut Vec<Piece>) {
    let bytes = set.flows[flow as usize].bytes;
    out.push(Piece { flow, path, offset: Bytes(0), bytes });
}

/// Adds a flow in `parts` pieces that differ by at most a byte (one cut unit), part `i` on
/// `path(i)`. The last is never the shorter one: it takes the odd byte. A flow too short for so
/// many parts gets fewer.
pub(super) fn push_parts(
    set: &StepSet,
    flow: u32,
    parts: usize,
    mut path: impl FnMut(usize) -> PathId,
    out: &mut Vec<Piece>,
) {
    let bytes = set.flows[flow as usize].bytes.0;
    let unit = set.cut_unit.get();
    let mut start = 0;
    for part in 0..parts {
        let chosen = path(part);
        let fair = (u128::from(bytes) * (part as u128 + 1) / parts as u128) as u64;
        let end = if part + 1 == parts { bytes } else { fair / unit * unit };
        if end > start || (bytes == 0 && part + 1 == parts) {
            let (offset, bytes) = (Bytes(start), Bytes(end - start));
            out.push(Piece { flow, path: Some(chosen), offset, bytes });
            start = end;
        }
    }
}
