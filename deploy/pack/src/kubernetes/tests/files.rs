//! Files: what is read of them, and the one line that each wrong one gives.

use serde_json::json;

use crate::kubernetes::read::{MAX_YAML_BYTES, ReadError};
use crate::kubernetes::{Snapshot, SnapshotOptions};

fn read(text: &str) -> Result<Snapshot, ReadError> {
    let mut snapshot = Snapshot::default();
    snapshot.read(text).map(|()| snapshot)
}

fn counts(text: &str) -> (usize, usize) {
    let snapshot = read(text).expect("the file is right");
    (snapshot.nodes.len(), snapshot.pods.len())
}

#[test]
fn objects_are_read_from_documents_lists_and_sequences_of_yaml_and_json() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}).to_string();
    let pod = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": null}).to_string();
    assert_eq!(counts(&format!("{node}\n{pod}")), (1, 1));
    assert_eq!(counts(&format!("[{node}, {pod}]")), (1, 1));
    assert_eq!(counts(&format!("{{\"kind\": \"List\", \"items\": [{node}, {pod}]}}")), (1, 1));
    let typed = "{\"kind\": \"PodList\", \"items\": [{\"metadata\": {\"name\": \"p\"}}]}";
    assert_eq!(counts(typed), (0, 1));
    let yaml = "# first\n---\nkind: Node\nmetadata: {name: a}\n---\n---\nkind: Pod\nmetadata:\n  \
        name: p\n  labels: &l {app: \"yes\"}\n---\nkind: Service\nmetadata: {name: s}\n";
    assert_eq!(counts(yaml), (1, 1));
    assert_eq!(read(yaml).unwrap().ignored.get("Service"), Some(&1));
    assert_eq!(
        counts("- {kind: Node, metadata: {name: a}}\n- {kind: Pod, metadata: {name: p}}\n"),
        (1, 1)
    );
}

#[test]
fn workloads_are_the_pods_that_they_have_still_to_make() {
    let pods = |kind: &str, spec: &str, status: &str| {
        let text = format!(
            "kind: {kind}\nmetadata: {{name: w}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n"
        );
        let pods = read(&text).expect("the file is right").pods;
        pods.into_iter().map(|pod| pod.metadata.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pods("Deployment", "replicas: 2", ""), "w-0 w-1");
    assert_eq!(pods("ReplicaSet", "", ""), "w-0");
    assert_eq!(pods("StatefulSet", "replicas: 3", "replicas: 1"), "w-1 w-2");
    assert_eq!(pods("Deployment", "replicas: 2", "replicas: 2"), "");
    assert_eq!(pods("Job", "parallelism: 2, completions: 5", ""), "w-0 w-1");
    assert_eq!(pods("Job", "parallelism: 2, completions: 5", "active: 1, succeeded: 4"), "");
    assert_eq!(pods("Job", "parallelism: 3", "active: 2"), "w-2");
    assert_eq!(pods("Job", "parallelism: 3, suspend: true", ""), "");
}

/// A file, and the line that it gives.
const BAD: &[(&str, &str)] = &[
    ("", "holds no object: Nodes, Pods or a List of them would be right"),
    ("# nothing\n", "holds no object"),
    ("---\n---\n", "holds no object"),
    ("[]", "holds no object"),
    ("null", "holds no object"),
    ("{", "line 1: EOF while parsing an object"),
    ("{\"kind\": }", "line 1: expected value"),
    ("{\"kind\": \"Pod\",\n \"kind\" \"x\"}", "line 2: expected `:`"),
    ("{\"a\": 1} x", "line 1: expected value"),
    ("kind: Pod\n  metadata: x\n", "line 2: "),
    ("kind: [Pod\n", "line "),
    ("kind: Pod\nkind: Node\n", "line 2: duplicate mapping key: kind"),
    ("a: *b\n", "line 1: "),
    ("kind:\n\t- Pod\n", "line 2: "),
    ("plain words\n", "object without a name: kind is missing"),
    ("7\n", "object without a name: kind is missing"),
    (
        "metadata: {name: a}\n",
        "object a: kind is missing: Pod, Node, List or another kind would be right",
    ),
    ("kind: 5\nmetadata: {name: a}\n", "object a: kind is missing"),
    ("kind: Pod\n", "Pod 1: metadata.name is missing"),
    ("kind: Node\nmetadata: {labels: {}}\n", "Node 1: metadata.name is missing"),
    ("kind: Job\n", "Job 1: metadata.name is missing"),
    (
        "kind: Pod\nmetadata: {name: \"a\\nb\"}\n",
        "Pod a b: metadata.name: \"a\\nb\" is no name: at most 253 letters would be right",
    ),
    (
        "kind: Pod\nmetadata: {name: [a]}\n",
        "Pod without a name: metadata.name: invalid type: sequence",
    ),
    (
        "kind: Pod\nmetadata: {name: a, labels: [x]}\n",
        "Pod a: metadata.labels: invalid type: sequence",
    ),
    (
        "kind: Pod\nmetadata: {name: a, namespace: n, labels: {x: 1}}\n",
        "Pod n/a: metadata.labels.x: invalid type: integer `1`, expected a string",
    ),
    (
        "kind: Pod\nmetadata: {name: a, annotations: {x: true}}\n",
        "Pod a: metadata.annotations.x: invalid type: boolean",
    ),
    ("kind: Pod\nmetadata: {name: a}\nspec: 1\n", "Pod a: spec: invalid type: integer `1`"),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {priority: high}\n",
        "Pod a: spec.priority: invalid type: string \"high\"",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {priority: 1.5}\n",
        "Pod a: spec.priority: invalid type: floating point",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {containers: {}}\n",
        "Pod a: spec.containers: invalid type: map",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\n\
         spec: {containers: [{resources: {requests: {cpu: 1x}}}]}\n",
        "Pod a: spec.containers[0].resources.requests.cpu: \"1x\" is no quantity: a number like 2, \
         0.5, 100m or 1Gi would be right",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\n\
         spec: {containers: [{resources: {requests: {cpu: -1}}}]}\n",
        "Pod a: spec.containers[0].resources.requests.cpu: \"-1\" is negative: 0 or more \
          would be right",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\n\
         spec: {containers: [{resources: {limits: {memory: 1 Gi}}}]}\n",
        "Pod a: spec.containers[0].resources.limits.memory: \"1 Gi\" is no quantity",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\n\
         spec: {containers: [{resources: {requests: {cpu: [1]}}}]}\n",
        "expected a quantity like 2, 0.5, 100m or 1Gi",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{hostPort: 70000}]}]}\n",
        "hostPort: invalid value: integer `70000`",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {tolerations: [x]}\n",
        "Pod a: spec.tolerations[0]: invalid type: string \"x\"",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {schedulingGates: [1]}\n",
        "Pod a: spec.schedulingGates[0]: invalid type",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {affinity: {nodeAffinity: \
         {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: \
         [{key: x, operator: Is}]}]}}}}\n",
        "matchExpressions[0].operator: unknown variant `Is`, expected one of `In`, `NotIn`",
    ),
    (
        "kind: Pod\nmetadata: {name: a}\nspec: {affinity: {nodeAffinity: \
         {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: \
         [{operator: Exists}]}]}}}}\n",
        "matchExpressions[0]: missing field `key`",
    ),
    (
        "kind: Node\nmetadata: {name: a}\nstatus: {allocatable: {cpu: many}}\n",
        "Node a: status.allocatable.cpu: \"many\" is no quantity",
    ),
    (
        "kind: Node\nmetadata: {name: a}\nspec: {taints: {}}\n",
        "Node a: spec.taints: invalid type: map",
    ),
    (
        "kind: Node\nmetadata: {name: a}\nspec: {unschedulable: 1}\n",
        "Node a: spec.unschedulable: invalid type: integer `1`, expected a boolean",
    ),
    ("kind: List\nitems: {}\n", "List: items: is no list"),
    ("kind: List\nitems: [1]\n", "List: items: holds something that is no object"),
    ("kind: List\nitems: [{kind: List, items: []}]\n", "List: items: holds a list"),
    ("kind: List\nitems: [{metadata: {name: a}}]\n", "object a: kind is missing"),
    (
        "kind: PriorityClass\nmetadata: {name: a}\nvalue: x\n",
        "PriorityClass a: value: invalid type: string \"x\"",
    ),
    (
        "kind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {minAvailable: -1}\n",
        "PodDisruptionBudget a: spec.minAvailable",
    ),
    (
        "kind: PodGroup\nmetadata: {name: a}\nspec: {minMember: many}\n",
        "PodGroup a: spec.minMember: invalid type",
    ),
    (
        "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: -2}\n",
        "Deployment a: spec.replicas: invalid value: integer `-2`",
    ),
    (
        "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 1000000}\n",
        "Deployment default/a: spec: asks for 1000000 pods: at most 100000",
    ),
    (
        "kind: Job\nmetadata: {name: a}\nspec: {parallelism: 4294967295}\n",
        "Job default/a: spec: asks for 4294967295 pods",
    ),
];

#[test]
fn each_bad_file_gives_one_line_that_says_where_and_what() {
    assert!(BAD.len() >= 40);
    let mut unexpected = Vec::new();
    for (text, expected) in BAD {
        let error = read(text).expect_err(text).to_string();
        assert_eq!(error.lines().count(), 1, "{error:?}");
        if !error.contains(expected) {
            unexpected.push(format!("{text:?}: {expected:?} is not in {error:?}"));
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    let long = " ".repeat(MAX_YAML_BYTES + 1);
    let error = read(&long).unwrap_err().to_string();
    assert_eq!(error, "67108865 bytes of YAML: at most 67108864 would be right");
    let deep = "[".repeat(100_000);
    read(&deep).expect_err("too deep");
    read(&format!("a: {deep}")).expect_err("too deep");
}

#[test]
fn objects_that_do_not_fit_together_are_refused_by_name() {
    let error = |text: &str| {
        let problem = read(text).unwrap().problem(&SnapshotOptions::default());
        problem.unwrap_err().to_string()
    };
    let node = "kind: Node\nmetadata: {name: a}\n";
    assert_eq!(error(&format!("{node}---\n{node}")), "Node a: is there twice");
    let pod = "kind: Pod\nmetadata: {name: p}\n";
    assert_eq!(error(&format!("{pod}---\n{pod}")), "Pod default/p: is there twice");
    let huge = "kind: Node\nmetadata: {name: a}\nstatus: {allocatable: {memory: 1E}}\n";
    assert_eq!(error(huge), "Node a: status.allocatable.memory is out of range");
}
