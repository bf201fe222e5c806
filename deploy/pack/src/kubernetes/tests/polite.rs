//! Pods whose `preemptionPolicy` is `Never`.

use serde_json::{Value, json};

use super::{node, pod, problem};
use crate::problem::PodId;

/// Whether others give way to a waiting pod of this spec, beside classes `polite` and `rude`.
fn preempts(spec: &Value) -> bool {
    let class = |name: &str, policy: &str| {
        json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": 5,
            "preemptionPolicy": policy})
    };
    let objects = [
        node("a", &json!({})),
        class("polite", "Never"),
        class("rude", "PreemptLowerPriority"),
        pod("p", json!({"spec": spec})),
    ];
    problem(objects).0.preempts(PodId(0))
}

#[test]
fn a_pod_says_itself_that_it_never_preempts_or_its_class_does() {
    assert!(preempts(&json!({})));
    assert!(!preempts(&json!({"preemptionPolicy": "Never"})));
    assert!(!preempts(&json!({"priority": null, "priorityClassName": "polite"})));
    assert!(preempts(&json!({"priority": null, "priorityClassName": "rude"})));
    let filled_in = json!({"priority": 5, "priorityClassName": "polite",
        "preemptionPolicy": "PreemptLowerPriority"});
    assert!(preempts(&filled_in), "the API server has the last word");
}

#[test]
fn the_class_of_pods_that_name_none_counts_for_them() {
    let class = json!({"kind": "PriorityClass", "metadata": {"name": "c"}, "value": 5,
        "globalDefault": true, "preemptionPolicy": "Never"});
    let objects = [node("a", &json!({})), class, pod("p", json!({"spec": {"priority": null}}))];
    assert!(!problem(objects).0.preempts(PodId(0)));
}

#[test]
fn what_is_free_now_is_a_resource_of_its_own_for_them() {
    let running = pod("r", json!({"spec": {"nodeName": "a"}}));
    let polite = pod("p", json!({"spec": {"preemptionPolicy": "Never"}}));
    let (problem, _) = problem([node("a", &json!({})), running, polite, pod("q", json!({}))]);
    let names: Vec<&str> = problem.resources().iter().map(|one| one.name.as_str()).collect();
    let own = problem.own_resources();
    assert_eq!(
        names[own..],
        ["cpu that is free now", "memory that is free now", "pods that is free now"]
    );
    assert_eq!(problem.nodes()[0].capacity[own..], [3_000, 7 << 30, 9]);
    let asked = |index: usize| problem.pods()[index].request[own..].to_vec();
    assert_eq!(asked(1), [1_000, 1 << 30, 1]);
    assert_eq!((asked(0), asked(2)), (vec![0; 3], vec![0; 3]));
}
