//! Cases worked out by hand.

use super::{Arrival, Settings, schedule, undisturbing};
use crate::check::check;
use crate::placement::Placement;
use crate::problem::{
    Builder, ClassId, GangId, Mobility, Node, NodeId, PodSpec, Problem, Resource,
};

const ONE_BY_ONE: Settings = Settings { arrival: Arrival::OneByOne, preemption: true, seed: 1 };

/// Nodes of so much CPU and memory.
fn cluster(capacities: &[[i64; 2]]) -> (Builder, ClassId) {
    let kinds = [("cpu", "m"), ("memory", "B")];
    let kinds = kinds.map(|(name, unit)| Resource { name: name.to_owned(), unit });
    let mut builder = Builder::new(kinds.to_vec(), Vec::new());
    for (number, capacity) in capacities.iter().enumerate() {
        let (name, capacity) = (format!("node-{number}"), Box::new(*capacity));
        builder.node(Node { name, capacity, domains: Box::default() });
    }
    let class = builder.class(vec![true; capacities.len()].into_boxed_slice());
    (builder, class)
}

fn pod(number: usize, priority: i64, request: [i64; 2], runs_on: Option<u32>) -> PodSpec {
    PodSpec {
        name: format!("default/pod-{number}"),
        owner: format!("owner-{number}"),
        priority,
        request: Box::new(request),
        class: ClassId(0),
        runs_on: runs_on.map(NodeId),
        mobility: Mobility::Movable,
        gang: None,
        part: None,
    }
}

/// Pods by priority, request and where they run.
fn problem(nodes: &[[i64; 2]], pods: &[(i64, [i64; 2], Option<u32>)]) -> Problem {
    let (mut builder, _) = cluster(nodes);
    for (number, (priority, request, runs_on)) in pods.iter().enumerate() {
        builder.pod(pod(number, *priority, *request, *runs_on));
    }
    builder.finish().expect("a problem")
}

fn places(placement: &Placement) -> Vec<Option<u32>> {
    placement.nodes().iter().map(|node| node.map(|node| node.0)).collect()
}

#[test]
fn a_pod_goes_to_the_node_with_more_left() {
    // Node 0 would be used by half, rated 50 + 100; node 1 by a quarter, rated 75 + 100.
    let problem = problem(&[[1000, 1000], [2000, 2000]], &[(0, [500, 500], None)]);
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(1)]);
}

#[test]
fn between_nodes_with_as_much_left_the_balanced_one_wins() {
    // With the pod both have a mean of 50 left; node 0 has shares of 80 and 20 % (balance 70), node
    // 1 of 50 and 50 % (balance 100).
    let pods = [(0, [600, 100], Some(0)), (0, [300, 400], Some(1)), (0, [200, 100], None)];
    let problem = problem(&[[1000, 1000], [1000, 1000]], &pods);
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE))[2], Some(1));
}

#[test]
fn the_rating_is_that_of_upstreams_tests() {
    // "nothing scheduled, resources requested, differently sized nodes" of least_allocated_test.go:
    // a pod of 3000 m and 5000 B on nodes of (4000, 10000) and (6000, 10000): 37 and 50.
    let problem = problem(&[[4000, 10_000], [6000, 10_000]], &[(0, [3000, 5000], None)]);
    let state = super::state::State::new(&problem);
    let rate = |node| super::rate::least_allocated(&state, crate::problem::PodId(0), NodeId(node));
    assert_eq!([rate(0), rate(1)], [37, 50]);
    // The same case of balanced_allocation_test.go: 87 and 100.
    let balanced = |node| super::rate::balanced(&state, crate::problem::PodId(0), NodeId(node));
    assert_eq!([balanced(0), balanced(1)], [87, 100]);
}

#[test]
fn of_pods_that_wait_together_the_urgent_one_is_first_and_of_equals_the_older() {
    let pods = [(0, [600, 0], None), (9, [600, 0], None), (9, [600, 0], None)];
    let problem = problem(&[[1000, 1000]], &pods);
    let settings = Settings { arrival: Arrival::AllAtOnce, preemption: false, seed: 1 };
    assert_eq!(places(&schedule(&problem, &settings)), [None, Some(0), None]);
}

#[test]
fn without_preemption_who_comes_first_keeps_its_place() {
    let problem = problem(&[[1000, 1000]], &[(0, [600, 0], None), (9, [600, 0], None)]);
    let settings = Settings { preemption: false, ..ONE_BY_ONE };
    assert_eq!(places(&schedule(&problem, &settings)), [Some(0), None]);
}

#[test]
fn preemption_takes_the_node_whose_most_urgent_victim_is_least_urgent() {
    // Node 1 has more victims, but none as urgent as that of node 0.
    let pods = [
        (5, [1000, 0], Some(0)),
        (2, [500, 0], Some(1)),
        (2, [500, 0], Some(1)),
        (9, [1000, 0], None),
    ];
    let problem = problem(&[[1000, 1000], [1000, 1000]], &pods);
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(0), None, None, Some(1)]);
}

#[test]
fn preemption_spares_the_more_urgent_of_a_node_where_either_would_do() {
    let pods = [(1, [500, 0], Some(0)), (2, [500, 0], Some(0)), (9, [500, 0], None)];
    let problem = problem(&[[1000, 1000]], &pods);
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [None, Some(0), Some(0)]);
}

#[test]
fn of_nodes_with_equal_victims_that_with_fewer_and_then_with_younger_ones_is_taken() {
    let fewer = [
        (1, [500, 0], Some(0)),
        (1, [500, 0], Some(0)),
        (1, [1000, 0], Some(1)),
        (9, [1000, 0], None),
    ];
    let fewer = problem(&[[1000, 1000], [1000, 1000]], &fewer);
    assert_eq!(places(&schedule(&fewer, &ONE_BY_ONE))[3], Some(1));
    let younger = [(1, [1000, 0], Some(1)), (1, [1000, 0], Some(0)), (9, [1000, 0], None)];
    let younger = problem(&[[1000, 1000], [1000, 1000]], &younger);
    assert_eq!(places(&schedule(&younger, &ONE_BY_ONE))[2], Some(0));
}

#[test]
fn a_victim_finds_another_node_with_room() {
    // The urgent pod needs the large node; the victim fits on the small one.
    let pods = [(1, [400, 0], Some(0)), (9, [1000, 0], None)];
    let problem = problem(&[[1000, 1000], [500, 1000]], &pods);
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(1), Some(0)]);
}

#[test]
fn a_fixed_pod_and_an_equally_urgent_one_are_no_victims() {
    let (mut builder, _) = cluster(&[[1000, 1000], [1000, 1000]]);
    builder.pod(PodSpec { mobility: Mobility::Fixed, ..pod(0, 1, [1000, 0], Some(0)) });
    builder.pod(pod(1, 9, [1000, 0], Some(1)));
    builder.pod(pod(2, 9, [1000, 0], None));
    let problem = builder.finish().expect("a problem");
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(0), Some(1), None]);
}

#[test]
fn a_pod_whose_policy_is_never_evicts_nobody_and_waits() {
    let (mut builder, _) = cluster(&[[1000, 1000], [500, 1000]]);
    builder.pod(pod(0, 1, [1000, 0], Some(0)));
    let large = builder.pod(pod(1, 9, [800, 0], None));
    let small = builder.pod(pod(2, 9, [500, 0], None));
    builder.never_preempts(large);
    builder.never_preempts(small);
    let problem = builder.finish().expect("a problem");
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(0), None, Some(1)]);
}

#[test]
fn a_node_that_does_not_suit_is_never_taken() {
    let (mut builder, _) = cluster(&[[1000, 1000], [1000, 1000]]);
    let class = builder.class(Box::new([false, true]));
    builder.pod(PodSpec { class, ..pod(0, 0, [800, 0], None) });
    builder.pod(PodSpec { class, ..pod(1, 0, [800, 0], None) });
    let problem = builder.finish().expect("a problem");
    assert_eq!(places(&schedule(&problem, &ONE_BY_ONE)), [Some(1), None]);
}

#[test]
fn the_undisturbing_start_leaves_out_a_gang_that_fits_only_in_part() {
    let (mut builder, _) = cluster(&[[1000, 1000]]);
    let gang: GangId = builder.gang("gang".to_owned(), 2);
    builder.pod(PodSpec { gang: Some(gang), ..pod(0, 9, [600, 0], None) });
    builder.pod(PodSpec { gang: Some(gang), ..pod(1, 9, [600, 0], None) });
    builder.pod(pod(2, 1, [300, 0], None));
    let problem = builder.finish().expect("a problem");
    let placement = undisturbing(&problem, 1);
    assert_eq!(places(&placement), [None, None, Some(0)]);
    check(&problem, &placement).expect("an allowed placement");
}
