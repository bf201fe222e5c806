//! The requests of a plan to the API server.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Binding, Node, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference, Pod, PodSpec, Taint,
};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
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
    within(judge, async {
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
    let place = within(judge, async {
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

/// Whether only these pods, by uid, are on a node. The API server is asked, not what was seen of
/// it.
pub(crate) async fn inspect(client: Client, place: Place, known: BTreeSet<String>) -> Outcome {
    let pods: Api<Pod> = Api::all(client);
    let on_it = ListParams::default().fields(&format!("spec.nodeName={}", place.name));
    within(judge, async {
        let there = pods.list(&on_it).await?.items;
        let stranger = there.iter().find(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let finished = matches!(phase, Some("Succeeded" | "Failed"));
            !finished && pod.uid().is_none_or(|uid| !known.contains(&uid))
        });
        Ok(stranger.map_or(Outcome::Done, |pod| {
            let namespace = pod.namespace().unwrap_or_default();
            Outcome::Refused(format!("{namespace}/{} is on it and not seen yet", pod.name_any()))
        }))
    })
    .await
}

/// Whether a pod's eviction would be granted, by all that has a say in it; nothing is done.
pub(crate) async fn rehearse(client: Client, pod: PodName) -> Outcome {
    disrupt(client, pod, true, judge_rehearsal).await
}

/// Evicts a pod, if it is still the same and its budgets allow it.
pub(crate) async fn evict(client: Client, pod: PodName) -> Outcome {
    disrupt(client, pod, false, judge_disruption).await
}

async fn disrupt(
    client: Client,
    pod: PodName,
    dry_run: bool,
    judge: fn(&Status) -> Outcome,
) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
    // `Api::evict` writes the options under a name that the API server ignores.
    let uid = Some(pod.uid.clone());
    let eviction = Eviction {
        delete_options: Some(DeleteOptions {
            dry_run: dry_run.then(|| vec!["All".to_owned()]),
            preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
            ..DeleteOptions::default()
        }),
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
    };
    // Of the request too: admission webhooks are told by that.
    let params = PostParams { dry_run, ..PostParams::default() };
    let request = async {
        let answer: kube::Result<Value> =
            pods.create_subresource("eviction", &pod.name, &params, &eviction).await;
        answer.map(|_| Outcome::Done)
    };
    match within(judge, request).await {
        // Another pod has the name by now (one text is of the eviction, one of the deletion).
        Outcome::Unclear(why) if why.contains("UID in the precondition") => Outcome::Gone,
        Outcome::Unclear(why) if why.contains("UID in precondition") => Outcome::Gone,
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
            name: Some(node.clone()),
            ..ObjectReference::default()
        },
    };
    let params = PostParams::default();
    within(judge_disruption, async {
        if gated {
            open(&pods, &pod, &node).await?;
        }
        let answer: kube::Result<Value> =
            pods.create_subresource("binding", &pod.name, &params, &binding).await;
        answer.map(|_| Outcome::Done)
    })
    .await
}

/// Takes our gates away, and leaves a mark by which the pod is known as ours to move.
async fn open(pods: &Api<Pod>, name: &PodName, node: &str) -> kube::Result<()> {
    let pod = pods.get(&name.name).await?;
    let spec = pod.spec.clone().unwrap_or_default();
    let gates = spec.scheduling_gates.as_deref().unwrap_or_default();
    let others: Vec<_> =
        gates.iter().filter(|gate| !gate.name.starts_with(marks::GATE_PREFIX)).collect();
    if others.len() == gates.len() {
        return Ok(());
    }
    let mut patch = json!({
        "metadata": {
            "uid": name.uid,
            "resourceVersion": pod.resource_version(),
            "annotations": {marks::MOVABLE: "true"},
        },
        "spec": {"schedulingGates": others},
    });
    if matches!(spec.scheduler_name.as_deref(), None | Some("default-scheduler")) {
        patch["spec"]["affinity"] = tied(&spec, node);
    }
    pods.patch(&name.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// The affinity of a pod that may run on this node alone.
///
/// From the moment that it has no gate until it is bound the default scheduler may try it too, and
/// would put it on any other node that has room, or preempt pods there for it.
fn tied(spec: &PodSpec, node: &str) -> Value {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity
        .and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref())
        .map(|required| required.node_selector_terms.clone());
    let this_one = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let empty = |term: &NodeSelectorTerm| {
        let fields = term.match_fields.as_ref().is_none_or(Vec::is_empty);
        fields && term.match_expressions.as_ref().is_none_or(Vec::is_empty)
    };
    let mut terms = required.unwrap_or_default();
    // One of the terms must hold. One that is empty never does, and may not be changed.
    for term in terms.iter_mut().filter(|term| !empty(term)) {
        term.match_fields.get_or_insert_default().push(this_one.clone());
    }
    if terms.is_empty() {
        let match_fields = Some(vec![this_one]);
        terms.push(NodeSelectorTerm { match_fields, ..NodeSelectorTerm::default() });
    }
    json!({"nodeAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

/// The outcome of a request, which is unclear when no answer comes.
async fn within(
    judge: fn(&Status) -> Outcome,
    request: impl Future<Output = kube::Result<Outcome>>,
) -> Outcome {
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
        // What went wrong by chance has a reason. A pod of two disruption budgets has none
        // (pkg/registry/core/pod/storage/eviction.go), and stays.
        500 if status.reason.is_empty() => Outcome::Denied(why),
        _ => Outcome::Unclear(why),
    }
}

/// In the middle of a plan, which is not given up for a right that is missing for a moment: a token
/// that is renewed, a webhook that is away.
fn judge_disruption(status: &Status) -> Outcome {
    match status.code {
        401 | 403 => Outcome::Unclear(status.message.clone()),
        _ => judge(status),
    }
}

/// Before a plan is begun, where a token may be renewed, but a webhook's no is a no.
fn judge_rehearsal(status: &Status) -> Outcome {
    match status.code {
        401 => Outcome::Unclear(status.message.clone()),
        _ => judge(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_tied_to_its_node_beside_all_that_it_asks_for_itself() {
        let this_one = json!({"key": "metadata.name", "operator": "In", "values": ["n"]});
        let gpu = json!({"key": "gpu", "operator": "Exists"});
        for (terms, tied_terms) in [
            (json!([]), json!([{"matchFields": [this_one]}])),
            (
                json!([{"matchExpressions": [gpu]}, {}]),
                json!([{"matchExpressions": [gpu], "matchFields": [this_one]}, {}]),
            ),
            (json!([{"matchFields": [this_one]}]), json!([{"matchFields": [this_one, this_one]}])),
        ] {
            let affinity = |terms: Value| {
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": terms}}})
            };
            let spec = json!({"containers": [], "affinity": affinity(terms)});
            let spec: PodSpec = serde_json::from_value(spec).expect("a spec");
            assert_eq!(tied(&spec, "n"), affinity(tied_terms));
        }
    }

    #[test]
    fn answers_of_the_api_server_are_told_apart() {
        let status = |code: u16| Status { code, ..Status::failure("why", "Reason") };
        assert_eq!(judge(&status(404)), Outcome::Gone);
        assert_eq!(judge(&status(429)), Outcome::Refused("why".to_owned()));
        assert_eq!(judge(&status(403)), Outcome::Denied("why".to_owned()));
        for code in [401, 403] {
            assert_eq!(judge_disruption(&status(code)), Outcome::Unclear("why".to_owned()));
        }
        assert_eq!(judge_disruption(&status(422)), Outcome::Denied("why".to_owned()));
        assert_eq!(judge_rehearsal(&status(401)), Outcome::Unclear("why".to_owned()));
        assert_eq!(judge_rehearsal(&status(403)), Outcome::Denied("why".to_owned()));
        assert_eq!(judge_rehearsal(&status(429)), Outcome::Refused("why".to_owned()));
        assert_eq!(judge(&status(500)), Outcome::Unclear("why".to_owned()));
        let of_two_budgets = Status { code: 500, ..Status::failure("why", "") };
        assert_eq!(judge(&of_two_budgets), Outcome::Denied("why".to_owned()));
        assert_eq!(judge(&status(409)), Outcome::Unclear("why".to_owned()));
        assert_eq!(judge(&status(503)), Outcome::Unclear("why".to_owned()));
    }
}
