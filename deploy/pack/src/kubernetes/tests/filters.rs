//! Taints, selectors, affinity; requests.

use serde_json::{Value, json};

use super::{find, has, node, pod, problem};

/// Which of three nodes suit a pod: `a` with a GPU of 2020, `b` of 2024 and tainted, `c` cordoned.
fn suits(spec: &Value) -> String {
    let mut b = node("b", &json!({"gpu": "new", "year": "2024"}));
    b["spec"] = json!({"taints": [{"key": "only", "value": "x", "effect": "NoSchedule"}]});
    let mut c = node("c", &json!({}));
    c["spec"] = json!({"unschedulable": true, "taints": [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"}]});
    let a = node("a", &json!({"gpu": "old", "year": "2020"}));
    let (problem, _) = problem([a, b, c, pod("p", json!({"spec": spec}))]);
    let class = &problem.classes()[find(&problem, "p").class.index()];
    "abc".chars().zip(&class.suits).filter(|(_, suits)| **suits).map(|(name, _)| name).collect()
}

fn affinity(terms: &Value) -> Value {
    let all = json!({"key": "", "operator": "Exists"});
    let required = json!({"nodeSelectorTerms": terms});
    json!({"tolerations": [all], "affinity":
        {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
}

#[test]
fn taints_keep_away_pods_that_do_not_tolerate_them() {
    let tolerating = |toleration: Value| suits(&json!({"tolerations": [toleration]}));
    assert_eq!(suits(&json!({})), "a");
    assert_eq!(tolerating(json!({"operator": "Exists"})), "abc");
    assert_eq!(tolerating(json!({"key": "only", "operator": "Exists"})), "ab");
    assert_eq!(tolerating(json!({"key": "only", "operator": "Equal", "value": "x"})), "ab");
    assert_eq!(tolerating(json!({"key": "only", "value": "x", "effect": "NoSchedule"})), "ab");
    assert_eq!(tolerating(json!({"key": "only", "value": "y"})), "a");
    assert_eq!(tolerating(json!({"key": "only", "value": "x", "effect": "NoExecute"})), "a");
    assert_eq!(tolerating(json!({"operator": "Equal"})), "a");
    let cordon = "node.kubernetes.io/unschedulable";
    assert_eq!(tolerating(json!({"key": cordon, "operator": "Exists"})), "ac");
}

#[test]
fn selectors_and_affinity_choose_nodes_by_labels_and_names() {
    assert_eq!(suits(&json!({"nodeSelector": {"gpu": "old"}})), "a");
    assert_eq!(suits(&json!({"nodeSelector": {"gpu": "none"}})), "");
    let one = |key: &str, operator: &str, values: &[&str]| {
        let term = json!({"key": key, "operator": operator, "values": values});
        suits(&affinity(&json!([{"matchExpressions": [term]}])))
    };
    assert_eq!(one("gpu", "In", &["old", "new"]), "ab");
    assert_eq!(one("gpu", "NotIn", &["old"]), "bc");
    assert_eq!(one("gpu", "Exists", &[]), "ab");
    assert_eq!(one("gpu", "DoesNotExist", &[]), "c");
    assert_eq!(one("year", "Gt", &["2020"]), "b");
    assert_eq!(one("year", "Lt", &["2021"]), "a");
    assert_eq!(one("gpu", "Gt", &["1"]), "");
    let field = json!([{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["c"]}]}, {}]);
    assert_eq!(suits(&affinity(&field)), "c");
    assert_eq!(suits(&affinity(&json!([]))), "");
}

#[test]
fn a_request_is_that_of_containers_init_containers_sidecars_and_overhead() {
    let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    let request = |spec: Value| {
        let (problem, _) = problem([node("a", &json!({})), pod("p", json!({"spec": spec}))]);
        find(&problem, "p").request[0]
    };
    let mut sidecar = container("300m");
    sidecar["restartPolicy"] = json!("Always");
    let two = json!([container("1"), container("500m")]);
    assert_eq!(request(json!({"containers": two})), 1_500);
    assert_eq!(request(json!({"containers": two, "initContainers": [container("2")]})), 2_000);
    let mixed = json!([sidecar, container("1400m")]);
    assert_eq!(request(json!({"containers": two, "initContainers": mixed})), 1_800);
    let mixed = json!([sidecar, container("1600m")]);
    let all = json!({"containers": two, "initContainers": mixed, "overhead": {"cpu": "50m"}});
    assert_eq!(request(all), 1_950);
    let late = json!([container("1600m"), sidecar]);
    assert_eq!(request(json!({"containers": two, "initContainers": late})), 1_800);
    let limits = json!([{"resources": {"limits": {"cpu": "3"}, "requests": {"memory": "1"}}}]);
    assert_eq!(request(json!({"containers": limits})), 3_000);
    let whole = json!({"containers": two, "resources": {"requests": {"cpu": "4"}}});
    assert_eq!(request(whole), 4_000);
    let limited = json!({"containers": two, "resources": {"limits": {"cpu": "8"}}});
    assert_eq!(request(limited), 1_500, "containers say what they ask for");
    let silent = json!({"containers": [{"resources": {}}], "resources": {"limits": {"cpu": "8"}}});
    assert_eq!(request(silent), 8_000);
}

#[test]
fn a_node_has_what_pods_that_stay_leave_of_it() {
    let on = |name: &str, over: Value| {
        let mut pod = pod(name, json!({"spec": {"nodeName": "a"}}));
        super::merge(&mut pod, over);
        pod
    };
    let objects = [
        node("a", &json!({})),
        on(
            "daemon",
            json!({"metadata": {"ownerReferences": [
            {"kind": "DaemonSet", "name": "d", "controller": true}]}}),
        ),
        on("finished", json!({"status": {"phase": "Succeeded"}})),
        on("going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        on("owned", json!({})),
        pod(
            "waiting",
            json!({"spec": {"containers": [
            {"resources": {"requests": {"nvidia.com/gpu": 2}}}]}}),
        ),
    ];
    let (problem, mapping) = problem(objects);
    let node = &problem.nodes()[0];
    assert_eq!(has(&problem, node, "cpu"), 2_000);
    assert_eq!(has(&problem, node, "memory"), 6 << 30);
    assert_eq!(has(&problem, node, "pods"), 8);
    assert_eq!(has(&problem, node, "nvidia.com/gpu"), 8);
    assert_eq!(mapping.allocatable[0][0], 4_000);
    assert_eq!(problem.pods().len(), 2);
    assert_eq!(mapping.held.len(), 2);
}
