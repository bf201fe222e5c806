//! Containers that are resized where they run.

use serde_json::{Value, json};

use super::{find, node, pod, problem};

/// What a running pod counts as in millicores that asks for 2 CPUs, beside a sidecar of 300 m and
/// an init container of 1.
fn cpu(status: &Value) -> i64 {
    let container =
        |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
    let mut sidecar = container("proxy", "300m");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({"nodeName": "a", "containers": [container("main", "2")],
        "initContainers": [sidecar, container("first", "1")]});
    let objects = [node("a", &json!({})), pod("p", json!({"spec": spec, "status": status}))];
    find(&problem(objects).0, "p").request[0]
}

#[test]
fn a_container_counts_as_the_larger_of_what_it_asks_for_and_what_it_has() {
    let main = |has: Value| json!({"containerStatuses": [has]});
    assert_eq!(cpu(&json!({})), 2_300);
    let growing = json!({"name": "main", "allocatedResources": {"cpu": "1"},
        "resources": {"requests": {"cpu": "1"}}});
    assert_eq!(cpu(&main(growing)), 2_300);
    let shrinking = json!({"name": "main", "allocatedResources": {"cpu": "2500m"},
        "resources": {"requests": {"cpu": "3"}}});
    assert_eq!(cpu(&main(shrinking)), 3_300);
    let allocated = json!({"name": "main", "allocatedResources": {"cpu": "2500m"},
        "resources": {}});
    assert_eq!(cpu(&main(allocated)), 2_800);
    let not_started = json!({"name": "main", "allocatedResources": {"cpu": "3"}});
    assert_eq!(cpu(&main(not_started)), 2_300, "determineContainerReqs wants status.resources");
    let unknown = json!({"name": "other", "resources": {"requests": {"cpu": "3"}}});
    assert_eq!(cpu(&main(unknown)), 2_300);
}

#[test]
fn sidecars_have_what_they_have_and_init_containers_what_they_ask_for() {
    let has = |name: &str| json!({"name": name, "resources": {"requests": {"cpu": "1500m"}}});
    assert_eq!(cpu(&json!({"initContainerStatuses": [has("proxy")]})), 3_500);
    assert_eq!(cpu(&json!({"initContainerStatuses": [has("first")]})), 2_300);
}

#[test]
fn of_a_resize_that_is_out_of_the_question_only_what_a_container_has_counts() {
    let status = |reason: &str| {
        json!({"conditions": [{"type": "Ready"}, {"type": "PodResizePending", "reason": reason}],
            "containerStatuses": [{"name": "main", "allocatedResources": {"cpu": "1"},
                "resources": {"requests": {"cpu": "1"}}}]})
    };
    assert_eq!(cpu(&status("Infeasible")), 1_300);
    assert_eq!(cpu(&status("Deferred")), 2_300);
}
