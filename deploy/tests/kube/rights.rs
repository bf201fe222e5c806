//! What the service account may do, and may not. That its rights suffice, all other tests show.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::stage::on_a_plane;

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
