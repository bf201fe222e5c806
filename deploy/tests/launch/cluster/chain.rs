//! The whole chain: a plan, its gang on nodes that are nearly full, where `onepath pack` sees room
//! and `onepath scheduler` makes it, until the ranks reduce.
//!
//! Six nodes of 10 CPUs and a GPU, two under each leaf. On each runs a pod of 3 CPUs that can be
//! moved, as urgent as the gang, and on one of each leaf a less urgent one of 1.5, which cannot. A
//! pod of the gang wants 8 CPUs and a GPU: without the less urgent ones too there are 7 at most.
//! All movable pods fit under one leaf when the less urgent one goes from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;

use super::jobs::{bench, logs};
use super::manifests;
use super::plane::{NodeSpec, Plane, eventually, object, onepath};
use crate::ports::free_port;
use crate::run::{command, file, texts};

const TEST: &str = "chain";
const NODES: [NodeSpec<'static>; 6] = [
    ("a1", "a", 1),
    ("a2", "a", 1),
    ("b1", "b", 1),
    ("b2", "b", 1),
    ("c1", "c", 1),
    ("c2", "c", 1),
];
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/two-clusters.toml");
const JOB: &str = "two-clusters";
const URGENT: i32 = 1_000;

/// A set of pods that are processes which only wait.
fn set(name: &str, replicas: u32, class: &str, cpu: &str, more: &Value) -> Value {
    let mut spec = json!({
        "priorityClassName": class,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "none", "command": ["sleep", "1000"],
            "resources": {"requests": {"cpu": cpu}}}],
    });
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    let labels = json!({"app": name});
    json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }})
}

async fn pods_of(plane: &Plane, label: &str) -> Vec<Pod> {
    let pods = plane.api::<Pod>();
    pods.list(&ListParams::default().labels(label)).await.expect("an answer").items
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Fills the nodes as the text above says.
async fn fill(plane: &Plane) {
    let classes: Api<PriorityClass> = Api::all(plane.client.clone());
    for (name, value) in [("chain-urgent", URGENT), ("chain-batch", 1)] {
        let class = object(json!({"metadata": {"name": name}, "value": value}));
        classes.create(&PostParams::default(), &class).await.expect("a class");
    }
    for leaf in ["a", "b", "c"] {
        let node = format!("{TEST}-{leaf}1");
        let here = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
        let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 100, "preference": {"matchExpressions": here}}]}});
        let name = format!("batch-{leaf}");
        let more = json!({"affinity": affinity});
        plane.create::<ReplicaSet>(set(&name, 1, "chain-batch", "1500m", &more)).await;
        eventually(&format!("{name} runs where it is to"), async || {
            let pods = pods_of(plane, &format!("app={name}")).await;
            pods.iter().any(|pod| runs(pod) && node_of(pod) == Some(&node))
        })
        .await;
    }
    let ours = json!({"schedulerName": "onepath"});
    plane.create::<ReplicaSet>(set("movable", 6, "chain-urgent", "3", &ours)).await;
    let movable = async || pods_of(plane, "app=movable").await;
    eventually("the movable pods are made", async || movable().await.len() == 6).await;
    for (pod, (node, ..)) in movable().await.iter().zip(NODES) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": format!("{TEST}-{node}")},
        });
        let how = PostParams::default();
        let pods = plane.api::<Pod>();
        let bound: kube::Result<Value> =
            pods.create_subresource("binding", &pod.name_any(), &how, &binding).await;
        bound.expect("the pod is bound");
    }
    eventually("the movable pods run", async || movable().await.iter().all(runs)).await;
}

/// Plans the example and launches it with a gate; the plan's file.
async fn launch(plane: &Plane, bench: &Path) {
    let emitted = command(&["plan", EXAMPLE, "--emit", "json"]).output().expect("it starts");
    let plan = file(&plane.folder, "plan.json", &texts(&emitted).0);
    let port = free_port();
    let options = format!("--gate --priority-class chain-urgent --cpu 8 --port {port}");
    let bench = bench.display().to_string();
    let ranks = [&bench, "allreduce", "--max", "64K", "--transport", "tcp", "--iterations", "5"];
    let said = plane.launch(&plan, &options, &ranks).await;
    assert!(said.starts_with(&format!("secret/{JOB} created\n")), "{said}");
    eventually("the pods of the gang are made", async || gang(plane).await.len() == 4).await;
}

async fn gang(plane: &Plane) -> Vec<Pod> {
    pods_of(plane, &format!("onepath.io/job={JOB}")).await
}

/// A kubeconfig of an account that may get and list, and nothing else.
async fn reader(plane: &Plane) -> String {
    let client = &plane.client;
    plane.create::<ServiceAccount>(json!({"metadata": {"name": "reader"}})).await;
    let verbs = json!(["get", "list"]);
    let role = json!({"metadata": {"name": "chain-reader"}, "rules": [
        {"apiGroups": [""], "verbs": verbs,
            "resources": ["nodes", "pods", "persistentvolumes", "persistentvolumeclaims"]},
        {"apiGroups": ["policy"], "verbs": verbs, "resources": ["poddisruptionbudgets"]},
        {"apiGroups": ["scheduling.k8s.io"], "verbs": verbs, "resources": ["priorityclasses"]},
    ]});
    let how = PostParams::default();
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.create(&how, &object(role)).await.expect("a role");
    let binding = json!({"metadata": {"name": "chain-reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "chain-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": TEST}]});
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&how, &object(binding)).await.expect("a binding");
    let ctl = std::env::var_os("ONEPATH_KUBE_CTL").expect("ONEPATH_KUBE_CTL");
    let output = Command::new(ctl).args(["kubeconfig", TEST, "reader"]).output().await;
    let config = String::from_utf8(output.expect("it runs").stdout).expect("a kubeconfig");
    file(&plane.folder, "reader.kubeconfig", &config)
}

/// Everything of a kind, with its versions.
async fn all<K>(api: &Api<K>) -> Vec<Value>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    let items = api.list(&ListParams::default()).await.expect("an answer").items;
    items.iter().map(|item| serde_json::to_value(item).expect("plain data")).collect()
}

async fn versions(plane: &Plane) -> BTreeSet<String> {
    let pods = all(&Api::<Pod>::all(plane.client.clone())).await;
    let nodes = all(&Api::<Node>::all(plane.client.clone())).await;
    let version = |object: &Value| {
        let metadata = &object["metadata"];
        format!("{} {} {}", object["kind"], metadata["name"], metadata["resourceVersion"])
    };
    pods.iter().chain(&nodes).map(version).collect()
}

/// Reads the cluster with `onepath pack`, which sees a place for exactly the gang, proves it, and
/// touches nothing.
async fn pack(plane: &Plane) {
    let config = reader(plane).await;
    let certificate = plane.folder.join("certificate.json").display().to_string();
    let words = ["pack", "--cluster", "--kubeconfig", &config, "--movable", "controlled"];
    let more = ["--format", "json", "--certificate", &certificate];
    let before = versions(plane).await;
    let mut report = Value::Null;
    // Rights are known a moment after they were granted.
    eventually("pack may read everything", async || {
        let (code, out, errors) = onepath(&[&words[..], &more].concat()).await;
        report = serde_json::from_str(&out).unwrap_or_default();
        code == Some(0) && errors.is_empty()
    })
    .await;
    assert_eq!(versions(plane).await, before, "the cluster was touched");
    assert_eq!(report["status"], "optimal", "{report:#}");
    let tier = &report["tiers"][0];
    let counts = ["priority", "pods", "before", "default", "placed", "disturbed"];
    assert_eq!(counts.map(|name| tier[name].as_i64()), [1_000, 10, 6, 6, 10, 4].map(Some));
    let rows = report["pods"].as_array().expect("rows").iter();
    let gang: Vec<&Value> = rows.filter(|row| !row["gang"].is_null()).collect();
    assert_eq!(gang.len(), 4);
    let mut places = Vec::new();
    for row in gang {
        assert_eq!(row["gang"], format!("{TEST}/{JOB}"));
        assert_eq!((&row["change"], &row["default"]), (&json!("placed"), &Value::Null), "{row}");
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        let stage = text("pod").contains("-s1-");
        places.push((u32::from(stage), text("node")));
    }
    assert_stages_lie_together(&places);
    verify(plane, &certificate).await;
}

/// The certificate holds for the same objects in files.
async fn verify(plane: &Plane, certificate: &str) {
    let pods = all(&Api::<Pod>::all(plane.client.clone())).await;
    let nodes = all(&Api::<Node>::all(plane.client.clone())).await;
    let list = |name: &str, items: Vec<Value>| {
        file(&plane.folder, name, &json!({"kind": "List", "items": items}).to_string())
    };
    let (pods, nodes) = (list("pods.json", pods), list("nodes.json", nodes));
    let words = ["pack", "verify", certificate, &pods, "--nodes", &nodes];
    let (code, out, errors) = onepath(&[&words[..], &["--movable", "controlled"]].concat()).await;
    assert_eq!((code, &*errors), (Some(0), ""), "{out}");
    assert!(out.starts_with("The certificate holds: "), "{out}");
}

/// Two pods of each of two stages, each on a node of its own, those of a stage under one leaf.
fn assert_stages_lie_together(places: &[(u32, String)]) {
    let nodes: BTreeSet<&String> = places.iter().map(|(_, node)| node).collect();
    assert_eq!(nodes.len(), 4, "{places:?}");
    let mut leaves: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (stage, node) in places {
        // The leaf of the node chain-a1 is a.
        leaves.entry(*stage).or_default().push(&node[..=TEST.len() + 1]);
    }
    assert_eq!(leaves.len(), 2, "{places:?}");
    for leaves in leaves.values() {
        assert!(leaves.len() == 2 && leaves[0] == leaves[1], "{places:?}");
    }
}

/// What the scheduler and the ranks have done.
async fn check(plane: &Plane) {
    let (code, out, errors) = plane.onepath(&["status", JOB, "--watch"]).await;
    let logs = logs(&plane.folder);
    assert_eq!((code, &*errors), (Some(0), ""), "{out}\n{logs}");
    assert!(out.contains(&format!("job {JOB}: succeeded")), "{out}");
    assert!(logs.contains("# ranks 4, transport tcp"), "{logs}");
    assert!(logs.contains("# Wrong elements: 0 OK"), "{logs}");
    let gang = gang(plane).await;
    let places = gang.iter().map(|pod| {
        let stage = pod.labels()["onepath.io/stage"].parse().expect("a number");
        (stage, node_of(pod).expect("a node").to_owned())
    });
    assert_stages_lie_together(&places.collect::<Vec<_>>());
    eventually("whoever was moved or evicted runs again", async || {
        let mut running = 0;
        for app in ["movable", "batch-a", "batch-b", "batch-c"] {
            let pods = pods_of(plane, &format!("app={app}")).await;
            running += pods.iter().filter(|pod| runs(pod)).count();
        }
        running == 9
    })
    .await;
    let movable = pods_of(plane, "app=movable").await;
    let nodes: BTreeSet<&str> = movable.iter().filter_map(node_of).collect();
    assert_eq!(nodes.len(), 2, "those that are movable made room: {nodes:?}");
}

async fn delete<K>(plane: &Plane, names: &[&str])
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(plane.client.clone());
    for name in names {
        api.delete(name, &DeleteParams::default()).await.expect("our own");
    }
}

#[test]
fn a_plan_finds_room_on_nodes_that_are_nearly_full_and_its_ranks_reduce_what_is_checked() {
    let Some(bench) = bench() else { return };
    Plane::run_alone(TEST, &NODES, async |plane| {
        fill(&plane).await;
        launch(&plane, &bench).await;
        let (code, out, _) = plane.onepath(&["status", JOB]).await;
        assert_eq!(code, Some(1));
        assert!(out.starts_with(&format!("job {JOB}: pending, 0 of 4 pods run\n")), "{out}");
        pack(&plane).await;
        manifests::install(&plane).await;
        check(&plane).await;
        manifests::remove(&plane).await;
        delete::<PriorityClass>(&plane, &["chain-urgent", "chain-batch"]).await;
        delete::<ClusterRole>(&plane, &["chain-reader"]).await;
        delete::<ClusterRoleBinding>(&plane, &["chain-reader"]).await;
        plane
    });
}
