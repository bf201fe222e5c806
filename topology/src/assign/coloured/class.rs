//! Flows of one size over the same paths: what an edge colouring can place whole.

use std::collections::BTreeMap;

use super::edges::Graph;
use crate::assign::demand::{Piece, StepSet};
use crate::assign::group::Candidate;
use crate::assign::line::Line;
use crate::assign::shuffle::Random;
use crate::fabric::{LeafId, PathId};
use crate::number::gcd;
use crate::units::Bytes;

/// The most entries of a colouring's tables (vertices times colours): above it, `line` is used.
const MAX_TABLE: usize = 1 << 26;

/// One flow between leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// Index of the source's step set.
    pub(super) set: u32,
    /// Index of the flow there.
    pub(super) flow: u32,
    pub(super) from: LeafId,
    pub(super) to: LeafId,
    pub(super) bytes: u64,
}

/// Flows with the same live paths at the same relative capacities, and (nearly) the same size.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) paths: Vec<Candidate>,
    pub(super) edges: Vec<Edge>,
}

/// A piece of a flow with the two leaves it goes between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) edge: Edge,
    pub(super) piece: Piece,
}

impl Class {
    /// The bytes of all its flows.
    pub(super) fn bytes(&self) -> u64 {
        self.edges.iter().map(|edge| edge.bytes).sum()
    }

    /// Every flow by `line`, one line for each pair of leaves.
    pub(super) fn lined(&self, sets: &[StepSet], random: &mut Random) -> Vec<Placed> {
        lay(sets, &self.edges, &self.paths, random)
    }

    /// Whole flows by colours, the rest by `line`; `None` where the tables would be too large.
    ///
    /// With largest degree `D` of the (leaf, leaf) graph and capacities `c` of sum `C`, path `p`
    /// may take `k_p = floor(D c_p / C)` flows at any leaf. By König the flows fall into `D`
    /// matchings; the `Q = sum k_p` largest are placed whole and have degree at most `Q`, the other
    /// `D - Q` are laid by `line` in proportion to what `k_p` lacks of `D c_p / C`. So no leaf has
    /// more than `D c_p / C` flows' bytes on path `p`: no link carries more than the busiest leaf
    /// must put there anyway. The whole flows are coloured anew, equitably, with `Q / gcd(k)`
    /// colours, so that leaves with less to send have it evenly too.
    pub(super) fn coloured(&self, sets: &[StepSet], random: &mut Random) -> Option<Vec<Placed>> {
        let mut edges = self.edges.clone();
        random.shuffle(&mut edges);
        let graph = graph_of(&edges);
        let degree = graph.max_degree();
        if (graph.vertices[0] + graph.vertices[1]) * degree > MAX_TABLE {
            return None;
        }
        let mut paths = self.paths.clone();
        random.shuffle(&mut paths);
        let (quotas, lacking) = quotas(&paths, degree);
        let (whole, rest) = largest_matchings(&edges, &graph.colour(degree), quotas.iter().sum());
        let colours = colours_of(&paths, &quotas);
        let mut placed = place_whole(&whole, &colours);
        placed.extend(lay(sets, &rest, &lacking, random));
        Some(placed)
    }
}

/// The flows as a graph, its vertices the leaves that send and receive.
fn graph_of(edges: &[Edge]) -> Graph {
    let mut numbers: [BTreeMap<LeafId, u32>; 2] = Default::default();
    let mut number = |side: usize, leaf: LeafId| {
        let next = numbers[side].len() as u32;
        *numbers[side].entry(leaf).or_insert(next)
    };
    let edges = edges.iter().map(|edge| [number(0, edge.from), number(1, edge.to)]).collect();
    Graph { vertices: numbers.map(|numbers| numbers.len()), edges }
}

/// `floor(D c_p / C)` for each path, and paths weighted by what that lacks of `D c_p / C`.
fn quotas(paths: &[Candidate], degree: usize) -> (Vec<usize>, Vec<Candidate>) {
    let total: u128 = paths.iter().map(|path| u128::from(path.weight)).sum();
    let share = |path: &Candidate| degree as u128 * u128::from(path.weight);
    let quotas = paths.iter().map(|path| (share(path) / total) as usize).collect();
    // The remainder is below the total, 2^52: it is an exact weight.
    let lack = |path: &Candidate| {
        let weight = (share(path) % total) as u64;
        (weight > 0).then_some(Candidate { path: path.path, weight })
    };
    (quotas, paths.iter().filter_map(lack).collect())
}

/// Splits the flows into those of the `count` colours with most flows and the others.
fn largest_matchings(edges: &[Edge], colour: &[u32], count: usize) -> (Vec<Edge>, Vec<Edge>) {
    let colours = colour.iter().max().map_or(0, |most| *most as usize + 1);
    let mut sizes = vec![0_usize; colours];
    for &colour in colour {
        sizes[colour as usize] += 1;
    }
    let mut order: Vec<usize> = (0..colours).collect();
    order.sort_by_key(|&colour| (std::cmp::Reverse(sizes[colour]), colour));
    let mut taken = vec![false; colours];
    for &colour in order.iter().take(count) {
        taken[colour] = true;
    }
    let split = edges.iter().zip(colour).partition::<Vec<_>, _>(|(_, c)| taken[**c as usize]);
    let flows = |part: Vec<(&Edge, &u32)>| part.into_iter().map(|(edge, _)| *edge).collect();
    (flows(split.0), flows(split.1))
}

/// The path of each colour: every path as often as its quota in lowest terms.
fn colours_of(paths: &[Candidate], quotas: &[usize]) -> Vec<PathId> {
    let divisor = quotas.iter().copied().fold(0, gcd).max(1);
    let times = paths.iter().zip(quotas);
    times.flat_map(|(path, quota)| std::iter::repeat_n(path.path, quota / divisor)).collect()
}

fn place_whole(whole: &[Edge], colours: &[PathId]) -> Vec<Placed> {
    if whole.is_empty() {
        return Vec::new();
    }
    let colour = graph_of(whole).colour_equitably(colours.len());
    let place = |(edge, colour): (&Edge, &u32)| {
        let path = Some(colours[*colour as usize]);
        let (offset, bytes) = (Bytes(0), Bytes(edge.bytes));
        Placed { edge: *edge, piece: Piece { flow: edge.flow, path, offset, bytes } }
    };
    whole.iter().zip(&colour).map(place).collect()
}

/// One line for each pair of leaves, over all its sources.
fn lay(sets: &[StepSet], edges: &[Edge], paths: &[Candidate], random: &mut Random) -> Vec<Placed> {
    let mut pairs: BTreeMap<(LeafId, LeafId), Vec<Edge>> = BTreeMap::new();
    for edge in edges {
        pairs.entry((edge.from, edge.to)).or_default().push(*edge);
    }
    let mut placed = Vec::with_capacity(edges.len());
    for mut flows in pairs.into_values() {
        let mut order = paths.to_vec();
        random.shuffle(&mut order);
        random.shuffle(&mut flows);
        let mut line = Line::new(&order, flows.iter().map(|edge| edge.bytes).sum());
        for edge in flows {
            let unit = sets[edge.set as usize].cut_unit.get();
            line.lay(edge.bytes, unit, |path, offset, bytes| {
                let (offset, bytes) = (Bytes(offset), Bytes(bytes));
                let piece = Piece { flow: edge.flow, path: Some(path), offset, bytes };
                placed.push(Placed { edge, piece });
            });
        }
    }
    placed
}
