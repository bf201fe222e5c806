//! What the API server does not grant: evictions, bindings.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::cases::{GANG, MOVER, NODES, budgets_end_a_plan, everything_is_placed, stuck_gang};
use super::objects::{FORBIDDEN, NAMESPACE, Want, budget, node, node_of, set};
use super::stage::{Stage, eventually, on_a_plane};

#[test]
fn an_eviction_that_a_policy_denies_ends_the_plan_before_it_and_the_next_one_does_without() {
    on_a_plane(async |mut stage| {
        stuck_gang(&stage).await;
        let output = stage.run_scheduler(&["--dry-run", "--once"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut apps = NODES.iter().map(|name| format!("mover-{name}"));
        let planned = apps.find(|app| said.contains(&format!("move default/{app}-")));
        let app = planned.expect("the plan moves one");
        let kept = stage.pods_of(&app).await.remove(0);
        let name = kept.name_any();
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": NAMESPACE}});
        let unless = format!("request.name != {name:?}");
        stage.deny("eviction", &unless, &stage.client, &eviction).await;
        stage.start_scheduler(&["--patience", "1"]);
        let why = stage.until_event(GANG[0], "PlanAbandoned").await;
        assert!(why.contains(&name) && why.contains(FORBIDDEN), "{why}");
        everything_is_placed(&stage).await;
        assert_eq!(stage.watchman.report(), 2, "the two others are moved");
        assert_eq!(stage.pods_of(&app).await[0].uid(), kept.uid());
        stage.end_scheduler().await;
    });
}

#[test]
fn a_pod_that_comes_under_two_budgets_during_a_plan_ends_it_at_once_and_is_left_in_peace() {
    on_a_plane(async |mut stage| {
        let budgets = NODES.map(|name| {
            let one = budget(&format!("mover-{name}"), 1);
            let mut other = one.clone();
            other["metadata"]["name"] = json!(format!("other-{name}"));
            [one, other]
        });
        let reason = "more than one PodDisruptionBudget";
        budgets_end_a_plan(&mut stage, budgets.as_flattened(), reason).await;
        stage.until_event(GANG[0], "NoPlacement").await;
        assert_eq!(stage.watchman.report(), 0);
        stage.end_scheduler().await;
    });
}

/// Pods with a gate of ours that ask for a node with a label of their own, and nodes `a` and `b`,
/// which have it.
async fn gated(stage: &Stage, pods: usize) {
    for name in ["a", "b"] {
        stage.make(&node(name, 10_000)).await;
    }
    let want = Want { scheduler: "default-scheduler", ..MOVER };
    let mut object = set("gated", pods, &want, true);
    let terms = json!([{"matchExpressions":
        [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]}]}]);
    object["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    stage.make(&object).await;
    eventually("they are made", async || stage.pods_of("gated").await.len() == pods).await;
}

/// The nodes that the fields of a pod's affinity name.
fn tied_to(pod: &Pod) -> BTreeSet<String> {
    let pod: Value = serde_json::to_value(pod).expect("a pod");
    let node = &pod["spec"]["affinity"]["nodeAffinity"];
    let terms = &node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let terms = terms.as_array().expect("it has terms").iter();
    terms
        .map(|term| {
            assert!(term["matchExpressions"].is_array(), "it asks for a label still: {term}");
            let value = &term["matchFields"][0]["values"][0];
            value.as_str().expect("it is tied to a node").to_owned()
        })
        .collect()
}

async fn all_are_on_the_node_that_they_are_tied_to(stage: &Stage) {
    for pod in stage.pods_of("gated").await {
        assert_eq!(
            tied_to(&pod).iter().map(String::as_str).collect::<Vec<_>>(),
            [node_of(&pod).expect("it has a node")]
        );
        assert_eq!(pod.annotations().get("onepath.io/movable").map(String::as_str), Some("true"));
    }
}

#[test]
fn a_pod_is_tied_to_its_node_by_the_request_that_takes_its_gate_away() {
    on_a_plane(async |mut stage| {
        gated(&stage, 3).await;
        stage.start_scheduler(&["--patience", "1000"]);
        eventually("all are bound", async || stage.nodes_of("gated").await.len() == 3).await;
        all_are_on_the_node_that_they_are_tied_to(&stage).await;
        stage.until_released().await;
        stage.watchman.report();
        stage.end_scheduler().await;
    });
}

#[test]
fn a_pod_that_lost_its_gate_to_a_plan_that_was_abandoned_gets_that_node_by_the_default_scheduler() {
    on_a_plane(async |mut stage| {
        gated(&stage, 2).await;
        let name = stage.pods_of("gated").await[0].name_any();
        let account = "system:serviceaccount:onepath-system:onepath-scheduler";
        let binding = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "a"}});
        let unless = format!("request.userInfo.username != {account:?}");
        let ours = stage.scheduler_client().await;
        stage.deny("binding", &unless, &ours, &binding).await;
        stage.start_scheduler(&["--patience", "1000"]);
        eventually("all are bound", async || stage.nodes_of("gated").await.len() == 2).await;
        all_are_on_the_node_that_they_are_tied_to(&stage).await;
        stage.until_released().await;
        let mut abandoned = 0;
        for pod in stage.pods_of("gated").await {
            let events = stage.events_of(&pod.name_any()).await;
            abandoned += events.iter().filter(|(reason, _)| reason == "PlanAbandoned").count();
            assert!(events.iter().all(|(reason, _)| reason != "BoundByPlan"), "{events:?}");
        }
        assert!(abandoned >= 2, "each of the two was in a plan that could not bind it");
        stage.end_scheduler().await;
    });
}
