//! What is done with which pod.

use serde_json::{Value, json};

use super::{find, node, pod, problem, snapshot, why};
use crate::kubernetes::{MovablePods, SnapshotOptions};
use crate::problem::Mobility;

fn running(over: Value) -> Value {
    let mut pod = pod("p", json!({"spec": {"nodeName": "a"}, "status": {"phase": "Running"}}));
    super::merge(&mut pod, over);
    pod
}

fn reason(pod: Value) -> Option<String> {
    why(&[node("a", &json!({})), pod], "p")
}

#[test]
fn running_pods_that_must_stay_say_why() {
    let owner = |kind: &str| {
        let reference = json!({"kind": kind, "name": "x", "controller": true});
        json!({"metadata": {"ownerReferences": [reference]}})
    };
    let cases = [
        (owner("DaemonSet"), "is a daemon of its node"),
        (owner("Node"), "is a static pod of its node"),
        (
            json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
            "is a static pod of its node",
        ),
        (json!({"metadata": {"ownerReferences": []}}), "has no controller that would make it anew"),
        (json!({"spec": {"priority": 2_000_000_000}}), "is critical for the cluster"),
        (json!({"metadata": {"deletionTimestamp": "x"}}), "is being deleted"),
        (
            json!({"spec": {"affinity": {"podAffinity":
                {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}}),
            "required podAffinity is not modelled",
        ),
        (json!({"spec": {"resourceClaims": [{"name": "g"}]}}), "resourceClaims is not modelled"),
        (
            json!({"spec": {"priority": null, "priorityClassName": "none"}}),
            "spec.priorityClassName: there is no PriorityClass none: one in the files or \
             spec.priority would be right",
        ),
        (json!({"status": {"phase": "Failed"}}), "gone"),
        (json!({"spec": {"nodeName": "elsewhere"}}), "gone"),
    ];
    for (over, expected) in cases {
        assert_eq!(reason(running(over.clone())).as_deref(), Some(expected), "{over}");
    }
}

#[test]
fn pending_pods_that_are_left_to_others_say_why() {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    let spread = json!([{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]);
    let cases = [
        (json!({"schedulerName": "other"}), "is for the scheduler other"),
        (json!({"schedulingGates": [{"name": "g"}]}), "waits for the scheduling gate g"),
        (json!({"volumes": volumes}), "volume v is not modelled"),
        (
            json!({"topologySpreadConstraints": spread}),
            "topologySpreadConstraints by zone with DoNotSchedule is not modelled",
        ),
        (
            json!({"containers": [{"resources": {"requests": {"x/y": "1E"}}}]}),
            "spec.containers: requests of x/y: are out of range: at most 2^53 units would be right",
        ),
    ];
    for (spec, expected) in cases {
        let why = reason(pod("p", json!({"spec": spec})));
        assert_eq!(why.as_deref(), Some(expected), "{spec}");
    }
    let harmless =
        json!([{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c"}}]);
    let soft = json!([{"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]);
    for spec in [
        json!({"schedulerName": "onepath"}),
        json!({"schedulingGates": [{"name": "onepath.io/wait"}]}),
        json!({"volumes": harmless, "topologySpreadConstraints": soft}),
    ] {
        assert_eq!(reason(pod("p", json!({"spec": spec}))), None, "{spec}");
    }
}

#[test]
fn a_volume_ties_a_pod_to_the_nodes_that_reach_it() {
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["z"]}]}]}});
    let objects = [
        node("a", &json!({"zone": "y"})),
        node("b", &json!({"zone": "z"})),
        json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "default"},
            "spec": {"volumeName": "v"}}),
        json!({"kind": "PersistentVolume", "metadata": {"name": "v"},
            "spec": {"nodeAffinity": affinity}}),
        pod(
            "p",
            json!({"spec": {"volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}),
        ),
    ];
    let (problem, _) = problem(objects);
    let class = &problem.classes()[find(&problem, "p").class.index()];
    assert_eq!(class.suits[..], [false, true]);
}

#[test]
fn only_pods_whose_making_we_control_are_movable_unless_all_owned_ones_are() {
    let mobility = |over: Value, movable| {
        let snapshot = snapshot([node("a", &json!({})), running(over)]);
        let options = SnapshotOptions { movable, ..SnapshotOptions::default() };
        let (problem, _) = snapshot.problem(&options).unwrap();
        find(&problem, "p").mobility
    };
    let ours = [
        json!({"spec": {"schedulerName": "onepath"}}),
        json!({"metadata": {"annotations": {"onepath.io/movable": "true"}}}),
    ];
    for over in ours {
        assert_eq!(mobility(over, MovablePods::Controlled), Mobility::Movable);
    }
    assert_eq!(mobility(json!({}), MovablePods::Controlled), Mobility::Evictable);
    assert_eq!(mobility(json!({}), MovablePods::Owned), Mobility::Movable);
}

#[test]
fn a_budget_that_allows_nothing_holds_its_pods_and_others_are_named() {
    let on = |name: &str| {
        let mut pod = running(json!({}));
        pod["metadata"]["name"] = json!(name);
        pod
    };
    let budget = |spec: Value, status: Value| {
        let objects = [
            node("a", &json!({})),
            on("p"),
            on("q"),
            json!({"kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec,
                "status": status}),
        ];
        let (problem, mapping) = problem(objects);
        (problem.pods().len(), mapping.budgets.iter().map(|budget| budget.allowed).collect())
    };
    let selector = json!({"matchLabels": {"app": "a"}});
    let with = |key: &str, value: Value| json!({"selector": selector, key: value});
    assert_eq!(budget(with("minAvailable", json!(2)), json!(null)), (0, vec![]));
    assert_eq!(budget(with("minAvailable", json!("50%")), json!(null)), (2, vec![1]));
    assert_eq!(budget(with("maxUnavailable", json!(0)), json!(null)), (0, vec![]));
    assert_eq!(budget(with("maxUnavailable", json!(2)), json!(null)), (2, vec![]));
    for wrong in ["1", "150%", ""] {
        assert_eq!(budget(with("minAvailable", json!(wrong)), json!(null)), (0, vec![]), "{wrong}");
    }
    let status = json!({"disruptionsAllowed": 0});
    assert_eq!(budget(with("maxUnavailable", json!(2)), status), (0, vec![]));
    assert_eq!(budget(json!({"minAvailable": 2}), json!(null)), (2, vec![]));
}

#[test]
fn a_pod_of_two_budgets_stays_since_the_eviction_api_refuses_it() {
    let budget = |name: &str| {
        json!({"kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "maxUnavailable": 1}})
    };
    let pod = running(json!({}));
    assert_eq!(why(&[node("a", &json!({})), pod.clone(), budget("b")], "p"), None);
    let expected = "PodDisruptionBudgets default/b and default/c: nobody may evict it";
    let objects = [node("a", &json!({})), pod, budget("b"), budget("c")];
    assert_eq!(why(&objects, "p").as_deref(), Some(expected));
}

#[test]
fn priorities_come_from_the_pod_its_class_or_the_default() {
    let class = |name: &str, value: i64, default: bool| {
        json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "globalDefault": default})
    };
    let objects = [
        node("a", &json!({})),
        class("high", 1_000, false),
        class("usual", 7, true),
        pod("p", json!({"spec": {"priority": 3}})),
        pod("q", json!({"spec": {"priority": null, "priorityClassName": "high"}})),
        pod("r", json!({"spec": {"priority": null}})),
    ];
    let (problem, _) = problem(objects);
    assert_eq!(problem.priorities(), [1_000, 7, 3]);
    assert_eq!(find(&problem, "q").tier.index(), 0);
    assert_eq!(find(&problem, "r").tier.index(), 1);
}

#[test]
fn everything_stays_on_a_node_where_more_runs_than_it_has() {
    let objects: Vec<Value> = (0..5)
        .map(|number| pod(&format!("p{number}"), json!({"spec": {"nodeName": "a"}})))
        .chain([node("a", &json!({})), node("b", &json!({})), pod("q", json!({}))])
        .collect();
    let (problem, mapping) = problem(objects);
    assert_eq!(problem.pods().len(), 1);
    assert_eq!(problem.nodes()[0].capacity[0], 0);
    assert_eq!(mapping.held.len(), 5);
    let note = "node a: its pods ask for 5000m of cpu, it has 4000m: they stay";
    assert_eq!(mapping.notes, [note]);
}
