//! Schemes that take paths in turn or by chance: rotation, round robin, random, least loaded.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::demand::{AssignError, MAX_PIECES, Piece, StepSet};
use super::group::{Candidate, Group, push_whole};
use super::hash::select;
use super::shuffle::Random;
use crate::fabric::{HostId, PathId};
use crate::units::Bytes;

/// What takes one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// A whole flow.
    Flow,
    /// This many bytes of a flow: a packet or a small burst.
    Bytes(NonZeroU64),
}

impl Turn {
    /// Adds a flow to `out`, turn by turn.
    fn push(
        self,
        set: &StepSet,
        flow: u32,
        mut path: impl FnMut() -> PathId,
        out: &mut Vec<Piece>,
    ) -> Result<(), AssignError> {
        let Self::Bytes(burst) = self else {
            push_whole(set, flow, Some(path()), out);
            return Ok(());
        };
        let bytes = set.flows[flow as usize].bytes.0;
        let step = burst.get().next_multiple_of(set.cut_unit.get());
        let pieces = out.len() as u64 + bytes.div_ceil(step);
        if pieces > MAX_PIECES {
            return Err(AssignError::TooManyPieces { pieces });
        }
        let mut start = 0;
        loop {
            let length = step.min(bytes - start);
            let (offset, length) = (Bytes(start), Bytes(length));
            out.push(Piece { flow, path: Some(path()), offset, bytes: length });
            start += length.0;
            if start == bytes {
                return Ok(());
            }
        }
    }
}

/// Destination-based rotation (`McClure` et al., "Load Balancing for AI Training Workloads", 2025):
/// what goes to one destination host takes the paths in turn, each destination with a pointer of
/// its own that starts anywhere.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    pointers: BTreeMap<HostId, u64>,
}

impl Rotation {
    pub(super) fn assign(
        &mut self,
        set: &StepSet,
        group: &Group,
        paths: &[Candidate],
        turn: Turn,
        random: &mut Random,
        out: &mut Vec<Piece>,
    ) -> Result<(), AssignError> {
        for &flow in &group.flows {
            let destination = set.flows[flow as usize].destination;
            let start = || random.below(paths.len() as u64);
            let pointer = self.pointers.entry(destination).or_insert_with(start);
            turn.push(set, flow, || take(pointer, paths), out)?;
        }
        Ok(())
    }
}

/// Round robin: one pointer of the source over all that it sends, whatever the destination.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    pointer: u64,
}

impl RoundRobin {
    pub(super) fn assign(
        &mut self,
        set: &StepSet,
        group: &Group,
        paths: &[Candidate],
        turn: Turn,
        out: &mut Vec<Piece>,
    ) -> Result<(), AssignError> {
        for &flow in &group.flows {
            turn.push(set, flow, || take(&mut self.pointer, paths), out)?;
        }
        Ok(())
    }
}

fn take(pointer: &mut u64, paths: &[Candidate]) -> PathId {
    let path = paths[(*pointer % paths.len() as u64) as usize].path;
    *pointer += 1;
    path
}

/// Random: a path for each turn, by capacity, independent of all others.
pub(super) fn random(
    set: &StepSet,
    group: &Group,
    paths: &[Candidate],
    turn: Turn,
    random: &mut Random,
    out: &mut Vec<Piece>,
) -> Result<(), AssignError> {
    for &flow in &group.flows {
        turn.push(set, flow, || select(paths, (random.next() >> 32) as u32), out)?;
    }
    Ok(())
}

/// Least loaded: each whole flow, the largest of a group first, on the path that would be full
/// soonest with it, counting all that this source has placed on that uplink (greedy: Graham 1969).
#[derive(Debug, Default)]
pub(super) struct LeastLoaded {
    placed: BTreeMap<PathId, u64>,
}

impl LeastLoaded {
    pub(super) fn assign(
        &mut self,
        set: &StepSet,
        group: &Group,
        paths: &mut [Candidate],
        random: &mut Random,
        out: &mut Vec<Piece>,
    ) {
        let size = |flow: u32| set.flows[flow as usize].bytes.0;
        let mut flows = group.flows.clone();
        flows.sort_by_key(|&flow| std::cmp::Reverse(size(flow)));
        random.shuffle(paths);
        let mut loads: Vec<u64> =
            paths.iter().map(|path| self.placed.get(&path.path).copied().unwrap_or(0)).collect();
        for flow in flows {
            let finish =
                |index: usize| (u128::from(loads[index] + size(flow)), paths[index].weight);
            let best = (0..paths.len()).reduce(|best, other| {
                let ((a, a_weight), (b, b_weight)) = (finish(best), finish(other));
                if b * u128::from(a_weight) < a * u128::from(b_weight) { other } else { best }
            });
            let best = best.expect("a group has a live path");
            loads[best] += size(flow);
            push_whole(set, flow, Some(paths[best].path), out);
        }
        self.placed.extend(paths.iter().zip(&loads).map(|(path, load)| (path.path, *load)));
    }
}
