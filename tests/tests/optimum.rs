//! `optimum` against a linear program written down and solved apart from it.

use std::collections::BTreeMap;

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, SolveOutcome, Variable};
use onepath_topology::assign::StepSet;
use onepath_topology::fabric::{HostId, LeafId, LeafSpine, Link, RailId, Shape, SpineId};
use onepath_topology::load::optimum;
use onepath_topology::{Bandwidth, Bytes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A fabric with a few slow or dead links; spine 0 of each rail lives.
fn random_fabric(random: &mut StdRng) -> LeafSpine {
    let shape = Shape {
        leaves: random.random_range(2..=4),
        spines: random.random_range(1..=4),
        hosts_per_leaf: random.random_range(1..=3),
        rails: random.random_range(1..=2),
        host_link: Bandwidth(100.0),
        uplink: Bandwidth(100.0),
    };
    let mut fabric = LeafSpine::new(shape).expect("a fabric");
    for _ in 0..random.random_range(0..=4) {
        let leaf = LeafId(random.random_range(0..shape.leaves));
        let spine = SpineId(random.random_range(0..shape.spines));
        let rail = RailId(random.random_range(0..shape.rails));
        let slow = Some(Bandwidth(random.random_range(5.0..100.0)));
        let rate = if spine.0 > 0 && random.random_bool(0.3) { None } else { slow };
        if random.random_bool(0.5) {
            fabric.set_cable(leaf, spine, rail, rate);
        } else {
            fabric.set_link(Link::Down(spine, leaf, rail), rate);
        }
    }
    fabric
}

fn random_sets(random: &mut StdRng, fabric: &LeafSpine) -> Vec<StepSet> {
    let set = |source: u32| {
        let mut set = StepSet::new(HostId(source), fabric.leaf_of(HostId(source)));
        for _ in 0..random.random_range(0..4) {
            let host = HostId(random.random_range(0..fabric.hosts()));
            set.push(host, fabric.leaf_of(host), Bytes(random.random_range(1..1000)));
            let tied = random.random_bool(0.2);
            let rail = RailId(random.random_range(0..fabric.shape().rails));
            set.flows.last_mut().expect("pushed").rail = tied.then_some(rail);
        }
        set
    };
    (0..fabric.hosts()).map(set).collect()
}

/// The least time by a program with a variable for each flow, rail and spine, and nothing merged.
fn by_program(fabric: &LeafSpine, sets: &[StepSet]) -> f64 {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let time = problem.add_var(1.0, (0.0, f64::INFINITY));
    let mut over: BTreeMap<Link, Vec<Variable>> = BTreeMap::new();
    for set in sets {
        for flow in set.flows.iter().filter(|flow| flow.destination != set.source) {
            let mut all = LinearExpr::empty();
            for rail in (0..fabric.shape().rails).map(RailId) {
                if flow.rail.is_some_and(|tied| tied != rail) {
                    continue;
                }
                let ends = [Link::HostUp(set.source, rail), Link::HostDown(flow.destination, rail)];
                let over_spine = |spine| {
                    let (spine, leaf) = (SpineId(spine), flow.leaf);
                    vec![Link::Up(set.leaf, spine, rail), Link::Down(spine, leaf, rail)]
                };
                let routes: Vec<Vec<Link>> = if flow.leaf == set.leaf {
                    vec![Vec::new()]
                } else {
                    (0..fabric.shape().spines).map(over_spine).collect()
                };
                for route in routes {
                    if route.iter().any(|link| fabric.rate(*link).is_none()) {
                        continue;
                    }
                    let variable = problem.add_var(0.0, (0.0, f64::INFINITY));
                    all.add(variable, 1.0);
                    for link in route.into_iter().chain(ends) {
                        over.entry(link).or_default().push(variable);
                    }
                }
            }
            problem.add_constraint(all, ComparisonOp::Eq, flow.bytes.0 as f64);
        }
    }
    for (link, variables) in over {
        let rate = fabric.rate(link).expect("dead links are left out").0;
        let mut load = LinearExpr::empty();
        for variable in variables {
            load.add(variable, 1.0);
        }
        load.add(time, -rate);
        problem.add_constraint(load, ComparisonOp::Le, 0.0);
    }
    match problem.solve().expect("every flow has a path") {
        SolveOutcome::Solution(solution) => solution.objective(),
        SolveOutcome::Interrupted(why) => panic!("no limit was set: {why:?}"),
    }
}

#[test]
fn the_optimum_of_small_fabrics_is_that_of_a_program_solved_apart() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let fabric = random_fabric(&mut random);
        let sets = random_sets(&mut random, &fabric);
        let found = optimum(&fabric, &sets).expect("every pair of leaves has a path");
        let expected = by_program(&fabric, &sets);
        let near = (found.seconds - expected).abs() <= 1e-6 * expected.max(1e-9);
        assert!(near && found.is_proven(), "{found:?}, but {expected} by program, seed {seed}");
    }
}
