use std::num::NonZeroU16;

use super::*;
use crate::assign::{Assignment, Scheme, Seed, StepSet, Turn, ideal_spray};
use crate::fabric::{
    HostId, LeafId, LeafPaths, LeafSpine, Link, PathTables, RailId, Shape, SpineId,
};
use crate::units::{Bandwidth, Bytes};

/// A small generator, apart from the one under test.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn numbers(seed: u64) -> Numbers {
    Numbers(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
}

fn shape(leaves: u32, spines: u32, hosts_per_leaf: u32, rails: u32) -> Shape {
    let (host_link, uplink) = (Bandwidth(100.0), Bandwidth(100.0));
    Shape { leaves, spines, hosts_per_leaf, rails, host_link, uplink }
}

fn random_fabric(numbers: &mut Numbers, healthy: bool) -> LeafSpine {
    let (leaves, spines) = (2 + numbers.below(4) as u32, 1 + numbers.below(5) as u32);
    let shape = shape(leaves, spines, 1 + numbers.below(4) as u32, 1 + numbers.below(2) as u32);
    let mut fabric = LeafSpine::new(shape).expect("a fabric");
    if healthy {
        return fabric;
    }
    for _ in 0..=numbers.below(4) {
        let leaf = LeafId(numbers.below(u64::from(leaves)) as u32);
        // Spine 0 stays alive, so every pair has a path.
        let spine = SpineId(numbers.below(u64::from(spines)) as u32);
        let rail = RailId(numbers.below(u64::from(shape.rails)) as u32);
        let rates = [Some(Bandwidth(50.0)), Some(Bandwidth(10.0)), None];
        let rate = rates[numbers.below(if spine.0 == 0 { 2 } else { 3 }) as usize];
        match numbers.below(3) {
            0 => fabric.set_cable(leaf, spine, rail, rate),
            1 => fabric.set_link(Link::Down(spine, leaf, rail), rate),
            _ => fabric.set_spine(spine, rail, rate),
        }
    }
    fabric
}

/// Any mix of sources and destinations; a flow in six is tied to a rail.
fn random_sets(numbers: &mut Numbers, fabric: &LeafSpine, largest: u64) -> Vec<StepSet> {
    let hosts = fabric.hosts();
    let source = |source: u32| {
        let mut set = StepSet::new(HostId(source), fabric.leaf_of(HostId(source)));
        for _ in 0..numbers.below(8) {
            let host = HostId(numbers.below(u64::from(hosts)) as u32);
            set.push(host, fabric.leaf_of(host), Bytes(numbers.below(largest)));
            if numbers.below(6) == 0 {
                let rail = RailId(numbers.below(u64::from(fabric.shape().rails)) as u32);
                set.flows.last_mut().expect("pushed").rail = Some(rail);
            }
        }
        set
    };
    (0..hosts).map(source).collect()
}

fn loads_of<'f>(fabric: &'f LeafSpine, sets: &[StepSet], all: &[Assignment]) -> LinkLoads<'f> {
    let mut loads = LinkLoads::new(fabric);
    for (set, assignment) in sets.iter().zip(all) {
        loads.add(set, assignment.pieces()).expect("parts of the fabric");
    }
    loads
}

fn spray_of<'f>(fabric: &'f LeafSpine, sets: &[StepSet], tables: &PathTables) -> LinkLoads<'f> {
    let mut loads = LinkLoads::new(fabric);
    for set in sets {
        let table = tables.from(set.leaf).expect("a leaf of the fabric");
        let shares = ideal_spray(set, table).expect("paths live");
        loads.add_spray(set, &shares).expect("parts of the fabric");
    }
    loads
}

fn seconds(loads: &LinkLoads<'_>) -> f64 {
    loads.max_congestion().map_or(0.0, |worst| worst.seconds())
}

/// A permutation across leaves: host `i` of every leaf sends to host `i` of another leaf.
fn permutation(fabric: &LeafSpine, bytes: u64) -> Vec<StepSet> {
    let Shape { leaves, hosts_per_leaf, .. } = *fabric.shape();
    let set = |host: u32| {
        let (leaf, position) = (host / hosts_per_leaf, host % hosts_per_leaf);
        let other = (leaf + 1 + position % (leaves - 1)) % leaves;
        let mut set = StepSet::new(HostId(host), LeafId(leaf));
        set.push(HostId(other * hosts_per_leaf + position), LeafId(other), Bytes(bytes));
        set
    };
    (0..fabric.hosts()).map(set).collect()
}

#[test]
fn no_link_carries_more_than_under_the_spray_but_for_one_byte_a_flow() {
    for seed in 0..400 {
        let mut numbers = numbers(seed + 1);
        let fabric = random_fabric(&mut numbers, seed % 2 == 0);
        let sets = random_sets(&mut numbers, &fabric, 100_000);
        for (scheme, tables) in [
            (Scheme::Line, fabric.tables()),
            (Scheme::Equal, fabric.tables().map(LeafPaths::unweighted)),
        ] {
            let all = scheme.assign_all(&sets, &tables, Seed(seed)).expect("paths live");
            let split = loads_of(&fabric, &sets, &all);
            let spray = spray_of(&fabric, &sets, &tables);
            // One byte for each flow that can have a piece there is never less than one for each
            // group (`line`) or each piece (`equal`: a flow has one part a path at most).
            let flows: usize = sets.iter().map(|set| set.flows.len()).sum();
            // With several rails a flow to one host may lie on one rail whole, where the spray has
            // a part on each: the leaf's links even that out, the receiving host's do not.
            let by_choice = |link| matches!(link, Link::HostDown(..)) && fabric.shape().rails > 1;
            let links = split.iter().zip(spray.iter()).filter(|(load, _)| !by_choice(load.link));
            for (split, spray) in links {
                let slack = flows as f64 + 1e-3;
                let context = format!("{scheme:?} at {}, seed {seed}", split.link);
                assert!(split.bytes <= spray.bytes + slack, "{context}");
            }
            let worst = |loads: &LinkLoads<'_>| {
                loads.max_fabric_congestion().map_or(0.0, |worst| worst.seconds())
            };
            // The slowest link of these fabrics has a rate of 10.
            let most = worst(&spray) + (flows as f64 + 1e-3) / 10.0;
            assert!(worst(&split) <= most, "{scheme:?}, seed {seed}");
        }
    }
}

#[test]
fn the_optimum_is_proven_and_no_scheme_beats_it() {
    let schemes = [
        Scheme::Equal,
        Scheme::Line,
        Scheme::Coloured,
        Scheme::Ecmp,
        Scheme::EcmpSubflows(NonZeroU16::new(4).expect("not 0")),
        Scheme::Rotation(Turn::Flow),
        Scheme::RoundRobin(Turn::Flow),
        Scheme::Random(Turn::Flow),
        Scheme::LeastLoaded,
    ];
    for seed in 0..300 {
        let mut numbers = numbers(seed + 1);
        let fabric = random_fabric(&mut numbers, seed % 3 == 0);
        let sets = random_sets(&mut numbers, &fabric, 100_000);
        let tables = fabric.tables();
        let best = optimum(&fabric, &sets).expect("paths live");
        assert!(best.is_proven(), "{best:?}, seed {seed}");
        let spray = seconds(&spray_of(&fabric, &sets, &tables));
        assert!(best.at_least <= spray * (1.0 + 1e-9), "{best:?} but {spray}, seed {seed}");
        for scheme in schemes {
            let all = scheme.assign_all(&sets, &tables, Seed(seed)).expect("paths live");
            let reached = seconds(&loads_of(&fabric, &sets, &all));
            // Rack-local flows on several rails are no choice of a scheme, but one of the optimum.
            let message = format!("{best:?} but {scheme:?} reaches {reached}, seed {seed}");
            assert!(best.at_least <= reached * (1.0 + 1e-9), "{message}");
        }
    }
}

#[test]
fn on_a_healthy_fabric_the_optimum_is_the_busiest_side_of_a_leaf_over_its_links() {
    let fabric = LeafSpine::new(shape(4, 4, 4, 1).oversubscribed(2.0)).expect("a fabric");
    let sets = permutation(&fabric, 8_000_000);
    let best = optimum(&fabric, &sets).expect("paths live");
    // Four hosts' bytes over four uplinks of half a host link's rate.
    assert!((best.seconds - 8_000_000.0 / 50.0).abs() < 1e-6, "{best:?}");
    assert!(best.is_proven());
}

#[test]
fn around_a_dead_cable_the_optimum_uses_the_other_spines_for_that_leaf_only() {
    let mut fabric = LeafSpine::new(shape(3, 2, 2, 1)).expect("a fabric");
    fabric.set_cable(LeafId(0), SpineId(0), RailId(0), None);
    let mut sets = Vec::new();
    // Leaf 0 and leaf 1 each send 100 bytes to leaf 2.
    for source in [0, 2] {
        let mut set = StepSet::new(HostId(source), fabric.leaf_of(HostId(source)));
        set.push(HostId(4 + source / 2), LeafId(2), Bytes(100));
        sets.push(set);
    }
    let best = optimum(&fabric, &sets).expect("paths live");
    assert!((best.seconds - 1.0).abs() < 1e-9, "{best:?}");
    // The spray puts 100 and 50 on the downlink of spine 1.
    let spray = seconds(&spray_of(&fabric, &sets, &fabric.tables()));
    assert!((spray - 1.5).abs() < 1e-9, "{spray}");
}

#[test]
fn the_optimum_of_all_to_all_over_ten_leaves_with_broken_cables_is_proven() {
    // Host links so fast that the spray does not meet a simple bound, and the program is solved.
    let shape = Shape { host_link: Bandwidth(1000.0), ..shape(10, 8, 2, 1) };
    let mut fabric = LeafSpine::new(shape).expect("a fabric");
    fabric.set_spine(SpineId(3), RailId(0), Some(Bandwidth(50.0)));
    for (leaf, spine) in [(0, 1), (0, 2), (4, 7), (9, 0), (5, 1)] {
        fabric.set_cable(LeafId(leaf), SpineId(spine), RailId(0), None);
    }
    let set = |host| {
        let mut set = StepSet::new(HostId(host), fabric.leaf_of(HostId(host)));
        for other in (0..fabric.hosts()).map(HostId).filter(|other| other.0 != host) {
            set.push(other, fabric.leaf_of(other), Bytes(1000 + u64::from(host)));
        }
        set
    };
    let sets: Vec<StepSet> = (0..fabric.hosts()).map(set).collect();
    let best = optimum(&fabric, &sets).expect("paths live");
    assert!(best.is_proven(), "{best:?}");
}

#[test]
fn nothing_to_send_needs_no_time_and_no_path_is_an_error() {
    let mut fabric = LeafSpine::new(shape(2, 1, 1, 1)).expect("a fabric");
    let none = optimum(&fabric, &[]).expect("nothing to send");
    assert_eq!((none.seconds, none.at_least), (0.0, 0.0));
    fabric.set_spine(SpineId(0), RailId(0), None);
    let mut set = StepSet::new(HostId(0), LeafId(0));
    set.push(HostId(1), LeafId(1), Bytes(1));
    let error = optimum(&fabric, &[set]).expect_err("the only spine is dead");
    let rail = Some(RailId(0));
    assert_eq!(error, OptimumError::NoLivePath { from: LeafId(0), to: LeafId(1), rail });
}

#[test]
fn colours_place_equal_flows_whole_where_the_spines_divide_the_busiest_leaf() {
    for seed in 0..60 {
        let mut numbers = numbers(seed + 1);
        let (leaves, spines) = (2 + numbers.below(4) as u32, 1 + numbers.below(5) as u32);
        let hosts = spines * (1 + numbers.below(3) as u32);
        let fabric = LeafSpine::new(shape(leaves, spines, hosts, 1)).expect("a fabric");
        let bytes = 1_000_003;
        let shift = 1 + numbers.below(u64::from(leaves) - 1) as u32;
        let set = |host: u32| {
            let mut set = StepSet::new(HostId(host), fabric.leaf_of(HostId(host)));
            let to = HostId((host + shift * hosts) % fabric.hosts());
            set.push(to, fabric.leaf_of(to), Bytes(bytes));
            set
        };
        let sets: Vec<StepSet> = (0..fabric.hosts()).map(set).collect();
        let all = Scheme::Coloured.assign_all(&sets, &fabric.tables(), Seed(seed));
        let all = all.expect("paths live");
        assert!(all.iter().all(|assignment| assignment.cut_flows() == 0), "seed {seed}");
        let loads = loads_of(&fabric, &sets, &all);
        assert!(loads.max_over_mean() < 1.0 + 1e-9, "seed {seed}");
    }
}

#[test]
fn colours_never_load_a_link_more_than_the_spray_loads_the_busiest() {
    let mut fewer_cuts = 0_i64;
    for seed in 0..200 {
        let mut numbers = numbers(seed + 1);
        let mut fabric = random_fabric(&mut numbers, true);
        if seed % 3 == 0 && fabric.shape().spines > 1 {
            fabric.set_spine(SpineId(1), RailId(0), Some(Bandwidth(50.0)));
        }
        let mut sets = random_sets(&mut numbers, &fabric, 2);
        for flow in sets.iter_mut().flat_map(|set| &mut set.flows) {
            (flow.bytes, flow.rail) = (Bytes(1_000_000), None);
        }
        let tables = fabric.tables();
        let coloured = Scheme::Coloured.assign_all(&sets, &tables, Seed(seed));
        let coloured = coloured.expect("paths live");
        let lined = Scheme::Line.assign_all(&sets, &tables, Seed(seed)).expect("paths live");
        let worst = |loads: &LinkLoads<'_>| {
            loads.max_fabric_congestion().map_or(0.0, |worst| worst.seconds())
        };
        let reached = worst(&loads_of(&fabric, &sets, &coloured));
        let spray = worst(&spray_of(&fabric, &sets, &tables));
        // One byte for each pair of leaves that a leaf is part of, on the slowest link.
        let slack = f64::from(fabric.shape().leaves) / 50.0;
        assert!(reached <= spray + slack, "{reached} above {spray}, seed {seed}");
        let cuts = |all: &[Assignment]| all.iter().map(Assignment::cut_flows).sum::<usize>() as i64;
        fewer_cuts += cuts(&lined) - cuts(&coloured);
    }
    assert!(fewer_cuts > 0, "colours cut {} flows more than lines", -fewer_cuts);
}

#[test]
fn colours_cope_with_any_sizes_and_with_dead_cables() {
    for seed in 0..200 {
        let mut numbers = numbers(seed + 1);
        let fabric = random_fabric(&mut numbers, false);
        let sets = random_sets(&mut numbers, &fabric, 1_000_000);
        let tables = fabric.tables();
        let coloured = Scheme::Coloured.assign_all(&sets, &tables, Seed(seed));
        let coloured = coloured.expect("paths live");
        let again = Scheme::Coloured.assign_all(&sets, &tables, Seed(seed)).expect("paths live");
        assert_eq!(coloured, again, "seed {seed}");
        for (set, assignment) in sets.iter().zip(&coloured) {
            for (index, flow) in set.flows.iter().enumerate() {
                let mut end = 0;
                for piece in assignment.of_flow(index) {
                    assert_eq!(piece.offset.0, end, "seed {seed}");
                    end += piece.bytes.0;
                }
                assert_eq!(end, flow.bytes.0, "seed {seed}");
            }
        }
        let reached = loads_of(&fabric, &sets, &coloured).max_fabric_congestion();
        let spray = spray_of(&fabric, &sets, &tables).max_fabric_congestion();
        let (reached, spray) =
            (reached.map_or(0.0, |worst| worst.seconds()), spray.map_or(0.0, |w| w.seconds()));
        assert!(reached <= spray * (1.0 + 1.0 / 1024.0) + 10.0, "{reached} {spray}, seed {seed}");
    }
}

#[test]
fn one_hash_a_flow_loads_a_permutation_far_worse_than_a_split() {
    let fabric = LeafSpine::new(shape(4, 4, 4, 1)).expect("a fabric");
    let sets = permutation(&fabric, 8_000_000);
    let tables = fabric.tables();
    let best = optimum(&fabric, &sets).expect("paths live").seconds;
    let time = |scheme: Scheme, seed| {
        let all = scheme.assign_all(&sets, &tables, Seed(seed)).expect("paths live");
        seconds(&loads_of(&fabric, &sets, &all)) / best
    };
    let mut hashed: Vec<f64> = (0..21).map(|seed| time(Scheme::Ecmp, seed)).collect();
    hashed.sort_by(f64::total_cmp);
    assert!(hashed[10] >= 2.0, "the median of hashes is {}", hashed[10]);
    assert!((0..21).all(|seed| time(Scheme::Line, seed) < 1.0 + 1e-5));
}

#[test]
fn a_flow_that_names_what_the_fabric_has_not_is_refused() {
    let fabric = LeafSpine::new(shape(2, 2, 2, 1)).expect("a fabric");
    let mut loads = LinkLoads::new(&fabric);
    let mut set = StepSet::new(HostId(0), LeafId(1));
    let error = loads.add(&set, &[]).expect_err("host 0 is on leaf 0");
    let (host, leaf, right) = (HostId(0), LeafId(1), LeafId(0));
    assert_eq!(error, LoadError::Leaf { host, leaf, right });
    set = StepSet::new(HostId(9), LeafId(4));
    let error = loads.add(&set, &[]).expect_err("there are 4 hosts");
    assert_eq!(error.to_string(), "host 9 is not of this fabric: it has 4 hosts");
}
