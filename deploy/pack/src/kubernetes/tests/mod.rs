//! What is made of Kubernetes objects.

mod apart;
mod files;
mod filters;
mod gangs;
mod plans;
mod polite;
mod resized;
mod roles;

use serde_json::{Value, json};

use super::{Mapping, MovablePods, Snapshot, SnapshotOptions};
use crate::check::check;
use crate::placement::Placement;
use crate::problem::{Node, Pod, Problem};

/// A node of 4 CPUs and 8 GiB with labels.
fn node(name: &str, labels: &Value) -> Value {
    json!({"kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"allocatable":
            {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "8"}}})
}

/// A pod of a controller that asks for a CPU and a GiB, with fields put over it.
fn pod(name: &str, over: Value) -> Value {
    let mut pod = json!({"kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": true}]},
        "spec": {"priority": 0, "containers": [
            {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]}});
    merge(&mut pod, over);
    pod
}

fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}

fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in objects {
        snapshot.add(object).expect("the object is right");
    }
    snapshot
}

/// The problem of objects; that everything stays as it is must always be allowed.
fn problem(objects: impl IntoIterator<Item = Value>) -> (Problem, Mapping) {
    let snapshot = snapshot(objects);
    for movable in [MovablePods::Owned, MovablePods::Controlled] {
        let options = SnapshotOptions { movable, ..SnapshotOptions::default() };
        let (problem, mapping) = snapshot.problem(&options).expect("a problem");
        check(&problem, &Placement::as_it_is(&problem)).expect("all may stay as it is");
        assert_eq!(mapping.pods.len(), problem.pods().len());
        for (pod, index) in problem.pods().iter().zip(&mapping.pods) {
            assert_eq!(pod.name, snapshot.pods[*index].metadata.full_name());
        }
    }
    snapshot.problem(&SnapshotOptions::default()).expect("a problem")
}

fn find<'a>(problem: &'a Problem, name: &str) -> &'a Pod {
    let full = format!("default/{name}");
    problem.pods().iter().find(|pod| pod.name == full).expect("the pod is in the problem")
}

/// An amount that a node has.
fn has(problem: &Problem, node: &Node, resource: &str) -> i64 {
    let at = problem.resources().iter().position(|one| one.name == resource);
    node.capacity[at.expect("the resource is in the problem")]
}

/// Why a pod is left or held.
fn why(snapshot: &[Value], name: &str) -> Option<String> {
    let (problem, mapping) = problem(snapshot.iter().cloned());
    let pods: Vec<&Value> = snapshot.iter().filter(|one| one["kind"] == "Pod").collect();
    let index = pods.iter().position(|pod| pod["metadata"]["name"] == name)?;
    if mapping.pods.contains(&index) {
        assert!(!problem.pods().is_empty());
        return None;
    }
    let left = mapping.left.iter().find(|(pod, _)| *pod == index);
    let held = mapping.held.iter().find(|(pod, ..)| *pod == index);
    left.map(|(_, reason)| reason.to_string())
        .or_else(|| held.map(|(_, _, reason)| reason.to_string()))
        .or_else(|| Some("gone".to_owned()))
}
