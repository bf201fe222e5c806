//! The ideal spray: what an infinitely fine spray would put on each path.

use super::demand::{AssignError, StepSet};
use super::group::{candidates, check};
use crate::fabric::{PathId, PathTable};

/// What one flow puts on one path under the ideal spray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Index in [`StepSet::flows`].
    pub flow: u32,
    /// The path; `None` for a rack-local flow.
    pub path: Option<PathId>,
    /// Bytes, not rounded.
    pub bytes: f64,
}

/// The ideal spray: every flow over all live paths it may take, in proportion to capacity (uniform
/// where they are equal; for uniform spraying over unequal paths use
/// [`crate::fabric::LeafPaths::unweighted`]).
pub fn ideal_spray(set: &StepSet, table: &PathTable) -> Result<Vec<Share>, AssignError> {
    check(set, table)?;
    let mut shares = Vec::new();
    for (index, flow) in set.flows.iter().enumerate() {
        let (index, bytes) = (index as u32, flow.bytes.0 as f64);
        if set.is_local(flow) {
            shares.push(Share { flow: index, path: None, bytes });
            continue;
        }
        let paths = candidates(table, flow.leaf, flow.rail)?;
        let total: f64 = paths.iter().map(|path| path.weight as f64).sum();
        let share = |path: &super::group::Candidate| Share {
            flow: index,
            path: Some(path.path),
            bytes: bytes * (path.weight as f64 / total),
        };
        shares.extend(paths.iter().map(share));
    }
    Ok(shares)
}
