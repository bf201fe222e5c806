//! Questions about a gang that says no size: pods `one` and `two` of the replica set `set` run
//! on node `a`, of 2 CPUs, and are to move to node `b`, as large.

use kube::runtime::watcher::Event;
use onepath_pack::kubernetes::SnapshotOptions;
use serde_json::{Value, json};

use super::{Change, Cluster};
use crate::scheduler::core::world::{Question, World};

fn node(name: &str) -> Change {
    let node = json!({"metadata": {"name": name, "uid": name},
        "status": {"allocatable": {"cpu": "2", "pods": "9"}}});
    Change::Node(Box::new(Event::InitApply(serde_json::from_value(node).expect("a node"))))
}

fn pod(name: &str, on: Option<&str>) -> Value {
    json!({
        "metadata": {"name": name, "uid": name, "namespace": "default",
            "annotations": {"onepath.io/gang": "gang"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set",
                "uid": "set", "controller": true}]},
        "spec": {"nodeName": on, "schedulerName": "onepath", "priority": 0,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    })
}

fn there(pod: Value) -> Change {
    Change::Pod(Box::new(Event::Apply(serde_json::from_value(pod).expect("a pod"))))
}

fn gone(pod: Value) -> Change {
    Change::Pod(Box::new(Event::Delete(serde_json::from_value(pod).expect("a pod"))))
}

/// The two pods run, a plan that evicts them is about to begin; `waiting` are there already.
fn cluster(waiting: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(SnapshotOptions::default());
    cluster.apply(Change::Node(Box::new(Event::Init)));
    cluster.apply(node("a"));
    cluster.apply(node("b"));
    cluster.apply(Change::Node(Box::new(Event::InitDone)));
    for name in ["one", "two"] {
        cluster.apply(there(pod(name, Some("a"))));
    }
    for name in waiting {
        cluster.apply(there(pod(name, None)));
    }
    cluster.remember(&["one".to_owned(), "two".to_owned()]);
    cluster
}

/// The same question that a plan asks before and between its evictions.
fn question() -> Question {
    let both = ["one", "two"];
    Question {
        without: both.map(str::to_owned).to_vec(),
        ghosts: both.map(|name| (name.to_owned(), Some("b".to_owned()))).to_vec(),
        put: Vec::new(),
    }
}

#[test]
fn the_successor_of_an_evicted_pod_is_not_counted_to_its_gang_beside_it() {
    let mut cluster = cluster(&[]);
    assert_eq!(cluster.check(&question()), Ok(()));
    cluster.apply(there(pod("successor", None)));
    assert_eq!(cluster.check(&question()), Ok(()), "the one that it follows is leaving");
    cluster.apply(gone(pod("one", Some("a"))));
    assert_eq!(cluster.check(&question()), Ok(()), "and now gone");
}

#[test]
fn a_pod_that_waited_before_the_plan_is_nobodys_successor_and_counts() {
    let cluster = cluster(&["third"]);
    let refused = cluster.check(&question()).expect_err("two of three are no gang");
    assert!(refused.contains("default/gang"), "{refused}");
}

#[test]
fn pods_on_a_node_are_those_that_are_bound_to_it_and_have_not_finished() {
    let mut cluster = cluster(&["third"]);
    let mut finished = pod("four", Some("a"));
    finished["status"] = json!({"phase": "Succeeded"});
    cluster.apply(there(finished));
    assert_eq!(cluster.pods_on("a").into_iter().collect::<Vec<_>>(), ["one", "two"]);
    assert!(cluster.pods_on("b").is_empty());
}
