//! Nodes, pods, sets, budgets.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Where everything of the tests is.
pub(crate) const NAMESPACE: &str = "default";

/// Priority classes are `tier-0`, the most urgent, to `tier-3`.
pub(crate) const TIERS: usize = 4;

/// A node with so many thousandths of processors.
pub(crate) fn node(name: &str, cpu_m: u32) -> Value {
    let has = json!({"cpu": format!("{cpu_m}m"), "memory": "64Gi", "pods": "60"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": has, "allocatable": has,
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// What is asked of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Want<'a> {
    pub(crate) cpu_m: u32,
    pub(crate) tier: usize,
    pub(crate) scheduler: &'a str,
}

impl Want<'_> {
    fn spec(&self) -> Value {
        json!({
            "schedulerName": self.scheduler,
            "priorityClassName": format!("tier-{}", self.tier),
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "none",
                "resources": {"requests": {"cpu": format!("{}m", self.cpu_m)}}}],
        })
    }
}

/// A pod that nobody makes again; `gang`: its name and how many pods it has.
pub(crate) fn pod(name: &str, want: &Want<'_>, gang: Option<(&str, usize)>) -> Value {
    let mut labels = json!({"app": name});
    if let Some((gang, size)) = gang {
        labels["onepath.io/gang"] = json!(gang);
        labels["onepath.io/gang-size"] = json!(size.to_string());
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": want.spec(),
    })
}

/// A set of pods that are made again; `gate`: they wait for a gate of the scheduler.
pub(crate) fn set(name: &str, replicas: usize, want: &Want<'_>, gate: bool) -> Value {
    let labels = json!({"app": name});
    let mut spec = want.spec();
    if gate {
        spec["schedulingGates"] = json!([{"name": "onepath.io/placement"}]);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// A disruption budget of a set.
pub(crate) fn budget(app: &str, most_unavailable: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {"maxUnavailable": most_unavailable, "selector": {"matchLabels": {"app": app}}},
    })
}

/// What policies that tests make say to whom they deny something.
pub(crate) const FORBIDDEN: &str = "the test forbids it";

/// The label of what tests make outside of namespaces.
pub(crate) const OF_TESTS: &str = "onepath.io/of-tests";

/// Denies to make such a subresource unless an expression of CEL holds; as a webhook would.
pub(crate) fn policy(subresource: &str, unless: &str) -> [Value; 2] {
    let name = format!("test-{}", subresource.replace('/', "-"));
    let of = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "labels": {OF_TESTS: "true"}}, "spec": spec,
        })
    };
    let about = json!({"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"],
        "resources": [subresource]});
    [
        of(
            "ValidatingAdmissionPolicy",
            json!({"matchConstraints": {"resourceRules": [about]},
                "validations": [{"expression": unless, "message": FORBIDDEN}]}),
        ),
        of(
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": name, "validationActions": ["Deny"]}),
        ),
    ]
}

pub(crate) fn priority_class(tier: usize) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": format!("tier-{tier}")}, "value": 1_000 * (TIERS - tier),
    })
}

/// The tier of a pod.
pub(crate) fn tier_of(pod: &Pod) -> Option<usize> {
    let class = pod.spec.as_ref()?.priority_class_name.as_deref()?;
    class.strip_prefix("tier-")?.parse().ok()
}

/// Thousandths of processors that a pod asks for.
pub(crate) fn cpu_m(pod: &Pod) -> u64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let requests =
        containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref());
    requests.filter_map(|requests| requests.get("cpu")).map(|cpu| millis(&cpu.0)).sum()
}

/// `1500m` or `2` as thousandths.
pub(crate) fn millis(quantity: &str) -> u64 {
    let number = |text: &str| text.parse::<u64>().expect("tests use whole numbers");
    quantity.strip_suffix('m').map_or_else(|| number(quantity) * 1_000, number)
}

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether it is on its way out.
pub(crate) fn leaves(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
