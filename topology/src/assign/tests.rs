use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU64};

use super::*;
use crate::fabric::{HostId, LeafId, LeafPaths, Path, PathId, RailId};
use crate::number::gcd;
use crate::units::{Bandwidth, Bytes};
use shuffle::Random;

const CASES: u64 = 400;

fn schemes() -> [Scheme; 11] {
    let burst = Turn::Bytes(NonZeroU64::new(700).expect("not 0"));
    [
        Scheme::Equal,
        Scheme::Line,
        Scheme::Coloured,
        Scheme::Ecmp,
        Scheme::EcmpSubflows(NonZeroU16::new(3).expect("not 0")),
        Scheme::Rotation(Turn::Flow),
        Scheme::Rotation(burst),
        Scheme::RoundRobin(Turn::Flow),
        Scheme::RoundRobin(burst),
        Scheme::Random(Turn::Flow),
        Scheme::LeastLoaded,
    ]
}

/// Up to 12 paths on two rails, of equal or of any capacities, some dead; at least one lives on
/// each rail.
fn random_paths(random: &mut Random, equal: bool) -> LeafPaths {
    let count = 2 + random.below(11) as u32;
    let path = |id| Path {
        id: PathId(id),
        rail: RailId(id % 2),
        capacity: Bandwidth(if equal { 5.0 } else { 1.0 + random.below(1000) as f64 }),
        alive: id < 2 || random.below(5) > 0,
    };
    LeafPaths::new((0..count).map(path).collect()).expect("paths are valid")
}

/// A source on leaf 0 with flows of any size to leaves 0 (its own) to 3.
fn random_case(random: &mut Random, equal_paths: bool) -> (StepSet, PathTable) {
    let mut table = PathTable::new(LeafId(0));
    for leaf in 1..4 {
        table.insert(LeafId(leaf), random_paths(random, equal_paths));
    }
    let mut set = StepSet::new(HostId(random.below(9) as u32), LeafId(0));
    for _ in 0..random.below(40) {
        let leaf = random.below(4) as u32;
        let host = HostId(leaf * 9 + random.below(9) as u32);
        let size = 1 << random.below(17);
        set.push(host, LeafId(leaf), Bytes(random.below(size)));
        let tied = random.below(4) == 0;
        set.flows.last_mut().expect("pushed").rail = tied.then_some(RailId(random.below(2) as u32));
    }
    (set, table)
}

fn equal_flows(flows: u32, bytes: u64, paths: &LeafPaths) -> (StepSet, PathTable) {
    let mut table = PathTable::new(LeafId(0));
    table.insert(LeafId(1), paths.clone());
    let mut set = StepSet::new(HostId(0), LeafId(0));
    (0..flows).for_each(|flow| set.push(HostId(8 + flow), LeafId(1), Bytes(bytes)));
    (set, table)
}

type GroupKey = (LeafId, Option<RailId>);

/// Bytes and number of pieces by group and path.
fn loads(set: &StepSet, assignment: &Assignment) -> BTreeMap<(GroupKey, PathId), (f64, f64)> {
    let mut loads: BTreeMap<_, (f64, f64)> = BTreeMap::new();
    for piece in assignment.pieces() {
        let flow = &set.flows[piece.flow as usize];
        if let Some(path) = piece.path {
            let (bytes, pieces) = loads.entry(((flow.leaf, flow.rail), path)).or_default();
            *bytes += piece.bytes.0 as f64;
            *pieces += 1.0;
        }
    }
    loads
}

fn spray_loads(set: &StepSet, table: &PathTable) -> BTreeMap<(GroupKey, PathId), f64> {
    let mut loads = BTreeMap::new();
    for share in ideal_spray(set, table).expect("paths live") {
        let flow = &set.flows[share.flow as usize];
        if let Some(path) = share.path {
            *loads.entry(((flow.leaf, flow.rail), path)).or_default() += share.bytes;
        }
    }
    loads
}

fn assert_covers(set: &StepSet, table: &PathTable, assignment: &Assignment, context: &str) {
    let mut next_in_start_order = Vec::new();
    for piece in assignment.pieces() {
        if next_in_start_order.last() != Some(&piece.flow) {
            next_in_start_order.push(piece.flow);
        }
    }
    assert!(next_in_start_order.len() <= set.flows.len(), "a flow stands apart: {context}");
    for (index, flow) in set.flows.iter().enumerate() {
        let pieces = assignment.of_flow(index);
        let mut end = 0;
        for piece in pieces {
            assert_eq!((piece.flow, piece.offset.0), (index as u32, end), "{context}");
            assert!(piece.bytes.0 > 0 || flow.bytes.0 == 0, "an empty piece: {context}");
            end += piece.bytes.0;
            let Some(path) = piece.path else {
                assert!(set.is_local(flow) && pieces.len() == 1, "no path: {context}");
                continue;
            };
            let paths = table.to(flow.leaf).expect("a known leaf");
            let allowed = paths.live(flow.rail).any(|live| live.id == path);
            assert!(allowed && !set.is_local(flow), "a wrong path: {context}");
        }
        assert_eq!(end, flow.bytes.0, "{context}");
        assert!(!pieces.is_empty(), "{context}");
    }
}

#[test]
fn every_scheme_covers_every_flow_once_in_order_on_live_paths_of_its_rail() {
    for seed in 0..CASES {
        let mut random = Random::new(Seed(seed), 0);
        let (mut set, table) = random_case(&mut random, seed % 2 == 0);
        set.cut_unit = NonZeroU64::new(1 + random.below(9)).expect("not 0");
        for scheme in schemes() {
            let context = format!("{scheme:?}, seed {seed}");
            let assignment = scheme.assign(&set, &table, Seed(seed)).expect("paths live");
            assert_covers(&set, &table, &assignment, &context);
            let again = scheme.assign(&set, &table, Seed(seed)).expect("paths live");
            assert_eq!(assignment, again, "{context}");
            let on_units = assignment
                .pieces()
                .iter()
                .all(|piece| piece.offset.0.is_multiple_of(set.cut_unit.get()));
            assert!(on_units, "{context}");
        }
    }
}

#[test]
fn equal_makes_exactly_r_s_over_g_pieces_of_the_left_over_flows() {
    for paths in 1..=16_u32 {
        let table = LeafPaths::equal(paths).expect("paths");
        for flows in 0..=40 {
            let (set, table) = equal_flows(flows, 1001, &table);
            let assignment = Scheme::Equal.assign(&set, &table, Seed(5)).expect("paths live");
            let left_over = flows % paths;
            let g = gcd(left_over as usize, paths as usize) as u32;
            let expected = flows - left_over + left_over * paths / g;
            assert_eq!(assignment.pieces().len() as u32, expected, "{flows} over {paths}");
            assert!(assignment.cut_flows() as u32 <= left_over);
        }
    }
}

#[test]
fn line_makes_exactly_r_plus_s_minus_g_pieces_of_equal_left_over_flows() {
    for paths in 1..=16_u32 {
        let table = LeafPaths::equal(paths).expect("paths");
        for flows in 1..=40 {
            let (set, table) = equal_flows(flows, 1001, &table);
            let assignment = Scheme::Line.assign(&set, &table, Seed(5)).expect("paths live");
            let left_over = flows % paths;
            let g = gcd(left_over as usize, paths as usize) as u32;
            let expected = flows - left_over + left_over + paths - g;
            assert_eq!(assignment.pieces().len() as u32, expected, "{flows} over {paths}");
        }
    }
}

#[test]
fn line_cuts_a_group_at_most_s_minus_1_times_whatever_sizes_and_capacities() {
    for seed in 0..CASES {
        let mut random = Random::new(Seed(seed), 1);
        let (set, table) = random_case(&mut random, false);
        let assignment = Scheme::Line.assign(&set, &table, Seed(seed)).expect("paths live");
        let mut cuts: BTreeMap<GroupKey, usize> = BTreeMap::new();
        for (index, flow) in set.flows.iter().enumerate() {
            *cuts.entry((flow.leaf, flow.rail)).or_default() += assignment.of_flow(index).len() - 1;
        }
        for ((leaf, rail), cuts) in cuts {
            let most = table.to(leaf).map_or(0, |paths| paths.live(rail).count() - 1);
            assert!(cuts <= most, "{cuts} cuts over {} paths, seed {seed}", most + 1);
        }
    }
}

#[test]
fn line_puts_the_ideal_sprays_bytes_on_every_path_within_one_byte() {
    for seed in 0..CASES {
        let mut random = Random::new(Seed(seed), 2);
        let (mut set, table) = random_case(&mut random, seed % 2 == 0);
        let unit = 1 + random.below(2) * random.below(8);
        set.cut_unit = NonZeroU64::new(unit).expect("not 0");
        // A cut at a whole byte is up to one byte off; one at a unit another half unit at each end.
        let slack = if unit == 1 { 1.0 } else { 1.0 + unit as f64 } + 1e-3;
        let assignment = Scheme::Line.assign(&set, &table, Seed(seed)).expect("paths live");
        let loads = loads(&set, &assignment);
        for (key, ideal) in spray_loads(&set, &table) {
            let (bytes, _) = loads.get(&key).copied().unwrap_or_default();
            assert!((bytes - ideal).abs() < slack, "{bytes} for {ideal} at {key:?}, seed {seed}");
        }
    }
}

#[test]
fn equal_puts_the_ideal_sprays_bytes_on_every_path_within_one_byte_a_subflow() {
    for seed in 0..CASES {
        let mut random = Random::new(Seed(seed), 3);
        let (mut set, table) = random_case(&mut random, true);
        let unit = 1 + random.below(2) * random.below(8);
        set.cut_unit = NonZeroU64::new(unit).expect("not 0");
        // A flow too short for all its parts leaves some paths without one; count what was due.
        let assignment = Scheme::Equal.assign(&set, &table, Seed(seed)).expect("paths live");
        let loads = loads(&set, &assignment);
        let parts = |(leaf, rail): GroupKey| {
            let flows = set.flows.iter().filter(|flow| (flow.leaf, flow.rail) == (leaf, rail));
            flows.count() as f64
        };
        for (key, ideal) in spray_loads(&set, &table) {
            let (bytes, _) = loads.get(&key).copied().unwrap_or_default();
            let slack = parts(key.0) * unit as f64 + 1e-3;
            assert!((bytes - ideal).abs() < slack, "{bytes} for {ideal} at {key:?}, seed {seed}");
        }
    }
}

#[test]
fn equal_parts_of_a_flow_differ_by_one_byte_and_the_last_takes_the_odd_one() {
    let (set, table) = equal_flows(1, 15, &LeafPaths::equal(8).expect("paths"));
    let assignment = Scheme::Equal.assign(&set, &table, Seed(0)).expect("paths live");
    let sizes: Vec<u64> = assignment.pieces().iter().map(|piece| piece.bytes.0).collect();
    assert_eq!(sizes, [1, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn the_same_seed_gives_the_same_pieces_on_every_machine() {
    // A recorded result: a change of it changes which path flows take between versions.
    let paths = LeafPaths::equal(4).expect("paths").without(|path| path == PathId(1));
    let (set, table) = equal_flows(4, 1000, &paths);
    let assignment = Scheme::Line.assign(&set, &table, Seed(42)).expect("paths live");
    let found: Vec<(u32, u32, u64, u64)> = assignment
        .pieces()
        .iter()
        .map(|piece| {
            let path = piece.path.expect("not local");
            (piece.flow, path.0, piece.offset.0, piece.bytes.0)
        })
        .collect();
    let recorded = [
        (3, 3, 0, 1000),
        (0, 3, 0, 333),
        (0, 2, 333, 667),
        (2, 2, 0, 666),
        (2, 0, 666, 334),
        (1, 0, 0, 1000),
    ];
    assert_eq!(found, recorded);
}

#[test]
fn sources_do_not_march_in_step() {
    let paths = LeafPaths::equal(8).expect("paths");
    let first_paths = (0..64).map(|host| {
        let (mut set, table) = equal_flows(8, 1000, &paths);
        set.source = HostId(host);
        let assignment = Scheme::Line.assign(&set, &table, Seed(1)).expect("paths live");
        let first = assignment.pieces()[0];
        (first.flow, first.path)
    });
    let different: std::collections::BTreeSet<_> = first_paths.collect();
    assert!(different.len() > 32, "only {} different starts of 64", different.len());
}

#[test]
fn no_live_path_is_an_error_that_names_the_leaves_and_the_rail() {
    let dead = LeafPaths::equal(4).expect("paths").without(|_| true);
    let (set, table) = equal_flows(1, 10, &dead);
    for scheme in schemes() {
        let error = scheme.assign(&set, &table, Seed(0)).expect_err("all paths are dead");
        assert_eq!(error.to_string(), "no live path from leaf 0 to leaf 1");
    }
    let (mut set, table) = equal_flows(1, 10, &LeafPaths::equal(4).expect("paths"));
    set.flows[0].rail = Some(RailId(2));
    let error = Scheme::Line.assign(&set, &table, Seed(0)).expect_err("there is no rail 2");
    assert_eq!(error.to_string(), "no live path from leaf 0 to leaf 1 on rail 2");
    set.leaf = LeafId(7);
    let error = Scheme::Line.assign(&set, &table, Seed(0)).expect_err("the table is leaf 0's");
    assert_eq!(error, AssignError::WrongTable { source_leaf: LeafId(7) });
}

#[test]
fn bursts_too_short_for_the_flows_are_refused() {
    let (set, table) = equal_flows(1, 1 << 40, &LeafPaths::equal(4).expect("paths"));
    let scheme = Scheme::Rotation(Turn::Bytes(NonZeroU64::new(1024).expect("not 0")));
    let error = scheme.assign(&set, &table, Seed(0)).expect_err("too many pieces");
    assert_eq!(error, AssignError::TooManyPieces { pieces: 1 << 30 });
    let (set, table) = equal_flows(3, MAX_BYTES / 2, &LeafPaths::equal(4).expect("paths"));
    let error = Scheme::Line.assign(&set, &table, Seed(0)).expect_err("too many bytes");
    assert_eq!(error, AssignError::TooManyBytes);
}

#[test]
fn rotation_gives_every_path_the_same_number_of_bursts_of_a_destination() {
    let (set, table) = equal_flows(3, 64_000, &LeafPaths::equal(8).expect("paths"));
    let scheme = Scheme::Rotation(Turn::Bytes(NonZeroU64::new(1000).expect("not 0")));
    let assignment = scheme.assign(&set, &table, Seed(9)).expect("paths live");
    for flow in 0..3 {
        let mut bursts = [0; 8];
        for piece in assignment.of_flow(flow) {
            bursts[piece.path.expect("not local").index()] += 1;
        }
        assert_eq!(bursts, [8; 8]);
    }
}

#[test]
fn least_loaded_fills_paths_by_capacity_and_counts_what_other_destinations_took() {
    let path = |id: u32, capacity| Path {
        id: PathId(id),
        rail: RailId(0),
        capacity: Bandwidth(capacity),
        alive: true,
    };
    let paths = LeafPaths::new(vec![path(0, 2.0), path(1, 1.0)]).expect("paths");
    let mut table = PathTable::new(LeafId(0));
    let mut set = StepSet::new(HostId(0), LeafId(0));
    for leaf in 1..4 {
        table.insert(LeafId(leaf), paths.clone());
        set.push(HostId(leaf), LeafId(leaf), Bytes(100));
    }
    let assignment = Scheme::LeastLoaded.assign(&set, &table, Seed(3)).expect("paths live");
    let first = assignment.pieces().iter().filter(|piece| piece.path == Some(PathId(0))).count();
    assert_eq!(first, 2, "{assignment:?}");
}
