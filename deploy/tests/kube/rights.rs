//! What the service account may do, and may not. That its rights suffice, all other tests show.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::objects::{NAMESPACE, Want, node, pod};
use super::stage::{eventually, on_a_plane};

async fn may(client: &Client, verb: &str, group: &str, resource: &str, sub: &str) -> bool {
    let review = json!({"spec": {"resourceAttributes": {
        "verb": verb, "group": group, "resource": resource, "subresource": sub,
        "namespace": "default",
    }}});
    let review: SelfSubjectAccessReview = serde_json::from_value(review).expect("a review");
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    answer.status.is_some_and(|status| status.allowed)
}

#[test]
fn the_service_account_may_do_nothing_that_the_scheduler_does_not() {
    on_a_plane(async |stage| {
        let client = stage.scheduler_client().await;
        for (verb, group, resource, sub) in [
            ("create", "", "pods", "binding"),
            ("create", "", "pods", "eviction"),
            ("patch", "", "nodes", ""),
            ("patch", "", "pods", "status"),
        ] {
            assert!(may(&client, verb, group, resource, sub).await, "{verb} {resource}/{sub}");
        }
        for (verb, group, resource, sub) in [
            ("delete", "", "pods", ""),
            ("create", "", "pods", ""),
            ("update", "", "pods", ""),
            ("create", "", "pods", "exec"),
            ("get", "", "secrets", ""),
            ("list", "", "secrets", ""),
            ("delete", "", "nodes", ""),
            ("update", "", "nodes", ""),
            ("patch", "", "nodes", "status"),
            ("patch", "policy", "poddisruptionbudgets", ""),
            ("get", "coordination.k8s.io", "leases", ""),
            ("patch", "apps", "replicasets", ""),
            ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
            ("impersonate", "", "users", ""),
        ] {
            assert!(!may(&client, verb, group, resource, sub).await, "{verb} {resource}/{sub}");
        }
    });
}

/// What the API server says to a change that is only tried; none if it would make it.
async fn refusal(pods: &Api<Pod>, sub: &str, patch: &Value) -> Option<String> {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let answer = match sub {
        "" => pods.patch("gated", &params, &Patch::Merge(patch)).await,
        // Conditions of others stay beside the one that is given.
        _ => pods.patch_status("gated", &params, &Patch::Strategic(patch)).await,
    };
    answer.err().map(|error| error.to_string())
}

fn tied(term: &Value) -> Value {
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [term]}}})
}

#[test]
fn the_service_account_changes_of_a_pod_its_gates_the_tie_and_its_marks_and_nothing_else() {
    on_a_plane(async |stage| {
        let want = Want { cpu_m: 1_000, tier: 0, scheduler: "default-scheduler" };
        let mut gated = pod("gated", &want, None);
        gated["spec"]["schedulingGates"] =
            json!([{"name": "onepath.io/placement"}, {"name": "example.com/quota"}]);
        gated["metadata"]["annotations"] = json!({"example.com/owner": "them"});
        stage.make(&gated).await;
        let pods: Api<Pod> = Api::namespaced(stage.scheduler_client().await, NAMESPACE);
        let mut image = json!({"spec": {"containers": gated["spec"]["containers"]}});
        image["spec"]["containers"][0]["image"] = json!("another");
        eventually("the limits are heeded", async || refusal(&pods, "", &image).await.is_some())
            .await;
        let theirs = json!([{"name": "example.com/quota"}]);
        let node_a = json!({"matchFields":
            [{"key": "metadata.name", "operator": "In", "values": ["a"]}]});
        let label = json!({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]});
        let ours = json!([{"type": "onepath.io/Placement", "status": "True"}]);
        let ready = json!([{"type": "Ready", "status": "True"}]);
        for (sub, patch) in [
            ("", json!({"spec": {"schedulingGates": theirs}})),
            (
                "",
                json!({"spec": {"schedulingGates": theirs, "affinity": tied(&node_a)},
                "metadata": {"annotations": {"onepath.io/movable": "true"}}}),
            ),
            ("status", json!({"status": {"conditions": ours}})),
        ] {
            assert_eq!(refusal(&pods, sub, &patch).await, None, "{patch}");
        }
        for (sub, patch, why) in [
            ("", image, "nothing else of a pod's specification"),
            ("", json!({"spec": {"schedulingGates": []}}), "only scheduling gates that begin with"),
            ("", json!({"spec": {"affinity": tied(&node_a)}}), "a pod is only tied to one node"),
            (
                "",
                json!({"spec": {"schedulingGates": theirs, "affinity": tied(&label)}}),
                "a pod is only tied to one node",
            ),
            ("", json!({"spec": {"nodeSelector": {"gpu": "yes"}}}), "nothing else of a pod's"),
            ("", json!({"spec": {"activeDeadlineSeconds": 1}}), "nothing else of a pod's"),
            ("", json!({"metadata": {"labels": {"app": "another"}}}), "of labels, annotations,"),
            ("", json!({"metadata": {"annotations": {"example.com/owner": null}}}), "of labels,"),
            ("", json!({"metadata": {"finalizers": ["example.com/stay"]}}), "of labels,"),
            ("status", json!({"status": {"phase": "Succeeded"}}), "of a pod's status only"),
            ("status", json!({"status": {"conditions": ready}}), "of a pod's status only"),
            ("status", json!({"metadata": {"labels": {"app": "another"}}}), "of labels,"),
        ] {
            let said = refusal(&pods, sub, &patch).await.unwrap_or_default();
            assert!(said.contains(why), "{patch}: {said:?}");
        }
    });
}

#[test]
fn the_service_account_changes_of_a_node_the_reservation_and_nothing_else() {
    on_a_plane(async |stage| {
        stage.make(&node("a", 1_000)).await;
        let nodes: Api<Node> = Api::all(stage.scheduler_client().await);
        let refusal = async |patch: &Value| {
            let params = PatchParams { dry_run: true, ..PatchParams::default() };
            let answer = nodes.patch("a", &params, &Patch::Merge(patch)).await;
            answer.err().map(|error| error.to_string())
        };
        let taint = |key: &str, effect: &str| {
            let taint = json!({"key": key, "value": "p", "effect": effect});
            json!({"spec": {"taints": [taint]}})
        };
        let others = [
            taint("example.com/broken", "NoSchedule"),
            taint("onepath.io/reserved", "NoExecute"),
            json!({"spec": {"unschedulable": true}}),
            json!({"metadata": {"labels": {"gpu": "no"}}}),
            json!({"metadata": {"annotations": {"example.com/owner": "us"}}}),
        ];
        eventually("the limits are heeded", async || refusal(&others[0]).await.is_some()).await;
        for patch in &others {
            let said = refusal(patch).await.unwrap_or_default();
            assert!(said.contains("only the taint onepath.io/reserved"), "{patch}: {said:?}");
        }
        assert_eq!(refusal(&taint("onepath.io/reserved", "NoSchedule")).await, None);
    });
}
