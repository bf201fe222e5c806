//! `coloured`: whole flows by an edge colouring of the demand between leaves.
//!
//! A collective is known to all ranks in advance, so each can compute the same colouring and send
//! whole flows where the demand allows it; only what a colouring leaves uneven is cut.

mod class;
mod edges;

use std::collections::BTreeMap;

use class::{Class, Edge, Placed};

use super::demand::{AssignError, Assignment, MAX_BYTES, Piece, StepSet};
use super::group::{self, Candidate};
use super::shuffle::{Random, Seed};
use crate::fabric::{LeafId, PathId, PathTables, RailId};

/// Flows whose sizes differ by less than this part of the larger one are coloured as equal.
const NEARLY_EQUAL: u64 = 1024;

/// The most classes (sets of paths times sizes) that are coloured; the rest is laid by `line`.
const MAX_CLASSES: usize = 64;

/// The stream of the generator that all ranks share; no source has this host number.
const COLLECTIVE: u64 = 1 << 63;

/// Assigns the flows of a whole collective: `sets` holds every source's, in the same order on every
/// rank, `tables` the paths of every leaf that sends. The result is in the order of `sets`.
///
/// It relies on what [`PathId`] promises: paths with equal numbers share the uplink of their source
/// leaf and the downlink of their destination leaf. Where all flows have one size and all pairs the
/// same live paths, no link carries more than under the ideal spray of the busiest leaf (one cut
/// unit a pair of leaves apart), and every leaf has its whole flows spread evenly within one flow.
/// Flows of other sizes or other paths form classes that are coloured one by one, as long as no
/// link is more than 1/1024 above the busiest link under `line`; the others are laid by `line`.
pub fn assign_coloured(
    sets: &[StepSet],
    tables: &PathTables,
    seed: Seed,
) -> Result<Vec<Assignment>, AssignError> {
    let mut random = Random::new(seed, COLLECTIVE);
    let mut pieces: Vec<Vec<Piece>> = sets.iter().map(local_pieces).collect();
    for placed in place(sets, tables, &mut random)? {
        pieces[placed.edge.set as usize].push(placed.piece);
    }
    let in_start_order = |(set, pieces): (&StepSet, Vec<Piece>)| start_order(set, pieces, seed);
    Ok(sets.iter().zip(pieces).map(in_start_order).collect())
}

fn local_pieces(set: &StepSet) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(set.flows.len());
    for (index, flow) in set.flows.iter().enumerate() {
        if set.is_local(flow) {
            group::push_whole(set, index as u32, None, &mut pieces);
        }
    }
    pieces
}

/// The pieces of one source in its own shuffled order.
fn start_order(set: &StepSet, mut pieces: Vec<Piece>, seed: Seed) -> Assignment {
    pieces.sort_by_key(|piece| (piece.flow, piece.offset));
    let by_flow = Assignment::new(pieces, set.flows.len());
    let groups = group::shuffled(set, &mut group::random_of(set, seed));
    let flows = groups.iter().flat_map(|group| &group.flows);
    let ordered = flows.flat_map(|&flow| by_flow.of_flow(flow as usize)).copied().collect();
    Assignment::new(ordered, set.flows.len())
}

/// Places all flows between leaves: by `line` first, then class by class by colours where the
/// busiest link stays as it was.
fn place(
    sets: &[StepSet],
    tables: &PathTables,
    random: &mut Random,
) -> Result<Vec<Placed>, AssignError> {
    let mut classes = classes(sets, tables)?;
    classes.sort_by_key(|class| std::cmp::Reverse(class.bytes()));
    let mut chosen: Vec<Vec<Placed>> =
        classes.iter().map(|class| class.lined(sets, random)).collect();
    let mut loads = Loads::new(sets, tables);
    for placed in &chosen {
        loads.add(placed, 1.0);
    }
    let most = loads.max() * (1.0 + 1.0 / NEARLY_EQUAL as f64);
    for (class, chosen) in classes.iter().zip(&mut chosen).take(MAX_CLASSES) {
        let Some(coloured) = class.coloured(sets, random) else {
            continue;
        };
        loads.add(chosen, -1.0);
        loads.add(&coloured, 1.0);
        if loads.max() <= most {
            *chosen = coloured;
        } else {
            loads.add(&coloured, -1.0);
            loads.add(chosen, 1.0);
        }
    }
    Ok(chosen.into_iter().flatten().collect())
}

/// All flows between leaves by their paths and then by size.
fn classes(sets: &[StepSet], tables: &PathTables) -> Result<Vec<Class>, AssignError> {
    let mut paths_of: BTreeMap<(LeafId, LeafId, Option<RailId>), usize> = BTreeMap::new();
    let mut numbers: BTreeMap<Vec<(PathId, u64)>, usize> = BTreeMap::new();
    let mut by_paths: Vec<Class> = Vec::new();
    let mut bytes = 0_u128;
    for (set_index, set) in sets.iter().enumerate() {
        let wrong = AssignError::WrongTable { source_leaf: set.leaf };
        let table = tables.from(set.leaf).ok_or(wrong)?;
        group::check(set, table)?;
        for (index, flow) in set.flows.iter().enumerate() {
            if set.is_local(flow) {
                continue;
            }
            let key = (set.leaf, flow.leaf, flow.rail);
            let class = if let Some(&class) = paths_of.get(&key) {
                class
            } else {
                let paths = group::candidates(table, flow.leaf, flow.rail)?;
                let class = class_of(paths, &mut numbers, &mut by_paths);
                paths_of.insert(key, class);
                class
            };
            let (set, flow_index) = (set_index as u32, index as u32);
            let (from, to, size) = (key.0, key.1, flow.bytes.0);
            bytes += u128::from(size);
            by_paths[class].edges.push(Edge { set, flow: flow_index, from, to, bytes: size });
        }
    }
    if bytes > u128::from(MAX_BYTES) {
        return Err(AssignError::TooManyBytes);
    }
    Ok(by_paths.into_iter().flat_map(by_size).collect())
}

/// The class with these paths, a new one if there is none.
fn class_of(
    mut paths: Vec<Candidate>,
    numbers: &mut BTreeMap<Vec<(PathId, u64)>, usize>,
    classes: &mut Vec<Class>,
) -> usize {
    paths.sort_by_key(|path| path.path);
    let key = paths.iter().map(|path| (path.path, path.weight)).collect();
    *numbers.entry(key).or_insert_with(|| {
        classes.push(Class { paths, edges: Vec::new() });
        classes.len() - 1
    })
}

fn by_size(class: Class) -> Vec<Class> {
    let mut edges = class.edges;
    // Stable: flows of one size stay in the order of the sets, which all ranks share.
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.bytes));
    let mut classes: Vec<Class> = Vec::new();
    for edge in edges {
        let fits = classes.last().is_some_and(|class| {
            let largest = class.edges[0].bytes;
            largest - edge.bytes <= largest / NEARLY_EQUAL
        });
        if !fits {
            classes.push(Class { paths: class.paths.clone(), edges: Vec::new() });
        }
        classes.last_mut().expect("one was pushed").edges.push(edge);
    }
    classes
}

/// Bytes over capacity at both ends of every path, to compare placements.
struct Loads {
    /// By side (0 source, 1 destination), leaf and path: capacity and bytes.
    links: BTreeMap<(u8, LeafId, PathId), (f64, f64)>,
}

impl Loads {
    /// A link is taken to be as fast as the fastest path over it.
    fn new(sets: &[StepSet], tables: &PathTables) -> Self {
        let mut links: BTreeMap<_, (f64, f64)> = BTreeMap::new();
        let mut sources: Vec<LeafId> = sets.iter().map(|set| set.leaf).collect();
        sources.sort_unstable();
        sources.dedup();
        for table in sources.into_iter().filter_map(|leaf| tables.from(leaf)) {
            for (to, paths) in table.destinations() {
                for path in paths.live(None) {
                    for end in [(0, table.leaf(), path.id), (1, to, path.id)] {
                        let (capacity, _) = links.entry(end).or_default();
                        *capacity = capacity.max(path.capacity.0);
                    }
                }
            }
        }
        Self { links }
    }

    fn add(&mut self, placed: &[Placed], sign: f64) {
        for Placed { edge, piece } in placed {
            let path = piece.path.expect("a flow between leaves has a path");
            for end in [(0, edge.from, path), (1, edge.to, path)] {
                let (_, bytes) = self.links.get_mut(&end).expect("a path of the tables");
                *bytes += sign * piece.bytes.0 as f64;
            }
        }
    }

    fn max(&self) -> f64 {
        self.links.values().map(|(capacity, bytes)| bytes / capacity).fold(0.0, f64::max)
    }
}
