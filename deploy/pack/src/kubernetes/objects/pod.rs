//! Pods.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Expression, LabelSelector, Metadata, Quantities};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Name, labels, owner.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: PodSpec,
    /// How it is.
    pub status: PodStatus,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Where it runs.
    pub node_name: String,
    /// Labels that its node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Further conditions on nodes and neighbours.
    pub affinity: Affinity,
    /// Taints that it stands.
    pub tolerations: Vec<Toleration>,
    /// Rules to spread it.
    pub topology_spread_constraints: Vec<Spread>,
    /// The higher the more urgent.
    pub priority: Option<i64>,
    /// The class that gives the priority.
    pub priority_class_name: String,
    /// `Never` when it must not push others out.
    pub preemption_policy: String,
    /// Who places it.
    pub scheduler_name: String,
    /// What must be taken away before it may be placed.
    pub scheduling_gates: Vec<Gate>,
    /// Containers.
    pub containers: Vec<Container>,
    /// Run before them, or beside them when their restart policy is `Always`.
    pub init_containers: Vec<Container>,
    /// What the pod itself needs beside its containers.
    pub overhead: Quantities,
    /// Requests of the whole pod (Kubernetes 1.34).
    pub resources: Resources,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Devices by dynamic resource allocation.
    pub resource_claims: Vec<Value>,
    /// Its containers use the node's network.
    pub host_network: bool,
}

/// How a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// What is so, with reasons.
    pub conditions: Vec<Condition>,
    /// How its containers are.
    pub container_statuses: Vec<ContainerStatus>,
    /// How its init containers are.
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// Something that is so of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// What: `PodResizePending` for instance.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why.
    pub reason: String,
}

/// How a container is, as far as it says what it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What the node has set aside for it.
    pub allocated_resources: Quantities,
    /// What it runs with; not there before it was started.
    pub resources: Option<Resources>,
}

/// What must be taken away before a pod may be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// Its name.
    pub name: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub resources: Resources,
    /// Ports, those of the host among them.
    pub ports: Vec<ContainerPort>,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: String,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What is set aside.
    pub requests: Quantities,
    /// The most; also what is set aside where no request is written.
    pub limits: Quantities,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Inside of the pod.
    pub container_port: u16,
    /// On the node; 0 is none.
    pub host_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// A volume, as far as it says where the pod may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its kind with its settings.
    #[serde(flatten)]
    pub source: BTreeMap<String, Value>,
}

/// A taint that a pod stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// The taint's key; empty with `Exists` is every key.
    pub key: String,
    /// `Exists` or `Equal`; empty is `Equal`.
    pub operator: String,
    /// The taint's value.
    pub value: String,
    /// The taint's effect; empty is every effect.
    pub effect: String,
}

/// Conditions on nodes and neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// On nodes.
    pub node_affinity: NodeAffinity,
    /// Neighbours that must be there.
    pub pod_affinity: PodAffinity,
    /// Neighbours that must not be there.
    pub pod_anti_affinity: PodAffinity,
}

/// Conditions on nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// Those that must hold; `required` is how volumes spell it.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", alias = "required")]
    pub required: Option<NodeSelector>,
}

/// One of the terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// The terms.
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// All of it must hold; an empty term holds of no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// Of labels.
    pub match_expressions: Vec<Expression>,
    /// Of fields; Kubernetes knows `metadata.name`.
    pub match_fields: Vec<Expression>,
}

/// Neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    /// Conditions that must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<PodAffinityTerm>,
}

/// Which neighbours, and what is near.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Their labels; without it no pod is meant.
    pub label_selector: Option<LabelSelector>,
    /// Their namespaces; without this and the next the pod's own.
    pub namespaces: Vec<String>,
    /// Their namespaces by labels.
    pub namespace_selector: Option<LabelSelector>,
    /// Labels whose values are taken over from the pod.
    pub match_label_keys: Vec<String>,
    /// Labels whose values must differ from the pod's.
    pub mismatch_label_keys: Vec<String>,
    /// Nodes of one value of this label are near each other.
    pub topology_key: String,
}

/// A rule to spread pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spread {
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// The label that makes domains.
    pub topology_key: String,
}
