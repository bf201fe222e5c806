//! `equal`: whole flows round robin, the left-over ones cut into equal parts.

use std::collections::BTreeMap;

use super::demand::{Piece, StepSet};
use super::group::{Candidate, Group, push_parts, push_whole};
use super::shuffle::Random;
use crate::number::gcd;

/// Ethereal (Addanki et al., "Ethereal: Divide and Conquer Network Load Balancing in Large-Scale
/// Distributed Training", Algorithm 1 and Theorem 1), for one group.
///
/// With `n` flows, `s` paths, `r = n mod s` and `g = gcd(r, s)`: the first `n - r` flows stay
/// whole, each of the last `r` is cut into `s / g` parts, and each path gets `r / g` of these
/// `r * s / g` pieces. The theorem needs flows of one size, so flows of different sizes are taken
/// as groups of their own. It knows no capacities: every path gets the same.
///
/// Parts differ by at most one cut unit, so a path's load is within one unit a piece of the ideal.
pub(super) fn assign(
    set: &StepSet,
    group: &Group,
    paths: &mut [Candidate],
    random: &mut Random,
    out: &mut Vec<Piece>,
) {
    let mut by_size: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for &flow in &group.flows {
        by_size.entry(set.flows[flow as usize].bytes.0).or_default().push(flow);
    }
    for flows in by_size.into_values() {
        random.shuffle(paths);
        let left_over = flows.len() % paths.len();
        let (whole, cut) = flows.split_at(flows.len() - left_over);
        for (index, &flow) in whole.iter().enumerate() {
            push_whole(set, flow, Some(paths[index % paths.len()].path), out);
        }
        let parts = paths.len() / gcd(left_over, paths.len());
        for (index, &flow) in cut.iter().enumerate() {
            let path = |part: usize| paths[(index * parts + part) % paths.len()].path;
            push_parts(set, flow, parts, path, out);
        }
    }
}
