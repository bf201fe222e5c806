//! The requests of a plan to the API server.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, Taint};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use onepath_pack::kubernetes::marks;
use serde_json::{Value, json};

use super::cluster::RESERVED;
use super::core::execution::Outcome;
use super::core::plan::Place;
use super::core::world::PodName;

/// No request takes longer; what became of it is not known then.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a node is read again that others change at the same time.
const CONFLICTS: usize = 8;

/// Reserves a node for a plan, or takes the reservation away.
pub(crate) async fn reserve(client: Client, place: Place, plan: Option<String>) -> Outcome {
    let nodes: Api<Node> = Api::all(client);
    within(async {
        for _ in 0..CONFLICTS {
            let node = nodes.get(&place.name).await?;
            if node.uid().as_ref() != Some(&place.uid) {
                return Ok(Outcome::Gone);
            }
            match set_taint(&nodes, &node, plan.as_deref()).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => return other.map(|()| Outcome::Done),
            }
        }
        Ok(Outcome::Unclear("others change the node all the time".to_owned()))
    })
    .await
}

/// Takes all reservations of a node away, whatever plan they are of.
pub(crate) async fn release_any(client: Client, name: &str) -> Outcome {
    let nodes: Api<Node> = Api::all(client.clone());
    let place = within(async {
        let uid = nodes.get(name).await?.uid().unwrap_or_default();
        let place = Place { name: name.to_owned(), uid };
        Ok(reserve(client, place, None).await)
    });
    place.await
}

/// The list of taints is replaced as a whole, so only while nobody else has changed the node.
async fn set_taint(nodes: &Api<Node>, node: &Node, plan: Option<&str>) -> kube::Result<()> {
    let spec = node.spec.clone().unwrap_or_default();
    let before = spec.taints.unwrap_or_default();
    let mut taints: Vec<Taint> =
        before.iter().filter(|taint| taint.key != RESERVED).cloned().collect();
    taints.extend(plan.map(|plan| Taint {
        key: RESERVED.to_owned(),
        value: Some(plan.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    }));
    if taints == before {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": node.resource_version(), "uid": node.uid()},
        "spec": {"taints": taints},
    });
    let name = node.name_any();
    nodes.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// Evicts a pod, if it is still the same and its budgets allow it.
pub(crate) async fn evict(client: Client, pod: PodName) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
    // `Api::evict` writes the options under a name that the API server ignores.
    let uid = Some(pod.uid.clone());
    let eviction = Eviction {
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
            ..DeleteOptions::default()
        }),
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
    };
    let params = PostParams::default();
    let request = async {
        let answer: kube::Result<Value> =
            pods.create_subresource("eviction", &pod.name, &params, &eviction).await;
        answer.map(|_| Outcome::Done)
    };
    match within(request).await {
        // Another pod has the name by now.
        Outcome::Unclear(why) if why.contains("Precondition") => Outcome::Gone,
        other => other,
    }
}

/// Binds a pod to a node, if it is still the same; gates of ours are taken away before.
pub(crate) async fn bind(client: Client, pod: PodName, node: String, gated: bool) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node),
            ..ObjectReference::default()
        },
    };
    let params = PostParams::default();
    within(async {
        if gated {
            open(&pods, &pod).await?;
        }
        let answer: kube::Result<Value> =
            pods.create_subresource("binding", &pod.name, &params, &binding).await;
        answer.map(|_| Outcome::Done)
    })
    .await
}

/// Takes our gates away, and leaves a mark by which the pod is known as ours to move.
async fn open(pods: &Api<Pod>, name: &PodName) -> kube::Result<()> {
    let pod = pods.get(&name.name).await?;
    let gates =
        pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.clone()).unwrap_or_default();
    let others: Vec<_> =
        gates.iter().filter(|gate| !gate.name.starts_with(marks::GATE_PREFIX)).collect();
    if others.len() == gates.len() {
        return Ok(());
    }
    let patch = json!({
        "metadata": {
            "uid": name.uid,
            "resourceVersion": pod.resource_version(),
            "annotations": {marks::MOVABLE: "true"},
        },
        "spec": {"schedulingGates": others},
    });
    pods.patch(&name.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// The outcome of a request, which is unclear when no answer comes.
async fn within(request: impl Future<Output = kube::Result<Outcome>>) -> Outcome {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(kube::Error::Api(status))) => judge(&status),
        Ok(Err(error)) => Outcome::Unclear(error.to_string()),
        Err(_) => Outcome::Unclear(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn judge(status: &Status) -> Outcome {
    let why = status.message.clone();
    match status.code {
        404 => Outcome::Gone,
        429 => Outcome::Refused(why),
        400 | 401 | 403 | 405 | 422 => Outcome::Denied(why),
        _ => Outcome::Unclear(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_api_server_are_told_apart() {
        let status = |code: u16| Status { code, ..Status::failure("why", "Reason") };
        assert_eq!(judge(&status(404)), Outcome::Gone);
        assert_eq!(judge(&status(429)), Outcome::Refused("why".to_owned()));
        assert_eq!(judge(&status(403)), Outcome::Denied("why".to_owned()));
        assert_eq!(judge(&status(409)), Outcome::Unclear("why".to_owned()));
        assert_eq!(judge(&status(503)), Outcome::Unclear("why".to_owned()));
    }
}
