//! `line`: flows laid end to end, cut where a path's share is full.

use super::demand::{Piece, StepSet};
use super::group::{Candidate, push_whole};
use crate::fabric::PathId;
use crate::units::Bytes;

/// The line of one group: positions count bytes from the start of its first flow.
///
/// With `s` paths of capacities `c` and `B` bytes in all, path `p` takes the positions from
/// `floor(B (c_0 + .. + c_{p-1}) / C)` to `floor(B (c_0 + .. + c_p) / C)`: its share of the ideal
/// spray within one byte, whatever the sizes and capacities, with at most `s - 1` cuts. For `n`
/// equal flows and equal paths, `g - 1` of these positions fall between two flows, where
/// `g = gcd(n mod s, s)`: then `r + s - g` pieces come from what `equal` cuts into `r s / g`.
pub(super) struct Line<'p> {
    paths: &'p [Candidate],
    bytes: u64,
    weights: u128,
    /// The path being filled, and the sum of the weights up to and with it.
    current: usize,
    filled: u128,
    /// Start of the next flow.
    position: u64,
}

impl<'p> Line<'p> {
    /// A line of `bytes` bytes over `paths` (at least one), filled in this order.
    pub(super) fn new(paths: &'p [Candidate], bytes: u64) -> Self {
        let weights = paths.iter().map(|path| u128::from(path.weight)).sum();
        let filled = u128::from(paths[0].weight);
        Self { paths, bytes, weights, current: 0, filled, position: 0 }
    }

    /// Lays the next flow. Cuts move to the nearest multiple of `unit` bytes of the flow, so a
    /// path's share is then exact within one unit.
    pub(super) fn lay(&mut self, length: u64, unit: u64, mut piece: impl FnMut(PathId, u64, u64)) {
        let mut start = 0;
        self.leave_full();
        while let Some(end) = self.end_of_path().map(|end| end - self.position) {
            if end >= length {
                break;
            }
            let cut = (end + unit / 2) / unit * unit;
            if cut >= length {
                break;
            }
            if cut > start {
                piece(self.paths[self.current].path, start, cut - start);
                start = cut;
            }
            self.next_path();
        }
        if start < length || length == 0 {
            piece(self.paths[self.current].path, start, length - start);
        }
        self.position += length;
    }

    /// Where the current path is full; `None` for the last, which takes the rest.
    fn end_of_path(&self) -> Option<u64> {
        let more = self.current + 1 < self.paths.len();
        more.then(|| (u128::from(self.bytes) * self.filled / self.weights) as u64)
    }

    fn leave_full(&mut self) {
        while self.end_of_path().is_some_and(|end| end <= self.position) {
            self.next_path();
        }
    }

    fn next_path(&mut self) {
        self.current += 1;
        self.filled += u128::from(self.paths[self.current].weight);
    }
}

/// Lays `flows` of one source over `paths`.
pub(super) fn assign(set: &StepSet, flows: &[u32], paths: &[Candidate], out: &mut Vec<Piece>) {
    if let [only] = paths {
        for &flow in flows {
            push_whole(set, flow, Some(only.path), out);
        }
        return;
    }
    let bytes = flows.iter().map(|&flow| set.flows[flow as usize].bytes.0).sum();
    let mut line = Line::new(paths, bytes);
    for &flow in flows {
        line.lay(set.flows[flow as usize].bytes.0, set.cut_unit.get(), |path, offset, bytes| {
            let (offset, bytes) = (Bytes(offset), Bytes(bytes));
            out.push(Piece { flow, path: Some(path), offset, bytes });
        });
    }
}
