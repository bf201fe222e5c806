//! Which bytes of which send take which path.

use std::fmt;

use onepath_topology::Rank;
use onepath_topology::fabric::{LeafId, PathId};

use crate::plan::{Plan, SendFlow};

/// A range of bytes of one send and the path that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index in [`crate::plan::Plan::sends`].
    pub send: u32,
    /// The path.
    pub path: PathId,
    /// First byte, counted in the flow; a whole number of chunks.
    pub offset: usize,
    /// Number of bytes.
    pub length: usize,
}

/// The shares of a plan, kept with it. A transport that pins subflows to paths computes them once
/// for each set of live paths; for every other transport there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// For which set of live paths they were computed; nothing before that.
    pub(crate) epoch: Option<u64>,
    /// Sorted by send, then offset. Bytes in no share may take any path.
    pub(crate) list: Vec<Share>,
}

impl Shares {
    /// Forgets them: the plan has changed.
    pub fn clear(&mut self) {
        self.epoch = None;
        self.list.clear();
    }

    /// Sorted by send, then offset.
    pub fn list(&self) -> &[Share] {
        &self.list
    }
}

/// A flow of one step, to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepFlow<'a> {
    /// Who receives it.
    pub peer: Rank,
    /// The leaf of the receiver: paths of receivers below one leaf are the same links.
    pub leaf: LeafId,
    /// Its length.
    pub bytes: u64,
    /// The live paths to the receiver, ascending; never empty.
    pub paths: &'a [PathId],
}

/// Bytes of one flow of a step, and the path they are to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Index of the flow in the set.
    pub flow: u32,
    /// One of the flow's paths.
    pub path: PathId,
    /// First byte of the flow.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// The flows of one step to peers that have paths.
#[derive(Clone, Copy, Debug)]
pub struct StepFlows<'a> {
    /// The step's number in the plan.
    pub step: u32,
    /// Cuts count only at multiples of this from the start of a flow.
    pub chunk_bytes: usize,
    /// In the order of the plan; [`Cut::flow`] is an index here.
    pub flows: &'a [StepFlow<'a>],
}

/// Deals the flows of one step set to paths.
pub trait AssignFlows: fmt::Debug + Send + Sync {
    /// Appends the cuts of all flows that this rank sends in one step. The transport moves the cut
    /// points to the nearest chunk boundary, so that a path's load of a flow is off by less than
    /// one chunk. What is in no cut, or on a path that is not the flow's, may take any path.
    fn assign(&self, set: StepFlows<'_>, cuts: &mut Vec<Cut>);
}

/// Deals the sends of a plan, step by step, unless its shares are of this `epoch`: of the set of
/// live paths that `paths` gives with the leaf of each peer. `cuts` is kept for its memory.
pub(crate) fn deal<'a>(
    assigner: &dyn AssignFlows,
    (plan, epoch): (&mut Plan, u64),
    chunk_bytes: usize,
    cuts: &mut Vec<Cut>,
    paths: impl Fn(Rank) -> Option<(LeafId, &'a [PathId])>,
) {
    if plan.shares.epoch == Some(epoch) {
        return;
    }
    plan.shares.clear();
    plan.shares.epoch = Some(epoch);
    let Plan { sends, shares, .. } = plan;
    let mut first = 0;
    for step in sends.chunk_by(|a, b| a.step == b.step) {
        deal_step(assigner, (first, step), chunk_bytes, cuts, &paths, &mut shares.list);
        first += step.len();
    }
}

/// Gives the sends of one step, which begin at `first` in the plan, to the assigner and appends
/// their shares.
fn deal_step<'a>(
    assigner: &dyn AssignFlows,
    (first, step): (usize, &[SendFlow]),
    chunk_bytes: usize,
    cuts: &mut Vec<Cut>,
    paths: &impl Fn(Rank) -> Option<(LeafId, &'a [PathId])>,
    shares: &mut Vec<Share>,
) {
    let served = step.iter().enumerate().filter(|(_, flow)| flow.source.length > 0);
    let (sends, flows): (Vec<usize>, Vec<StepFlow<'_>>) = served
        .filter_map(|(at, flow)| {
            let (leaf, paths) = paths(flow.peer).filter(|(_, paths)| !paths.is_empty())?;
            let bytes = flow.source.length as u64;
            Some((at, StepFlow { peer: flow.peer, leaf, bytes, paths }))
        })
        .unzip();
    let Some(&at) = sends.first() else { return };
    cuts.clear();
    let set = StepFlows { step: step[at].step, chunk_bytes, flows: &flows };
    assigner.assign(set, cuts);
    cuts.retain(|cut| {
        flows.get(cut.flow as usize).is_some_and(|flow| flow.paths.contains(&cut.path))
    });
    cuts.sort_unstable_by_key(|cut| (cut.flow, cut.offset));
    for cuts in cuts.chunk_by(|a, b| a.flow == b.flow) {
        let send = sends[cuts[0].flow as usize];
        let total = step[send].source.length;
        round((first + send) as u32, total, chunk_bytes, cuts, shares);
    }
}

/// Moves the cuts of one flow, sorted by offset, to whole chunks and appends them as shares of
/// `send`, a flow of `total` bytes.
fn round(send: u32, total: usize, chunk_bytes: usize, cuts: &[Cut], shares: &mut Vec<Share>) {
    let mut offset = 0;
    for cut in cuts {
        let end = cut.offset.saturating_add(cut.bytes);
        let end = usize::try_from(end).map_or(total, |end| end.min(total));
        let whole = (end + chunk_bytes / 2) / chunk_bytes * chunk_bytes;
        let end = if end == total { total } else { whole.min(total) };
        if end > offset {
            shares.push(Share { send, path: cut.path, offset, length: end - offset });
            offset = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounded_cuts_tile_the_flow_and_move_less_than_a_chunk(
            total in 1_usize..100_000,
            chunk in 1_usize..5_000,
            points in prop::collection::vec(0_usize..100_000, 0..9),
        ) {
            let mut points: Vec<usize> = points.into_iter().map(|p| p % total).collect();
            points.push(0);
            points.push(total);
            points.sort_unstable();
            let cuts: Vec<Cut> = points.windows(2).enumerate().map(|(i, w)| Cut {
                flow: 3,
                path: PathId(i as u32),
                offset: w[0] as u64,
                bytes: (w[1] - w[0]) as u64,
            }).collect();
            let ideal: Vec<usize> = cuts.iter().map(|cut| cut.bytes as usize).collect();
            let mut shares = Vec::new();
            round(7, total, chunk, &cuts, &mut shares);
            let mut at = 0;
            for share in &shares {
                prop_assert_eq!((share.send, share.offset), (7, at));
                at += share.length;
                prop_assert!(at == total || at.is_multiple_of(chunk));
            }
            prop_assert_eq!(at, total);
            for (path, ideal) in ideal.into_iter().enumerate() {
                let given: usize =
                    shares.iter().filter(|s| s.path.0 as usize == path).map(|s| s.length).sum();
                prop_assert!(given.abs_diff(ideal) <= chunk, "{given} for {ideal}");
            }
        }
    }
}
