//! All objects of one moment.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use thiserror::Error;

use super::assemble;
use super::marks;
use super::objects::{
    Metadata, Node, NodeSelector, ObjectError, PersistentVolume, PersistentVolumeClaim, Pod,
    PodDisruptionBudget, PodGroup, PriorityClass, Volume, Workload, described, read,
};
use super::plan::PlanRules;
use super::reason::{Held, Left};
use crate::problem::{Amounts, BuildError, NodeId, PodId, Problem};

/// The label of nodes that no two nodes share.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// The longest name, in bytes (Kubernetes: Object Names and IDs).
const MOST_NAME: usize = 253;

/// Which running pods may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MovablePods {
    /// Those whose re-creation we control: made for our scheduler, or with a gate of ours. Others
    /// that have a controller may only be evicted.
    #[default]
    Controlled,
    /// All that have a controller: what could be, if it made them anew where we want them.
    Owned,
}

/// How a snapshot is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// The name of our scheduler in `spec.schedulerName`.
    pub scheduler_name: String,
    /// Which running pods may be moved.
    pub movable: MovablePods,
    /// What is to be kept of a training job's worker pods.
    pub plan: Option<PlanRules>,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            scheduler_name: marks::SCHEDULER.to_owned(),
            movable: MovablePods::default(),
            plan: None,
        }
    }
}

/// Objects of one moment, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Nodes; their order is that of [`Problem::nodes`].
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Disruption budgets.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Priority classes.
    pub priorities: Vec<PriorityClass>,
    /// Pod groups of other schedulers.
    pub groups: Vec<PodGroup>,
    /// Claims of volumes.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Vec<PersistentVolume>,
    /// How many objects of other kinds there were.
    pub ignored: BTreeMap<String, usize>,
}

/// A snapshot that is no problem.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// The same node or pod twice.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An amount of a node that is out of range.
    #[error("Node {node}: status.allocatable.{resource} is out of range")]
    Allocatable {
        /// The node.
        node: String,
        /// The resource.
        resource: String,
    },
    /// What the model refuses.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A disruption budget over pods of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetUse {
    /// `namespace/name`.
    pub name: String,
    /// How many of them may be disrupted now.
    pub allowed: i64,
    /// Its pods.
    pub pods: Vec<PodId>,
}

/// From a problem back to the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// For each pod of the problem its place in [`Snapshot::pods`].
    pub pods: Vec<usize>,
    /// What each node offers in all; [`crate::problem::Node::capacity`] is less what others use.
    pub allocatable: Vec<Amounts>,
    /// Pending pods that are left to others, by their places in [`Snapshot::pods`].
    pub left: Vec<(usize, Left)>,
    /// Running pods that stay and are not in the problem: their room is taken.
    pub held: Vec<(usize, NodeId, Held)>,
    /// Budgets that allow some disruption, but not of all their pods.
    pub budgets: Vec<BudgetUse>,
    /// What else a user should know, one line each.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// Adds an object of any kind, or the items of a list.
    pub fn add(&mut self, value: Value) -> Result<(), ObjectError> {
        let Some(kind) = value.get("kind").and_then(Value::as_str).map(str::to_owned) else {
            return Err(ObjectError::NoKind { object: described(&value) });
        };
        let core = |value: &Value| value.get("apiVersion").is_none_or(|version| version == "v1");
        match kind.as_str() {
            "Node" if core(&value) => {
                let node: Node = read(value)?;
                let mut node = named(node, |node| &node.metadata, &kind, self.nodes.len())?;
                let name = node.metadata.name.clone();
                node.metadata.labels.entry(HOSTNAME.to_owned()).or_insert(name);
                self.nodes.push(node);
            }
            "Pod" if core(&value) => {
                let pod: Pod = read(value)?;
                self.pods.push(named(pod, |pod| &pod.metadata, &kind, self.pods.len())?);
            }
            "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "Job" => {
                let workload: Workload = read(value)?;
                let workload = named(workload, |one| &one.metadata, &kind, self.pods.len())?;
                self.pods.extend(workload.missing(&kind)?);
            }
            "PodDisruptionBudget" => self.budgets.push(read(value)?),
            "PriorityClass" => self.priorities.push(read(value)?),
            "PodGroup" => self.groups.push(read(value)?),
            "PersistentVolumeClaim" => self.claims.push(read(value)?),
            "PersistentVolume" => self.volumes.push(read(value)?),
            list if list.ends_with("List") => self.add_items(list, value)?,
            _ => *self.ignored.entry(super::one_line(&kind)).or_default() += 1,
        }
        Ok(())
    }

    /// The items of a list; those of a `PodList` need not say that they are pods.
    fn add_items(&mut self, list: &str, mut value: Value) -> Result<(), ObjectError> {
        let wrong = |problem: &str| ObjectError::Field {
            object: super::one_line(list),
            field: "items".to_owned(),
            problem: problem.to_owned(),
        };
        let items = match value.get_mut("items").map(Value::take) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong("is no list")),
        };
        let kind = list.strip_suffix("List").unwrap_or_default();
        for mut item in items {
            let Some(fields) = item.as_object_mut() else {
                return Err(wrong("holds something that is no object"));
            };
            if !kind.is_empty() {
                fields.entry("kind").or_insert_with(|| Value::from(kind));
            }
            // A list in a list is nobody's, and would go down as deep as a file likes.
            if fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
            {
                return Err(wrong("holds a list"));
            }
            self.add(item)?;
        }
        Ok(())
    }

    /// What is to be placed where, and the way back to the objects.
    pub fn problem(&self, options: &SnapshotOptions) -> Result<(Problem, Mapping), SnapshotError> {
        self.check_names()?;
        assemble::problem(self, options)
    }

    fn check_names(&self) -> Result<(), ObjectError> {
        let mut names = HashSet::new();
        let nodes = self.nodes.iter().map(|node| format!("Node {}", node.metadata.name));
        let pods = self.pods.iter().map(|pod| format!("Pod {}", pod.metadata.full_name()));
        for object in nodes.chain(pods) {
            if names.contains(&object) {
                return Err(ObjectError::Twice { object });
            }
            names.insert(object);
        }
        Ok(())
    }

    /// Where a volume lets the pod run: everywhere, on nodes of a selector, or nobody knows.
    pub(super) fn reach(&self, pod: &Pod, volume: &Volume) -> Reach<'_> {
        const TIED: &[&str] = &[
            "ephemeral",
            "csi",
            "awsElasticBlockStore",
            "gcePersistentDisk",
            "azureDisk",
            "iscsi",
            "rbd",
            "cinder",
            "fc",
        ];
        if TIED.iter().any(|kind| volume.source.contains_key(*kind)) {
            return Reach::Unknown;
        }
        let Some(claim) = volume.source.get("persistentVolumeClaim") else {
            return Reach::Everywhere;
        };
        let name = claim.get("claimName").and_then(Value::as_str).unwrap_or_default();
        let namespace = pod.metadata.namespace();
        let claim = self
            .claims
            .iter()
            .find(|claim| claim.metadata.name == name && claim.metadata.namespace() == namespace);
        let volume = claim.and_then(|claim| {
            self.volumes.iter().find(|volume| volume.metadata.name == claim.spec.volume_name)
        });
        match volume.map(|volume| volume.spec.node_affinity.required.as_ref()) {
            None => Reach::Unknown,
            Some(None) => Reach::Everywhere,
            Some(Some(selector)) => Reach::Nodes(selector),
        }
    }
}

/// Where a volume lets a pod run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    Everywhere,
    Nodes(&'a NodeSelector),
    Unknown,
}

/// An object whose name can stand in a message of one line.
fn named<T>(
    object: T,
    metadata: impl Fn(&T) -> &Metadata,
    kind: &str,
    before: usize,
) -> Result<T, ObjectError> {
    let Metadata { name, namespace, .. } = metadata(&object);
    if name.is_empty() {
        return Err(ObjectError::NoName { kind: kind.to_owned(), number: before + 1 });
    }
    for (field, text) in [("metadata.name", name), ("metadata.namespace", namespace)] {
        if text.len() > MOST_NAME || text.contains(char::is_control) {
            let shown: String = text.chars().take(40).collect();
            return Err(ObjectError::Field {
                object: super::one_line(&format!("{kind} {name}")),
                field: field.to_owned(),
                problem: format!(
                    "{shown:?} is no name: at most {MOST_NAME} letters would be right"
                ),
            });
        }
    }
    Ok(object)
}
