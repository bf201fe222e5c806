//! Host ports and anti-affinity.

use serde_json::{Value, json};

use super::{find, node, pod, problem, why};
use crate::check::check;
use crate::kubernetes::HOSTNAME;
use crate::placement::Placement;
use crate::problem::{NodeId, Problem};

fn anti(label: &str, value: &str, key: &str) -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {label: value}}, "topologyKey": key}]}})
}

/// Whether two pods may be on one node.
fn together(problem: &Problem, names: [&str; 2]) -> bool {
    let mut placement = Placement::from_nodes(vec![None; problem.pods().len()]);
    for (id, pod) in problem.numbered_pods() {
        if names.iter().any(|name| pod.name == format!("default/{name}")) {
            placement.put(id, Some(NodeId(0)));
        }
    }
    check(problem, &placement).is_ok()
}

#[test]
fn two_pods_of_one_host_port_are_kept_apart() {
    let port = |name: &str, port: u16, protocol: &str| {
        pod(
            name,
            json!({"spec": {"containers": [
            {"ports": [{"containerPort": 80, "hostPort": port, "protocol": protocol}]}]}}),
        )
    };
    let (problem, _) = problem([
        node("a", &json!({})),
        port("p", 80, "TCP"),
        port("q", 80, "TCP"),
        port("r", 80, "UDP"),
        port("s", 81, "TCP"),
    ]);
    assert!(!together(&problem, ["p", "q"]));
    assert!(together(&problem, ["p", "r"]));
    assert!(together(&problem, ["p", "s"]));
}

#[test]
fn pods_that_repel_their_like_and_others_are_kept_apart_from_both() {
    let own = json!({"spec": {"affinity": anti("app", "a", HOSTNAME)}});
    let objects = [
        node("a", &json!({})),
        pod("p", own.clone()),
        pod("q", own),
        pod("r", json!({})),
        pod("s", json!({})),
        pod("t", json!({"metadata": {"labels": {"app": "b"}}})),
    ];
    let (problem, mapping) = problem(objects);
    assert!(mapping.left.is_empty());
    assert!(!together(&problem, ["p", "q"]));
    assert!(!together(&problem, ["p", "r"]));
    assert!(together(&problem, ["r", "s"]));
    assert!(together(&problem, ["p", "t"]));
}

#[test]
fn pods_that_stay_keep_others_off_their_nodes_in_both_directions() {
    let unowned = |over: Value| {
        let mut pod = pod(
            "held",
            json!({"metadata": {"ownerReferences": []},
            "spec": {"nodeName": "a"}}),
        );
        super::merge(&mut pod, over);
        pod
    };
    let zones = || {
        [
            node("a", &json!({"z": "1"})),
            node("b", &json!({"z": "1"})),
            node("c", &json!({"z": "2"})),
        ]
    };
    let held_repels = unowned(json!({"spec": {"affinity": anti("app", "a", "z")}}));
    let pending = pod("p", json!({}));
    let held_is_repelled = unowned(json!({"metadata": {"labels": {"app": "x"}}}));
    let repels = pod("p", json!({"spec": {"affinity": anti("app", "x", "z")}}));
    for (held, pending) in [(held_repels, pending), (held_is_repelled, repels)] {
        let (problem, _) = problem(zones().into_iter().chain([held, pending]));
        let class = &problem.classes()[find(&problem, "p").class.index()];
        assert_eq!(class.suits[..], [false, false, true]);
    }
}

#[test]
fn a_running_pod_of_a_gang_repels_as_it_does_without_the_gang() {
    let holder = |gang: Value| {
        let over = json!({"metadata": {"labels": {"app": "b"}, "annotations": gang},
            "spec": {"nodeName": "a", "affinity": anti("app", "a", "z")}});
        pod("g", over)
    };
    for gang in [json!({}), json!({"onepath.io/gang": "g"})] {
        let zones = [node("a", &json!({"z": "1"})), node("b", &json!({"z": "2"}))];
        let objects = zones.into_iter().chain([holder(gang.clone()), pod("p", json!({}))]);
        let (problem, _) = problem(objects);
        let class = &problem.classes()[find(&problem, "p").class.index()];
        assert_eq!(class.suits[..], [false, true], "{gang}");
    }
}

#[test]
fn anti_affinity_that_no_resource_can_stand_for_leaves_its_pods() {
    let by_zone = json!({"spec": {"affinity": anti("app", "a", "zone")}});
    let objects = [node("a", &json!({})), pod("p", by_zone.clone()), pod("q", by_zone)];
    let expected = Some("required podAntiAffinity by zone is not modelled");
    assert_eq!(why(&objects, "p").as_deref(), expected);
    let other = json!({"metadata": {"labels": {"app": "b"}},
        "spec": {"affinity": anti("app", "a", HOSTNAME)}});
    let objects = [node("a", &json!({})), pod("p", other), pod("q", json!({}))];
    let expected = format!("required podAntiAffinity by {HOSTNAME} is not modelled");
    assert_eq!(why(&objects, "p"), Some(expected));
    assert_eq!(why(&objects, "q"), None);
}
