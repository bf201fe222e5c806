//! Files of Kubernetes objects, and the problem that is made of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_pack::check::check;
use onepath_pack::kubernetes::{MovablePods, Snapshot, SnapshotOptions};
use onepath_pack::placement::Placement;

const FILES: [&str; 4] = [
    include_str!("../../../deploy/examples/nodes.yaml"),
    include_str!("../../../deploy/examples/pods.yaml"),
    r#"{"kind": "List", "items": [
{"kind": "Node", "metadata": {"name": "a", "labels": {"l": "1"}},
"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": 3, "x/gpu": "8"}}},
{"kind": "Pod", "metadata": {"name": "p", "annotations": {"onepath.io/gang": "g",
"onepath.io/gang-size": "1", "onepath.io/part": "s", "onepath.io/part-rule": "at-most:1:l"},
"ownerReferences": [{"kind": "Job", "name": "j", "controller": true}]},
"spec": {"nodeName": "a", "tolerations": [{"operator": "Exists"}],
"containers": [{"resources": {"requests": {"cpu": "1500m"}}, "ports": [{"hostPort": 80}]}],
"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
{"labelSelector": {}, "topologyKey": "kubernetes.io/hostname"}]}}}},
{"kind": "PodDisruptionBudget", "metadata": {"name": "b"},
"spec": {"selector": {}, "maxUnavailable": "50%"}}]}"#,
    r#"kind: PriorityClass
metadata: {name: c}
value: 9
preemptionPolicy: Never
---
kind: Node
metadata: {name: a}
status: {allocatable: {cpu: 4, pods: 9}}
---
kind: Pod
metadata: {name: p, ownerReferences: [{kind: Job, name: j, controller: true}]}
spec: {nodeName: a, containers: [{name: m, resources: {requests: {cpu: 1}}}]}
status: {conditions: [{type: PodResizePending, reason: Infeasible}], containerStatuses:
  [{name: m, allocatedResources: {cpu: 2}, resources: {requests: {cpu: 3}}}]}
---
kind: Pod
metadata: {name: q}
spec: {priorityClassName: c, containers: [{resources: {requests: {cpu: 1}}}]}"#,
];

fuzz_target!(init: seed(FILES), |text: &str| {
    let mut snapshot = Snapshot::default();
    if let Err(error) = snapshot.read(text) {
        return assert_readable(&error);
    }
    for movable in [MovablePods::Controlled, MovablePods::Owned] {
        let options = SnapshotOptions { movable, ..SnapshotOptions::default() };
        match snapshot.problem(&options) {
            Err(error) => assert_readable(&error),
            Ok((problem, mapping)) => {
                check(&problem, &Placement::as_it_is(&problem)).expect("all may stay as it is");
                assert_eq!(mapping.pods.len(), problem.pods().len());
                mapping.left.iter().for_each(|(_, reason)| assert_readable(reason));
                mapping.held.iter().for_each(|(_, _, reason)| assert_readable(reason));
                mapping.notes.iter().for_each(assert_readable);
            }
        }
    }
});
